#ifndef WEIR_TESTS_KERNELS_LINEAR_DEVICE_PRODUCT_H
#define WEIR_TESTS_KERNELS_LINEAR_DEVICE_PRODUCT_H

#include "kernels/backend.h"
#include "tests/kernels/linear/linear_fixture.h"

/* A product's data on a device. Set by a test: minmax_n (0: no minmaxes are wanted) and rows (at first those
 * of the data). */
typedef struct device_product {
    weir_backend *be;
    const data *d;
    weir_weight w;
    float *x, *norm, *y;
    weir_minmax *minmax; /* (n_row, count) */
    int32_t minmax_n;
    bool rows;
} device_product;

device_product device_product_new(weir_backend *be, const data *d, weir_use use);
void device_product_free(device_product *m);
void device_product_reserve(
    const device_product *m); /* what linear.h says that any number of rows may need */
/* Rows [r0, r0 + n_row) into y (n_row, ldy), which starts from y0. */
weir_status device_product_run(const device_product *m, int64_t r0, int64_t n_row, float *y);
/* All rows are within the bound of d's oracle; rounded: as data_expect. */
void device_product_check(const device_product *m, data *d, bool rounded);

#endif
