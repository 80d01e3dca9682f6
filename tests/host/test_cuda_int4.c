/* Models of 4-bit codes in groups on a device, against transformers with the dequantised weights. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/host/int4_golden.h"
#include "tests/support/device.h"

/* Inputs are not rounded to bytes, but keys and values are bf16: the golden's bound is for an error of
 * products that is larger than theirs. */
Test(cuda_int4, models_score_what_transformers_scores_with_their_dequantised_weights) {
    weir_backend *be = device_open();
    const bool sample = device_is_runner(be);
    weir__backend_close(be);
    for (int i = sample ? 1 : 0; i < INT4_MODELS; i += sample && i < INT4_ACT_ORDER ? 3 : 1) {
        const int4_golden g = int4_golden_read(i);
        weir_engine *e = int4_open(i, "cuda", NULL, 1);
        const double worst = int4_score_error(e, &g);
        printf("%-16s logprob error %.2e, bound %.1e\n", int4_models[i].name, worst, (double)g.bound);
        cr_expect(worst <= (double)g.bound, "%s: %g, bound %g", int4_models[i].name, worst, (double)g.bound);
        weir_engine_close(e);
    }
}

/* Blocks that a device loops over by itself: the rows' order is put right inside the recorded graph. */
Test(cuda_int4, blocks_of_a_model_in_act_order_are_the_verifier_alone) {
    int32_t alone[INT4_NEW], blocks[INT4_NEW];
    int4_greedy(INT4_ACT_ORDER, -1, "cuda", 1, alone);
    cr_expect_geq(int4_greedy(INT4_ACT_ORDER, INT4_ACT_ORDER, "cuda", 1, blocks), INT4_NEW / 2);
    cr_expect(memcmp(alone, blocks, sizeof alone) == 0);
}
