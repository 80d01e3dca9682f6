#ifndef WEIR_KERNELS_LINEAR_QUANT_LINEAR_QUANT_H
#define WEIR_KERNELS_LINEAR_QUANT_LINEAR_QUANT_H

#include "kernels/linear/isa/linear_tile.h"
#include "kernels/weight/weight_quant.h"

/* Between linear_fast.c and the kernels of quantised weights (linear_quant_vec.h) of one instruction set. */
enum {
    WEIR_QUANT_ROWS = 8,       /* of the largest tile */
    WEIR_QUANT_MANY_ROWS = 32, /* of the largest of AMX */
};

/* Blocks of inputs whose largest is below this count as zero: 127 divided by it must be finite. */
#define WEIR_QUANT_LEAST 0x1p-100f

/* 32 inputs of a row: input i is d q[i], up to a rounding of d / 2. d is NaN where an input is NaN or
 * infinite. One cache line. The units of rows are stored row by row, so that a tile of rows needs one
 * pointer. */
typedef struct weir_quant_unit {
    int8_t q[32];          /* -127 … 127 */
    float d, d_sum;        /* largest |input| / 127, and d times the sum of q */
    int32_t minus;         /* -sum of q */
    int32_t minus_half[2]; /* of its first and last 16 */
    float d_half[2];       /* d times the sums of these */
    int32_t unused;
} weir_quant_unit;

/* A row of k inputs, normalised if norm, into units `stride` bytes apart. */
typedef void weir_quant_prepare_fn(void *dst, int64_t stride, const float *x, const float *norm, float eps,
                                   int64_t k);

typedef struct weir_linear_quant {
    weir_quant_prepare_fn *prepare;
    int tile_rows;
    /* [dtype][n_row - 1]; of a tile, x is the first row's first unit, x_stride the bytes between units,
     * n_pair is k / 2 */
    weir_tile_fn *tile[WEIR_DTYPE_COUNT][WEIR_QUANT_ROWS];
} weir_linear_quant;

/* [dtype]: 1 to WEIR_QUANT_MANY_ROWS rows by AMX tiles, prepared in the same way; the same bits. */
extern weir_tile_fn *const weir_linear_quant_many_amx[WEIR_DTYPE_COUNT];

extern const weir_linear_quant weir_linear_quant_avx2, weir_linear_quant_avx512, weir_linear_quant_avx512vnni;

#endif /* WEIR_KERNELS_LINEAR_QUANT_LINEAR_QUANT_H */
