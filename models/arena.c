/* Where activations are, and the rows in flight. */
#include "models/arena.h"

#include "kernels/base/mem.h"
#include "models/impl.h"

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- the block ---- */

/* The next part of a block, at a boundary of 256, which suits the vectors of every backend. */
static void *take(char *base, size_t *used, int64_t elements, int bytes) {
    void *p = base && elements > 0 ? base + *used : NULL;
    *used += ((size_t)elements * (size_t)bytes + 255) / 256 * 256;
    return p;
}

int64_t weir__stage_ints(const model_shape *s, int64_t n_prompt) {
    return (s->encoder ? 3 : 2) * weir__stride(n_prompt);
}

/* An encoder counts its keys once; a decoder's prompt counts them by position. */
static int64_t iota_ints(const model_shape *s, int64_t n_prompt) {
    return s->encoder ? n_prompt : n_prompt + 1;
}

void weir__model_arena_place(const model_shape *s, const arena_bounds *b, void *base, model_arena *a) {
    const int64_t inner = weir__inner(s), rows = b->n_row, chunk = max64(rows, b->chunk);
    const int64_t all = s->encoder ? max64(rows, b->n_prompt) : chunk;
    const int64_t n_page = s->encoder ? (b->n_prompt + WEIR_PAGE - 1) / WEIR_PAGE : 0;
    size_t used = 0;
    a->x = take(base, &used, all * s->dim, 4);
    a->qkv = take(base, &used, all * weir__width(s), 4);
    a->att = take(base, &used, chunk * inner, 4);
    a->h = take(base, &used, chunk * (s->encoder ? max64(s->ff_dim, 2 * weir__inner_kv(s)) : s->ff_dim), 4);
    a->sub = take(base, &used, s->post_norms ? chunk * s->dim : 0, 4);
    a->x_out = take(base, &used, rows * s->dim, 4);
    a->q_out = take(base, &used, rows * inner, 4);
    a->pool = take(base, &used, n_page * weir__kv_page_elems(1, s->n_head_kv, s->head_dim),
                   weir_dtype_bytes(b->kv_dtype));
    a->prompt = take(base, &used, weir__stage_ints(s, b->n_prompt), 4);
    a->iota = take(base, &used, iota_ints(s, b->n_prompt), 4);
    a->zero = take(base, &used, s->encoder ? b->n_prompt : 0, 4);
    a->n_key = take(base, &used, rows, 4);
    a->n_src = take(base, &used, s->encoder ? rows : 0, 4);
    a->out_slot = take(base, &used, rows, 4);
    a->out_pos = take(base, &used, rows, 4);
    a->out_key = take(base, &used, rows, 4);
    a->out_src = take(base, &used, s->encoder ? rows : 0, 4);
    a->bytes = used;
}

/* Positions, and the place where a prompt's rows are made: on the CPU the arena itself. */
static weir_status fill(weir_model *m) {
    weir_backend *be = m->be;
    const int64_t n = iota_ints(&m->shape, m->n_prompt);
    WEIR_TRY(
        weir__backend_zero(be, m->block, m->a.bytes)); /* neither a page nor a dead row may start with NaN */
    m->stage = be->device ? weir_calloc((size_t)weir__stage_ints(&m->shape, m->n_prompt), sizeof *m->stage)
                          : m->a.prompt;
    if (!m->stage) return WEIR_ENOMEM;
    for (int64_t i = 0; i < n; i++) m->stage[i] = (int32_t)i;
    return weir__backend_upload(be, m->a.iota, m->stage, (size_t)n * sizeof *m->stage);
}

weir_status weir__model_arena_create(weir_model *m) {
    weir_backend *be = m->be;
    const arena_bounds b = {m->n_row, m->n_prompt, be->chunk, m->facts.kv_dtype};
    weir__model_arena_place(&m->shape, &b, NULL, &m->a);
    m->block = weir__backend_alloc(be, m->a.bytes);
    if (!m->block) return weir__backend_no_memory(be);
    weir__model_arena_place(&m->shape, &b, m->block, &m->a);
    WEIR_TRY(fill(m));
    return weir__backend_reserve(be, weir__op_floats(&m->shape, be, m->n_row, m->n_prompt));
}

void weir__model_arena_free(weir_model *m) {
    if (m->stage != m->a.prompt) weir_free(m->stage);
    if (m->block) weir__backend_free(m->be, m->block);
}

/* ---- rows in flight ---- */

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
    }
    if (to == m->a.prompt) return WEIR_OK;
    return weir__backend_upload(m->be, m->a.prompt, to, (size_t)weir__stage_ints(&m->shape, n) * sizeof *to);
}

weir_status weir__prompt_goes_on(const weir_model *m) {
    return weir_interrupted(&m->be->interrupt) ? WEIR_ECANCELED : WEIR_OK;
}

weir_status weir__rows_begin(weir_model *m, const weir_kv *kv, const weir_batch *b, model_rows *r) {
    const model_arena *a = &m->a;
    weir_row_keys keys = {.slot = b->slot,
                          .pos = b->pos,
                          .cross_len = m->shape.encoder ? kv->cross_len : NULL,
                          .n_row = b->n_row,
                          .n_key = a->n_key,
                          .n_src = a->n_src};
    *r = (model_rows){.n = b->n_row,
                      .x = a->x,
                      .q = a->qkv,
                      .ldq = weir__width(&m->shape),
                      .slot = b->slot,
                      .pos = b->pos,
                      .n_key = a->n_key,
                      .n_src = a->n_src,
                      .group = b->group};
    return m->be->op.row_keys(m->be, &keys);
}

static weir_status gather(weir_model *m, const weir_batch *b, float *dst, const float *src, int64_t ld,
                          int64_t n) {
    weir_gather g = {
        .dst = dst, .ld_dst = n, .src = src, .ld_src = ld, .index = b->out, .n_row = b->n_out, .n_col = n};
    return m->be->op.gather(m->be, &g);
}

weir_status weir__rows_keep_wanted(weir_model *m, const weir_kv *kv, const weir_batch *b, model_rows *r) {
    const model_arena *a = &m->a;
    const int64_t dim = m->shape.dim, inner = weir__inner(&m->shape);
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
    WEIR_TRY(gather(m, b, a->q_out, r->q, r->ldq, inner));
    *r = (model_rows){.n = b->n_out,
                      .x = a->x_out,
                      .q = a->q_out,
                      .ldq = inner,
                      .slot = a->out_slot,
                      .pos = a->out_pos,
                      .n_key = a->out_key,
                      .n_src = a->out_src,
                      .group = 1};
    return WEIR_OK;
}
