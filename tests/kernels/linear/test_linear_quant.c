/* Products with quantised weights: every build, the portable truth among them, against the oracle of
 * linear_fixture.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "kernels/weight/quant.h"
#include "tests/kernels/linear/linear_fixture.h"
#include "tests/support/compare.h"

enum { FIRST = WEIR_DTYPE_Q4_0, LAST = WEIR_DTYPE_COUNT - 1, N_TYPE = LAST - FIRST + 1 };

/* Rows [r0, r0 + n_row) of the product into y (n_row, ldy), which starts from y0. */
static void run(weir_backend *be, const weir_weight *w, const data *d, int64_t r0, int64_t n_row, float *y) {
    memcpy(y, d->y0 + r0 * d->ldy, (size_t)(n_row * d->ldy) * sizeof *y);
    weir_linear a = {.x = d->x + r0 * d->ldx,
                     .ldx = d->ldx,
                     .norm = d->p.norm ? d->norm : NULL,
                     .eps = LINEAR_EPS,
                     .w = w,
                     .y = y,
                     .ldy = d->ldy,
                     .n_row = n_row,
                     .epilogue = d->p.epilogue,
                     .scale = d->p.scale,
                     .rows = d->p.rows};
    cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
}

/* As assert_within. Rounding to bytes adds noise of a / 127 / sqrt 12 to inputs of which a is 2 to 4
 * deviations: 8e-5 of the whole at most, twice that where two such products are multiplied, and more where an
 * activation flattens the outputs. */
static void assert_row(const float *got, const double *want, const double *bound, size_t n, bool rounded,
                       const char *what) {
    if (!rounded) {
        assert_within(got, want, bound, n, what);
        return;
    }
    char msg[256];
    for (size_t i = 0; i < n; i++) {
        cr_assert(close_f32(got + i, want + i, 1, bound[i], 0.0, INFINITY, msg, sizeof msg),
                  "%s: element %zu: %s", what, i, msg);
    }
    cr_assert(n < 64 || close_f32(got, want, n, INFINITY, 0.0, 1e-3, msg, sizeof msg), "%s: %s", what, msg);
}

static void check_product(const product *p, weir_backend *const *be, uint64_t *rng) {
    data d = data_new(p, rng);
    weir_weight w = data_pack(be[0], &d, WEIR_USE_ROWS);
    const size_t total = (size_t)(p->n_row * d.ldy);
    float *y = guarded_new(total);
    for (int isa = 0; be[isa]; isa++) {
        char what[160];
        describe_product(what, sizeof what, weir__isa_name((weir_isa)isa), p);
        if (isa <= 1) data_expect(&d, isa != WEIR_ISA_PORTABLE);
        run(be[isa], &w, &d, 0, p->n_row, y);
        cr_assert(guarded_intact(y, total), "%s: wrote outside y", what);
        for (int64_t r = 0; r < p->n_row; r++) {
            assert_row(y + r * d.ldy, d.want + r * p->n, d.bound + r * p->n, (size_t)p->n,
                       isa != WEIR_ISA_PORTABLE && p->dtype != WEIR_DTYPE_FP8, what);
            assert_same(y + r * d.ldy + p->n, d.y0 + r * d.ldy + p->n, PAD, what);
        }
    }
    guarded_free(y);
    weir__weight_free(be[0], &w);
    data_free(&d);
}

/* Every instruction set of this machine with two threads; be[best + 1] is NULL. */
static void open_all(weir_backend **be) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) be[isa] = open_backend(2, (weir_isa)isa);
}

static void close_all(weir_backend **be) {
    for (int isa = 0; be[isa]; isa++) weir__backend_close(be[isa]);
}

/* --- values ---------------------------------------------------------------------------------- */

Test(linear_quant, every_shape_dtype_and_row_count_is_within_its_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    const int64_t edge[] = {1, 15, 16, 17, 33, 48};
    uint64_t rng = 21;
    for (int t = FIRST; t <= LAST; t++) {
        const int64_t block = weir_dtype_block((weir_dtype)t);
        for (int i = 0; i < 34; i++) {
            const product p = {.n = edge[i % 6],
                               .k = block * (1 + i % (block == 32 ? 9 : 3)),
                               .dtype = (weir_dtype)t,
                               .n_row = 1 + i % 17,
                               .gated = i % 4 > 1,
                               .norm = i / 2 % 2,
                               .rows = true,
                               .scale = 1.0f};
            check_product(&p, be, &rng);
        }
    }
    close_all(be);
}

Test(linear_quant, every_epilogue_is_within_its_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 31;
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        for (int i = 0; i < 4 * N_TYPE; i++) {
            const product p = {.n = i % 3 ? 53 : 128,
                               .k = 256,
                               .n_row = 1 + i % 9,
                               .dtype = (weir_dtype)(FIRST + i % N_TYPE),
                               .gated = i / 16,
                               .norm = i / N_TYPE % 2,
                               .rows = i % 5 != 3,
                               .epilogue = (weir_epilogue)e,
                               .scale = i % 5 == 0 ? 0.125f : 1.0f};
            if (p.gated && weir__epilogue_reads((weir_epilogue)e)) continue;
            check_product(&p, be, &rng);
        }
    }
    close_all(be);
}

Test(linear_quant, prefill_chunks_are_within_their_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 41;
    const int64_t rows[] = {63, 64, 65, 130};
    for (int i = 0; i < 2 * N_TYPE; i++) {
        const product p = {.n = i % 2 ? 100 : 145,
                           .k = i % 3 ? 256 : 512,
                           .n_row = rows[i % 4],
                           .scale = 1.0f,
                           .dtype = (weir_dtype)(FIRST + i / 2),
                           .gated = i % 2,
                           .norm = i % 3 == 1,
                           .epilogue = i % 2 ? WEIR_EPI_SILU : WEIR_EPI_ADD};
        check_product(&p, be, &rng);
    }
    close_all(be);
}

/* Of 16 scales of 6 bits those of even numbers to 33, the others to 30: 1 and -2. */
static void small_scales_q3_k(unsigned char *s) {
    for (int j = 0; j < 16; j++) {
        const int scale = j % 2 ? 30 : 33, at = j % 8, half = j / 8 * 4;
        s[at] = (unsigned char)((s[at] & (half ? 0x0f : 0xf0)) | (scale & 15) << half);
        s[8 + j % 4] = (unsigned char)((s[8 + j % 4] & ~(3 << (j / 4 * 2))) | (scale >> 4) << (j / 4 * 2));
    }
}

/* 1/4, and numbers from 1 to 15. */
static void few_bits_fp8(unsigned char *block) {
    const float d = 0.25f;
    memcpy(block, &d, sizeof d);
    for (int i = 4; i < 68; i++) block[i] = (unsigned char)((block[i] & 0x9f) + 0x38);
}

/* Inputs that are bytes already, 127 in every 32, and scales that are powers of two: products and sums are
 * exact in f32, so every build gives the bits of the formula. Codes at both ends of their range, where 16
 * bits would overflow first. */
Test(linear_quant, products_of_bytes_are_exact) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    enum { N = 40, K = 512, ROWS = 9 };
    uint64_t rng = 11;
    for (int t = FIRST; t <= LAST; t++) {
        const int64_t size = weir_dtype_block_bytes((weir_dtype)t),
                      bytes = N * weir_dtype_row_bytes((weir_dtype)t, K);
        const weir_quant_scales at = weir__quant_scales_of((weir_dtype)t);
        unsigned char *file = malloc((size_t)bytes);
        for (int64_t i = 0; i < bytes; i++) {
            const int64_t row = i / (bytes / N);
            file[i] = row % 3 == 0 ? 0xff : row % 3 == 1 ? 0x80 : (unsigned char)(rng_u64(&rng) >> 30);
            if (t == WEIR_DTYPE_Q6_K && i % size >= 192) file[i] &= 3; /* small scales */
            if (t == WEIR_DTYPE_Q2_K && i % size < 16) file[i] &= 0x33;
        }
        for (int64_t b = 0; b < bytes; b += size) {
            const uint16_t quarter = 0x3400, minus = 0xb800;
            if (at.d >= 0) memcpy(file + b + at.d, &quarter, 2);
            if (at.min >= 0) memcpy(file + b + at.min, &minus, 2);
            if (t == WEIR_DTYPE_MXFP4) file[b] = 126;
            if (t == WEIR_DTYPE_INT4 || t == WEIR_DTYPE_INT4_128) { /* zeros from 0 to 15 */
                const uint32_t word = weir__int4_word(0.25f, file[b] & 15u);
                memcpy(file + b, &word, sizeof word);
            }
            if (t == WEIR_DTYPE_FP8) few_bits_fp8(file + b);
            if (t == WEIR_DTYPE_Q3_K) small_scales_q3_k(file + b + 96);
            if (t == WEIR_DTYPE_IQ4_XS) memcpy(file + b + 2, "\xaa\x6a\x11\x12\x01\xf2", 6); /* -1 … 2 */
            if (t == WEIR_DTYPE_Q4_K || t == WEIR_DTYPE_Q5_K) memset(file + b + 4, 0x02, 12);
        }
        float *value = malloc(sizeof *value * N * K), *x = malloc(sizeof *x * ROWS * K);
        for (int64_t n = 0; n < N; n++)
            dequantise_row((weir_dtype)t, file + n * (bytes / N), K, value + n * K);
        for (int64_t i = 0; i < ROWS * K; i++) {
            const int sign = i / K % 3 == 1 ? (i % 2 ? -1 : 1) : 1;
            x[i] = (float)(i % 32 == 5 || i / K < 2 ? sign * 127 : (int)(rng_u64(&rng) % 255) - 127);
        }
        weir_weight w;
        cr_assert_eq(
            weir__weight_pack(be[0], &(weir_tensor){file, (weir_dtype)t, N, K}, 1, false, WEIR_USE_ROWS, &w),
            WEIR_OK);
        for (int isa = 0; be[isa]; isa++) {
            float *y = guarded_new(ROWS * N);
            weir_linear a = {
                .x = x, .ldx = K, .w = &w, .y = y, .ldy = N, .n_row = ROWS, .scale = 0.5f, .rows = true};
            cr_assert_eq(be[isa]->op.linear(be[isa], &a), WEIR_OK);
            for (int64_t i = 0; i < ROWS * N; i++) {
                double want = 0;
                for (int64_t j = 0; j < K; j++)
                    want += (double)x[i / N * K + j] * (double)value[i % N * K + j];
                cr_assert_eq(y[i], (float)(0.5 * want), "%s %s row %ld output %ld: %a, want %a",
                             weir__isa_name((weir_isa)isa), weir_dtype_name((weir_dtype)t), (long)(i / N),
                             (long)(i % N), (double)y[i], 0.5 * want);
            }
            cr_assert(guarded_intact(y, ROWS * N));
            guarded_free(y);
        }
        weir__weight_free(be[0], &w);
        free(file), free(value), free(x);
    }
    close_all(be);
}

Test(linear_quant, nan_and_infinity_reach_the_outputs_of_their_row_only) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 51;
    for (int i = 0; i < 2 * N_TYPE; i++) {
        const product p = {.n = 40,
                           .k = 512,
                           .n_row = 5,
                           .dtype = (weir_dtype)(FIRST + i / 2),
                           .rows = true,
                           .scale = 1.0f,
                           .gated = i % 3 == 1};
        data d = data_new(&p, &rng);
        d.x[2 * d.ldx + 77] = i % 2 ? NAN : -INFINITY;
        weir_weight w = data_pack(be[0], &d, WEIR_USE_ROWS);
        float *y = guarded_new((size_t)(5 * d.ldy));
        for (int isa = 0; be[isa]; isa++) {
            run(be[isa], &w, &d, 0, 5, y);
            for (int64_t j = 0; j < 5 * 40; j++) {
                const float v = y[j / 40 * d.ldy + j % 40];
                cr_assert_eq(isfinite(v) == 0, j / 40 == 2, "%s %s row %ld: %g",
                             weir__isa_name((weir_isa)isa), weir_dtype_name(p.dtype), (long)j / 40,
                             (double)v);
            }
        }
        guarded_free(y);
        weir__weight_free(be[0], &w);
        data_free(&d);
    }
    close_all(be);
}

/* A scale of a file may be anything: it reaches the output that it belongs to. */
Test(linear_quant, a_scale_that_is_no_number_stays_in_its_output) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 53;
    for (int i = 0; i < 2 * N_TYPE; i++) {
        const product p = {
            .n = 35, .k = 512, .n_row = 3, .dtype = (weir_dtype)(FIRST + i / 2), .rows = true, .scale = 1.0f};
        data d = data_new(&p, &rng);
        const uint16_t bits = i % 2 ? 0x7e00 : 0xfc00; /* NaN, -infinity */
        const uint32_t word = weir__int4_word(i % 2 ? NAN : -INFINITY, 7);
        const int at = weir__quant_scales_of(p.dtype).d;
        unsigned char *row = (unsigned char *)d.gate.file.data + 19 * weir_dtype_row_bytes(p.dtype, p.k);
        if (at >= 0)
            memcpy(row + at, &bits, sizeof bits);
        else if (p.dtype == WEIR_DTYPE_INT4 || p.dtype == WEIR_DTYPE_INT4_128)
            memcpy(row, &word, sizeof word);
        else if (p.dtype == WEIR_DTYPE_FP8)
            memcpy(row, &(float){i % 2 ? NAN : -INFINITY}, sizeof(float));
        else
            row[0] = 255; /* 2^127, and 12 times that is infinite */
        weir_weight w = data_pack(be[0], &d, WEIR_USE_ROWS);
        float *y = guarded_new((size_t)(3 * d.ldy));
        for (int isa = 0; be[isa]; isa++) {
            run(be[isa], &w, &d, 0, 3, y);
            for (int64_t j = 0; j < 3 * 35; j++) {
                cr_assert_eq(isfinite(y[j / 35 * d.ldy + j % 35]) == 0, j % 35 == 19, "%s %s output %ld",
                             weir__isa_name((weir_isa)isa), weir_dtype_name(p.dtype), (long)(j % 35));
            }
        }
        guarded_free(y);
        weir__weight_free(be[0], &w);
        data_free(&d);
    }
    close_all(be);
}

/* The scale of such rows is no number that can be divided by; the contract says from where on they count. */
Test(linear_quant, rows_of_zeros_and_almost_zeros_give_zeros) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 57;
    for (int t = FIRST; t <= LAST; t++) {
        if (t == WEIR_DTYPE_FP8) continue; /* its rows are no bytes */
        matrix m = matrix_new((weir_dtype)t, 20, 256, 0.3f, &rng);
        weir_weight w;
        cr_assert_eq(weir__weight_pack(be[0], &m.file, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
        float x[3 * 256], y[3 * 20];
        for (int i = 0; i < 3 * 256; i++)
            x[i] = (i < 256 ? 0.0f : i < 512 ? 0x1p-140f : 0x1p-90f) * rng_normal(&rng);
        for (int isa = 1; be[isa]; isa++) {
            weir_linear a = {
                .x = x, .ldx = 256, .w = &w, .y = y, .ldy = 20, .n_row = 3, .scale = 1.0f, .rows = true};
            cr_assert_eq(be[isa]->op.linear(be[isa], &a), WEIR_OK);
            for (int i = 0; i < 40; i++) cr_assert_eq(y[i], 0.0f);
            for (int i = 40; i < 60; i++) cr_assert(isfinite(y[i]) && y[i] != 0.0f && fabsf(y[i]) < 0x1p-80f);
        }
        weir__weight_free(be[0], &w);
        matrix_free(&m);
    }
    close_all(be);
}

/* --- bits ------------------------------------------------------------------------------------ */

static void check_bits(const product *p, int isa, uint64_t *rng) {
    data d = data_new(p, rng);
    weir_backend *one = open_backend(1, (weir_isa)isa);
    weir_weight w = data_pack(one, &d, WEIR_USE_ROWS);
    const size_t total = (size_t)(p->n_row * d.ldy);
    float *alone = guarded_new(total), *y = guarded_new(total);
    char what[200];
    for (int64_t r = 0; r < p->n_row; r++) run(one, &w, &d, r, 1, alone + r * d.ldy);
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        weir_backend *be = open_backend(n_thread, (weir_isa)isa);
        for (int64_t n_row = 2; n_row <= p->n_row; n_row++) {
            for (int64_t r0 = 0; r0 + n_row <= p->n_row; r0 += 5) {
                describe_product(what, sizeof what, weir__isa_name((weir_isa)isa), p);
                snprintf(what + strlen(what), sizeof what - strlen(what), ": rows %ld+%ld, %d threads",
                         (long)r0, (long)n_row, n_thread);
                run(be, &w, &d, r0, n_row, y);
                assert_same(y, alone + r0 * d.ldy, (size_t)(n_row * d.ldy), what);
            }
        }
        weir__backend_close(be);
    }
    guarded_free(alone), guarded_free(y);
    weir__weight_free(one, &w);
    weir__backend_close(one);
    data_free(&d);
}

/* 400 outputs of 512 inputs are large enough for the pool, 33 of 256 are not. Rows that are prompts (rows =
 * false) are the same rows. */
Test(linear_quant, a_row_has_the_same_bits_alone_in_company_and_with_any_threads) {
    uint64_t rng = 61;
    for (int isa = 1; isa <= (int)weir__isa_best(); isa++) {
        for (int t = FIRST; t <= LAST; t++) {
            for (int i = 0; i < 4; i++) {
                const product p = {.n = i % 2 ? 400 : 33,
                                   .k = i % 2 ? 512 : 256,
                                   .n_row = 17,
                                   .dtype = (weir_dtype)t,
                                   .gated = i / 2,
                                   .norm = i % 2,
                                   .rows = i != 2,
                                   .scale = 1.0f,
                                   .epilogue = i / 2 ? WEIR_EPI_SILU : WEIR_EPI_ADD};
                check_bits(&p, isa, &rng);
            }
        }
    }
}
