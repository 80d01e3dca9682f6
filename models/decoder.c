/* The order of ops of the decoder-only families. RMSNorm before a sub-layer lies inside the linear op that reads it.
 *
 *   layer    x += post(O·attention(rope(qkv(norm x))))    K, V appended first; keys [0, pos], or the last `window` of them
 *            x += post(down·(act(gate(norm x)) up(norm x)))
 *   logits   cap(head(norm x))
 *
 * post is the identity, or a norm of its own (Gemma). A prompt goes through in chunks of the backend's size, counted from its
 * position 0, each through all layers before the next: its result depends on nothing else, and needs room for one chunk. */
#include "models/decoder.h"

/* y (+)= W·norm(x) over the rows in flight. */
static weir_status product(decoder_model *m, const model_rows *r, weir_linear a) {
    a.eps = m->c.eps;
    a.n_row = r->n;
    a.scale = 1.0f;
    a.rows = !r->prefill;
    return m->base.be->op.linear(m->base.be, &a);
}

/* x += W·in, through the sub-layer's own norm where it has one. */
static weir_status residual(decoder_model *m, const model_rows *r, const weir_weight *w, const float *in, const float *post) {
    const int64_t dim = m->c.dim;
    const weir_linear a = {.x = in, .ldx = w->k, .w = w, .y = post ? m->base.a.sub : r->x, .ldy = dim,
                           .epilogue = post ? WEIR_EPI_STORE : WEIR_EPI_ADD};
    WEIR_TRY(product(m, r, a));
    if (!post) return WEIR_OK;
    weir_rmsnorm n = {.y = r->x, .x = m->base.a.sub, .w = post, .n_row = r->n, .dim = dim, .eps = m->c.eps, .add = true};
    return m->base.be->op.rmsnorm(m->base.be, &n);
}

/* h = act(gate(norm x)) up(norm x). */
static weir_status gate_up(decoder_model *m, const model_rows *r, const decoder_layer *d) {
    weir_linear a = {.x = r->x, .ldx = m->c.dim, .norm = d->ff_norm, .w = &d->gate_up[0], .y = m->base.a.h, .ldy = m->c.ff_dim,
                     .epilogue = m->act};
    WEIR_TRY(product(m, r, a));
    if (d->n_gate_up == 1) return WEIR_OK;
    a.w = &d->gate_up[1];
    a.epilogue = WEIR_EPI_MUL;
    return product(m, r, a);
}

typedef struct layer_cache {
    const weir_kv_view *kv;
    int32_t layer; /* of the view */
} layer_cache;

static layer_cache cache_of(const decoder_model *m, const weir_kv *kv, int32_t l) {
    if (!kv->slide.pool) return (layer_cache){&kv->self, l};
    return (layer_cache){m->c.sliding[l] ? &kv->slide : &kv->self, m->layer[l].in_group};
}

/* Queries, keys and values of the rows; keys and values into the slots' caches. */
static weir_status append(decoder_model *m, const weir_kv *kv, const model_rows *r, int32_t l) {
    const decoder_layer *d = &m->layer[l];
    const bool slides = m->c.sliding[l];
    const weir_rope_config *rope = slides ? &m->c.rope_sliding : &m->c.rope;
    weir_backend *be = m->base.be;
    float *q = m->base.a.qkv, *k = q + weir__inner(&m->base.shape), *v = k + weir__inner_kv(&m->base.shape);
    float *y = q;
    for (int i = 0; i < d->n_qkv; y += d->qkv[i++].n) {
        WEIR_TRY(product(m, r, (weir_linear){.x = r->x, .ldx = m->c.dim, .norm = d->att_norm, .w = &d->qkv[i], .y = y,
                                             .ldy = weir__width(&m->base.shape)}));
    }
    weir_rope turn = {.q = q, .k = k, .v = v, .ld = weir__width(&m->base.shape), .bias = d->bias, .q_norm = d->q_norm, .k_norm = d->k_norm,
                      .eps = m->c.eps, .inv_freq = m->inv_freq[slides], .scale = m->rope_scale[slides], .slot = r->slot,
                      .pos = r->pos, .n_row = r->n, .n_head = m->c.n_head, .n_head_kv = m->c.n_head_kv,
                      .head_dim = m->c.head_dim, .n_dim = weir__rope_dims(rope, m->c.head_dim),
                      .interleaved = rope->interleaved};
    const layer_cache c = cache_of(m, kv, l);
    weir_kv_append ap = {.kv = c.kv, .k = k, .v = v, .ld = weir__width(&m->base.shape), .slot = r->slot, .pos = r->pos, .n_row = r->n,
                         .layer = c.layer};
    WEIR_TRY(be->op.rope(be, &turn));
    return be->op.kv_append(be, &ap);
}

/* The layer after its K and V are in the cache. */
static weir_status rest(decoder_model *m, const weir_kv *kv, const model_rows *r, int32_t l) {
    const decoder_layer *d = &m->layer[l];
    weir_backend *be = m->base.be;
    const layer_cache c = cache_of(m, kv, l);
    weir_attention at = {.kv = c.kv, .q = r->q, .ldq = r->ldq, .o = m->base.a.att, .ldo = weir__inner(&m->base.shape), .slot = r->slot,
                         .pos = r->pos, .n_key = r->n_key, .n_row = r->n, .layer = c.layer, .n_head = m->c.n_head,
                         .scale = m->c.attention_scale, .softcap = m->c.attention_softcap,
                         .window = m->c.sliding[l] ? m->c.window : 0, .group = r->group, .prefill = r->prefill};
    WEIR_TRY(be->op.attention(be, &at));
    WEIR_TRY(residual(m, r, &d->o, m->base.a.att, d->att_post));
    WEIR_TRY(gate_up(m, r, d));
    return residual(m, r, &d->down, m->base.a.h, d->ff_post);
}

static weir_status embed(decoder_model *m, const int32_t *token, int64_t n) {
    weir_embed e = {.x = m->base.a.x, .table = &m->embed, .token = token, .n_row = n, .scale = m->c.embed_scale};
    return m->base.be->op.embed(m->base.be, &e);
}

static weir_status head(decoder_model *m, const weir_batch *b, const model_rows *r) {
    return product(m, r, (weir_linear){.x = r->x, .ldx = m->c.dim, .norm = m->norm, .w = m->head, .y = b->logits,
                                       .ldy = m->c.n_vocab_rows, .softcap = m->c.final_softcap, .extent = b->extent,
                                       .extent_n = b->extent_n});
}

weir_status weir__decoder_forward(weir_model *base, const weir_kv *kv, const weir_batch *b) {
    decoder_model *m = (decoder_model *)base;
    const int32_t last = m->c.n_layer - 1;
    model_rows r;
    WEIR_TRY(weir__rows_begin(base, kv, b, &r));
    WEIR_TRY(embed(m, b->token, b->n_row));
    for (int32_t l = 0; l <= last; l++) {
        WEIR_TRY(append(m, kv, &r, l));
        if (l == last && b->n_out == 0) return WEIR_OK;
        if (l == last && b->n_out < b->n_row) WEIR_TRY(weir__rows_keep_wanted(base, kv, b, &r));
        WEIR_TRY(rest(m, kv, &r, l));
    }
    return head(m, b, &r);
}

weir_status weir__decoder_prefill(weir_model *base, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n) {
    decoder_model *m = (decoder_model *)base;
    const model_arena *a = &base->a;
    const int64_t chunk = base->be->chunk;
    const int32_t last = m->c.n_layer - 1;
    WEIR_TRY(weir__put_prompt(base, slot, token, n));
    for (int64_t i = 0; i < n; i += chunk) {
        const int32_t *slots = weir__prompt_at(base, n, 1);
        const model_rows r = {.n = n - i < chunk ? n - i : chunk, .x = a->x, .q = a->qkv, .ldq = weir__width(&m->base.shape),
                                .slot = slots + i, .pos = a->iota + i, .n_key = a->iota + i + 1, .prefill = true};
        WEIR_TRY(embed(m, weir__prompt_at(base, n, 0) + i, r.n));
        for (int32_t l = 0; l < last; l++) {
            WEIR_TRY(append(m, kv, &r, l));
            WEIR_TRY(rest(m, kv, &r, l));
        }
        WEIR_TRY(append(m, kv, &r, last)); /* nobody asks for what comes of a prompt's rows */
    }
    return WEIR_OK;
}
