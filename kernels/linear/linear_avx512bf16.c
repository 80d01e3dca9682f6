/* bf16 rows times bf16 weights: a pair of inputs of 16 outputs in one vdpbf16ps, sums in f32. Half the
 * instructions of the f32 kernel and no widening, so six rows cost little more than reading the weights. */
#include "kernels/linear/linear_vec.h"

static void prepare_bf16(void *dst, const float *x, const float *norm, float eps, int64_t k) {
    uint16_t *out = dst;
    const vf factor = vf_set1(norm ? norm_factor(x, eps, k) : 1.0f);
    const int64_t k_pad = k + (k & 1);
    for (int64_t i = 0; i < k_pad; i += VF) {
        const __m256i v = (__m256i)_mm512_cvtneps_pbh(row_vec(x, norm, factor, i, k));
        const int64_t n = k_pad - i < VF ? k_pad - i : VF;
        _mm256_mask_storeu_epi16(out + i, vf_mask(n), v);
    }
}

/* clang-format off */
WEIR_TILE(rows1, 1, 8, ROWS_BF16) WEIR_TILE(rows2, 2, 4, ROWS_BF16)
WEIR_TILE(rows3, 3, 4, ROWS_BF16) WEIR_TILE(rows4, 4, 4, ROWS_BF16)
WEIR_TILE(rows5, 5, 4, ROWS_BF16) WEIR_TILE(rows6, 6, 4, ROWS_BF16)
WEIR_TILE(rows7, 7, 2, ROWS_BF16) WEIR_TILE(rows8, 8, 2, ROWS_BF16)
    /* clang-format on */

    const weir_linear_bf16 weir_linear_bf16_avx512 = {
        .prepare = prepare_bf16,
        .tile_rows = 8,
        .tile = {rows1, rows2, rows3, rows4, rows5, rows6, rows7, rows8},
};
