/* The order of ops of T5. RMSNorm before each sub-layer lies inside the linear op that reads it; attention has no
 * scale; the stack's first layer owns the position bias of all its layers; cross attention has none.
 *
 *   layer    x += O·attention(qkv(norm x))      decoder rows: K, V appended first, keys [0, pos]
 *            x += O·attention(q(norm x), cross) decoder only: keys [0, source length)
 *            x += wo·act(wi(norm x))
 *   logits   head(norm x), tied: times dim^-0.5 */
#include <math.h>

#include "models/t5.h"

weir_status weir__t5_product(t5_model *m, t5_product p) {
    weir_linear a = {.x = p.x,
                     .ldx = p.ldx,
                     .norm = p.norm,
                     .eps = m->c.eps,
                     .w = p.w,
                     .y = p.y,
                     .ldy = p.ldy,
                     .n_row = p.n_row,
                     .epilogue = p.epilogue,
                     .scale = 1.0f,
                     .rows = p.rows};
    return m->base.be->op.linear(m->base.be, &a);
}

weir_status weir__t5_feed_forward(t5_model *m, const t5_ff *f, float *x, int64_t n_row, bool rows) {
    const int64_t dim = m->c.dim, ff = m->c.ff_dim;
    WEIR_TRY(weir__t5_product(m, (t5_product){.x = x, .ldx = dim, .norm = f->norm, .w = &f->wi, .y = m->base.a.h,
                                              .ldy = ff, .n_row = n_row, .epilogue = m->act, .rows = rows}));
    return weir__t5_product(m, (t5_product){.x = m->base.a.h, .ldx = ff, .w = &f->wo, .y = x, .ldy = dim,
                                            .n_row = n_row, .epilogue = WEIR_EPI_ADD, .rows = rows});
}

static weir_status attend(t5_model *m, const model_rows *r, weir_attention at) {
    at.o = m->base.a.att;
    at.ldo = weir__inner(&m->base.shape);
    at.slot = r->slot;
    at.pos = r->pos;
    at.n_row = r->n;
    at.n_head = m->c.n_head;
    at.scale = 1.0f;
    at.group = r->group;
    return m->base.be->op.attention(m->base.be, &at);
}

/* y (+)= W·norm(x) over the rows in flight. */
static weir_status product(t5_model *m, const model_rows *r, t5_product p) {
    p.n_row = r->n;
    p.rows = true;
    return weir__t5_product(m, p);
}

static weir_status self_append(t5_model *m, const weir_kv *kv, const model_rows *r, int32_t layer) {
    const t5_self *s = &m->dec[layer].self;
    const int64_t inner = weir__inner(&m->base.shape);
    WEIR_TRY(product(m, r, (t5_product){.x = r->x, .ldx = m->c.dim, .norm = s->norm, .w = &s->qkv, .y = m->base.a.qkv,
                                        .ldy = 3 * inner}));
    weir_kv_append ap = {.kv = &kv->self,
                         .k = m->base.a.qkv + inner,
                         .v = m->base.a.qkv + 2 * inner,
                         .ld = 3 * inner,
                         .slot = r->slot,
                         .pos = r->pos,
                         .n_row = r->n,
                         .layer = layer};
    return m->base.be->op.kv_append(m->base.be, &ap);
}

/* The layer after its K and V are in the cache. */
static weir_status decoder_rest(t5_model *m, const weir_kv *kv, const model_rows *r, int32_t layer) {
    const t5_dec_layer *d = &m->dec[layer];
    const int64_t dim = m->c.dim, inner = weir__inner(&m->base.shape);
    const t5_product out = {.x = m->base.a.att, .ldx = inner, .y = r->x, .ldy = dim, .epilogue = WEIR_EPI_ADD};
    t5_product self_o = out, cross_o = out;
    self_o.w = &d->self.o;
    cross_o.w = &d->cross.o;
    WEIR_TRY(attend(m, r, (weir_attention){.kv = &kv->self, .layer = layer, .q = r->q, .ldq = r->ldq,
                                           .n_key = r->n_key, .bias = m->dec_bias,
                                           .bias_left = m->c.max_distance}));
    WEIR_TRY(product(m, r, self_o));
    WEIR_TRY(product(m, r, (t5_product){.x = r->x, .ldx = dim, .norm = d->cross.norm, .w = &d->cross.q,
                                        .y = m->base.a.qkv, .ldy = inner}));
    WEIR_TRY(attend(m, r, (weir_attention){.kv = &kv->cross, .layer = layer, .q = m->base.a.qkv, .ldq = inner,
                                           .n_key = r->n_src}));
    WEIR_TRY(product(m, r, cross_o));
    return weir__t5_feed_forward(m, &d->ff, r->x, r->n, true);
}

static weir_status head(t5_model *m, const weir_batch *b, const float *x) {
    weir_linear a = {.x = x,
                     .ldx = m->c.dim,
                     .norm = m->dec_norm,
                     .eps = m->c.eps,
                     .w = m->head,
                     .y = b->logits,
                     .ldy = m->c.n_vocab_rows,
                     .n_row = b->n_out,
                     .epilogue = WEIR_EPI_STORE,
                     .rows = true,
                     .scale = m->c.tied ? 1.0f / sqrtf((float)m->c.dim) : 1.0f,
                     .extent = b->extent,
                     .extent_n = b->extent_n};
    return m->base.be->op.linear(m->base.be, &a);
}

weir_status weir__t5_forward(weir_model *base, const weir_kv *kv, const weir_batch *b) {
    t5_model *m = (t5_model *)base;
    weir_backend *be = base->be;
    const int32_t last = m->c.n_dec_layer - 1;
    weir_embed em = {.x = base->a.x, .table = &m->embed, .token = b->token, .n_row = b->n_row, .scale = 1.0f};
    model_rows r;
    WEIR_TRY(weir__rows_begin(base, kv, b, &r));
    WEIR_TRY(be->op.embed(be, &em));
    for (int32_t l = 0; l <= last; l++) {
        WEIR_TRY(self_append(m, kv, &r, l));
        if (l == last && b->n_out == 0) return WEIR_OK;
        if (l == last && b->n_out < b->n_row) WEIR_TRY(weir__rows_keep_wanted(base, kv, b, &r));
        WEIR_TRY(decoder_rest(m, kv, &r, l));
    }
    return head(m, b, r.x);
}
