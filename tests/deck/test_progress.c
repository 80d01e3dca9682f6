/* What callers' loops rely on: a step that says they may go on has brought a session further, whatever fails
 * inside; and what is interrupted stops at the next unit of work. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "tests/host/pairs/counted_ops.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/files.h"

/* The loop of a front end. Returns the status that ended it, OK where the sessions did; fails the test if it
 * turns for nothing. */
static weir_status drive(weir_engine *e, weir_session **s, int n, int *turns) {
    uint64_t before = 0;
    for (*turns = 0;; ++*turns) {
        weir_err err = {""};
        const weir_status st = weir_step(e, s, n, 1, &err);
        cr_assert(st == WEIR_OK || err_is_line(&err, ""), "status %d without a line", st);
        if (st != WEIR_OK && st != WEIR_ELOGITS) return st;
        uint64_t sum = 0;
        int running = 0;
        for (int i = 0; i < n; i++) {
            weir_session_view v;
            weir_session_get(s[i], &v);
            running += v.finish == WEIR_RUNNING;
            sum += v.n + (s[i]->second_pass ? 1000 : 0) + (v.finish == WEIR_RUNNING ? 0 : 1000000);
        }
        if (running == 0) return WEIR_OK;
        cr_assert(sum > before, "turn %d changed nothing", *turns);
        before = sum;
    }
}

/* Every op of an answer fails once, and from then on: the loop ends. */
static void fail_everywhere(weir_method method, weir_status with) {
    weir_engine *e = demo_open(2, 1, NULL, true);
    count_ops(e);
    ops_failure = with;
    long n = 0;
    for (weir_status st = WEIR_EINVAL; st != WEIR_OK; n += n < 40 ? 1 : 37) {
        const weir_session_options o = method_options(method, 6);
        weir_session *s[2] = {demo_session(e, &o, "Hi."), demo_session(e, &o, "It snowed.")};
        int turns;
        ops_left = n;
        st = drive(e, s, 2, &turns);
        ops_left = -1;
        cr_assert(st == WEIR_OK || st == with, "op %ld: status %d", n, st);
        for (int i = 0; i < 2; i++) weir_session_free(s[i]);
        cr_assert(n < 100000);
    }
    cr_assert(n > 100, "only %ld ops", n);
    weir_engine_close(e);
}

Test(progress, invalid_arguments_anywhere_in_blocks) {
    fail_everywhere(WEIR_METHOD_SPECULATIVE, WEIR_EINVAL);
}
Test(progress, invalid_arguments_anywhere_in_the_verifier) {
    fail_everywhere(WEIR_METHOD_VERIFIER, WEIR_EINVAL);
}
Test(progress, invalid_arguments_anywhere_in_a_token_cascade) {
    fail_everywhere(WEIR_METHOD_TOKEN_CASCADE, WEIR_EINVAL);
}
Test(progress, invalid_arguments_anywhere_in_an_oracle_cascade) {
    fail_everywhere(WEIR_METHOD_ORACLE_CASCADE, WEIR_EINVAL);
}
Test(progress, invalid_arguments_anywhere_in_a_sequence_cascade) {
    fail_everywhere(WEIR_METHOD_SEQUENCE_CASCADE, WEIR_EINVAL);
}
Test(progress, no_memory_anywhere_in_blocks) { fail_everywhere(WEIR_METHOD_SPECULATIVE, WEIR_ENOMEM); }

/* An op that does nothing and says that all is well: accept leaves what the arrays held. */
static weir_status idle_accept(weir_backend *be, weir_accept_args *a) {
    (void)be;
    for (int32_t i = 0; i < a->n_session; i++) a->session[i].status = WEIR_EINVAL; /* as for a row of NaN */
    return WEIR_OK;
}

Test(progress, a_row_of_nan_ends_its_session_and_the_loop_goes_on) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    e->pair.be->op.accept = idle_accept;
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 20);
    weir_session *s = demo_session(e, &o, "Hi.");
    weir_err err = {""};
    cr_expect(weir_step(e, &s, 1, 5, &err) == WEIR_ELOGITS && err_is_line(&err, "not finite"), "%s",
              err.text);
    weir_session_view v;
    weir_session_get(s, &v);
    cr_expect(v.finish == WEIR_FINISH_CANCELLED && s->slot == -1);
    cr_expect(weir_step(e, &s, 1, 5, &err) == WEIR_OK);
    weir_session_free(s);
    weir_engine_close(e);
}

/* Two sessions that end one block apart: the first one's line is kept. */
static int accepts;
static weir_status failing_accept(weir_backend *be, weir_accept_args *a) {
    WEIR_TRY(real_op.accept(be, a));
    for (int32_t i = 0; i < a->n_session; i++)
        if (accepts > 0 || i == 0) a->session[i].status = WEIR_EINVAL;
    accepts++;
    return WEIR_OK;
}

Test(progress, the_first_of_two_failures_is_told) {
    weir_engine *e = demo_open(2, 1, NULL, true);
    real_op = e->pair.be->op;
    e->pair.be->op.accept = failing_accept;
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 20);
    weir_session *s[2] = {demo_session(e, &o, "Hi."), demo_session(e, &o, "It snowed a lot.")};
    weir_err err = {""};
    cr_expect(weir_step(e, s, 2, 5, &err) == WEIR_ELOGITS && strstr(err.text, "output token 0:"), "%s",
              err.text);
    weir_session_view v;
    for (int i = 0; i < 2; i++) {
        weir_session_get(s[i], &v);
        cr_expect(v.finish == WEIR_FINISH_CANCELLED && (v.n > 0) == (i == 1), "session %d: %zu tokens", i,
                  v.n);
        weir_session_free(s[i]);
    }
    weir_engine_close(e);
}

/* A row without a largest value has no score. */
static weir_status unusable_stats(weir_backend *be, weir_row_stats_args *a) {
    WEIR_TRY(real_op.row_stats(be, a));
    a->out[a->n_row - 1].max = NAN;
    return WEIR_OK;
}

Test(progress, a_row_of_nan_has_no_score) {
    weir_engine *e = demo_open(1, 1, NULL, false);
    real_op = e->pair.be->op;
    e->pair.be->op.row_stats = unusable_stats;
    const int32_t prompt[2] = {5, 1}, completion[3] = {6, 7, 8};
    float scores[3];
    weir_err err = {""};
    cr_expect(weir_score(e, prompt, 2, completion, 3, scores, &err) == WEIR_ELOGITS, "%s", err.text);
    cr_expect(err_is_line(&err, "not finite"), "%s", err.text);
    weir_engine_close(e);
}

/* The verifier's row alone: a token that was kept from the drafter is not told beside it. */
static const weir_row_stats *verifiers;
static weir_status unusable_verifier(weir_backend *be, weir_row_stats_args *a) {
    WEIR_TRY(real_op.row_stats(be, a));
    if (a->out == verifiers) a->out[0].max = NAN;
    return WEIR_OK;
}

Test(progress, a_verifiers_row_of_nan_ends_a_session_that_keeps) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    real_op = e->pair.be->op;
    verifiers = e->deck.dev.p_stats;
    e->pair.be->op.row_stats = unusable_verifier;
    const weir_session_options o = method_options(WEIR_METHOD_ORACLE_CASCADE, 20);
    weir_session *s = demo_session(e, &o, "Hi.");
    weir_err err = {""};
    cr_expect(weir_step(e, &s, 1, 5, &err) == WEIR_ELOGITS && err_is_line(&err, "token 0"), "%s", err.text);
    weir_session_free(s);
    weir_engine_close(e);
}

/* A loop of the backend that never says that a block is done: the step fails instead of waiting for one. */
static weir_status idle_close(weir_backend *be, weir_loop_close *a) {
    (void)be, (void)a;
    return WEIR_OK;
}

Test(progress, a_loop_that_closes_no_block_is_a_failure, .timeout = 60) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    e->pair.be->op.loop_close = idle_close;
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 20);
    weir_session *s = demo_session(e, &o, "Hi.");
    weir_err err = {""};
    cr_expect(weir_step(e, &s, 1, 5, &err) == WEIR_ECUDA && err_is_line(&err, ""), "%s", err.text);
    weir_session_free(s);
    weir_engine_close(e);
}

/* A loop that says that a block is done and brings no session further. */
static weir_status dead_close(weir_backend *be, weir_loop_close *a) {
    const weir_loop *l = a->loop;
    (void)be;
    memset(l->ring, 0, (size_t)l->n_seat * sizeof *l->ring);
    l->flags->over = 1;
    __atomic_store_n(&l->flags->done, ++l->block[0], __ATOMIC_RELEASE);
    return WEIR_OK;
}

Test(progress, a_loop_of_dead_blocks_is_a_failure, .timeout = 60) {
    weir_engine *e = demo_open(1, 1, NULL, true);
    e->pair.be->op.loop_close = dead_close;
    const weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 20);
    weir_session *s = demo_session(e, &o, "Hi.");
    weir_err err = {""};
    cr_expect(weir_step(e, &s, 1, 5, &err) == WEIR_EINVAL && err_is_line(&err, "none got further"), "%s",
              err.text);
    weir_session_free(s);
    weir_engine_close(e);
}

/* ---- interrupts ---------------------------------------------------------------------------------------- */

typedef struct asker {
    long asked, yes_from;   /* number of the question that is the first to be answered with yes */
    const weir_engine *e;   /* whose prompts are looked at, or NULL */
    long before;            /* ops that had run at the last question */
    long widest, in_prompt; /* most ops between two questions: of all, of those about one prompt */
    bool inside;            /* the last question was about a prompt */
} asker;

static bool ask(void *ud) {
    asker *a = ud;
    const long gap = ops_run - a->before;
    if (gap > a->widest) a->widest = gap;
    const bool inside = a->e && a->e->deck.prefilling;
    if (inside && a->inside && gap > a->in_prompt) a->in_prompt = gap;
    a->inside = inside;
    a->before = ops_run;
    return ++a->asked >= a->yes_from;
}

/* Ops of a chunk through one layer; of a call of 18 rows. */
enum { LONG_PROMPT = 480, UNIT = 24, CALL = 60 };

static weir_engine *open_demo(asker *a) {
    weir_engine_options o = demo_options();
    o.ctx_size = 0;
    o.interrupt = (weir_interrupt){ask, a};
    weir_engine *e = engine_open(&o);
    count_ops(e);
    return e;
}

static weir_session *long_session(weir_engine *e, weir_method method) {
    int32_t ids[LONG_PROMPT];
    for (int i = 0; i < LONG_PROMPT; i++) ids[i] = 20 + i;
    const weir_session_options o = method_options(method, 8);
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, &o, ids, LONG_PROMPT, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
    return s;
}

/* Yes from every question on, one after another: the step ends at once, the session as cancelled, and its
 * slot is free. Returns how many there were. */
static long interrupt_everywhere(weir_engine *e, asker *a, weir_session *(*start)(weir_engine *, weir_method),
                                 weir_method method) {
    long questions = 0;
    for (bool whole = false; !whole; questions++) {
        *a = (asker){.yes_from = questions + 1, .e = e};
        weir_session *s = start(e, method);
        weir_err err = {""};
        ops_run = 0;
        cr_assert(weir_step(e, &s, 1, 100, &err) == WEIR_OK, "question %ld: %s", questions, err.text);
        whole = a->asked < a->yes_from;
        weir_session_view v;
        weir_session_get(s, &v);
        cr_assert(v.finish == (whole ? WEIR_FINISH_LENGTH : WEIR_FINISH_CANCELLED), "question %ld: %s",
                  questions, weir_finish_name(v.finish));
        cr_assert(whole || ops_run == a->before, "question %ld: %ld ops afterwards", questions,
                  ops_run - a->before);
        /* between a token cascade's two prompts the drafter takes steps */
        cr_assert(a->in_prompt <= UNIT || method == WEIR_METHOD_TOKEN_CASCADE,
                  "question %ld: %ld ops without one", questions, a->in_prompt);
        cr_assert(s->slot == -1 && !e->deck.slot_owner[0] && !e->deck.prefilling);
        weir_session_free(s);
    }
    return questions;
}

Test(progress, a_prompt_behind_an_encoder_is_interrupted_between_chunks) {
    asker a = {.yes_from = 1L << 40};
    weir_engine *e = open_demo(&a);
    static const weir_method methods[] = {WEIR_METHOD_SPECULATIVE, WEIR_METHOD_VERIFIER,
                                          WEIR_METHOD_TOKEN_CASCADE, WEIR_METHOD_SEQUENCE_CASCADE};
    for (int i = 0; i < 4; i++) {
        const long questions = interrupt_everywhere(e, &a, long_session, methods[i]);
        cr_assert(questions > 2 * LONG_PROMPT / WEIR_PAGE * 2, "%ld questions", questions);
    }
    weir_engine_close(e);
}

static weir_session *decoder_session(weir_engine *e, weir_method method) {
    const weir_session_options o = method_options(method, 8);
    return decoder_start(e, &o, 69, NULL, NULL);
}

Test(progress, a_decoders_prompt_is_interrupted_between_chunks) {
    asker a = {.yes_from = 1L << 40};
    weir_engine *e = decoder_open(&decoder_pairs[0], "cpu", 1, 1, 200);
    e->deck.interrupt = (weir_interrupt){ask, &a};
    count_ops(e);
    cr_assert(interrupt_everywhere(e, &a, decoder_session, WEIR_METHOD_SPECULATIVE) > 8);
    cr_assert(interrupt_everywhere(e, &a, decoder_session, WEIR_METHOD_TOKEN_CASCADE) > 8);
    weir_engine_close(e);
}

/* One of two is cancelled while its prompt runs; the other one's answer is what it is alone. */
static weir_session *to_cancel;
static int64_t tokens_then; /* of the cancelled session, where it happened inside its prompt; else -1 */
static long late;           /* questions about its prompt that came afterwards */

static bool cancel_it(void *ud) {
    asker *a = ud;
    const bool inside = a->e->deck.prefilling == to_cancel;
    late += tokens_then >= 0 && inside;
    if (++a->asked != a->yes_from) return false;
    if (inside) tokens_then = to_cancel->n;
    weir_session_cancel(to_cancel);
    return false;
}

Test(progress, a_session_is_cancelled_inside_its_prompt_and_alone) {
    static answer want, got;
    asker a = {.yes_from = 1L << 40};
    weir_engine *e = demo_open(2, 1, NULL, true);
    weir_session_options o = method_options(WEIR_METHOD_TOKEN_CASCADE, 12);
    o.law.alpha = 0.95f; /* the verifier is needed late */
    answer_run(e, &o, demo_prompts[1], &want);
    e->deck.interrupt = (weir_interrupt){cancel_it, &a};
    static const char text[] =
        "It snowed a lot and the weather was so nice that we walked along the river and then home again, "
        "where my brother had been waiting for many hours with a bank and a talented young man.";
    bool whole = false;
    int n_inside = 0;
    a.e = e;
    for (a.yes_from = 1; !whole; a.yes_from++) {
        weir_session *s[2] = {demo_session(e, &o, text), demo_session(e, &o, demo_prompts[1])};
        a.asked = late = 0;
        tokens_then = -1;
        to_cancel = s[0];
        cr_assert(weir_step(e, s, 2, 100, NULL) == WEIR_OK);
        whole = a.asked < a.yes_from;
        weir_session_view v;
        weir_session_get(s[0], &v);
        /* one that is asked for after the last of its blocks comes too late */
        cr_assert(v.finish == WEIR_FINISH_CANCELLED || v.n == 12, "question %ld", a.yes_from);
        cr_assert(s[0]->slot == -1 && late == 0);
        cr_assert(tokens_then < 0 || (v.finish == WEIR_FINISH_CANCELLED && (int64_t)v.n == tokens_then),
                  "%zu tokens", v.n);
        n_inside += tokens_then > 0; /* the verifier's prompt, in the middle of an answer */
        answer_take(s[1], &got);
        cr_assert(got.n == want.n && memcmp(got.ids, want.ids, want.n * sizeof *want.ids) == 0,
                  "question %ld", a.yes_from);
        for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    }
    cr_assert(a.yes_from > 30 && n_inside > 0, "only %ld questions, %d in the middle", a.yes_from, n_inside);
    weir_engine_close(e);
}

Test(progress, scores_and_timings_are_interrupted_too) {
    asker a = {.yes_from = 1L << 40};
    weir_engine *e = open_demo(&a);
    int32_t ids[LONG_PROMPT];
    static float logprobs[LONG_PROMPT];
    for (int i = 0; i < LONG_PROMPT; i++) ids[i] = 20 + i;
    weir_err err = {""};
    a = (asker){.yes_from = 1L << 40, .before = ops_run};
    cr_assert(weir_score(e, ids, LONG_PROMPT, ids, LONG_PROMPT, logprobs, &err) == WEIR_OK);
    const long questions = a.asked;
    cr_assert(a.widest <= CALL && ops_run - a.before <= CALL,
              "%ld ops without a question, %ld after the last", a.widest, ops_run - a.before);
    for (long yes = 1; yes <= questions; yes += yes < 30 ? 1 : 7) {
        a = (asker){.yes_from = yes, .before = ops_run};
        cr_assert(weir_score(e, ids, LONG_PROMPT, ids, LONG_PROMPT, logprobs, &err) == WEIR_ECANCELED,
                  "question %ld", yes);
        cr_assert(ops_run == a.before && !e->deck.slot_owner[0], "question %ld: %ld ops afterwards", yes,
                  ops_run - a.before);
    }
    weir_bench_row rows[40];
    int n = 0;
    for (long yes = 1; yes < 60; yes += 7) {
        a = (asker){.yes_from = yes, .before = ops_run};
        cr_assert(weir_bench(e, 40, 2, 3, 2, rows, 40, &n, &err) == WEIR_ECANCELED && n == 0);
        cr_assert(ops_run == a.before && !e->deck.slot_owner[0], "question %ld: %ld ops afterwards", yes,
                  ops_run - a.before);
    }
    a = (asker){.yes_from = 1};
    cr_expect(!(weir_bench_copy(e, 1 << 20, 3) > 0));
    weir_engine_close(e);
}
