#ifndef WEIR_KERNELS_WEIGHT_QUANT_H
#define WEIR_KERNELS_WEIGHT_QUANT_H

#include <string.h>

#include "kernels/base/types.h"

/* What the quantised dtypes mean: blocks of 32 to 256 elements along a row, as GGUF files hold them (formats:
 * ggml's ggml-common.h and ggml-quants.c). Little endian; d, m, dmin are f16; a code q has no sign.
 *
 *           block in the file                                             element
 *   q4_0    d | 16 bytes of 4-bit codes                                   d (q - 8)
 *   q4_1    d m | 16                                                      d q + m
 *   q5_0    d | 32 fifth bits | 16                                        d (q - 16)
 *   q5_1    d m | 32 fifth bits | 16                                      d q + m
 *   q8_0    d | 32 signed bytes                                           d q
 *   iq4_nl  d | 16                                                        d weir__iq4_values[q]
 *   mxfp4   e, a byte | 16                                                2^(e - 128) weir__mxfp4_values[q]
 *   int4    d and z, a word | 16                                          d (q - z)
 *   int4_128  the same | 4 x 16                                           d (q - z)
 *   q2_k    16 scales and minima of 4 bits | 64 | d dmin                  d scale q - dmin min, 16 scales
 *   q3_k    32 bytes of third bits | 64 | 16 scales of 6 bits | d         d (scale - 32) (q - 4), 16 scales
 *   q4_k    d dmin | 8 scales and 8 minima of 6 bits | 128                d scale q - dmin min, 8 scales
 *   q5_k    d dmin | the same | 32 bytes of fifth bits | 128              d scale q - dmin min
 *   q6_k    128 bytes of low 4 bits | 64 of high 2 | 16 signed scales | d d scale (q - 32), 16 scales
 *   iq4_xs  d | 8 scales of 6 bits | 128                                  d (scale - 32) weir__iq4_values[q]
 *   fp8     d, f32 below 2^120 | 64 codes of 8 bits                       d e4m3(q)
 *
 * 4-bit codes: of 16 bytes, low halves are elements 0 … 15 and high halves 16 … 31; of the K formats'
 * every 32 bytes (q6_k: 64) low halves are the first 32 (64) elements of 64 (128), high halves the others.
 * 2-bit codes: of 32 bytes, bits 2 i are elements 32 i … 32 i + 31 of 128. mxfp4 (OCP Microscaling Formats
 * 1.0) is read as ggml does: twice an E2M1 number times half the scale, and no scale is NaN.
 *
 * int4 and int4_128 are no types of ggml: GPTQ's and AWQ's groups (host/formats/safetensors/int4.h); a block
 * repeats scale and zero of its group, and int4_128 is four of int4 that share them. As q4_1 it would not be
 * exact: -d z has up to 15 bits and an f16 11. d is an f32 whose low 13 bits are 0, as those of any f16 or
 * bf16 are, and z, 0 to 15, is in the lowest 4 of these.
 *
 * fp8 is in no GGUF file: weir makes it of floats, and of checkpoints of 8-bit floats. e4m3 is that of arXiv
 * 2209.05433, table 1: a sign, 4 bits of exponent and 3 of mantissa, ±448 at most. Blocks do not use its NaN
 * codes: where an element is NaN, d is. */
enum { WEIR_QUANT_BLOCK = 256, WEIR_QUANT_BYTES = 210 }; /* largest block: elements, bytes */
enum { WEIR_INT4_ZERO = 15 };                            /* z's bits of an int4's word */
#define WEIR_INT4_SCALE 0xffffe000u                      /* d's */

/* The word of d, an f16 or a bf16 widened, and z, 0 to 15. */
static inline uint32_t weir__int4_word(float d, uint32_t z) {
    uint32_t bits;
    memcpy(&bits, &d, sizeof bits);
    return (bits & WEIR_INT4_SCALE) | z;
}

extern const int8_t weir__iq4_values[16], weir__mxfp4_values[16];

/* 2^-8 e4m3(q), as f16: all are exact. */
static inline uint16_t weir__e4m3_f16(uint8_t q) { return (uint16_t)((q & 0x80u) << 8 | (q & 0x7fu) << 7); }
enum { WEIR_E4M3_MOST = 448 };

/* Where a block's f16 scales are: d, and dmin or m; -1 where it has none. */
typedef struct weir_quant_scales {
    int d, min;
} weir_quant_scales;
weir_quant_scales weir__quant_scales_of(weir_dtype dtype);

/* The elements of one block in f32. Products are exact and the sum is rounded once, so that every
 * implementation gives the same bits; a scale that is NaN or infinite goes through the same arithmetic. */
void weir__dequantise_block(weir_dtype dtype, const void *block, float *out);

#endif /* WEIR_KERNELS_WEIGHT_QUANT_H */
