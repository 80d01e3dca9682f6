/* Kernels of a block of a decoder-only pair, as bench/model/model.py counts them (kernels_of). */
#include <criterion/criterion.h>

#include <string.h>

#include "tests/host/pairs/decoder_pair.h"
#include "tests/runner/control.h"
#include "tests/support/device.h"

enum { GAMMA = 3, BLOCKS = 2 };

/* Small heads leave their minmaxes to a kernel of their own (kernels/linear/linear_tiling.h: fewer than 528
 * panels): one a pass. */
static long expected(int of_drafter, int drafter_layers, int of_verifier, int verifier_layers) {
    const long drafts = GAMMA * (of_drafter * drafter_layers + 4 + 1), first = 3;
    return drafts + first + of_verifier * verifier_layers + 3 + 1 + 1;
}

static weir_engine *pair_open(const char *verifier, const char *drafter) {
    const decoder_names names = {verifier, drafter};
    weir__backend_close(device_open());
    return decoder_open(&names, "cuda:0", 1, 1, 128);
}

static long counted(const char *verifier, const char *drafter) {
    weir_engine *e = pair_open(verifier, drafter);
    weir_session_options o = weir_session_options_default();
    o.n_draft = GAMMA;
    o.max_tokens = 64;
    o.ignore_eos = true;
    weir_session *s = decoder_start(e, &o, 4, NULL, NULL);
    weir_err err = {""};
    /* with the prompt, and the recording */
    cr_assert(weir_step(e, &s, 1, 1, &err) == WEIR_OK, "first block: %s", err.text);
    runner_api_reset();
    cr_assert(weir_step(e, &s, 1, BLOCKS, &err) == WEIR_OK, "blocks: %s", err.text);
    const long n = runner_api_count("graph kernel");
    cr_assert_eq(n % BLOCKS, 0, "%ld kernels in %d blocks", n, BLOCKS);
    weir_session_free(s);
    weir_engine_close(e);
    return n / BLOCKS;
}

Test(kernels_of_block, gemma_has_eight_a_layer_and_llama_six) {
    const long both = counted("gemma2_bf16", "llama_bf16"), other = counted("llama_bf16", "gemma2_bf16");
    cr_assert_eq(both, expected(6, 3, 8, 2), "%ld kernels, expected %ld", both, expected(6, 3, 8, 2));
    cr_assert_eq(other, expected(8, 2, 6, 3), "%ld kernels, expected %ld", other, expected(8, 2, 6, 3));
}

/* Kernels that graphs run in weir_bench with passes of up to max_rows rows. */
static long benched(weir_engine *e, int max_rows) {
    weir_bench_row row[32];
    weir_err err = {""};
    int n = 0, steps = 0;
    runner_api_reset();
    cr_assert_eq(weir_bench(e, 4, max_rows, GAMMA, 1, row, 32, &n, &err), WEIR_OK, "%s", err.text);
    for (int i = 0; i < n; i++) {
        cr_expect(row[i].seconds_p50 > 0.0, "%s", row[i].name);
        steps += !strcmp(row[i].name, "draft step") || !strcmp(row[i].name, "accept step");
    }
    cr_expect_eq(steps, 2);
    return runner_api_count("graph kernel");
}

/* A pass of weir_bench: no rows of the loop, but embed, head and its minmaxes beside the layers.
 * Four make a graph, which is launched once and three times before that. */
Test(kernels_of_block, a_pass_is_timed_as_a_graph_of_four) {
    weir_engine *e = pair_open("gemma2_bf16", "llama_bf16");
    const long one = benched(e, 1), two = benched(e, 2);
    cr_assert_eq(two - one, 4L * 4L * (8 * 2 + 3), "%ld kernels", two - one);
    weir_engine_close(e);
}
