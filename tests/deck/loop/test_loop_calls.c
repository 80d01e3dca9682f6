/* What the host asks of a device while whole blocks run: nothing a block. Counted by the runner of
 * kernels. */
#include <criterion/criterion.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "host/deck/block_program.h"
#include "tests/deck/loop/lookup_cases.h"
#include "tests/deck/loop/loop_cases.h"
#include "tests/runner/control.h"
#include "tests/support/costs.h"

static weir_engine *open_seats(bool no_graph, int ctx_size, int n_parallel) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/tests/golden/t5/gelu_f32";
    o.model_draft = WEIR_SOURCE_DIR "/tests/golden/t5/silu_f32";
    o.device = "cuda:0";
    o.n_parallel = n_parallel;
    o.n_thread = 1;
    o.ctx_size = ctx_size;
    o.no_graph = no_graph;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "%s", err.text);
    return e;
}

static weir_engine *open_context(bool no_graph, int ctx_size) { return open_seats(no_graph, ctx_size, 2); }
static weir_engine *open_small(bool no_graph) { return open_context(no_graph, 64); }

static const loop_bed bed = {.n_setting = LOOP_SETTINGS, .max_tokens = 24, .warmth = 1.6f};

/* Two sessions whose prompts are run and whose bucket is recorded; the rest of their blocks is one launch. */
static void start_two(weir_engine *e, weir_session **s) {
    weir_err err = {""};
    for (int i = 0; i < 2; i++) {
        weir_session_options o = loop_setting(&bed, 1 + 3 * i);
        o.ignore_eos = true;
        s[i] = loop_start_ids(e, &o, i, NULL, NULL);
    }
    cr_assert(weir_step(e, s, 2, 1, &err) == WEIR_OK, "%s", err.text);
}

static long waits(void) {
    return runner_api_count("cudaStreamSynchronize") + runner_api_count("cudaDeviceSynchronize") +
           runner_api_count("cudaEventSynchronize") + runner_api_count("cudaMemcpy");
}

Test(loop_calls, a_graph_of_many_blocks_waits_for_nothing) {
    weir_engine *e = open_small(false);
    weir_session *s[2];
    weir_err err = {""};
    start_two(e, s);
    const int64_t before = s[1]->stats.blocks;
    runner_api_reset();
    cr_assert(weir_step(e, s, 2, 5, &err) == WEIR_OK, "%s", err.text);
    cr_assert(s[1]->stats.blocks == before + 5 || s[1]->finish != WEIR_RUNNING);
    cr_assert(s[1]->stats.blocks >= before + 3, "%d blocks", (int)(s[1]->stats.blocks - before));
    cr_assert_eq(runner_api_count("cudaGraphLaunch"), 1);
    cr_assert_eq(waits(), 0);
    cr_assert_eq(runner_api_count("cudaLaunchKernelExC"), 0, "kernels beside the graph");
    cr_assert(runner_api_count("cudaMalloc") == 0 && runner_api_count("cudaHostAlloc") == 0);
    cr_assert_eq(runner_api_count("cudaGraphInstantiate"), 0, "the bucket was recorded before");
    const long kernels = runner_api_count("graph kernel");
    cr_assert(kernels > 0);
    for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    weir_engine_close(e);
    cr_assert_eq(runner_live_blocks(), 0);
    cr_assert_eq(runner_live_objects(), 0);
}

/* Prompt lookup is part of the graph: the host is not asked for drafts. */
Test(loop_calls, a_graph_of_blocks_that_look_up_waits_for_nothing) {
    weir_engine *e = lookup_open(LOOKUP_T5, true, WEIR_NGRAM, "cuda:0", 2, false);
    weir_session_options o = lookup_setting(1, 24);
    weir_session *s[2];
    weir_err err = {""};
    o.ignore_eos = true;
    for (int i = 0; i < 2; i++) s[i] = lookup_start(e, &o, i);
    cr_assert(weir_step(e, s, 2, 1, &err) == WEIR_OK, "%s", err.text);
    const int64_t before = s[1]->stats.blocks;
    runner_api_reset();
    cr_assert(weir_step(e, s, 2, 5, &err) == WEIR_OK, "%s", err.text);
    cr_assert(s[1]->stats.blocks > before + 1);
    cr_assert_eq(runner_api_count("cudaGraphLaunch"), 1);
    cr_assert_eq(waits(), 0);
    cr_assert_eq(runner_api_count("cudaLaunchKernelExC"), 0, "kernels beside the graph");
    for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    weir_engine_close(e);
}

/* Without a graph the host launches the kernels itself, and looks whether a block is over. */
Test(loop_calls, without_a_graph_the_host_launches_kernels_and_waits_for_nothing) {
    weir_engine *e = open_small(true);
    weir_session *s[2];
    weir_err err = {""};
    start_two(e, s);
    const int64_t before = s[1]->stats.blocks;
    runner_api_reset();
    cr_assert(weir_step(e, s, 2, 2, &err) == WEIR_OK, "%s", err.text);
    cr_assert_eq(runner_api_count("cudaGraphLaunch"), 0);
    cr_assert(s[1]->stats.blocks == before + 2 || s[1]->finish != WEIR_RUNNING);
    cr_assert_eq(waits(), 0);
    cr_assert(runner_api_count("cudaLaunchKernelExC") > 0);
    for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    weir_engine_close(e);
}

/* 17 and 19 sessions are of the bucket of 24 seats, 25 take n_parallel's: the same tokens as alone. */
Test(loop_calls, many_sessions_share_buckets_of_few_spare_seats) {
    enum { N = 25 };
    weir_engine *e = open_seats(false, 32, N);
    weir_session *s[N], *alone = NULL;
    weir_err err = {""};
    weir_session_options o = loop_setting(&bed, 1);
    o.ignore_eos = true, o.max_tokens = 12;
    for (int i = 0; i < N; i++) s[i] = loop_start_ids(e, &o, i % 3, NULL, NULL);
    runner_api_reset();
    const int n[] = {17, 19, N, 19};
    const long graphs[] = {1, 1, 2, 2};
    for (int i = 0; i < 4; i++) {
        cr_assert(weir_step(e, s + N - n[i], n[i], 1, &err) == WEIR_OK, "%s", err.text);
        cr_assert_eq(runner_api_count("cudaGraphInstantiate"), graphs[i], "%d sessions", n[i]);
    }
    const int seats = weir__bucket_seats(weir__bucket_size(n[0]));
    cr_assert_eq(seats, 24);
    for (int i = N - n[0]; i < N; i++) cr_assert_eq(s[i]->stats.blocks, 4, "session %d", i);
    for (int i = 0; i < N - 1; i++) weir_session_free(s[i]);
    alone = loop_start_ids(e, &o, (N - 1) % 3, NULL, NULL);
    cr_assert(weir_step(e, &alone, 1, 4, &err) == WEIR_OK, "%s", err.text);
    const int64_t same = alone->n < s[N - 1]->n ? alone->n : s[N - 1]->n;
    cr_assert_gt(same, 4);
    cr_assert_eq(memcmp(alone->timeline, s[N - 1]->timeline, (size_t)same * sizeof *alone->timeline), 0);
    weir_session_free(alone), weir_session_free(s[N - 1]);
    weir_engine_close(e);
}

/* ---- yield --------------------------------------------------------------------------------------------- */

typedef struct crier {
    weir_engine *e;
    int many;              /* blocks of a step; an answer has a few more tokens */
    long tokens, yield_at; /* of all tokens the one that yields; 0: none */
} crier;

static bool cry(void *ud, weir_session *s, const weir_token_event *ev) {
    crier *c = ud;
    (void)s, (void)ev;
    if (++c->tokens == c->yield_at) weir_engine_yield(c->e);
    return true;
}

/* An answer by the verifier alone: one token per block, of which the first one is run. */
static weir_session *start_crier(crier *c) {
    const loop_bed slow = {.n_setting = LOOP_SETTINGS, .max_tokens = c->many + 4, .warmth = 1.6f};
    weir_session_options o = loop_setting(&slow, 3);
    o.ignore_eos = true;
    weir_err err = {""};
    c->tokens = 0;
    weir_session *s = loop_start_ids(c->e, &o, 2, cry, c);
    cr_assert(weir_step(c->e, &s, 1, 1, &err) == WEIR_OK && s->n == 1, "%s", err.text);
    return s;
}

static int64_t blocks_of_step(const crier *c, weir_session *s) {
    const int64_t before = s->n;
    weir_err err = {""};
    cr_assert(weir_step(c->e, &s, 1, c->many, &err) == WEIR_OK, "%s", err.text);
    cr_assert(s->finish == WEIR_RUNNING || s->n == c->many + 4);
    return s->n - before;
}

/* Asked for before a step, or at a token inside one: it returns early, at the edge of a block that the host
 * sees, and the one after it does not. */
static void yield_early(bool no_graph, int many, int64_t at_most, long yield_at) {
    crier c = {.e = open_context(no_graph, many + 8), .many = many, .yield_at = yield_at};
    weir_session *s = start_crier(&c);
    if (yield_at == 0) weir_engine_yield(c.e);
    const int64_t ran = blocks_of_step(&c, s), seen = yield_at == 0 ? 0 : yield_at - 1;
    cr_expect(ran > 0 && ran >= seen && ran <= seen + at_most && ran < many, "%d blocks", (int)ran);
    const int64_t rest = many + 4 - s->n;
    cr_expect_eq(blocks_of_step(&c, s), rest < many ? rest : many);
    while (s->finish == WEIR_RUNNING) cr_assert(blocks_of_step(&c, s) > 0);
    cr_expect(s->n == many + 4 && c.tokens == many + 4);
    weir_session_free(s);
    weir_engine_close(c.e);
}

Test(loop_calls, a_yield_before_a_step_ends_it_early) { yield_early(true, 16, 1, 0); }
Test(loop_calls, a_yield_ends_a_step_of_called_blocks) { yield_early(true, 16, 1, 5); }
/* The runner runs a graph to its end: the host sees the edge of a launch. */
Test(loop_calls, a_yield_ends_a_step_of_recorded_blocks) {
    yield_early(false, WEIR_LOOP_DEPTH + 4, WEIR_LOOP_DEPTH, 3);
}

/* A kernel of the graph fails: one error with the device's word, no hang, and a clean end. */
Test(loop_calls, a_failing_kernel_inside_the_graph_is_reported) {
    weir_engine *e = open_small(false);
    weir_session *s[2];
    weir_err err = {""};
    start_two(e, s);
    runner_fail_launch(40);
    cr_assert(weir_step(e, s, 2, 5, &err) == WEIR_ECUDA);
    cr_assert(err.text[0] != '\0' && strstr(err.text, "cuda:0"), "%s", err.text);
    cr_assert(weir_step(e, s, 2, 5, &err) == WEIR_ECUDA);
    for (int i = 0; i < 2; i++) weir_session_free(s[i]);
    weir_engine_close(e);
    runner_fail_launch(0);
    cr_assert_eq(runner_live_blocks(), 0);
}
