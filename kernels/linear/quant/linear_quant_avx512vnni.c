/* AVX-512 with VNNI: four bytes of 16 outputs in one vpdpbusd. Two or four panels share a row's broadcast. */
#include "kernels/linear/quant/linear_quant_vec.h"

/* clang-format off */
#ifdef WEIR_QUANT_FEW_TILES
enum { TILE_ROWS = 2 };
#define TILES(dtype, suffix) \
    WEIR_QUANT_TILE(rows1_##suffix, 1, 2, dtype) WEIR_QUANT_TILE(rows2_##suffix, 2, 4, dtype)
#define LIST(suffix) { rows1_##suffix, rows2_##suffix }
#else
enum { TILE_ROWS = 8 };
#define TILES(dtype, suffix) \
    WEIR_QUANT_TILE(rows1_##suffix, 1, 2, dtype) WEIR_QUANT_TILE(rows2_##suffix, 2, 4, dtype) \
    WEIR_QUANT_TILE(rows3_##suffix, 3, 4, dtype) WEIR_QUANT_TILE(rows4_##suffix, 4, 2, dtype) \
    WEIR_QUANT_TILE(rows5_##suffix, 5, 2, dtype) WEIR_QUANT_TILE(rows6_##suffix, 6, 2, dtype) \
    WEIR_QUANT_TILE(rows7_##suffix, 7, 2, dtype) WEIR_QUANT_TILE(rows8_##suffix, 8, 2, dtype)
#define LIST(suffix) { rows1_##suffix, rows2_##suffix, rows3_##suffix, rows4_##suffix, \
                       rows5_##suffix, rows6_##suffix, rows7_##suffix, rows8_##suffix }
#endif
/* clang-format on */

WEIR_QUANT_EACH(TILES)

const weir_linear_quant weir_linear_quant_avx512vnni = {
    .prepare = prepare_units,
    .tile_rows = TILE_ROWS,
    .tile = {WEIR_QUANT_EACH(WEIR_QUANT_ENTRY)},
};
