#include "tests/kernels/attention/early_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "kernels/weight/pack.h"
#include "tests/kernels/linear/device_product.h"
#include "tests/support/compare.h"
#include "tests/support/device.h"

enum { K = 48, MOST_KEYS = 384 };

typedef struct chain {
    weir_backend *be;
    const early_case *c;
    att_cache *cache;
    device_product p;
    int32_t n_row;
    int32_t *batch;                  /* slot, pos (n_row); the length of each slot's source */
    int32_t *slot, *pos, *key, *src; /* (n_row): what row_keys makes of them */
    float *inv_freq, *o, *nothing;
} chain;

static bool own_keys(const early_case *c) { return c->kind != EARLY_CROSS; }

/* Rows of `group` consecutive positions, the last of them the slot's last. */
static void put_rows(chain *x) {
    const early_case *c = x->c;
    int32_t *at = calloc((size_t)(2 * x->n_row + c->n_slot), sizeof *at);
    cr_assert(at);
    for (int32_t i = 0; i < x->n_row; i++) {
        const int32_t s = i / c->group, pos = c->n_key[s] - c->group + i % c->group;
        at[i] = pos < 0 ? -1 : s;
        at[x->n_row + i] = pos < 0 ? 0 : pos;
    }
    for (int32_t s = 0; s < c->n_slot; s++) at[2 * x->n_row + s] = c->n_key[s];
    x->batch = device_put(x->be, at, (size_t)(2 * x->n_row + c->n_slot) * sizeof *at);
    free(at);
}

static void make_keys(const chain *x) {
    const weir_row_keys k = {.slot = x->batch,
                             .pos = x->batch + x->n_row,
                             .cross_len = x->batch + 2 * x->n_row,
                             .n_row = x->n_row,
                             .out_slot = x->slot,
                             .out_pos = x->pos,
                             .n_key = x->key,
                             .n_src = x->src};
    weir_row_keys args = k;
    cr_assert_eq(x->be->op.row_keys(x->be, &args), WEIR_OK);
}

static void make_q(const chain *x) {
    const early_case *c = x->c;
    const data *d = x->p.d;
    float *k = x->p.y + c->n_head * c->head_dim, *v = k + c->n_head_kv * c->head_dim;
    weir_kv_append append = {.kv = &x->cache->view,
                             .k = k,
                             .v = v,
                             .ld = d->ldy,
                             .slot = x->slot,
                             .pos = x->pos,
                             .n_row = x->n_row,
                             .layer = ATT_LAYER};
    weir_linear a = {.x = x->p.x,
                     .ldx = d->ldx,
                     .norm = x->p.norm,
                     .eps = LINEAR_EPS,
                     .w = &x->p.w,
                     .y = x->p.y,
                     .ldy = d->ldy,
                     .n_row = x->n_row,
                     .scale = 1.0f,
                     .rows = true,
                     .append = c->kind == EARLY_PRODUCT || c->kind == EARLY_OTHER ? &append : NULL};
    cr_assert_eq(x->be->op.linear(x->be, &a), WEIR_OK);
    if (c->kind == EARLY_APPEND) cr_assert_eq(x->be->op.kv_append(x->be, &append), WEIR_OK);
    if (c->kind != EARLY_ROPE) return;
    make_keys(x);
    weir_rope turn = {.q = x->p.y,
                      .k = k,
                      .v = v,
                      .ld = d->ldy,
                      .inv_freq = x->inv_freq,
                      .scale = 1.0f,
                      .slot = x->slot,
                      .pos = x->pos,
                      .n_row = x->n_row,
                      .n_head = c->n_head,
                      .n_head_kv = c->n_head_kv,
                      .head_dim = c->head_dim,
                      .n_dim = c->head_dim / 2 * 2,
                      .kv = &x->cache->view,
                      .layer = ATT_LAYER};
    cr_assert_eq(x->be->op.rope(x->be, &turn), WEIR_OK);
}

static void attend(const chain *x, bool paused, float *o) {
    const early_case *c = x->c;
    const int64_t width = (int64_t)c->n_head * c->head_dim;
    weir_attention a = {.kv = &x->cache->view,
                        .q = x->p.y,
                        .ldq = x->p.d->ldy,
                        .o = x->o,
                        .ldo = width,
                        .slot = x->slot,
                        .pos = c->kind == EARLY_OTHER ? x->src : x->pos,
                        .n_key = own_keys(c) ? x->key : x->src,
                        .n_row = x->n_row,
                        .layer = ATT_LAYER,
                        .n_head = c->n_head,
                        .scale = ATT_SCALE,
                        .window = c->window,
                        .group = c->group};
    if (c->kind != EARLY_ROPE) make_keys(x); /* else after the product: the rotation alone lies between */
    make_q(x);
    if (paused) cr_assert_eq(weir__backend_zero(x->be, x->nothing, sizeof *x->nothing), WEIR_OK);
    cr_assert_eq(x->be->op.attention(x->be, &a), WEIR_OK);
    device_get(x->be, o, x->o, (size_t)(x->n_row * width) * sizeof *o);
}

static att_cache *cache_for(weir_backend *be, const early_case *c, uint64_t *rng) {
    const att_case a = {.n_head = c->n_head,
                        .n_head_kv = c->n_head_kv,
                        .head_dim = c->head_dim,
                        .n_slot = c->n_slot,
                        .max_key = MOST_KEYS,
                        .dtype = c->dtype};
    const size_t floats = weir__attention_cuda_scratch_floats((int64_t)c->n_slot * c->group, c->n_head,
                                                              c->head_dim, MOST_KEYS, c->window);
    cr_assert_eq(weir__backend_reserve(be, floats), WEIR_OK);
    return att_cache_new(be, &a, c->n_key, rng);
}

static void chain_free(chain *x) {
    void *const mine[] = {x->batch, x->slot, x->pos, x->key, x->src, x->inv_freq, x->o, x->nothing};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) weir__backend_free(x->be, mine[i]);
    device_product_free(&x->p);
    att_cache_free(x->cache);
}

float *early_run(weir_backend *be, const early_case *c, uint64_t seed, bool paused) {
    uint64_t rng = seed;
    const int32_t n_row = c->n_slot * c->group, heads = c->n_head + (own_keys(c) ? 2 * c->n_head_kv : 0);
    const product p = {.n = (int64_t)heads * c->head_dim,
                       .k = K,
                       .n_row = n_row,
                       .dtype = WEIR_DTYPE_BF16,
                       .norm = true,
                       .rows = true,
                       .scale = 1.0f};
    const size_t ints = (size_t)n_row * sizeof(int32_t);
    const size_t n = (size_t)n_row * (size_t)c->n_head * (size_t)c->head_dim;
    data d = data_new(&p, &rng);
    float *freq = floats_normal((size_t)c->head_dim, 0.1f, &rng);
    chain x = {.be = be, .c = c, .cache = cache_for(be, c, &rng), .n_row = n_row};
    x.p = device_product_new(be, &d, WEIR_USE_ROWS);
    device_product_reserve(&x.p);
    put_rows(&x);
    x.slot = device_room(be, ints), x.pos = device_room(be, ints);
    x.key = device_room(be, ints), x.src = device_room(be, ints);
    x.inv_freq = device_put(be, freq, (size_t)c->head_dim * sizeof *freq);
    x.o = device_room(be, n * sizeof(float)), x.nothing = device_room(be, sizeof(float));

    float *first = guarded_new(n), *again = guarded_new(n);
    attend(&x, paused, first); /* the rows' positions hold other keys until then */
    attend(&x, true, again);
    assert_same(first, again, n, "attention, early and late");
    guarded_free(again), guarded_free(freq);
    chain_free(&x);
    data_free(&d);
    return first;
}
