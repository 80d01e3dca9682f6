/* What ended a session, and the log-probabilities of the end-of-text token that is not among its ids. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "host/state.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/pair_fixture.h"

static void finish(weir_engine *e, weir_session *s, weir_session_view *v) {
    weir_err err = {""};
    cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
    weir_session_get(s, v);
}

static void expect_end(const weir_session_view *v, weir_ended by, weir_finish finish, int stop,
                       const char *what) {
    cr_expect(v->ended_by == by && v->finish == finish && v->stop == stop, "%s: %s, %s, stop %d", what,
              weir_ended_name(v->ended_by), weir_finish_name(v->finish), v->stop);
    if (by == WEIR_ENDED_EOS) return;
    cr_expect(v->eos == -1 && isnan(v->eos_logprob) && isnan(v->eos_policy_logprob), "%s", what);
}

Test(ended, names_are_those_of_the_header) {
    static const char *const names[] = {"not", "eos", "stop", "limit", "context", "cancelled"};
    for (int i = 0; i < 6; i++) cr_expect_str_eq(weir_ended_name((weir_ended)i), names[i]);
    cr_expect_str_eq(weir_ended_name((weir_ended)6), "unknown");
}

/* Of a token that the verifier predicted, what a score of the same text says. */
static void expect_scored(weir_engine *e, const weir_session *s, const weir_session_view *v,
                          const char *what) {
    static int32_t text[256];
    static float logp[256];
    memcpy(text, v->ids, v->n * sizeof *text);
    text[v->n] = v->eos;
    cr_assert(weir_score(e, s->prompt, s->n_prompt, text, v->n + 1, logp, NULL) == WEIR_OK);
    cr_expect_float_eq(v->eos_logprob, logp[v->n], 1e-5, "%s: %g, scored %g", what, (double)v->eos_logprob,
                       (double)logp[v->n]);
}

Test(ended, the_end_of_text_has_its_log_probabilities) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    int ended[6] = {0};
    for (int m = 0; m < 6; m++)
        for (int i = 0; i < 10; i++) {
            weir_session_options o = method_options((weir_method)m, 80);
            o.ignore_eos = false;
            o.seed = 3;
            o.law.temp = m == WEIR_METHOD_VERIFIER ? 1.0f : 0.7f;
            weir_session *s = demo_session(e, &o, demo_prompts[i]);
            weir_session_view v;
            weir_session_get(s, &v);
            expect_end(&v, WEIR_ENDED_NOT, WEIR_RUNNING, -1, "before the first step");
            finish(e, s, &v);
            if (v.ended_by == WEIR_ENDED_EOS) {
                ended[m]++;
                expect_end(&v, WEIR_ENDED_EOS, WEIR_FINISH_STOP, -1, weir_method_name(o.method));
                cr_expect(v.eos == 1 && v.eos_policy_logprob <= 0.0f);
                /* the drafter's own end of text: the verifier looks at it in an oracle cascade alone */
                const bool seen = !isnan(v.eos_logprob);
                cr_expect(seen || m == WEIR_METHOD_DRAFTER || m == WEIR_METHOD_TOKEN_CASCADE);
                cr_expect(!seen || m != WEIR_METHOD_DRAFTER);
                if (seen) expect_scored(e, s, &v, weir_method_name(o.method));
                if (m == WEIR_METHOD_VERIFIER) cr_expect_float_eq(v.eos_policy_logprob, v.eos_logprob, 1e-5);
            }
            weir_session_free(s);
        }
    for (int m = 0; m < 6; m++) cr_expect(ended[m] > 0, "%s", weir_method_name((weir_method)m));
    weir_engine_close(e);
}

Test(ended, the_stop_string_is_named) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 40);
    o.law.temp = 0.0f;
    weir_session_view v;
    weir_session *whole = demo_session(e, &o, demo_prompts[2]);
    finish(e, whole, &v);
    char word[3][8] = {"", "\x01", ""};
    cr_assert(v.bytes > 16);
    memcpy(word[0], v.text + 9, 5);
    memcpy(word[2], v.text + 4, 4); /* comes up first */
    const char *const stop[] = {word[0], word[1], word[2], word[2]};
    o.stop = stop;
    o.n_stop = 4;
    weir_session *s = demo_session(e, &o, demo_prompts[2]);
    finish(e, s, &v);
    expect_end(&v, WEIR_ENDED_STOP, WEIR_FINISH_STOP, 2, "four stop strings");
    weir_session_free(s);
    o.n_stop = 2;
    s = demo_session(e, &o, demo_prompts[2]);
    finish(e, s, &v);
    expect_end(&v, WEIR_ENDED_STOP, WEIR_FINISH_STOP, 0, "two stop strings");
    weir_session_free(s);
    o.n_stop = 0;
    s = demo_session(e, &o, demo_prompts[2]);
    finish(e, s, &v);
    expect_end(&v, WEIR_ENDED_LIMIT, WEIR_FINISH_LENGTH, -1, "no stop string");
    weir_session_free(s);
    weir_session_free(whole);
    weir_engine_close(e);
}

Test(ended, the_limit_is_not_the_context) {
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 32);
    static const int32_t prompt[32] = {1, 2, 3};
    for (int max = 10; max <= 14; max++) { /* 20 of 32 positions are the prompt's */
        weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, max);
        weir_session *s = NULL;
        weir_session_view v;
        cr_assert(weir_session_create(e, &o, prompt, 20, NULL, NULL, &s, NULL) == WEIR_OK);
        finish(e, s, &v);
        cr_expect(v.n == (size_t)(max < 12 ? max : 12));
        expect_end(&v, max <= 12 ? WEIR_ENDED_LIMIT : WEIR_ENDED_CONTEXT, WEIR_FINISH_LENGTH, -1,
                   "room of 12");
        weir_session_free(s);
    }
    weir_engine_close(e);
}

static bool refuse_third(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)s;
    (void)ev;
    return ++*(int *)ud < 3;
}

Test(ended, a_callback_and_a_cancel_are_one) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 40);
    const int32_t prompt[] = {83, 39, 1};
    for (int i = 0; i < 2; i++) {
        int told = 0;
        weir_session *s = NULL;
        weir_session_view v;
        cr_assert(weir_session_create(e, &o, prompt, 3, i ? NULL : refuse_third, &told, &s, NULL) == WEIR_OK);
        if (i) weir_session_cancel(s);
        finish(e, s, &v);
        expect_end(&v, WEIR_ENDED_CANCELLED, WEIR_FINISH_CANCELLED, -1, i ? "cancelled" : "refused");
        cr_expect(told == (i ? 0 : 3));
        weir_session_free(s);
    }
    weir_engine_close(e);
}

/* ---- nothing to write ---------------------------------------------------------------------------------- */

/* Beside one that writes: its slot is free again, and the other's tokens are its own. */
static void read_alone(weir_engine *e, weir_session *s, weir_session *beside, const char *what) {
    weir_session *both[2] = {s, beside};
    weir_session_view v;
    weir_err err = {""};
    int64_t left = -1;
    cr_assert(weir_session_prefill(s, 1, &left, &err) == WEIR_OK && left >= 0, "%s: %s", what, err.text);
    cr_assert(weir_step(e, both, 2, 1, &err) == WEIR_OK, "%s: %s", what, err.text);
    weir_session_get(s, &v);
    expect_end(&v, WEIR_ENDED_LIMIT, WEIR_FINISH_LENGTH, -1, what);
    cr_expect(v.n == 0 && v.bytes == 0 && v.stats.n_output == 0 && v.stats.blocks == 0);
    cr_expect(v.stats.verifier_calls == 0 && v.stats.drafter_calls == 0 && s->slot == -1, "%s", what);
    cr_expect(s->cached[WEIR_DRAFTER] == 0 || s->cached[WEIR_VERIFIER] == 0, "%s: no prompt was read", what);
    cr_expect(beside->n > 0 && beside->finish == WEIR_RUNNING);
}

Test(ended, without_tokens_the_prompt_is_read) {
    weir_engine *e = demo_open(2, 1, NULL, true);
    weir_session_options alone = method_options(WEIR_METHOD_SPECULATIVE, 12);
    static answer want, got;
    answer_run(e, &alone, demo_prompts[1], &want);
    for (int m = 0; m < 6; m++) {
        weir_session_options o = method_options((weir_method)m, 0);
        weir_session *s = demo_session(e, &o, demo_prompts[2]);
        weir_session *beside = demo_session(e, &alone, demo_prompts[1]);
        read_alone(e, s, beside, weir_method_name(o.method));
        cr_assert(weir_step(e, &beside, 1, 1000, NULL) == WEIR_OK);
        answer_take(beside, &got);
        answer_assert_same(&want, &got, weir_method_name(o.method));
        weir_session_free(s);
        weir_session_free(beside);
    }
    weir_engine_close(e);
}

/* Of a decoder's context nothing needs to be left then. */
Test(ended, without_tokens_the_prompt_may_fill_the_context) {
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 32);
    static const int32_t prompt[33] = {1, 2, 3};
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 0);
    weir_session *s = NULL, *none = NULL;
    weir_session_view v;
    weir_err err = {""};
    cr_assert(weir_session_create(e, &o, prompt, 32, NULL, NULL, &s, NULL) == WEIR_OK);
    finish(e, s, &v);
    expect_end(&v, WEIR_ENDED_LIMIT, WEIR_FINISH_LENGTH, -1, "a full context");
    cr_expect(weir_session_create(e, &o, prompt, 33, NULL, NULL, &none, &err) == WEIR_ETOOLONG);
    o.max_tokens = 1;
    cr_expect(weir_session_create(e, &o, prompt, 32, NULL, NULL, &none, &err) == WEIR_ETOOLONG);
    o.max_tokens = -1;
    cr_expect(weir_session_create(e, &o, prompt, 3, NULL, NULL, &none, &err) == WEIR_EINVAL);
    cr_expect(strstr(err.text, "[0, 32]"), "%s", err.text);
    weir_session_free(s);
    weir_engine_close(e);
}
