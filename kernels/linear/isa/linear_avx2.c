/* AVX2: 16 registers hold 8 to 12 accumulators; a panel is two vectors, so six rows is the most. */
#include "kernels/linear/isa/linear_vec.h"

/* clang-format off */
#define TILES(dtype, suffix) \
    WEIR_TILE(rows1_##suffix, 1, 4, dtype) WEIR_TILE(rows2_##suffix, 2, 2, dtype) \
    WEIR_TILE(rows3_##suffix, 3, 1, dtype) WEIR_TILE(rows4_##suffix, 4, 1, dtype) \
    WEIR_TILE(rows5_##suffix, 5, 1, dtype) WEIR_TILE(rows6_##suffix, 6, 1, dtype)
#define LIST(suffix) { rows1_##suffix, rows2_##suffix, rows3_##suffix, rows4_##suffix, \
                       rows5_##suffix, rows6_##suffix }
/* clang-format on */

TILES(WEIR_DTYPE_F32, f32)
TILES(WEIR_DTYPE_F16, f16)
TILES(WEIR_DTYPE_BF16, bf16)
TILES(WEIR_TILE_FP8, fp8)

const weir_linear_kernels weir_linear_kernels_avx2 = {
    .prepare = prepare_f32,
    .tile_rows = 6,
    .tile = {[WEIR_DTYPE_F32] = LIST(f32),
             [WEIR_DTYPE_F16] = LIST(f16),
             [WEIR_DTYPE_BF16] = LIST(bf16),
             [WEIR_TILE_FP8] = LIST(fp8)},
};
