/* Rows of prompts and calls: put where ops read them, and narrowed to those whose logits are wanted. */
#include "models/parts/rows.h"

const int32_t *weir__prompt_at(const weir_model *m, int64_t n, int i) {
    return m->a.prompt + i * weir__stride(n);
}

weir_status weir__put_prompt(weir_model *m, int32_t slot, const int32_t *token, int64_t n) {
    const int64_t ld = weir__stride(n);
    int32_t *to = m->stage;
    for (int64_t i = 0; i < n; i++) {
        if (token[i] < 0 || token[i] >= m->shape.n_vocab_rows) return WEIR_EINVAL;
        to[i] = token[i];
        to[ld + i] = slot;
        if (m->shape.encoder) to[2 * ld + i] = (int32_t)n;
        if (m->shape.enc.window > 0)
            to[3 * ld + i] = n - i < m->shape.enc.window ? (int32_t)n : (int32_t)i + m->shape.enc.window;
    }
    if (to == m->a.prompt) return WEIR_OK;
    return weir__backend_upload(m->be, m->a.prompt, to, (size_t)weir__stage_ints(&m->shape, n) * sizeof *to);
}

weir_status weir__prompt_goes_on(const weir_model *m) {
    if (m->be->comm) return WEIR_OK; /* rank 0 asks before it tells the others of a step (calls.c) */
    return weir_interrupted(&m->be->interrupt) ? WEIR_ECANCELED : WEIR_OK;
}

weir_row_keys weir__rows_begin(const weir_model *m, const weir_kv *kv, const weir_batch *b, model_rows *r) {
    const model_arena *a = &m->a;
    *r = (model_rows){.n = b->n_row,
                      .x = a->x,
                      .dim = m->shape.dim,
                      .q = a->qkv + weir__own_q_at(&m->shape),
                      .ldq = weir__own_width(&m->shape),
                      .slot = b->slot,
                      .pos = b->pos,
                      .n_key = a->n_key,
                      .n_src = a->n_src,
                      .group = b->group};
    return (weir_row_keys){.slot = b->slot,
                           .pos = b->pos,
                           .cross_len = m->shape.encoder ? kv->cross_len : NULL,
                           .n_row = b->n_row,
                           .n_key = a->n_key,
                           .n_src = a->n_src};
}

static weir_status gather(weir_model *m, const weir_batch *b, float *dst, const float *src, int64_t ld,
                          int64_t n) {
    weir_gather g = {
        .dst = dst, .ld_dst = n, .src = src, .ld_src = ld, .index = b->out, .n_row = b->n_out, .n_col = n};
    return m->be->op.gather(m->be, &g);
}

weir_status weir__rows_keep_wanted(weir_model *m, const weir_kv *kv, const weir_batch *b, model_rows *r) {
    const model_arena *a = &m->a;
    const int64_t dim = m->shape.dim, inner = weir__own_inner(&m->shape);
    weir_row_keys keys = {.slot = b->slot,
                          .pos = b->pos,
                          .index = b->out,
                          .cross_len = m->shape.encoder ? kv->cross_len : NULL,
                          .n_row = b->n_out,
                          .out_slot = a->out_slot,
                          .out_pos = a->out_pos,
                          .n_key = a->out_key,
                          .n_src = a->out_src};
    WEIR_TRY(m->be->op.row_keys(m->be, &keys));
    WEIR_TRY(gather(m, b, a->x_out, r->x, dim, dim));
    if (inner > 0) WEIR_TRY(gather(m, b, a->q_out, r->q, r->ldq, inner));
    *r = (model_rows){.n = b->n_out,
                      .x = a->x_out,
                      .dim = dim,
                      .q = a->q_out,
                      .ldq = inner,
                      .slot = a->out_slot,
                      .pos = a->out_pos,
                      .n_key = a->out_key,
                      .n_src = a->out_src,
                      .group = 1};
    return WEIR_OK;
}
