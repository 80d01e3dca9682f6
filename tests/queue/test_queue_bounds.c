/* Several requests at once, bounds of the queue, and what it tells of itself. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/queue/queue_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

enum { MANY = 5 };

typedef struct bed {
    weir_engine *e;
    weir_queue *q;
    weir_session_options o;
    int32_t ids[512];
    served got[MANY];
    weir_queue_job jobs[MANY];
    weir_request *out[MANY];
} bed;

/* Job i has a prompt of 10 + i tokens. */
static void bed_open(bed *b, int n_parallel, weir_queue_options options) {
    weir_err err = {""};
    memset(b, 0, sizeof *b);
    b->e = decoder_open(&decoder_pairs[2], "cpu", n_parallel, 1, 200);
    cr_assert(weir_queue_open(&b->q, b->e, &options, &err) == WEIR_OK, "%s", err.text);
    b->o = method_options(WEIR_METHOD_VERIFIER, 4); /* a token a round */
    b->o.ignore_eos = true;
    long_prompt(1, 512, b->ids);
    for (int i = 0; i < MANY; i++) b->jobs[i] = queue_job(&b->o, b->ids, 10 + (size_t)i, &b->got[i]);
}

static void bed_close(bed *b) {
    queue_assert_empty(b->q);
    weir_queue_close(b->q);
    weir_engine_close(b->e);
}

static weir_queue_facts facts(bed *b) {
    weir_queue_facts f;
    weir_queue_get_facts(b->q, &f);
    return f;
}

static void refused(bed *b, const weir_queue_job *jobs, int n, weir_status want, const char *part) {
    weir_err err = {""};
    weir_request *out[MANY] = {NULL};
    const weir_queue_facts before = facts(b);
    cr_expect(weir_queue_submit(b->q, jobs, n, out, &err) == want && err_is_line(&err, part), "%s", err.text);
    const weir_queue_facts after = facts(b);
    cr_expect(before.waiting == after.waiting && before.waiting_tokens == after.waiting_tokens);
    for (int i = 0; i < MANY; i++) cr_expect(!out[i]);
}

static void taken(bed *b, const weir_queue_job *jobs, int n) {
    weir_err err = {""};
    cr_assert(weir_queue_submit(b->q, jobs, n, b->out, &err) == WEIR_OK, "%s", err.text);
}

/* ---- all or none --------------------------------------------------------------------------------------- */

Test(queue_bounds, several_come_at_once) {
    static bed b;
    bed_open(&b, 2, (weir_queue_options){0});
    taken(&b, b.jobs, MANY);
    const weir_queue_facts f = facts(&b);
    cr_assert(f.waiting == MANY && f.waiting_tokens == 60 && f.prompts == 0 && f.running == 0);
    served_all(b.q);
    for (int i = 0; i < MANY; i++) {
        served_assert_ended(&b.got[i], "one of several");
        cr_assert(b.got[i].status == WEIR_OK && b.got[i].said.stats.n_prompt == 10 + i);
        if (i > 0) cr_assert(b.got[i].first > b.got[i - 1].first, "request %d before those before it", i);
    }
    bed_close(&b);
}

Test(queue_bounds, one_that_is_refused_takes_all_with_it) {
    static bed b;
    bed_open(&b, 2, (weir_queue_options){0});
    for (int i = 0; i < MANY; i++) {
        const size_t n = b.jobs[i].n_prompt;
        b.jobs[i].n_prompt = 300;
        refused(&b, b.jobs, MANY, WEIR_ETOOLONG, "of 5: the prompt has 300 tokens");
        b.jobs[i].n_prompt = n;
    }
    refused(&b, b.jobs, 0, WEIR_EINVAL, "at least one");
    refused(&b, b.jobs, -1, WEIR_EINVAL, "at least one");
    b.jobs[0].priority = 9;
    refused(&b, b.jobs, 1, WEIR_EINVAL, "priority 9");
    b.jobs[0].priority = -9;
    refused(&b, b.jobs, 1, WEIR_EINVAL, "[-8, 8]");
    b.jobs[0].priority = 8;
    b.jobs[0].until = (double)NAN;
    refused(&b, b.jobs, 1, WEIR_EINVAL, "deadline");
    bed_close(&b);
}

Test(queue_bounds, any_allocation_of_a_submit_fails) {
    static bed b;
    alloc_install(0);
    bed_open(&b, 2, (weir_queue_options){0});
    weir_queue_close(b.q);
    for (int i = 0; i < MANY; i++) b.jobs[i].client = (uint64_t)i % 3, b.jobs[i].until = 1e12;
    bool done = false;
    long n = 0;
    for (; !done; n++) {
        const long live = alloc_live();
        weir_err err = {""};
        b.q = queue_open(b.e);
        alloc_fail_only(alloc_count() + n);
        const weir_status st = weir_queue_submit(b.q, b.jobs, MANY, b.out, &err);
        alloc_fail_only(-1);
        done = st == WEIR_OK;
        if (done) continue;
        cr_assert(st == WEIR_ENOMEM && err_is_line(&err, "memory"), "%s", err.text);
        cr_assert(b.q->n_unfinished == 0 && b.q->n_coming == 0 && b.q->coming_tokens == 0);
        cr_assert(b.q->order.n_client == 0 && b.q->order.lines.n == 0 && b.q->due.n == 0);
        weir_queue_close(b.q);
        cr_assert(alloc_live() == live, "allocation %ld: %ld leak", n, alloc_live() - live);
    }
    cr_assert(n > 5 * MANY, "%ld allocations", n);
    served_all(b.q);
    for (int i = 0; i < MANY; i++) served_assert_ended(&b.got[i], "one of several");
    bed_close(&b);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

/* ---- bounds -------------------------------------------------------------------------------------------- */

Test(queue_bounds, requests_past_the_bound_are_refused) {
    static bed b;
    bed_open(&b, 1, (weir_queue_options){.max_requests = 3});
    refused(&b, b.jobs, 4, WEIR_EINVAL, "4 requests at once; the queue holds 3");
    taken(&b, b.jobs, 2);
    const weir_request *const first = b.out[0];
    refused(&b, b.jobs + 2, 2, WEIR_EBUSY, "2 requests wait or run; the queue holds 3");
    taken(&b, b.jobs + 2, 1);
    refused(&b, b.jobs + 3, 1, WEIR_EBUSY, "3 requests");
    bool more = true;
    for (; first->state != WEIR_REQUEST_ENDED && more; more = served_next(b.q)) /* those that run count */
        refused(&b, b.jobs + 3, 1, WEIR_EBUSY, "3 requests");
    cr_assert(more);
    taken(&b, b.jobs + 3, 1); /* one that ended does not, though nobody freed it */
    served_all(b.q);
    for (int i = 0; i < 4; i++) served_assert_ended(&b.got[i], "within the bound");
    bed_close(&b);
}

Test(queue_bounds, prompts_past_the_bound_are_refused) {
    static bed b;
    bed_open(&b, 1, (weir_queue_options){.max_tokens = 25});
    taken(&b, b.jobs, 3); /* 33 tokens, but nothing waits */
    refused(&b, b.jobs + 3, 1, WEIR_EBUSY, "prompts of 33 tokens wait, and 13 more came; the queue holds 25");
    cr_assert(served_next(b.q)); /* the first one has a slot */
    cr_assert(facts(&b).waiting_tokens == 23 && facts(&b).running == 1);
    refused(&b, b.jobs + 3, 1, WEIR_EBUSY, "23 tokens");
    b.jobs[3].n_prompt = 2;
    taken(&b, b.jobs + 3, 1);
    refused(&b, b.jobs + 4, 1, WEIR_EBUSY, "25 tokens");
    served_all(b.q);
    for (int i = 0; i < 4; i++) served_assert_ended(&b.got[i], "within the bound");
    bed_close(&b);
}

/* ---- facts --------------------------------------------------------------------------------------------- */

static void look(void *ud) {
    bed *b = ud;
    const weir_queue_facts f = facts(b);
    const double now = weir_seconds();
    cr_assert(f.round_began > now - 60.0 && f.round_began <= now, "began at %g, now %g", f.round_began, now);
    cr_assert(f.prompts == 1 && f.waiting == 1 && f.running == 0);
}

Test(queue_bounds, what_it_tells_of_itself) {
    static bed b;
    bed_open(&b, 1, (weir_queue_options){0});
    occasion o = {.at = 1, .act = look, .ud = &b};
    occasion_set(b.e, &o);
    cr_assert(facts(&b).round_began == 0.0 && facts(&b).expected_wait_seconds == 0.0);
    const double t0 = weir_seconds();
    taken(&b, b.jobs, 2);
    cr_assert(facts(&b).expected_wait_seconds == 0.0); /* nothing is known yet */
    weir_queue_event ev;
    double queued[2] = {0.0, 0.0};
    for (weir_queue_next(b.q, 0.0, &ev); ev.kind != WEIR_QUEUE_IDLE; weir_queue_next(b.q, 0.0, &ev)) {
        served_take(&ev, 1);
        if (ev.kind != WEIR_QUEUE_END) continue;
        queued[(served *)ev.ud - b.got] = ev.queue_seconds;
        cr_assert(!ev.deadline && !ev.scores && !ev.score_top && ev.n_score == 0);
    }
    const double all = weir_seconds() - t0;
    cr_assert(o.asked > 0 && b.got[0].n_end == 1 && b.got[1].n_end == 1);
    cr_assert(queued[0] >= 0.0 && queued[0] < queued[1] && queued[1] < all, "%g, %g of %g s", queued[0],
              queued[1], all);
    cr_assert(facts(&b).round_began == 0.0 && facts(&b).expected_wait_seconds == 0.0); /* a slot is free */
    cr_assert(b.q->hold_seconds > 0.0 && b.q->hold_seconds < all);
    taken(&b, b.jobs + 2, 3);
    cr_assert(facts(&b).expected_wait_seconds == 3 * b.q->hold_seconds);
    served_all(b.q);
    bed_close(&b);
}
