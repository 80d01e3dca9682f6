#include "models/parts/experts.h"

#include <stdio.h>

#include "kernels/weight/pack.h"
#include "models/parts/product.h"

static size_t more(size_t a, size_t b) { return a > b ? a : b; }

/* Of products in and out with ff columns between them. */
static size_t pair_floats(const model_shape *s, int64_t ff, int64_t chunk) {
    return more(weir__linear_cuda_scratch_floats(2 * ff, s->dim, chunk),
                weir__linear_cuda_scratch_floats(s->dim, ff, chunk));
}

size_t weir__experts_floats(const model_shape *s, int64_t chunk) {
    const size_t router = weir__linear_cuda_scratch_floats(s->n_expert, s->dim, chunk);
    const size_t each = more(router, pair_floats(s, s->expert_ff, chunk));
    return s->shared_ff > 0 ? more(each, pair_floats(s, s->shared_ff, chunk)) : each;
}

/* ---- loading ------------------------------------------------------------------------------------------- */

static matrix_list list_of(const char *prefix, const char *a, const char *b, weir_span rows, weir_span cols) {
    return (matrix_list){.prefix = prefix,
                         .what = {a, b},
                         .rows = {rows, rows},
                         .cols = cols,
                         .n = b ? 2 : 1,
                         .use = WEIR_USE_ROWS};
}

static weir_status load_each(weights *w, const model_shape *s, const expert_names *n, experts *e) {
    const weir_span ff = weir__span_all(s->expert_ff), dim = weir__span_all(s->dim);
    char prefix[WEIR__PREFIX_CAP];
    int n_out;
    (void)snprintf(prefix, sizeof prefix, "%sexperts.", n->prefix);
    matrix_stack l = {.each = list_of(prefix, n->gate, n->up, ff, dim),
                      .which = {s->n_expert, s->own.expert, s->own.n_expert},
                      .n_used = s->n_used,
                      .stacked = n->stacked,
                      .apart = s->biased};
    WEIR_TRY(weir__load_stack(w, &l, e->in, &e->n_in));
    if (s->biased) WEIR_TRY(weir__load_stack_bias(w, &l, &e->in_bias));
    l.each = list_of(prefix, n->down, NULL, dim, ff);
    if (s->biased) WEIR_TRY(weir__load_stack_bias(w, &l, &e->out_bias));
    weir__note_exchange(w, s->n_used * s->dim); /* what they return */
    return weir__load_stack(w, &l, &e->out, &n_out);
}

static weir_status load_shared(weights *w, const model_shape *s, const expert_names *n, experts *e) {
    const weir_span ff = {s->shared_ff, s->own.shared_ff, s->own.n_shared_ff}, dim = weir__span_all(s->dim);
    char prefix[WEIR__PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "%sshared_expert.", n->prefix);
    const matrix_list in = list_of(prefix, n->gate, n->up, ff, dim),
                      gate = list_of(n->prefix, "shared_expert_gate", NULL, weir__span_all(1), dim);
    matrix_list out = list_of(prefix, n->down, NULL, dim, ff);
    out.inputs = SHARED_EXPERT;
    WEIR_TRY(weir__load_gated(w, &in, e->shared_in, &e->n_shared_in));
    WEIR_TRY(weir__load_matrix(w, &out, &e->shared_out));
    return weir__load_matrix(w, &gate, &e->shared_gate);
}

weir_status weir__experts_load(weights *w, const model_shape *s, const expert_names *n, experts *e) {
    const matrix_list router =
        list_of(n->prefix, n->router, NULL, weir__span_all(s->n_expert), weir__span_all(s->dim));
    if (s->biased) WEIR_TRY(weir__load_bias(w, &router, &e->router_bias));
    WEIR_TRY(weir__load_matrix(w, &router, &e->router));
    WEIR_TRY(load_each(w, s, n, e));
    return s->shared_ff > 0 ? load_shared(w, s, n, e) : WEIR_OK;
}

void weir__experts_free(weir_backend *be, experts *e) {
    weir__weight_free(be, &e->router);
    weir__weight_free(be, &e->out);
    weir__weight_free(be, &e->shared_out);
    weir__weight_free(be, &e->shared_gate);
    for (int i = 0; i < 2; i++) {
        weir__weight_free(be, &e->in[i]);
        weir__weight_free(be, &e->shared_in[i]);
    }
}

/* ---- running ------------------------------------------------------------------------------------------- */

/* h = act(gate·norm x) * (up·norm x), of a gated pair or of two matrices. */
static weir_status into_h(weir_model *m, const model_rows *r, weir_linear a, const weir_weight in[2], int n) {
    a.y = m->a.h, a.ldy = in[0].n, a.epilogue = m->act;
    for (int i = 0; i < n; i++) {
        a.w = &in[i];
        if (i > 0) a.epilogue = WEIR_EPI_MUL;
        WEIR_TRY(weir__product(m, r, a));
    }
    return WEIR_OK;
}

/* The same with biases: both products one beside the other, then the unit in place. */
static weir_status into_unit(weir_model *m, const model_rows *r, weir_linear a, const experts *e) {
    weir_glu unit = {.x = m->a.h,
                     .ld = 2 * m->shape.expert_ff,
                     .bias = e->in_bias + 2 * m->shape.expert_ff * m->shape.own.expert,
                     .begin = a.groups->begin,
                     .n_group = a.groups->n,
                     .limit = e->limit,
                     .n_row = a.n_row,
                     .n_col = m->shape.expert_ff};
    a.y = m->a.h, a.ldy = unit.ld;
    for (int i = 0; i < e->n_in; i++) {
        a.w = &e->in[i];
        WEIR_TRY(weir__product(m, r, a));
        a.y += e->in[i].n;
    }
    return m->be->op.glu(m->be, &unit);
}

static weir_status route(weir_model *m, const experts *e, const model_rows *r) {
    const model_arena *a = &m->a;
    const weir_linear logits = {.x = r->x,
                                .ldx = m->shape.dim,
                                .norm = e->norm,
                                .w = &e->router,
                                .y = a->router,
                                .ldy = m->shape.n_expert};
    weir_route to = {.logits = a->router,
                     .ld = m->shape.n_expert,
                     .bias = e->router_bias,
                     .slot = r->slot,
                     .n_row = r->n,
                     .n_expert = m->shape.n_expert,
                     .n_used = m->shape.n_used,
                     .over_all = e->over_all,
                     .weight = a->expert_weight,
                     .expert = a->expert,
                     .begin = a->expert_begin,
                     .row = a->expert_row,
                     .owner = a->expert_owner,
                     .place = a->expert_place};
    WEIR_TRY(weir__product(m, r, logits));
    return m->be->op.route(m->be, &to);
}

/* Entries whose expert another rank has come from there. */
static weir_status collect(weir_model *m, int64_t n) {
    const weir_collect_rows all = {
        .x = m->a.entry, .id = m->a.expert_owner, .n_row = n, .n = m->shape.dim, .first = m->first_expert};
    return weir__body_is_shared(&m->shape) ? m->be->exchange->collect_rows(m->be, &all) : WEIR_OK;
}

/* What every row's experts return, into the arena's entries. */
static weir_status each(weir_model *m, const experts *e, const model_rows *r) {
    const model_arena *a = &m->a;
    const int64_t dim = m->shape.dim, n = r->n * m->shape.n_used;
    const weir_groups groups = {.begin = a->expert_begin + m->shape.own.expert,
                                .n = m->shape.own.n_expert,
                                .n_all = m->shape.n_expert,
                                .most = r->n};
    weir_gather rows = {.dst = a->entry,
                        .ld_dst = dim,
                        .src = r->x,
                        .ld_src = dim,
                        .index = a->expert_row,
                        .n_row = n,
                        .n_col = dim};
    const weir_linear in = {.x = a->entry, .ldx = dim, .norm = e->norm, .n_row = n, .groups = &groups},
                      out = {.x = a->h,
                             .ldx = (e->in_bias ? 2 : 1) * m->shape.expert_ff,
                             .w = &e->out,
                             .y = a->entry,
                             .ldy = dim,
                             .n_row = n,
                             .groups = &groups};
    WEIR_TRY(m->be->op.gather(m->be, &rows));
    if (groups.n > 0) { /* a rank may have none */
        WEIR_TRY(e->in_bias ? into_unit(m, r, in, e) : into_h(m, r, in, e->in, e->n_in));
        WEIR_TRY(weir__product(m, r, out));
    }
    return collect(m, n);
}

static weir_status shared(weir_model *m, const experts *e, const model_rows *r) {
    const model_arena *a = &m->a;
    const int64_t dim = m->shape.dim;
    const weir_linear
        in = {.x = r->x, .ldx = dim, .norm = e->norm},
        gate = {.x = r->x, .ldx = dim, .norm = e->norm, .w = &e->shared_gate, .y = a->shared_gate, .ldy = 1},
        out = {.x = a->h, .ldx = e->shared_out.k, .w = &e->shared_out, .y = a->shared, .ldy = dim};
    WEIR_TRY(weir__product(m, r, gate));
    if (m->shape.own.n_shared_ff > 0) WEIR_TRY(into_h(m, r, in, e->shared_in, e->n_shared_in));
    return weir__summed_product(m, r, out, m->has_shared_ff);
}

weir_status weir__experts(weir_model *m, const experts *e, const model_rows *r) {
    const model_arena *a = &m->a;
    const bool has_shared = e->n_shared_in > 0;
    weir_combine sum = {.y = r->x,
                        .ldy = m->shape.dim,
                        .part = a->entry,
                        .ld = m->shape.dim,
                        .place = a->expert_place,
                        .weight = a->expert_weight,
                        .n_used = m->shape.n_used,
                        .bias = e->out_bias,
                        .expert = e->out_bias ? a->expert : NULL,
                        .shared = has_shared ? a->shared : NULL,
                        .ld_shared = m->shape.dim,
                        .gate = has_shared ? a->shared_gate : NULL,
                        .n_row = r->n,
                        .dim = m->shape.dim};
    WEIR_TRY(route(m, e, r));
    WEIR_TRY(each(m, e, r));
    if (has_shared) WEIR_TRY(shared(m, e, r));
    return m->be->op.combine(m->be, &sum);
}
