#include "kernels/weight/quant.h"

#include <string.h>

static float f16_at(const unsigned char *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return weir_f32_from_f16(h);
}

const int8_t weir__iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
const int8_t weir__mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

weir_quant_scales weir__quant_scales_of(weir_dtype dtype) {
    switch (dtype) {
    case WEIR_DTYPE_Q4_1:
    case WEIR_DTYPE_Q5_1:
    case WEIR_DTYPE_Q4_K:
    case WEIR_DTYPE_Q5_K: return (weir_quant_scales){0, 2};
    case WEIR_DTYPE_MXFP4:
    case WEIR_DTYPE_INT4:
    case WEIR_DTYPE_INT4_128:
    case WEIR_DTYPE_FP8: return (weir_quant_scales){-1, -1};
    case WEIR_DTYPE_Q2_K: return (weir_quant_scales){80, 82};
    case WEIR_DTYPE_Q3_K: return (weir_quant_scales){108, -1};
    case WEIR_DTYPE_Q6_K: return (weir_quant_scales){208, -1};
    default: return (weir_quant_scales){weir_dtype_is_float(dtype) ? -1 : 0, -1};
    }
}

/* ---- blocks of 32 -------------------------------------------------------------------------------------- */

/* 32 codes of 4 bits; high: a fifth bit for each, bit i that of element i. */
static void codes_of_32(const unsigned char *nibble, uint32_t high, uint8_t *q) {
    for (int i = 0; i < 16; i++) {
        q[i] = (uint8_t)((nibble[i] & 15u) | (high >> i & 1u) << 4);
        q[i + 16] = (uint8_t)(nibble[i] >> 4 | (high >> (i + 16) & 1u) << 4);
    }
}

static uint32_t word_at(const unsigned char *p) {
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* 4 and 5 bits: with a minimum in the file, or with a code that means zero. */
static void block_32(const unsigned char *p, bool minimum, bool fifth, float *out) {
    const float d = f16_at(p), m = minimum ? f16_at(p + 2) : 0.0f;
    const unsigned char *at = p + (minimum ? 4 : 2);
    uint8_t q[32];
    codes_of_32(fifth ? at + 4 : at, fifth ? word_at(at) : 0, q);
    const int zero = minimum ? 0 : fifth ? 16 : 8;
    for (int i = 0; i < 32; i++) {
        const float product = d * (float)(q[i] - zero);
        out[i] = minimum ? product + m : product;
    }
}

static void block_q8_0(const unsigned char *p, float *out) {
    const float d = f16_at(p);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(int8_t)p[2 + i];
}

/* 32 codes, each the index of a value. */
static void block_of_values(const unsigned char *nibble, float scale, const int8_t *value, float *out) {
    uint8_t q[32];
    codes_of_32(nibble, 0, q);
    for (int i = 0; i < 32; i++) out[i] = scale * (float)value[q[i]];
}

/* 2^(e - 128); of e = 0 and 1 that is below the least normal number. */
static float half_e8m0(unsigned e) {
    const uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* n times 32 elements. */
static void block_int4(const unsigned char *p, int n, float *out) {
    const uint32_t word = word_at(p), bits = word & WEIR_INT4_SCALE;
    const int zero = (int)(word & WEIR_INT4_ZERO);
    uint8_t q[32];
    float d;
    memcpy(&d, &bits, sizeof d);
    for (int j = 0; j < n; j++) {
        codes_of_32(p + 4 + 16 * j, 0, q);
        for (int i = 0; i < 32; i++) out[32 * j + i] = d * (float)(q[i] - zero);
    }
}

/* ---- blocks of 64 -------------------------------------------------------------------------------------- */

static void block_fp8(const unsigned char *p, float *out) {
    float d;
    memcpy(&d, p, sizeof d);
    d *= 256.0f;
    for (int i = 0; i < 64; i++) out[i] = d * weir_f32_from_f16(weir__e4m3_f16(p[4 + i]));
}

/* ---- blocks of 256 ------------------------------------------------------------------------------------- */

/* Scale and minimum j of 8, in 12 bytes: the first four have the low 6 bits of bytes j and j + 4, the others
 * 4 bits in byte j + 4 and their 2 high bits on top of the first four's. */
static void scale_and_min(const unsigned char *s, int j, int *scale, int *min) {
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
}

static void block_q45_k(const unsigned char *p, bool fifth, float *out) {
    const float d = f16_at(p), dmin = f16_at(p + 2);
    const unsigned char *high = p + 16, *low = p + (fifth ? 48 : 16);
    for (int j = 0; j < 8; j++) {
        int scale, min;
        scale_and_min(p + 4, j, &scale, &min);
        const float ds = d * (float)scale, offset = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int q = low[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
            if (fifth) q |= (high[i] >> j & 1) << 4;
            const float product = ds * (float)q;
            out[32 * j + i] = product - offset;
        }
    }
}

static void block_q6_k(const unsigned char *p, float *out) {
    const float d = f16_at(p + 208);
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, part = i % 128 / 32, l = i % 32;
        const int low = p[half * 64 + part % 2 * 32 + l] >> (part / 2 * 4) & 15;
        const int high = p[128 + half * 32 + l] >> (2 * part) & 3;
        const float ds = d * (float)(int8_t)p[192 + i / 16];
        out[i] = ds * (float)((low | high << 4) - 32);
    }
}

static void block_q2_k(const unsigned char *p, float *out) {
    const float d = f16_at(p + 80), dmin = f16_at(p + 82);
    for (int i = 0; i < 256; i++) {
        const int part = i % 128 / 32, q = p[16 + i / 128 * 32 + i % 32] >> (2 * part) & 3;
        const float ds = d * (float)(p[i / 16] & 15), offset = dmin * (float)(p[i / 16] >> 4);
        const float product = ds * (float)q;
        out[i] = product - offset;
    }
}

/* Scale j of 16: low 4 bits in 8 bytes, the first eight in their low halves; high 2 bits in 4 bytes more. */
static int scale_q3_k(const unsigned char *s, int j) {
    const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    return (low | (s[8 + j % 4] >> (j / 4 * 2) & 3) << 4) - 32;
}

static void block_q3_k(const unsigned char *p, float *out) {
    const float d = f16_at(p + 108);
    for (int i = 0; i < 256; i++) {
        const int part = i % 128 / 32, low = p[32 + i / 128 * 32 + i % 32] >> (2 * part) & 3;
        const int high = p[i % 32] >> (i / 32) & 1;
        const float ds = d * (float)scale_q3_k(p + 96, i / 16);
        out[i] = ds * (float)((low | high << 2) - 4);
    }
}

static void block_iq4_xs(const unsigned char *p, float *out) {
    const float d = f16_at(p);
    for (int j = 0; j < 8; j++) {
        const int low = p[4 + j / 2] >> (j % 2 * 4) & 15, high = p[2 + j / 4] >> (j % 4 * 2) & 3;
        block_of_values(p + 8 + 16 * j, d * (float)((low | high << 4) - 32), weir__iq4_values, out + 32 * j);
    }
}

void weir__dequantise_block(weir_dtype dtype, const void *block, float *out) {
    const unsigned char *p = block;
    switch (dtype) {
    case WEIR_DTYPE_Q4_0: block_32(p, false, false, out); break;
    case WEIR_DTYPE_Q4_1: block_32(p, true, false, out); break;
    case WEIR_DTYPE_Q5_0: block_32(p, false, true, out); break;
    case WEIR_DTYPE_Q5_1: block_32(p, true, true, out); break;
    case WEIR_DTYPE_Q8_0: block_q8_0(p, out); break;
    case WEIR_DTYPE_IQ4_NL: block_of_values(p + 2, f16_at(p), weir__iq4_values, out); break;
    case WEIR_DTYPE_MXFP4: block_of_values(p + 1, half_e8m0(p[0]), weir__mxfp4_values, out); break;
    case WEIR_DTYPE_INT4: block_int4(p, 1, out); break;
    case WEIR_DTYPE_INT4_128: block_int4(p, 4, out); break;
    case WEIR_DTYPE_Q2_K: block_q2_k(p, out); break;
    case WEIR_DTYPE_Q3_K: block_q3_k(p, out); break;
    case WEIR_DTYPE_Q4_K: block_q45_k(p, false, out); break;
    case WEIR_DTYPE_Q5_K: block_q45_k(p, true, out); break;
    case WEIR_DTYPE_Q6_K: block_q6_k(p, out); break;
    case WEIR_DTYPE_IQ4_XS: block_iq4_xs(p, out); break;
    case WEIR_DTYPE_FP8: block_fp8(p, out); break;
    default: break;
    }
}

static float float_at(weir_dtype dtype, const unsigned char *p) {
    if (dtype == WEIR_DTYPE_F32) {
        float f;
        memcpy(&f, p, sizeof f);
        return f;
    }
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return dtype == WEIR_DTYPE_F16 ? weir_f32_from_f16(h) : weir_f32_from_bf16(h);
}

/* Declared with the tensor (kernels/base/types.h), which knows nothing of blocks. */
float weir_tensor_get(const weir_tensor *t, int64_t r, int64_t c) {
    const int64_t block = weir_dtype_block(t->dtype);
    const unsigned char *p = (const unsigned char *)weir_tensor_row(t, r) +
                             (size_t)(c / block) * (size_t)weir_dtype_block_bytes(t->dtype);
    if (weir_dtype_is_float(t->dtype)) return float_at(t->dtype, p);
    float out[WEIR_QUANT_BLOCK];
    weir__dequantise_block(t->dtype, p, out);
    return out[c % block];
}
