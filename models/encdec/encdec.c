/* The order of ops of encoder-decoders. RMSNorm before a sub-layer is part of the linear op that reads it.
 *
 *   layer    x += post(O·attention(qkv(norm x)))      decoder rows: K, V appended first, keys [0, pos]
 *            x += post(O·attention(q(norm x), cross)) decoder only: keys [0, source length)
 *            x += post(wo·act(wi(norm x)))
 *   logits   cap(head(norm x))
 *
 *   T5        attention has no scale and position biases: the stack's first layer owns that of all its
 *             layers, or each has one (UMT5, arXiv 2304.09151); cross attention has none. post is the
 *             identity. A tied head is scaled by dim^-0.5.
 *   T5Gemma   q and k of self attention turn, scores are scaled and capped, some layers have a window, the
 *             encoder's on both sides; post is a norm (arXiv 2504.06225) */
#include "kernels/base/mem.h"
#include "kernels/weight/pack.h"
#include "models/encdec/encdec.h"
#include "models/parts/head.h"
#include "models/parts/rows.h"

/* ---- memory ---- */

weir_status weir__encdec_alloc_layers(weir_model *base) {
    encdec_model *m = (encdec_model *)base;
    m->enc = weir_calloc((size_t)m->n_enc, sizeof *m->enc);
    m->dec = weir_calloc((size_t)m->n_dec, sizeof *m->dec);
    return m->enc && m->dec ? WEIR_OK : WEIR_ENOMEM;
}

void weir__encdec_free_layers(weir_model *base) {
    encdec_model *m = (encdec_model *)base;
    for (int i = 0; m->enc && i < m->n_enc; i++) {
        weir__attention_free(base->be, &m->enc[i].self);
        weir__feed_forward_free(base->be, &m->enc[i].ff);
    }
    for (int i = 0; m->dec && i < m->n_dec; i++) {
        weir__attention_free(base->be, &m->dec[i].self);
        weir__cross_free(base->be, &m->dec[i].cross);
        weir__feed_forward_free(base->be, &m->dec[i].ff);
    }
    weir__weight_free(base->be, &m->enc_embed);
    weir_free(m->enc);
    weir_free(m->dec);
}

void weir__encdec_note(encdec_model *m) {
    weir_model_facts *f = &m->base.facts;
    f->n_layer_self = f->n_layer_cross = m->n_dec;
    f->n_open = 1;
    f->n_pass = 2 * m->n_enc + 1; /* two of each layer, and the cross caches */
}

/* ---- decoder rows ---- */

/* Layers with a window keep all their keys, beside those of the others. */
weir_status weir__encdec_append(weir_model *base, const weir_kv *kv, const model_rows *r, int32_t layer) {
    const encdec_dec_layer *d = &((const encdec_model *)base)->dec[layer];
    return weir__attention_qkv(base, &d->self, &d->kind, (attention_cache){&kv->self, layer}, r);
}

weir_status weir__encdec_rest(weir_model *base, const weir_kv *kv, const model_rows *r, int32_t layer) {
    const encdec_model *m = (const encdec_model *)base;
    const encdec_dec_layer *d = &m->dec[layer];
    WEIR_TRY(weir__attention_output(base, &d->self, &d->kind, (attention_cache){&kv->self, layer}, r));
    WEIR_TRY(weir__cross_output(base, &d->cross, &m->cross_kind, (attention_cache){&kv->cross, layer}, r));
    return weir__feed_forward(base, &d->ff, r);
}

/* ---- prompts: the encoder, and what it leaves for the decoder ----
 *
 * A prompt goes through in chunks of the backend's size, counted from its position 0, so that its result
 * depends on nothing else. */

/* The encoder's own keys and values: pages of one layer, used by every layer in turn. */
static weir_kv_view encoder_kv(const weir_model *m) {
    const model_shape s = weir__encoder_shape(&m->shape);
    return (weir_kv_view){.pool = m->a.pool,
                          .table = m->a.iota,
                          .table_stride = (m->n_prompt + WEIR_PAGE - 1) / WEIR_PAGE,
                          .page_elems = weir__kv_page_elems(1, s.n_head_kv, s.head_dim),
                          .n_layer = 1,
                          .n_head_kv = s.n_head_kv,
                          .head_dim = s.head_dim,
                          .dtype = m->facts.kv_dtype};
}

/* Rows [begin, begin + n) of a prompt. */
static model_rows rows_at(const model_rows *p, int64_t begin, int64_t n) {
    return (model_rows){.n = n,
                        .x = p->x + begin * p->dim,
                        .dim = p->dim,
                        .q = p->q + begin * p->ldq,
                        .ldq = p->ldq,
                        .slot = p->slot + begin,
                        .pos = p->pos + begin,
                        .n_key = p->n_key + begin,
                        .prefill = true};
}

static model_rows chunk_at(const weir_model *m, const model_rows *p, int64_t begin) {
    const int64_t size = m->be->chunk, left = p->n - begin;
    return rows_at(p, begin, left < size ? left : size);
}

/* K and V of the encoder's output for every decoder layer, into the slot's cross cache. */
static weir_status cross_step(encdec_model *m, const weir_kv *kv, const model_rows *r) {
    weir_model *base = &m->base;
    for (int32_t l = 0; l < m->n_dec; l++) {
        const attention_cache c = {&kv->cross, l};
        WEIR_TRY(weir__prompt_goes_on(base));
        WEIR_TRY(weir__cross_append(base, &m->dec[l].cross, m->enc_norm, c, r));
    }
    return WEIR_OK;
}

/* The encoder's layers in turn, each in two passes over the chunks: every chunk's keys must be in the cache
 * before any row attends. Then a pass for the cross cache. A step is one chunk of a pass; all that lives from
 * step to step is in memory of the encoder's own, so that rows may run between two steps. */
static weir_status encoder_step(encdec_model *m, const weir_kv *kv, const model_rows *p, int64_t step) {
    weir_model *base = &m->base;
    const int64_t n_chunk = (p->n + base->be->chunk - 1) / base->be->chunk, pass = step / n_chunk;
    const int64_t begin = step % n_chunk * base->be->chunk;
    model_rows r = chunk_at(base, p, begin);
    const weir_kv_view own = encoder_kv(base);
    const attention_cache c = {&own, 0};
    WEIR_TRY(weir__prompt_goes_on(base));
    if (pass == base->facts.n_pass - 1) {
        r.slot = weir__prompt_at(base, p->n, 1) + begin;
        return cross_step(m, kv, &r);
    }
    const encdec_enc_layer *l = &m->enc[pass / 2];
    if (pass % 2 == 0) return weir__attention_qkv(base, &l->self, &l->kind, (attention_cache){NULL, 0}, &r);
    if (begin == 0) WEIR_TRY(weir__attention_append(base, &l->self, c, p));
    if (l->kind.window > 0) r.n_key = weir__prompt_at(base, p->n, 3) + begin;
    WEIR_TRY(weir__attention_output(base, &l->self, &l->kind, c, &r));
    return weir__feed_forward(base, &l->ff, &r);
}

static weir_status embed(encdec_model *m, const model_rows *p) {
    weir_model *base = &m->base;
    const weir_weight *table = m->separate ? &m->enc_embed : &base->head.embed;
    return weir__embed(base, table, m->enc_embed_scale, weir__prompt_at(base, p->n, 0), p, NULL);
}

weir_status weir__encdec_prefill(weir_model *base, const weir_kv *kv, int32_t slot, const int32_t *token,
                                 int64_t n, int32_t place, int64_t from, int64_t upto) {
    encdec_model *m = (encdec_model *)base;
    (void)place; /* there is one */
    const model_shape s = weir__encoder_shape(&base->shape);
    const model_rows p = {.n = n,
                          .x = base->a.prompt_x,
                          .dim = s.dim,
                          .q = base->a.prompt_qkv,
                          .ldq = weir__width(&s),
                          .slot = base->a.zero,
                          .pos = base->a.iota,
                          .n_key = weir__prompt_at(base, n, 2),
                          .prefill = true};
    WEIR_TRY(weir__put_prompt(base, slot, token, n));
    if (from == 0) WEIR_TRY(embed(m, &p));
    for (int64_t step = from; step < upto; step++) WEIR_TRY(encoder_step(m, kv, &p, step));
    return WEIR_OK;
}
