#include "kernels/base/types.h"

#include <string.h>

const char *weir_dtype_name(weir_dtype t) {
    switch (t) {
    case WEIR_DTYPE_F32: return "f32";
    case WEIR_DTYPE_F16: return "f16";
    case WEIR_DTYPE_BF16: return "bf16";
    }
    return "unknown";
}

static float f32_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float weir_f32_from_bf16(uint16_t bits) { return f32_from_bits((uint32_t)bits << 16); }

float weir_f32_from_f16(uint16_t bits) {
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
    if (exponent == 0x1f) return f32_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0) return f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    /* Subnormal: mantissa * 2^-24 is exact in f32. */
    const float f = (float)mantissa * 0x1p-24f;
    return sign ? -f : f;
}

uint16_t weir_bf16_from_f32(float f) {
    const uint32_t u = f32_bits(f);
    /* The quiet bit keeps a NaN whose payload lies in the lost half from becoming an infinity. */
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

float weir_tensor_get(const weir_tensor *t, int64_t r, int64_t c) {
    const size_t at = (size_t)(r * t->cols + c) * (size_t)weir_dtype_bytes(t->dtype);
    const unsigned char *p = (const unsigned char *)t->data + at;
    if (t->dtype == WEIR_DTYPE_F32) {
        float f;
        memcpy(&f, p, sizeof f);
        return f;
    }
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return t->dtype == WEIR_DTYPE_F16 ? weir_f32_from_f16(h) : weir_f32_from_bf16(h);
}
