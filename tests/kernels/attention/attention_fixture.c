#include "tests/kernels/attention/attention_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

enum { NO_PAGE = 0x3fffffff }; /* far outside every pool */

const int32_t att_keys[ATT_KEYS] = {1, 2, 15, 16, 17, 33, 63, 64, 65, 127, 128, 129, ATT_MAX_KEY, 50};
const int32_t att_full[4] = {ATT_MAX_KEY, ATT_MAX_KEY, ATT_MAX_KEY, ATT_MAX_KEY};

static void *upload(weir_backend *be, const void *src, size_t bytes) {
    void *p = weir__backend_alloc(be, bytes);
    cr_assert(p);
    cr_assert_eq(weir__backend_upload(be, p, src, bytes), WEIR_OK);
    return p;
}

static void upload_table(att_cache *c) {
    const size_t n = (size_t)(c->c.n_slot * c->view.table_stride);
    cr_assert_eq(weir__backend_upload(c->be, (void *)c->view.table, c->table, n * sizeof *c->table), WEIR_OK);
}

/* Page numbers in random order over the pool; positions a slot has not reached have none. */
static void make_table(att_cache *c, int64_t stride, uint64_t *rng) {
    const int32_t n_page = (int32_t)(c->c.n_slot * stride);
    c->table = malloc((size_t)n_page * sizeof *c->table);
    cr_assert(c->table);
    for (int32_t i = 0; i < n_page; i++) c->table[i] = i;
    for (int32_t i = n_page - 1; i > 0; i--) {
        const int32_t j = (int32_t)(rng_u64(rng) % (uint64_t)(i + 1)), t = c->table[i];
        c->table[i] = c->table[j], c->table[j] = t;
    }
    for (int32_t s = 0; s < c->c.n_slot; s++) {
        for (int64_t p = (c->n_key[s] + WEIR_PAGE - 1) / WEIR_PAGE; p < stride; p++)
            c->table[s * stride + p] = NO_PAGE;
    }
}

static void append(att_cache *c) {
    const int64_t ld = (int64_t)c->c.n_head_kv * c->c.head_dim;
    for (int32_t s = 0; s < c->c.n_slot; s++) {
        const size_t n = (size_t)c->n_key[s], at = (size_t)(s * c->c.max_key * ld);
        if (n == 0) continue;
        int32_t *slot = malloc(n * sizeof *slot), *pos = malloc(n * sizeof *pos);
        cr_assert(slot && pos);
        for (size_t t = 0; t < n; t++) slot[t] = s, pos[t] = (int32_t)t;
        float *k = upload(c->be, c->k + at, n * (size_t)ld * sizeof *k),
              *v = upload(c->be, c->v + at, n * (size_t)ld * sizeof *v);
        int32_t *slot_d = upload(c->be, slot, n * sizeof *slot), *pos_d = upload(c->be, pos, n * sizeof *pos);
        weir_kv_append a = {&c->view, k, v, ld, slot_d, pos_d, (int64_t)n, ATT_LAYER};
        cr_assert_eq(c->be->op.kv_append(c->be, &a), WEIR_OK);
        cr_assert_eq(c->be->stream->wait(c->be), WEIR_OK);
        weir__backend_free(c->be, k), weir__backend_free(c->be, v);
        weir__backend_free(c->be, slot_d), weir__backend_free(c->be, pos_d);
        free(slot), free(pos);
    }
}

static void round_bf16(float *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = weir_f32_from_bf16(weir_bf16_from_f32(p[i]));
}

att_cache *att_cache_new(weir_backend *be, const att_case *s, const int32_t *n_key, uint64_t *rng) {
    att_cache *c = calloc(1, sizeof *c);
    cr_assert(c);
    c->c = *s, c->be = be;
    c->n_key = malloc((size_t)s->n_slot * sizeof *c->n_key);
    memcpy(c->n_key, n_key, (size_t)s->n_slot * sizeof *c->n_key);
    const int64_t stride = (s->max_key + WEIR_PAGE - 1) / WEIR_PAGE,
                  page = weir__kv_page_elems(ATT_LAYERS, s->n_head_kv, s->head_dim);
    make_table(c, stride, rng);
    c->pool_bytes = (size_t)(stride * s->n_slot * page * weir_dtype_bytes(s->dtype));
    unsigned char *poison = malloc(c->pool_bytes);
    memset(poison, 0xff, c->pool_bytes); /* NaN in f32 and bf16 */
    void *pool = upload(be, poison, c->pool_bytes);
    free(poison);
    const int32_t *table = upload(be, c->table, (size_t)(s->n_slot * stride) * sizeof *c->table);
    c->view = (weir_kv_view){pool, page, table, stride, ATT_LAYERS, s->n_head_kv, s->head_dim, s->dtype};
    const size_t n = (size_t)s->n_slot * (size_t)s->max_key * (size_t)(s->n_head_kv * s->head_dim);
    c->k = floats_normal(n, 1.0f, rng), c->v = floats_normal(n, 1.0f, rng);
    append(c);
    if (s->dtype == WEIR_DTYPE_BF16) round_bf16(c->k, n), round_bf16(c->v, n); /* the op rounds as well */
    const size_t n_bias = s->bias ? (size_t)s->n_head * (size_t)(s->bias_left + 1 + s->bias_right) : 1;
    c->bias = floats_normal(n_bias, 1.0f, rng);
    c->device_bias = upload(be, c->bias, n_bias * sizeof *c->bias);
    c->sinks = guarded_new((size_t)s->n_head);
    for (int32_t h = 0; h < s->n_head; h++)
        c->sinks[h] = s->sink + (s->sinks ? (float)rng_normal(rng) : 0.0f);
    c->device_sinks = upload(be, c->sinks, (size_t)s->n_head * sizeof *c->sinks);
    return c;
}

void att_cache_free(att_cache *c) {
    weir__backend_free(c->be, c->view.pool), weir__backend_free(c->be, (void *)c->view.table);
    weir__backend_free(c->be, c->device_bias), weir__backend_free(c->be, c->device_sinks);
    guarded_free(c->k), guarded_free(c->v), guarded_free(c->bias), guarded_free(c->sinks);
    free(c->table), free(c->n_key), free(c);
}

void att_cache_release(att_cache *c, int32_t slot, int32_t first) {
    for (int64_t p = 0; p < first / WEIR_PAGE; p++) c->table[slot * c->view.table_stride + p] = NO_PAGE;
    upload_table(c);
}

att_rows att_rows_new(const att_cache *c, int32_t n, uint64_t *rng) {
    cr_assert(n <= ATT_ROWS);
    att_rows r = {.n = n, .group = 1, .ld = (int64_t)c->c.n_head * c->c.head_dim + 3};
    r.q = floats_normal((size_t)(n * r.ld), 1.0f, rng);
    return r;
}

att_rows att_rows_causal(const att_cache *c, uint64_t *rng) {
    att_rows r = att_rows_new(c, ATT_KEYS, rng);
    for (int32_t i = 0; i < ATT_KEYS; i++) {
        r.slot[i] = (int32_t)(rng_u64(rng) % (uint64_t)c->c.n_slot);
        r.n_key[i] = att_keys[i], r.pos[i] = att_keys[i] - 1;
    }
    return r;
}

att_rows att_rows_groups(const att_cache *c, int32_t group, uint64_t *rng) {
    att_rows r = att_rows_new(c, c->c.n_slot * group, rng);
    r.group = group;
    for (int32_t i = 0; i < r.n; i++) {
        r.slot[i] = i / group;
        const int32_t pos = c->n_key[r.slot[i]] - group + i % group;
        r.pos[i] = pos;
        if (pos < 0) r.slot[i] = -1; /* a slot shorter than the group: dead rows before it */
        r.n_key[i] = pos + 1;
    }
    return r;
}

void att_rows_free(att_rows *r) { guarded_free(r->q); }

weir_status att_try(const att_cache *c, const att_rows *r, int32_t first, int32_t n, float *o) {
    weir_backend *be = c->be;
    const int64_t width = (int64_t)c->c.n_head * c->c.head_dim, ldo = width + 5;
    const size_t n_o = (size_t)(n * ldo);
    float *host = guarded_new(n_o + 1),
          *q = upload(be, r->q + first * r->ld, (size_t)(n * r->ld) * sizeof *q);
    float *out = upload(be, host - GUARD, (n_o + 2 * GUARD) * sizeof *out);
    int32_t *slot = upload(be, r->slot + first, (size_t)n * sizeof *slot);
    int32_t *pos = upload(be, r->pos + first, (size_t)n * sizeof *pos);
    int32_t *n_key = upload(be, r->n_key + first, (size_t)n * sizeof *n_key);
    weir_attention a = {.kv = &c->view,
                        .q = q,
                        .ldq = r->ld,
                        .o = out + GUARD,
                        .ldo = ldo,
                        .slot = slot,
                        .pos = pos,
                        .n_key = n_key,
                        .n_row = n,
                        .layer = ATT_LAYER,
                        .n_head = c->c.n_head,
                        .scale = ATT_SCALE,
                        .bias = c->c.bias ? c->device_bias : NULL,
                        .bias_left = c->c.bias_left,
                        .bias_right = c->c.bias_right,
                        .sinks = c->c.sinks ? c->device_sinks : NULL,
                        .softcap = c->c.softcap,
                        .window = c->c.window,
                        .ahead = c->c.ahead,
                        .group = r->group,
                        .prefill = r->prefill};
    const weir_status status = be->op.attention(be, &a);
    cr_assert_eq(weir__backend_download(be, host - GUARD, out, (n_o + 2 * GUARD) * sizeof *out), WEIR_OK);
    if (status == WEIR_OK) {
        float *poison = guarded_new(n_o + 1);
        for (int32_t j = 0; j < n; j++) {
            memcpy(o + j * width, host + j * ldo, (size_t)width * sizeof *o);
            memcpy(host + j * ldo, poison, (size_t)width * sizeof *o);
        }
        cr_assert_eq(memcmp(host - GUARD, poison - GUARD, (n_o + 2 * GUARD) * sizeof *host), 0,
                     "written outside of the rows");
        guarded_free(poison);
    }
    weir__backend_free(be, q), weir__backend_free(be, out);
    weir__backend_free(be, slot), weir__backend_free(be, pos), weir__backend_free(be, n_key);
    guarded_free(host);
    return status;
}

void att_run(const att_cache *c, const att_rows *r, int32_t first, int32_t n, float *o) {
    const weir_status status = att_try(c, r, first, n, o);
    cr_assert_eq(status, WEIR_OK, "%s: %s", weir_status_str(status), c->be->err.text);
}

static double score(const att_cache *c, const att_rows *r, int32_t row, int32_t h, int32_t t, double *size) {
    const att_case *s = &c->c;
    const int64_t ld = (int64_t)s->n_head_kv * s->head_dim;
    const float *q = r->q + row * r->ld + h * s->head_dim;
    const float *k =
        c->k + ((int64_t)r->slot[row] * s->max_key + t) * ld + h / (s->n_head / s->n_head_kv) * s->head_dim;
    double dot = 0, abs = 0;
    for (int32_t d = 0; d < s->head_dim; d++) {
        const double product = (double)ATT_SCALE * (double)q[d] * (double)k[d];
        dot += product, abs += fabs(product);
    }
    if (s->softcap > 0) dot = (double)s->softcap * tanh(dot / (double)s->softcap);
    if (s->bias) {
        const int32_t at = t - r->pos[row];
        const int32_t d = at < -s->bias_left ? -s->bias_left : at > s->bias_right ? s->bias_right : at;
        const double b = (double)c->bias[h * (s->bias_left + 1 + s->bias_right) + s->bias_left + d];
        dot += b, abs += fabs(b);
    }
    *size = fmax(*size, abs);
    return dot;
}

void att_expect(const att_cache *c, const att_rows *r, int32_t row, bool tensor_cores, double *want,
                double *bound) {
    const att_case *s = &c->c;
    for (int32_t i = 0; i < s->n_head * s->head_dim; i++) want[i] = bound[i] = 0;
    if (r->slot[row] < 0) return; /* its other fields may be anything */
    const int32_t n = r->n_key[row], begin = s->window > 0 ? r->pos[row] + 1 - s->window : 0,
                  first = begin < 0 ? 0 : begin;
    if (first >= n) return;
    double *p = malloc((size_t)n * sizeof *p);
    cr_assert(p);
    for (int32_t h = 0; h < s->n_head; h++) {
        const int64_t ld = (int64_t)s->n_head_kv * s->head_dim;
        const float *v =
            c->v + (int64_t)r->slot[row] * s->max_key * ld + h / (s->n_head / s->n_head_kv) * s->head_dim;
        double max = -INFINITY, sum = 0, size = 0, max_v = 0;
        for (int32_t t = first; t < n; t++) max = fmax(max, p[t] = score(c, r, row, h, t, &size));
        for (int32_t t = first; t < n; t++) sum += p[t] = exp(p[t] - max);
        if (s->sinks) sum += exp((double)c->sinks[h] - max);
        const double e = size * (s->head_dim + (s->softcap > 0 ? 24 : 8));
        for (int32_t d = 0; d < s->head_dim; d++) {
            double *o = &want[h * s->head_dim + d];
            for (int32_t t = first; t < n; t++) {
                *o += p[t] / sum * (double)v[t * ld + d];
                max_v = fmax(max_v, fabs((double)v[t * ld + d]));
            }
        }
        const int32_t more = s->sinks ? 40 : 32;
        const double near = 0x1p-24 * (2 * e + 2 * n + more);
        const double tensor = expm1(2 * (0x1p-8 * size + 0x1p-22 * e)) + 0x1p-8 + 0x1p-22 * (n + more);
        for (int32_t d = 0; d < s->head_dim; d++)
            bound[h * s->head_dim + d] = max_v * (tensor_cores ? tensor : near);
    }
    free(p);
}

void att_check(const att_cache *c, const att_rows *r, bool tensor_cores, const char *what) {
    const size_t width = (size_t)(c->c.n_head * c->c.head_dim);
    double *want = malloc(width * sizeof *want), *bound = malloc(width * sizeof *bound);
    float *o = guarded_new((size_t)r->n * width);
    cr_assert(want && bound);
    att_run(c, r, 0, r->n, o);
    for (int32_t row = 0; row < r->n; row++) {
        char msg[256], line[400];
        att_expect(c, r, row, tensor_cores, want, bound);
        (void)snprintf(line, sizeof line, "%s: row %d slot %d pos %d n_key %d", what, row, r->slot[row],
                       r->pos[row], r->n_key[row]);
        for (size_t i = 0; i < width; i++) {
            cr_assert(
                close_f32(o + (size_t)row * width + i, want + i, 1, bound[i], 0.0, INFINITY, msg, sizeof msg),
                "%s: [%zu]: %s", line, i, msg);
        }
    }
    guarded_free(o);
    free(want), free(bound);
}
