#ifndef WEIR_KERNELS_WEIGHT_QUANT_CUH
#define WEIR_KERNELS_WEIGHT_QUANT_CUH

/* Eight neighbouring elements of a quantised row (quant.h), with the bits of weir__dequantise_block: products
 * are exact in f32 and the sum is rounded once, contracted or not. Blocks of a file are at even addresses
 * (mxfp4's are not), so loads are of 2 bytes; neighbouring lanes read the rest of the line. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

extern "C" {
#include "kernels/weight/quant.h"
}

namespace quant {

PTX_FN uint32_t half_at(const uint8_t *p) { return *reinterpret_cast<const uint16_t *>(p); }
PTX_FN float f16_at(const uint8_t *p) { return ptx::f32_of_f16(static_cast<uint16_t>(half_at(p))); }

/* Bytes 0 … 7 from p on, p even. */
struct eight {
    uint32_t half[4];
};
PTX_FN eight eight_at(const uint8_t *p) {
    eight e;
#pragma unroll
    for (int i = 0; i < 4; i++) e.half[i] = half_at(p + 2 * i);
    return e;
}
PTX_FN int byte_of(const eight &e, int v) { return static_cast<int>(e.half[v / 2] >> (v % 2 * 8) & 255u); }

/* Blocks of 32 with 4 or 5 bits; j: element of the block, a multiple of 8. */
template <bool MINIMUM, bool FIFTH> PTX_FN void block_32(float (&w)[8], const uint8_t *block, int j) {
    const float d = f16_at(block), m = MINIMUM ? f16_at(block + 2) : 0.0f;
    const uint8_t *at = block + (MINIMUM ? 4 : 2);
    const uint32_t high = FIFTH ? (half_at(at) | half_at(at + 2) << 16) >> j : 0;
    const eight low = eight_at(at + (FIFTH ? 4 : 0) + j % 16);
    constexpr int zero = MINIMUM ? 0 : FIFTH ? 16 : 8;
#pragma unroll
    for (int v = 0; v < 8; v++) {
        int q = byte_of(low, v) >> (j / 16 * 4) & 15;
        if (FIFTH) q |= static_cast<int>(high >> v & 1u) << 4;
        const float product = d * static_cast<float>(q - zero);
        w[v] = MINIMUM ? product + m : product;
    }
}

PTX_FN void block_q8_0(float (&w)[8], const uint8_t *block, int j) {
    const float d = f16_at(block);
    const eight q = eight_at(block + 2 + j);
#pragma unroll
    for (int v = 0; v < 8; v++) w[v] = d * static_cast<float>(static_cast<int8_t>(byte_of(q, v)));
}

template <bool FIFTH> PTX_FN void block_q45_k(float (&w)[8], const uint8_t *block, int j) {
    const int unit = j / 32, i = j % 32;
    const uint8_t *s = block + 4;
    const int scale = unit < 4 ? s[unit] & 63 : (s[unit + 4] & 15) | s[unit - 4] >> 6 << 4;
    const int min = unit < 4 ? s[unit + 4] & 63 : s[unit + 4] >> 4 | s[unit] >> 6 << 4;
    const float d = f16_at(block) * static_cast<float>(scale),
                m = f16_at(block + 2) * static_cast<float>(min);
    const eight low = eight_at(block + (FIFTH ? 48 : 16) + unit / 2 * 32 + i);
    const eight high = FIFTH ? eight_at(block + 16 + i) : low;
#pragma unroll
    for (int v = 0; v < 8; v++) {
        int q = byte_of(low, v) >> (unit % 2 * 4) & 15;
        if (FIFTH) q |= (byte_of(high, v) >> unit & 1) << 4;
        w[v] = d * static_cast<float>(q) - m;
    }
}

PTX_FN void block_q6_k(float (&w)[8], const uint8_t *block, int j) {
    const int half = j / 128, part = j % 128 / 32, i = j % 32;
    const float d = f16_at(block + 208) * static_cast<float>(static_cast<int8_t>(block[192 + j / 16]));
    const eight low = eight_at(block + half * 64 + part % 2 * 32 + i),
                high = eight_at(block + 128 + half * 32 + i);
#pragma unroll
    for (int v = 0; v < 8; v++) {
        const int q = (byte_of(low, v) >> (part / 2 * 4) & 15) | (byte_of(high, v) >> (2 * part) & 3) << 4;
        w[v] = d * static_cast<float>(q - 32);
    }
}

/* weir__iq4_values and weir__mxfp4_values, a byte each. */
PTX_FN float iq4_value(int q) {
    const uint64_t eight = q < 8 ? 0xf6eaddcfbfad9881ull : 0x7159453526190d01ull;
    return static_cast<float>(static_cast<int8_t>(eight >> (q % 8 * 8) & 255u));
}
PTX_FN float mxfp4_value(int q) {
    const int size = static_cast<int>(0x0c08060403020100ull >> (q % 8 * 8) & 255u);
    return static_cast<float>(q < 8 ? size : -size); /* no -0, as in the table */
}

PTX_FN void block_iq4(float (&w)[8], const uint8_t *nibble, float scale, int j) {
    const eight low = eight_at(nibble + j % 16);
#pragma unroll
    for (int v = 0; v < 8; v++) w[v] = scale * iq4_value(byte_of(low, v) >> (j / 16 * 4) & 15);
}

PTX_FN void block_mxfp4(float (&w)[8], const uint8_t *block, int j) {
    const uint32_t e = block[0];
    const float scale = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
#pragma unroll
    for (int v = 0; v < 8; v++) w[v] = scale * mxfp4_value(block[1 + j % 16 + v] >> (j / 16 * 4) & 15);
}

/* At an address that is a multiple of 4, as rows of such blocks are. */
PTX_FN void block_int4(float (&w)[8], const uint8_t *block, int j) {
    const uint32_t *word = reinterpret_cast<const uint32_t *>(block);
    const float d = __uint_as_float(word[0] & WEIR_INT4_SCALE);
    const int zero = static_cast<int>(word[0] & WEIR_INT4_ZERO);
    const uint32_t *low = word + 1 + j % 16 / 4;
#pragma unroll
    for (int v = 0; v < 8; v++) {
        const int q = static_cast<int>(low[v / 4] >> (v % 4 * 8 + j / 16 * 4) & 15u);
        w[v] = d * static_cast<float>(q - zero);
    }
}

PTX_FN void block_iq4_xs(float (&w)[8], const uint8_t *block, int j) {
    const int unit = j / 32;
    const int low = block[4 + unit / 2] >> (unit % 2 * 4) & 15,
              high = block[2 + unit / 4] >> (unit % 4 * 2) & 3;
    const float scale = f16_at(block) * static_cast<float>((low | high << 4) - 32);
    block_iq4(w, block + 8 + 16 * unit, scale, j % 32);
}

PTX_FN void block_q2_k(float (&w)[8], const uint8_t *block, int j) {
    const int part = j % 128 / 32, s = block[j / 16];
    const float d = f16_at(block + 80) * static_cast<float>(s & 15),
                m = f16_at(block + 82) * static_cast<float>(s >> 4);
    const eight low = eight_at(block + 16 + j / 128 * 32 + j % 32);
#pragma unroll
    for (int v = 0; v < 8; v++) w[v] = d * static_cast<float>(byte_of(low, v) >> (2 * part) & 3) - m;
}

PTX_FN void block_q3_k(float (&w)[8], const uint8_t *block, int j) {
    const int part = j % 128 / 32, unit = j / 16;
    const int four = block[96 + unit % 8] >> (unit / 8 * 4) & 15,
              two = block[104 + unit % 4] >> (unit / 4 * 2) & 3;
    const float d = f16_at(block + 108) * static_cast<float>((four | two << 4) - 32);
    const eight low = eight_at(block + 32 + j / 128 * 32 + j % 32), high = eight_at(block + j % 32);
#pragma unroll
    for (int v = 0; v < 8; v++) {
        const int q = (byte_of(low, v) >> (2 * part) & 3) | (byte_of(high, v) >> (j / 32) & 1) << 2;
        w[v] = d * static_cast<float>(q - 4);
    }
}

/* A block is at an address of whole words. Codes become f16 two by two, which is 2^-8 of them (quant.h). */
PTX_FN void block_fp8(float (&w)[8], const uint8_t *block, int j) {
    const float d = *reinterpret_cast<const float *>(block) * 256.0f;
    const uint32_t *codes = reinterpret_cast<const uint32_t *>(block + 4 + j);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const uint32_t four = codes[h];
#pragma unroll
        for (int v = 0; v < 4; v++) {
            const uint32_t q = four >> (8 * v);
            w[4 * h + v] = d * ptx::f32_of_f16(static_cast<uint16_t>((q & 0x80u) << 8 | (q & 0x7fu) << 7));
        }
    }
}

/* Elements at … at + 7 of a row; `at` is a multiple of 8. */
template <int DTYPE> PTX_FN void elements(float (&w)[8], const uint8_t *row, int64_t at) {
    constexpr int block = DTYPE == WEIR_DTYPE_FP8 ? 64 : DTYPE >= WEIR_DTYPE_Q2_K ? 256 : 32;
    constexpr int bytes = DTYPE == WEIR_DTYPE_Q4_0     ? 18
                          : DTYPE == WEIR_DTYPE_Q4_1   ? 20
                          : DTYPE == WEIR_DTYPE_Q5_0   ? 22
                          : DTYPE == WEIR_DTYPE_Q5_1   ? 24
                          : DTYPE == WEIR_DTYPE_Q8_0   ? 34
                          : DTYPE == WEIR_DTYPE_IQ4_NL ? 18
                          : DTYPE == WEIR_DTYPE_MXFP4  ? 17
                          : DTYPE == WEIR_DTYPE_INT4   ? 20
                          : DTYPE == WEIR_DTYPE_Q2_K   ? 84
                          : DTYPE == WEIR_DTYPE_Q3_K   ? 110
                          : DTYPE == WEIR_DTYPE_Q4_K   ? 144
                          : DTYPE == WEIR_DTYPE_Q5_K   ? 176
                          : DTYPE == WEIR_DTYPE_Q6_K   ? 210
                          : DTYPE == WEIR_DTYPE_FP8    ? 68
                                                       : 136;
    const uint8_t *p = row + at / block * bytes;
    const int j = static_cast<int>(at % block);
    if constexpr (DTYPE == WEIR_DTYPE_Q4_0) block_32<false, false>(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q4_1) block_32<true, false>(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q5_0) block_32<false, true>(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q5_1) block_32<true, true>(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q8_0) block_q8_0(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q4_K) block_q45_k<false>(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q5_K) block_q45_k<true>(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q6_K) block_q6_k(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_IQ4_NL) block_iq4(w, p + 2, f16_at(p), j);
    if constexpr (DTYPE == WEIR_DTYPE_MXFP4) block_mxfp4(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_INT4) block_int4(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q2_K) block_q2_k(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_Q3_K) block_q3_k(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_IQ4_XS) block_iq4_xs(w, p, j);
    if constexpr (DTYPE == WEIR_DTYPE_FP8) block_fp8(w, p, j);
}

} // namespace quant

#endif /* WEIR_KERNELS_WEIGHT_QUANT_CUH */
