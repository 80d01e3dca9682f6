/* The order of ops of the decoder-only families. RMSNorm before a sub-layer lies inside the linear op that reads it.
 *
 *   layer    x += post(O·attention(rope(qkv(norm x))))    K, V appended first; keys [0, pos], or the last `window` of them
 *            x += post(down·(act(gate(norm x)) up(norm x)))
 *   logits   cap(head(norm x))
 *
 * post is the identity, or a norm of its own (Gemma). A prompt goes through in chunks of the backend's size, counted from its
 * position 0, each through all layers before the next: its result depends on nothing else, and needs room for one chunk. */
#include "models/decoder.h"

/* The rows of a call, or of a chunk of a prompt; the last layer of a call narrows them to those whose logits are wanted. */
typedef struct decoder_rows {
    int64_t n;
    float *x;                           /* (n, dim) */
    const float *q;                     /* (n, inner), row stride ldq */
    int64_t ldq;
    const int32_t *slot, *pos, *n_key;  /* (n) */
    int32_t group;
    bool prefill;
} decoder_rows;

/* y (+)= W·norm(x) over the rows in flight. */
static weir_status product(decoder_model *m, const decoder_rows *r, weir_linear a) {
    a.eps = m->c.eps;
    a.n_row = r->n;
    a.scale = 1.0f;
    a.rows = !r->prefill;
    return m->base.be->op.linear(m->base.be, &a);
}

/* x += W·in, through the sub-layer's own norm where it has one. */
static weir_status residual(decoder_model *m, const decoder_rows *r, const weir_weight *w, const float *in, const float *post) {
    const int64_t dim = m->c.dim;
    const weir_linear a = {.x = in, .ldx = w->k, .w = w, .y = post ? m->a.sub : r->x, .ldy = dim,
                           .epilogue = post ? WEIR_EPI_STORE : WEIR_EPI_ADD};
    WEIR_TRY(product(m, r, a));
    if (!post) return WEIR_OK;
    weir_rmsnorm n = {.y = r->x, .x = m->a.sub, .w = post, .n_row = r->n, .dim = dim, .eps = m->c.eps, .add = true};
    return m->base.be->op.rmsnorm(m->base.be, &n);
}

/* h = act(gate(norm x)) up(norm x). */
static weir_status gate_up(decoder_model *m, const decoder_rows *r, const decoder_layer *d) {
    weir_linear a = {.x = r->x, .ldx = m->c.dim, .norm = d->ff_norm, .w = &d->gate_up[0], .y = m->a.h, .ldy = m->c.ff_dim,
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
static weir_status append(decoder_model *m, const weir_kv *kv, const decoder_rows *r, int32_t l) {
    const decoder_layer *d = &m->layer[l];
    const bool slides = m->c.sliding[l];
    const weir_rope_config *rope = slides ? &m->c.rope_sliding : &m->c.rope;
    weir_backend *be = m->base.be;
    float *q = m->a.qkv, *k = q + m->inner, *v = k + m->inner_kv;
    float *y = q;
    for (int i = 0; i < d->n_qkv; y += d->qkv[i++].n) {
        WEIR_TRY(product(m, r, (weir_linear){.x = r->x, .ldx = m->c.dim, .norm = d->att_norm, .w = &d->qkv[i], .y = y,
                                             .ldy = m->width}));
    }
    weir_rope turn = {.q = q, .k = k, .v = v, .ld = m->width, .bias = d->bias, .q_norm = d->q_norm, .k_norm = d->k_norm,
                      .eps = m->c.eps, .inv_freq = m->inv_freq[slides], .scale = m->rope_scale[slides], .slot = r->slot,
                      .pos = r->pos, .n_row = r->n, .n_head = m->c.n_head, .n_head_kv = m->c.n_head_kv,
                      .head_dim = m->c.head_dim, .n_dim = weir__rope_dims(rope, m->c.head_dim),
                      .interleaved = rope->interleaved};
    const layer_cache c = cache_of(m, kv, l);
    weir_kv_append ap = {.kv = c.kv, .k = k, .v = v, .ld = m->width, .slot = r->slot, .pos = r->pos, .n_row = r->n,
                         .layer = c.layer};
    WEIR_TRY(be->op.rope(be, &turn));
    return be->op.kv_append(be, &ap);
}

/* The layer after its K and V are in the cache. */
static weir_status rest(decoder_model *m, const weir_kv *kv, const decoder_rows *r, int32_t l) {
    const decoder_layer *d = &m->layer[l];
    weir_backend *be = m->base.be;
    const layer_cache c = cache_of(m, kv, l);
    weir_attention at = {.kv = c.kv, .q = r->q, .ldq = r->ldq, .o = m->a.att, .ldo = m->inner, .slot = r->slot,
                         .pos = r->pos, .n_key = r->n_key, .n_row = r->n, .layer = c.layer, .n_head = m->c.n_head,
                         .scale = m->c.attention_scale, .softcap = m->c.attention_softcap,
                         .window = m->c.sliding[l] ? m->c.window : 0, .group = r->group, .prefill = r->prefill};
    WEIR_TRY(be->op.attention(be, &at));
    WEIR_TRY(residual(m, r, &d->o, m->a.att, d->att_post));
    WEIR_TRY(gate_up(m, r, d));
    return residual(m, r, &d->down, m->a.h, d->ff_post);
}

static weir_status embed(decoder_model *m, const int32_t *token, int64_t n) {
    weir_embed e = {.x = m->a.x, .table = &m->embed, .token = token, .n_row = n, .scale = m->c.embed_scale};
    return m->base.be->op.embed(m->base.be, &e);
}

/* Past the last append a row serves only its own logits: rows nobody wants are dropped. */
static weir_status keep_wanted(decoder_model *m, const weir_batch *b, decoder_rows *r) {
    const decoder_arena *a = &m->a;
    weir_backend *be = m->base.be;
    weir_row_keys keys = {.slot = b->slot, .pos = b->pos, .index = b->out, .n_row = b->n_out, .out_slot = a->out_slot,
                          .out_pos = a->out_pos, .n_key = a->out_key};
    weir_gather x = {.dst = a->x_out, .ld_dst = m->c.dim, .src = r->x, .ld_src = m->c.dim, .index = b->out,
                     .n_row = b->n_out, .n_col = m->c.dim};
    weir_gather q = {.dst = a->q_out, .ld_dst = m->inner, .src = r->q, .ld_src = r->ldq, .index = b->out,
                     .n_row = b->n_out, .n_col = m->inner};
    WEIR_TRY(be->op.row_keys(be, &keys));
    WEIR_TRY(be->op.gather(be, &x));
    WEIR_TRY(be->op.gather(be, &q));
    *r = (decoder_rows){.n = b->n_out, .x = a->x_out, .q = a->q_out, .ldq = m->inner, .slot = a->out_slot,
                        .pos = a->out_pos, .n_key = a->out_key, .group = 1};
    return WEIR_OK;
}

static weir_status head(decoder_model *m, const weir_batch *b, const decoder_rows *r) {
    return product(m, r, (weir_linear){.x = r->x, .ldx = m->c.dim, .norm = m->norm, .w = m->head, .y = b->logits,
                                       .ldy = m->c.n_vocab_rows, .softcap = m->c.final_softcap, .extent = b->extent,
                                       .extent_n = b->extent_n});
}

weir_status weir__decoder_forward(weir_model *base, const weir_kv *kv, const weir_batch *b) {
    decoder_model *m = (decoder_model *)base;
    const decoder_arena *a = &m->a;
    const int32_t last = m->c.n_layer - 1;
    weir_row_keys keys = {.slot = b->slot, .pos = b->pos, .n_row = b->n_row, .n_key = a->n_key};
    WEIR_TRY(base->be->op.row_keys(base->be, &keys));
    WEIR_TRY(embed(m, b->token, b->n_row));

    decoder_rows r = {.n = b->n_row, .x = a->x, .q = a->qkv, .ldq = m->width, .slot = b->slot, .pos = b->pos,
                      .n_key = a->n_key, .group = b->group};
    for (int32_t l = 0; l <= last; l++) {
        WEIR_TRY(append(m, kv, &r, l));
        if (l == last && b->n_out == 0) return WEIR_OK;
        if (l == last && b->n_out < b->n_row) WEIR_TRY(keep_wanted(m, b, &r));
        WEIR_TRY(rest(m, kv, &r, l));
    }
    return head(m, b, &r);
}

/* The prompt's rows to where the ops read them. A device cannot refuse an id, so that is done here. */
static weir_status put_prompt(decoder_model *m, int32_t slot, const int32_t *token, int64_t n) {
    const int64_t ld = weir__stride(n);
    int32_t *to = m->stage;
    for (int64_t i = 0; i < n; i++) {
        if (token[i] < 0 || token[i] >= m->c.n_vocab_rows) return WEIR_EINVAL;
        to[i] = token[i];
        to[ld + i] = slot;
    }
    if (to == m->a.prompt) return WEIR_OK;
    return weir_backend_upload(m->base.be, m->a.prompt, to, (size_t)(ld + n) * sizeof *to);
}

weir_status weir__decoder_prefill(weir_model *base, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n) {
    decoder_model *m = (decoder_model *)base;
    const decoder_arena *a = &m->a;
    const int64_t chunk = base->be->chunk;
    const int32_t last = m->c.n_layer - 1;
    WEIR_TRY(put_prompt(m, slot, token, n));
    for (int64_t i = 0; i < n; i += chunk) {
        const int32_t *slots = a->prompt + weir__stride(n);
        const decoder_rows r = {.n = n - i < chunk ? n - i : chunk, .x = a->x, .q = a->qkv, .ldq = m->width,
                                .slot = slots + i, .pos = a->iota + i, .n_key = a->iota + i + 1, .prefill = true};
        if (weir_interrupted(&base->be->interrupt)) return WEIR_ECANCELED;
        WEIR_TRY(embed(m, a->prompt + i, r.n));
        for (int32_t l = 0; l < last; l++) {
            if (weir_interrupted(&base->be->interrupt)) return WEIR_ECANCELED;
            WEIR_TRY(append(m, kv, &r, l));
            WEIR_TRY(rest(m, kv, &r, l));
        }
        WEIR_TRY(append(m, kv, &r, last)); /* nobody asks for what comes of a prompt's rows */
    }
    return WEIR_OK;
}
