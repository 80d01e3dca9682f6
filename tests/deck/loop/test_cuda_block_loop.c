/* The block loop of a device under the whole engine: host-driven blocks, the loop called block by block, and
 * the recorded graph give the same tokens, text, books and calls back. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/deck/block_loop.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/costs.h"
#include "tests/support/device.h"

static weir_engine *open_pair(const char *verifier, const char *drafter, int n_parallel, loop_mode mode) {
    weir__backend_close(device_open()); /* skips, or fails, where there is none */
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = verifier;
    o.model_draft = drafter;
    o.device = "cuda:0";
    o.n_parallel = n_parallel;
    o.n_thread = 1;
    o.ctx_size = 128;
    o.no_graph = mode == LOOP_CALLED;
    weir_engine *e = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&e, &o, &err) == WEIR_OK, "open: %s", err.text);
    return e;
}

static weir_engine *open_demo(int n_parallel, loop_mode mode) {
    return open_pair(WEIR_SOURCE_DIR "/models/demo/verifier", WEIR_SOURCE_DIR "/models/demo/drafter",
                     n_parallel, mode);
}

/* Two models of random weights over 33 ids: small, since the runner takes milliseconds a kernel. */
static weir_engine *open_small(int n_parallel, loop_mode mode) {
    return open_pair(WEIR_SOURCE_DIR "/tests/golden/t5/gelu_f32", WEIR_SOURCE_DIR "/tests/golden/t5/silu_f32",
                     n_parallel, mode);
}

/* The same, where every fourth token or so is an end of text. */
static weir_engine *open_ending(int n_parallel, loop_mode mode) {
    static const int32_t often[3] = {8, 24, 16};
    weir_engine *e = open_small(n_parallel, mode);
    for (int i = 0; i < 3; i++) e->pair.facts.eos[e->pair.facts.n_eos++] = often[i];
    return e;
}

/* Decoders with windows: a model that agrees with itself, so that blocks are long, and strangers. */
static weir_engine *open_decoders(int pair, int n_parallel, loop_mode mode) {
    weir__backend_close(device_open());
    (void)mode;
    return decoder_open(&decoder_pairs[pair], "cuda:0", n_parallel, 1, 128);
}
static weir_engine *open_strangers(int n_parallel, loop_mode mode) {
    return open_decoders(0, n_parallel, mode);
}
static weir_engine *open_twins(int n_parallel, loop_mode mode) { return open_decoders(1, n_parallel, mode); }

static const loop_bed strangers = {open_strangers, decoder_start, {LOOP_RECORDED}, 1, 7, 6, 1.0f, {1000}};
static const loop_bed twins = {open_twins, decoder_start, {LOOP_RECORDED}, 1, 3, 8, 1.0f, {1000}};
static const loop_bed demo = {open_demo, loop_start_demo, {LOOP_RECORDED}, 1, 1, 4, 1.0f, {1000}};
static const loop_bed small = {open_small, loop_start_ids, {LOOP_RECORDED, LOOP_CALLED}, 2, 6, 8,
                               1.6f,       {1000, 2}};
static const loop_bed recorded = {open_small, loop_start_ids, {LOOP_RECORDED}, 1, LOOP_SETTINGS,
                                  6,          1.6f,           {1000}};
static const loop_bed ending = {open_ending, loop_start_ids, {LOOP_RECORDED}, 1, LOOP_SETTINGS,
                                12,          1.6f,           {1000}};

Test(cuda_block_loop, every_setting_alone) { loop_same_alone(&small); }
Test(cuda_block_loop, mixed_settings_together) {
    loop_same_together(&recorded, (loop_crowd[]){{3, 1000}, {5, 2}}, 2);
}
Test(cuda_block_loop, every_limit_inside_a_block) { loop_same_at_every_limit(&recorded, 0, 6); }
/* Blocks recorded with a branch for each step. */
Test(cuda_block_loop, every_limit_of_drafts_that_are_chosen) {
    loop_same_at_every_limit(&recorded, 12, 5);
    loop_same_at_every_limit(&recorded, 13, 5);
}
Test(cuda_block_loop, every_limit_of_the_verifier_alone) { loop_same_at_every_limit(&recorded, 3, 2); }
Test(cuda_block_loop, end_of_text_inside_a_block) {
    loop_same_at_end_of_text(&ending, build_is_sanitized() ? 3 : 6);
}
Test(cuda_block_loop, callback_that_says_no) {
    loop_same_when_callback_ends(&recorded, build_is_tsan() ? 1 : 3);
}
Test(cuda_block_loop, cancel_from_a_callback) { loop_same_when_cancelled_in_callback(&recorded, 3); }
Test(cuda_block_loop, turns_with_host_driven_blocks) { loop_takes_turns_with_the_host(&small); }
Test(cuda_block_loop, decoders_alone) {
    loop_same_alone(&strangers);
    loop_same_alone(&twins);
}
Test(cuda_block_loop, decoders_together) { loop_same_together(&strangers, &(loop_crowd){3, 2}, 1); }

/* 384 positions of a ring and a text of 395: the device's graph runs over its edge on a table that never
 * changes. The CPU's engine of 64 sessions keeps whole sequences. */
Test(cuda_block_loop, a_ring_of_pages) {
    enum { PROMPT = 375, OUTPUT = 20 };
    int32_t ids[PROMPT];
    static answer got[2];
    uint64_t seed = 12;
    for (int i = 0; i < PROMPT; i++) ids[i] = 3 + (int32_t)(rng_u64(&seed) % 64);
    weir__backend_close(device_open());
    for (int cpu = 0; cpu < 2; cpu++) {
        weir_engine *e = decoder_open(&decoder_pairs[1], cpu ? "cpu" : "cuda:0", cpu ? 64 : 1, 1, 512);
        cr_assert((weir__kv_pool_pages_used(e->deck.side[WEIR_VERIFIER].slide) > 0) == !cpu);
        weir_session_options o = weir_session_options_default();
        o.max_tokens = OUTPUT;
        o.ignore_eos = true;
        o.law.temp = 0.0f;
        o.n_draft = 4;
        weir_session *s = NULL;
        weir_err err = {""};
        cr_assert(weir_session_create(e, &o, ids, PROMPT, NULL, NULL, &s, &err) == WEIR_OK, "%s", err.text);
        cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "%s", err.text);
        answer_take(s, &got[cpu]);
        weir_session_free(s);
        weir_engine_close(e);
    }
    cr_assert(got[0].n == OUTPUT && got[1].n == OUTPUT &&
              memcmp(got[0].ids, got[1].ids, OUTPUT * sizeof *got[0].ids) == 0);
    for (int i = 0; i < OUTPUT; i++) /* the device's attention and products sum in another order: 2e-3 is what
                                        scores promise */
        cr_assert(fabsf(got[0].logprobs[i] - got[1].logprobs[i]) <= 2e-3f, "token %d: %g, want %g", i,
                  (double)got[0].logprobs[i], (double)got[1].logprobs[i]);
}
Test(cuda_block_loop, the_demo_pair) { loop_same_alone(&demo); }
