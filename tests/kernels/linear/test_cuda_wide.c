/* Products of many rows with bf16 weights on a device: the bits of few rows, whatever the number of rows, the
 * cut of the matrix, the room for records, and the kernel that is chosen. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/device_product.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { MOST = 257, FEW = 16 };

/* unit: a weight split along its inputs, in such units; 0: along its outputs. */
static device_product wide_new(weir_backend *be, const data *d, int64_t unit, bool minmax) {
    device_product m = device_product_new(be, d, WEIR_USE_ROWS);
    if (unit > 0) weir__weight_split_inputs(&m.w, d->p.k, unit, 0, 1);
    cr_assert_eq(m.w.layout, WEIR_LAYOUT_FRAGMENT);
    device_product_reserve(&m);
    m.minmax_n = minmax ? (int32_t)d->p.n - 1 : 0;
    return m;
}

/* Minmaxes of a row. */
static int64_t count_of(const device_product *m) { return m->minmax_n ? weir__minmax_count(m->minmax_n) : 0; }

/* Rows [r0, r0 + n_row) into y and, unless NULL, their minmaxes. */
static weir_status run(const device_product *m, int64_t r0, int64_t n_row, float *y, weir_minmax *minmax) {
    const weir_status s = device_product_run(m, r0, n_row, y);
    if (s == WEIR_OK && minmax)
        device_get(m->be, minmax, m->minmax, (size_t)(n_row * count_of(m)) * sizeof *minmax);
    return s;
}

/* What 16 rows at a time give, and what all of them must give. */
typedef struct few {
    float *y;
    weir_minmax *minmax;
} few;

static few few_of(const device_product *m) {
    const data *d = m->d;
    const int64_t count = count_of(m);
    few f = {guarded_new((size_t)(d->p.n_row * d->ldy)), NULL};
    if (count) f.minmax = malloc(sizeof *f.minmax * (size_t)(d->p.n_row * count));
    for (int64_t r = 0; r < d->p.n_row; r += FEW) {
        const int64_t n = d->p.n_row - r < FEW ? d->p.n_row - r : FEW;
        cr_assert_eq(run(m, r, n, f.y + r * d->ldy, count ? f.minmax + r * count : NULL), WEIR_OK);
    }
    return f;
}

static void few_free(few *f) {
    guarded_free(f->y);
    free(f->minmax);
}

static void check_rows(const device_product *m, const few *f, int64_t r0, int64_t n_row, float *y) {
    const data *d = m->d;
    const int64_t count = count_of(m);
    weir_minmax *minmax = count ? malloc(sizeof *minmax * (size_t)(n_row * count)) : NULL;
    char what[200];
    describe_product(what, sizeof what, m->be->name, &d->p);
    snprintf(what + strlen(what), sizeof what - strlen(what), ": rows %ld+%ld", (long)r0, (long)n_row);
    cr_assert_eq(run(m, r0, n_row, y, minmax), WEIR_OK, "%s: %s", what, m->be->err.text);
    assert_same(y, f->y + r0 * d->ldy, (size_t)(n_row * d->ldy), what);
    if (count)
        cr_assert_eq(memcmp(minmax, f->minmax + r0 * count, sizeof *minmax * (size_t)(n_row * count)), 0,
                     "%s: minmaxes", what);
    free(minmax);
}

/* Edges of each tile of rows, and of the octets in one. */
static const int64_t n_rows[] = {1,  2,  3,  4,  6,   7,   8,   9,   12,  15,  16, 17, 18,
                                 23, 24, 25, 31, 32,  33,  40,  41,  47,  48,  49, 63, 64,
                                 65, 95, 96, 97, 127, 128, 129, 192, 193, 256, 257};
enum { N_ROWS = sizeof n_rows / sizeof n_rows[0] };

/* Every nth of the row counts up to p's, and p's. */
static void check_counts(weir_backend *be, const product *p, int64_t unit, bool minmax, int nth,
                         uint64_t *rng) {
    data d = data_new(p, rng);
    device_product m = wide_new(be, &d, unit, minmax);
    few f = few_of(&m);
    float *y = guarded_new((size_t)(p->n_row * d.ldy));
    for (int i = 0; i < N_ROWS && n_rows[i] < p->n_row; i++) {
        if (i % nth == nth - 1) check_rows(&m, &f, (p->n_row - n_rows[i]) / 2, n_rows[i], y);
    }
    check_rows(&m, &f, 0, p->n_row, y);
    guarded_free(y);
    few_free(&f), device_product_free(&m);
    data_free(&d);
}

/* The runner's card has 4 multiprocessors, so there almost all of these are the wide kernel's from 17 rows
 * on; on a large card those of many outputs are. */
typedef struct shape {
    int64_t n, k, unit, n_row;
    bool gated, norm;
    weir_epilogue epilogue;
} shape;

static const shape shapes[] = {
    {.n = 150, .k = 136, .n_row = MOST, .epilogue = WEIR_EPI_ADD},                 /* one panel, 8 chains */
    {.n = 145, .k = 50, .n_row = 70, .norm = true, .epilogue = WEIR_EPI_GELU_ERF}, /* chains without tiles */
    {.n = 100, .k = 161, .n_row = 130, .gated = true, .norm = true, .epilogue = WEIR_EPI_GELU_TANH}, /* two */
    {.n = 70, .k = 2050, .n_row = MOST, .norm = true}, /* four, slices */
    {.n = 33, .k = 2600, .n_row = 66, .norm = true, .gated = true, .epilogue = WEIR_EPI_SILU},
    {.n = 40, .k = 5121, .n_row = 34, .epilogue = WEIR_EPI_MUL},
    {.n = 150, .k = 300, .unit = 16, .n_row = 131, .epilogue = WEIR_EPI_ADD},  /* segments by warps */
    {.n = 150, .k = 80, .unit = 16, .n_row = 40},                              /* some of them empty */
    {.n = 70, .k = 2100, .unit = 16, .n_row = MOST, .epilogue = WEIR_EPI_ADD}, /* segments by blocks */
    {.n = 30, .k = 16500, .unit = 32, .n_row = 33},                            /* and their slices */
    {.n = 8500, .k = 40, .n_row = 129, .norm = true},                          /* many outputs */
    {.n = 4300, .k = 33, .n_row = 97, .gated = true, .epilogue = WEIR_EPI_RELU},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static product product_of(const shape *s) {
    return (product){.n = s->n,
                     .k = s->k,
                     .n_row = s->n_row,
                     .dtype = WEIR_DTYPE_BF16,
                     .gated = s->gated,
                     .norm = s->norm,
                     .rows = true,
                     .epilogue = s->epilogue,
                     .scale = 0.75f};
}

Test(cuda_wide, a_row_has_the_same_bits_in_any_company) {
    weir_backend *be = device_open();
    uint64_t rng = 101;
    for (int i = 0; i < N_SHAPES; i++) {
        const product p = product_of(&shapes[i]);
        const bool large = p.n * p.k > 100000;
        const int nth = large || build_is_tsan() ? 9 : 1 + i % 3;
        if (in_sample(i, 4)) check_counts(be, &p, shapes[i].unit, false, nth, &rng);
    }
    weir__backend_close(be);
}

Test(cuda_wide, products_are_within_their_bound) {
    weir_backend *be = device_open();
    uint64_t rng = 103;
    for (int i = 0; i < N_SHAPES; i++) {
        product p = product_of(&shapes[i]);
        if (!in_sample(i, 5)) continue;
        if (p.n * p.k > 100000 || build_is_tsan()) p.n_row = 33;
        data d = data_new(&p, &rng);
        device_product m = wide_new(be, &d, shapes[i].unit, false);
        device_product_check(&m, &d, true);
        device_product_free(&m);
        data_free(&d);
    }
    weir__backend_close(be);
}

Test(cuda_wide, every_epilogue_and_softcap_has_the_bits_of_few_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 105;
    for (int e = WEIR_EPI_STORE; e <= WEIR_EPI_SILU; e++) {
        for (int i = 0; i < 4; i++) { /* gated; a merge between blocks */
            const product p = {.n = 70,
                               .k = i / 2 ? 2050 : 70,
                               .n_row = 33 + 40 * (e % 2),
                               .dtype = WEIR_DTYPE_BF16,
                               .gated = i % 2,
                               .norm = e % 3 == 0,
                               .rows = true,
                               .epilogue = (weir_epilogue)e,
                               .scale = 0.25f,
                               .softcap = e == WEIR_EPI_STORE && i % 2 == 0 ? 5.0f : 0.0f};
            if ((p.gated && weir__epilogue_reads(p.epilogue)) || !in_sample(4 * e + i, 5)) continue;
            check_counts(be, &p, 0, false, N_ROWS, &rng);
        }
    }
    weir__backend_close(be);
}

/* Of whole units, of units of one panel, and of outputs that several blocks share. */
Test(cuda_wide, minmaxes_are_those_of_few_rows) {
    weir_backend *be = device_open();
    uint64_t rng = 107;
    const int64_t n[] = {8449, 150, 90}, k[] = {17, 40, 2050};
    for (int i = 0; i < 3; i++) {
        const product p = {.n = n[i],
                           .k = k[i],
                           .n_row = build_is_tsan() ? 33 : 66,
                           .dtype = WEIR_DTYPE_BF16,
                           .rows = true,
                           .scale = 1.0f};
        check_counts(be, &p, 0, true, 6, &rng);
    }
    weir__backend_close(be);
}

/* Room for all rows, for some tiles of them, for no records, and for no rows at all: in prompts, and in a
 * head with its minmaxes. */
Test(cuda_wide, scratch_changes_no_bit) {
    weir_backend *be = device_open();
    uint64_t rng = 109;
    for (int i = 0; i < 3; i++) {
        if (!in_sample(i, 3)) continue;
        const shape *of = &shapes[i == 0 ? 3 : i == 1 ? 8 : 6];
        product p = product_of(of);
        p.n_row = build_is_tsan() ? 70 : 150, p.rows = i == 2;
        data d = data_new(&p, &rng);
        device_product m = wide_new(be, &d, of->unit, i == 2);
        few f = few_of(&m);
        float *y = guarded_new((size_t)(p.n_row * d.ldy));
        const size_t all = be->scratch_floats, least = weir__linear_most_partial_floats(p.n, p.k);
        const size_t row = weir__linear_wide_floats(p.n, p.k, 1) - 128, x = (size_t)(p.k + 15) / 16 * 8 + 1;
        float *filler = malloc(all * sizeof *filler), *rest = malloc(all * sizeof *rest);
        for (size_t j = 0; j < all; j++) filler[j] = 7.0f;
        const size_t floats[] = {all,          128 * row + 128, 64 * row + 128, 20 * row,
                                 70 * x + 128, 149 * x + 128,   least};
        for (size_t s = 0; s < sizeof floats / sizeof floats[0]; s++) {
            if (floats[s] < least || floats[s] > all) continue;
            cr_assert_eq(weir__backend_upload(be, be->scratch, filler, all * sizeof *filler), WEIR_OK);
            be->scratch_floats = floats[s];
            check_rows(&m, &f, 0, p.n_row, y);
            device_get(be, rest, be->scratch + floats[s], (all - floats[s]) * sizeof *rest);
            assert_same(rest, filler, all - floats[s], "scratch past its end");
        }
        free(filler), free(rest);
        be->scratch_floats = all;
        guarded_free(y);
        few_free(&f), device_product_free(&m);
        data_free(&d);
    }
    weir__backend_close(be);
}
