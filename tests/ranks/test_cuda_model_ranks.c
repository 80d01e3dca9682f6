/* Models over devices that share them, or over ranks of one device: the logits of one rank, bit for bit. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/ranks/model_ranks.h"
#include "tests/support/device.h"

#if defined(__SANITIZE_THREAD__)
enum { MOST_RANKS = 2 };
#elif defined(__SANITIZE_ADDRESS__)
enum { MOST_RANKS = 4 };
#else
enum { MOST_RANKS = WEIR_RANKS };
#endif

static int n_device;

static weir_status open_device(const subject *s, weir_backend **be, int rank) {
    (void)s;
    WEIR_TRY(weir__backend_cuda_open(be, rank % n_device, NULL));
    (*be)->minmaxes = false;
    return WEIR_OK;
}

/* So many, or as many as there are. */
static void choose_devices(int n) {
    const int there = device_ranks("8");
    n_device = n < there ? n : there;
}

/* bf16 for all families; f32 for those whose prompts need no products of shared layers. An encoder runs on
 * every rank, so under the runner such a model costs as much as there are ranks: each dtype once. */
static void check_all(subject s, int devices) {
    const bool encoder = model_has_encoder(&s);
    choose_devices(devices);
    s.open = open_device;
    for (int i = 0; i < 4; i++) {
        s.dtype = i / 2 ? WEIR_DTYPE_F32 : WEIR_DTYPE_BF16;
        s.whole_body = i % 2 == 1;
        if (encoder ? i == 1 || i == 2 : s.dtype == WEIR_DTYPE_F32) continue;
        model_check_ranks(&s, i > 0 ? 2 : encoder ? 4 : MOST_RANKS);
    }
}

Test(cuda_model_ranks, fourteen_heads_on_two_of_keys) { check_all(model_qwen(), 8); }
Test(cuda_model_ranks, fewer_heads_than_ranks) { check_all(model_gemma(), 1); }
Test(cuda_model_ranks, heads_that_divide) { check_all(model_llama(), 8); }
Test(cuda_model_ranks, multipliers_and_fused_tensors) { check_all(model_granite(), 8); }
Test(cuda_model_ranks, norms_over_all_heads) {
    check_all(model_olmo(), 8);
    check_all(model_few_olmo(), 1);
}
Test(cuda_model_ranks, experts) { check_all(model_mixture(), 8); }
Test(cuda_model_ranks, fewer_experts_than_ranks) { check_all(model_few_experts(), 1); }
Test(cuda_model_ranks, t5_gated_with_a_head_of_its_own) { check_all(model_t5(6, 16, true, false), 1); }
Test(cuda_model_ranks, t5gemma) { check_all(model_t5gemma(), 8); }
Test(cuda_model_ranks, t5_tied) { check_all(model_t5(8, 8, false, true), 8); }

/* Blocks of 32 and of 256 elements. */
Test(cuda_model_ranks, quantised) {
    static const struct {
        subject (*make)(void);
        weir_dtype dtype;
        int most;
    } of[] = {{model_small_blocks, WEIR_DTYPE_Q8_0, MOST_RANKS},
              {model_large_blocks, WEIR_DTYPE_Q4_K, MOST_RANKS > 4 ? 4 : 2}};
    choose_devices(8);
    for (int i = 0; i < 2; i++) {
        subject s = of[i].make();
        s.open = open_device, s.dtype = of[i].dtype;
        model_check_ranks(&s, of[i].most);
    }
}
