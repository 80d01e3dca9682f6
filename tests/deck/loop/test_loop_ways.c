/* What a device refuses costs time and no token: the runner refuses each of CUDA's ways, at each of the
 * places where a driver can, when the device is opened or only once the engine is loaded. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/deck/loop/loop_cases.h"
#include "tests/runner/control.h"
#include "tests/support/costs.h"

/* Gamma 5; gamma by itself, whose blocks have branches. */
enum { FIXED = 8, CHOOSES = 12, N = 2 };
static const int settings[N] = {FIXED, CHOOSES};
static const loop_bed bed = {.n_setting = LOOP_SETTINGS, .max_tokens = 5, .warmth = 1.6f};

static weir_engine *open_ranks(int n_rank) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/tests/golden/t5/gelu_f32";
    o.model_draft = WEIR_SOURCE_DIR "/tests/golden/t5/silu_f32";
    o.device = n_rank == 1 ? "cuda:0" : "cuda:0,1";
    o.tp = n_rank;
    o.n_parallel = 1;
    o.n_thread = 1;
    o.ctx_size = 64;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    return e;
}

static weir_engine *open_pair(void) { return open_ranks(1); }

static void run_all(weir_engine *e, answer *out) {
    for (int i = 0; i < N; i++) {
        const weir_session_options o = loop_setting(&bed, settings[i]);
        weir_session *s = loop_start_ids(e, &o, i, NULL, NULL);
        weir_err err = {""};
        cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
        answer_take(s, &out[i]);
        weir_session_free(s);
    }
}

/* When a test refuses something: bits. LATER: the launch of blocks that have run. */
enum { MAKING = 1, ONCE = 2, LAUNCH = 4, LATER = 8 };
typedef struct refusal {
    unsigned at; /* the times for which the rest holds */
    unsigned asks;
    const char *graph, *team, *pdl;
    const char *about; /* of what is said to be refused; NULL: nothing */
} refusal;

/* Device facts name what runs; about says what was refused and why. */
static void expect_ways(const weir_engine *e, const refusal *r, const char *what) {
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_assert(strcmp(f.graph, r->graph) == 0 && strcmp(f.team, r->team) == 0 && strcmp(f.pdl, r->pdl) == 0,
              "%s: graph %s, team %s, pdl %s", what, f.graph, f.team, f.pdl);
    char words[96];
    snprintf(words, sizeof words, "; graph %s, team %s, pdl %s", r->graph, r->team, r->pdl);
    cr_assert(strstr(f.about, words), "%s: %s", what, f.about);
    const char *refused = strstr(f.about, "; refused here: ");
    cr_assert(!refused == !r->about, "%s: %s", what, f.about);
    if (!refused) return;
    refused += strlen("; refused here: ");
    cr_assert(strncmp(refused, r->about, strlen(r->about)) == 0 && refused[strlen(r->about)] == ' ' &&
                  strstr(refused, "operation not supported"),
              "%s: %s", what, f.about);
}

static const refusal refusals[] = {
    {MAKING | ONCE | LAUNCH, RUNNER_IF, "while", "cooperative", "on", "IF nodes"},
    {MAKING | ONCE | LAUNCH | LATER, RUNNER_EARLY, "while", "cooperative", "off", "programmatic launches"},
    {MAKING | ONCE, RUNNER_COOPERATIVE, "while", "plain", "on", "cooperative launches"},
    {MAKING | ONCE | LAUNCH, RUNNER_WHILE, "straight", "cooperative", "on", "WHILE nodes"},
    {MAKING | ONCE | LAUNCH, RUNNER_GRAPH, "none", "cooperative", "on", "graphs"},
    {MAKING, RUNNER_EARLY | RUNNER_WHILE, "straight", "cooperative", "off",
     "programmatic launches, WHILE nodes"},
    {ONCE, RUNNER_WHILE | RUNNER_IF, "straight", "cooperative", "on", "WHILE nodes"},
    {ONCE, RUNNER_GRAPH | RUNNER_EARLY | RUNNER_COOPERATIVE, "none", "plain", "off",
     "programmatic launches, cooperative launches, graphs"},
    /* a block that is recorded cannot be launched for a trial: ways are given up in their order */
    {LATER, RUNNER_WHILE, "straight", "plain", "off",
     "programmatic launches, cooperative launches, WHILE nodes"},
    {LATER, RUNNER_GRAPH, "none", "plain", "off",
     "programmatic launches, cooperative launches, WHILE nodes, graphs"},
};

/* Each refusal of `at` has its words and no other tokens. late: it comes after the device was opened. */
static void expect_same(unsigned at, runner_when when, bool late) {
    static answer want[N], got[N];
    weir_engine *e = open_pair();
    run_all(e, want);
    expect_ways(e, &(refusal){.graph = "while", .team = "cooperative", .pdl = "on"}, "nothing refused");
    weir_engine_close(e);
    for (size_t k = 0; k < sizeof refusals / sizeof *refusals; k++) {
        const refusal *r = &refusals[k];
        char what[64];
        if (!(r->at & at)) continue;
        snprintf(what, sizeof what, "case %zu, %s", k, late ? "late" : "at open");
        if (!late) runner_refuse(when, r->asks);
        e = open_pair();
        if (at == LATER) run_all(e, got); /* all graphs are there */
        if (late) runner_refuse(when, r->asks);
        run_all(e, got);
        expect_ways(e, r, what);
        weir_engine_close(e);
        runner_refuse(RUNNER_NEVER, 0);
        cr_assert_eq(runner_live_objects(), 0, "%s", what);
        for (int i = 0; i < N; i++) {
            answer_assert_same(&want[i], &got[i], what);
            answer_assert_same_books(&want[i], &got[i], what);
        }
    }
}

Test(loop_ways, what_cannot_be_made_into_a_graph_is_left_out) {
    expect_same(MAKING, RUNNER_AT_MAKING, false);
}

/* The trial at opening passes; only the block is refused. */
Test(loop_ways, what_a_block_alone_is_refused_is_left_out_then) {
    expect_same(MAKING, RUNNER_AT_MAKING, true);
}

Test(loop_ways, what_is_refused_when_it_is_called_is_left_out) { expect_same(ONCE, RUNNER_AT_ONCE, false); }

Test(loop_ways, what_is_refused_when_it_is_launched_is_left_out) {
    expect_same(LAUNCH, RUNNER_AT_LAUNCH, false);
}

Test(loop_ways, a_block_whose_launch_is_refused_is_recorded_again) {
    expect_same(LATER, RUNNER_AT_LAUNCH, true);
}

Test(loop_ways, the_environment_chooses_by_hand) {
    static const struct {
        const char *name, *value;
        refusal want;
    } cases[] = {
        {"WEIR_PDL", "0", {.graph = "while", .team = "cooperative", .pdl = "off"}},
        {"WEIR_TEAM", "plain", {.graph = "while", .team = "plain", .pdl = "on"}},
        {"WEIR_GRAPH", "straight", {.graph = "straight", .team = "cooperative", .pdl = "on"}},
        {"WEIR_GRAPH", "none", {.graph = "none", .team = "cooperative", .pdl = "on"}},
        {"WEIR_BRANCH", "0", {.graph = "while", .team = "cooperative", .pdl = "on"}},
    };
    static answer want[N], got[N];
    weir_engine *e = open_pair();
    run_all(e, want);
    weir_engine_close(e);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        setenv(cases[k].name, cases[k].value, 1);
        e = open_pair();
        run_all(e, got);
        expect_ways(e, &cases[k].want, cases[k].name);
        weir_engine_close(e);
        unsetenv(cases[k].name);
        for (int i = 0; i < N; i++) answer_assert_same(&want[i], &got[i], cases[k].name);
    }
}

/* Ranks run blocks on their own, or the host calls their ops: a straight graph is not for them. */
Test(loop_ways, ranks_without_loops_are_called_op_by_op) {
    static answer want[N], got[N];
    static const refusal without = {0, 0, "none", "cooperative", "on", "WHILE nodes"};
    runner_devices(2);
    weir_engine *e = open_ranks(2);
    run_all(e, want);
    expect_ways(e, &(refusal){.graph = "while", .team = "cooperative", .pdl = "on"}, "two ranks");
    weir_engine_close(e);
    for (int late = 0; late < 2; late++) {
        if (!late) runner_refuse(RUNNER_AT_MAKING, RUNNER_WHILE);
        e = open_ranks(2);
        if (late) runner_refuse(RUNNER_AT_MAKING, RUNNER_WHILE);
        run_all(e, got);
        expect_ways(e, &without, "two ranks");
        weir_engine_close(e);
        runner_refuse(RUNNER_NEVER, 0);
        for (int i = 0; i < N; i++) answer_assert_same(&want[i], &got[i], late ? "late" : "at open");
    }
}

/* ---- a device that hangs ------------------------------------------------------------------------------- */

#ifndef __SANITIZE_ADDRESS__ /* what a device that hangs may hold is not freed */
Test(loop_ways, a_block_that_does_not_end_is_a_failure_and_nothing_waits_for_it) {
    static const char *const modes[] = {"while", "straight", "none"};
    setenv("WEIR_BLOCK_SECONDS", "1", 1); /* a block takes milliseconds, on a busy machine too */
    for (int m = 0; m < 3; m++) {
        setenv("WEIR_GRAPH", modes[m], 1);
        weir_engine *e = open_pair();
        const weir_session_options o = loop_setting(&bed, FIXED);
        weir_session *s = loop_start_ids(e, &o, 0, NULL, NULL);
        weir_err err = {""};
        cr_assert(weir_step(e, &s, 1, 1, &err) == WEIR_OK, "%s", err.text);
        runner_hang(1);
        cr_assert_eq(weir_step(e, &s, 1, 1000, &err), WEIR_ECUDA, "%s", err.text);
        cr_assert_str_eq(err.text, "cuda:0: no block for 1 s: the device hangs (WEIR_BLOCK_SECONDS)");
        cr_assert_eq(weir_step(e, &s, 1, 1, &err), WEIR_ECUDA);
        weir_session_free(s);
        weir_engine_close(e);
        runner_hang(0);
    }
}
#endif
