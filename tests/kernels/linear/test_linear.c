/* The CPU's builds, the portable truth among them, against the oracle of linear_fixture.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear/cpu.h"
#include "kernels/weight/pack.h"
#include "tests/kernels/linear/linear_fixture.h"
#include "tests/support/compare.h"

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
                     .softcap = d->p.softcap,
                     .scale = d->p.scale,
                     .rows = d->p.rows};
    cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
}

static void check_product(const product *p, weir_backend *const *be, uint64_t *rng) {
    data d = data_new(p, rng);
    weir_weight w = data_pack(be[0], &d, WEIR_USE_ROWS);
    const size_t total = (size_t)(p->n_row * d.ldy);
    float *y = guarded_new(total);
    for (int isa = 0; be[isa]; isa++) {
        char what[160];
        describe_product(what, sizeof what, weir__isa_name((weir_isa)isa), p);
        data_expect(&d, isa >= WEIR_ISA_AVX512BF16 && p->rows && p->dtype == WEIR_DTYPE_BF16);
        run(be[isa], &w, &d, 0, p->n_row, y);
        cr_assert(guarded_intact(y, total), "%s: wrote outside y", what);
        data_check(&d, y, what);
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

/* Small integers over a power of two: every sum is exact in f32 and the inputs are bf16, so all builds give
 * the same bits in whatever order they add. */
Test(linear, exactly_representable_products_are_exact) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    const int64_t sizes[][2] = {{1, 1}, {16, 16}, {33, 31}, {100, 64}, {400, 130}};
    uint64_t rng = 11;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int64_t n = sizes[s][0], k = sizes[s][1];
        float *w_file = calloc((size_t)(n * k), sizeof *w_file), *x = calloc((size_t)(9 * k), sizeof *x);
        uint16_t *w16 = calloc((size_t)(n * k), sizeof *w16);
        for (int64_t i = 0; i < n * k; i++) {
            w_file[i] = (float)((int)(rng_u64(&rng) % 17) - 8) / 8.0f;
            w16[i] = weir_bf16_from_f32(w_file[i]);
        }
        for (int64_t i = 0; i < 9 * k; i++) x[i] = (float)((int)(rng_u64(&rng) % 33) - 16) / 4.0f;
        for (int d = 0; d < 2; d++) {
            const weir_tensor t = {d ? (const void *)w16 : w_file, d ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32, n,
                                   k};
            weir_weight w;
            cr_assert_eq(weir__weight_pack(be[0], &t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
            for (int isa = 0; be[isa]; isa++) {
                float *y = guarded_new((size_t)(9 * n));
                weir_linear a = {
                    .x = x, .ldx = k, .w = &w, .y = y, .ldy = n, .n_row = 9, .scale = 0.5f, .rows = true};
                cr_assert_eq(be[isa]->op.linear(be[isa], &a), WEIR_OK);
                for (int64_t i = 0; i < 9 * n; i++) {
                    float want = 0;
                    for (int64_t j = 0; j < k; j++) want += x[i / n * k + j] * w_file[i % n * k + j];
                    cr_assert_eq(y[i], 0.5f * want, "%s n %ld k %ld [%ld]", weir__isa_name((weir_isa)isa),
                                 (long)n, (long)k, (long)i);
                }
                cr_assert(guarded_intact(y, (size_t)(9 * n)));
                guarded_free(y);
            }
            weir__weight_free(be[0], &w);
        }
        free(w_file), free(w16), free(x);
    }
    close_all(be);
}

Test(linear, every_shape_dtype_and_row_count_is_within_its_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    const int64_t edge[] = {1, 2, 15, 16, 17, 31, 33, 64, 129};
    enum { N = sizeof edge / sizeof edge[0] };
    uint64_t rng = 21;
    for (int i = 0; i < N * N; i++) {
        product p = {.n = edge[i / N], .k = edge[i % N], .scale = 1.0f, .rows = true};
        for (int d = 0; d < 3; d++) {
            p.dtype = (weir_dtype)d;
            p.n_row = 1 + (i + 5 * d) % 17;
            p.gated = (i + d) % 2;
            p.norm = (i + d) / 2 % 2;
            check_product(&p, be, &rng);
        }
    }
    close_all(be);
}

Test(linear, every_epilogue_is_within_its_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 31;
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        for (int i = 0; i < 24; i++) {
            product p = {.n = i % 2 ? 53 : 128,
                         .k = 70,
                         .n_row = 1 + i / 3,
                         .dtype = (weir_dtype)(i % 3),
                         .gated = i / 6 % 2,
                         .norm = i / 2 % 2,
                         .rows = i % 4 != 3,
                         .epilogue = (weir_epilogue)e,
                         .scale = i % 5 == 0 ? 0.125f : 1.0f};
            if (p.gated && weir__epilogue_reads((weir_epilogue)e)) continue;
            check_product(&p, be, &rng);
        }
    }
    close_all(be);
}

/* Products of up to about 20 units, caps below and above them. */
Test(linear, softcaps_are_within_their_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 35;
    for (int i = 0; i < 24; i++) {
        const product p = {.n = i % 2 ? 53 : 128,
                           .k = 70,
                           .n_row = 1 + i / 3,
                           .dtype = (weir_dtype)(i % 3),
                           .norm = i / 2 % 2,
                           .rows = i % 4 != 3,
                           .scale = i % 5 == 0 ? 0.125f : 1.0f,
                           .softcap = i % 4 == 1 ? 0.5f : 10.0f};
        check_product(&p, be, &rng);
    }
    close_all(be);
}

Test(linear, prefill_chunks_are_within_their_bound) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 41;
    const int64_t rows[] = {63, 64, 65, 128, 130};
    for (int i = 0; i < 15; i++) {
        product p = {.n = i % 2 ? 300 : 145,
                     .k = i % 2 ? 64 : 33,
                     .n_row = rows[i % 5],
                     .dtype = (weir_dtype)(i / 5),
                     .gated = i % 4 == 1,
                     .norm = i % 3 == 1,
                     .epilogue = i % 4 == 1 ? WEIR_EPI_GELU_TANH : WEIR_EPI_ADD,
                     .scale = 1.0f};
        check_product(&p, be, &rng);
    }
    close_all(be);
}

/* Activations far out: the formulas' own over- and underflows must come out as the limits. */
Test(linear, activations_have_their_limits) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    const float one = 1.0f,
                x[] = {0.0f, 1e-30f, 20.0f, -20.0f, 100.0f, -100.0f, 1e15f, -1e15f, 3e38f, -3e38f};
    enum { N = sizeof x / sizeof x[0] };
    weir_weight w;
    cr_assert_eq(
        weir__weight_pack(be[0], &(weir_tensor){&one, WEIR_DTYPE_F32, 1, 1}, 1, false, WEIR_USE_ROWS, &w),
        WEIR_OK);
    for (int isa = 0; be[isa]; isa++) {
        for (int e = WEIR_EPI_RELU; e <= WEIR_EPI_SILU; e++) {
            float y[N];
            weir_linear a = {.x = x,
                             .ldx = 1,
                             .w = &w,
                             .y = y,
                             .ldy = 1,
                             .n_row = N,
                             .scale = 1.0f,
                             .rows = true,
                             .epilogue = (weir_epilogue)e};
            cr_assert_eq(be[isa]->op.linear(be[isa], &a), WEIR_OK);
            for (int i = 0; i < N; i++) {
                const double want = activation((weir_epilogue)e, (double)x[i]);
                cr_assert(fabs((double)y[i] - want) <= 0x1p-21 * fabs(want) + 1e-30,
                          "%s epilogue %d of %g: %g, want %g", weir__isa_name((weir_isa)isa), e, (double)x[i],
                          (double)y[i], want);
            }
        }
    }
    weir__weight_free(be[0], &w);
    close_all(be);
}

Test(linear, nan_and_infinity_reach_the_outputs_of_their_row_only) {
    weir_backend *be[8] = {NULL};
    open_all(be);
    uint64_t rng = 51;
    const product p = {.n = 40, .k = 34, .n_row = 5, .dtype = WEIR_DTYPE_BF16, .rows = true, .scale = 1.0f};
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        data d = data_new(&p, &rng);
        d.p.epilogue = (weir_epilogue)e;
        d.x[2 * d.ldx + 7] = NAN;
        weir_weight w = data_pack(be[0], &d, WEIR_USE_ROWS);
        float *y = guarded_new((size_t)(5 * d.ldy));
        for (int isa = 0; be[isa]; isa++) {
            run(be[isa], &w, &d, 0, 5, y);
            for (int64_t i = 0; i < 5 * 40; i++) {
                const float v = y[i / 40 * d.ldy + i % 40];
                cr_assert_eq(isnan(v) != 0, i / 40 == 2, "%s epilogue %d row %ld: %g",
                             weir__isa_name((weir_isa)isa), e, (long)i / 40, (double)v);
            }
        }
        guarded_free(y);
        weir__weight_free(be[0], &w);
        data_free(&d);
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

/* 200 x 161 is large enough for the pool, 33 x 31 is not. */
Test(linear, a_row_has_the_same_bits_alone_in_company_and_with_any_threads) {
    uint64_t rng = 61;
    for (int isa = 1; isa <= (int)weir__isa_best(); isa++) {
        for (int d = 0; d < 3; d++) {
            for (int i = 0; i < 8; i++) {
                const product p = {.n = i % 2 ? 200 : 33,
                                   .k = i % 2 ? 161 : 31,
                                   .n_row = 17,
                                   .dtype = (weir_dtype)d,
                                   .gated = i / 2 % 2,
                                   .norm = i / 4 % 2,
                                   .rows = true,
                                   .scale = 1.0f,
                                   .epilogue = i / 2 % 2 ? WEIR_EPI_GELU_TANH : WEIR_EPI_ADD};
                check_bits(&p, isa, &rng);
            }
        }
    }
}

/* A full chunk goes through the library, whose shape is fixed: a row's bits depend on its place in the
 * chunk at most, not on the other rows, the threads, or the chunks around it. */
Test(linear, a_prefill_row_does_not_see_its_chunk) {
    uint64_t rng = 71;
    for (int isa = 1; isa <= (int)weir__isa_best(); isa++) {
        const product p = {
            .n = 290, .k = 97, .n_row = 130, .dtype = (weir_dtype)(isa % 3), .norm = true, .scale = 1.0f};
        data d = data_new(&p, &rng);
        weir_backend *one = open_backend(1, (weir_isa)isa);
        weir_weight w = data_pack(one, &d, WEIR_USE_ROWS);
        const size_t total = (size_t)(p.n_row * d.ldy);
        float *whole = guarded_new(total), *y = guarded_new(total);
        run(one, &w, &d, 0, 130, whole);
        for (int n_thread = 1; n_thread <= 3; n_thread++) {
            weir_backend *be = open_backend(n_thread, (weir_isa)isa);
            run(be, &w, &d, 0, 130, y);
            assert_same(y, whole, total, "threads");
            for (int64_t r0 = 0; r0 < 130; r0 += 64) {
                const int64_t n = 130 - r0 < 64 ? 130 - r0 : 64;
                run(be, &w, &d, r0, n, y);
                assert_same(y, whole + r0 * d.ldy, (size_t)(n * d.ldy), "chunk by chunk");
            }
            weir__backend_close(be);
        }
        for (int64_t i = 0; i < 130 * d.ldx; i++) {
            if (i / d.ldx != 70 && i % d.ldx < p.k) d.x[i] = rng_normal(&rng);
        }
        run(one, &w, &d, 0, 130, y);
        assert_same(y + 70 * d.ldy, whole + 70 * d.ldy, (size_t)p.n, "other rows changed");
        guarded_free(whole), guarded_free(y);
        weir__weight_free(one, &w);
        weir__backend_close(one);
        data_free(&d);
    }
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(linear, outputs_go_to_a_cache_too) {
    uint64_t rng = 51;
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        for (int i = 0; i < 6; i++) {
            const product p = {.n = 7 * 24,
                               .k = 64,
                               .n_row = 1 + 5 * i,
                               .dtype = i % 3 == 0   ? WEIR_DTYPE_BF16
                                        : i % 3 == 1 ? WEIR_DTYPE_F32
                                                     : WEIR_DTYPE_Q8_0,
                               .rows = i % 2 == 0,
                               .scale = 1.0f};
            data d = data_new(&p, &rng);
            weir_weight w = data_pack(be, &d, WEIR_USE_ROWS);
            float *y = guarded_new((size_t)(p.n_row * d.ldy));
            const weir_linear a = {.x = d.x,
                                   .ldx = d.ldx,
                                   .w = &w,
                                   .y = y,
                                   .ldy = d.ldy,
                                   .n_row = p.n_row,
                                   .scale = 1.0f,
                                   .rows = p.rows};
            linear_assert_appended(be, &d, a, 2, 24, WEIR_DTYPE_F32);
            guarded_free(y);
            weir__weight_free(be, &w);
            data_free(&d);
        }
        weir__backend_close(be);
    }
}

Test(linear, refuses_what_its_contract_refuses) {
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        static const float file[64];
        const weir_tensor t[2] = {{file, WEIR_DTYPE_F32, 8, 8}, {file, WEIR_DTYPE_F32, 8, 8}};
        weir_weight w, gated;
        cr_assert_eq(weir__weight_pack(be, t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
        cr_assert_eq(weir__weight_pack(be, t, 2, true, WEIR_USE_ROWS, &gated), WEIR_OK);
        float x[8] = {0}, y[8] = {0};
        const weir_linear good = {
            .x = x, .ldx = 8, .w = &w, .y = y, .ldy = 8, .n_row = 1, .scale = 1, .rows = true};
        weir_linear bad[14];
        for (int i = 0; i < 14; i++) bad[i] = good;
        weir_weight empty = w;
        empty.data = NULL;
        bad[0].x = NULL, bad[1].y = NULL, bad[2].w = NULL, bad[3].ldx = 7, bad[4].ldy = 7, bad[5].n_row = -1;
        bad[6].w = &empty;
        bad[7].w = &gated, bad[7].epilogue = WEIR_EPI_ADD;
        bad[8].softcap = -1.0f, bad[9].softcap = NAN, bad[10].softcap = 1.0f, bad[10].epilogue = WEIR_EPI_ADD;
        bad[11].softcap = 1.0f, bad[11].w = &gated;
        bad[12].w = &gated, bad[12].epilogue = WEIR_EPI_MUL;
        for (int i = 0; i < 13; i++)
            cr_assert_eq(be->op.linear(be, &bad[i]), WEIR_EINVAL, "isa %d case %d", isa, i);
        bad[13].n_row = 0;
        cr_assert_eq(be->op.linear(be, &bad[13]), WEIR_OK);
        weir__weight_free(be, &w), weir__weight_free(be, &gated);
        weir__backend_close(be);
    }
}

Test(linear, too_little_scratch_is_an_error_and_reserving_it_helps) {
    const int64_t k = 5000;
    float *file = calloc((size_t)(2 * k), sizeof *file), *x = calloc((size_t)k, sizeof *x), y[2];
    for (int isa = 1; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        weir_weight w;
        cr_assert_eq(
            weir__weight_pack(be, &(weir_tensor){file, WEIR_DTYPE_F32, 2, k}, 1, false, WEIR_USE_ROWS, &w),
            WEIR_OK);
        weir_linear a = {.x = x, .ldx = k, .w = &w, .y = y, .ldy = 2, .n_row = 1, .scale = 1, .rows = true};
        cr_assert_eq(be->op.linear(be, &a), WEIR_ENOMEM);
        cr_assert_eq(weir__backend_reserve(be, weir__linear_scratch_floats(k)), WEIR_OK);
        cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
        weir__weight_free(be, &w);
        weir__backend_close(be);
    }
    free(file), free(x);
}
