/* Joining a group of devices that cannot be, under the runner, which refuses on demand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/weir.h"
#include "kernels/backend.h"
#include "kernels/base/clock.h"
#include "tests/host/pairs/tiny_pair.h"
#include "tests/ranks/comm_cases.h"
#include "tests/ranks/group.h"
#include "tests/runner/control.h"
#include "tests/support/build.h"
#include "tests/support/costs.h"

static long fail_malloc, fail_host;

static void join(void *arg, weir_comm *c) {
    found *f = arg;
    const int r = c->rank;
    c->data = WEIR_DATA_PEERS; /* test_nccl.c has the other way */
    weir_backend *be = NULL;
    weir_err err = {""};
    f->status[r] = weir__backend_cuda_open(&be, r, &err);
    int32_t here = 0, all[WEIR_RANKS];
    (void)weir__comm_agree(c, &here, all, sizeof here);
    if (r == 0) runner_fail_malloc(fail_malloc), runner_fail_host_alloc(fail_host);
    (void)weir__comm_agree(c, &here, all, sizeof here);
    if (f->status[r] == WEIR_OK) f->status[r] = be->exchange->join(be, c, 1000, &f->err[r]);
    (void)weir__comm_agree(c, &here, all, sizeof here);
    if (r == 0) runner_fail_malloc(0), runner_fail_host_alloc(0);
    weir__backend_close(be);
}

static found join_four(void) {
    found f = {0};
    runner_devices(4);
    group_run(4, 60.0, join, &f);
    cr_expect_eq(runner_live_blocks(), 0);
    cr_expect_eq(runner_live_objects(), 0);
    for (int r = 1; r < 4; r++) {
        cr_expect_eq(f.status[r], f.status[0]);
        cr_expect_str_eq(f.err[r].text, f.err[0].text);
    }
    return f;
}

Test(exchange_failures, devices_without_peer_access) {
    runner_peers(0);
    const found f = join_four();
    cr_expect_eq(f.status[0], WEIR_ENOTSUP);
    cr_expect_str_eq(f.err[0].text, "rank 0: cuda:0 cannot reach the memory of cuda:1");
}

/* An allocation and all after it fail, on whichever rank that is: all ranks say so, and nothing stays. */
Test(exchange_failures, no_memory_on_any_rank) {
    int failed = 0;
    for (int host = 0; host < 2; host++) {
        for (long n = 1; n < 40; n++) {
            fail_malloc = host ? 0 : n, fail_host = host ? n : 0;
            const found f = join_four();
            if (f.status[0] == WEIR_OK) break;
            cr_expect(f.status[0] == WEIR_EDEVMEM || f.status[0] == WEIR_ENOMEM, "%s", f.err[0].text);
            cr_expect(strncmp(f.err[0].text, "rank ", 5) == 0, "%s", f.err[0].text);
            failed++;
        }
    }
    cr_expect_gt(failed, 10);
}

/* ---- the plan ---- */

/* What a backend takes before it has a model: no plan counts it. */
static size_t bare(void) {
    weir_backend *be = NULL;
    runner_devices(8);
    cr_assert_eq(weir__backend_cuda_open(&be, 7, NULL), WEIR_OK);
    const size_t bytes = runner_memory_used(7);
    weir__backend_close(be);
    return bytes;
}

Test(exchange_failures, every_device_takes_what_the_plan_says_of_its_rank) {
    const size_t none = bare();
    for (int tp = 2; tp <= 8; tp *= 2) {
        char device[40] = "cuda:0";
        weir_engine_options o = weir_engine_options_default();
        o.costs = TEST_COSTS;
        weir_engine_facts f;
        weir_engine *e = NULL;
        weir_err err = {""};
        for (int r = 1; r < tp; r++) snprintf(device + strlen(device), 8, ",%d", r);
        o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
        o.model_draft = WEIR_SOURCE_DIR "/models/demo/drafter";
        o.device = device, o.n_parallel = 8, o.ctx_size = 256, o.tp = tp;
        cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
        weir_engine_get_facts(e, &f);
        for (int r = 0; r < tp; r++) {
            /* the scratch of ops is in both */
            const double took = (double)(runner_memory_used(r) - none) + (double)(1 << 22),
                         plan = (double)f.rank_plan[r].total;
            cr_expect(took < 1.02 * plan && took > 0.98 * plan, "rank %d of %d took %.0f bytes, planned %.0f",
                      r, tp, took, plan);
        }
        weir_engine_close(e);
    }
}

/* ---- a device that fails ---- */

/* A kernel of either rank does not run, in a prompt or in a loop: the step says which device it was,
 * and what that said; nobody waits for the deadline. */
Test(exchange_failures, a_device_that_fails_is_named) {
    int lead = 0, member = 0;
    tiny_pair p;
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    runner_devices(2);
    for (long n = 20; n < 4000; n += (build_is_sanitized() ? n : n / 2) + 37) {
        weir_engine_options o = tiny_options(&p, "cuda:0,1", 1);
        weir_session_options so = weir_session_options_default();
        weir_engine *e = NULL;
        weir_err err = {""};
        o.tp = o.draft_tp = 2, o.comm_timeout = 600.0;
        cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
        so.ignore_eos = true, so.max_tokens = 20;
        weir_session *s = tiny_session(e, &so, 3);
        weir_status st = WEIR_OK;
        const double t0 = weir_seconds();
        runner_fail_launch(n);
        for (int i = 0; i < 100 && st == WEIR_OK && weir_session_state(s) == WEIR_RUNNING; i++)
            st = weir_step(e, &s, 1, 4, &err);
        runner_fail_launch(0);
        const bool mine = st == WEIR_ECUDA && strncmp(err.text, "cuda:0: ", 8) == 0,
                   theirs = st == WEIR_ECOMM && strncmp(err.text, "rank 1: cuda:1: ", 16) == 0;
        lead += mine, member += theirs;
        cr_expect(st == WEIR_OK || mine || theirs, "%ld: %s", n, err.text);
        cr_expect(weir_seconds() - t0 < 300.0, "%ld: %g s", n, weir_seconds() - t0);
        weir_session_free(s);
        weir_engine_close(e);
        if (st == WEIR_OK) break;
        runner_mend();
    }
    cr_expect(lead > 0 && member > 0, "%d of rank 0, %d of rank 1", lead, member);
    tiny_pair_remove(&p);
}

/* ---- a kernel that does not come back ---- */

#ifndef __SANITIZE_ADDRESS__ /* what it may hold stays, for as long as the process */
static void never_back(void *arg, weir_comm *c) {
    found *f = arg;
    const int r = c->rank;
    weir_backend *be = NULL;
    f->status[r] = weir__backend_cuda_open(&be, r, &f->err[r]);
    if (f->status[r] == WEIR_OK) f->status[r] = be->exchange->join(be, c, 1000, &f->err[r]);
    if (f->status[r] != WEIR_OK) return;
    c->seconds = 0.2;
    if (r == 0) {
        runner_busy(1L << 40);
        weir__comm_abort(c, WEIR_EIO, "the disk is on fire");
    }
    while (!weir__comm_ended(c)) /* the stream of every rank is busy by then */
        continue;
    const double t0 = weir_seconds();
    f->status[r] = be->stream->wait(be);
    if (f->status[r] == WEIR_ECOMM) f->status[r] = be->stream->wait(be); /* at once, from now on */
    weir__backend_close(be);
    f->seconds[r] = weir_seconds() - t0;
}

/* Waiting ends by itself soon after the group has, and so does closing. */
Test(exchange_failures, a_kernel_that_does_not_come_back_is_left_alone) {
    found f = {0};
    runner_devices(2);
    group_run(2, 60.0, never_back, &f);
    for (int r = 0; r < 2; r++) {
        cr_expect_eq(f.status[r], WEIR_ECOMM);
        cr_expect(f.seconds[r] > 2.0 && f.seconds[r] < 30.0, "%g s",
                  f.seconds[r]); /* 2 s beyond the deadline */
    }
}
#endif
