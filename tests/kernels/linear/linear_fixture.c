#include "tests/kernels/linear/linear_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/attention/cache_fixture.h"
#include "tests/support/compare.h"

double activation(weir_epilogue e, double d) {
    switch (e) {
    case WEIR_EPI_RELU: return d > 0 ? d : 0;
    case WEIR_EPI_GELU_TANH: return 0.5 * d * (1 + tanh(0.7978845608028654 * (d + 0.044715 * d * d * d)));
    case WEIR_EPI_GELU_ERF: return 0.5 * d * erfc(-d * 0.7071067811865476);
    case WEIR_EPI_SILU: return d / (1 + exp(-d));
    default: return d;
    }
}

/* What rounding rows to bytes may add to a product (kernels/linear/linear.h). |s q| + |o| of the fixture's
 * random blocks, which use most of their codes, is below 3 times the block's largest element. */
static double byte_bound(const double *xn, const float *w, int64_t k, int64_t block) {
    double rounding = 0, sums = 0;
    for (int64_t i = 0; i < k; i += 32) {
        double most = 0, mag = 0, largest = 0;
        for (int64_t j = i; j < i + 32; j++) most = fmax(most, fabs(xn[j])), mag += fabs((double)w[j]);
        for (int64_t j = i / block * block; j < (i / block + 1) * block; j++)
            largest = fmax(largest, fabs((double)w[j]));
        rounding += most / 253 * mag;
        sums += 32 * most * 3 * largest;
    }
    return rounding + ((double)k / 8 + 16) * 0x1p-24 * sums;
}

static double dot(const data *d, const matrix *m, int64_t r, int64_t n, bool rounded, double *bound) {
    const int64_t k = d->p.k;
    const float *x = d->x + r * d->ldx, *w = m->value + n * k;
    double sq = 0, sum = 0, mag = 0, *xn = malloc((size_t)k * sizeof *xn);
    cr_assert(xn);
    for (int64_t i = 0; i < k; i++) sq += (double)x[i] * x[i];
    const double factor = 1 / sqrt(sq / (double)k + (double)LINEAR_EPS);
    for (int64_t i = 0; i < k; i++) {
        xn[i] = d->p.norm ? x[i] * factor * d->norm[i] : x[i];
        sum += xn[i] * w[i];
        mag += fabs(xn[i] * w[i]);
    }
    *bound = (1.125 * (double)k + 16) * 0x1p-24 * mag;
    if (rounded && d->p.dtype != WEIR_DTYPE_FP8)
        *bound += weir_dtype_is_float(d->p.dtype) ? 0x1p-8 * mag
                                                  : byte_bound(xn, w, k, weir_dtype_block(d->p.dtype));
    free(xn);
    return sum;
}

void data_expect(data *d, bool rounded) {
    const product *p = &d->p;
    for (int64_t r = 0; r < p->n_row; r++) {
        for (int64_t n = 0; n < p->n; n++) {
            double e_gate, e_up = 0, up = 1, y, *b = d->bound + r * p->n + n;
            double g = (double)p->scale * dot(d, &d->gate, r, n, rounded, &e_gate);
            e_gate *= fabs((double)p->scale);
            y = activation(p->epilogue, g);
            /* No activation is steeper than 1.13; its own error is 2^-21 |d|. */
            if (p->epilogue > WEIR_EPI_MUL) e_gate = 1.13 * e_gate + 0x1p-21 * fabs(g);
            if (p->softcap > 0.0f) { /* slope at most 1, 2^-20 of the result */
                y = (double)p->softcap * tanh(y / (double)p->softcap);
                e_gate += 0x1p-20 * fabs(y);
            }
            if (p->gated) up = dot(d, &d->up, r, n, rounded, &e_up);
            *b = e_gate * fabs(up) + e_up * fabs(y) + e_gate * e_up;
            y *= up;
            const double y0 = (double)d->y0[r * d->ldy + n];
            if (p->epilogue == WEIR_EPI_ADD) y += y0, *b += 0x1p-23 * fabs(y);
            if (p->epilogue == WEIR_EPI_MUL) y *= y0, *b = *b * fabs(y0) + 0x1p-23 * fabs(y);
            *b += 0x1p-22 * fabs(y);
            d->want[r * p->n + n] = y;
        }
    }
}

data data_new(const product *p, uint64_t *rng) {
    data d = {.p = *p, .ldx = p->k + PAD, .ldy = p->n + PAD};
    if (p->k % 4 == 0 && p->n_row % 2) d.ldx = p->k + 4; /* rows that a build may read 16 bytes at a time */
    d.gate = matrix_new(p->dtype, p->n, p->k, 0.3f, rng);
    d.up = matrix_new(p->dtype, p->n, p->k, 0.3f, rng);
    d.x = floats_normal((size_t)(p->n_row * d.ldx), 1.5f, rng);
    for (int64_t i = 0; i < p->n_row * d.ldx; i++) {
        if (i % d.ldx >= p->k) d.x[i] = NAN; /* padding that is used anywhere shows */
    }
    d.norm = floats_normal((size_t)p->k, 0.7f, rng);
    d.y0 = floats_normal((size_t)(p->n_row * d.ldy), 2.0f, rng);
    d.want = calloc((size_t)(p->n_row * p->n), sizeof *d.want);
    d.bound = calloc((size_t)(p->n_row * p->n), sizeof *d.bound);
    return d;
}

void data_free(data *d) {
    matrix_free(&d->gate), matrix_free(&d->up);
    guarded_free(d->x), guarded_free(d->norm), guarded_free(d->y0);
    free(d->want), free(d->bound);
}

weir_weight data_pack(weir_backend *be, const data *d, weir_use use) {
    weir_weight w;
    const weir_tensor part[2] = {d->gate.file, d->up.file};
    cr_assert_eq(weir__weight_pack(be, part, d->p.gated ? 2 : 1, d->p.gated, use, &w), WEIR_OK);
    return w;
}

void describe_product(char *s, size_t cap, const char *build, const product *p) {
    snprintf(s, cap, "%s %s n %ld k %ld rows %ld%s%s%s epilogue %d", build, weir_dtype_name(p->dtype),
             (long)p->n, (long)p->k, (long)p->n_row, p->gated ? " gated" : "", p->norm ? " norm" : "",
             p->rows ? "" : " prefill", (int)p->epilogue);
}

void data_check(const data *d, const float *y, const char *what) {
    const int64_t n = d->p.n;
    for (int64_t r = 0; r < d->p.n_row; r++) {
        assert_within(y + r * d->ldy, d->want + r * n, d->bound + r * n, (size_t)n, what);
        assert_same(y + r * d->ldy + n, d->y0 + r * d->ldy + n, PAD, what);
    }
}

/* Rows of three slots, each going on, across a page's edge; every seventh is dead. */
static cache rows_of(weir_backend *be, int64_t n_row, int32_t n_head_kv, int32_t head_dim, weir_dtype dtype) {
    enum { MOST = 512 };
    int32_t slot[MOST], pos[MOST];
    cr_assert(n_row <= MOST);
    for (int32_t r = 0; r < n_row; r++) slot[r] = r % 7 == 3 ? -1 : r % 3, pos[r] = 61 + r / 3;
    return cache_new(be, slot, pos, n_row, n_head_kv, head_dim, dtype);
}

void linear_assert_appended(weir_backend *be, const data *d, weir_linear a, int32_t n_head_kv,
                            int32_t head_dim, weir_dtype dtype) {
    const size_t bytes = (size_t)(d->p.n_row * d->ldy) * sizeof(float);
    const int64_t width = (int64_t)n_head_kv * head_dim;
    cache c = rows_of(be, d->p.n_row, n_head_kv, head_dim, dtype);
    const float *k = a.y + d->p.n - 2 * width;
    weir_kv_append append = cache_append(&c, k, k + width, a.ldy, a.n_row);
    float *y[2];
    unsigned char *pool[2];
    char what[160];
    describe_product(what, sizeof what, be->name, &d->p);
    for (int at_once = 0; at_once < 2; at_once++) {
        a.append = at_once ? &append : NULL;
        cr_assert_eq(weir__backend_upload(be, a.y, d->y0, bytes), WEIR_OK);
        cr_assert_eq(be->op.linear(be, &a), WEIR_OK, "%s: %s", what, be->err.text);
        if (!at_once) cr_assert_eq(be->op.kv_append(be, &append), WEIR_OK, "%s", be->err.text);
        y[at_once] = malloc(bytes);
        cr_assert_eq(weir__backend_download(be, y[at_once], a.y, bytes), WEIR_OK);
        pool[at_once] = cache_take(&c);
    }
    cr_assert(memcmp(y[0], y[1], bytes) == 0, "%s: other outputs with a cache", what);
    cache_assert_same(&c, pool[1], pool[0], what);
    for (int i = 0; i < 2; i++) free(y[i]), free(pool[i]);
    cache_free(&c);
}
