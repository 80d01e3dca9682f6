/* Floats to blocks, and weights that become blocks on their way to a backend. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "kernels/weight/quant.h"
#include "kernels/weight/quantise.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

/* Every dtype that rows can become. */
static weir_dtype next_kind(weir_dtype t) {
    int i = (int)t + 1;
    while (i < WEIR_DTYPE_COUNT && !weir__can_quantise((weir_dtype)i)) i++;
    return (weir_dtype)i;
}
#define EACH_KIND(t) for (weir_dtype t = next_kind(WEIR_DTYPE_F32); t < WEIR_DTYPE_COUNT; t = next_kind(t))

/* The quotient that is rounded to a code is itself rounded to f32: 2^-24 of 127 against half a step. */
static const double NEAR = 2e-5;

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* d of a block of q8_0: its bits are those of the quotient rounded to 11 bits. */
static double scale_of_q8_0(const unsigned char *block) {
    uint16_t h;
    memcpy(&h, block, sizeof h);
    return (double)weir_f32_from_f16(h);
}

/* No code of the block is nearer to an element than the one that it has, and d is the largest over 127 to
 * half a unit of its 11 bits. */
static void check_q8_0(const float *x, const unsigned char *block, const char *what) {
    double most = 0;
    for (int i = 0; i < 32; i++) most = fmax(most, fabs((double)x[i]));
    const double d = scale_of_q8_0(block);
    cr_assert(fabs(d - most / 127) <= fmax(most / 127 * 0x1p-11, 0x1p-25), "%s: d %g of %g", what, d, most);
    for (int i = 0; i < 32; i++) {
        const double own = fabs(d * (int8_t)block[2 + i] - (double)x[i]);
        for (int q = -127; q <= 127; q++) {
            cr_assert(own <= fabs(d * q - (double)x[i]) * (1 + NEAR), "%s [%d]: %g has code %d, %d is nearer",
                      what, i, (double)x[i], (int8_t)block[2 + i], q);
        }
    }
}

/* What a code of e4m3 means (arXiv 2209.05433, table 1). */
static double meaning(int code) {
    const int e = code >> 3 & 15, m = code & 7;
    const double size = e ? ldexp(1 + m / 8.0, e - 7) : ldexp(m / 8.0, -6);
    return code & 128 ? -size : size;
}

static void check_fp8(const float *x, const unsigned char *block, const char *what) {
    double most = 0;
    float d;
    memcpy(&d, block, sizeof d);
    for (int i = 0; i < 64; i++) most = fmax(most, fabs((double)x[i]));
    cr_assert_eq(d, (float)(most / 448), "%s", what);
    for (int i = 0; i < 64; i++) {
        const int code = block[4 + i];
        const double own = fabs((double)d * meaning(code) - (double)x[i]);
        cr_assert((code & 127) != 127);
        for (int q = 0; q < 256; q++) {
            cr_assert((q & 127) == 127 || own <= fabs((double)d * meaning(q) - (double)x[i]) * (1 + NEAR),
                      "%s [%d]: %g has code %02x, %02x is nearer", what, i, (double)x[i], code, q);
        }
    }
}

Test(quantise, each_element_has_the_nearest_code_of_its_block) {
    uint64_t rng = 3;
    static const float spread[] = {1.0f, 0.03f, 300.0f, 0x1p-12f, 0x1p-16f};
    for (int t = WEIR_DTYPE_F32; t <= WEIR_DTYPE_BF16; t++) {
        for (int i = 0; i < 50; i++) {
            matrix m = matrix_new((weir_dtype)t, 1, 64, spread[i % 5], &rng);
            unsigned char out[2 * 34], fp8[68];
            char what[64];
            snprintf(what, sizeof what, "%s, spread %g", weir_dtype_name((weir_dtype)t),
                     (double)spread[i % 5]);
            weir__quantise_row((weir_dtype)t, WEIR_DTYPE_Q8_0, m.file.data, 64, out);
            check_q8_0(m.value, out, what);
            check_q8_0(m.value + 32, out + 34, what);
            weir__quantise_row((weir_dtype)t, WEIR_DTYPE_FP8, m.file.data, 64, fp8);
            check_fp8(m.value, fp8, what);
            matrix_free(&m);
        }
    }
}

/* Ties go to the even code: d is 1, and 127 is among the elements. */
Test(quantise, ties_of_q8_0_go_to_the_even_code) {
    float x[32] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f};
    static const int8_t want[9] = {127, 0, 2, 2, 0, -2, -2, 126, -126};
    unsigned char out[34];
    weir__quantise_row(WEIR_DTYPE_F32, WEIR_DTYPE_Q8_0, x, 32, out);
    cr_assert_eq(scale_of_q8_0(out), 1.0);
    for (int i = 0; i < 32; i++) cr_assert_eq((int8_t)out[2 + i], i < 9 ? want[i] : 0, "%d", i);
}

/* d is 1: each code's own number comes back, and what is halfway between two goes to the even one. */
Test(quantise, ties_of_fp8_go_to_the_even_code) {
    float x[64] = {448.0f};
    unsigned char out[68];
    for (int first = 1; first < 126; first += 31) {
        for (int i = 0; i < 31 && first + i <= 126; i++) {
            const double low = meaning(first + i - 1), high = meaning(first + i);
            x[1 + 2 * i] = (float)((low + high) / 2), x[2 + 2 * i] = -(float)high;
        }
        weir__quantise_row(WEIR_DTYPE_F32, WEIR_DTYPE_FP8, x, 64, out);
        cr_assert_eq(out[4], 126);
        for (int i = 0; i < 31 && first + i <= 126; i++) {
            const int code = first + i;
            cr_assert_eq(out[4 + 1 + 2 * i], code - code % 2, "between %d and %d", code - 1, code);
            cr_assert_eq(out[4 + 2 + 2 * i], 128 + code, "%d", code);
        }
    }
}

Test(quantise, blocks_of_given_codes_keep_them_or_are_nan) {
    uint8_t code[64];
    unsigned char out[68];
    float back[64];
    for (int i = 0; i < 64; i++) code[i] = (uint8_t)(i * 2 + i % 2 * 128);
    weir__fp8_block(0.37f, code, out);
    weir__dequantise_block(WEIR_DTYPE_FP8, out, back);
    for (int i = 0; i < 64; i++) cr_expect_eq(back[i], 0.37f * (float)meaning(code[i]), "%d", i);
    code[63] = 0xff;
    weir__fp8_block(0.37f, code, out);
    weir__dequantise_block(WEIR_DTYPE_FP8, out, back);
    for (int i = 0; i < 64; i++) cr_expect(isnan(back[i]), "%d", i);
}

Test(quantise, what_is_no_number_makes_its_block_none) {
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    EACH_KIND(t) {
        const int each = weir_dtype_block(t), bytes = weir_dtype_block_bytes(t);
        for (int i = 0; i < (t == WEIR_DTYPE_Q8_0 ? 4 : 3); i++) {
            float x[2 * WEIR_QUANT_BLOCK], back[WEIR_QUANT_BLOCK];
            unsigned char out[2 * WEIR_QUANT_BYTES];
            for (int k = 0; k < 2 * each; k++) x[k] = (float)(k % 7) - 3.0f;
            x[each - 5] = bad[i];
            weir__quantise_row(WEIR_DTYPE_F32, t, x, 2 * each, out);
            weir__dequantise_block(t, out, back);
            for (int k = 0; k < each; k++) cr_expect(isnan(back[k]), "%s [%d]", weir_dtype_name(t), k);
            weir__dequantise_block(t, out + bytes, back);
            for (int k = 0; k < each; k++)
                cr_expect(isfinite(back[k]) && fabsf(back[k] - x[each + k]) < 0.2f);
        }
    }
}

Test(quantise, zeros_and_what_is_too_small_become_zeros) {
    EACH_KIND(t) {
        const int each = weir_dtype_block(t);
        float x[2 * WEIR_QUANT_BLOCK] = {0}, back[WEIR_QUANT_BLOCK];
        unsigned char out[2 * WEIR_QUANT_BYTES];
        for (int k = each; k < 2 * each; k++) x[k] = k % 2 ? 0x1p-130f : -0x1p-149f;
        weir__quantise_row(WEIR_DTYPE_F32, t, x, 2 * each, out);
        for (int b = 0; b < 2; b++) {
            weir__dequantise_block(t, out + b * weir_dtype_block_bytes(t), back);
            for (int k = 0; k < each; k++) cr_expect(back[k] == 0.0f, "%s %d [%d]", weir_dtype_name(t), b, k);
        }
    }
}

/* ---- weights ------------------------------------------------------------------------------------------- */

/* A matrix of blocks made of m, as a file might hold it. */
static matrix as_blocks(const matrix *m, weir_dtype to) {
    const int64_t rows = m->file.rows, cols = m->file.cols, bytes = weir_dtype_row_bytes(to, cols);
    unsigned char *data = malloc((size_t)(rows * bytes));
    float *value = malloc((size_t)(rows * cols) * sizeof *value);
    cr_assert(data && value);
    for (int64_t r = 0; r < rows; r++) {
        weir__quantise_row(m->file.dtype, to, weir_tensor_row(&m->file, r), cols, data + r * bytes);
        dequantise_row(to, data + r * bytes, cols, value + r * cols);
    }
    return (matrix){{data, to, rows, cols}, value};
}

static void check_pack(weir_backend *be, weir_dtype from, weir_dtype to, int64_t n0, int64_t n1, bool gated,
                       uint64_t *rng) {
    const int64_t k = 3 * weir_dtype_block(to);
    matrix m[2] = {matrix_new(from, n0, k, 1.0f, rng), matrix_new(from, gated ? n0 : n1, k, 1.0f, rng)};
    matrix q[2] = {as_blocks(&m[0], to), as_blocks(&m[1], to)};
    const weir_tensor part[2] = {m[0].file, m[1].file}, ready[2] = {q[0].file, q[1].file};
    weir_weight got, want;
    cr_assert_eq(weir__weight_pack_as(be, part, 2, gated, WEIR_USE_ROWS, to, &got), WEIR_OK);
    cr_assert_eq(weir__weight_pack(be, ready, 2, gated, WEIR_USE_ROWS, &want), WEIR_OK);
    const size_t bytes = weir__weight_bytes(want.layout, to, want.n, k, gated);
    cr_assert(got.dtype == to && got.n == want.n && got.k == k && got.layout == want.layout);
    cr_assert(memcmp(got.data, want.data, bytes) == 0, "%s to %s, %ld + %ld rows%s", weir_dtype_name(from),
              weir_dtype_name(to), (long)n0, (long)n1, gated ? ", gated" : "");
    weir__weight_free(be, &got), weir__weight_free(be, &want);
    for (int i = 0; i < 2; i++) matrix_free(&m[i]), matrix_free(&q[i]);
}

Test(quantise, packing_floats_gives_what_packing_their_blocks_gives) {
    static const int64_t edge[] = {1, 15, 16, 17, 33, 70};
    uint64_t rng = 5;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        weir_backend *be = open_backend(n_thread, WEIR_ISA_PORTABLE);
        EACH_KIND(t) {
            for (int i = 0; i < 36; i++)
                check_pack(be, (weir_dtype)(i % 3), t, edge[i % 6], edge[i / 6], i % 5 == 0, &rng);
        }
        weir__backend_close(be);
    }
}

Test(quantise, a_weight_becomes_what_it_can_and_nothing_else) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    static const unsigned char file[8192];
    weir_weight w = {.n = -7};
    const weir_tensor floats = {file, WEIR_DTYPE_F32, 2, 256}, odd = {file, WEIR_DTYPE_F32, 2, 48},
                      blocks = {file, WEIR_DTYPE_Q4_0, 2, 256};
    for (int t = 0; t < WEIR_DTYPE_COUNT; t++) {
        const weir_dtype as = (weir_dtype)t;
        const bool can = weir__can_quantise(as) || as == WEIR_DTYPE_F32;
        if (!can)
            cr_expect_eq(weir__weight_pack_as(be, &floats, 1, false, WEIR_USE_ROWS, as, &w), WEIR_EINVAL);
        if (weir__can_quantise(as)) {
            cr_expect_eq(weir__weight_pack_as(be, &odd, 1, false, WEIR_USE_ROWS, as, &w), WEIR_EINVAL);
            cr_expect_eq(weir__weight_pack_as(be, &blocks, 1, false, WEIR_USE_ROWS, as, &w), WEIR_EINVAL);
        }
    }
    cr_expect_eq(weir__weight_pack_as(be, NULL, 1, false, WEIR_USE_ROWS, WEIR_DTYPE_Q8_0, &w), WEIR_EINVAL);
    cr_assert_eq(w.n, -7, "the result was touched");
    weir__backend_close(be);
}

/* The matrix itself, then the room for a row. */
Test(quantise, says_that_memory_ran_out_and_keeps_nothing) {
    weir_backend *be = open_backend(1, WEIR_ISA_PORTABLE);
    static const float file[64 * 64];
    const weir_tensor t = {file, WEIR_DTYPE_F32, 64, 64};
    weir_weight w = {.n = -7};
    for (long fail_at = 1; fail_at <= 2; fail_at++) {
        alloc_install(fail_at);
        const weir_status s = weir__weight_pack_as(be, &t, 1, false, WEIR_USE_ROWS, WEIR_DTYPE_Q8_0, &w);
        const long live = alloc_live();
        alloc_uninstall();
        cr_expect(s == WEIR_ENOMEM && live == 0, "allocation %ld: %s", fail_at, weir_status_str(s));
    }
    cr_assert_eq(w.n, -7, "the result was touched");
    weir__backend_close(be);
}
