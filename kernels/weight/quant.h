#ifndef WEIR_KERNELS_WEIGHT_QUANT_H
#define WEIR_KERNELS_WEIGHT_QUANT_H

#include "kernels/base/types.h"

/* What the quantised dtypes mean: blocks of 32 or 256 elements along a row, as GGUF files hold them (formats:
 * ggml's ggml-common.h and ggml-quants.c). Little endian; d, m, dmin are f16; a code q has no sign.
 *
 *           block in the file                                             element
 *   q4_0    d | 16 bytes of 4-bit codes                                   d (q - 8)
 *   q4_1    d m | 16                                                      d q + m
 *   q5_0    d | 32 fifth bits | 16                                        d (q - 16)
 *   q5_1    d m | 32 fifth bits | 16                                      d q + m
 *   q8_0    d | 32 signed bytes                                           d q
 *   q4_k    d dmin | 8 scales and 8 minima of 6 bits | 128                d scale q - dmin min, 8 scales
 *   q5_k    d dmin | the same | 32 bytes of fifth bits | 128              d scale q - dmin min
 *   q6_k    128 bytes of low 4 bits | 64 of high 2 | 16 signed scales | d d scale (q - 32), 16 scales
 *
 * 4-bit codes: of 16 bytes, low halves are elements 0 … 15 and high halves 16 … 31; of the K formats' every
 * 32 bytes (q6_k: 64) low halves are the first 32 (64) elements of 64 (128), high halves the others. */
enum { WEIR_QUANT_BLOCK = 256, WEIR_QUANT_BYTES = 210 }; /* largest block: elements, bytes */

/* The elements of one block in f32. Products are exact and the sum is rounded once, so that every
 * implementation gives the same bits; a scale that is NaN or infinite goes through the same arithmetic. */
void weir__dequantise_block(weir_dtype dtype, const void *block, float *out);

#endif /* WEIR_KERNELS_WEIGHT_QUANT_H */
