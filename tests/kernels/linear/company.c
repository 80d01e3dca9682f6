#include "tests/kernels/linear/company.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/compare.h"
#include "tests/support/device.h"

/* Minmaxes of a row. */
static int64_t count_of(const device_product *m) { return m->minmax_n ? weir__minmax_count(m->minmax_n) : 0; }

/* Rows [r0, r0 + n_row) into y and, unless NULL, their minmaxes. */
static void run(const company *c, int64_t r0, int64_t n_row, float *y, weir_minmax *minmax) {
    char what[200];
    describe_product(what, sizeof what, c->m.be->name, &c->d.p);
    cr_assert_eq(device_product_run(&c->m, r0, n_row, y), WEIR_OK, "%s: rows %ld+%ld: %s", what, (long)r0,
                 (long)n_row, c->m.be->err.text);
    if (minmax) device_get(c->m.be, minmax, c->m.minmax, (size_t)(n_row * count_of(&c->m)) * sizeof *minmax);
}

void company_init(company *c, weir_backend *be, const product *p, int64_t unit, bool minmax, int64_t few,
                  uint64_t *rng) {
    c->d = data_new(p, rng);
    c->m = device_product_new(be, &c->d, WEIR_USE_ROWS);
    if (unit > 0) weir__weight_split_inputs(&c->m.w, p->k, unit, 0, 1);
    device_product_reserve(&c->m);
    c->m.minmax_n = minmax ? (int32_t)p->n - 1 : 0;
    const int64_t count = count_of(&c->m), n_row = p->n_row;
    c->few = guarded_new((size_t)(n_row * c->d.ldy));
    c->y = guarded_new((size_t)(n_row * c->d.ldy));
    c->few_minmax = count ? malloc(sizeof *c->few_minmax * (size_t)(n_row * count)) : NULL;
    for (int64_t r = 0; r < n_row; r += few)
        run(c, r, n_row - r < few ? n_row - r : few, c->few + r * c->d.ldy,
            count ? c->few_minmax + r * count : NULL);
}

void company_free(company *c) {
    guarded_free(c->few), guarded_free(c->y);
    free(c->few_minmax);
    device_product_free(&c->m);
    data_free(&c->d);
}

void company_check(company *c, int64_t r0, int64_t n_row) {
    const int64_t count = count_of(&c->m);
    weir_minmax *minmax = count ? malloc(sizeof *minmax * (size_t)(n_row * count)) : NULL;
    char what[200];
    describe_product(what, sizeof what, c->m.be->name, &c->d.p);
    snprintf(what + strlen(what), sizeof what - strlen(what), ": rows %ld+%ld", (long)r0, (long)n_row);
    run(c, r0, n_row, c->y, minmax);
    assert_same(c->y, c->few + r0 * c->d.ldy, (size_t)(n_row * c->d.ldy), what);
    if (count)
        cr_assert_eq(memcmp(minmax, c->few_minmax + r0 * count, sizeof *minmax * (size_t)(n_row * count)), 0,
                     "%s: minmaxes", what);
    free(minmax);
}

void company_check_counts(company *c, int nth) {
    static const int64_t n_rows[] = {1,  2,  3,  4,  6,   7,   8,   9,   12,  15,  16, 17, 18,
                                     23, 24, 25, 31, 32,  33,  40,  41,  47,  48,  49, 63, 64,
                                     65, 95, 96, 97, 127, 128, 129, 192, 193, 256, 257};
    const int64_t all = c->d.p.n_row;
    for (int i = 0; i < (int)(sizeof n_rows / sizeof n_rows[0]) && n_rows[i] < all; i++) {
        if (i % nth == nth - 1) company_check(c, (all - n_rows[i]) / 2, n_rows[i]);
    }
    company_check(c, 0, all);
}

void company_check_scratch(company *c, size_t floats) {
    const device_scratch s = device_scratch_limit(c->m.be, floats);
    company_check(c, 0, c->d.p.n_row);
    device_scratch_end(s);
}
