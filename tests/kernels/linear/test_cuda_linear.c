/* Products of rows = true on a device, against the oracle of linear_fixture.c and against themselves. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/accept/sweep/lanes.h"
#include "kernels/weight/pack.h"
#include "tests/kernels/linear/device_product.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

static void check_product(weir_backend *be, const product *p, uint64_t *rng) {
    data d = data_new(p, rng);
    device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
    device_product_check(&b, &d, p->dtype == WEIR_DTYPE_BF16);
    device_product_free(&b);
    data_free(&d);
}

/* --- values ---------------------------------------------------------------------------------- */

/* Small integers over a power of two: every sum is exact in f32, whatever the order, and the inputs are
 * bf16. */
Test(cuda_linear, exactly_representable_products_are_exact) {
    weir_backend *be = device_open();
    const int64_t sizes[][2] = {{1, 1}, {16, 16}, {33, 31}, {100, 64}, {400, 130}, {48, 2100}};
    uint64_t rng = 11;
    for (size_t s = 0; s < 3 * (sizeof sizes / sizeof sizes[0]); s++) {
        if (!in_sample((int)s, 5)) continue;
        product p = {.n = sizes[s / 3][0],
                     .k = sizes[s / 3][1],
                     .n_row = 9,
                     .dtype = (weir_dtype)(s % 3),
                     .rows = true,
                     .scale = 0.5f};
        data d = data_new(&p, &rng);
        for (int64_t i = 0; i < p.n * p.k; i++) {
            d.gate.value[i] = (float)((int)(rng_u64(&rng) % 17) - 8) / 8.0f;
            unsigned char *file = (unsigned char *)d.gate.file.data;
            const uint16_t sixteen = (uint16_t)lrintf(d.gate.value[i] * 8.0f + 8.0f);
            static const uint16_t f16[17] = {0xbc00, 0xbb00, 0xba00, 0xb900, 0xb800, 0xb600,
                                             0xb400, 0xb000, 0,      0x3000, 0x3400, 0x3600,
                                             0x3800, 0x3900, 0x3a00, 0x3b00, 0x3c00};
            const uint16_t h = p.dtype == WEIR_DTYPE_F16 ? f16[sixteen] : weir_bf16_from_f32(d.gate.value[i]);
            const int elem = weir_dtype_bytes(p.dtype);
            memcpy(file + i * elem,
                   p.dtype == WEIR_DTYPE_F32 ? (const void *)&d.gate.value[i] : (const void *)&h,
                   (size_t)elem);
        }
        for (int64_t i = 0; i < 9 * d.ldx; i++) {
            if (i % d.ldx < p.k) d.x[i] = (float)((int)(rng_u64(&rng) % 33) - 16) / 4.0f;
        }
        device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
        float *y = guarded_new((size_t)(9 * d.ldy));
        cr_assert_eq(device_product_run(&b, 0, 9, y), WEIR_OK);
        for (int64_t i = 0; i < 9 * p.n; i++) {
            const int64_t r = i / p.n, n = i % p.n;
            float want = 0;
            for (int64_t j = 0; j < p.k; j++) want += d.x[r * d.ldx + j] * d.gate.value[n * p.k + j];
            cr_assert_eq(y[r * d.ldy + n], 0.5f * want, "%s n %ld k %ld (%ld, %ld)", weir_dtype_name(p.dtype),
                         (long)p.n, (long)p.k, (long)r, (long)n);
        }
        guarded_free(y);
        device_product_free(&b);
        data_free(&d);
    }
    weir__backend_close(be);
}

Test(cuda_linear, every_shape_dtype_and_row_count_is_within_its_bound) {
    weir_backend *be = device_open();
    const int64_t edge[] = {1, 2, 15, 16, 17, 31, 33, 64, 129};
    enum { N = sizeof edge / sizeof edge[0] };
    uint64_t rng = 21;
    for (int i = 0; i < N * N; i++) {
        if (!in_sample(i, 7)) continue;
        product p = {.n = edge[i / N], .k = edge[i % N], .scale = 1.0f, .rows = true};
        for (int d = 0; d < 3; d++) {
            p.dtype = (weir_dtype)d;
            p.n_row = 1 + (i + 5 * d) % 19;
            p.gated = (i + d) % 2;
            p.norm = (i + d) / 2 % 2;
            check_product(be, &p, &rng);
        }
    }
    weir__backend_close(be);
}

/* Shapes that linear_plan.h cuts in its other ways: slices of the inputs (k >= 2048, the last one short),
 * units of four panels that are not full, stages of the f32 kernel, more rows than a pass takes. */
static const product cut_shapes[] = {
    {.n = 70, .k = 2050, .n_row = 3, .norm = true},
    {.n = 70, .k = 5121, .n_row = 9},
    {.n = 33, .k = 2600, .n_row = 18, .norm = true, .gated = true},
    {.n = 16, .k = 16500, .n_row = 2},
    {.n = 8500, .k = 40, .n_row = 6, .norm = true},
    {.n = 8449, .k = 17, .n_row = 17},
    {.n = 4300, .k = 33, .n_row = 7, .gated = true},
    {.n = 97, .k = 1999, .n_row = 16, .norm = true},
};
enum { N_CUT = sizeof cut_shapes / sizeof cut_shapes[0] };

Test(cuda_linear, every_cut_is_within_its_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 25;
    for (int i = 0; i < N_CUT; i++) {
        product p = cut_shapes[i];
        p.rows = true, p.scale = 1.0f, p.dtype = WEIR_DTYPE_BF16;
        check_product(be, &p, &rng);
    }
    for (int d = 0; d < 2; d++) {
        for (int k = 0; k < 3; k++) { /* one stage, a full second one, a ragged one */
            const product p = {.n = 35,
                               .k = 2048 + (k == 0   ? 0
                                            : k == 1 ? 2048
                                                     : 13),
                               .n_row = 3 + 7 * k,
                               .norm = true,
                               .gated = k == 1,
                               .rows = true,
                               .scale = 1.0f,
                               .dtype = (weir_dtype)d};
            check_product(be, &p, &rng);
        }
    }
    weir__backend_close(be);
}

Test(cuda_linear, every_epilogue_is_within_its_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 31;
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        for (int i = 0; i < 24; i++) {
            if (!in_sample(i, 5)) continue;
            product p = {.n = i % 2 ? 53 : 128,
                         .k = 70,
                         .n_row = 1 + i / 3,
                         .dtype = (weir_dtype)(i % 3),
                         .gated = i / 6 % 2,
                         .norm = i / 2 % 2,
                         .rows = true,
                         .epilogue = (weir_epilogue)e,
                         .scale = i % 5 == 0 ? 0.125f : 1.0f};
            if (p.gated && weir__epilogue_reads((weir_epilogue)e)) continue;
            check_product(be, &p, &rng);
        }
        const product cut = {.n = 70,
                             .k = 2050,
                             .n_row = 2,
                             .dtype = WEIR_DTYPE_BF16,
                             .rows = true,
                             .epilogue = (weir_epilogue)e,
                             .scale = 0.25f};
        check_product(be, &cut, &rng);
    }
    weir__backend_close(be);
}

/* Of every kernel, a product that is cut among them; products of up to about 20 units, caps below and above
 * them. */
Test(cuda_linear, softcaps_are_within_their_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 35;
    for (int i = 0; i < 15; i++) {
        if (!in_sample(i, 7)) continue;
        const product p = {.n = i % 2 ? 53 : 128,
                           .k = i == 14 ? 2050 : 70,
                           .n_row = 1 + i / 3,
                           .dtype = (weir_dtype)(i % 3),
                           .norm = i / 2 % 2,
                           .rows = true,
                           .scale = 1.0f,
                           .softcap = i % 4 == 1 ? 0.5f : 10.0f};
        check_product(be, &p, &rng);
    }
    weir__backend_close(be);
}

/* Activations far out: the formulas' own over- and underflows must come out as the limits. */
Test(cuda_linear, activations_have_their_limits) {
    weir_backend *be = device_open();
    const float one = 1.0f,
                x[] = {0.0f, 1e-30f, 20.0f, -20.0f, 100.0f, -100.0f, 1e15f, -1e15f, 3e38f, -3e38f};
    enum { N = sizeof x / sizeof x[0] };
    weir_weight w;
    cr_assert_eq(
        weir__weight_pack(be, &(weir_tensor){&one, WEIR_DTYPE_F32, 1, 1}, 1, false, WEIR_USE_ROWS, &w),
        WEIR_OK);
    float *x_there = device_put(be, x, sizeof x), *y_there = device_room(be, sizeof x);
    for (int e = WEIR_EPI_RELU; e <= WEIR_EPI_SILU; e++) {
        float y[N];
        weir_linear a = {.x = x_there,
                         .ldx = 1,
                         .w = &w,
                         .y = y_there,
                         .ldy = 1,
                         .n_row = N,
                         .scale = 1.0f,
                         .rows = true,
                         .epilogue = (weir_epilogue)e};
        cr_assert_eq(be->op.linear(be, &a), WEIR_OK);
        device_get(be, y, y_there, sizeof y);
        for (int i = 0; i < N; i++) {
            const double want = activation((weir_epilogue)e, (double)x[i]);
            cr_assert(fabs((double)y[i] - want) <= 0x1p-21 * fabs(want) + 1e-30,
                      "epilogue %d of %g: %g, want %g", e, (double)x[i], (double)y[i], want);
        }
    }
    weir__backend_free(be, x_there), weir__backend_free(be, y_there);
    weir__weight_free(be, &w);
    weir__backend_close(be);
}

Test(cuda_linear, nan_and_infinity_reach_the_outputs_of_their_row_only) {
    weir_backend *be = device_open();
    uint64_t rng = 51;
    for (int i = 0; i < 24; i++) {
        if (!in_sample(i, 7)) continue;
        const product p = {.n = 40,
                           .k = i / 6 % 2 ? 2051 : 34,
                           .n_row = 5,
                           .dtype = i / 12 ? WEIR_DTYPE_F32 : WEIR_DTYPE_BF16,
                           .rows = true,
                           .scale = 1.0f,
                           .epilogue = (weir_epilogue)(i % 6)};
        data d = data_new(&p, &rng);
        d.x[2 * d.ldx + 7] = i % 2 ? NAN : INFINITY;
        device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
        float *y = guarded_new((size_t)(5 * d.ldy));
        cr_assert_eq(device_product_run(&b, 0, 5, y), WEIR_OK);
        for (int64_t j = 0; j < 5 * 40; j++) {
            const float v = y[j / 40 * d.ldy + j % 40];
            const bool infinite_to_zero = p.epilogue >= WEIR_EPI_RELU && i % 2 == 0 && !(v > 0.0f);
            if (j / 40 == 2 && infinite_to_zero) continue; /* an activation of -inf may be a zero, or NaN */
            cr_assert_eq(isfinite(v) == 0, j / 40 == 2, "case %d row %ld: %g", i, (long)j / 40, (double)v);
        }
        guarded_free(y);
        device_product_free(&b);
        data_free(&d);
    }
    weir__backend_close(be);
}

/* --- bits ------------------------------------------------------------------------------------ */

/* Rows [r0, r0 + n_row) for several n_row against each row alone. */
static void check_bits(weir_backend *be, const product *p, uint64_t *rng) {
    data d = data_new(p, rng);
    device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
    const size_t total = (size_t)(p->n_row * d.ldy);
    float *alone = guarded_new(total), *y = guarded_new(total);
    char what[200];
    for (int64_t r = 0; r < p->n_row; r++)
        cr_assert_eq(device_product_run(&b, r, 1, alone + r * d.ldy), WEIR_OK);
    static const int64_t company[] = {2, 3, 4, 6, 7, 8, 9, 12, 15, 16, 17, 31, 33, 40};
    for (size_t i = 0; i < sizeof company / sizeof company[0] && company[i] <= p->n_row; i++) {
        const int64_t n_row = company[i], r0 = (p->n_row - n_row) / 2;
        describe_product(what, sizeof what, be->name, p);
        snprintf(what + strlen(what), sizeof what - strlen(what), ": rows %ld+%ld", (long)r0, (long)n_row);
        cr_assert_eq(device_product_run(&b, r0, n_row, y), WEIR_OK);
        assert_same(y, alone + r0 * d.ldy, (size_t)(n_row * d.ldy), what);
    }
    guarded_free(alone), guarded_free(y);
    device_product_free(&b);
    data_free(&d);
}

Test(cuda_linear, a_row_has_the_same_bits_alone_and_in_company) {
    weir_backend *be = device_open();
    uint64_t rng = 61;
    for (int i = 0; i < 12; i++) {
        if (!in_sample(i, 5)) continue;
        const product p = {.n = i % 2 ? 75 : 33,
                           .k = i % 2 ? 161 : 136,
                           .n_row = i < 2 ? 40 : 17,
                           .dtype = (weir_dtype)(i % 3),
                           .gated = i / 3 % 2,
                           .norm = i / 6 % 2,
                           .rows = true,
                           .scale = 1.0f,
                           .epilogue = i / 3 % 2 ? WEIR_EPI_GELU_TANH : WEIR_EPI_ADD};
        check_bits(be, &p, &rng);
    }
    for (int i = 0; i < N_CUT; i++) {
        product p = cut_shapes[i];
        if (p.n * p.k > 200000 || !in_sample(i, 7))
            continue; /* hours of the runner: the others have the same
                                                                 cuts */
        p.rows = true, p.scale = 1.0f, p.dtype = WEIR_DTYPE_BF16;
        if (p.n_row < 9) p.n_row = 9;
        check_bits(be, &p, &rng);
    }
    weir__backend_close(be);
}

/* The fixture's rows have no common alignment; those of a model are read 16 bytes at a time. */
Test(cuda_linear, aligned_rows_have_the_same_bits) {
    weir_backend *be = device_open();
    const product some[] = {
        {.n = 40, .k = 144, .n_row = 1, .norm = true},
        {.n = 40, .k = 136, .n_row = 6, .norm = true},
        {.n = 33, .k = 1040, .n_row = 8},
        {.n = 20, .k = 1036, .n_row = 9, .norm = true},
        {.n = 70, .k = 2056, .n_row = 2, .norm = true},
        {.n = 33, .k = 71, .n_row = 3, .norm = true},
    };
    enum { N = sizeof some / sizeof some[0] };
    uint64_t rng = 67;
    for (int i = 0; i < 2 * N; i++) {
        product p = some[i % N];
        p.dtype = i < N ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32;
        p.rows = true, p.scale = 1.0f, p.epilogue = i % 2 ? WEIR_EPI_ADD : WEIR_EPI_STORE;
        data d = data_new(&p, &rng), aligned = d;
        device_product b = device_product_new(be, &d, WEIR_USE_ROWS), c = b;
        device_product_reserve(&b);
        aligned.ldx = (p.k + 3) / 4 * 4 + 4;
        aligned.x = calloc((size_t)(p.n_row * aligned.ldx), sizeof *aligned.x);
        for (int64_t r = 0; r < p.n_row; r++)
            memcpy(aligned.x + r * aligned.ldx, d.x + r * d.ldx, (size_t)p.k * sizeof *d.x);
        c.d = &aligned;
        c.x = device_put(be, aligned.x, (size_t)(p.n_row * aligned.ldx) * sizeof *aligned.x);
        const size_t total = (size_t)(p.n_row * d.ldy);
        float *want = guarded_new(total), *y = guarded_new(total);
        cr_assert_eq(device_product_run(&b, 0, p.n_row, want), WEIR_OK);
        cr_assert_eq(device_product_run(&c, 0, p.n_row, y), WEIR_OK);
        char what[160];
        describe_product(what, sizeof what, be->name, &p);
        assert_same(y, want, total, what);
        weir__backend_free(be, c.x);
        free(aligned.x);
        guarded_free(want), guarded_free(y);
        device_product_free(&b);
        data_free(&d);
    }
    weir__backend_close(be);
}

/* Scratch for one row tile's slices only: the op goes over the rows in pieces. */
Test(cuda_linear, less_scratch_changes_no_bit_and_too_little_is_an_error) {
    weir_backend *be = device_open();
    uint64_t rng = 65;
    const product p = {
        .n = 70, .k = 2050, .n_row = 35, .dtype = WEIR_DTYPE_BF16, .norm = true, .rows = true, .scale = 1.0f};
    const weir_weight shape = weir__weight_shape(WEIR_LAYOUT_FRAGMENT, WEIR_DTYPE_BF16, p.n, p.k, false);
    const weir_linear_tiling plan = weir__linear_tiling_of(&shape);
    cr_assert_gt(plan.split, 1);
    data d = data_new(&p, &rng);
    device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
    const size_t total = (size_t)(p.n_row * d.ldy);
    float *whole = guarded_new(total), *y = guarded_new(total);
    cr_assert_eq(device_product_run(&b, 0, p.n_row, whole), WEIR_OK);
    const size_t once = weir__linear_partial_floats(plan.split, plan.n_unit);
    cr_assert_geq(weir__linear_cuda_scratch_floats(p.n, p.k, 0), once);
    device_scratch s = device_scratch_limit(be, once);
    cr_assert_eq(device_product_run(&b, 0, p.n_row, y), WEIR_OK);
    device_scratch_end(s);
    assert_same(y, whole, total, "in pieces");
    s = device_scratch_limit(be, once - 1);
    cr_assert_eq(device_product_run(&b, 0, p.n_row, y), WEIR_ENOMEM);
    device_scratch_end(s);
    guarded_free(whole), guarded_free(y);
    device_product_free(&b);
    data_free(&d);
    weir__backend_close(be);
}

/* --- minmaxes --------------------------------------------------------------------------------- */

static void check_minmaxes(const device_product *b, const float *y, int64_t n_row) {
    const int64_t count = weir__minmax_count(b->minmax_n);
    weir_minmax *got = malloc(sizeof *got * (size_t)(n_row * count));
    device_get(b->be, got, b->minmax, sizeof *got * (size_t)(n_row * count));
    for (int64_t i = 0; i < n_row * count; i++) {
        const float *row = y + i / count * b->d->ldy;
        int32_t lo = INT32_MAX, hi = INT32_MIN, id = -1;
        for (int64_t n = i % count * WEIR_EXTENT_SPAN;
             n < b->minmax_n && n < (i % count + 1) * WEIR_EXTENT_SPAN; n++) {
            const int32_t key = weir__order_key(row[n] + 0.0f);
            if (key > hi) hi = key, id = (int32_t)n;
            if (key < lo) lo = key;
        }
        const bool broken = hi >= WEIR_KEY_INF || lo < WEIR_KEY_MINUS_INF;
        cr_assert_eq(got[i].hi >= WEIR_KEY_INF || got[i].lo < WEIR_KEY_MINUS_INF, broken,
                     "n %ld row %ld span %ld", (long)b->d->p.n, (long)(i / count), (long)(i % count));
        if (broken) continue;
        cr_assert(got[i].lo == lo && got[i].hi == hi && got[i].id == id,
                  "n %ld row %ld span %ld: %x %x %d, want %x %x %d", (long)b->d->p.n, (long)(i / count),
                  (long)(i % count), got[i].lo, got[i].hi, got[i].id, lo, hi, id);
    }
    free(got);
}

/* Weights of few values make ties, zeros of both signs among them; one row has a NaN, one an infinity. */
Test(cuda_linear, extents_are_those_of_the_outputs) {
    weir_backend *be = device_open();
    uint64_t rng = 71;
    const int64_t n_of[] = {1, 63, 64, 65, 200, 8449, 8512};
    for (int i = 0; i < 21; i++) {
        if (!in_sample(i, 5)) continue;
        const product p = {.n = n_of[i / 3],
                           .k = i % 2 ? 17 : 8,
                           .n_row = 5,
                           .dtype = (weir_dtype)(i % 3),
                           .rows = true,
                           .scale = 1.0f,
                           .softcap = i % 4 == 3 ? 0.25f : 0.0f};
        data d = data_new(&p, &rng);
        for (int64_t r = 0; r < 5; r++) {
            for (int64_t k = 0; k < p.k; k++) d.x[r * d.ldx + k] = k == 3 ? (r == 1 ? -0.0f : 1.0f) : 0.0f;
        }
        d.x[2 * d.ldx] = NAN, d.x[3 * d.ldx] = INFINITY;
        device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
        b.minmax_n = (int32_t)(i % 2 || p.n < 3 ? p.n : p.n - 2);
        float *y = guarded_new((size_t)(5 * d.ldy));
        cr_assert_eq(device_product_run(&b, 0, 5, y), WEIR_OK);
        check_minmaxes(&b, y, 5);
        guarded_free(y);
        device_product_free(&b);
        data_free(&d);
    }
    const product split = {
        .n = 150, .k = 2050, .n_row = 18, .dtype = WEIR_DTYPE_BF16, .rows = true, .scale = 1.0f};
    data d = data_new(&split, &rng);
    device_product b = device_product_new(be, &d, WEIR_USE_ROWS);
    b.minmax_n = 149;
    float *y = guarded_new((size_t)(18 * d.ldy));
    cr_assert_eq(device_product_run(&b, 0, 18, y), WEIR_OK);
    check_minmaxes(&b, y, 18);
    guarded_free(y);
    device_product_free(&b);
    data_free(&d);
    weir__backend_close(be);
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(cuda_linear, refuses_what_its_contract_refuses) {
    weir_backend *be = device_open();
    static const float file[64];
    const weir_tensor t[2] = {{file, WEIR_DTYPE_F32, 8, 8}, {file, WEIR_DTYPE_F32, 8, 8}};
    weir_weight w, gated;
    cr_assert_eq(weir__weight_pack(be, t, 1, false, WEIR_USE_ROWS, &w), WEIR_OK);
    cr_assert_eq(weir__weight_pack(be, t, 2, true, WEIR_USE_ROWS, &gated), WEIR_OK);
    float *x = device_put(be, file, sizeof file);
    weir_minmax *minmax = device_room(be, sizeof *minmax);
    const weir_linear good = {
        .x = x, .ldx = 8, .w = &w, .y = x + 8, .ldy = 8, .n_row = 1, .scale = 1, .rows = true};
    weir_linear bad[13];
    for (int i = 0; i < 13; i++) bad[i] = good;
    weir_weight empty = w, panels = w;
    empty.data = NULL;
    panels.layout = WEIR_LAYOUT_PANEL;
    bad[0].x = NULL, bad[1].y = NULL, bad[2].w = NULL, bad[3].ldx = 7, bad[4].ldy = 7, bad[5].n_row = -1;
    bad[6].w = &empty;
    bad[7].w = &gated, bad[7].epilogue = WEIR_EPI_ADD;
    bad[8].w = &panels;
    bad[9].minmax = minmax, bad[9].minmax_n = 9;
    bad[10].minmax = minmax, bad[10].minmax_n = 8, bad[10].rows = false;
    bad[11].w = &gated, bad[11].epilogue = WEIR_EPI_MUL;
    for (int i = 0; i < 12; i++) cr_assert_eq(be->op.linear(be, &bad[i]), WEIR_EINVAL, "case %d", i);
    bad[12].n_row = 0;
    cr_assert_eq(be->op.linear(be, &bad[12]), WEIR_OK);
    weir__backend_free(be, x), weir__backend_free(be, minmax);
    weir__weight_free(be, &w), weir__weight_free(be, &gated);
    weir__backend_close(be);
}
