/* Kernels of a block of a decoder-only pair, as bench/model/model.py counts them (kernels_of). */
#include <criterion/criterion.h>

#include "tests/host/decoder_pair.h"
#include "tests/runner/control.h"
#include "tests/support/device.h"

enum { GAMMA = 3, BLOCKS = 2 };

/* Small heads leave their minmaxes to a kernel of their own (kernels/linear/linear_tiling.h: fewer than 528
 * panels): one a pass. */
static long expected(int of_drafter, int drafter_layers, int of_verifier, int verifier_layers) {
    const long drafts = GAMMA * (of_drafter * drafter_layers + 5 + 1), first = 3;
    return drafts + first + of_verifier * verifier_layers + 4 + 1 + 3;
}

static long counted(const char *verifier, const char *drafter) {
    const decoder_names names = {verifier, drafter};
    weir__backend_close(device_open());
    weir_engine *e = decoder_open(&names, "cuda:0", 1, 1, 128);
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

Test(kernels_of_block, gemma_has_nine_a_layer_and_llama_seven) {
    const long both = counted("gemma2_bf16", "llama_bf16"), other = counted("llama_bf16", "gemma2_bf16");
    cr_assert_eq(both, expected(7, 3, 9, 2), "%ld kernels, expected %ld", both, expected(7, 3, 9, 2));
    cr_assert_eq(other, expected(9, 2, 7, 3), "%ld kernels, expected %ld", other, expected(9, 2, 7, 3));
}
