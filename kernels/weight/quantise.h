#ifndef WEIR_KERNELS_WEIGHT_QUANTISE_H
#define WEIR_KERNELS_WEIGHT_QUANTISE_H

#include "kernels/base/types.h"

/* From float rows to blocks (quant.h), for weights that are quantised when a model loads. */

/* Rows of floats can become blocks of that dtype. */
static inline bool weir__can_quantise(weir_dtype to) { return to == WEIR_DTYPE_Q8_0 || to == WEIR_DTYPE_FP8; }

/* n elements of a float dtype, whole blocks of `to`, as a row of `to`.
 *   q8_0  d is the largest |element| of 32 over 127, as f16; q the nearest integer to element / d, ties to
 *         even, within ±127. |q d - element| <= d / 2 where d is a normal f16.
 *   fp8   d is the largest |element| of 64 over 448; q the e4m3 number nearest to element / d, ties to even
 *         mantissas. |q d - element| <= 2^-4 |element|, or d / 1024. Below 2^-100 all are 0.
 * A block with a NaN or an infinity, or whose d is past its range, is NaN as a whole. Equal bits on every
 * machine: each quotient is rounded once. */
void weir__quantise_row(weir_dtype from, weir_dtype to, const void *row, int64_t n, void *out);

/* 64 codes of e4m3 that share the scale d, NaN among them, as a block of fp8. */
void weir__fp8_block(float d, const uint8_t *code, void *out);

#endif /* WEIR_KERNELS_WEIGHT_QUANTISE_H */
