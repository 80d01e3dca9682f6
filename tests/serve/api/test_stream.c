/* Streams: what is sent when, and that together it is the whole answer. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/serve/api/answer_fixture.h"

enum { MOST = 64 };

static api_server *server;
static void set_up(void) { server = fixture_server(); }
TestSuite(api_stream, .init = set_up, .fini = fixture_close);

/* A text as tokens of one byte each; a character becomes printable with its last byte. */
static int byte_tokens(const char *text, weir_token_event *t) {
    int n = 0;
    for (const char *begin = text, *p = text; *p; p++) {
        t[n] = fixture_token((unsigned char)*p);
        t[n].bytes = 0;
        if (((unsigned char)p[1] & 0xc0) != 0x80) {
            t[n].text = begin;
            t[n].bytes = (size_t)(p + 1 - begin);
            begin = p + 1;
        }
        n++;
    }
    return n;
}

/* What was sent for a choice, put together again. */
typedef struct told {
    char text[4096];
    json_t *tokens, *values, *top, *offsets; /* of logprobs; of a chat tokens alone: content */
    json_t *ids, *sources, *policy;
    int roles, ends, texts; /* chunks with each */
} told;

static void told_init(told *t) {
    *t = (told){.tokens = json_array(),
                .values = json_array(),
                .top = json_array(),
                .offsets = json_array(),
                .ids = json_array(),
                .sources = json_array(),
                .policy = json_array()};
}

static void told_free(told *t) {
    json_t *const all[] = {t->tokens, t->values, t->top, t->offsets, t->ids, t->sources, t->policy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) json_decref(all[i]);
}

static void extend(json_t *list, const json_t *more) {
    if (more) cr_assert(json_array_extend(list, (json_t *)more) == 0);
}

static void take_choice(told *t, const json_t *c, bool chat) {
    const json_t *text = chat ? at(c, "delta.content") : at(c, "text"), *logprobs = at(c, "logprobs");
    cr_expect(t->ends == 0, "something after finish_reason");
    if (at(c, "delta.role")) {
        cr_expect(t->roles == 0 && t->texts == 0 && !t->text[0]);
        t->roles++;
    }
    if (!is_null_at(c, "finish_reason")) {
        cr_expect(chat ? json_object_size(at(c, "delta")) == 0 : json_string_length(text) == 0);
        cr_expect(json_is_null(logprobs) && !at(c, "token_ids") && at(c, "weir"));
        t->ends++;
        return;
    }
    cr_expect(json_is_string(text) && !at(c, "weir") && !at(c, "stop_reason"));
    t->texts += json_string_length(text) > 0;
    const size_t had = strlen(t->text);
    cr_assert(had + json_string_length(text) < sizeof t->text);
    snprintf(t->text + had, sizeof t->text - had, "%s", json_string_value(text));
    extend(t->tokens, at(logprobs, chat ? "content" : "tokens"));
    extend(t->values, at(logprobs, "token_logprobs"));
    extend(t->top, at(logprobs, "top_logprobs"));
    extend(t->offsets, at(logprobs, "text_offset"));
    extend(t->ids, at(c, "token_ids"));
    extend(t->sources, at(c, "sources"));
    extend(t->policy, at(c, "policy_logprobs"));
}

/* Events of a stream to what each choice was told. */
static void take(told *t, int n, const json_t *events, bool chat) {
    size_t i;
    json_t *e;
    json_array_foreach(events, i, e) {
        cr_expect_str_eq(text_at(e, "id"), "cmpl-1");
        cr_expect_str_eq(text_at(e, "object"), chat ? "chat.completion.chunk" : "text_completion");
        cr_expect(int_at(e, "created") == 1 && at(e, "model") && at(e, "system_fingerprint") &&
                  !at(e, "error"));
        const json_t *choices = at(e, "choices");
        cr_assert(json_is_array(choices) && json_array_size(choices) <= 1);
        if (json_array_size(choices) == 0) continue;
        const int64_t index = int_at(choices, "0.index");
        cr_assert(index >= 0 && index < n);
        take_choice(&t[index], at(choices, "0"), chat);
    }
}

/* ---- when ---------------------------------------------------------------------------------------------- */

Test(api_stream, a_chat_begins_with_role_and_text_in_one_write) {
    api_ask ask;
    fixture_ask(&ask);
    ask.chat = ask.stream = true;
    api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
    wire_buf out = {0};
    weir_token_event t[4];
    int done = 0;
    cr_assert(byte_tokens("\xe2\x82\xac", t) == 3);
    cr_assert(api_answer_tokens(a, 0, t, 2, &out) && out.len == 0, "before the first character");
    cr_assert(api_answer_tokens(a, 0, t + 2, 1, &out));
    json_t *v = fixture_events(&out, &done);
    cr_assert(json_array_size(v) == 2 && done == 0);
    cr_expect_str_eq(text_at(v, "0.choices.0.delta.role"), "assistant");
    cr_expect_str_eq(text_at(v, "0.choices.0.delta.content"), "");
    cr_expect(!at(v, "1.choices.0.delta.role"));
    cr_expect_str_eq(text_at(v, "1.choices.0.delta.content"), "\xe2\x82\xac");
    cr_expect(is_null_at(v, "1.choices.0.logprobs") && is_null_at(v, "1.choices.0.finish_reason") &&
              !at(v, "1.usage"));
    json_decref(v);
    wire_buf_free(&out);
    api_answer_free(a);
}

/* An end with nothing before it still says who speaks, and in one write with the rest. */
Test(api_stream, an_empty_chat_has_role_and_end) {
    api_ask ask;
    fixture_ask(&ask);
    ask.chat = ask.stream = true;
    api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
    wire_buf out = {0};
    int done = 0;
    const api_end e = fixture_end(0);
    cr_assert(api_answer_end(a, 0, &e, &out) && api_answer_finish(a, &out));
    json_t *v = fixture_events(&out, &done);
    cr_assert(json_array_size(v) == 2 && done == 1);
    cr_expect_str_eq(text_at(v, "0.choices.0.delta.role"), "assistant");
    cr_expect(json_object_size(at(v, "1.choices.0.delta")) == 0);
    cr_expect_str_eq(text_at(v, "1.choices.0.finish_reason"), "stop");
    json_decref(v);
    wire_buf_free(&out);
    api_answer_free(a);
}

/* Timings and metrics are said once: with the usage, or else on the last chunk. */
Test(api_stream, figures_come_last) {
    for (int usage = 0; usage < 2; usage++) {
        api_ask ask;
        fixture_ask(&ask);
        ask.stream = true;
        ask.usage = usage;
        api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
        wire_buf out = {0};
        int done = 0;
        const api_end e = fixture_end(2);
        const weir_token_event t = fixture_token('a');
        cr_assert(api_answer_tokens(a, 0, &t, 1, &out) && api_answer_tokens(a, 0, &t, 1, &out) &&
                  api_answer_end(a, 0, &e, &out) && api_answer_finish(a, &out));
        json_t *v = fixture_events(&out, &done);
        const size_t n = json_array_size(v);
        cr_assert(n == (size_t)(usage ? 4 : 3) && done == 1);
        for (size_t i = 0; i < n; i++) {
            const json_t *chunk = json_array_get(v, i);
            const bool last = i + 1 == n;
            cr_expect(!!at(chunk, "timings") == last && !!at(chunk, "metrics") == last);
            cr_expect(!usage ? !at(chunk, "usage") : json_is_object(at(chunk, "usage")) == last);
        }
        if (usage) cr_expect(json_array_size(at(v, "3.choices")) == 0);
        if (usage) cr_expect(int_at(v, "3.usage.completion_tokens") == 3);
        json_decref(v);
        wire_buf_free(&out);
        api_answer_free(a);
    }
}

Test(api_stream, running_usage_counts_up) {
    api_ask ask;
    fixture_ask(&ask);
    ask.stream = ask.usage = ask.running_usage = true;
    ask.n = 2;
    api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
    wire_buf out = {0};
    int done = 0;
    const api_end e = fixture_end(2);
    const weir_token_event t[2] = {fixture_token('a'), fixture_token('b')};
    for (int i = 0; i < 2; i++)
        cr_assert(api_answer_tokens(a, i, t, 2, &out) && api_answer_end(a, i, &e, &out));
    cr_assert(api_answer_finish(a, &out));
    json_t *v = fixture_events(&out, &done);
    static const int64_t counts[] = {2, 3, 5, 6, 6};
    cr_assert(json_array_size(v) == 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *u = at(json_array_get(v, i), "usage");
        cr_expect(int_at(u, "prompt_tokens") == 2 && int_at(u, "completion_tokens") == counts[i] &&
                  int_at(u, "total_tokens") == 2 + counts[i]);
    }
    json_decref(v);
    wire_buf_free(&out);
    api_answer_free(a);
}

Test(api_stream, a_failure_ends_it) {
    wire_buf out = {0};
    serve_error e;
    serve_fail(&e, 500, "internal_error", NULL, "logits of \"x\"\nare not finite");
    wire_buf_puts(&out, "data: {}\n\n");
    cr_assert(api_answer_break(&e, &out));
    int done = 0;
    json_t *v = fixture_events(&out, &done);
    cr_assert(json_array_size(v) == 2 && done == 1);
    cr_expect_str_eq(text_at(v, "1.error.code"), "internal_error");
    json_decref(v);
    wire_buf_free(&out);
}

/* ---- cut at each byte ---------------------------------------------------------------------------------- */

/* A text in two blocks, cut at each token, and in blocks of each size. */
static void check_cuts(const char *text, bool chat, const api_end *end) {
    weir_token_event t[MOST];
    const int n = byte_tokens(text, t);
    api_ask ask;
    fixture_ask(&ask);
    ask.chat = chat;
    ask.stream = true;
    for (int cut = 0; cut < 2 * n + 1; cut++) {
        api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
        wire_buf out = {0};
        int done = 0;
        for (int i = 0, next; i < n; i = next) {
            next = cut > n ? i + cut - n : i < cut ? cut : n;
            if (next > n) next = n;
            cr_assert(api_answer_tokens(a, 0, t + i, (size_t)(next - i), &out));
        }
        cr_assert(api_answer_end(a, 0, end, &out) && api_answer_finish(a, &out));
        json_t *v = fixture_events(&out, &done); /* refuses half a character */
        told what;
        told_init(&what);
        take(&what, 1, v, chat);
        cr_expect_str_eq(what.text, text);
        cr_expect(!strstr(out.data, "\xef\xbf\xbd") && what.ends == 1 && what.roles == chat && done == 1);
        told_free(&what);
        json_decref(v);
        wire_buf_free(&out);
        api_answer_free(a);
    }
}

Test(api_stream, characters_are_never_cut) {
    api_end end = fixture_end(20);
    for (int chat = 0; chat < 2; chat++) {
        check_cuts("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z\"\\\n", chat, &end);
        check_cuts("\xf0\x9f\x98\x80\xf0\x9f\x98\x81", chat, &end);
    }
    end.ended_by = WEIR_ENDED_STOP; /* its text was never in an event */
    end.eos = -1;
    check_cuts("until \xe2\x82\xac", true, &end);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* Blocks of choices in turns, as a seed shuffles them; the same for a stream and a whole answer. */
typedef struct script {
    weir_token_event t[8][MOST];
    weir_top top[8][MOST][WEIR_N_TOP_MAX];
    int n[8];
    api_end end[8];
} script;

static uint32_t draw(uint32_t *state, uint32_t n) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

static void make_script(script *s, int n_top, uint32_t seed) {
    static const char *const texts[8] = {"",
                                         "one",
                                         "gr\xc3\xbc\xc3\x9f dich",
                                         "\xe2\x82\xac\xe2\x82\xac \"5\"",
                                         "\n",
                                         "\xf0\x9f\x98\x80",
                                         "what is asked for again",
                                         "z"};
    for (int i = 0; i < 8; i++) {
        s->n[i] = byte_tokens(texts[i], s->t[i]);
        for (int k = 0; k < s->n[i]; k++) {
            weir_token_event *t = &s->t[i][k];
            fixture_top(t, s->top[i][k], n_top);
            t->source = (int)draw(&seed, 6);
            t->logprob = draw(&seed, 9) == 0 ? NAN : -(float)draw(&seed, 1000) / 97;
            t->policy_logprob = draw(&seed, 9) == 0 ? NAN : -(float)draw(&seed, 1000) / 89;
        }
        s->end[i] = fixture_end(s->n[i]);
        if (i % 3 == 1) {
            s->end[i].finish = WEIR_FINISH_LENGTH;
            s->end[i].ended_by = WEIR_ENDED_LIMIT;
            s->end[i].eos = -1;
        }
    }
}

static void play(const script *s, const api_ask *ask, uint32_t seed, wire_buf *out) {
    static const float scores[] = {-3.25f};
    api_answer *a = api_answer_begin(server, ask, "cmpl-1", 1);
    wire_buf *to = ask->stream ? out : NULL;
    int at_token[8] = {0}, left = ask->n;
    bool ended[8] = {false};
    for (int i = 0; ask->echo && i < ask->n; i++)
        cr_assert(api_answer_prompt(a, i, ask->logprobs ? &(api_scored){scores, NULL, 1} : NULL));
    while (left > 0) {
        const int i = (int)draw(&seed, (uint32_t)ask->n);
        int n = 1 + (int)draw(&seed, 6);
        if (ended[i]) continue;
        if (n > s->n[i] - at_token[i]) n = s->n[i] - at_token[i];
        cr_assert(api_answer_tokens(a, i, s->t[i] + at_token[i], (size_t)n, to));
        at_token[i] += n;
        if (at_token[i] < s->n[i]) continue;
        cr_assert(api_answer_end(a, i, &s->end[i], to)); /* in one block with the last tokens */
        ended[i] = true;
        left--;
    }
    cr_assert(api_answer_finish(a, out));
    api_answer_free(a);
}

static void expect_equal(const json_t *got, const json_t *want, const char *what, int mode) {
    const json_t *none = json_array();
    cr_expect(json_equal(got, want ? want : none), "%s, mode %d", what, mode);
    json_decref((json_t *)none);
}

static void compare(const told *t, const json_t *whole, const script *s, const api_ask *ask, int i,
                    int mode) {
    const json_t *c = json_array_get(at(whole, "choices"), (size_t)i), *logprobs = at(c, "logprobs");
    const int64_t counted = s->n[i] + (s->end[i].eos >= 0);
    cr_expect_str_eq(t->text, text_at(c, ask->chat ? "message.content" : "text"), "mode %d", mode);
    cr_expect(t->ends == 1 && t->roles == ask->chat, "mode %d: %d ends, %d roles", mode, t->ends, t->roles);
    expect_equal(t->tokens, at(logprobs, ask->chat ? "content" : "tokens"), "tokens", mode);
    expect_equal(t->values, at(logprobs, "token_logprobs"), "token_logprobs", mode);
    expect_equal(t->top, at(logprobs, "top_logprobs"), "top_logprobs", mode);
    expect_equal(t->offsets, at(logprobs, "text_offset"), "text_offset", mode);
    expect_equal(t->ids, at(c, "token_ids"), "token_ids", mode);
    expect_equal(t->sources, at(c, "sources"), "sources", mode);
    expect_equal(t->policy, at(c, "policy_logprobs"), "policy_logprobs", mode);
    const size_t entries = ask->logprobs ? (size_t)counted + (ask->echo ? 2 : 0) : 0;
    cr_expect(json_array_size(t->tokens) == entries, "mode %d: %zu entries", mode,
              json_array_size(t->tokens));
    cr_expect(json_array_size(t->ids) == (ask->token_ids ? (size_t)counted : 0) &&
                  json_array_size(t->sources) == (ask->sources ? (size_t)counted : 0),
              "mode %d", mode);
}

/* Every combination of what can be asked for, 8 choices in turns: the stream is the whole answer. */
static void check_mode(int mode) {
    static script s;
    api_ask ask;
    fixture_ask(&ask);
    ask.chat = mode & 1;
    ask.usage = mode & 2;
    ask.running_usage = mode & 4;
    ask.logprobs = mode & 8;
    ask.n_top = mode & 16 ? 5 : 0;
    ask.token_ids = mode & 32;
    ask.sources = mode & 64;
    ask.echo = (mode & 128) && !ask.chat;
    ask.n = 8;
    make_script(&s, ask.n_top, (uint32_t)mode);
    wire_buf out = {0}, all = {0};
    int done = 0;
    told t[8];
    play(&s, &ask, (uint32_t)mode + 1, &all);
    ask.stream = true;
    play(&s, &ask, (uint32_t)mode + 2, &out);
    json_t *events = fixture_events(&out, &done),
           *whole = json_loadb(all.data, all.len, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(whole && done == 1);
    for (int i = 0; i < 8; i++) told_init(&t[i]);
    take(t, 8, events, ask.chat);
    for (int i = 0; i < 8; i++) compare(&t[i], whole, &s, &ask, i, mode);
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    cr_expect(!ask.usage || json_equal(at(last, "usage"), at(whole, "usage")), "mode %d", mode);
    cr_expect(json_equal(at(last, "timings"), at(whole, "timings")), "mode %d", mode);
    for (int i = 0; i < 8; i++) told_free(&t[i]);
    json_decref(events);
    json_decref(whole);
    wire_buf_free(&out);
    wire_buf_free(&all);
}

Test(api_stream, all_it_says_is_the_whole_answer) {
    for (int mode = 0; mode < 256; mode++) check_mode(mode);
}
