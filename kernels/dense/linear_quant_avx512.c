/* AVX-512 without VNNI: bytes in pairs to 16 bits (vpmaddubsw). */
#include "kernels/dense/linear_quant_vec.h"

/* clang-format off */
#ifdef WEIR_QUANT_FEW_TILES
enum { TILE_ROWS = 2 };
#define TILES(dtype, suffix) WEIR_QUANT_TILE(rows1_##suffix, 1, 2, dtype) WEIR_QUANT_TILE(rows2_##suffix, 2, 2, dtype)
#define LIST(suffix) { rows1_##suffix, rows2_##suffix }
#else
enum { TILE_ROWS = 8 };
#define TILES(dtype, suffix) \
    WEIR_QUANT_TILE(rows1_##suffix, 1, 2, dtype) WEIR_QUANT_TILE(rows2_##suffix, 2, 2, dtype) \
    WEIR_QUANT_TILE(rows3_##suffix, 3, 1, dtype) WEIR_QUANT_TILE(rows4_##suffix, 4, 1, dtype) \
    WEIR_QUANT_TILE(rows5_##suffix, 5, 1, dtype) WEIR_QUANT_TILE(rows6_##suffix, 6, 1, dtype) \
    WEIR_QUANT_TILE(rows7_##suffix, 7, 1, dtype) WEIR_QUANT_TILE(rows8_##suffix, 8, 1, dtype)
#define LIST(suffix) { rows1_##suffix, rows2_##suffix, rows3_##suffix, rows4_##suffix, \
                       rows5_##suffix, rows6_##suffix, rows7_##suffix, rows8_##suffix }
#endif
/* clang-format on */

TILES(WEIR_DTYPE_Q4_0, q4_0)
TILES(WEIR_DTYPE_Q4_1, q4_1)
TILES(WEIR_DTYPE_Q5_0, q5_0)
TILES(WEIR_DTYPE_Q5_1, q5_1)
TILES(WEIR_DTYPE_Q8_0, q8_0)
TILES(WEIR_DTYPE_Q4_K, q4_k)
TILES(WEIR_DTYPE_Q5_K, q5_k)
TILES(WEIR_DTYPE_Q6_K, q6_k)

const weir_linear_quant weir_linear_quant_avx512 = {
    .prepare = prepare_units,
    .tile_rows = TILE_ROWS,
    .tile = {[WEIR_DTYPE_Q4_0] = LIST(q4_0), [WEIR_DTYPE_Q4_1] = LIST(q4_1), [WEIR_DTYPE_Q5_0] = LIST(q5_0),
             [WEIR_DTYPE_Q5_1] = LIST(q5_1), [WEIR_DTYPE_Q8_0] = LIST(q8_0), [WEIR_DTYPE_Q4_K] = LIST(q4_k),
             [WEIR_DTYPE_Q5_K] = LIST(q5_k), [WEIR_DTYPE_Q6_K] = LIST(q6_k)},
};
