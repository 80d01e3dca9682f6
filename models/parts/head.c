#include "models/parts/head.h"

#include "kernels/weight/pack.h"
#include "models/parts/product.h"

/* Prompts never see the head: no chunk. */
size_t weir__head_floats(const model_shape *s) {
    return weir__linear_cuda_scratch_floats(s->n_vocab_rows, s->dim, 0);
}

static weir_status load_ids(weights *w, const model_shape *s, const char *name, weir_use use, bool looked_up,
                            weir_weight *out) {
    const matrix_list l = {.prefix = "",
                           .what = {name},
                           .rows = {{s->n_vocab_rows, s->own.id, s->own.n_id}},
                           .cols = weir__span_all(s->dim),
                           .n = 1,
                           .use = use,
                           .looked_up = looked_up};
    return weir__load_matrix(w, &l, out);
}

weir_status weir__embedding_load(weights *w, const model_shape *s, const char *name, weir_use use,
                                 weir_weight *out) {
    return load_ids(w, s, name, use, true, out);
}

weir_status weir__head_load(weights *w, const model_shape *s, const char *embed, const char *untied,
                            model_head *h) {
    WEIR_TRY(weir__embedding_load(w, s, embed, untied ? WEIR_USE_PREFILL : WEIR_USE_ROWS, &h->embed));
    h->out = untied ? &h->untied : &h->embed;
    if (!untied) return WEIR_OK; /* a head in the file is not used then, as transformers does */
    return load_ids(w, s, untied, WEIR_USE_ROWS, false, &h->untied);
}

void weir__head_free(weir_backend *be, model_head *h) {
    weir__weight_free(be, &h->embed);
    weir__weight_free(be, &h->untied);
}

weir_status weir__embed(weir_model *m, const weir_weight *table, float scale, const int32_t *token,
                        const model_rows *r, const weir_row_keys *keys) {
    weir_embed e = {.x = r->x,
                    .table = table,
                    .token = token,
                    .n_row = r->n,
                    .scale = scale,
                    .first = (int32_t)m->shape.own.id,
                    .keys = keys};
    WEIR_TRY(m->be->op.embed(m->be, &e));
    if (!m->be->comm) return WEIR_OK;
    return m->be->exchange->collect_rows(
        m->be,
        &(weir_collect_rows){.x = r->x, .id = token, .n_row = r->n, .n = r->dim, .first = m->first_id});
}

weir_status weir__head_logits(weir_model *m, const weir_batch *b, const model_rows *r) {
    weir_comm *comm = m->be->comm;
    const bool gives = weir__comm_rank(comm) > 0;
    const weir_linear a = {.x = r->x,
                           .ldx = m->shape.dim,
                           .norm = m->head.norm,
                           .w = m->head.out,
                           .y = gives ? m->a.logits : b->logits,
                           .ldy = gives ? m->head.out->n : m->shape.n_vocab_rows,
                           .scale = m->head.scale,
                           .softcap = m->head.softcap,
                           .minmax = comm ? NULL : b->minmax,
                           .minmax_n = b->minmax_n};
    if (a.w->n > 0) WEIR_TRY(weir__product(m, r, a));
    if (!comm) return WEIR_OK;
    return m->be->exchange->collect_columns(m->be, &(weir_collect_columns){.part = m->a.logits,
                                                                           .y = b->logits,
                                                                           .ldy = m->shape.n_vocab_rows,
                                                                           .n_row = r->n,
                                                                           .first = m->first_id});
}
