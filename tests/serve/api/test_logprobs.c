/* Log-probabilities in both forms: spellings, values, places in the text. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/serve/api/answer_fixture.h"

static api_server *server;
static api_ask ask;

static void set_up(void) {
    server = fixture_server();
    fixture_ask(&ask);
    ask.logprobs = true;
}
TestSuite(api_logprobs, .init = set_up, .fini = fixture_close);

static wire_buf raw; /* the last answer as it was written */

/* logprobs of the answer of these tokens, without an end-of-text token; of the whole answer where `all`. */
static json_t *answer(const api_scored *scored, const weir_token_event *t, size_t n, bool all) {
    api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
    api_end e = fixture_end((int64_t)n);
    e.eos = -1;
    raw = (wire_buf){0};
    if (ask.echo) cr_assert(api_answer_prompt(a, 0, scored));
    cr_assert(api_answer_tokens(a, 0, t, n, NULL) && api_answer_end(a, 0, &e, NULL) &&
              api_answer_finish(a, &raw));
    api_answer_free(a);
    json_t *v = json_loadb(raw.data, raw.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    cr_assert(v, "%s", raw.data);
    json_t *inner = json_incref(all ? v : at(v, "choices.0.logprobs"));
    json_decref(v);
    return inner;
}

static void done(json_t *v) {
    json_decref(v);
    wire_buf_free(&raw);
}

/* € in three tokens, the first byte alone of an ü, a space word, a backslash, a quote. */
Test(api_logprobs, pieces_of_characters_are_spelled_as_bytes) {
    weir_token_event t[] = {fixture_token(0xe2),       fixture_token(0x82), fixture_token(0xac),
                            fixture_token(TOKEN_WORD), fixture_token('\\'), fixture_token('\n'),
                            fixture_token('"')};
    t[0].bytes = t[1].bytes = 0;
    t[2].text = "\xe2\x82\xac";
    t[2].bytes = 3;
    json_t *v = answer(NULL, t, 7, false);
    static const char *const spelled[] = {"bytes:\\xe2", "bytes:\\x82", "bytes:\\xac", " word",
                                          "\\",          "\n",          "\""};
    static const int64_t offsets[] = {0, 0, 0, 1, 6, 7, 8};
    for (size_t i = 0; i < 7; i++) {
        cr_expect_str_eq(json_string_value(json_array_get(at(v, "tokens"), i)), spelled[i]);
        cr_expect(json_integer_value(json_array_get(at(v, "text_offset"), i)) == offsets[i], "token %zu", i);
    }
    done(v);
}

Test(api_logprobs, a_chat_has_bytes_beside_the_spelling) {
    ask.chat = true;
    weir_top top[2];
    weir_token_event t[] = {fixture_token(0xe2), fixture_token(TOKEN_WORD)};
    t[0].bytes = 0;
    fixture_top(&t[1], top, 2);
    top[1].id = TOKEN_END;
    json_t *v = answer(NULL, t, 2, false);
    cr_expect_str_eq(text_at(v, "content.0.token"), "bytes:\\xe2");
    cr_expect(json_array_size(at(v, "content.0.bytes")) == 1 && int_at(v, "content.0.bytes.0") == 0xe2);
    cr_expect(json_array_size(at(v, "content.0.top_logprobs")) == 0);
    cr_expect_str_eq(text_at(v, "content.1.token"), " word");
    cr_expect(json_array_size(at(v, "content.1.bytes")) == 5 && int_at(v, "content.1.bytes.4") == 'd');
    cr_expect_str_eq(text_at(v, "content.1.top_logprobs.1.token"), "<end>");
    cr_expect(json_real_value(at(v, "content.1.top_logprobs.1.logprob")) == -1.0);
    cr_expect(is_null_at(v, "refusal"));
    done(v);
}

/* Unknown is null, minus infinity what vLLM writes for it; so in both forms. */
Test(api_logprobs, what_json_lacks) {
    weir_top top[2] = {{'a', -0.5f}, {'b', -INFINITY}};
    for (int chat = 0; chat < 2; chat++) {
        ask.chat = chat;
        weir_token_event t[] = {fixture_token('a'), fixture_token('b'), fixture_token('c')};
        t[0].logprob = NAN;
        t[1].logprob = -INFINITY;
        t[1].top = top;
        t[1].n_top = 2;
        t[2].logprob = 0;
        json_t *v = answer(NULL, t, 3, false);
        cr_expect(is_null_at(v, chat ? "content.0.logprob" : "token_logprobs.0"));
        cr_expect(json_real_value(at(v, chat ? "content.1.logprob" : "token_logprobs.1")) == -9999.0);
        cr_expect(json_real_value(at(v, chat ? "content.2.logprob" : "token_logprobs.2")) == 0.0);
        cr_expect(json_real_value(at(v, chat ? "content.1.top_logprobs.1.logprob" : "top_logprobs.1.b")) ==
                  -9999.0);
        if (!chat) cr_expect(is_null_at(v, "top_logprobs.0"));
        done(v);
    }
}

/* The map: likeliest first, the token itself too; of equal spellings the likelier one. */
Test(api_logprobs, maps_hold_the_token_and_no_spelling_twice) {
    weir_top top[3] = {{0xe4, -0.25f}, {TOKEN_TWIN, -1.5f}, {'x', -2}};
    weir_token_event t[] = {fixture_token('y'), fixture_token('x'), fixture_token(TOKEN_TWIN)};
    ask.n_top = 3;
    for (int i = 0; i < 3; i++) {
        t[i].top = top;
        t[i].n_top = 3;
    }
    t[0].logprob = -3;
    t[1].logprob = -2;
    t[2].logprob = -1.5f;
    json_t *v = answer(NULL, t, 3, false);
    cr_expect(json_object_size(at(v, "top_logprobs.0")) == 3 &&
              json_object_size(at(v, "top_logprobs.1")) == 2 &&
              json_object_size(at(v, "top_logprobs.2")) == 2);
    cr_expect(json_real_value(at(v, "top_logprobs.0.bytes:\\xe4")) == -0.25);
    cr_expect(json_real_value(at(v, "top_logprobs.0.y")) == -3);
    cr_expect_str_eq(text_at(v, "tokens.2"), "bytes:\\xe4");
    done(v);
}

/* One float has one spelling, so that a client may compare. */
Test(api_logprobs, a_value_is_spelled_alike_everywhere) {
    weir_top top[1] = {{'a', -1.2345678f}};
    weir_token_event t = fixture_token('a');
    ask.n_top = 1;
    ask.sources = true;
    t.logprob = t.policy_logprob = top[0].logprob;
    t.top = top;
    t.n_top = 1;
    json_t *v = answer(NULL, &t, 1, false);
    cr_expect(strstr(raw.data, "\"token_logprobs\":[-1.23456776],\"top_logprobs\":[{\"a\":-1.23456776}]"));
    cr_expect(strstr(raw.data, "\"policy_logprobs\":[-1.23456776]"));
    done(v);
}

/* ---- echo ---------------------------------------------------------------------------------------------- */

/* A prompt with a control token and a character of two tokens, as lm-eval sends it: one token more, which it
 * drops. */
Test(api_logprobs, echo_scores_the_prompt) {
    int32_t ids[] = {TOKEN_END, 'A', 0xc3, 0xbc, TOKEN_WORD};
    api_prompt prompt = {ids, 5};
    const float scores[] = {-1, -2, -3, -4};
    weir_top top[8] = {{'A', -1},  {'B', -1.5f}, {'x', -1},    {'y', -2},
                       {0xbc, -3}, {-1, 0},      {'q', -0.5f}, {'r', -0.75f}};
    ask.prompts = &prompt;
    ask.echo = true;
    ask.n_top = 2;
    const weir_token_event t = fixture_token('!');
    json_t *v = answer(&(api_scored){scores, top, 4}, &t, 1, true), *l = at(v, "choices.0.logprobs");
    cr_expect_str_eq(text_at(v, "choices.0.text"), "<end>A\xc3\xbc word!");
    static const char *const spelled[] = {"<end>", "A", "bytes:\\xc3", "bytes:\\xbc", " word", "!"};
    static const int64_t offsets[] = {0, 5, 6, 7, 7, 12};
    cr_assert(json_array_size(at(l, "tokens")) == 6 && json_array_size(at(l, "token_logprobs")) == 6 &&
              json_array_size(at(l, "top_logprobs")) == 6 && json_array_size(at(l, "text_offset")) == 6);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_str_eq(json_string_value(json_array_get(at(l, "tokens"), i)), spelled[i]);
        cr_expect(json_integer_value(json_array_get(at(l, "text_offset"), i)) == offsets[i], "token %zu", i);
    }
    cr_expect(is_null_at(l, "token_logprobs.0") && is_null_at(l, "top_logprobs.0"));
    cr_expect(json_real_value(at(l, "token_logprobs.4")) == -4.0 &&
              json_real_value(at(l, "top_logprobs.2.bytes:\\xc3")) == -2.0);
    cr_expect(json_object_size(at(l, "top_logprobs.1")) == 2 &&
              json_object_size(at(l, "top_logprobs.3")) == 1 &&
              json_object_size(at(l, "top_logprobs.4")) == 3);
    cr_expect(int_at(v, "usage.prompt_tokens") == 5 && int_at(v, "usage.completion_tokens") == 1);
    done(v);
}

/* What the engine puts in front of a prompt is not in its text. */
Test(api_logprobs, echo_leaves_out_the_bos) {
    int32_t ids[] = {TOKEN_END, ' ', 'A'};
    api_prompt prompt = {ids, 3};
    ask.prompts = &prompt;
    ask.echo = true;
    server->facts.bos_id = TOKEN_END;
    server->facts.add_bos = true;
    const weir_token_event t = fixture_token('!');
    json_t *v = answer(NULL, &t, 1, true), *l = at(v, "choices.0.logprobs");
    cr_expect_str_eq(text_at(v, "choices.0.text"), " A!");
    cr_expect(json_array_size(at(l, "tokens")) == 4 && int_at(l, "text_offset.1") == 0 &&
              int_at(l, "text_offset.3") == 2);
    cr_expect(is_null_at(l, "token_logprobs.1"), "not scored");
    done(v);
    ask.logprobs = false;
    v = answer(NULL, &t, 1, true);
    cr_expect_str_eq(text_at(v, "choices.0.text"), " A!");
    cr_expect(is_null_at(v, "choices.0.logprobs"));
    done(v);
}

/* Vocabularies that put a space before the first word: the echo is the text that was sent. */
Test(api_logprobs, echo_is_the_prompt_whatever_the_vocabulary_adds) {
    static const char *const files[] = {"tiny_llama2", "tiny_gemma", "tiny_qwen2"};
    static const char *const texts[] = {"a word", " a word", "  two", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80",
                                        "\n"};
    ask.echo = true;
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, WEIR_SOURCE_DIR "/tests/golden/tokenizer/%s.json", files[i]);
        fixture_vocabulary(path);
        for (size_t k = 0; k < 5; k++) {
            api_prompt prompt = {NULL, 0};
            ask.prompts = &prompt;
            cr_assert(weir_tokenize(server->engine, texts[k], strlen(texts[k]), false, true, &prompt.ids,
                                    &prompt.n, NULL) == WEIR_OK);
            json_t *v = answer(NULL, NULL, 0, true);
            cr_expect_str_eq(text_at(v, "choices.0.text"), texts[k], "%s: \"%s\" for \"%s\"", files[i],
                             text_at(v, "choices.0.text"), texts[k]);
            done(v);
            weir_ids_free(prompt.ids);
        }
    }
}

/* The prompt goes out with the first token, or with the end where there is none. */
Test(api_logprobs, a_stream_sends_the_echo_with_the_first_token) {
    ask.echo = ask.stream = true;
    for (int empty = 0; empty < 2; empty++) {
        api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
        wire_buf out = {0};
        int n_done = 0;
        const weir_token_event t = fixture_token('!');
        api_end e = fixture_end(!empty);
        e.eos = -1;
        e.finish = WEIR_FINISH_LENGTH;
        cr_assert(api_answer_prompt(a, 0, &(api_scored){(const float[]){-1}, NULL, 1}));
        if (!empty) cr_assert(api_answer_tokens(a, 0, &t, 1, &out) && out.len > 0);
        cr_assert(api_answer_end(a, 0, &e, &out));
        json_t *v = fixture_events(&out, &n_done);
        cr_assert(json_array_size(v) == 2);
        cr_expect_str_eq(text_at(v, "0.choices.0.text"), empty ? "Hi" : "Hi!");
        cr_expect(json_array_size(at(v, "0.choices.0.logprobs.tokens")) == (size_t)(3 - empty));
        cr_expect_str_eq(text_at(v, "1.choices.0.finish_reason"), "length");
        json_decref(v);
        wire_buf_free(&out);
        api_answer_free(a);
    }
}

/* Without a tokenizer a token's number stands for it. */
Test(api_logprobs, ids_without_a_vocabulary) {
    weir_token_event t = fixture_token('a');
    t.id = 100000;
    json_t *v = answer(NULL, &t, 1, false);
    cr_expect_str_eq(text_at(v, "tokens.0"), "token_id:100000");
    done(v);
}
