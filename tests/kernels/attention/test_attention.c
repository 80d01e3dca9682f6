#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention/cpu.h"
#include "tests/kernels/op_fixture.h"
#include "tests/support/compare.h"

typedef struct shape {
    int32_t n_head, n_head_kv, head_dim;
    int32_t n_slot, max_key;
    int32_t bias_left, bias_right; /* bias_left < 0: none */
} shape;

/* A cache whose pages are in scattered order and hold NaN wherever nothing was appended, and the same keys
 * and values as plain arrays. */
typedef struct cache {
    shape s;
    weir_kv_view view;
    float *pool, *k, *v, *bias; /* k, v (n_slot, max_key, n_head_kv * head_dim) */
    int32_t *table;
    size_t pool_floats;
} cache;

enum { LAYERS = 2, LAYER = 1 };

static cache cache_new(const shape *s, uint64_t *rng) {
    cache c = {.s = *s};
    const int32_t pages = (s->max_key + WEIR_PAGE - 1) / WEIR_PAGE, n_page = pages * s->n_slot;
    const int64_t page_elems = weir__kv_page_elems(LAYERS, s->n_head_kv, s->head_dim);
    c.pool_floats = (size_t)(page_elems * n_page);
    c.pool = guarded_new(c.pool_floats); /* NaN everywhere */
    c.table = calloc((size_t)n_page, sizeof *c.table);
    for (int32_t i = 0; i < n_page; i++) c.table[i] = n_page - 1 - i;
    c.view =
        (weir_kv_view){c.pool, page_elems, c.table, pages, LAYERS, s->n_head_kv, s->head_dim, WEIR_DTYPE_F32};
    const size_t n = (size_t)s->n_slot * (size_t)s->max_key * (size_t)(s->n_head_kv * s->head_dim);
    c.k = floats_normal(n, 1.0f, rng);
    c.v = floats_normal(n, 1.0f, rng);
    const size_t n_bias = s->bias_left < 0 ? 1 : (size_t)(s->n_head * (s->bias_left + 1 + s->bias_right));
    c.bias = floats_normal(n_bias, 1.0f, rng);
    return c;
}

static void cache_free(cache *c) {
    guarded_free(c->pool), guarded_free(c->k), guarded_free(c->v), guarded_free(c->bias);
    free(c->table);
}

/* Positions [0, n_key) of every slot. */
static void append(weir_backend *be, cache *c, int32_t n_key) {
    const int64_t ld = c->s.n_head_kv * c->s.head_dim;
    for (int32_t slot = 0; slot < c->s.n_slot; slot++) {
        int32_t slots[256], pos[256];
        cr_assert(n_key <= 256);
        for (int32_t t = 0; t < n_key; t++) slots[t] = slot, pos[t] = t;
        const int64_t at = (int64_t)slot * c->s.max_key * ld;
        weir_kv_append a = {&c->view, c->k + at, c->v + at, ld, slots, pos, n_key, LAYER};
        cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK);
    }
    cr_assert(guarded_intact(c->pool, c->pool_floats));
}

/* The formula, in double, over the plain arrays; and the contract's bound. */
static void expect(const cache *c, const float *q, int32_t slot, int32_t pos, int32_t n_key, float scale,
                   double *want, double *bound) {
    const shape *s = &c->s;
    const int64_t ld = s->n_head_kv * s->head_dim;
    for (int32_t h = 0; h < s->n_head; h++) {
        const int32_t h_kv = h / (s->n_head / s->n_head_kv);
        const float *k = c->k + (int64_t)slot * s->max_key * ld + h_kv * s->head_dim;
        const float *v = c->v + (int64_t)slot * s->max_key * ld + h_kv * s->head_dim;
        double score[256], max = -INFINITY, sum = 0, mag = 0, max_v = 0;
        for (int32_t t = 0; t < n_key; t++) {
            double dot = 0, abs = 0;
            for (int32_t d = 0; d < s->head_dim; d++) {
                const double product = (double)q[h * s->head_dim + d] * (double)k[t * ld + d];
                dot += product, abs += fabs(product);
                max_v = fmax(max_v, fabs((double)v[t * ld + d]));
            }
            score[t] = (double)scale * dot;
            abs *= (double)scale;
            if (s->bias_left >= 0) {
                int32_t off = t - pos;
                if (off < -s->bias_left) off = -s->bias_left;
                if (off > s->bias_right) off = s->bias_right;
                const double b = (double)c->bias[h * (s->bias_left + 1 + s->bias_right) + off + s->bias_left];
                score[t] += b, abs += fabs(b);
            }
            max = fmax(max, score[t]), mag = fmax(mag, abs);
        }
        for (int32_t t = 0; t < n_key; t++) sum += score[t] = exp(score[t] - max);
        for (int32_t d = 0; d < s->head_dim; d++) {
            double o = 0;
            for (int32_t t = 0; t < n_key; t++) o += score[t] / sum * (double)v[t * ld + d];
            want[h * s->head_dim + d] = o;
            bound[h * s->head_dim + d] =
                0x1p-24 * max_v * (2 * (s->head_dim + 8) * mag + 2 * (double)n_key + 32);
        }
    }
}

typedef struct rows {
    int32_t slot[16], pos[16], n_key[16], n;
    float *q;
    int64_t ld;
} rows;

static rows rows_new(const cache *c, const int32_t *n_key, int32_t n, bool causal, uint64_t *rng) {
    rows r = {.n = n, .ld = c->s.n_head * c->s.head_dim + 5};
    for (int32_t i = 0; i < n; i++) {
        r.slot[i] = (int32_t)(rng_u64(rng) % (uint64_t)c->s.n_slot);
        r.n_key[i] = n_key[i];
        r.pos[i] = causal ? n_key[i] - 1 : (int32_t)(rng_u64(rng) % (uint64_t)n_key[i]);
    }
    r.q = floats_normal((size_t)(n * r.ld), 1.0f, rng);
    return r;
}

static void run(weir_backend *be, const cache *c, const rows *r, int32_t first, int32_t n, float *o,
                int64_t ldo) {
    weir_attention a = {.kv = &c->view,
                        .q = r->q + first * r->ld,
                        .ldq = r->ld,
                        .o = o,
                        .ldo = ldo,
                        .slot = r->slot + first,
                        .pos = r->pos + first,
                        .n_key = r->n_key + first,
                        .n_row = n,
                        .layer = LAYER,
                        .n_head = c->s.n_head,
                        .scale = 0.3f,
                        .bias = c->s.bias_left < 0 ? NULL : c->bias,
                        .bias_left = c->s.bias_left,
                        .bias_right = c->s.bias_right};
    cr_assert_eq(be->op.attention(be, &a), WEIR_OK);
}

static const int32_t KEYS[] = {1, 2, 15, 16, 17, 33, 63, 64, 65, 127, 128, 129, 200, 50};
enum { N_KEYS = sizeof KEYS / sizeof KEYS[0], MAX_KEY = 200 };

static const shape SHAPES[] = {
    {4, 4, 64, 2, MAX_KEY, 20, 0},    {2, 2, 32, 3, MAX_KEY, 128, 127}, {6, 2, 16, 1, MAX_KEY, -1, 0},
    {4, 1, 80, 2, MAX_KEY, 0, 0},     {1, 1, 1, 1, MAX_KEY, 5, 5},      {3, 3, 7, 1, MAX_KEY, -1, 0},
    {2, 1, 33, 2, MAX_KEY, 300, 300}, {2, 2, 128, 1, MAX_KEY, 63, 1},   {1, 1, 300, 1, MAX_KEY, -1, 0},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

Test(attention, every_shape_and_page_edge_is_within_its_bound) {
    uint64_t rng = 101;
    for (int i = 0; i < N_SHAPES; i++) {
        cache c = cache_new(&SHAPES[i], &rng);
        const int64_t width = c.s.n_head * c.s.head_dim, ldo = width + 3;
        double *want = calloc((size_t)width, sizeof *want), *bound = calloc((size_t)width, sizeof *bound);
        float *o = guarded_new((size_t)(N_KEYS * ldo));
        for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
            weir_backend *be = open_backend(2, (weir_isa)isa);
            append(be, &c, MAX_KEY);
            rows r = rows_new(&c, KEYS, N_KEYS, i % 2 == 0, &rng);
            run(be, &c, &r, 0, r.n, o, ldo);
            for (int32_t j = 0; j < r.n; j++) {
                char what[128];
                snprintf(what, sizeof what, "%s shape %d n_key %d", weir__isa_name(be->isa), i, r.n_key[j]);
                expect(&c, r.q + j * r.ld, r.slot[j], r.pos[j], r.n_key[j], 0.3f, want, bound);
                assert_within(o + j * ldo, want, bound, (size_t)width, what);
            }
            cr_assert(guarded_intact(o, (size_t)(N_KEYS * ldo)));
            guarded_free(r.q);
            weir__backend_close(be);
        }
        guarded_free(o);
        free(want), free(bound);
        cache_free(&c);
    }
}

/* The cache holds exactly the keys of the row; everything after them is NaN. */
Test(attention, stale_positions_behind_a_row_are_never_used) {
    uint64_t rng = 111;
    for (int i = 0; i < N_SHAPES; i++) {
        for (int j = 0; j < N_KEYS; j++) {
            for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
                weir_backend *be = open_backend(1, (weir_isa)isa);
                cache c = cache_new(&SHAPES[i], &rng);
                append(be, &c, KEYS[j]);
                rows r = rows_new(&c, &KEYS[j], 1, true, &rng);
                const size_t width = (size_t)(c.s.n_head * c.s.head_dim);
                float *o = guarded_new(width);
                run(be, &c, &r, 0, 1, o, (int64_t)width);
                for (size_t d = 0; d < width; d++)
                    cr_assert(isfinite(o[d]), "isa %d shape %d n_key %d", isa, i, KEYS[j]);
                guarded_free(o), guarded_free(r.q);
                cache_free(&c);
                weir__backend_close(be);
            }
        }
    }
}

/* Equal scores: the mean of the values. One key: its value, to the bit. */
Test(attention, closed_forms) {
    uint64_t rng = 121;
    const shape s = {2, 1, 24, 1, MAX_KEY, -1, 0};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(2, (weir_isa)isa);
        cache c = cache_new(&s, &rng);
        for (int64_t i = 0; i < MAX_KEY * 24; i++) c.v[i] = (float)(i / 24 % 4); /* mean 1.5 over 4 m keys */
        append(be, &c, MAX_KEY);
        const int32_t n_key[] = {1, 4, 64, 128, 192};
        rows r = rows_new(&c, n_key, 5, true, &rng);
        for (int64_t i = 48; i < 5 * r.ld; i++) r.q[i] = 0.0f;
        float o[5 * 48];
        run(be, &c, &r, 0, 5, o, 48);
        for (int i = 0; i < 5 * 48; i++) {
            const float want = i < 48 ? 0.0f : 1.5f;
            cr_assert(fabsf(o[i] - want) <= (i < 48 ? 0.0f : 2e-6f), "%s [%d] %.9g", weir__isa_name(be->isa),
                      i, (double)o[i]);
        }
        guarded_free(r.q);
        cache_free(&c);
        weir__backend_close(be);
    }
}

/* Scores that differ by thousands: the weights are 0 and 1, and the largest may come first or last. */
Test(attention, far_apart_scores_pick_one_value) {
    uint64_t rng = 131;
    const shape s = {1, 1, 16, 1, MAX_KEY, MAX_KEY, 0};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        for (int32_t best = 0; best < 150; best += 37) {
            weir_backend *be = open_backend(1, (weir_isa)isa);
            cache c = cache_new(&s, &rng);
            append(be, &c, 150);
            const int32_t n_key = 150;
            rows r = rows_new(&c, &n_key, 1, true, &rng);
            for (int32_t t = 0; t < 150; t++) {
                c.bias[t - r.pos[0] + MAX_KEY] = t == best ? 5000.0f : -5000.0f * (float)(1 + t % 3);
            }
            float o[16];
            run(be, &c, &r, 0, 1, o, 16);
            for (int d = 0; d < 16; d++) {
                cr_assert_eq(o[d], c.v[best * 16 + d], "%s best %d", weir__isa_name(be->isa), best);
            }
            guarded_free(r.q);
            cache_free(&c);
            weir__backend_close(be);
        }
    }
}

Test(attention, a_row_has_the_same_bits_alone_in_company_and_with_any_threads) {
    uint64_t rng = 141;
    for (int i = 0; i < N_SHAPES; i++) {
        cache c = cache_new(&SHAPES[i], &rng);
        rows r = rows_new(&c, KEYS, N_KEYS, true, &rng);
        const int64_t width = c.s.n_head * c.s.head_dim;
        float *alone = guarded_new((size_t)(N_KEYS * width)), *o = guarded_new((size_t)(N_KEYS * width));
        for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
            for (int n_thread = 1; n_thread <= 3; n_thread++) {
                weir_backend *be = open_backend(n_thread, (weir_isa)isa);
                append(be, &c, MAX_KEY);
                if (n_thread == 1) {
                    for (int32_t j = 0; j < r.n; j++) run(be, &c, &r, j, 1, alone + j * width, width);
                }
                for (int32_t n = 1; n <= r.n; n += 3) {
                    run(be, &c, &r, r.n - n, n, o, width);
                    assert_same(o, alone + (r.n - n) * width, (size_t)(n * width), weir__isa_name(be->isa));
                }
                weir__backend_close(be);
            }
        }
        guarded_free(alone), guarded_free(o), guarded_free(r.q);
        cache_free(&c);
    }
}

Test(kv_append, writes_its_positions_and_nothing_else) {
    uint64_t rng = 151;
    const shape s = {2, 2, 5, 2, 130, -1, 0};
    weir_backend *be = open_backend(1, weir__isa_best());
    cache c = cache_new(&s, &rng);
    const int32_t slot[3] = {1, 0, 1}, pos[3] = {64, 129, 63};
    weir_kv_append a = {&c.view, c.k, c.v, 10, slot, pos, 3, LAYER};
    cr_assert_eq(be->op.kv_append(be, &a), WEIR_OK);
    size_t written = 0;
    for (size_t i = 0; i < c.pool_floats; i++) written += !isnan(c.pool[i]);
    cr_assert_eq(written, 3 * 2 * 10);
    for (int r = 0; r < 3; r++) {
        for (int i = 0; i < 10; i++) {
            const float *k = weir__kv_block(&c.view, slot[r], pos[r], LAYER, i / 5), *v = k + 5 * WEIR_PAGE;
            cr_assert_eq(k[i % 5 * WEIR_PAGE + pos[r] % WEIR_PAGE], c.k[r * 10 + i]);
            cr_assert_eq(v[pos[r] % WEIR_PAGE * 5 + i % 5], c.v[r * 10 + i]);
        }
    }
    cr_assert(guarded_intact(c.pool, c.pool_floats));
    cache_free(&c);
    weir__backend_close(be);
}

Test(attention, refuses_what_its_contract_refuses) {
    uint64_t rng = 161;
    const shape s = {2, 2, 4, 1, 64, -1, 0};
    for (int isa = 0; isa <= (int)weir__isa_best(); isa++) {
        weir_backend *be = open_backend(1, (weir_isa)isa);
        cache c = cache_new(&s, &rng);
        float q[8] = {0}, o[8];
        const int32_t zero = 0, one = 1;
        const weir_attention good = {.kv = &c.view,
                                     .q = q,
                                     .ldq = 8,
                                     .o = o,
                                     .ldo = 8,
                                     .slot = &zero,
                                     .pos = &zero,
                                     .n_key = &one,
                                     .n_row = 1,
                                     .layer = 0,
                                     .n_head = 2,
                                     .scale = 1};
        weir_attention bad[11];
        for (int i = 0; i < 11; i++) bad[i] = good;
        bad[0].kv = NULL, bad[1].q = NULL, bad[2].o = NULL, bad[3].slot = NULL, bad[4].pos = NULL,
        bad[5].n_key = NULL;
        bad[6].n_row = -1, bad[7].layer = LAYERS, bad[8].layer = -1, bad[9].n_head = 3, bad[10].n_head = 0;
        for (int i = 0; i < 11; i++)
            cr_assert_eq(be->op.attention(be, &bad[i]), WEIR_EINVAL, "isa %d case %d", isa, i);
        const weir_kv_append ok = {&c.view, q, q, 8, &zero, &zero, 1, 0};
        weir_kv_append no[5] = {ok, ok, ok, ok, ok};
        no[0].ld = 7, no[1].layer = LAYERS, no[2].k = NULL, no[3].n_row = -1, no[4].kv = NULL;
        for (int i = 0; i < 5; i++)
            cr_assert_eq(be->op.kv_append(be, &no[i]), WEIR_EINVAL, "isa %d append %d", isa, i);
        cache_free(&c);
        weir__backend_close(be);
    }
}
