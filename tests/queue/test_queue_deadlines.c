/* Requests whose time is over, on a clock that the tests move. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/queue/queue_fixture.h"

enum { PROMPT = 150, TOKENS = 12 };

typedef struct bed {
    weir_engine *e;
    weir_queue *q;
    weir_session_options o;
    int32_t ids[512];
    served got, other;
    answer alone;
    weir_queue_job job;
    bool deadline[2];
    double queue_seconds;
} bed;

static void bed_open(bed *b, int n_parallel) {
    memset(b, 0, sizeof *b);
    b->e = decoder_open(&decoder_pairs[2], "cpu", n_parallel, 1, 300);
    b->o = method_options(WEIR_METHOD_VERIFIER, TOKENS);
    b->o.ignore_eos = true;
    long_prompt(1, 512, b->ids);
    weir_session *s = NULL;
    cr_assert(weir_session_create(b->e, &b->o, b->ids, PROMPT, NULL, NULL, &s, NULL) == WEIR_OK);
    cr_assert(weir_step(b->e, &s, 1, 1000, NULL) == WEIR_OK);
    answer_take(s, &b->alone);
    weir_session_free(s);
    b->q = queue_open(b->e);
    b->q->options.stall_seconds = 1e-9; /* one slice a round */
    queue_set_clock(b->q, 100.0);
    b->job = queue_job(&b->o, b->ids, PROMPT, &b->got);
}

static void submit(bed *b, served *a) {
    weir_err err = {""};
    memset(a, 0, sizeof *a);
    b->job.ud = a;
    cr_assert(weir_queue_submit(b->q, &b->job, 1, &a->request, &err) == WEIR_OK, "%s", err.text);
}

static bool next(bed *b) {
    weir_queue_event ev;
    weir_queue_next(b->q, 0.0, &ev);
    if (ev.kind == WEIR_QUEUE_IDLE) return false;
    served_take(&ev, 1);
    if (ev.kind != WEIR_QUEUE_END) return true;
    b->deadline[ev.ud == &b->other] = ev.deadline;
    if (ev.ud == &b->got) b->queue_seconds = ev.queue_seconds;
    return true;
}

static void all(bed *b) {
    while (next(b)) continue;
    queue_assert_empty(b->q);
}

static void bed_close(bed *b) {
    weir_queue_close(b->q);
    weir_engine_close(b->e);
}

/* It ended for its time, with the first n tokens of its answer. */
static void ended_late(bed *b, size_t n) {
    served_assert_ended(&b->got, "late");
    cr_assert(b->deadline[0] && b->got.status == WEIR_OK && b->got.said.finish == WEIR_FINISH_CANCELLED);
    cr_assert(b->got.n == n && memcmp(b->got.ids, b->alone.ids, n * sizeof *b->got.ids) == 0, "%zu tokens",
              b->got.n);
}

Test(queue_deadlines, over_before_it_came) {
    static bed b;
    bed_open(&b, 1);
    static const double times[] = {100.0, 99.0, -1.0, -1e300, -(double)INFINITY};
    for (int i = 0; i < 5; i++) {
        b.job.until = times[i];
        submit(&b, &b.got);
        all(&b);
        ended_late(&b, 0);
        cr_assert(b.got.request->session->slot < 0 && b.queue_seconds == 0.0);
    }
    bed_close(&b);
}

Test(queue_deadlines, over_while_it_waits) {
    static bed b;
    bed_open(&b, 1);
    submit(&b, &b.other);
    b.job.until = 110.0;
    submit(&b, &b.got);
    cr_assert(next(&b) && b.other.n > 0);
    queue_set_clock(b.q, 110.0);
    while (b.got.n_end == 0) cr_assert(next(&b));
    ended_late(&b, 0);
    cr_assert(b.other.n_end == 0 && b.queue_seconds == 10.0, "%g s", b.queue_seconds);
    all(&b);
    served_assert_answer(&b.other, &b.alone, "the one before");
    cr_assert(!b.deadline[1]);
    bed_close(&b);
}

static void move_clock(void *ud) { queue_set_clock(((bed *)ud)->q, 200.0); }

/* The engine asks once before each step of either model, so a question is inside of the prompt. */
Test(queue_deadlines, over_inside_of_its_prompt) {
    static bed b;
    bed_open(&b, 2);
    for (int at = 1; at <= 2; at++) {
        queue_set_clock(b.q, 100.0);
        occasion o = {.at = at, .act = move_clock, .ud = &b};
        b.job.until = 150.0;
        submit(&b, &b.got);
        occasion_set(b.e, &o);
        all(&b);
        occasion_set(b.e, NULL);
        ended_late(&b, 0);
        const weir_session *s = b.got.request->session;
        cr_assert(s->prefilled[0] + s->part[0] > 0 && s->prefilled[0] < PROMPT - 1, "%d positions, %d steps",
                  (int)s->prefilled[0], (int)s->part[0]);
    }
    bed_close(&b);
}

Test(queue_deadlines, over_inside_of_its_answer) {
    static bed b;
    bed_open(&b, 1);
    for (size_t n = 1; n < TOKENS; n++) {
        queue_set_clock(b.q, 100.0);
        b.job.until = 150.0;
        submit(&b, &b.got);
        while (b.got.n < n) cr_assert(next(&b));
        queue_set_clock(b.q, 150.0);
        all(&b);
        ended_late(&b, n);
    }
    queue_set_clock(b.q, 100.0); /* all of it in time: its end is its own */
    submit(&b, &b.got);
    while (b.got.n < TOKENS) cr_assert(next(&b));
    queue_set_clock(b.q, 150.0);
    all(&b);
    served_assert_answer(&b.got, &b.alone, "in time");
    cr_assert(!b.deadline[0]);
    bed_close(&b);
}

/* Seconds of an answer count from its first token, whatever came before, and not past `until`. */
Test(queue_deadlines, seconds_of_an_answer) {
    static bed b;
    bed_open(&b, 1);
    for (int k = 0; k < 2; k++) {
        queue_set_clock(b.q, 100.0);
        b.job.until = k ? 320.0 : (double)INFINITY;
        b.job.answer_seconds = 30.0;
        submit(&b, &b.got);
        queue_set_clock(b.q, 300.0); /* that it waits does not count */
        while (b.got.n < 1) cr_assert(next(&b));
        queue_set_clock(b.q, k ? 319.0 : 329.0);
        while (b.got.n < 3) cr_assert(next(&b));
        queue_set_clock(b.q, k ? 320.0 : 330.0);
        all(&b);
        ended_late(&b, 3);
    }
    b.job.answer_seconds = 0.0; /* nothing after the first ones */
    b.job.until = (double)INFINITY;
    submit(&b, &b.got);
    all(&b);
    ended_late(&b, 1);
    bed_close(&b);
}

Test(queue_deadlines, who_was_cancelled_before_is_not_late) {
    static bed b;
    bed_open(&b, 1);
    submit(&b, &b.other);
    b.job.until = 110.0;
    submit(&b, &b.got);
    weir_queue_cancel(b.got.request);
    queue_set_clock(b.q, 120.0);
    all(&b);
    cr_assert(b.got.n_end == 1 && !b.deadline[0] && b.got.said.finish == WEIR_FINISH_CANCELLED);
    submit(&b, &b.got); /* late, and freed by its caller before it could end: no event follows */
    served_free(&b.got);
    all(&b);
    cr_assert(b.got.wrong == NULL && b.got.n_end == 0);
    bed_close(&b);
}
