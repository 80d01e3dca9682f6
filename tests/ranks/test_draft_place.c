/* Where the drafter's layers are: the choice by its figures, what all ranks receive, the plan for it, and
 * engines that choose. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "host/ranks/draft.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/ranks/group.h"
#include "tests/support/costs.h"

/* ---- the choice ---- */

static const double US = 1e-6, GB = 1e9, MIB = 1 << 20;

Test(draft_place, is_chosen_by_bytes_and_exchanges) {
    const struct {
        ranks_figures f;
        bool share;
        const char *says;
    } cases[] = {
        /* 0.5B in bf16 on devices: 1,000 MB at 4 TB/s are 250 µs; half of that and 48 exchanges */
        {{8 * US, 4000 * GB, 1000e6, 500e6, 48, true},
         false,
         "exchange 8.0 µs, 4000.0 GB/s: whole on every rank (shared out: 2.04 of its step)"},
        {{1 * US, 4000 * GB, 1000e6, 500e6, 48, true},
         true,
         "exchange 1.0 µs, 4000.0 GB/s: shared out, 0.69 of a whole drafter's step"},
        /* the same exchange pays for itself where the drafter is large */
        {{8 * US, 4000 * GB, 16000e6, 4000e6, 64, true},
         true,
         "exchange 8.0 µs, 4000.0 GB/s: shared out, 0.38 of a whole drafter's step"},
        /* a network between CPUs */
        {{10000 * US, 20 * GB, 300 * MIB, 150 * MIB, 48, true},
         false,
         "exchange 10000.0 µs, 20.0 GB/s: whole on every rank (shared out: 31.02 of its step)"},
        /* a win within what the figures can be wrong is none */
        {{1 * US, 1 * GB, 1e6, 0.93e6, 10, true}, true, NULL},
        {{1 * US, 1 * GB, 1e6, 0.95e6, 10, true}, false, NULL},
        {{1 * US, 1 * GB, 1e6, 0.93e6, 30, true}, false, NULL},
        /* float weights on a device */
        {{1 * US, 4000 * GB, 16000e6, 4000e6, 64, false},
         false,
         "prompts with its float weights need all of them: whole on every rank"},
        {{1 * US, 4000 * GB, 16000e6, 4000e6, 64, false, true},
         false,
         "its inputs are in act-order, which ranks cannot share out: whole on every rank"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[160];
        cr_expect_eq(weir__draft_is_shared(&cases[i].f, text, sizeof text), cases[i].share, "%zu: %s", i,
                     text);
        if (cases[i].says) cr_expect_str_eq(text, cases[i].says);
    }
}

/* Sharing would win by far: what makes it whole is the figure alone. */
Test(draft_place, is_whole_where_a_figure_is_none) {
    const ranks_figures good = {1 * US, 100 * GB, 1e9, 1e8, 8, true};
    const double wrong[] = {0.0, -1.0, (double)NAN, (double)INFINITY, -(double)INFINITY, 1e-320};
    char text[160];
    cr_assert(weir__draft_is_shared(&good, text, sizeof text));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        for (int which = 0; which < 3; which++) {
            ranks_figures f = good;
            *(which == 0 ? &f.exchange_seconds : which == 1 ? &f.read_rate : &f.whole_bytes) = wrong[i];
            if (which == 0 && wrong[i] > 0.0 && wrong[i] < 1.0) continue; /* a number, if a small one */
            cr_expect(!weir__draft_is_shared(&f, text, sizeof text), "%g as figure %d: %s", wrong[i], which,
                      text);
            cr_expect(strstr(text, " are no measurement: whole on every rank"), "%s", text);
        }
    }
}

/* ---- what is measured ---- */

static weir_engine *open_pair(int tp, int draft_tp, bool dry_run) {
    weir_engine_options o = demo_options();
    o.comm_timeout = 60.0;
    o.tp = tp, o.draft_tp = draft_tp, o.dry_run = dry_run;
    return engine_open(&o);
}

typedef struct measuring {
    weir_engine *e;
    bool can_share; /* by rank 0; the others say the opposite */
    ranks_figures rank[WEIR_RANKS];
} measuring;

static void measure(void *arg, weir_comm *c) {
    measuring *m = arg;
    weir_backend *be = NULL;
    weir_err err = {""};
    ranks_figures *f = &m->rank[c->rank];
    cr_assert_eq(weir__backend_cpu_open(&be, 1, WEIR_ISA_PORTABLE, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(be->exchange->join(be, c, 0, &err), WEIR_OK);
    *f = (ranks_figures){
        .whole_bytes = c->rank + 100.0, .n_exchange = c->rank + 7, .can_share = m->can_share ^ (c->rank > 0)};
    cr_expect_eq(weir__draft_measure(m->e, be, f, &err), WEIR_OK, "%s", err.text);
    weir__backend_close(be);
}

Test(draft_place, every_rank_has_rank_0s_figures) {
    for (int n = 2; n <= 4; n *= 2) {
        measuring m = {.e = open_pair(n, 0, true), .can_share = true};
        group_run(n, 60.0, measure, &m);
        cr_expect(m.rank[0].whole_bytes == 100.0 && m.rank[0].n_exchange == 7);
        /* a copy in a cache or a memory, and a barrier of threads */
        cr_expect(m.rank[0].read_rate > 1e7 && m.rank[0].read_rate < 1e13, "%g B/s", m.rank[0].read_rate);
        cr_expect(m.rank[0].exchange_seconds > 1e-8 && m.rank[0].exchange_seconds < 1.0, "%g s",
                  m.rank[0].exchange_seconds);
        for (int r = 1; r < n; r++)
            cr_expect(m.rank[r].whole_bytes == m.rank[0].whole_bytes && m.rank[r].n_exchange == 7 &&
                      m.rank[r].read_rate == m.rank[0].read_rate &&
                      m.rank[r].exchange_seconds == m.rank[0].exchange_seconds);
        weir_engine_close(m.e);
    }
}

/* Where layers cannot be shared out there is nothing to choose by. */
Test(draft_place, nothing_is_measured_that_cannot_matter) {
    measuring m = {.e = open_pair(2, 0, true), .can_share = false};
    group_run(2, 60.0, measure, &m);
    for (int r = 0; r < 2; r++) {
        const ranks_figures *f = &m.rank[r];
        cr_expect(f->whole_bytes == 100.0 && f->n_exchange == 7 && !f->can_share);
        cr_expect(f->read_rate == 0.0 && f->exchange_seconds == 0.0, "rank %d: %g B/s, %g s", r, f->read_rate,
                  f->exchange_seconds);
    }
    weir_engine_close(m.e);
}

/* ---- what an engine makes of it ---- */

static void expect_plan_of(const weir_engine_facts *f, int tp, int draft_tp) {
    weir_engine_facts want;
    weir_engine *e = open_pair(tp, draft_tp, true);
    weir_engine_get_facts(e, &want);
    weir_engine_close(e);
    cr_expect_eq(memcmp(f->rank_plan, want.rank_plan, sizeof want.rank_plan), 0);
    cr_expect(f->plan_total == want.plan_total && f->scratch == want.scratch &&
              f->kv_total == want.kv_total && f->weights[1] == want.weights[1] &&
              memcmp(f->exchanges, want.exchanges, sizeof want.exchanges) == 0);
}

/* A dry run measures nothing, and plans for whole layers. Sizes are those of both places, and the plan made
 * again is the chosen place's. */
Test(draft_place, the_plan_is_that_of_what_is_chosen) {
    weir_engine_facts f, given;
    weir_err err = {""};
    weir_engine *e = open_pair(4, 0, true), *shared = open_pair(4, 4, true);
    weir_engine_get_facts(e, &f);
    weir_engine_get_facts(shared, &given);
    cr_expect(f.draft_rank == 1 && strcmp(f.draft_choice, "measured when the engine opens") == 0);
    cr_expect(given.draft_rank == 4 && !given.draft_choice && given.plan_total < f.plan_total);
    expect_plan_of(&f, 4, 1);
    ranks_figures s = {0};
    cr_assert_eq(weir__draft_sizes(e, &s, &err), WEIR_OK, "%s", err.text);
    cr_expect(s.can_share && s.share_bytes < s.whole_bytes && 4.0 * s.share_bytes >= s.whole_bytes);
    cr_expect_eq(s.n_exchange + 2, given.exchanges[1]);
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.dry_run = true;
    for (int share = 1; share >= 0; share--) {
        s.read_rate = 1e9, s.exchange_seconds = share ? 1e-9 : 1.0;
        cr_assert_eq(weir__draft_settle(e, &o, &s, &err), WEIR_OK, "%s", err.text);
        weir_engine_get_facts(e, &f);
        cr_expect_eq(f.draft_rank, share ? 4 : 1);
        cr_expect(strstr(f.draft_choice, share ? "GB/s: shared out, 0." : "s: whole on every rank"));
        expect_plan_of(&f, 4, f.draft_rank);
    }
    weir_engine_close(e);
    weir_engine_close(shared);
}

/* Whatever was chosen on this machine: the plan is that of it, the figures are said, the tokens are one
 * rank's. */
Test(draft_place, engines_that_choose_write_what_one_rank_writes) {
    static answer want, got;
    weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 24);
    for (int tp = 1; tp <= 4; tp *= 2) {
        weir_engine_facts f;
        weir_engine *e = open_pair(tp, 0, false);
        weir_engine_get_facts(e, &f);
        answer_run(e, &o, demo_prompts[0], tp == 1 ? &want : &got);
        cr_expect_eq(f.draft_choice == NULL, tp == 1);
        if (tp > 1) {
            const char *says = f.draft_rank == tp ? "GB/s: shared out, 0." : "GB/s: whole on every rank (";
            cr_expect(strncmp(f.draft_choice, "exchange ", 9) == 0 && strstr(f.draft_choice, says), "%s",
                      f.draft_choice);
            answer_assert_same(&want, &got, "auto");
        }
        weir_engine_close(e);
        cr_expect(f.draft_rank == 1 || f.draft_rank == tp);
        expect_plan_of(&f, tp, f.draft_rank);
    }
    cr_expect(want.n == 24 && want.stats.accepted > 0);
}
