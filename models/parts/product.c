#include "models/parts/product.h"

/* The rows, and the norm's factors, as the weight has its inputs. */
static weir_status put_in_order(weir_model *m, weir_linear *a) {
    weir_permute p = {.dst = m->a.ordered,
                      .ld_dst = a->w->k,
                      .src = a->x,
                      .ld_src = a->ldx,
                      .norm = a->norm,
                      .norm_dst = m->a.ordered_norm,
                      .order = a->w->order,
                      .n_row = a->n_row,
                      .n_col = a->w->k};
    a->x = p.dst, a->ldx = p.ld_dst;
    if (a->norm) a->norm = p.norm_dst;
    return m->be->op.permute(m->be, &p);
}

weir_status weir__product(weir_model *m, const model_rows *r, weir_linear a) {
    a.eps = m->eps;
    if (!a.groups) a.n_row = r->n;
    a.rows = !r->prefill;
    if (a.scale == 0.0f) a.scale = 1.0f;
    if (a.w->order) WEIR_TRY(put_in_order(m, &a));
    return m->be->op.linear(m->be, &a);
}

/* This rank's share of a product, and the sum over ranks into y. */
static weir_status reduce(weir_model *m, const model_rows *r, weir_linear a, uint32_t has) {
    const int64_t dim = r->dim, rows = m->n_row > m->be->chunk ? m->n_row : m->be->chunk;
    float *part = m->a.part + m->n_reduced++ % 2 * rows * dim;
    const weir_reduce sum = {.part = part,
                             .y = a.y,
                             .ldy = a.ldy,
                             .n_row = r->n,
                             .n = dim,
                             .has = has,
                             .add = a.epilogue == WEIR_EPI_ADD,
                             .scale = a.scale};
    a.y = part, a.ldy = dim, a.epilogue = WEIR_EPI_STORE, a.scale = 1.0f;
    if (a.w->k > 0) WEIR_TRY(weir__product(m, r, a));
    return m->be->exchange->reduce(m->be, &sum);
}

weir_status weir__summed_product(weir_model *m, const model_rows *r, weir_linear a, uint32_t has) {
    const bool split = a.w->split == WEIR_SPLIT_INPUTS && weir__body_is_shared(&m->shape);
    return split ? reduce(m, r, a, has) : weir__product(m, r, a);
}

weir_status weir__residual(weir_model *m, const model_rows *r, const weir_weight *w, uint32_t has,
                           const float *in, const float *post) {
    const int64_t dim = r->dim;
    const weir_linear a = {.x = in,
                           .ldx = w->k,
                           .w = w,
                           .y = post ? m->a.sub : r->x,
                           .ldy = dim,
                           .epilogue = post ? WEIR_EPI_STORE : WEIR_EPI_ADD,
                           .scale = m->residual};
    WEIR_TRY(weir__summed_product(m, r, a, has));
    if (!post) return WEIR_OK;
    weir_rmsnorm n = {
        .y = r->x, .x = m->a.sub, .w = post, .n_row = r->n, .dim = dim, .eps = m->eps, .add = true};
    return m->be->op.rmsnorm(m->be, &n);
}

weir_epilogue weir__epilogue_of(weir_act act) {
    switch (act) {
    case WEIR_ACT_RELU: return WEIR_EPI_RELU;
    case WEIR_ACT_GELU_TANH: return WEIR_EPI_GELU_TANH;
    case WEIR_ACT_GELU_ERF: return WEIR_EPI_GELU_ERF;
    case WEIR_ACT_SILU: return WEIR_EPI_SILU;
    }
    return WEIR_EPI_STORE;
}
