/* Requests that need no session. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/api/calls.h"
#include "tests/serve/api/ask_fixture.h"
#include "tests/support/alloc.h"

static void open_all(void) {
    alloc_install(0);
    servers_open();
}

TestSuite(calls, .init = open_all, .fini = servers_close);

typedef bool call(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e);

static bool rule(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e) {
    (void)s;
    return api_rule(body, n, out, e);
}

/* The scores are -1, -2, … */
static bool score(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e) {
    wire_pair p;
    float logprobs[16];
    bool ok = api_score_read(s, body, n, &p, e);
    for (size_t i = 0; ok && i < p.n[1]; i++) logprobs[i] = -1.0f - (float)i;
    ok = ok && api_score_write(&p, logprobs, out, e);
    wire_pair_free(&p);
    return ok;
}

static json_t *parsed(wire_buf *out) {
    json_t *v = json_loadb(out->data, out->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    cr_assert(v, "%s", out->data);
    wire_buf_free(out);
    return v;
}

static json_t *says(call *f, const api_server *s, const char *body) {
    wire_buf out = {0};
    said = (serve_error){0};
    cr_assert(f(s, body, strlen(body), &out, &said), "%s: %s", body, said.message.text);
    return parsed(&out);
}

static void refuses(call *f, const api_server *s, const char *body, const char *code, const char *param,
                    const char *words) {
    wire_buf out = {0};
    said = (serve_error){0};
    cr_assert(!f(s, body, strlen(body), &out, &said), "%s is taken", body);
    cr_expect(said.status == 400 || said.status == 404);
    cr_expect_str_eq(said.code, code, "%s: %s %s", body, said.code, said.message.text);
    cr_expect_str_eq(said.param, param, "%s: %s %s", body, said.param, said.message.text);
    cr_expect(strstr(said.message.text, words), "%s: %s", body, said.message.text);
    wire_buf_free(&out);
}

static const json_t *at(const json_t *v, const char *key) { return json_object_get(v, key); }

static void expect_ids(const json_t *list, const char *text, bool add_special, bool parse_special) {
    int32_t *ids = NULL;
    size_t n = 0;
    cr_assert(weir_tokenize(demo.engine, text, strlen(text), add_special, parse_special, &ids, &n, NULL) ==
              WEIR_OK);
    cr_assert(json_array_size(list) == n, "%s: %zu ids, not %zu", text, json_array_size(list), n);
    for (size_t i = 0; i < n; i++) cr_expect(json_integer_value(json_array_get(list, i)) == ids[i]);
    weir_ids_free(ids);
}

/* ---- tokens -------------------------------------------------------------------------------------------- */

Test(calls, tokenize_adds_what_each_peer_adds) {
    static const struct {
        const char *body;
        bool add_special, parse_special;
    } cases[] = {
        {"{\"content\": \"a</s>b\"}", false, true},
        {"{\"prompt\": \"a</s>b\"}", true, true},
        {"{\"content\": \"a</s>b\", \"add_special\": true, \"parse_special\": false}", true, false},
        {"{\"prompt\": \"a</s>b\", \"add_special_tokens\": false, \"model\": \"demo:exact\"}", false, true},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a</s>b\"}]}", true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v = says(api_tokenize, &demo, cases[i].body);
        expect_ids(at(v, "tokens"), "a</s>b", cases[i].add_special, cases[i].parse_special);
        cr_expect(json_integer_value(at(v, "count")) == (json_int_t)json_array_size(at(v, "tokens")));
        cr_expect(json_integer_value(at(v, "max_model_len")) == 512);
        json_decref(v);
    }
    json_t *v = says(api_tokenize, &demo, "{\"prompt\": \"a\", \"with_pieces\": true}");
    const json_t *last = json_array_get(at(v, "tokens"), json_array_size(at(v, "tokens")) - 1);
    cr_expect(json_integer_value(at(last, "id")) == 1);
    cr_expect_str_eq(json_string_value(at(last, "piece")), "</s>");
    json_decref(v);
    v = says(api_tokenize, &demo, "{\"content\": \"\"}");
    cr_expect(json_array_size(at(v, "tokens")) == 0);
    json_decref(v);
}

Test(calls, tokenize_refuses) {
    refuses(api_tokenize, &demo, "{}", "invalid_value", "prompt",
            "expected one of content, prompt and messages");
    refuses(api_tokenize, &demo, "{\"prompt\": \"a\", \"content\": \"a\"}", "invalid_value", "prompt",
            "one of");
    refuses(api_tokenize, &demo, "{\"prompt\": [\"a\"]}", "invalid_value", "prompt", "expected a string");
    refuses(api_tokenize, &demo, "{\"prompts\": \"a\"}", "unknown_parameter", "prompts",
            "the nearest is \"prompt\"");
    refuses(api_tokenize, &demo, "{\"prompt\": \"a\", \"model\": \"b\"}", "model_not_found", "model", "demo");
    refuses(api_tokenize, &demo, "{\"prompt\": \"a\", \"add_special\": 1}", "invalid_value", "add_special",
            "expected true or false");
    refuses(api_tokenize, &decoder, "{\"prompt\": \"a\"}", "invalid_value", "prompt", "has no tokenizer");
    refuses(api_tokenize, &demo, "{", "invalid_json", "", "byte");
}

Test(calls, detokenize_gives_the_text_under_both_names) {
    json_t *v = says(api_detokenize, &demo, "{\"tokens\": [98, 1215, 55, 16, 297, 3, 1]}");
    cr_expect_str_eq(json_string_value(at(v, "content")), "It snowed a lot.");
    cr_expect_str_eq(json_string_value(at(v, "prompt")), "It snowed a lot.");
    json_decref(v);
    v = says(api_detokenize, &demo, "{\"tokens\": []}");
    cr_expect_str_eq(json_string_value(at(v, "prompt")), "");
    json_decref(v);
    refuses(api_detokenize, &demo, "{}", "invalid_value", "tokens", "missing");
    refuses(api_detokenize, &demo, "{\"tokens\": \"a\"}", "invalid_value", "tokens",
            "expected a list of token ids");
    refuses(api_detokenize, &demo, "{\"tokens\": [1, 5988]}", "invalid_value", "tokens",
            "token 1: 5988 is out of range, expected 0 to 5987");
    refuses(api_detokenize, &decoder, "{\"tokens\": [1]}", "invalid_value", "tokens", "has no tokenizer");
}

Test(calls, tokenizer_info_has_what_a_remote_tokenizer_asks_for) {
    wire_buf out = {0};
    cr_assert(api_tokenizer_info(&demo, &out, &said));
    json_t *v = parsed(&out);
    cr_expect_str_eq(json_string_value(at(v, "eos_token")), "</s>");
    cr_expect(json_is_null(at(v, "bos_token")) && json_is_null(at(v, "chat_template")));
    json_decref(v);
}

Test(calls, apply_template_gives_text_and_ids) {
    json_t *v = says(
        api_apply_template, &demo,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"It </s>\"}], \"add_generation_prompt\": true}");
    cr_expect_str_eq(json_string_value(at(v, "prompt")), "It </s>");
    expect_ids(at(v, "tokens"), "It </s>", true, false);
    json_decref(v);
    refuses(api_apply_template, &demo, "{}", "invalid_value", "messages", "missing");
    refuses(api_apply_template, &decoder, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
            "invalid_value", "messages", "no chat template");
}

/* ---- models, settings, slots --------------------------------------------------------------------------- */

Test(calls, models_are_the_pair_under_each_name_with_each_setting) {
    static const char *const want[] = {"demo",          "demo:exact", "demo:verifier", "demo:drafter",
                                       "demo:fast",     "alias",      "alias:exact",   "alias:verifier",
                                       "alias:drafter", "alias:fast"};
    wire_buf out = {0};
    cr_assert(api_models(&demo, &out, &said));
    json_t *v = parsed(&out);
    cr_assert(json_array_size(at(v, "data")) == 10);
    for (size_t i = 0; i < 10; i++) {
        const json_t *one = json_array_get(at(v, "data"), i);
        cr_expect_str_eq(json_string_value(at(one, "id")), want[i]);
        cr_assert(api_model_named(&demo, want[i], strlen(want[i]), &out, &said));
        json_t *same = parsed(&out);
        cr_expect(json_equal(one, same), "%s", want[i]);
        json_decref(same);
    }
    const json_t *first = json_array_get(at(v, "data"), 0), *meta = at(first, "meta");
    cr_expect_str_eq(json_string_value(at(first, "object")), "model");
    cr_expect(json_integer_value(at(first, "created")) == 1700000000);
    cr_expect(json_integer_value(at(meta, "n_ctx")) == 512 &&
              json_integer_value(at(meta, "n_vocab")) == 5988);
    cr_expect(json_integer_value(at(meta, "n_params")) == demo.facts.n_param[0] &&
              json_integer_value(at(meta, "n_params_draft")) == demo.facts.n_param[1]);
    json_decref(v);
    cr_expect(!api_model_named(&demo, "demo:", 5, &out, &said) && said.status == 404);
    cr_expect_str_eq(said.code, "model_not_found");
    cr_assert(api_models(&decoder, &out, &said));
    v = parsed(&out);
    cr_expect(json_array_size(at(v, "data")) == 4);
    json_decref(v);
}

Test(calls, props_have_every_rule_and_never_a_path) {
    wire_buf out = {0};
    cr_assert(api_props(&demo, &out, &said));
    cr_expect(!strstr(out.data, "models/") && !strstr(out.data, WEIR_SOURCE_DIR "/"), "%s", out.data);
    json_t *v = parsed(&out);
    const json_t *rules = at(v, "rules");
    cr_assert(json_array_size(rules) == WEIR_RULE_COUNT);
    for (int i = 0; i < WEIR_RULE_COUNT; i++) {
        const weir_rule_info *r = weir_rule_facts((weir_rule)i);
        const json_t *one = json_array_get(rules, (size_t)i), *alpha = at(one, "alpha"),
                     *beta = at(one, "beta");
        cr_expect_str_eq(json_string_value(at(one, "name")), r->name);
        cr_expect_str_eq(json_string_value(at(one, "help")), r->defers);
        cr_expect(json_is_null(alpha) == (i == WEIR_RULE_EXACT) &&
                      json_is_null(beta) == isnan(r->beta_default),
                  "%s", r->name);
        if (json_is_null(alpha)) continue;
        cr_expect((float)json_number_value(at(alpha, "default")) == r->alpha_default, "%s", r->name);
        cr_expect(json_is_null(at(alpha, "max")) == isinf(r->alpha_max), "%s", r->name);
        cr_expect(json_is_true(at(alpha, "max_open")) == r->alpha_max_open, "%s", r->name);
    }
    const json_t *fast = json_array_get(at(v, "profiles"), 0);
    cr_expect_str_eq(json_string_value(at(fast, "name")), "fast");
    cr_expect_str_eq(json_string_value(at(at(fast, "settings"), "rule")), "token-v3");
    cr_expect(json_integer_value(at(v, "total_slots")) == demo.facts.n_parallel);
    cr_expect(!at(at(at(v, "default_generation_settings"), "params"), "seed"));
    json_decref(v);
    cr_assert(api_props(&decoder, &out, &said));
    v = parsed(&out);
    cr_expect(json_is_null(at(v, "drafter")) && json_is_null(at(v, "chat_format")));
    cr_expect(json_is_null(at(v, "prompt_lookup")));
    json_decref(v);
}

Test(calls, props_say_what_was_quantised) {
    api_server s = demo;
    wire_buf out = {0};
    s.facts.quantized[1] = "q8_0", s.facts.n_quantized[1] = 26, s.facts.n_unquantized[1] = 3;
    cr_assert(api_props(&s, &out, &said));
    json_t *v = parsed(&out);
    const json_t *q = at(at(v, "drafter"), "quantized");
    cr_expect(json_is_null(at(at(v, "verifier"), "quantized")));
    cr_expect_str_eq(json_string_value(at(q, "dtype")), "q8_0");
    cr_expect(json_integer_value(at(q, "matrices")) == 26 && json_integer_value(at(q, "left")) == 3);
    cr_expect(json_is_true(at(q, "same_law_under_exact")));
    json_decref(v);
    s.facts.quantized[0] = "fp8", s.facts.n_unquantized[0] = 46; /* a file in blocks */
    for (int n = 0; n < 2; n++) {
        s.facts.n_quantized[0] = n;
        cr_assert(api_props(&s, &out, &said));
        v = parsed(&out);
        cr_expect(json_is_true(at(at(at(v, "verifier"), "quantized"), "same_law_under_exact")) == (n == 0));
        json_decref(v);
    }
}

/* Of prompt lookup the rules, methods and names that can be asked for. */
Test(calls, prompt_lookup_is_no_drafter) {
    static const char *const want[] = {"demo", "demo:exact", "demo:verifier", "demo:fast"};
    api_server s = demo;
    wire_buf out = {0};
    s.facts.has_draft = false;
    s.facts.draft = WEIR_DRAFT_LOOKUP;
    s.facts.lookup_min = 3, s.facts.lookup_max = 7;
    cr_assert(api_models(&s, &out, &said));
    json_t *v = parsed(&out);
    cr_assert(json_array_size(at(v, "data")) == 8);
    for (size_t i = 0; i < 4; i++)
        cr_expect_str_eq(json_string_value(at(json_array_get(at(v, "data"), i), "id")), want[i]);
    json_decref(v);
    cr_assert(api_props(&s, &out, &said));
    v = parsed(&out);
    cr_expect(json_is_null(at(v, "drafter")));
    cr_expect(json_integer_value(at(at(v, "prompt_lookup"), "min")) == 3);
    cr_expect(json_integer_value(at(at(v, "prompt_lookup"), "max")) == 7);
    const json_t *rules = at(v, "rules");
    cr_assert_eq(json_array_size(rules), 9);
    for (size_t i = 0; i < 9; i++) {
        const json_t *one = json_array_get(rules, i);
        const int rule = weir_rule_parse(json_string_value(at(one, "name")));
        cr_expect(rule >= 0 && weir_rule_facts((weir_rule)rule)->one_hot);
        cr_expect(json_array_size(at(one, "methods")) == 1, "speculative alone");
    }
    json_decref(v);
}

Test(calls, slots_say_what_they_do_and_no_text) {
    const weir_session_options o = weir_session_options_default();
    const api_slot slots[] = {
        {.o = NULL}, {.o = &o, .prefill = true, .n_prompt = 9}, {.o = &o, .n_output = 4}};
    static const char *const states[] = {"idle", "prefill", "running"};
    wire_buf out = {0};
    cr_assert(api_slots(&demo, slots, 3, &out, &said));
    json_t *v = parsed(&out);
    for (size_t i = 0; i < 3; i++) {
        const json_t *one = json_array_get(v, i);
        cr_expect_str_eq(json_string_value(at(one, "state")), states[i]);
        cr_expect(json_is_true(at(one, "is_processing")) == (i > 0) &&
                  json_is_null(at(one, "params")) == (i == 0));
        cr_expect(json_integer_value(at(one, "id")) == (json_int_t)i);
    }
    json_decref(v);
}

/* ---- scores and rules ---------------------------------------------------------------------------------- */

Test(calls, score_is_the_command_s_object) {
    json_t *v = says(score, &demo,
                     "{\"prompt\": \"It snowed a lot.\", \"completion_ids\": [5, 6, 7], \"text\": null}");
    cr_expect(json_array_size(at(v, "completion_ids")) == 3 && json_number_value(at(v, "sum")) == -6);
    cr_expect(json_number_value(json_array_get(at(v, "logprobs"), 2)) == -3);
    json_decref(v);
    v = says(score, &demo, "{\"prompt\": \"a\", \"completion\": \"\"}");
    cr_expect(json_array_size(at(v, "logprobs")) == 0);
    json_decref(v);
    v = says(score, &decoder, "{\"text_ids\": [5, 6, 7]}");
    cr_expect(json_array_size(at(v, "completion_ids")) == 2);
    json_decref(v);
    refuses(score, &demo, "{\"text\": \"a\"}", "invalid_value", "text", "encoder-decoder");
    refuses(score, &demo, "{\"prompt\": \"a\"}", "invalid_value", "completion", "expected either");
    refuses(score, &demo, "{\"prompt\": \"a\", \"completion\": \"b\", \"x\": 1}", "invalid_value", "x",
            "unknown field");
    refuses(score, &decoder, "{\"text\": \"a\"}", "invalid_value", "text", "no tokenizer");
}

Test(calls, rule_is_the_command_s_object) {
    json_t *v = says(rule, &demo,
                     "{\"rule\": \"token-v3\", \"alpha\": 0.5, \"beta\": null, \"q_logits\": [0, 1], "
                     "\"p_logits\": [1, 0]}");
    cr_expect_str_eq(json_string_value(at(v, "rule")), "token-v3");
    cr_expect(json_array_size(at(v, "pi")) == 2 && json_is_number(at(v, "reject")) && !at(v, "counts"));
    json_decref(v);
    refuses(rule, &demo, "{\"q_logits\": [0]}", "invalid_value", "p_logits", "missing");
    refuses(rule, &demo, "{\"rule\": \"lossy\", \"alpha\": 1, \"q_logits\": [0], \"p_logits\": [0]}",
            "invalid_value", "alpha", "not in [0, 1)");
    refuses(rule, &demo, "{\"deferral_rule\": \"lossy\"}", "invalid_value", "deferral_rule", "unknown field");
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static const struct {
    call *f;
    const char *body;
} whole[] = {
    {api_tokenize,
     "{\"content\": \"It snowed\", \"add_special\": true, \"with_pieces\": true, \"zebra\": 1}"},
    {api_detokenize, "{\"tokens\": [98, 1215, 55], \"model\": \"demo\"}"},
    {api_apply_template,
     "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}]}]}"},
    {rule, "{\"rule\": \"typical\", \"alpha\": 0.3, \"q_logits\": [0, 1], \"p_logits\": [1, 0]}"},
    {score, "{\"prompt\": \"It snowed\", \"completion_ids\": [5, 6]}"},
};

enum { N_WHOLE = sizeof whole / sizeof *whole };

Test(calls, every_prefix_is_refused) {
    for (int k = 0; k < N_WHOLE; k++)
        for (size_t n = 0; n < strlen(whole[k].body); n++) {
            wire_buf out = {0};
            char *exact = malloc(n ? n : 1);
            memcpy(exact, whole[k].body, n);
            said = (serve_error){0};
            cr_expect(!whole[k].f(&demo, exact, n, &out, &said) && said.status == 400, "%d: %zu bytes", k, n);
            cr_expect_str_eq(said.code, "invalid_json");
            free(exact);
            wire_buf_free(&out);
        }
}

Test(calls, no_memory_is_an_error_and_leaves_nothing_behind) {
    for (int k = 0; k < N_WHOLE + 4; k++) {
        const long live = alloc_live();
        for (long n = 0;; n++) {
            cr_assert(n < 1000, "%s", said.message.text);
            wire_buf out = {0};
            said = (serve_error){0};
            alloc_fail_after(alloc_count() + n);
            const bool ok = k < N_WHOLE ? whole[k].f(&demo, whole[k].body, strlen(whole[k].body), &out, &said)
                            : k == N_WHOLE     ? api_models(&demo, &out, &said)
                            : k == N_WHOLE + 1 ? api_props(&demo, &out, &said)
                            : k == N_WHOLE + 2 ? api_tokenizer_info(&demo, &out, &said)
                                               : api_slots(&demo, &(api_slot){.n_output = 1}, 1, &out, &said);
            alloc_fail_after(1L << 40);
            wire_buf_free(&out);
            cr_assert(alloc_live() == live, "%d: %ld blocks left when allocation %ld fails", k,
                      alloc_live() - live, n);
            if (ok) {
                cr_expect(n > 0);
                break;
            }
            cr_expect(said.status == 500 && strcmp(said.code, "internal_error") == 0,
                      "%d: allocation %ld: %d %s", k, n, said.status, said.message.text);
        }
    }
}
