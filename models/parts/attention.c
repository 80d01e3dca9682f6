#include "models/parts/attention.h"

#include "kernels/weight/pack.h"
#include "models/parts/product.h"

/* ---- plan ---- */

enum {
    ATTEND_ROWS = 256, /* rows that attention has scratch for at once; the op cuts larger calls */
    ATTEND_GROUP = 32, /* of them, what it must have: a block's rows of a slot; larger groups go row by row */
    ATTEND_FLOATS = 16 << 20, /* beyond this many a decoder's long contexts are cut to fewer rows */
};

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static size_t more(size_t a, size_t b) { return a > b ? a : b; }

/* q, k and v in one product, two or three. */
static size_t product_floats(const model_shape *s, int64_t chunk) {
    const int64_t q = weir__inner(s), kv = weir__inner_kv(s), n[] = {q + 2 * kv, q + kv, q, 2 * kv, kv};
    size_t most = weir__linear_cuda_scratch_floats(s->dim, q, chunk);
    for (size_t i = 0; i < sizeof n / sizeof *n; i++)
        most = more(most, weir__linear_cuda_scratch_floats(n[i], s->dim, chunk));
    return most;
}

size_t weir__cross_floats(const model_shape *s, int64_t chunk) {
    const int64_t kv = weir__inner_kv(s);
    return more(weir__linear_cuda_scratch_floats(2 * kv, s->enc.dim, chunk),
                weir__linear_cuda_scratch_floats(kv, s->enc.dim, chunk));
}

static size_t attend_floats(const model_shape *s, int64_t chunk, int64_t n_row, int64_t n_key) {
    const int64_t keys = (n_key + WEIR_PAGE - 1) / WEIR_PAGE * WEIR_PAGE;
    const int64_t most = max64(min64(n_row, ATTEND_ROWS), chunk), few = min64(most, ATTEND_GROUP);
    const size_t all = weir__attention_cuda_scratch_floats(most, s->n_head, s->head_dim, keys, 0);
    if (all <= ATTEND_FLOATS || s->encoder) return all;
    return more(ATTEND_FLOATS, weir__attention_cuda_scratch_floats(few, s->n_head, s->head_dim, keys, 0));
}

size_t weir__attention_floats(const model_shape *s, int64_t chunk, int64_t n_row, int64_t n_key) {
    return more(product_floats(s, chunk), attend_floats(s, chunk, n_row, n_key));
}

/* ---- load ---- */

/* An encoder's weights, which prompts alone use, are whole on every rank. */
static attention_heads heads_of(const model_shape *s, weir_use use) {
    const weir_share own = use == WEIR_USE_ROWS ? s->own : weir__share_whole(s);
    return (attention_heads){.q = {s->n_head, own.head, own.n_head},
                             .kv = {s->n_head_kv, own.head_kv, own.n_head_kv},
                             .of_kv = s->n_head / s->n_head_kv,
                             .head_dim = s->head_dim};
}

static weir_span elements(weir_span heads, int32_t head_dim) {
    return (weir_span){heads.n * head_dim, heads.first * head_dim, heads.own * head_dim};
}

/* A rank without heads needs none, and one whose norm is over all makes them all. */
static attention_heads made_of(const attention_heads *h, bool norm_all_heads) {
    attention_heads made = *h;
    if (norm_all_heads && h->q.own > 0) made.q = weir__span_all(h->q.n), made.kv = weir__span_all(h->kv.n);
    return made;
}

static matrix_list list_of(const model_shape *s, const attention *a, const attention_names *n, weir_use use) {
    const int32_t head_dim = s->head_dim;
    return (matrix_list){.prefix = n->prefix,
                         .what = {n->q, n->k, n->v},
                         .fused = n->qkv,
                         .rows = {elements(a->made.q, head_dim), elements(a->made.kv, head_dim),
                                  elements(a->heads.kv, head_dim)},
                         .cols = weir__span_all(s->dim),
                         .n = 3,
                         .use = use};
}

static matrix_list output_of(const model_shape *s, const attention_heads *h, const attention_names *n,
                             weir_use use) {
    return (matrix_list){.prefix = n->prefix,
                         .what = {n->o},
                         .rows = {weir__span_all(s->dim)},
                         .cols = elements(h->q, h->head_dim),
                         .n = 1,
                         .use = use,
                         .inputs = SHARED_HEADS};
}

weir_status weir__attention_load(weights *w, const model_shape *s, const attention_names *n, weir_use use,
                                 attention *a) {
    a->heads = heads_of(s, use);
    a->made = made_of(&a->heads, s->norm_all_heads);
    const matrix_list qkv = list_of(s, a, n, use), o = output_of(s, &a->heads, n, use);
    const int64_t q_wide = s->norm_all_heads ? weir__inner(s) : s->head_dim,
                  k_wide = s->norm_all_heads ? weir__inner_kv(s) : s->head_dim;
    if (n->q_norm) WEIR_TRY(weir__load_norm(w, n->prefix, n->q_norm, q_wide, &a->q_norm));
    if (n->k_norm) WEIR_TRY(weir__load_norm(w, n->prefix, n->k_norm, k_wide, &a->k_norm));
    if (n->bias) WEIR_TRY(weir__load_bias(w, &qkv, &a->bias));
    if (n->sinks) WEIR_TRY(weir__load_vector(w, n->prefix, n->sinks, s->n_head, &a->sinks));
    if (n->o_bias) WEIR_TRY(weir__load_bias(w, &o, &a->o_bias));
    WEIR_TRY(weir__load_stacked(w, &qkv, a->qkv, &a->n_qkv));
    return weir__load_matrix(w, &o, &a->o);
}

void weir__attention_free(weir_backend *be, attention *a) {
    for (int i = 0; i < WEIR__PARTS; i++) weir__weight_free(be, &a->qkv[i]);
    weir__weight_free(be, &a->o);
}

weir_status weir__cross_load(weights *w, const model_shape *s, const attention_names *n, cross_attention *a) {
    const weir_span all = weir__span_all(weir__inner_kv(s));
    const matrix_list kv = {.prefix = n->prefix,
                            .what = {n->k, n->v},
                            .rows = {all, all},
                            .cols = weir__span_all(s->enc.dim),
                            .n = 2,
                            .use = WEIR_USE_PREFILL};
    a->heads = heads_of(s, WEIR_USE_ROWS);
    const matrix_list q = {.prefix = n->prefix,
                           .what = {n->q},
                           .rows = {elements(a->heads.q, s->head_dim)},
                           .cols = weir__span_all(s->dim),
                           .n = 1};
    const matrix_list o = output_of(s, &a->heads, n, WEIR_USE_ROWS);
    WEIR_TRY(weir__load_matrix(w, &q, &a->q));
    WEIR_TRY(weir__load_stacked(w, &kv, a->kv, &a->n_kv));
    return weir__load_matrix(w, &o, &a->o);
}

void weir__cross_free(weir_backend *be, cross_attention *a) {
    weir__weight_free(be, &a->q);
    for (int i = 0; i < a->n_kv; i++) weir__weight_free(be, &a->kv[i]);
    weir__weight_free(be, &a->o);
}

/* ---- run ---- */

/* The rows of q, k and v that products make, and this rank's k and v in them. */
static float *made_rows(const attention *a, const model_rows *r) {
    return r->q - (a->heads.q.first - a->made.q.first) * a->heads.head_dim;
}

static float *own_k(const attention *a, const model_rows *r) {
    return made_rows(a, r) + weir__heads_inner(&a->made) +
           (a->heads.kv.first - a->made.kv.first) * a->heads.head_dim;
}

static float *own_v(const attention *a, const model_rows *r) {
    return made_rows(a, r) + weir__heads_inner(&a->made) + weir__heads_inner_kv(&a->made);
}

/* Norms over all heads of q, and over all of k, in place. */
static weir_status norm_all_heads(weir_model *m, const attention *a, const model_rows *r) {
    const int64_t n_q = weir__heads_inner(&a->made);
    float *rows = made_rows(a, r);
    weir_rmsnorm q = {
        .y = rows, .x = rows, .w = a->q_norm, .n_row = r->n, .dim = n_q, .ld = r->ldq, .eps = m->eps};
    weir_rmsnorm k = q;
    k.x = k.y = rows + n_q, k.w = a->k_norm, k.dim = weir__heads_inner_kv(&a->made);
    WEIR_TRY(m->be->op.rmsnorm(m->be, &q));
    return m->be->op.rmsnorm(m->be, &k);
}

static weir_kv_append append_of(attention_cache c, const model_rows *r, const float *k, const float *v,
                                int64_t ld) {
    return (weir_kv_append){.kv = c.kv,
                            .k = k,
                            .v = v,
                            .ld = ld,
                            .slot = r->slot,
                            .pos = r->pos,
                            .n_row = r->n,
                            .layer = c.layer};
}

static weir_kv_append self_append(const attention *a, attention_cache c, const model_rows *r) {
    return append_of(c, r, own_k(a, r), own_v(a, r), r->ldq);
}

weir_status weir__attention_append(weir_model *m, const attention *a, attention_cache c,
                                   const model_rows *r) {
    weir_kv_append append = self_append(a, c, r);
    return a->heads.q.own > 0 ? m->be->op.kv_append(m->be, &append) : WEIR_OK;
}

/* Biases, norms of heads and rotation, in place, and into the cache. */
static weir_status position(weir_model *m, const attention *a, const attention_kind *kind, attention_cache c,
                            const model_rows *r) {
    const attention_heads *h = &a->heads;
    const bool norms = a->q_norm && !m->shape.norm_all_heads;
    weir_rope turn = {.q = r->q,
                      .k = own_k(a, r),
                      .v = own_v(a, r),
                      .ld = r->ldq,
                      .bias = a->bias,
                      .q_norm = norms ? a->q_norm : NULL,
                      .k_norm = norms ? a->k_norm : NULL,
                      .eps = m->eps,
                      .inv_freq = kind->inv_freq,
                      .scale = kind->rope_scale,
                      .slot = r->slot,
                      .pos = r->pos,
                      .n_row = r->n,
                      .n_head = (int32_t)h->q.own,
                      .n_head_kv = (int32_t)h->kv.own,
                      .head_dim = h->head_dim,
                      .n_dim = kind->n_dim,
                      .interleaved = kind->interleaved,
                      .kv = c.kv,
                      .layer = c.layer};
    if (m->shape.norm_all_heads) WEIR_TRY(norm_all_heads(m, a, r));
    if (!a->bias && !norms && !kind->inv_freq) return c.kv ? weir__attention_append(m, a, c, r) : WEIR_OK;
    return m->be->op.rope(m->be, &turn);
}

weir_status weir__attention_qkv(weir_model *m, const attention *a, const attention_kind *kind,
                                attention_cache c, const model_rows *r) {
    weir_linear p = {.x = r->x, .ldx = r->dim, .norm = a->norm, .y = made_rows(a, r), .ldy = r->ldq};
    const weir_kv_append append = self_append(a, c, r);
    if (a->heads.q.own == 0) return WEIR_OK;
    if (c.kv && a->n_qkv == 1 && !a->bias && !a->q_norm && !kind->inv_freq) { /* nothing comes between */
        p.w = &a->qkv[0];
        p.append = &append;
        return weir__product(m, r, p);
    }
    for (int i = 0; i < a->n_qkv; i++) {
        p.w = &a->qkv[i];
        WEIR_TRY(weir__product(m, r, p));
        p.y += a->qkv[i].n;
    }
    return position(m, a, kind, c, r);
}

static weir_status attend(weir_model *m, const attention_heads *h, const attention_kind *kind,
                          attention_cache c, const model_rows *r, const int32_t *n_key, const float *sinks) {
    const bool part = h->q.own < h->q.n;
    weir_attention at = {.kv = c.kv,
                         .q = r->q,
                         .ldq = r->ldq,
                         .o = m->a.att,
                         .ldo = weir__heads_inner(h),
                         .slot = r->slot,
                         .pos = r->pos,
                         .n_key = n_key,
                         .n_row = r->n,
                         .layer = c.layer,
                         .n_head = (int32_t)h->q.own,
                         .head = part ? (int32_t)(h->q.first - h->kv.first * h->of_kv) : 0,
                         .heads_of_kv = part ? h->of_kv : 0,
                         .scale = kind->scale,
                         .bias = kind->bias,
                         .bias_left = kind->bias_left,
                         .bias_right = kind->bias_right,
                         .sinks = sinks ? sinks + h->q.first : NULL,
                         .softcap = kind->softcap,
                         .window = kind->window,
                         .ahead = kind->ahead,
                         .group = r->group,
                         .prefill = r->prefill};
    return h->q.own > 0 ? m->be->op.attention(m->be, &at) : WEIR_OK;
}

weir_status weir__attention_output(weir_model *m, const attention *a, const attention_kind *kind,
                                   attention_cache c, const model_rows *r) {
    weir_bias bias = {.x = r->x, .ld = r->dim, .bias = a->o_bias, .n_row = r->n, .dim = r->dim};
    WEIR_TRY(attend(m, &a->heads, kind, c, r, r->n_key, a->sinks));
    WEIR_TRY(weir__residual(m, r, &a->o, m->has_heads, m->a.att, a->post));
    return a->o_bias ? m->be->op.bias(m->be, &bias) : WEIR_OK;
}

/* All heads' keys and values are made, as on one rank; those of this rank are kept. */
weir_status weir__cross_append(weir_model *m, const cross_attention *a, const float *norm, attention_cache c,
                               const model_rows *r) {
    const int64_t ld = 2 * weir__inner_kv(&m->shape);
    weir_linear kv = {.x = r->x, .ldx = r->dim, .norm = norm, .y = m->a.h, .ldy = ld};
    const float *k = m->a.h + a->heads.kv.first * a->heads.head_dim;
    weir_kv_append append = append_of(c, r, k, k + weir__inner_kv(&m->shape), ld);
    for (int i = 0; i < a->n_kv; i++) {
        kv.w = &a->kv[i];
        WEIR_TRY(weir__product(m, r, kv));
        kv.y += a->kv[i].n;
    }
    return a->heads.q.own > 0 ? m->be->op.kv_append(m->be, &append) : WEIR_OK;
}

weir_status weir__cross_output(weir_model *m, const cross_attention *a, const attention_kind *kind,
                               attention_cache c, const model_rows *r) {
    model_rows q = *r;
    q.q = m->a.qkv;
    q.ldq = a->q.n;
    const weir_linear p = {.x = r->x, .ldx = r->dim, .norm = a->norm, .w = &a->q, .y = q.q, .ldy = q.ldq};
    if (a->heads.q.own > 0) WEIR_TRY(weir__product(m, r, p));
    WEIR_TRY(attend(m, &a->heads, kind, c, &q, r->n_src, NULL));
    return weir__residual(m, r, &a->o, m->has_heads, m->a.att, a->post);
}
