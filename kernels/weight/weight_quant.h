#ifndef WEIR_KERNELS_WEIGHT_WEIGHT_QUANT_H
#define WEIR_KERNELS_WEIGHT_WEIGHT_QUANT_H

#include "kernels/weight/quant.h"

/* Panels of quantised weights (weight.h): a file's block as words of 4 bytes, word by word of 16 outputs. One
 * vector load has a word of 16 outputs, four codes or eight of each, and a word of bytes is the operand of an
 * instruction that multiplies four bytes by four. The bytes are the file's in another order, so packing costs
 * little more than a copy, and no more bytes are read.
 *
 *   [k / block][words][16] words, then, for blocks whose d is not half a word, [k / block][16] f16 (mxfp4: a
 *   byte): d
 *
 *             words of a block                                          d
 *   q4_0      4: codes                                                  apart
 *   q4_1      5: d m, codes                                             in its word
 *   q5_0      5: fifth bits, codes                                      apart
 *   q5_1      6: d m, fifth bits, codes                                 in its word
 *   q8_0      8: codes + 128                                            apart
 *   iq4_nl    4: codes                                                  apart
 *   mxfp4     4: codes                                                  apart
 *   int4      5: d and z, codes                                         in its word
 *   int4_128 17: d and z, 16 of codes                                   in its word
 *   q2_k     21: 4 of scales and minima, 16 of codes, d dmin            in its word
 *   q3_k     27: 8 of third bits, 16 of codes, 3 of scales              apart
 *   q4_k     36: d dmin, 3 of scales, 32 of codes                       in its word
 *   q5_k     44: d dmin, 3 of scales, 8 of fifth bits, 32 of codes      in its word
 *   q6_k     52: 32 of low bits, 16 of high bits, 4 of scales           apart
 *   iq4_xs   34: d and high bits of scales, low bits, 32 of codes       in its word
 *   fp8      16 lines of 4 inputs: input by input, 16 outputs' codes    apart, f32 times 256
 *
 * fp8's codes are not multiplied as bytes. They become f32, 16 outputs of an input at once, by way of an f16
 * that is 2^-8 of them (quant.h), so d is stored times 256.
 *
 * Codes + 128 have no sign. The fifth bits of a block of 32 are rearranged so that bit g of byte b belongs to
 * element 4 g + b, like q5_k's own: one shift brings those of four elements under their codes. */
typedef struct weir_quant_pack {
    int words;
    int apart;    /* bytes of a d that is stored after the words of the panel; 0: none is */
    int scale_at; /* d's offset in the file's block, if it is apart */
    int word_at;  /* the first word's */
} weir_quant_pack;

static inline weir_quant_pack weir__quant_pack_of(weir_dtype dtype) {
    switch (dtype) {
    case WEIR_DTYPE_Q4_0: return (weir_quant_pack){4, 2, 0, 2};
    case WEIR_DTYPE_Q4_1: return (weir_quant_pack){5, 0, 0, 0};
    case WEIR_DTYPE_Q5_0: return (weir_quant_pack){5, 2, 0, 2};
    case WEIR_DTYPE_Q5_1: return (weir_quant_pack){6, 0, 0, 0};
    case WEIR_DTYPE_Q8_0: return (weir_quant_pack){8, 2, 0, 2};
    case WEIR_DTYPE_IQ4_NL: return (weir_quant_pack){4, 2, 0, 2};
    case WEIR_DTYPE_MXFP4: return (weir_quant_pack){4, 1, 0, 1};
    case WEIR_DTYPE_INT4: return (weir_quant_pack){5, 0, 0, 0};
    case WEIR_DTYPE_INT4_128: return (weir_quant_pack){17, 0, 0, 0};
    case WEIR_DTYPE_Q2_K: return (weir_quant_pack){21, 0, 0, 0};
    case WEIR_DTYPE_Q3_K: return (weir_quant_pack){27, 2, 108, 0};
    case WEIR_DTYPE_Q4_K: return (weir_quant_pack){36, 0, 0, 0};
    case WEIR_DTYPE_Q5_K: return (weir_quant_pack){44, 0, 0, 0};
    case WEIR_DTYPE_Q6_K: return (weir_quant_pack){52, 2, 208, 0};
    case WEIR_DTYPE_IQ4_XS: return (weir_quant_pack){34, 0, 0, 0};
    case WEIR_DTYPE_FP8: return (weir_quant_pack){16, 4, 0, 4};
    default: return (weir_quant_pack){0, 0, 0, 0};
    }
}

/* A panel of k inputs, rounded up to 64 bytes. */
static inline int64_t weir__quant_panel_bytes(weir_dtype dtype, int64_t k) {
    const weir_quant_pack p = weir__quant_pack_of(dtype);
    const int64_t n_block = k / weir_dtype_block(dtype);
    return (n_block * (p.words * 64 + 16 * p.apart) + 63) / 64 * 64;
}

/* A file's row of k elements into output `lane` of a panel. */
void weir__quant_pack_row(weir_dtype dtype, void *panel, int64_t lane, const void *row, int64_t k);

/* The inverse: block b of output `lane` as in the file. */
void weir__quant_unpack_block(weir_dtype dtype, const void *panel, int64_t k, int64_t lane, int64_t b,
                              void *block);

#endif /* WEIR_KERNELS_WEIGHT_WEIGHT_QUANT_H */
