#include "tests/kernels/op_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/quant.h"
#include "tests/support/compare.h"

weir_backend *open_backend(int n_thread, weir_isa isa) {
    weir_backend *be = NULL;
    weir_err err;
    cr_assert_eq(weir__backend_cpu_open(&be, n_thread, isa, &err), WEIR_OK, "%s", err.text);
    return be;
}

/* f16 bits of a normal value, cut to 10 bits of mantissa: the widened value is what counts. */
static uint16_t f16_cut(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    const int exponent = (int)(u >> 23 & 0xff) - 127 + 15;
    if (exponent <= 0) return (uint16_t)(u >> 16 & 0x8000);
    return (uint16_t)((u >> 16 & 0x8000) | (uint32_t)exponent << 10 | (u >> 13 & 0x3ff));
}

static void put_f16(unsigned char *to, float f) {
    const uint16_t h = f16_cut(f);
    memcpy(to, &h, sizeof h);
}

/* One block: random codes, scales so that its values are about as large as spread, and minima that put them
 * about zero. */
static void random_block(weir_dtype t, unsigned char *block, float spread, uint64_t *rng) {
    for (int i = 0; i < weir_dtype_block_bytes(t); i++) block[i] = (unsigned char)(rng_u64(rng) >> 40);
    const float one =
        spread * (0.5f + (float)(rng_u64(rng) % 1024) / 1024.0f) * (rng_u64(rng) >> 63 ? 1.0f : -1.0f);
    switch (t) {
    case WEIR_DTYPE_Q4_0: put_f16(block, one / 8); break;
    case WEIR_DTYPE_Q5_0: put_f16(block, one / 16); break;
    case WEIR_DTYPE_Q8_0: put_f16(block, one / 100); break;
    case WEIR_DTYPE_Q4_1: put_f16(block, one / 8), put_f16(block + 2, -one); break;
    case WEIR_DTYPE_Q5_1: put_f16(block, one / 16), put_f16(block + 2, -one); break;
    case WEIR_DTYPE_Q4_K: put_f16(block, one / (8 * 32)), put_f16(block + 2, one / 32); break;
    case WEIR_DTYPE_Q5_K: put_f16(block, one / (16 * 32)), put_f16(block + 2, one / 32); break;
    case WEIR_DTYPE_Q6_K: put_f16(block + 208, one / (32 * 64)); break;
    case WEIR_DTYPE_IQ4_NL: put_f16(block, one / 128); break;
    case WEIR_DTYPE_IQ4_XS: put_f16(block, one / (128 * 16)); break;
    case WEIR_DTYPE_Q3_K: put_f16(block + 108, one / (4 * 16)); break;
    case WEIR_DTYPE_Q2_K: put_f16(block + 80, one / 16), put_f16(block + 82, one / 8); break;
    case WEIR_DTYPE_FP8: {
        const float d = one / WEIR_E4M3_MOST;
        memcpy(block, &d, sizeof d);
        for (int i = 4; i < 68; i++) block[i] ^= (block[i] & 0x7f) == 0x7f; /* a code of NaN */
        break;
    }
    case WEIR_DTYPE_MXFP4: /* powers of two: 12 times this one is at most spread */
        block[0] = (unsigned char)(128 + (int)floorf(log2f(spread / 12)) - (int)(rng_u64(rng) % 3));
        break;
    case WEIR_DTYPE_INT4:
    case WEIR_DTYPE_INT4_128: {
        const uint32_t word = weir__int4_word(one / 8, block[0] & 15u);
        memcpy(block, &word, sizeof word);
        break;
    }
    default: cr_assert_fail("not a dtype of blocks");
    }
}

void dequantise_row(weir_dtype dtype, const void *row, int64_t n, float *out) {
    const unsigned char *p = row;
    const int64_t block = weir_dtype_block(dtype), bytes = weir_dtype_block_bytes(dtype);
    for (int64_t i = 0; i < n; i += block, p += bytes) {
        uint16_t h;
        memcpy(&h, p, sizeof h);
        switch (dtype) {
        case WEIR_DTYPE_F32: memcpy(out + i, p, sizeof *out); break;
        case WEIR_DTYPE_F16: out[i] = weir_f32_from_f16(h); break;
        case WEIR_DTYPE_BF16: out[i] = weir_f32_from_bf16(h); break;
        default: weir__dequantise_block(dtype, p, out + i); break;
        }
    }
}

void blocks_random(weir_dtype dtype, void *to, int64_t n, float spread, uint64_t *rng) {
    unsigned char *p = to;
    for (int64_t i = 0; i < n; i += weir_dtype_block(dtype), p += weir_dtype_block_bytes(dtype))
        random_block(dtype, p, spread, rng);
}

static matrix matrix_of_blocks(weir_dtype dtype, int64_t rows, int64_t cols, float spread, uint64_t *rng) {
    const size_t row_bytes = (size_t)weir_dtype_row_bytes(dtype, cols), bytes = (size_t)rows * row_bytes;
    unsigned char *data = malloc(bytes);
    float *value = malloc((size_t)(rows * cols) * sizeof *value);
    cr_assert(data && value && cols % weir_dtype_block(dtype) == 0);
    blocks_random(dtype, data, rows * cols, spread, rng);
    for (int64_t r = 0; r < rows; r++)
        dequantise_row(dtype, data + (size_t)r * row_bytes, cols, value + r * cols);
    return (matrix){{data, dtype, rows, cols}, value};
}

matrix matrix_new(weir_dtype dtype, int64_t rows, int64_t cols, float spread, uint64_t *rng) {
    if (!weir_dtype_is_float(dtype)) return matrix_of_blocks(dtype, rows, cols, spread, rng);
    const size_t n = (size_t)(rows * cols), elem = (size_t)weir_dtype_bytes(dtype);
    unsigned char *data = malloc(n * elem);
    float *value = malloc(n * sizeof *value);
    cr_assert(data && value);
    matrix m = {{data, dtype, rows, cols}, value};
    for (size_t i = 0; i < n; i++) {
        const float f = spread * rng_normal(rng);
        const uint16_t h = dtype == WEIR_DTYPE_F16 ? f16_cut(f) : weir_bf16_from_f32(f);
        memcpy(data + i * elem, dtype == WEIR_DTYPE_F32 ? (const void *)&f : (const void *)&h, elem);
        value[i] = weir_tensor_get(&m.file, (int64_t)i / cols, (int64_t)i % cols);
    }
    return m;
}

void matrix_free(matrix *m) {
    free((void *)m->file.data);
    free(m->value);
}

float *floats_normal(size_t n, float spread, uint64_t *rng) {
    float *p = guarded_new(n);
    for (size_t i = 0; i < n; i++) p[i] = spread * rng_normal(rng);
    return p;
}

void assert_within(const float *got, const double *want, const double *bound, size_t n, const char *what) {
    char msg[256];
    for (size_t i = 0; i < n; i++) {
        cr_assert(close_f32(got + i, want + i, 1, bound[i], 0.0, INFINITY, msg, sizeof msg),
                  "%s: element %zu: %s", what, i, msg);
    }
    if (n < 64) return; /* a few elements may all be the small difference of large sums */
    cr_assert(close_f32(got, want, n, INFINITY, 0.0, 1e-4, msg, sizeof msg), "%s: %s", what, msg);
}

void assert_same(const float *got, const float *want, size_t n, const char *what) {
    char msg[256];
    cr_assert(same_bits_f32(got, want, n, msg, sizeof msg), "%s: %s", what, msg);
}
