/* The order of ops of T5. RMSNorm before each sub-layer lies inside the linear op that reads it; attention has no
 * scale; the stack's first layer owns the position bias of all its layers; cross attention has none.
 *
 *   layer    x += O·attention(qkv(norm x))      decoder rows: K, V appended first, keys [0, pos]
 *            x += O·attention(q(norm x), cross) decoder only: keys [0, source length)
 *            x += wo·act(wi(norm x))
 *   logits   head(norm x), tied: times dim^-0.5 */
#include <math.h>
#include <string.h>

#include "models/t5.h"

/* y (+)= W·norm(x); scale 1. */
static weir_status linear(t5_model *m, const float *x, int64_t ldx, const float *norm, const weir_weight *w,
                          float *y, int64_t ldy, int64_t n_row, weir_epilogue epilogue, bool rows) {
    weir_linear a = {.x = x,
                     .ldx = ldx,
                     .norm = norm,
                     .eps = m->c.eps,
                     .w = w,
                     .y = y,
                     .ldy = ldy,
                     .n_row = n_row,
                     .epilogue = epilogue,
                     .scale = 1.0f,
                     .rows = rows};
    return m->base.be->op.linear(m->base.be, &a);
}

static weir_status feed_forward(t5_model *m, const t5_ff *f, float *x, int64_t n_row, bool rows) {
    const int64_t dim = m->c.dim, ff = m->c.ff_dim;
    WEIR_TRY(linear(m, x, dim, f->norm, &f->wi, m->a.h, ff, n_row, m->act, rows));
    return linear(m, m->a.h, ff, NULL, &f->wo, x, dim, n_row, WEIR_EPI_ADD, rows);
}

/* ---- encoder --------------------------------------------------------------------------------------------- */

/* The rows of one chunk of 64 positions. */
typedef struct t5_chunk {
    int64_t begin, n;
} t5_chunk;

static t5_chunk chunk_at(int64_t begin, int64_t n) {
    return (t5_chunk){begin, n - begin < WEIR_PAGE ? n - begin : WEIR_PAGE};
}

static weir_status encoder_attend(t5_model *m, t5_chunk c) {
    const t5_arena *a = &m->a;
    weir_attention at = {.kv = &m->enc_kv,
                         .q = a->qkv + c.begin * 3 * m->inner,
                         .ldq = 3 * m->inner,
                         .o = a->att,
                         .ldo = m->inner,
                         .slot = a->n_src + c.begin,
                         .pos = a->pos + c.begin,
                         .n_key = a->n_key + c.begin,
                         .n_row = c.n,
                         .layer = 0,
                         .n_head = m->c.n_head,
                         .scale = 1.0f,
                         .bias = m->enc_bias,
                         .bias_left = m->c.max_distance,
                         .bias_right = m->c.max_distance};
    return m->base.be->op.attention(m->base.be, &at);
}

/* Every chunk's keys must be in the cache before any row attends: hence two loops over the chunks. */
static weir_status encoder_layer(t5_model *m, const t5_enc_layer *l, int64_t n) {
    const t5_arena *a = &m->a;
    const int64_t dim = m->c.dim, inner = m->inner;
    for (int64_t i = 0; i < n; i += WEIR_PAGE) {
        const t5_chunk c = chunk_at(i, n);
        WEIR_TRY(linear(m, a->x + i * dim, dim, l->self.norm, &l->self.qkv, a->qkv + i * 3 * inner, 3 * inner,
                        c.n, WEIR_EPI_STORE, false));
    }
    weir_kv_append ap = {.kv = &m->enc_kv,
                         .k = a->qkv + inner,
                         .v = a->qkv + 2 * inner,
                         .ld = 3 * inner,
                         .slot = a->n_src,
                         .pos = a->pos,
                         .n_row = n,
                         .layer = 0};
    WEIR_TRY(m->base.be->op.kv_append(m->base.be, &ap));
    for (int64_t i = 0; i < n; i += WEIR_PAGE) {
        const t5_chunk c = chunk_at(i, n);
        WEIR_TRY(encoder_attend(m, c));
        WEIR_TRY(linear(m, a->att, inner, NULL, &l->self.o, a->x + i * dim, dim, c.n, WEIR_EPI_ADD, false));
        WEIR_TRY(feed_forward(m, &l->ff, a->x + i * dim, c.n, false));
    }
    return WEIR_OK;
}

/* K and V of the encoder's output for every decoder layer, into the slot's cross cache. */
static weir_status cross_append(t5_model *m, const weir_kv *kv, int64_t n) {
    const t5_arena *a = &m->a;
    const int64_t dim = m->c.dim, inner = m->inner;
    for (int64_t i = 0; i < n; i += WEIR_PAGE) {
        const t5_chunk c = chunk_at(i, n);
        for (int32_t l = 0; l < m->c.n_dec_layer; l++) {
            WEIR_TRY(linear(m, a->x + i * dim, dim, m->enc_norm, &m->dec[l].cross.kv, a->h, 2 * inner, c.n,
                            WEIR_EPI_STORE, false));
            weir_kv_append ap = {.kv = &kv->cross,
                                 .k = a->h,
                                 .v = a->h + inner,
                                 .ld = 2 * inner,
                                 .slot = a->slot + i,
                                 .pos = a->pos + i,
                                 .n_row = c.n,
                                 .layer = l};
            WEIR_TRY(m->base.be->op.kv_append(m->base.be, &ap));
        }
    }
    return WEIR_OK;
}

weir_status weir__t5_prefill(weir_model *base, const weir_kv *kv, int32_t slot, const int32_t *token,
                             int64_t n) {
    t5_model *m = (t5_model *)base;
    const t5_arena *a = &m->a;
    for (int64_t i = 0; i < n; i++) {
        a->token[i] = token[i];
        a->pos[i] = (int32_t)i;
        a->slot[i] = slot;
        a->n_key[i] = (int32_t)n;
        a->n_src[i] = 0;
    }
    weir_embed em = {.x = a->x, .table = &m->embed, .token = a->token, .n_row = n, .scale = 1.0f};
    WEIR_TRY(base->be->op.embed(base->be, &em));
    for (int32_t l = 0; l < m->c.n_enc_layer; l++) WEIR_TRY(encoder_layer(m, &m->enc[l], n));
    return cross_append(m, kv, n);
}

/* ---- decoder --------------------------------------------------------------------------------------------- */

/* The rows still in flight; the last layer narrows them to those whose logits are wanted. */
typedef struct t5_rows {
    int64_t n;
    const int32_t *slot, *pos; /* (n) */
} t5_rows;

static weir_status decoder_attend(t5_model *m, const weir_kv_view *kv, const t5_rows *r, int32_t layer,
                                  int64_t ldq, const int32_t *n_key, const float *bias) {
    weir_attention at = {.kv = kv,
                         .q = m->a.qkv,
                         .ldq = ldq,
                         .o = m->a.att,
                         .ldo = m->inner,
                         .slot = r->slot,
                         .pos = r->pos,
                         .n_key = n_key,
                         .n_row = r->n,
                         .layer = layer,
                         .n_head = m->c.n_head,
                         .scale = 1.0f,
                         .bias = bias,
                         .bias_left = bias ? m->c.max_distance : 0};
    return m->base.be->op.attention(m->base.be, &at);
}

static weir_status self_append(t5_model *m, const weir_kv *kv, const t5_rows *r, int32_t layer) {
    const t5_self *s = &m->dec[layer].self;
    const int64_t inner = m->inner;
    WEIR_TRY(linear(m, m->a.x, m->c.dim, s->norm, &s->qkv, m->a.qkv, 3 * inner, r->n, WEIR_EPI_STORE, true));
    weir_kv_append ap = {.kv = &kv->self,
                         .k = m->a.qkv + inner,
                         .v = m->a.qkv + 2 * inner,
                         .ld = 3 * inner,
                         .slot = r->slot,
                         .pos = r->pos,
                         .n_row = r->n,
                         .layer = layer};
    return m->base.be->op.kv_append(m->base.be, &ap);
}

/* The layer after its K and V are in the cache. */
static weir_status decoder_rest(t5_model *m, const weir_kv *kv, const t5_rows *r, int32_t layer) {
    const t5_dec_layer *d = &m->dec[layer];
    const int64_t dim = m->c.dim, inner = m->inner;
    float *x = m->a.x, *att = m->a.att;
    WEIR_TRY(decoder_attend(m, &kv->self, r, layer, 3 * inner, m->a.n_key, m->dec_bias));
    WEIR_TRY(linear(m, att, inner, NULL, &d->self.o, x, dim, r->n, WEIR_EPI_ADD, true));
    WEIR_TRY(linear(m, x, dim, d->cross.norm, &d->cross.q, m->a.qkv, inner, r->n, WEIR_EPI_STORE, true));
    WEIR_TRY(decoder_attend(m, &kv->cross, r, layer, inner, m->a.n_src, NULL));
    WEIR_TRY(linear(m, att, inner, NULL, &d->cross.o, x, dim, r->n, WEIR_EPI_ADD, true));
    return feed_forward(m, &d->ff, x, r->n, true);
}

/* Past the last append a row serves only its own logits: rows nobody wants are dropped. In place, since out rises. */
static void keep_wanted(t5_model *m, const weir_batch *b, t5_rows *r) {
    const t5_arena *a = &m->a;
    const int64_t dim = m->c.dim, ld = 3 * m->inner;
    for (int32_t i = 0; i < b->n_out; i++) {
        const int32_t from = b->out[i];
        a->slot[i] = b->slot[from];
        a->pos[i] = b->pos[from];
        if (from == i) continue;
        memcpy(a->x + i * dim, a->x + from * dim, (size_t)dim * sizeof(float));
        memcpy(a->qkv + i * ld, a->qkv + from * ld, (size_t)m->inner * sizeof(float));
        a->n_key[i] = a->n_key[from];
        a->n_src[i] = a->n_src[from];
    }
    *r = (t5_rows){b->n_out, a->slot, a->pos};
}

static weir_status key_counts(t5_model *m, const weir_kv *kv, const weir_batch *b) {
    for (int32_t i = 0; i < b->n_row; i++) {
        if (b->pos[i] < 0 || b->slot[i] < 0) return WEIR_EINVAL;
        m->a.n_key[i] = b->pos[i] + 1;
        m->a.n_src[i] = kv->cross_len[b->slot[i]];
        if (m->a.n_src[i] < 1) return WEIR_EINVAL; /* no prompt in that slot */
    }
    return WEIR_OK;
}

weir_status weir__t5_forward(weir_model *base, const weir_kv *kv, const weir_batch *b) {
    t5_model *m = (t5_model *)base;
    const int32_t last = m->c.n_dec_layer - 1;
    WEIR_TRY(key_counts(m, kv, b));
    weir_embed em = {.x = m->a.x, .table = &m->embed, .token = b->token, .n_row = b->n_row, .scale = 1.0f};
    WEIR_TRY(base->be->op.embed(base->be, &em));

    t5_rows r = {b->n_row, b->slot, b->pos};
    for (int32_t l = 0; l <= last; l++) {
        WEIR_TRY(self_append(m, kv, &r, l));
        if (l == last && b->n_out == 0) return WEIR_OK;
        if (l == last && b->n_out < b->n_row) keep_wanted(m, b, &r);
        WEIR_TRY(decoder_rest(m, kv, &r, l));
    }
    weir_linear head = {.x = m->a.x,
                        .ldx = m->c.dim,
                        .norm = m->dec_norm,
                        .eps = m->c.eps,
                        .w = m->head,
                        .y = b->logits,
                        .ldy = m->c.n_vocab_rows,
                        .n_row = b->n_out,
                        .epilogue = WEIR_EPI_STORE,
                        .rows = true,
                        .scale = m->c.tied ? 1.0f / sqrtf((float)m->c.dim) : 1.0f};
    return base->be->op.linear(base->be, &head);
}
