/* Devices that do not reach each other's memory: the same exchanges and tokens by the runner's NCCL. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/base/clock.h"
#include "tests/host/pairs/tiny_pair.h"
#include "tests/ranks/comm_cases.h"
#include "tests/ranks/group.h"
#include "tests/runner/control.h"

#ifdef __SANITIZE_THREAD__
enum { MOST_RANKS = 4 };
#else
enum { MOST_RANKS = WEIR_RANKS };
#endif

static weir_data data;

static void on_devices(void *arg, weir_comm *c) {
    found *f = arg;
    weir_backend *be = NULL;
    const int r = c->rank;
    c->data = data;
    f->status[r] = weir__backend_cuda_open(&be, r, &f->err[r]);
    if (f->status[r] == WEIR_OK) f->status[r] = be->exchange->join(be, c, EXCHANGE_FLOATS, &f->err[r]);
    for (int i = 0; f->status[r] == WEIR_OK && i < EXCHANGE_CASES; i++) exchange_cases[i].fn(f, be);
    if (f->status[r] == WEIR_OK) {
        if (strcmp(be->exchange->name, "NCCL") != 0) atomic_fetch_add(&f->wrong, 1000);
        be->exchange->leave(be);
    }
    weir__backend_close(be);
}

static void expect_exchanges(weir_data how) {
    data = how;
    runner_devices(8);
    for (int n = 2; n <= MOST_RANKS; n *= 2) {
        found f = {0};
        group_run(n, 60.0, on_devices, &f);
        for (int r = 0; r < n; r++) cr_expect_eq(f.status[r], WEIR_OK, "rank %d: %s", r, f.err[r].text);
        cr_expect_eq(f.wrong, 0, "%d ranks: %d wrong", n, f.wrong);
        cr_expect_eq(runner_live_blocks(), 0);
        cr_expect_eq(runner_live_objects(), 0);
    }
}

Test(nccl, carries_every_exchange) { expect_exchanges(WEIR_DATA_NCCL); }

Test(nccl, is_taken_where_devices_do_not_reach_each_other) {
    runner_peers(0);
    expect_exchanges(WEIR_DATA_AUTO);
}

Test(nccl, that_is_not_there_is_named) {
    found f = {0};
    runner_devices(2);
    runner_peers(0);
    runner_nccl(0);
    data = WEIR_DATA_AUTO;
    group_run(2, 60.0, on_devices, &f);
    for (int r = 0; r < 2; r++) {
        cr_expect_eq(f.status[r], WEIR_ENOTSUP);
        cr_expect_str_eq(f.err[r].text, "rank 0: cuda:0 cannot reach the memory of cuda:1; and not by NCCL: "
                                        "rank 0: no libnccl.so.2");
    }
    cr_expect_eq(runner_live_blocks(), 0);
}

/* ---- whole engines ---- */

static void run(const tiny_pair *p, int tp, answer *out) {
    weir_engine_options o = tiny_options(p, tp == 1 ? "cuda:0" : "cuda:0,1", 1);
    weir_session_options so = weir_session_options_default();
    weir_engine *e = NULL;
    weir_err err = {""};
    o.tp = tp, o.draft_tp = tp;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_expect(tp == 1 ? !f.exchange : strcmp(f.exchange, "NCCL") == 0);
    cr_expect(tp == 1 || strcmp(f.exchange_why, "rank 0: cuda:0 cannot reach the memory of cuda:1") == 0);
    so.ignore_eos = true, so.max_tokens = 8, so.seed = 3;
    tiny_run(e, &so, 3, out);
    weir_engine_close(e);
}

Test(nccl, engines_write_what_one_device_writes) {
    static answer want, got;
    tiny_pair p;
    runner_devices(2);
    runner_peers(0);
    tiny_pair_write(&p, WEIR_DTYPE_BF16, NULL);
    run(&p, 1, &want);
    run(&p, 2, &got);
    answer_assert_same(&want, &got, "by NCCL");
    tiny_pair_remove(&p);
}

/* ---- the end ---- */

/* Rank 1 ends the group while the others wait in an exchange. */
static void ends(void *arg, weir_comm *c) {
    found *f = arg;
    const int r = c->rank;
    weir_backend *be = NULL;
    c->data = WEIR_DATA_NCCL;
    f->status[r] = weir__backend_cuda_open(&be, r, &f->err[r]);
    if (f->status[r] == WEIR_OK) f->status[r] = be->exchange->join(be, c, 1024, &f->err[r]);
    if (f->status[r] != WEIR_OK) return;
    float *x = weir__backend_alloc(be, 256);
    const weir_reduce a = {.part = x, .y = x, .ldy = 16, .n_row = 1, .n = 16, .has = 15};
    const double t0 = weir_seconds();
    if (r == 1) {
        weir__comm_abort(c, WEIR_EIO, "the disk is on fire");
        (void)be->stream->wait(be); /* where it frees the others */
    } else {
        f->status[r] = be->exchange->reduce(be, &a);
        if (f->status[r] == WEIR_OK) f->status[r] = be->stream->wait(be);
    }
    f->seconds[r] = weir_seconds() - t0;
    (void)weir__comm_failure(c, &f->err[r]);
    weir__backend_free(be, x);
    weir__backend_close(be);
}

Test(nccl, a_group_that_ends_frees_those_that_wait) {
    found f = {0};
    runner_devices(4);
    group_run(4, 60.0, ends, &f);
    for (int r = 0; r < 4; r++) {
        cr_expect(r == 1 || f.status[r] == WEIR_ECOMM, "rank %d: %d", r, f.status[r]);
        cr_expect_str_eq(f.err[r].text, "rank 1: the disk is on fire");
        cr_expect(f.seconds[r] < 30.0, "%g s", f.seconds[r]);
    }
}
