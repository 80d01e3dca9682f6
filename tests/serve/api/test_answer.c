/* Whole answers of completions and chats: shapes, counts, ends. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/serve/api/answer_fixture.h"
#include "tests/support/alloc.h"

static api_server *server;
static void set_up(void) { server = fixture_server(); }
TestSuite(api_answer, .init = set_up, .fini = fixture_close);

/* The answer to an ask whose choices write text[i], a token a byte, and then end as ends[i]. */
static json_t *answer(const api_ask *ask, const char *const *text, const api_end *ends) {
    wire_buf out = {0};
    api_answer *a = api_answer_begin(server, ask, "cmpl-1", 1700000000);
    for (int i = 0; i < ask->n * ask->n_prompt; i++) {
        for (const char *p = text[i]; *p; p++) {
            const weir_token_event t = fixture_token((unsigned char)*p);
            cr_assert(api_answer_tokens(a, i, &t, 1, NULL));
        }
        cr_assert(api_answer_end(a, i, &ends[i], NULL));
    }
    cr_assert(api_answer_finish(a, &out));
    api_answer_free(a);
    json_error_t e;
    json_t *v = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    cr_assert(v, "%s: %s", e.text, out.data);
    wire_buf_free(&out);
    return v;
}

static json_t *answer_one(const api_ask *ask, const char *text, api_end end) {
    return answer(ask, &text, &end);
}

Test(api_answer, a_completion_has_openai_s_shape) {
    api_ask ask;
    fixture_ask(&ask);
    json_t *v = answer_one(&ask, "so \"it\" is\n", fixture_end(11));
    cr_expect_str_eq(text_at(v, "id"), "cmpl-1");
    cr_expect_str_eq(text_at(v, "object"), "text_completion");
    cr_expect(int_at(v, "created") == 1700000000);
    cr_expect_str_eq(text_at(v, "model"), "demo");
    cr_expect_str_eq(text_at(v, "system_fingerprint"), "weir-0.1.0-0123-4567");
    cr_expect(json_array_size(at(v, "choices")) == 1 && int_at(v, "choices.0.index") == 0);
    cr_expect_str_eq(text_at(v, "choices.0.text"), "so \"it\" is\n");
    cr_expect(is_null_at(v, "choices.0.logprobs") && is_null_at(v, "choices.0.stop_reason"));
    cr_expect_str_eq(text_at(v, "choices.0.finish_reason"), "stop");
    cr_expect(!at(v, "choices.0.token_ids") && !at(v, "choices.0.sources") &&
              !at(v, "choices.0.policy_logprobs") && !at(v, "choices.0.message"));
    json_decref(v);
}

Test(api_answer, a_chat_has_a_message) {
    api_ask ask;
    fixture_ask(&ask);
    ask.chat = true;
    json_t *v = answer_one(&ask, "yes", fixture_end(3));
    cr_expect_str_eq(text_at(v, "object"), "chat.completion");
    cr_expect_str_eq(text_at(v, "choices.0.message.role"), "assistant");
    cr_expect_str_eq(text_at(v, "choices.0.message.content"), "yes");
    cr_expect(is_null_at(v, "choices.0.message.refusal") && !at(v, "choices.0.text"));
    json_decref(v);
}

/* Seven tokens and the end of text; of 20 drafts 7 appeared. The command line's lines count without the
 * end. */
Test(api_answer, usage_counts_the_end_of_text) {
    api_ask ask;
    fixture_ask(&ask);
    api_end end = fixture_end(7);
    end.n_cached = 1;
    json_t *v = answer_one(&ask, "seventh", end);
    cr_expect(int_at(v, "usage.prompt_tokens") == 2 && int_at(v, "usage.completion_tokens") == 8 &&
              int_at(v, "usage.total_tokens") == 10);
    cr_expect(int_at(v, "usage.completion_tokens_details.accepted_prediction_tokens") == 7);
    cr_expect(int_at(v, "usage.completion_tokens_details.rejected_prediction_tokens") == 13);
    cr_expect(int_at(v, "usage.prompt_tokens_details.cached_tokens") == 1);
    cr_expect(int_at(v, "timings.prompt_n") == 2 && int_at(v, "timings.predicted_n") == 8);
    cr_expect(json_real_value(at(v, "timings.predicted_ms")) == 2000.0 &&
              json_real_value(at(v, "timings.predicted_per_second")) == 4.0);
    json_decref(v);
}

Test(api_answer, an_empty_answer_counts_one_token) {
    api_ask ask;
    fixture_ask(&ask);
    ask.logprobs = ask.token_ids = ask.sources = true;
    json_t *v = answer_one(&ask, "", fixture_end(0));
    cr_expect_str_eq(text_at(v, "choices.0.text"), "");
    cr_expect(int_at(v, "usage.completion_tokens") == 1);
    cr_expect(json_array_size(at(v, "choices.0.logprobs.tokens")) == 1);
    cr_expect_str_eq(text_at(v, "choices.0.logprobs.tokens.0"), "<end>");
    cr_expect(int_at(v, "choices.0.token_ids.0") == TOKEN_END && is_null_at(v, "choices.0.sources.0") &&
              json_real_value(at(v, "choices.0.policy_logprobs.0")) == -1.0);
    json_decref(v);
}

Test(api_answer, metrics_are_of_one_choice_and_finite) {
    api_ask ask;
    fixture_ask(&ask);
    json_t *v = answer_one(&ask, "four", fixture_end(4));
    const json_t *s = at(v, "metrics.speculative_decoding");
    cr_expect(json_real_value(at(v, "metrics.queue_time_ms")) == 250.0);
    cr_expect(json_real_value(at(v, "metrics.time_to_first_token_ms")) == 1000.0);
    cr_expect(int_at(s, "num_spec_steps") == 2 && int_at(s, "num_draft_tokens") == 10 &&
              int_at(s, "num_accepted_draft_tokens") == 4 && int_at(s, "num_spec_tokens") == 5);
    cr_expect(json_array_size(at(s, "acceptance_histogram")) == 6 &&
              int_at(s, "acceptance_histogram.2") == 2);
    cr_expect(json_real_value(at(s, "mean_acceptance_length")) == 3.0 &&
              json_real_value(at(s, "draft_acceptance_rate")) == 0.4);
    cr_expect(json_is_true(at(s, "lossless")));
    json_decref(v);
    api_end none = fixture_end(4);
    none.stats.blocks = 0;
    v = answer_one(&ask, "four", none);
    cr_expect(at(v, "metrics.queue_time_ms") && !at(v, "metrics.speculative_decoding"));
    json_decref(v);
    ask.n = 2;
    v = answer(&ask, (const char *const[]){"a", "b"}, (const api_end[]){fixture_end(1), fixture_end(1)});
    cr_expect(!at(v, "metrics") && at(v, "timings"));
    json_decref(v);
}

/* Two prompts of two and three tokens, two choices each: a prompt counts once. */
Test(api_answer, choices_of_several_prompts_add_up) {
    int32_t first[] = {'H', 'i'}, second[] = {'Y', 'o', 'u'};
    api_prompt prompts[] = {{first, 2}, {second, 3}};
    api_ask ask;
    fixture_ask(&ask);
    ask.prompts = prompts;
    ask.n_prompt = ask.n = 2;
    api_end ends[4] = {fixture_end(1), fixture_end(2), fixture_end(3), fixture_end(4)};
    for (int i = 0; i < 4; i++) ends[i].n_cached = 1 + i;
    json_t *v = answer(&ask, (const char *const[]){"a", "bb", "ccc", "dddd"}, ends);
    cr_expect(int_at(v, "usage.prompt_tokens") == 5 && int_at(v, "usage.completion_tokens") == 14);
    cr_expect(int_at(v, "usage.prompt_tokens_details.cached_tokens") == 1 + 3);
    cr_expect_str_eq(text_at(v, "choices.3.text"), "dddd");
    cr_expect(int_at(v, "choices.3.index") == 3);
    cr_expect(json_real_value(at(v, "timings.first_token_ms")) == 750.0);
    json_decref(v);
}

/* What ended it, and the words for it. */
Test(api_answer, ends_have_openai_s_words) {
    char hashes[] = "###", word[] = "END";
    char *stops[] = {hashes, word};
    api_ask ask;
    fixture_ask(&ask);
    ask.stop = stops;
    ask.o.n_stop = 2;
    const struct {
        weir_finish finish;
        weir_ended ended;
        int stop;
        bool deadline;
        const char *reason, *by, *text;
    } cases[] = {
        {WEIR_FINISH_STOP, WEIR_ENDED_EOS, -1, false, "stop", "eos", NULL},
        {WEIR_FINISH_STOP, WEIR_ENDED_STOP, 1, false, "stop", "stop", "END"},
        {WEIR_FINISH_STOP, WEIR_ENDED_STOP, 2, false, "stop", "stop", NULL}, /* no such stop */
        {WEIR_FINISH_LENGTH, WEIR_ENDED_LIMIT, -1, false, "length", "limit", NULL},
        {WEIR_FINISH_LENGTH, WEIR_ENDED_CONTEXT, -1, false, "length", "context", NULL},
        {WEIR_FINISH_CANCELLED, WEIR_ENDED_CANCELLED, -1, true, "length", "deadline", NULL},
        {WEIR_FINISH_STOP, WEIR_ENDED_STOP, 0, true, "length", "deadline", NULL},
        {WEIR_FINISH_CANCELLED, WEIR_ENDED_CANCELLED, -1, false, "length", "cancelled", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        api_end e = fixture_end(2);
        e.finish = cases[i].finish;
        e.ended_by = cases[i].ended;
        e.stop = cases[i].stop;
        e.deadline = cases[i].deadline;
        if (e.ended_by != WEIR_ENDED_EOS) e.eos = -1;
        json_t *v = answer_one(&ask, "ab", e);
        cr_expect_str_eq(text_at(v, "choices.0.finish_reason"), cases[i].reason, "case %zu", i);
        cr_expect_str_eq(text_at(v, "choices.0.weir.ended_by"), cases[i].by, "case %zu", i);
        if (cases[i].text)
            cr_expect_str_eq(text_at(v, "choices.0.stop_reason"), cases[i].text, "case %zu", i);
        else
            cr_expect(is_null_at(v, "choices.0.stop_reason"), "case %zu", i);
        cr_expect(int_at(v, "usage.completion_tokens") == 2 + (e.eos >= 0), "case %zu", i);
        json_decref(v);
    }
}

Test(api_answer, weir_says_what_chose_the_drafts) {
    api_ask ask;
    fixture_ask(&ask);
    ask.o.n_draft = WEIR_GAMMA_AUTO;
    api_end end = fixture_end(1);
    end.costs = "0.25:1.5";
    end.stats.draft_hist[0] = 1, end.stats.draft_hist[3] = 2, end.stats.settled = true;
    json_t *v = answer_one(&ask, "a", end), *w = at(v, "choices.0.weir"),
           *s = at(v, "metrics.speculative_decoding");
    cr_expect_str_eq(text_at(w, "gamma"), "auto");
    cr_expect_str_eq(text_at(w, "costs"), "0.25:1.5");
    cr_expect(int_at(s, "num_spec_tokens") == 3 && json_array_size(at(s, "draft_histogram")) == 4 &&
              int_at(s, "draft_histogram.3") == 2 && json_is_true(at(s, "settled")));
    json_decref(v);
}

Test(api_answer, weir_says_the_settings) {
    api_ask ask;
    fixture_ask(&ask);
    ask.o.law.rule = WEIR_RULE_OPT;
    ask.o.law.alpha = 0.3f;
    ask.o.seed = INT64_MAX;
    ask.ignored = json_pack("[s,s]", "user", "colour");
    json_t *v = answer_one(&ask, "a", fixture_end(1)), *w = at(v, "choices.0.weir");
    cr_expect(int_at(w, "seed") == INT64_MAX && int_at(w, "gamma") == 5 && !at(w, "costs"));
    cr_expect_str_eq(text_at(w, "rule"), "opt");
    cr_expect(json_real_value(at(w, "alpha")) == 0.3 && is_null_at(w, "beta"));
    cr_expect(json_is_true(at(w, "reproducible")) && json_is_false(at(w, "lossless")));
    cr_expect_str_eq(text_at(w, "ignored.1"), "colour");
    cr_expect(json_object_size(w) == 9);
    json_decref(v);
    json_decref(ask.ignored);
    ask.ignored = NULL;

    weir_session_options other = ask.o;
    other.n_draft = 2;
    other.law.rule = WEIR_RULE_EXACT;
    api_end e = fixture_end(1);
    e.o = &other;
    v = answer_one(&ask, "a", e);
    w = at(v, "choices.0.weir");
    cr_expect(int_at(w, "gamma") == 2 && json_is_false(at(w, "reproducible")) &&
              json_is_true(at(w, "lossless")) && json_array_size(at(w, "ignored")) == 0);
    cr_expect(json_array_size(at(v, "metrics.speculative_decoding.acceptance_histogram")) == 3);
    json_decref(v);
}

Test(api_answer, tokens_are_said_on_request) {
    api_ask ask;
    fixture_ask(&ask);
    ask.token_ids = ask.sources = true;
    api_answer *a = api_answer_begin(server, &ask, "cmpl-1", 1);
    weir_token_event t[3] = {fixture_token('a'), fixture_token('b'), fixture_token(TOKEN_WORD)};
    t[1].source = WEIR_SOURCE_KEPT;
    t[1].policy_logprob = NAN;
    t[2].source = WEIR_SOURCE_VERIFIER;
    api_end e = fixture_end(3);
    e.eos = -1;
    wire_buf out = {0};
    cr_assert(api_answer_tokens(a, 0, t, 3, NULL) && api_answer_end(a, 0, &e, NULL) &&
              api_answer_finish(a, &out));
    json_t *v = json_loadb(out.data, out.len, 0, NULL), *c = at(v, "choices.0");
    cr_assert(json_array_size(at(c, "token_ids")) == 3 && json_array_size(at(c, "sources")) == 3);
    cr_expect(int_at(c, "token_ids.2") == TOKEN_WORD);
    cr_expect_str_eq(text_at(c, "sources.1"), "kept");
    cr_expect_str_eq(text_at(c, "sources.2"), "verifier");
    cr_expect(is_null_at(c, "policy_logprobs.1") &&
              json_real_value(at(c, "policy_logprobs.2")) == (double)-0.25f);
    json_decref(v);
    wire_buf_free(&out);
    api_answer_free(a);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* jansson's own memory fails on demand, too. */
static long json_left = -1;
static void *json_alloc(size_t n) {
    if (json_left == 0) return NULL;
    if (json_left > 0) json_left--;
    return malloc(n);
}

/* All calls of one answer; false once one of them is. */
static bool run(const api_ask *ask, wire_buf *out) {
    api_answer *a = api_answer_begin(server, ask, "cmpl-1", 1);
    weir_top top[3];
    weir_token_event t[2] = {fixture_token('a'), fixture_token(0xe4)};
    const api_end e = fixture_end(4);
    fixture_top(&t[0], top, 3);
    bool ok = a != NULL;
    for (int i = 0; ok && i < ask->n; i++) {
        wire_buf *to = ask->stream ? out : NULL;
        ok = (!ask->echo || api_answer_prompt(a, i, &(api_scored){(const float[]){-1}, NULL, 1})) &&
             api_answer_tokens(a, i, t, 2, to) && api_answer_tokens(a, i, t, 2, to) &&
             api_answer_end(a, i, &e, to);
    }
    ok = ok && api_answer_finish(a, out);
    api_answer_free(a);
    return ok;
}

static void check_memory(const api_ask *ask) {
    long failures = 0;
    for (long i = 0, more = 1; more; i++) {
        wire_buf out = {0};
        alloc_install(i + 1);
        const bool ok = run(ask, &out);
        int done = 0;
        /* what was sent before is whole */
        if (ask->stream && out.len > 0) json_decref(fixture_events(&out, &done));
        cr_expect(ok || out.len == 0 || (ask->stream && done == 0), "allocation %ld", i);
        wire_buf_free(&out);
        cr_expect(alloc_live() == 0, "allocation %ld: %ld blocks left", i, alloc_live());
        alloc_uninstall();
        more = !ok;
        failures += !ok;
    }
    cr_expect(failures > 5, "%ld", failures);
    for (long i = 0, more = 1; more; i++) {
        wire_buf out = {0};
        json_left = i;
        const bool ok = run(ask, &out);
        json_left = -1;
        more = !ok;
        failures += !ok;
        wire_buf_free(&out);
    }
    cr_expect(failures > 20, "%ld", failures);
}

Test(api_answer, every_failing_allocation_is_said) {
    json_set_alloc_funcs(json_alloc, free);
    for (int mode = 0; mode < 16; mode++) {
        api_ask ask;
        fixture_ask(&ask);
        ask.chat = mode & 1;
        ask.stream = ask.usage = mode & 2;
        ask.logprobs = ask.token_ids = ask.sources = mode & 4;
        ask.n_top = 3;
        ask.echo = (mode & 8) && !ask.chat;
        ask.n = 1 + (mode & 1);
        check_memory(&ask);
    }
}
