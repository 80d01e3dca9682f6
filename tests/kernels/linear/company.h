#ifndef WEIR_TESTS_KERNELS_LINEAR_COMPANY_H
#define WEIR_TESTS_KERNELS_LINEAR_COMPANY_H

#include "tests/kernels/linear/device_product.h"

/* A product's row has the same bits in any company: products of many rows on a device against those of a few
 * rows at a time. */
typedef struct company {
    data d;
    device_product m;
    float *few, *y; /* what a few rows at a time give; room for what is checked */
    weir_minmax *few_minmax;
} company;

/* unit: a weight split along its inputs, in such units; 0: along its outputs. few: rows at a time. */
void company_init(company *c, weir_backend *be, const product *p, int64_t unit, bool minmax, int64_t few,
                  uint64_t *rng);
void company_free(company *c);
/* Rows [r0, r0 + n_row), and their minmaxes. */
void company_check(company *c, int64_t r0, int64_t n_row);
/* Every nth of the row counts at which tiles of rows and octets begin and end, and all rows. */
void company_check_counts(company *c, int nth);
/* All rows with `floats` of scratch, of which nothing is written past the end. */
void company_check_scratch(company *c, size_t floats);

#endif
