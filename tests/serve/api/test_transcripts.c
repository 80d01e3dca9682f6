/* Golden transcripts: what a client reads, as tests/golden/make_serve.py writes it down. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/serve/api/answer_fixture.h"

static api_server *server;
static void set_up(void) { server = fixture_server(); }
TestSuite(api_transcripts, .init = set_up, .fini = fixture_close);

enum { MOST = 32, MOST_STOP = 4 };

static bool is_on(const json_t *o, const char *key) { return json_is_true(json_object_get(o, key)); }

static float real(const json_t *o, const char *key) {
    const json_t *x = json_object_get(o, key);
    return json_is_null(x) ? NAN : json_is_string(x) ? -INFINITY : (float)json_number_value(x);
}

static void read_ask(const json_t *c, api_ask *ask) {
    static char *stop[MOST_STOP];
    const json_t *o = json_object_get(c, "ask"), *stops = json_object_get(o, "stop");
    fixture_ask(ask);
    ask->chat = is_on(o, "chat");
    ask->stream = is_on(o, "stream");
    ask->usage = is_on(o, "usage");
    ask->running_usage = is_on(o, "running_usage");
    ask->echo = is_on(o, "echo");
    ask->logprobs = is_on(o, "logprobs");
    ask->token_ids = is_on(o, "token_ids");
    ask->sources = is_on(o, "sources");
    ask->n_top = (int)int_at(o, "n_top");
    ask->n = (int)int_at(o, "n");
    ask->o.seed = (uint64_t)int_at(o, "seed");
    ask->o.law.rule = weir_rule_parse(text_at(o, "rule"));
    ask->o.law.alpha = real(o, "alpha");
    ask->ignored = json_object_get(o, "ignored");
    for (size_t i = 0; i < json_array_size(stops); i++)
        stop[i] = (char *)(uintptr_t)json_string_value(json_array_get(stops, i));
    ask->stop = stop;
    ask->o.n_stop = (int)json_array_size(stops);
}

static int read_top(const json_t *list, weir_top *out) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        out[i] = (weir_top){(int32_t)json_integer_value(json_array_get(pair, 0)),
                            (float)json_number_value(json_array_get(pair, 1))};
    }
    return (int)json_array_size(list);
}

static int source_of(const char *name) {
    int i = 0;
    while (strcmp(weir_source_name(i), name) != 0) cr_assert(++i < 6, "%s", name);
    return i;
}

static bool play_tokens(api_answer *a, int choice, const json_t *list, wire_buf *out) {
    weir_token_event t[MOST];
    weir_top top[MOST][WEIR_N_TOP_MAX];
    const size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(list, i);
        t[i] = (weir_token_event){.id = (int32_t)int_at(x, "id"),
                                  .source = source_of(text_at(x, "source")),
                                  .logprob = real(x, "logprob"),
                                  .policy_logprob = real(x, "policy"),
                                  .text = text_at(x, "text"),
                                  .bytes = strlen(text_at(x, "text")),
                                  .top = top[i],
                                  .n_top = read_top(at(x, "top"), top[i])};
    }
    return api_answer_tokens(a, choice, t, n, out);
}

static bool play_prompt(api_answer *a, int choice, const json_t *e) {
    float scores[MOST];
    weir_top top[MOST * WEIR_N_TOP_MAX];
    const size_t n = json_array_size(at(e, "scores"));
    int at_top = 0;
    for (size_t i = 0; i < n; i++) {
        scores[i] = (float)json_number_value(json_array_get(at(e, "scores"), i));
        at_top += read_top(json_array_get(at(e, "top"), i), top + at_top);
    }
    return api_answer_prompt(a, choice, n ? &(api_scored){scores, top, n} : NULL);
}

static void read_stats(const json_t *s, weir_session_stats *st) {
    *st = (weir_session_stats){.n_prompt = int_at(s, "n_prompt"),
                               .n_output = int_at(s, "n_output"),
                               .blocks = int_at(s, "blocks"),
                               .drafted = int_at(s, "drafted"),
                               .accepted = int_at(s, "accepted"),
                               .kept = int_at(s, "kept"),
                               .resampled = int_at(s, "resampled"),
                               .rows_examined = int_at(s, "rows_examined"),
                               .rows_deferred = int_at(s, "rows_deferred"),
                               .verifier_calls = int_at(s, "verifier_calls"),
                               .verifier_rows = int_at(s, "verifier_rows"),
                               .drafter_calls = int_at(s, "drafter_calls"),
                               .drafter_rows = int_at(s, "drafter_rows"),
                               .reject_mass = json_number_value(at(s, "reject_mass")),
                               .seconds_prefill = json_number_value(at(s, "seconds_prefill")),
                               .seconds_draft = json_number_value(at(s, "seconds_draft")),
                               .seconds_verify = json_number_value(at(s, "seconds_verify")),
                               .seconds_accept = json_number_value(at(s, "seconds_accept")),
                               .seconds_total = json_number_value(at(s, "seconds_total")),
                               .seconds_first = json_number_value(at(s, "seconds_first"))};
}

static bool play_end(api_answer *a, int choice, const json_t *e, wire_buf *out) {
    api_end end = {.stop = (int)int_at(e, "stop"),
                   .eos = (int32_t)int_at(e, "eos"),
                   .eos_logprob = real(e, "logprob"),
                   .eos_policy_logprob = real(e, "policy"),
                   .deadline = is_on(e, "deadline"),
                   .n_cached = int_at(e, "cached"),
                   .queue_seconds = json_number_value(at(e, "queue"))};
    end.n_eos_top = read_top(at(e, "top"), end.eos_top);
    while (strcmp(weir_finish_name(end.finish), text_at(e, "finish")) != 0) end.finish++;
    while (strcmp(weir_ended_name(end.ended_by), text_at(e, "ended_by")) != 0) end.ended_by++;
    read_stats(at(e, "stats"), &end.stats);
    return api_answer_end(a, choice, &end, out);
}

static void play(const json_t *c, const api_ask *ask, wire_buf *out) {
    api_answer *a = api_answer_begin(server, ask, "cmpl-1", 1);
    wire_buf *to = ask->stream ? out : NULL;
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(c, "events"), i, e) {
        bool ok;
        if (at(e, "tokens"))
            ok = play_tokens(a, (int)int_at(e, "tokens"), at(e, "list"), to);
        else if (at(e, "prompt"))
            ok = play_prompt(a, (int)int_at(e, "prompt"), e);
        else
            ok = play_end(a, (int)int_at(e, "end"), e, to);
        cr_assert(ok);
    }
    cr_assert(api_answer_finish(a, out));
    api_answer_free(a);
}

static void check_case(const json_t *c) {
    api_ask ask;
    wire_buf out = {0};
    int done = 1;
    read_ask(c, &ask);
    play(c, &ask, &out);
    json_t *got = ask.stream ? fixture_events(&out, &done)
                             : json_pack("[o]", json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL));
    const json_t *want = at(c, "want");
    cr_expect(done == 1 && json_array_size(got) == json_array_size(want), "%s: %zu objects, want %zu",
              text_at(c, "name"), json_array_size(got), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        json_t *g = json_array_get(got, i), *w = json_array_get(want, i);
        char *said = json_dumps(g, JSON_COMPACT | JSON_SORT_KEYS),
             *wanted = json_dumps(w, JSON_COMPACT | JSON_SORT_KEYS);
        cr_expect(json_equal(g, w), "%s: object %zu is\n%s\nwant\n%s", text_at(c, "name"), i, said, wanted);
        free(said);
        free(wanted);
    }
    json_decref(got);
    wire_buf_free(&out);
}

Test(api_transcripts, clients_read_what_was_written_down) {
    FILE *f = fopen(WEIR_SOURCE_DIR "/tests/golden/serve/answers.jsonl", "r");
    char *line = NULL;
    size_t cap = 0, n = 0;
    cr_assert(f);
    while (getline(&line, &cap, f) > 0) {
        json_error_t e;
        json_t *c = json_loads(line, 0, &e);
        cr_assert(c, "%s", e.text);
        check_case(c);
        json_decref(c);
        n++;
    }
    cr_expect(n == 12, "%zu cases", n);
    free(line);
    fclose(f);
}
