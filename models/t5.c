/* The order of ops of T5. RMSNorm before a sub-layer is part of the linear op that reads it; attention has no
 * scale; the stack's first layer owns the position bias of all its layers, or each has one (UMT5, arXiv
 * 2304.09151); cross attention has none.
 *
 *   layer    x += O·attention(qkv(norm x))      decoder rows: K, V appended first, keys [0, pos]
 *            x += O·attention(q(norm x), cross) decoder only: keys [0, source length)
 *            x += wo·act(wi(norm x))
 *   logits   head(norm x), tied: times dim^-0.5 */
#include "models/head.h"
#include "models/rows.h"
#include "models/t5.h"

static attention_kind with_bias(attention_kind kind, const float *bias) {
    kind.bias = bias;
    return kind;
}

/* ---- decoder rows ---- */

weir_status weir__t5_append(weir_model *base, const weir_kv *kv, const model_rows *r, int32_t layer) {
    const t5_model *m = (const t5_model *)base;
    const attention_kind kind = with_bias(m->dec_kind, m->dec[layer].bias);
    return weir__attention_qkv(base, &m->dec[layer].self, &kind, (attention_cache){&kv->self, layer}, r);
}

weir_status weir__t5_rest(weir_model *base, const weir_kv *kv, const model_rows *r, int32_t layer) {
    const t5_model *m = (const t5_model *)base;
    const t5_dec_layer *d = &m->dec[layer];
    const attention_kind kind = with_bias(m->dec_kind, d->bias);
    WEIR_TRY(weir__attention_output(base, &d->self, &kind, (attention_cache){&kv->self, layer}, r));
    WEIR_TRY(weir__cross_output(base, &d->cross, &m->cross_kind, (attention_cache){&kv->cross, layer}, r));
    return weir__feed_forward(base, &d->ff, r);
}

/* ---- prompts: the encoder, and what it leaves for the decoder ----
 *
 * A prompt goes through in chunks of the backend's size, counted from its position 0, so that its result
 * depends on nothing else. */

/* The encoder's own keys and values: pages of one layer, used by every layer in turn. */
static weir_kv_view encoder_kv(const weir_model *m) {
    const model_shape *s = &m->shape;
    return (weir_kv_view){.pool = m->a.pool,
                          .table = m->a.iota,
                          .table_stride = (m->n_prompt + WEIR_PAGE - 1) / WEIR_PAGE,
                          .page_elems = weir__kv_page_elems(1, s->n_head_kv, s->head_dim),
                          .n_layer = 1,
                          .n_head_kv = s->n_head_kv,
                          .head_dim = s->head_dim,
                          .dtype = m->facts.kv_dtype};
}

/* Rows [begin, begin + n) of a prompt. */
static model_rows rows_at(const weir_model *m, const model_rows *p, int64_t begin, int64_t n) {
    return (model_rows){.n = n,
                        .x = p->x + begin * m->shape.dim,
                        .q = p->q + begin * p->ldq,
                        .ldq = p->ldq,
                        .slot = p->slot + begin,
                        .pos = p->pos + begin,
                        .n_key = p->n_key + begin,
                        .prefill = true};
}

static model_rows chunk_at(const weir_model *m, const model_rows *p, int64_t begin) {
    const int64_t size = m->be->chunk, left = p->n - begin;
    return rows_at(m, p, begin, left < size ? left : size);
}

/* K and V of the encoder's output for every decoder layer, into the slot's cross cache. */
static weir_status cross_step(t5_model *m, const weir_kv *kv, const model_rows *r) {
    weir_model *base = &m->base;
    for (int32_t l = 0; l < m->c.n_dec_layer; l++) {
        const attention_cache c = {&kv->cross, l};
        WEIR_TRY(weir__prompt_goes_on(base));
        WEIR_TRY(weir__cross_append(base, &m->dec[l].cross, m->enc_norm, c, r));
    }
    return WEIR_OK;
}

/* The encoder's layers in turn, each in two passes over the chunks: every chunk's keys must be in the cache
 * before any row attends. Then a pass for the cross cache. A step is one chunk of a pass; all that lives from
 * step to step is in memory of the encoder's own, so that rows may run between two steps. */
static weir_status encoder_step(t5_model *m, const weir_kv *kv, const model_rows *p, int64_t step) {
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
    const t5_enc_layer *l = &m->enc[pass / 2];
    const attention_kind kind = with_bias(m->enc_kind, l->bias);
    if (pass % 2 == 0) return weir__attention_qkv(base, &l->self, &kind, (attention_cache){NULL, 0}, &r);
    if (begin == 0) WEIR_TRY(weir__attention_append(base, &l->self, c, p));
    WEIR_TRY(weir__attention_output(base, &l->self, &kind, c, &r));
    return weir__feed_forward(base, &l->ff, &r);
}

weir_status weir__t5_prefill(weir_model *base, const weir_kv *kv, int32_t slot, const int32_t *token,
                             int64_t n, int32_t place, int64_t from, int64_t upto) {
    t5_model *m = (t5_model *)base;
    (void)place; /* there is one */
    const model_rows p = {.n = n,
                          .x = base->a.prompt_x,
                          .q = base->a.prompt_qkv,
                          .ldq = weir__width(&base->shape),
                          .slot = base->a.zero,
                          .pos = base->a.iota,
                          .n_key = weir__prompt_at(base, n, 2),
                          .prefill = true};
    WEIR_TRY(weir__put_prompt(base, slot, token, n));
    if (from == 0) WEIR_TRY(weir__head_embed(base, weir__prompt_at(base, n, 0), n, p.x, NULL));
    for (int64_t step = from; step < upto; step++) WEIR_TRY(encoder_step(m, kv, &p, step));
    return WEIR_OK;
}
