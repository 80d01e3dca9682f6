#ifndef WEIR_TESTS_KERNELS_LINEAR_LINEAR_FIXTURE_H
#define WEIR_TESTS_KERNELS_LINEAR_LINEAR_FIXTURE_H

#include "tests/kernels/op_fixture.h"

/* A product as a test names it, its data, and what is expected of it: an oracle written from the formula over
 * the file's values, apart from every layout and build. Bounds are those of kernels/linear/linear.h. */
typedef struct product {
    int64_t n, k, n_row;
    weir_dtype dtype;
    bool gated, norm, rows;
    weir_epilogue epilogue;
    float scale, softcap;
} product;

typedef struct data {
    product p;
    matrix gate, up;
    float *x, *norm, *y0; /* rows have PAD floats of padding that no op may touch or use */
    int64_t ldx, ldy;
    double *want, *bound; /* (n_row, n) */
} data;

enum { PAD = 3 };
#define LINEAR_EPS 1e-6f

data data_new(const product *p, uint64_t *rng);
void data_free(data *d);
void data_expect(data *d, bool rounded); /* fills want and bound; rounded: the input goes through bf16, or
                                            bytes
                                          * where the weight has blocks */
/* Every row of y (n_row, ldy) is within its bound, and its padding is that of y0. */
void data_check(const data *d, const float *y, const char *what);
weir_weight data_pack(weir_backend *be, const data *d, weir_use use); /* asserts */
/* Of a product whose last outputs are n_head_kv heads of keys, then of values: y is the same with an append,
 * and the cache's every byte is what kv_append then puts there. a: the product, y (n_row, d->ldy) and all
 * else in the backend's memory. */
void linear_assert_appended(weir_backend *be, const data *d, weir_linear a, int32_t n_head_kv,
                            int32_t head_dim, weir_dtype dtype);
void describe_product(char *s, size_t cap, const char *build, const product *p);
double activation(weir_epilogue e, double d);

#endif
