/* bf16 rows times bf16 weights: a pair of inputs of 16 outputs in one vdpbf16ps, sums in f32. Half the
 * instructions of the f32 kernel and no widening, so six rows cost little more than reading the weights. */
#include "kernels/linear/isa/linear_vec.h"

/* clang-format off */
WEIR_TILE(rows1, 1, 8, ROWS_BF16) WEIR_TILE(rows2, 2, 4, ROWS_BF16)
WEIR_TILE(rows3, 3, 4, ROWS_BF16) WEIR_TILE(rows4, 4, 4, ROWS_BF16)
WEIR_TILE(rows5, 5, 4, ROWS_BF16) WEIR_TILE(rows6, 6, 4, ROWS_BF16)
WEIR_TILE(rows7, 7, 2, ROWS_BF16) WEIR_TILE(rows8, 8, 2, ROWS_BF16)
    /* clang-format on */

    static void rounded_rows(const weir_linear_tile *t) {
    static weir_tile_fn *const of[] = {rows1, rows2, rows3, rows4, rows5, rows6, rows7, rows8};
    of[t->n_row - 1](t);
}

const weir_linear_bf16 weir_linear_bf16_avx512 = {
    .prepare = prepare_bf16,
    .tile_rows = WEIR_TILE_ROWS,
    .tile = rounded_rows,
};
