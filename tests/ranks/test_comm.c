/* A group of ranks: exchanges in any order of arrival, commands, deadlines, and how it ends. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/base/clock.h"
#include "tests/ranks/comm_cases.h"
#include "tests/ranks/group.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

static void nap(double seconds) {
    const struct timespec t = {.tv_sec = (time_t)seconds,
                               .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* ---- exchanges, commands, ops: on every number of ranks ---- */

Test(comm, every_kind_of_exchange_gives_everyone_what_everyone_gave) {
    for (int i = 0; i < COMM_CASES; i++) {
        for (int n = 1; n <= WEIR_RANKS; n *= 2) {
            found f = {0};
            group_run(n, 60.0, comm_cases[i].fn, &f);
            cr_expect_eq(f.wrong, 0, "%s, %d ranks", comm_cases[i].name, n);
        }
    }
}

static void expect(found *f, bool ok) {
    if (!ok) atomic_fetch_add(&f->wrong, 1);
}

static void on_the_cpu(void *arg, weir_comm *c) {
    found *f = arg;
    weir_backend *be = NULL;
    const weir_status s = weir__backend_cpu_open(&be, 1, WEIR_ISA_PORTABLE, &f->err[c->rank]);
    expect(f, s == WEIR_OK && be->exchange->join(be, c, EXCHANGE_FLOATS, NULL) == WEIR_OK);
    for (int i = 0; s == WEIR_OK && i < EXCHANGE_CASES; i++) exchange_cases[i].fn(f, be);
    weir__backend_close(be);
}

Test(comm, every_exchange_of_the_cpu_gives_what_its_contract_says) {
    for (int n = 1; n <= WEIR_RANKS; n *= 2) {
        found f = {0};
        group_run(n, 60.0, on_the_cpu, &f);
        cr_expect_eq(f.wrong, 0, "%d ranks", n);
    }
}

/* ---- the end ---- */

/* Rank 2 never comes to the second exchange. */
static void silence(void *arg, weir_comm *c) {
    found *f = arg;
    int32_t one = c->rank, all[WEIR_RANKS];
    f->status[c->rank] = weir__comm_agree(c, &one, all, sizeof one);
    if (c->rank == 2) return;
    const double t0 = weir_seconds();
    f->status[c->rank] = weir__comm_agree(c, &one, all, sizeof one);
    f->seconds[c->rank] = weir_seconds() - t0;
    (void)weir__comm_failure(c, &f->err[c->rank]);
    expect(f, weir__comm_agree(c, &one, all, sizeof one) == WEIR_ECOMM); /* at once, from now on */
}

Test(comm, a_silent_rank_is_named_within_the_deadline) {
    found f = {0};
    group_run(4, 0.3, silence, &f);
    cr_expect_eq(f.wrong, 0);
    for (int r = 0; r < 4; r++) {
        if (r == 2) continue;
        cr_expect_eq(f.status[r], WEIR_ECOMM);
        cr_expect(strncmp(f.err[r].text, "rank 2 silent for 0.3 s, exchange ", 34) == 0, "%s", f.err[r].text);
        cr_expect(f.seconds[r] >= 0.25, "%g s", f.seconds[r]);
    }
}

/* Rank 1 gives up while the others wait; followers that wait for a command hear of it too. */
static void give_up(void *arg, weir_comm *c) {
    found *f = arg;
    if (c->rank == 1) {
        nap(0.05);
        weir__comm_abort(c, WEIR_ENOMEM, "out of paper");
        weir__comm_abort(c, WEIR_EIO, "a second reason");
    }
    const void *msg = "x";
    size_t bytes = 1;
    int32_t one = 0, all[WEIR_RANKS];
    const double t0 = weir_seconds();
    f->status[c->rank] =
        c->rank == 3 ? weir__comm_command(c, &msg, &bytes) : weir__comm_agree(c, &one, all, sizeof one);
    f->seconds[c->rank] = weir_seconds() - t0;
    expect(f, weir__comm_failure(c, &f->err[c->rank]) == WEIR_ECOMM);
}

Test(comm, the_first_reason_reaches_everyone_at_once) {
    found f = {0};
    group_run(4, 60.0, give_up, &f);
    cr_expect_eq(f.wrong, 0);
    for (int r = 0; r < 4; r++) {
        cr_expect_eq(f.status[r], WEIR_ECOMM);
        cr_expect_str_eq(f.err[r].text, "rank 1: out of paper");
        cr_expect(f.seconds[r] < 30.0);
    }
}

/* A follower without a command waits for as long as it takes. */
static void idle(void *arg, weir_comm *c) {
    found *f = arg;
    const void *msg = "go";
    size_t bytes = 3;
    if (c->rank == 0) nap(0.5);
    expect(f, weir__comm_command(c, &msg, &bytes) == WEIR_OK);
    expect(f, strcmp(msg, "go") == 0);
}

Test(comm, an_idle_group_is_not_ill) {
    found f = {0};
    group_run(2, 0.1, idle, &f);
    cr_expect_eq(f.wrong, 0);
}

Test(comm, refuses_sizes_that_cannot_be_and_gives_all_memory_back) {
    weir_comm *c[WEIR_RANKS] = {NULL};
    const int wrong[] = {-1, 0, 3, 5, 6, 7, 9, 16};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(weir__comm_local_open(c, wrong[i], 1.0, false), WEIR_EINVAL);
    cr_expect_eq(weir__comm_local_open(c, 2, 0.0, false), WEIR_EINVAL);
    for (long n = 1;; n++) {
        alloc_install(n);
        const weir_status s = weir__comm_local_open(c, 4, 1.0, false);
        for (int r = 0; s == WEIR_OK && r < 4; r++) weir__comm_close(c[r]);
        cr_expect_eq(alloc_live(), 0);
        alloc_uninstall();
        if (s == WEIR_OK) break;
        cr_expect_eq(s, WEIR_ENOMEM);
        cr_assert_lt(n, 20);
    }
}
