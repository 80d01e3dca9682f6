#include "kernels/weight/weight_quant.h"

#include <string.h>

#include "kernels/weight/layout.h"

enum { WORD = 4, LINE = WEIR_PANEL * WORD };

/* Exchanges the bits of u that `mask` names with those `by` above them. */
static inline uint32_t exchange(uint32_t u, uint32_t mask, int by) {
    const uint32_t t = (u ^ u >> by) & mask;
    return u ^ t ^ t << by;
}

/* One bit out of two to the low half, in order, the others to the high half. */
static inline uint32_t part_even_odd(uint32_t u) {
    u = exchange(u, 0x22222222u, 1);
    u = exchange(u, 0x0c0c0c0cu, 2);
    u = exchange(u, 0x00f000f0u, 4);
    return exchange(u, 0x0000ff00u, 8);
}

static inline uint32_t weave_even_odd(uint32_t u) {
    u = exchange(u, 0x0000ff00u, 8);
    u = exchange(u, 0x00f000f0u, 4);
    u = exchange(u, 0x0c0c0c0cu, 2);
    return exchange(u, 0x22222222u, 1);
}

/* Bit 4 g + b to bit 8 b + g, and back: an index's five bits turned by two. */
static inline uint32_t turn(uint32_t u) { return part_even_odd(part_even_odd(u)); }
static inline uint32_t turn_back(uint32_t u) { return weave_even_odd(weave_even_odd(u)); }

/* The word of a block that holds fifth bits of 32 elements; -1: none. */
static inline int turned_word(weir_dtype dtype) {
    return dtype == WEIR_DTYPE_Q5_0 ? 0 : dtype == WEIR_DTYPE_Q5_1 ? 1 : -1;
}

static inline uint32_t flipped(weir_dtype dtype) { return dtype == WEIR_DTYPE_Q8_0 ? 0x80808080u : 0; }

/* Inline, so that every dtype has a loop of constants: 4 times as fast. */
static inline __attribute__((always_inline)) void pack_blocks(weir_dtype dtype, const weir_quant_pack p,
                                                              int64_t block_bytes, unsigned char *panel,
                                                              int64_t lane, const unsigned char *row,
                                                              int64_t n_block) {
    unsigned char *to = panel + lane * WORD, *scale = panel + n_block * p.words * LINE + lane * p.apart;
    for (int64_t b = 0; b < n_block;
         b++, row += block_bytes, to += p.words * LINE, scale += WEIR_PANEL * p.apart) {
        for (int i = 0; i < p.words; i++) {
            uint32_t u;
            memcpy(&u, row + p.word_at + i * WORD, sizeof u);
            u ^= flipped(dtype);
            if (i == turned_word(dtype)) u = turn(u);
            memcpy(to + i * LINE, &u, sizeof u);
        }
        if (p.apart) memcpy(scale, row + p.scale_at, (size_t)p.apart);
    }
}

/* fp8: where input i of block b of a lane is, and the block's scale. */
static inline int64_t fp8_at(int64_t b, int64_t i, int64_t lane) { return (b * 64 + i) * WEIR_PANEL + lane; }
static inline int64_t fp8_scale_at(int64_t n_block, int64_t b, int64_t lane) {
    return n_block * 64 * WEIR_PANEL + (b * WEIR_PANEL + lane) * 4;
}

static void pack_fp8(unsigned char *panel, int64_t lane, const unsigned char *row, int64_t n_block) {
    for (int64_t b = 0; b < n_block; b++, row += 68) {
        float d;
        memcpy(&d, row, sizeof d);
        d *= 256.0f;
        memcpy(panel + fp8_scale_at(n_block, b, lane), &d, sizeof d);
        for (int i = 0; i < 64; i++) panel[fp8_at(b, i, lane)] = row[4 + i];
    }
}

static void unpack_fp8(const unsigned char *panel, int64_t lane, int64_t b, int64_t n_block,
                       unsigned char *block) {
    float d;
    memcpy(&d, panel + fp8_scale_at(n_block, b, lane), sizeof d);
    d /= 256.0f;
    memcpy(block, &d, sizeof d);
    for (int i = 0; i < 64; i++) block[4 + i] = panel[fp8_at(b, i, lane)];
}

void weir__quant_pack_row(weir_dtype dtype, void *panel, int64_t lane, const void *row, int64_t k) {
    const int64_t n = k / weir_dtype_block(dtype);
    switch (dtype) {
#define PACK(dtype, bytes) \
    case dtype: pack_blocks(dtype, weir__quant_pack_of(dtype), bytes, panel, lane, row, n); break;
        PACK(WEIR_DTYPE_Q4_0, 18)
        PACK(WEIR_DTYPE_Q4_1, 20)
        PACK(WEIR_DTYPE_Q5_0, 22)
        PACK(WEIR_DTYPE_Q5_1, 24)
        PACK(WEIR_DTYPE_Q8_0, 34)
        PACK(WEIR_DTYPE_IQ4_NL, 18)
        PACK(WEIR_DTYPE_MXFP4, 17)
        PACK(WEIR_DTYPE_INT4, 20)
        PACK(WEIR_DTYPE_INT4_128, 68)
        PACK(WEIR_DTYPE_Q2_K, 84)
        PACK(WEIR_DTYPE_Q3_K, 110)
        PACK(WEIR_DTYPE_Q4_K, 144)
        PACK(WEIR_DTYPE_Q5_K, 176)
        PACK(WEIR_DTYPE_Q6_K, 210)
        PACK(WEIR_DTYPE_IQ4_XS, 136)
#undef PACK
    case WEIR_DTYPE_FP8: pack_fp8(panel, lane, row, n); break;
    default: break;
    }
}

void weir__quant_unpack_block(weir_dtype dtype, const void *panel, int64_t k, int64_t lane, int64_t b,
                              void *block) {
    const weir_quant_pack p = weir__quant_pack_of(dtype);
    const int64_t n_block = k / weir_dtype_block(dtype);
    if (dtype == WEIR_DTYPE_FP8) {
        unpack_fp8(panel, lane, b, n_block, block);
        return;
    }
    const unsigned char *from = (const unsigned char *)panel + b * p.words * LINE + lane * WORD;
    unsigned char *to = block;
    for (int i = 0; i < p.words; i++) {
        uint32_t u;
        memcpy(&u, from + i * LINE, sizeof u);
        if (i == turned_word(dtype)) u = turn_back(u);
        u ^= flipped(dtype);
        memcpy(to + p.word_at + i * WORD, &u, sizeof u);
    }
    if (p.apart) {
        memcpy(to + p.scale_at,
               (const unsigned char *)panel + n_block * p.words * LINE + (b * WEIR_PANEL + lane) * p.apart,
               (size_t)p.apart);
    }
}
