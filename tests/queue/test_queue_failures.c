/* Ops that fail, rows of NaN, memory that ends: every request ends once, and no loop turns for nothing. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tests/host/pairs/counted_ops.h"
#include "tests/queue/queue_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"
#include "tests/support/files.h"

enum { REQUESTS = 4 };

/* ---- ops ----------------------------------------------------------------------------------------------- */

static weir_session_options setting(int i) {
    static const weir_method methods[REQUESTS] = {WEIR_METHOD_SPECULATIVE, WEIR_METHOD_TOKEN_CASCADE,
                                                  WEIR_METHOD_VERIFIER, WEIR_METHOD_SPECULATIVE};
    return method_options(methods[i], 5 + i);
}

static void submit_decoder(weir_queue *q, served *got) {
    for (int i = 0; i < REQUESTS; i++) {
        int32_t ids[512];
        const size_t n = 100 - 30 * (size_t)i;
        const weir_session_options o = setting(i);
        long_prompt(i, n, ids);
        served_submit(q, &got[i], &o, ids, n);
    }
}

/* Afterwards a request is taken and answered, or refused with what broke the engine. */
static void submit_afterwards(weir_queue *q, const answer *want) {
    int32_t ids[512];
    served a;
    weir_err err = {""};
    const weir_session_options o = setting(0);
    long_prompt(0, 100, ids);
    if (q->broken == WEIR_OK) {
        served_submit(q, &a, &o, ids, 100);
        served_all(q);
        served_assert_answer(&a, want, "afterwards");
        served_free(&a);
        return;
    }
    weir_request *r = NULL;
    const weir_queue_job j = queue_job(&o, ids, 100, NULL);
    cr_assert(weir_queue_submit(q, &j, 1, &r, &err) == q->broken && !r);
    cr_assert(err_is_line(&err, "") && strcmp(err.text, q->broken_err.text) == 0, "%s", err.text);
    cr_assert(!served_next(q));
}

static void fail_everywhere(weir_status with, bool recover) {
    static served got[REQUESTS];
    static answer want[REQUESTS];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 2, 1, 200);
    count_ops(e);
    weir_queue *q = queue_open(e);
    submit_decoder(q, got);
    served_all(q);
    for (int i = 0; i < REQUESTS; i++) want[i] = got[i].said;
    weir_queue_close(q);
    ops_failure = with;
    ops_recover = recover;
    long n_broken = 0, n_alone = 0, n = 0;
    for (bool hit = true; hit; n += n < 30 ? 1 : 17) {
        q = queue_open(e);
        q->options.stall_seconds = 0.0;
        submit_decoder(q, got);
        ops_left = n;
        ops_run = 0;
        served_all(q);
        hit = ops_run > n;
        ops_left = -1;
        int n_failed = 0;
        for (int i = 0; i < REQUESTS; i++) {
            served_assert_ended(&got[i], "one of them");
            n_failed += got[i].status != WEIR_OK;
            cr_assert(got[i].status == WEIR_OK || got[i].status == with, "op %ld: %s", n, got[i].err.text);
            if (got[i].status == WEIR_OK) answer_assert_same(&want[i], &got[i].said, "one that was answered");
        }
        cr_assert(hit == (n_failed > 0), "op %ld: %d failed", n, n_failed);
        cr_assert(q->broken == WEIR_OK || q->broken == with);
        cr_assert(q->n_unfinished == 0);
        if (q->broken == WEIR_OK) queue_assert_empty(q); /* who failed alone gave its slot back */
        if (recover && q->broken == WEIR_OK) cr_assert(n_failed <= 1, "op %ld: %d failed", n, n_failed);
        n_alone += n_failed == 1 && q->broken == WEIR_OK;
        n_broken += q->broken != WEIR_OK;
        submit_afterwards(q, &want[0]);
        for (int i = 0; i < REQUESTS; i += 2) served_free(&got[i]);
        weir_queue_close(q);
    }
    cr_assert(n > 100 && n_broken > 3, "%ld ops, %ld broken, %ld alone", n, n_broken, n_alone);
    if (recover) cr_assert(with == WEIR_ECUDA ? n_alone == 0 : n_alone > 10, "%ld alone", n_alone);
    weir_engine_close(e);
}

Test(queue_failures, an_invalid_argument_anywhere) { fail_everywhere(WEIR_EINVAL, true); }
Test(queue_failures, invalid_arguments_from_anywhere_on) { fail_everywhere(WEIR_EINVAL, false); }
Test(queue_failures, no_memory_anywhere) { fail_everywhere(WEIR_ENOMEM, true); }
Test(queue_failures, a_lost_device_anywhere) { fail_everywhere(WEIR_ECUDA, true); }
Test(queue_failures, a_device_that_stays_lost) { fail_everywhere(WEIR_ECUDA, false); }

/* ---- a row of NaN -------------------------------------------------------------------------------------- */

static int accepts, bad_accept;

static weir_status spoil_accept(weir_backend *be, weir_accept_args *a) {
    WEIR_TRY(real_op.accept(be, a));
    if (accepts++ == bad_accept) a->session[0].status = WEIR_EINVAL; /* as for a row of NaN */
    return WEIR_OK;
}

Test(queue_failures, a_row_of_nan_ends_one) {
    static served got[REQUESTS];
    static answer want[REQUESTS];
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 2, 1, 200);
    real_op = e->pair.be->op;
    e->pair.be->op.accept = spoil_accept;
    int n_spoilt = 0;
    for (bad_accept = -1; bad_accept < 8; bad_accept++) {
        accepts = 0;
        weir_queue *q = queue_open(e);
        submit_decoder(q, got);
        served_all(q);
        queue_assert_empty(q);
        int n_failed = 0;
        for (int i = 0; i < REQUESTS; i++) {
            served_assert_ended(&got[i], "one of them");
            if (bad_accept < 0) want[i] = got[i].said;
            if (got[i].status == WEIR_OK) {
                answer_assert_same(&want[i], &got[i].said, "one that was answered");
                continue;
            }
            n_failed++;
            cr_assert(got[i].status == WEIR_ELOGITS && err_is_line(&got[i].err, "not finite"), "%s",
                      got[i].err.text);
            cr_assert(got[i].said.finish == WEIR_FINISH_CANCELLED && got[i].said.n < want[i].n);
        }
        cr_assert(n_failed == (bad_accept >= 0 && bad_accept < accepts), "accept %d: %d", bad_accept,
                  n_failed);
        n_spoilt += n_failed;
        cr_assert(q->broken == WEIR_OK);
        weir_queue_close(q);
    }
    cr_assert(n_spoilt > 3);
    weir_engine_close(e);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static const char *const prompts[3] = {"Hi.", "It snowed.", "Who is that?"};

static bool submit_text(weir_queue *q, served *a, int i) {
    int32_t ids[64];
    weir_session_options o = method_options(i == 1 ? WEIR_METHOD_TOKEN_CASCADE : WEIR_METHOD_SPECULATIVE, 8);
    weir_err err = {""};
    for (int k = 0; k < 3 + i; k++) ids[k] = 30 + 7 * i + k;
    memset(a, 0, sizeof *a);
    const weir_queue_job j = queue_job(&o, ids, (size_t)(3 + i), a);
    const weir_status st = weir_queue_submit(q, &j, 1, &a->request, &err);
    cr_assert(st == WEIR_OK || (st == WEIR_ENOMEM && err_is_line(&err, "") && !a->request), "%s", err.text);
    return st == WEIR_OK;
}

static void serve(weir_queue *q, served *got) {
    bool taken[3];
    for (int i = 0; i < 3; i++) taken[i] = submit_text(q, &got[i], i);
    weir_queue_event ev;
    long number = 0;
    for (weir_queue_next(q, 0.0, &ev); ev.kind != WEIR_QUEUE_IDLE; weir_queue_next(q, 0.0, &ev))
        served_take(&ev, ++number);
    for (int i = 0; i < 3; i++) {
        cr_assert(got[i].wrong == NULL && got[i].n_end == taken[i], "%s: %d ends", prompts[i], got[i].n_end);
        /* a session that lacks memory for its text is cancelled, and tells less than it has */
        const bool lacks_text = q->facts.has_tokenizer && got[i].said.finish == WEIR_FINISH_CANCELLED;
        if (taken[i] && !lacks_text) served_assert_ended(&got[i], prompts[i]);
        if (taken[i] && !lacks_text && got[i].status == WEIR_OK)
            cr_assert(got[i].said.finish != WEIR_FINISH_CANCELLED, "%s: lack of memory is no cancel",
                      prompts[i]);
    }
}

static void starve_everywhere(weir_engine *(*open)(void), bool once) {
    static served got[3];
    static answer want[3];
    alloc_install(0);
    weir_engine *e = open();
    weir_queue *q = queue_open(e);
    serve(q, got);
    for (int i = 0; i < 3; i++) want[i] = got[i].said;
    weir_queue_close(q);
    const long live = alloc_live();
    long n = 0, n_told = 0;
    for (bool hit = true; hit; n += n < 80 ? 1 : build_is_sanitized() ? 97 : 7) {
        const long before = alloc_count();
        weir_err err = {""};
        if (once)
            alloc_fail_only(before + n);
        else
            alloc_fail_after(before + n);
        const weir_status st = weir_queue_open(&q, e, NULL, &err);
        cr_assert(st == WEIR_OK || (st == WEIR_ENOMEM && err_is_line(&err, "memory")), "%s", err.text);
        if (st == WEIR_OK) serve(q, got);
        hit = alloc_count() > before + n;
        alloc_fail_after(LONG_MAX - 1);
        for (int i = 0; i < 3 && st == WEIR_OK; i++) {
            n_told += got[i].status == WEIR_ENOMEM;
            cr_assert(got[i].status == WEIR_OK || got[i].status == WEIR_ENOMEM, "%s", got[i].err.text);
            if (got[i].n_end == 1 && got[i].status == WEIR_OK && got[i].said.finish != WEIR_FINISH_CANCELLED)
                answer_assert_same(&want[i], &got[i].said, prompts[i]);
        }
        if (st == WEIR_OK) weir_queue_close(q);
        cr_assert(alloc_live() == live, "allocation %ld: %ld leak", n, alloc_live() - live);
    }
    cr_assert(n > 40 && n_told > 3, "%ld allocations, %ld ends", n, n_told);
    weir_engine_close(e);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

static weir_engine *open_demo(void) { return demo_open(2, 1, NULL, true); }
static weir_engine *open_ids(void) { return decoder_open(&decoder_pairs[2], "cpu", 2, 1, 200); }

Test(queue_failures, any_allocation_fails_once) { starve_everywhere(open_demo, true); }
Test(queue_failures, all_allocations_fail_from_anywhere_on) { starve_everywhere(open_demo, false); }
Test(queue_failures, any_allocation_without_text_fails_once) { starve_everywhere(open_ids, true); }

/* Tokens that cannot be put to those that nobody took yet: a request that ends meanwhile ends with ENOMEM,
 * and loses none before; one that is given memory in time goes on as if nothing had been. */
static void without_room(bool in_time) {
    static served one, other;
    alloc_install(0);
    weir_engine *e = decoder_open(&decoder_pairs[2], "cpu", 2, 1, 200);
    weir_queue *q = queue_open(e);
    int32_t ids[512];
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 22);
    long_prompt(1, 5, ids);
    served_submit(q, &one, &o, ids, 5);
    o.max_tokens = 100;
    served_submit(q, &other, &o, ids, 5);
    weir_queue_event ev;
    long number = 0;
    while (other.n == 0) { /* `one` has its first tokens with this thread, the next ones gather */
        weir_queue_next(q, 0.0, &ev);
        served_take(&ev, ++number);
    }
    one.request->held = true; /* by a thread that takes its time */
    one.request->holder = (pthread_t){0};
    weir__node_insert(&one.request->in_held, &q->held);
    weir_request *r = one.request;
    while (r->ready.n + 4 < 16) {
        weir_queue_next(q, 0.0, &ev);
        cr_assert(ev.kind == WEIR_QUEUE_TOKENS && ev.request != r);
        served_take(&ev, ++number);
    }
    alloc_fail_after(alloc_count());
    while (r->state != WEIR_REQUEST_ENDED) {
        weir_queue_next(q, 0.0, &ev);
        cr_assert(ev.kind != WEIR_QUEUE_IDLE && ev.request != r);
        served_take(&ev, ++number);
        if (in_time && r->fresh.n > 0) alloc_fail_after(LONG_MAX - 1);
    }
    alloc_fail_after(LONG_MAX - 1);
    r->holder = pthread_self();
    served_all(q);
    if (in_time) {
        served_assert_ended(&one, "one that had to wait");
        cr_assert(one.status == WEIR_OK && one.n == 22, "%s", one.err.text);
    } else {
        cr_assert(one.n_end == 1 && one.status == WEIR_ENOMEM && err_is_line(&one.err, "tokens"), "%s",
                  one.err.text);
        cr_assert(one.n > 8 && one.n < one.said.n);
        cr_assert(memcmp(one.ids, one.said.ids, one.n * sizeof *one.ids) == 0);
    }
    weir_queue_close(q);
    weir_engine_close(e);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

Test(queue_failures, tokens_that_have_no_room_end_the_request) { without_room(false); }
Test(queue_failures, tokens_that_have_no_room_wait_for_it) { without_room(true); }
