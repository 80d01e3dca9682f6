/* Requests that are cancelled or freed at any moment, interrupts, closing, waiting for nothing. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/queue/queue_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"

/* ---- a bed of three requests --------------------------------------------------------------------------- */

enum { REQUESTS = 4, CTX = 300 };

static const size_t lengths[REQUESTS] = {150, 20, 70, 10};

static weir_engine *open_two(void) { return decoder_open(&decoder_pairs[2], "cpu", 2, 1, CTX); }

static weir_session_options setting(int i) {
    return method_options(i == 3 ? WEIR_METHOD_TOKEN_CASCADE : WEIR_METHOD_SPECULATIVE, 6 + i);
}

static void submit_one(weir_queue *q, served *a, int i) {
    int32_t ids[512];
    const weir_session_options o = setting(i);
    long_prompt(i, lengths[i], ids);
    served_submit(q, a, &o, ids, lengths[i]);
}

static void submit_all(weir_queue *q, served *got) {
    for (int i = 0; i < REQUESTS; i++) submit_one(q, &got[i], i);
}

static void all_alone(weir_engine *e, answer *want) {
    for (int i = 0; i < REQUESTS; i++) {
        int32_t ids[512];
        const weir_session_options o = setting(i);
        weir_session *s = NULL;
        long_prompt(i, lengths[i], ids);
        cr_assert(weir_session_create(e, &o, ids, lengths[i], NULL, NULL, &s, NULL) == WEIR_OK);
        cr_assert(weir_step(e, &s, 1, 1000, NULL) == WEIR_OK);
        answer_take(s, &want[i]);
        weir_session_free(s);
    }
}

/* ---- at every question of the engine ------------------------------------------------------------------- */

static void cancel(void *ud) { weir_queue_cancel(((served *)ud)->request); }

static void cancel_twice(void *ud) { cancel(ud), cancel(ud); }

static void let_go(void *ud) { served_free(ud); }

typedef struct tally {
    long in_prompt, in_answer, waiting, whole;
} tally;

static void judge(const served *a, const answer *want, long at, tally *t) {
    if (a->let_go) { /* no event since */
        cr_assert(a->wrong == NULL, "question %ld: %s", at, a->wrong);
        t->in_answer += a->n > 0 && a->n_end == 0;
        t->in_prompt += a->n == 0;
        return;
    }
    served_assert_ended(a, "the one");
    cr_assert(a->status == WEIR_OK, "question %ld: %s", at, a->err.text);
    if (a->said.finish != WEIR_FINISH_CANCELLED) {
        answer_assert_same(want, &a->said, "in time");
        t->whole++;
        return;
    }
    cr_assert(a->n <= want->n && memcmp(a->ids, want->ids, a->n * sizeof *a->ids) == 0);
    const weir_session *s = a->request->session;
    cr_assert(s->slot < 0);
    t->in_answer += a->n > 0;
    t->in_prompt += a->n == 0 && s->started > 0.0;
    t->waiting += s->started == 0.0;
}

/* Request `one` ends by `act` at question after question; the others are answered as alone. */
static tally at_every_question(int one, void (*act)(void *ud)) {
    static answer want[REQUESTS];
    static served got[REQUESTS];
    tally t = {0};
    weir_engine *e = open_two();
    all_alone(e, want);
    bool done = false;
    for (long at = 1; !done; at += build_is_sanitized() ? 7 : 1) {
        occasion o = {.at = at, .act = act, .ud = &got[one]};
        weir_queue *q = queue_open(e);
        q->options.stall_seconds = 0.0;
        submit_all(q, got);
        occasion_set(e, &o);
        served_all(q);
        occasion_set(e, NULL);
        done = o.asked < at;
        queue_assert_empty(q);
        for (int i = 0; i < REQUESTS; i++) {
            if (i != one)
                served_assert_answer(&got[i], &want[i], "another");
            else
                judge(&got[i], &want[i], at, &t);
        }
        for (weir_node *k = q->all.next; k != &q->all; k = k->next) {
            const weir_request *r = WEIR_NODE_OF(k, weir_request, in_all);
            cr_assert(r->state == WEIR_REQUEST_ENDED && !r->orphan, "question %ld leaves a request", at);
        }
        weir_queue_close(q);
    }
    weir_engine_close(e);
    return t;
}

Test(queue_ends, cancelled_at_every_question) {
    const tally t = at_every_question(0, cancel);
    cr_assert(t.in_prompt > 3 && t.in_answer > 1 && t.whole > 0 && t.waiting == 0, "%ld, %ld, %ld",
              t.in_prompt, t.in_answer, t.whole);
}

Test(queue_ends, cancelled_while_it_waits) {
    const tally t = at_every_question(3, cancel_twice);
    cr_assert(t.waiting > 3 && t.in_answer > 0, "%ld waiting, %ld answered", t.waiting, t.in_answer);
}

Test(queue_ends, freed_at_every_question) {
    const tally t = at_every_question(0, let_go);
    cr_assert(t.in_prompt > 3 && t.in_answer > 1, "%ld, %ld", t.in_prompt, t.in_answer);
}

Test(queue_ends, freed_while_it_waits) {
    const tally t = at_every_question(2, let_go);
    cr_assert(t.in_prompt > 3, "%ld", t.in_prompt);
}

/* ---- between events ------------------------------------------------------------------------------------ */

/* After k events: one of them has tokens that wait to be taken, perhaps. */
Test(queue_ends, freed_with_tokens_that_nobody_took) {
    static answer want[REQUESTS];
    static served got[REQUESTS];
    weir_engine *e = open_two();
    all_alone(e, want);
    int pending = 0;
    for (int one = 0; one < REQUESTS; one++) {
        bool more = true;
        for (int k = 0; more; k++) {
            weir_queue *q = queue_open(e);
            submit_all(q, got);
            for (int i = 0; i < k && more; i++) more = served_next(q);
            pending += got[one].request->ready.n > 0;
            served_free(&got[one]);
            const int ends = got[one].n_end;
            served_all(q);
            cr_assert(got[one].wrong == NULL && got[one].n_end == ends, "request %d, %d events", one, k);
            for (int i = 0; i < REQUESTS; i++)
                if (i != one) served_assert_answer(&got[i], &want[i], "another");
            queue_assert_empty(q);
            weir_queue_close(q);
        }
    }
    cr_assert(pending > 2, "%d", pending);
    weir_engine_close(e);
}

/* Many that wait and are cancelled end without a slot, in more than one round; who runs goes on. */
Test(queue_ends, many_cancelled_ones_disturb_nobody) {
    enum { MANY = 23 };
    static answer want[REQUESTS];
    static served one, two, many[MANY];
    weir_engine *e = open_two();
    all_alone(e, want);
    weir_queue *q = queue_open(e);
    submit_one(q, &one, 0);
    submit_one(q, &two, 2);
    for (int i = 0; i < MANY; i++) submit_one(q, &many[i], 1);
    for (int i = 0; i < MANY; i++) weir_queue_cancel(many[i].request);
    served_all(q);
    served_assert_answer(&one, &want[0], "one that runs");
    served_assert_answer(&two, &want[2], "another");
    for (int i = 0; i < MANY; i++) {
        served_assert_ended(&many[i], "a cancelled one");
        cr_assert(many[i].said.finish == WEIR_FINISH_CANCELLED && many[i].n == 0 &&
                  many[i].status == WEIR_OK);
        cr_assert(many[i].request->session->started == 0.0, "%d had a slot", i);
        weir_queue_cancel(many[i].request); /* too late: changes nothing */
    }
    cr_assert(!served_next(q));
    weir_queue_close(q);
    weir_engine_close(e);
}

/* ---- interrupts, closing ------------------------------------------------------------------------------- */

Test(queue_ends, an_interrupt_ends_all) {
    static answer want[REQUESTS];
    static served got[REQUESTS];
    weir_engine *e = open_two();
    all_alone(e, want);
    bool done = false;
    for (long at = 1; !done; at += build_is_sanitized() ? 11 : 1) {
        occasion o = {.at = at, .stop = true};
        weir_queue *q = queue_open(e);
        submit_all(q, got);
        occasion_set(e, &o);
        served_all(q);
        occasion_set(e, NULL);
        done = o.asked < at;
        queue_assert_empty(q);
        int cancelled = 0;
        for (int i = 0; i < REQUESTS; i++) {
            served_assert_ended(&got[i], "interrupted");
            cr_assert(got[i].status == WEIR_OK);
            cancelled += got[i].said.finish == WEIR_FINISH_CANCELLED;
            if (got[i].said.finish != WEIR_FINISH_CANCELLED)
                answer_assert_same(&want[i], &got[i].said, "before the interrupt");
        }
        cr_assert(done ? cancelled == 0 : at > 1 || cancelled == REQUESTS);
        weir_queue_close(q);
    }
    weir_engine_close(e);
}

/* After any number of events; nothing leaks, and another queue starts with free slots. */
Test(queue_ends, closed_with_requests_under_way) {
    static answer want[REQUESTS];
    static served got[REQUESTS];
    alloc_install(0);
    weir_engine *e = open_two();
    all_alone(e, want);
    bool more = true;
    for (int k = 0; more; k++) {
        const long live = alloc_live();
        weir_queue *q = queue_open(e);
        submit_all(q, got);
        for (int i = 0; i < k && more; i++) more = served_next(q);
        if (k % 3 == 1) served_free(&got[k % REQUESTS]);
        if (k % 3 == 2) weir_queue_cancel(got[k % REQUESTS].request);
        weir_queue_close(q);
        for (int i = 0; i < 2; i++) cr_assert(!e->deck.slot_owner[i]);
        if (k > 0) cr_assert(alloc_live() == live, "%d events: %ld leak", k, alloc_live() - live);
    }
    weir_engine_close(e);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

/* ---- idle ---------------------------------------------------------------------------------------------- */

Test(queue_ends, nothing_to_do_is_idle) {
    static served got;
    weir_engine *e = open_two();
    weir_queue *q = queue_open(e);
    static const double waits[] = {0.0, -1.0, -1e300, 0.001, 1e-12};
    weir_queue_event ev;
    for (int i = 0; i < 5; i++) {
        ev.kind = WEIR_QUEUE_END;
        weir_queue_next(q, waits[i], &ev);
        cr_expect(ev.kind == WEIR_QUEUE_IDLE && !ev.request && !ev.ud, "waiting for %g seconds", waits[i]);
    }
    weir_queue_next(q, (double)NAN, &ev);
    cr_expect(ev.kind == WEIR_QUEUE_IDLE);
    weir_queue_next(q, 0.0, NULL);
    submit_one(q, &got, 1);
    for (int turn = 0; got.n_end == 0; turn++) { /* with work to do the time does not matter */
        static const double odd[] = {INFINITY, -INFINITY, 1e9, 9.9e8, 1e300, 0.0};
        weir_queue_next(q, turn % 7 == 6 ? (double)NAN : odd[turn % 7], &ev);
        cr_assert(ev.kind != WEIR_QUEUE_IDLE);
        served_take(&ev, turn + 1);
    }
    cr_assert(!served_next(q));
    weir_queue_close(q);
    weir_engine_close(e);
}

/* A wake is answered by one call each, with work to do and without. */
Test(queue_ends, every_wake_is_answered, .timeout = 60) {
    static served got;
    weir_engine *e = open_two();
    weir_queue *q = queue_open(e);
    weir_queue_event ev;
    weir_queue_wake(q);
    weir_queue_wake(q);
    for (int i = 0; i < 2; i++) {
        weir_queue_next(q, INFINITY, &ev);
        cr_assert(ev.kind == WEIR_QUEUE_IDLE);
    }
    submit_one(q, &got, 0);
    weir_queue_wake(q);
    weir_queue_next(q, INFINITY, &ev);
    cr_assert(ev.kind == WEIR_QUEUE_IDLE && q->n_unfinished == 1);
    served_all(q);
    cr_assert(got.n_end == 1 && q->n_wake == 0);
    weir_queue_close(q);
    weir_engine_close(e);
}
