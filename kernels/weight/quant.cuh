#ifndef WEIR_KERNELS_WEIGHT_QUANT_CUH
#define WEIR_KERNELS_WEIGHT_QUANT_CUH

/* Quantised rows (quant.h) as kernels read them: four codes at a time as signed bytes, and what a code
 * counts. An element is scale * code, or scale * code + offset: products are exact in f32 and the sum is
 * rounded once, so that it has the bits of weir__dequantise_block, contracted or not. Loads are as wide as
 * the blocks are aligned; neighbouring lanes read the rest of the line. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

extern "C" {
#include "kernels/weight/quant.h"
}

namespace quant {

constexpr int UNIT = 32; /* elements; a block has one, four or eight */

/* Every format of integer codes, for a switch: all but fp8. */
#define QUANT_EACH(X)      \
    X(WEIR_DTYPE_Q4_0)     \
    X(WEIR_DTYPE_Q4_1)     \
    X(WEIR_DTYPE_Q5_0)     \
    X(WEIR_DTYPE_Q5_1)     \
    X(WEIR_DTYPE_Q8_0)     \
    X(WEIR_DTYPE_IQ4_NL)   \
    X(WEIR_DTYPE_MXFP4)    \
    X(WEIR_DTYPE_INT4)     \
    X(WEIR_DTYPE_INT4_128) \
    X(WEIR_DTYPE_Q2_K)     \
    X(WEIR_DTYPE_Q3_K)     \
    X(WEIR_DTYPE_Q4_K)     \
    X(WEIR_DTYPE_Q5_K)     \
    X(WEIR_DTYPE_Q6_K)     \
    X(WEIR_DTYPE_IQ4_XS)

/* What a format's kernels differ in. */
struct format {
    int units, bytes; /* of a block */
    int align;        /* bytes that divide every address of a block's words */
    int scales;       /* of a unit: 1, or 2 of 16 elements each */
    bool offset;      /* elements have one */
};

__host__ __device__ constexpr format format_of(int dtype) {
    switch (dtype) {
    case WEIR_DTYPE_Q4_0: return {1, 18, 2, 1, false};
    case WEIR_DTYPE_Q4_1: return {1, 20, 4, 1, true};
    case WEIR_DTYPE_Q5_0: return {1, 22, 2, 1, false};
    case WEIR_DTYPE_Q5_1: return {1, 24, 4, 1, true};
    case WEIR_DTYPE_Q8_0: return {1, 34, 2, 1, false};
    case WEIR_DTYPE_IQ4_NL: return {1, 18, 2, 1, false};
    case WEIR_DTYPE_MXFP4: return {1, 17, 1, 1, false};
    case WEIR_DTYPE_INT4: return {1, 20, 4, 1, false};
    case WEIR_DTYPE_INT4_128: return {4, 68, 4, 1, false};
    case WEIR_DTYPE_Q2_K: return {8, 84, 4, 2, true};
    case WEIR_DTYPE_Q3_K: return {8, 110, 2, 2, false};
    case WEIR_DTYPE_Q4_K: return {8, 144, 4, 1, true};
    case WEIR_DTYPE_Q5_K: return {8, 176, 4, 1, true};
    case WEIR_DTYPE_Q6_K: return {8, 210, 2, 2, false};
    case WEIR_DTYPE_IQ4_XS: return {8, 136, 4, 1, false};
    default: return {1, 0, 1, 1, false};
    }
}

__host__ __device__ constexpr bool is_int4(int dtype) {
    return dtype == WEIR_DTYPE_INT4 || dtype == WEIR_DTYPE_INT4_128;
}

PTX_FN uint32_t half_at(const uint8_t *p) { return __ldg(reinterpret_cast<const uint16_t *>(p)); }
PTX_FN float f16_at(const uint8_t *p) { return ptx::f32_of_f16(static_cast<uint16_t>(half_at(p))); }
PTX_FN int byte_at(const uint8_t *p) { return __ldg(p); }

/* Bytes 0 … 3 from p on. */
template <int DTYPE> PTX_FN uint32_t word_at(const uint8_t *p) {
    constexpr int align = format_of(DTYPE).align;
    if constexpr (align == 4) return __ldg(reinterpret_cast<const uint32_t *>(p));
    if constexpr (align == 2) return half_at(p) | half_at(p + 2) << 16;
    return static_cast<uint32_t>(byte_at(p)) | static_cast<uint32_t>(byte_at(p + 1)) << 8 |
           static_cast<uint32_t>(byte_at(p + 2)) << 16 | static_cast<uint32_t>(byte_at(p + 3)) << 24;
}

/* Four bytes minus ZERO each, a power of two that none of them reaches twice: no byte carries into the next.
 * */
template <int ZERO> PTX_FN uint32_t less(uint32_t codes) {
    return (codes + (0x80 - ZERO) * 0x01010101u) ^ 0x80808080u;
}

/* Bits 0 … 3, each to the lowest of a byte. */
PTX_FN uint32_t spread(uint32_t bits) { return (bits & 15u) * 0x00204081u & 0x01010101u; }

/* Of four indices below 16, a byte each, the values of a table of bytes. */
PTX_FN uint32_t look_up(uint32_t index, uint32_t v0, uint32_t v4, uint32_t v8, uint32_t v12) {
    const uint32_t low = index & 0x07070707u, pairs = low | low >> 4, select = __byte_perm(pairs, 0, 0x4420);
    const uint32_t upper = (index >> 3 & 0x01010101u) * 0xffu;
    return (__byte_perm(v0, v4, select) & ~upper) | (__byte_perm(v8, v12, select) & upper);
}
PTX_FN uint32_t iq4_values(uint32_t index) { /* weir__iq4_values */
    return look_up(index, 0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);
}
PTX_FN uint32_t mxfp4_values(uint32_t index) { /* weir__mxfp4_values */
    return look_up(index, 0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);
}

/* Codes of elements 4 i … 4 i + 3 (i = 0 … 7) of a unit, as signed bytes. */
template <int DTYPE> PTX_FN uint32_t codes(const uint8_t *block, int unit, int i) {
    constexpr uint32_t four = 0x0f0f0f0fu, two = 0x03030303u, one = 0x01010101u;
    const auto word = [block](int at) { return word_at<DTYPE>(block + at); };
    const auto nibbles = [&](int at) { return word(at + i % 4 * 4) >> (i / 4 * 4) & four; };
    const auto fifth = [&](int at) { return spread(word(at) >> (4 * i)) << 4; };
    if constexpr (DTYPE == WEIR_DTYPE_Q4_0) return less<8>(nibbles(2));
    if constexpr (DTYPE == WEIR_DTYPE_Q4_1) return nibbles(4);
    if constexpr (DTYPE == WEIR_DTYPE_Q5_0) return less<16>(nibbles(6) | fifth(2));
    if constexpr (DTYPE == WEIR_DTYPE_Q5_1) return nibbles(8) | fifth(4);
    if constexpr (DTYPE == WEIR_DTYPE_Q8_0) return word(2 + 4 * i);
    if constexpr (DTYPE == WEIR_DTYPE_IQ4_NL) return iq4_values(nibbles(2));
    if constexpr (DTYPE == WEIR_DTYPE_MXFP4) return mxfp4_values(nibbles(1));
    if constexpr (is_int4(DTYPE)) /* less<>, of the block's own zero */
        return (nibbles(4 + 16 * unit) + (0x80u - (word(0) & WEIR_INT4_ZERO)) * one) ^ 0x80808080u;
    if constexpr (DTYPE == WEIR_DTYPE_IQ4_XS) return iq4_values(nibbles(8 + 16 * unit));
    const int half = unit / 4, part = unit % 4;
    if constexpr (DTYPE == WEIR_DTYPE_Q2_K) return word(16 + half * 32 + 4 * i) >> (2 * part) & two;
    if constexpr (DTYPE == WEIR_DTYPE_Q3_K)
        return less<4>((word(32 + half * 32 + 4 * i) >> (2 * part) & two) | (word(4 * i) >> unit & one) << 2);
    if constexpr (DTYPE == WEIR_DTYPE_Q4_K) return word(16 + unit / 2 * 32 + 4 * i) >> (unit % 2 * 4) & four;
    if constexpr (DTYPE == WEIR_DTYPE_Q5_K)
        return (word(48 + unit / 2 * 32 + 4 * i) >> (unit % 2 * 4) & four) | (word(16 + 4 * i) >> unit & one)
                                                                                 << 4;
    if constexpr (DTYPE == WEIR_DTYPE_Q6_K)
        return less<32>((word(half * 64 + part % 2 * 32 + 4 * i) >> (part / 2 * 4) & four) |
                        (word(128 + half * 32 + 4 * i) >> (2 * part) & two) << 4);
    return 0;
}

struct scale {
    float scale, offset;
};

/* Scale i of a block, which has one or two for each unit. */
template <int DTYPE> PTX_FN scale scale_of(const uint8_t *block, int i) {
    if constexpr (DTYPE == WEIR_DTYPE_Q4_1 || DTYPE == WEIR_DTYPE_Q5_1)
        return {f16_at(block), f16_at(block + 2)};
    if constexpr (DTYPE == WEIR_DTYPE_MXFP4) {
        const uint32_t e = static_cast<uint32_t>(byte_at(block));
        return {__uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23), 0.0f};
    }
    if constexpr (is_int4(DTYPE)) return {__uint_as_float(word_at<DTYPE>(block) & WEIR_INT4_SCALE), 0.0f};
    if constexpr (DTYPE == WEIR_DTYPE_Q2_K) {
        const int s = byte_at(block + i);
        return {f16_at(block + 80) * static_cast<float>(s & 15),
                -(f16_at(block + 82) * static_cast<float>(s >> 4))};
    }
    if constexpr (DTYPE == WEIR_DTYPE_Q3_K) {
        const int four = byte_at(block + 96 + i % 8) >> (i / 8 * 4) & 15,
                  two = byte_at(block + 104 + i % 4) >> (i / 4 * 2) & 3;
        return {f16_at(block + 108) * static_cast<float>((four | two << 4) - 32), 0.0f};
    }
    if constexpr (DTYPE == WEIR_DTYPE_Q4_K || DTYPE == WEIR_DTYPE_Q5_K) {
        const uint8_t *s = block + 4;
        int factor, min; /* the upper four units' top bits are with the lower four's */
        if (i < 4) {
            factor = byte_at(s + i) & 63, min = byte_at(s + i + 4) & 63;
        } else {
            const int both = byte_at(s + i + 4);
            factor = (both & 15) | byte_at(s + i - 4) >> 6 << 4, min = both >> 4 | byte_at(s + i) >> 6 << 4;
        }
        return {f16_at(block) * static_cast<float>(factor), -(f16_at(block + 2) * static_cast<float>(min))};
    }
    if constexpr (DTYPE == WEIR_DTYPE_Q6_K)
        return {f16_at(block + 208) * static_cast<float>(static_cast<int8_t>(byte_at(block + 192 + i))),
                0.0f};
    if constexpr (DTYPE == WEIR_DTYPE_IQ4_XS) {
        const int low = byte_at(block + 4 + i / 2) >> (i % 2 * 4) & 15,
                  high = byte_at(block + 2 + i / 4) >> (i % 4 * 2) & 3;
        return {f16_at(block) * static_cast<float>((low | high << 4) - 32), 0.0f};
    }
    return {f16_at(block), 0.0f};
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
    if constexpr (DTYPE == WEIR_DTYPE_FP8) {
        block_fp8(w, row + at / 64 * 68, static_cast<int>(at % 64));
        return;
    }
    constexpr format f = format_of(DTYPE);
    const uint8_t *block = row + at / (f.units * UNIT) * f.bytes;
    const int j = static_cast<int>(at % (f.units * UNIT)), i = j % UNIT / 4;
    const scale s = scale_of<DTYPE>(block, j * f.scales / UNIT);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const uint32_t q = codes<DTYPE>(block, j / UNIT, i + h);
#pragma unroll
        for (int v = 0; v < 4; v++) {
            const float product = s.scale * static_cast<float>(static_cast<int8_t>(q >> (8 * v) & 255u));
            w[4 * h + v] = f.offset ? product + s.offset : product;
        }
    }
}

} // namespace quant

#endif /* WEIR_KERNELS_WEIGHT_QUANT_CUH */
