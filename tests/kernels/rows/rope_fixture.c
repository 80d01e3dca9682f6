#include "tests/kernels/rows/rope_fixture.h"

#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/attention/cache_fixture.h"
#include "tests/support/compare.h"

/* Head h of row r: 0 … n_head - 1 of q, then k, then v. */
static void expect_head(rope_data *d, int32_t r, int32_t h) {
    const rope_case *c = &d->c;
    const int32_t n = c->head_dim, half = c->n_dim / 2;
    const float *x = d->x + r * d->ld + h * n, *b = d->bias + h * n;
    const float *w = h < c->n_head ? d->q_norm : d->k_norm;
    const bool turns = h < c->n_head + c->n_head_kv;
    double *want = d->want + r * d->width + h * n, *bound = d->bound + r * d->width + h * n;
    double u[2048], mean = 0.0;
    for (int32_t i = 0; i < n; i++) {
        u[i] = (double)x[i] + (c->bias ? (double)b[i] : 0.0);
        mean += u[i] * u[i] / n;
    }
    for (int32_t i = 0; turns && c->norm && i < n; i++) u[i] *= (double)w[i] / sqrt(mean + (double)ROPE_EPS);
    const double unit = 0x1p-24 * fmax((double)c->scale, 1.0) * (n / 8.0 + 20.0);
    for (int32_t i = 0; i < n; i++) want[i] = u[i], bound[i] = unit * fabs(u[i]);
    for (int32_t i = 0; turns && i < half; i++) {
        const int32_t a = c->interleaved ? 2 * i : i, z = c->interleaved ? 2 * i + 1 : half + i;
        const float angle = (float)d->pos[r] * d->inv_freq[i];
        const double complex v = (u[a] + u[z] * I) * (double)c->scale * cexp((double)angle * I);
        want[a] = creal(v), want[z] = cimag(v);
        bound[a] = bound[z] = unit * (fabs(u[a]) + fabs(u[z]));
    }
}

rope_data rope_new(const rope_case *c, uint64_t *rng) {
    const int64_t n_all = c->n_head + 2 * (int64_t)c->n_head_kv, width = n_all * c->head_dim;
    rope_data d = {.c = *c, .width = width, .ld = width + ROPE_PAD};
    cr_assert(c->n_row <= ROPE_ROWS && c->head_dim <= 2048);
    d.x = floats_normal((size_t)(c->n_row * d.ld), 2.0f, rng);
    d.bias = floats_normal((size_t)width, 1.0f, rng);
    d.q_norm = floats_normal((size_t)c->head_dim, 1.0f, rng),
    d.k_norm = floats_normal((size_t)c->head_dim, 1.0f, rng);
    d.inv_freq = guarded_new((size_t)c->n_dim / 2);
    for (int32_t i = 0; i < c->n_dim / 2; i++) d.inv_freq[i] = (float)pow(10000.0, -2.0 * i / c->n_dim);
    d.want = calloc((size_t)(c->n_row * width), sizeof *d.want),
    d.bound = calloc((size_t)(c->n_row * width), sizeof *d.bound);
    for (int32_t r = 0; r < c->n_row; r++) {
        float *x = d.x + r * d.ld;
        d.pos[r] = c->first + 37 * r;
        d.slot[r] = r == ROPE_DEAD ? -1 : r % 3;
        for (int64_t i = 0; i < d.ld; i++) {
            if (i >= width || (r == ROPE_DEAD && i % 2)) x[i] = NAN; /* what is used anywhere shows */
        }
        if (d.slot[r] >= 0) {
            for (int32_t h = 0; h < n_all; h++) expect_head(&d, r, h);
        }
    }
    return d;
}

void rope_free(rope_data *d) {
    guarded_free(d->x), guarded_free(d->bias), guarded_free(d->q_norm), guarded_free(d->k_norm),
        guarded_free(d->inv_freq);
    free(d->want), free(d->bound);
}

weir_rope rope_args(const rope_data *d, const rope_data *where, float *x, const int32_t *slot,
                    const int32_t *pos, int32_t n) {
    const rope_case *c = &d->c;
    float *k = x + c->n_head * c->head_dim;
    return (weir_rope){.q = x,
                       .k = k,
                       .v = k + c->n_head_kv * c->head_dim,
                       .ld = d->ld,
                       .bias = c->bias ? where->bias : NULL,
                       .q_norm = c->norm ? where->q_norm : NULL,
                       .k_norm = c->norm ? where->k_norm : NULL,
                       .eps = ROPE_EPS,
                       .inv_freq = where->inv_freq,
                       .scale = c->scale,
                       .slot = slot,
                       .pos = pos,
                       .n_row = n,
                       .n_head = c->n_head,
                       .n_head_kv = c->n_head_kv,
                       .head_dim = c->head_dim,
                       .n_dim = c->n_dim,
                       .interleaved = c->interleaved};
}

void rope_assert(const rope_data *d, const float *got, const char *what) {
    char msg[200];
    for (int32_t r = 0; r < d->c.n_row; r++) {
        const float *row = got + r * d->ld, *x = d->x + r * d->ld;
        (void)snprintf(msg, sizeof msg, "%s heads %d/%d of %d, turning %d%s, row %d", what, d->c.n_head,
                       d->c.n_head_kv, d->c.head_dim, d->c.n_dim, d->c.interleaved ? " interleaved" : "", r);
        if (d->slot[r] < 0)
            assert_same(row, x, (size_t)d->ld, msg);
        else
            assert_within(row, d->want + r * d->width, d->bound + r * d->width, (size_t)d->width, msg);
        if (!d->c.bias && d->slot[r] >= 0) { /* values stay as they are */
            const int64_t v = ((int64_t)d->c.n_head + d->c.n_head_kv) * d->c.head_dim;
            assert_same(row + v, x + v, (size_t)(d->width - v), msg);
        }
        assert_same(row + d->width, x + d->width, ROPE_PAD, msg);
    }
}

void rope_assert_appended(weir_backend *be, const rope_data *d, const rope_data *where, weir_dtype dtype) {
    const size_t bytes = (size_t)(d->c.n_row * d->ld) * sizeof *d->x;
    cache c = cache_new(be, d->slot, d->pos, d->c.n_row, d->c.n_head_kv, d->c.head_dim, dtype);
    float *rows[2], *x = weir__backend_alloc(be, bytes);
    unsigned char *pool[2];
    for (int at_once = 0; at_once < 2; at_once++) {
        cr_assert_eq(weir__backend_upload(be, x, d->x, bytes), WEIR_OK);
        weir_rope a = rope_args(d, where, x, c.slot, c.pos, d->c.n_row);
        a.kv = at_once ? &c.kv : NULL, a.layer = CACHE_LAYER;
        cr_assert_eq(be->op.rope(be, &a), WEIR_OK, "%s", be->err.text);
        weir_kv_append append = cache_append(&c, a.k, a.v, a.ld, a.n_row);
        if (!at_once) cr_assert_eq(be->op.kv_append(be, &append), WEIR_OK, "%s", be->err.text);
        rows[at_once] = malloc(bytes);
        cr_assert_eq(weir__backend_download(be, rows[at_once], x, bytes), WEIR_OK);
        pool[at_once] = cache_take(&c);
    }
    cr_assert(memcmp(rows[0], rows[1], bytes) == 0, "rows are others with a cache"); /* their ends are NaN */
    cache_assert_same(&c, pool[1], pool[0], "rope");
    for (int i = 0; i < 2; i++) free(rows[i]), free(pool[i]);
    weir__backend_free(be, x);
    cache_free(&c);
}

rope_case rope_nth(int i) {
    static const int32_t dims[] = {2, 6, 10, 24, 33, 64, 80, 128, 200, 256},
                         heads[][2] = {{1, 1}, {4, 2}, {7, 1}, {3, 3}};
    const int32_t n = dims[i % 10];
    return (rope_case){.n_head = heads[i / 10][0],
                       .n_head_kv = heads[i / 10][1],
                       .head_dim = n,
                       .n_dim = i % 7 == 5            ? 0
                                : i % 7 == 3 || n % 2 ? n / 4 * 2
                                                      : n,
                       .n_row = 1 + i * 7 % 20,
                       .bias = i % 3 == 1,
                       .norm = i / 2 % 2,
                       .interleaved = i % 4 == 2,
                       .scale = i % 5 == 4 ? 1.4f : 1.0f,
                       .first = i % 6 == 1 ? 100000 : i};
}
