#include "kernels/base/types.h"

#include <inttypes.h>
#include <stdio.h>

#include "kernels/math/fmath.h"

const char *weir_dtype_name(weir_dtype t) {
    static const char *const names[WEIR_DTYPE_COUNT] = {
        [WEIR_DTYPE_F32] = "f32",           [WEIR_DTYPE_F16] = "f16",   [WEIR_DTYPE_BF16] = "bf16",
        [WEIR_DTYPE_Q4_0] = "q4_0",         [WEIR_DTYPE_Q4_1] = "q4_1", [WEIR_DTYPE_Q5_0] = "q5_0",
        [WEIR_DTYPE_Q5_1] = "q5_1",         [WEIR_DTYPE_Q8_0] = "q8_0", [WEIR_DTYPE_IQ4_NL] = "iq4_nl",
        [WEIR_DTYPE_MXFP4] = "mxfp4",       [WEIR_DTYPE_Q2_K] = "q2_k", [WEIR_DTYPE_Q3_K] = "q3_k",
        [WEIR_DTYPE_Q4_K] = "q4_k",         [WEIR_DTYPE_Q5_K] = "q5_k", [WEIR_DTYPE_Q6_K] = "q6_k",
        [WEIR_DTYPE_IQ4_XS] = "iq4_xs",     [WEIR_DTYPE_INT4] = "int4", [WEIR_DTYPE_FP8] = "fp8",
        [WEIR_DTYPE_INT4_128] = "int4_128",
    };
    return (unsigned)t < WEIR_DTYPE_COUNT ? names[t] : "unknown";
}

int weir_dtype_block_bytes(weir_dtype t) {
    static const int bytes[WEIR_DTYPE_COUNT] = {
        [WEIR_DTYPE_F32] = 4,       [WEIR_DTYPE_F16] = 2,    [WEIR_DTYPE_BF16] = 2,
        [WEIR_DTYPE_Q4_0] = 18,     [WEIR_DTYPE_Q4_1] = 20,  [WEIR_DTYPE_Q5_0] = 22,
        [WEIR_DTYPE_Q5_1] = 24,     [WEIR_DTYPE_Q8_0] = 34,  [WEIR_DTYPE_IQ4_NL] = 18,
        [WEIR_DTYPE_MXFP4] = 17,    [WEIR_DTYPE_Q2_K] = 84,  [WEIR_DTYPE_Q3_K] = 110,
        [WEIR_DTYPE_Q4_K] = 144,    [WEIR_DTYPE_Q5_K] = 176, [WEIR_DTYPE_Q6_K] = 210,
        [WEIR_DTYPE_IQ4_XS] = 136,  [WEIR_DTYPE_INT4] = 20,  [WEIR_DTYPE_FP8] = 68,
        [WEIR_DTYPE_INT4_128] = 68,
    };
    return (unsigned)t < WEIR_DTYPE_COUNT ? bytes[t] : 0;
}

weir_tensor weir_tensor_of(const void *data, weir_dtype dtype, const int64_t *shape, int n_dim) {
    weir_tensor t = {
        .data = data, .dtype = dtype, .rows = n_dim > 1 ? shape[n_dim - 2] : 1, .cols = shape[n_dim - 1]};
    for (; t.n_outer < n_dim - 2; t.n_outer++) t.outer[t.n_outer] = shape[t.n_outer];
    return t;
}

static int64_t stride_of(const weir_tensor *t) {
    return t->stride > 0 ? t->stride : weir_dtype_row_bytes(t->dtype, t->cols);
}

const void *weir_tensor_row(const weir_tensor *t, int64_t r) {
    return (const unsigned char *)t->data + (size_t)r * (size_t)stride_of(t);
}

weir_tensor weir_tensor_rows(const weir_tensor *t, int64_t first, int64_t n) {
    weir_tensor part = *t;
    part.stride = stride_of(t);
    part.rows = n;
    if (t->data) part.data = weir_tensor_row(t, first);
    return part;
}

weir_tensor weir_tensor_cols(const weir_tensor *t, int64_t first, int64_t n) {
    weir_tensor part = *t;
    part.stride = stride_of(t);
    part.cols = n;
    if (t->order) part.order = t->order + first;
    if (t->data) part.data = (const unsigned char *)t->data + weir_dtype_row_bytes(t->dtype, first);
    return part;
}

const char *weir_tensor_shape(const weir_tensor *t, char out[WEIR_SHAPE_TEXT]) {
    int n = snprintf(out, WEIR_SHAPE_TEXT, "(");
    for (int i = 0; i < t->n_outer; i++)
        n += snprintf(out + n, WEIR_SHAPE_TEXT - (size_t)n, "%" PRId64 ", ", t->outer[i]);
    (void)snprintf(out + n, WEIR_SHAPE_TEXT - (size_t)n, "%" PRId64 ", %" PRId64 ")", t->rows, t->cols);
    return out;
}

float weir_f32_from_bf16(uint16_t bits) { return wf_from_bits((int32_t)((uint32_t)bits << 16)); }

float weir_f32_from_f16(uint16_t bits) {
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
    if (exponent == 0x1f) return wf_from_bits((int32_t)(sign | 0x7f800000u | mantissa << 13));
    if (exponent != 0) return wf_from_bits((int32_t)(sign | (exponent + 112) << 23 | mantissa << 13));
    /* Subnormal: mantissa * 2^-24 is exact in f32. */
    const float f = (float)mantissa * 0x1p-24f;
    return sign ? -f : f;
}

uint16_t weir_bf16_from_f32(float f) {
    const uint32_t u = (uint32_t)wf_bits(f);
    /* The quiet bit keeps a NaN whose payload is in the lost half from becoming an infinity. */
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

uint16_t weir_f16_from_f32(float f) {
    const uint32_t u = (uint32_t)wf_bits(f), sign = u >> 16 & 0x8000u, size = u & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 */
    if (size < 0x38800000u) { /* below 2^-14: multiples of 2^-24, which is the last bit of 1/2 */
        const float moved = wf_from_bits((int32_t)size) + 0.5f;
        return (uint16_t)(sign | ((uint32_t)wf_bits(moved) - 0x3f000000u));
    }
    const uint32_t even = size + 0xfffu + (size >> 13 & 1u);
    return (uint16_t)(sign | (even - 0x38000000u) >> 13);
}
