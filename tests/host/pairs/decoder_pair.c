#include "tests/host/pairs/decoder_pair.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/support/compare.h"
#include "tests/support/costs.h"

const decoder_names decoder_pairs[DECODER_PAIRS] = {{"gemma2_f32", "llama_f32"},
                                                    {"gemma3_f32", "gemma3_f32"},
                                                    {"llama3_f32", "linear_f32"},
                                                    {"smollm3_window_f32", "granite_f32"},
                                                    {"../t5/t5gemma_f32", "../t5/t5gemma_bf16"}};

weir_engine *decoder_open(const decoder_names *names, const char *device, int n_parallel, int n_thread,
                          int ctx_size) {
    char dir[2][512];
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    snprintf(dir[0], sizeof dir[0], WEIR_SOURCE_DIR "/tests/golden/decoder/%s", names->verifier);
    o.model = dir[0];
    if (names->drafter) {
        snprintf(dir[1], sizeof dir[1], WEIR_SOURCE_DIR "/tests/golden/decoder/%s", names->drafter);
        o.model_draft = dir[1];
    }
    o.device = device;
    o.n_parallel = n_parallel;
    o.n_thread = n_thread;
    o.ctx_size = ctx_size;
    return engine_open(&o);
}

size_t decoder_prompt(int prompt, int32_t ids[70]) {
    /* edges of windows and of pages */
    static const size_t lengths[] = {1, 2, 15, 16, 17, 18, 33, 63, 65, 70};
    const size_t n = lengths[prompt % 10];
    uint64_t seed = 77 + (uint64_t)prompt;
    for (size_t i = 0; i < n; i++) ids[i] = 3 + (int32_t)(rng_u64(&seed) % 64);
    return n;
}

weir_session *decoder_start(weir_engine *e, const weir_session_options *o, int prompt, weir_token_fn on_token,
                            void *ud) {
    int32_t ids[70];
    weir_session *s = NULL;
    weir_err err = {""};
    const size_t n = decoder_prompt(prompt, ids);
    cr_assert(weir_session_create(e, o, ids, n, on_token, ud, &s, &err) == WEIR_OK, "session: %s", err.text);
    return s;
}

void decoder_run(weir_engine *e, const weir_session_options *o, int prompt, answer *out) {
    weir_session *s = decoder_start(e, o, prompt, NULL, NULL);
    weir_err err = {""};
    cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "step: %s", err.text);
    answer_take(s, out);
    cr_assert(out->finish != WEIR_RUNNING, "prompt %d did not end", prompt);
    weir_session_free(s);
}
