/* Measures, creates and frees the models of every family. */
#include <inttypes.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "models/parts/head.h"

weir_status weir__backend_no_memory(const weir_backend *be) {
    return be->device ? WEIR_EDEVMEM : WEIR_ENOMEM;
}

weir_status weir__check_bounds(const char *family, const model_bound *b, size_t n, weir_err *err) {
    for (size_t i = 0; i < n; i++) {
        if (b[i].v >= b[i].lo && b[i].v <= b[i].hi) continue;
        return weir_fail(err, WEIR_EINVAL, "%s config: %s is %" PRId64 ", want %" PRId64 " to %" PRId64,
                         family, b[i].what, b[i].v, b[i].lo, b[i].hi);
    }
    return WEIR_OK;
}

/* ---- weights ---- */

/* Pages are bf16 where a device serves bf16 or quantised matrices, else f32. */
static weir_dtype kv_dtype_of(bool device, weir_dtype matrices) {
    return device && (matrices == WEIR_DTYPE_BF16 || !weir_dtype_is_float(matrices)) ? WEIR_DTYPE_BF16
                                                                                     : WEIR_DTYPE_F32;
}

/* Every rank's share follows from the blocks of the matrices, so a walk over the whole model comes first. */
static weir_status share_out(weir_model *m, weights *w) {
    const weir_place place = m->shape.place;
    weights scan = {.src = w->src, .dtype = w->dtype, .place = w->place, .shape = &m->shape, .err = w->err};
    m->shape.place = (weir_place){.device = place.device};
    m->shape.own = weir__share_whole(&m->shape);
    const weir_status s = m->ops->load(m, &scan);
    m->shape.place = place;
    if (s != WEIR_OK) return s;
    memcpy(w->block, scan.block, sizeof w->block);
    m->has_heads = m->has_ff = m->has_shared_ff = 0;
    for (int r = 0; r < place.n_rank; r++) {
        const weir_share h = weir__share_of(
            &m->shape, w->block,
            (weir_place){.device = place.device, .whole_body = place.whole_body, r, place.n_rank});
        m->has_heads |= (uint32_t)(h.n_head > 0) << r;
        m->has_ff |= (uint32_t)(h.n_ff > 0) << r;
        m->has_shared_ff |= (uint32_t)(h.n_shared_ff > 0) << r;
        m->first_id[r] = h.id, m->first_id[r + 1] = h.id + h.n_id;
        m->first_expert[r] = h.expert, m->first_expert[r + 1] = h.expert + h.n_expert;
        if (r == place.rank) m->shape.own = h;
    }
    return WEIR_OK;
}

static weir_status walk(weir_model *m, weights *w) {
    weir_model_facts *f = &m->facts;
    w->place = m->shape.place;
    w->shape = &m->shape;
    WEIR_TRY(share_out(m, w));
    *f = (weir_model_facts){0};
    WEIR_TRY(m->ops->load(m, w));
    f->n_param = w->n_param;
    f->ordered = m->shape.ordered = w->ordered;
    f->n_quantised = w->n_quantised, f->n_left = w->n_left;
    f->weight_bytes = w->matrix_bytes + 4 * (size_t)w->n_vector;
    f->decode_bytes = w->row_bytes;
    f->n_vocab_rows = (int32_t)m->shape.n_vocab_rows;
    f->share = m->shape.own;
    f->n_head_kv = f->share.n_head_kv > 0 ? f->share.n_head_kv : 1;
    f->exchange_floats = f->embed_floats = (size_t)m->shape.dim;
    f->given_floats = (size_t)m->shape.dim;
    if (weir__body_is_shared(&m->shape)) {
        f->n_exchange = w->n_exchange, f->given_floats += w->given_floats;
        if (f->exchange_floats < w->exchange_floats) f->exchange_floats = w->exchange_floats;
    }
    if (m->shape.encoder && m->shape.enc.dim > m->shape.dim) f->embed_floats = (size_t)m->shape.enc.dim;
    f->head_dim = m->shape.head_dim;
    f->encoder_decoder = m->shape.encoder;
    f->kv_dtype = kv_dtype_of(w->place.device, f->dtype);
    return WEIR_OK;
}

weir_status weir__model_measure(weir_model *m, const weir_tensor_source *src, weir_dtype dtype,
                                weir_model_facts *out, weir_err *err) {
    weights w = {.src = src, .dtype = dtype, .err = err};
    WEIR_TRY(walk(m, &w));
    *out = m->facts;
    return WEIR_OK;
}

weir_status weir__model_tensors(weir_model *m, weir_tensor_visit visit, void *ud) {
    weights w = {.dtype = WEIR_DTYPE_F32, .visit = visit, .visitor = ud};
    return walk(m, &w);
}

/* Vectors are made in host memory, which on the CPU is where they stay. */
static weir_status load_into(weir_model *m, weights *w, int64_t n_vector) {
    weir_backend *be = m->be;
    w->there = m->vectors;
    w->vector = m->vectors;
    if (!be->device) return walk(m, w);
    w->vector = weir_calloc((size_t)n_vector, sizeof *w->vector);
    if (!w->vector)
        return weir_fail(w->err, WEIR_ENOMEM, "%s: %s", m->ops->name, weir_status_str(WEIR_ENOMEM));
    weir_status s = walk(m, w);
    if (s == WEIR_OK) {
        s = weir__backend_upload(be, m->vectors, w->vector, (size_t)n_vector * sizeof *w->vector);
        if (s != WEIR_OK) weir__backend_failure(be, w->err);
    }
    weir_free(w->vector);
    return s;
}

/* Every weight: a walk that plans says how much room the vectors of the one that loads take. */
static weir_status load(weir_model *m, const weir_tensor_source *src, weir_err *err) {
    weights plan = {.src = src, .err = err};
    weights w = {.src = src, .err = err, .be = m->be};
    WEIR_TRY(walk(m, &plan));
    m->vectors = weir__backend_alloc(m->be, (size_t)plan.n_vector * sizeof *m->vectors);
    if (m->vectors) return load_into(m, &w, plan.n_vector);
    return weir_fail(err, weir__backend_no_memory(m->be), "%s: %s", m->ops->name,
                     weir_status_str(weir__backend_no_memory(m->be)));
}

/* ---- the arena ---- */

/* Positions, and the place where a prompt's rows are made: on the CPU the arena itself. */
static weir_status fill_arena(weir_model *m) {
    weir_backend *be = m->be;
    const int64_t n = weir__iota_ints(&m->shape, m->n_prompt);
    WEIR_TRY(
        weir__backend_zero(be, m->memory, m->a.bytes)); /* neither a page nor a dead row may start with NaN */
    m->stage = be->device ? weir_calloc((size_t)weir__stage_ints(&m->shape, m->n_prompt), sizeof *m->stage)
                          : m->a.prompt;
    if (!m->stage) return WEIR_ENOMEM;
    for (int64_t i = 0; i < n; i++) m->stage[i] = (int32_t)i;
    return weir__backend_upload(be, m->a.iota, m->stage, (size_t)n * sizeof *m->stage);
}

static weir_status create_arena(weir_model *m) {
    weir_backend *be = m->be;
    const arena_bounds b = {m->n_row, m->n_prompt, be->chunk, m->facts.kv_dtype};
    weir__model_arena_place(&m->shape, &b, NULL, &m->a);
    m->memory = weir__backend_alloc(be, m->a.bytes);
    if (!m->memory) return weir__backend_no_memory(be);
    weir__model_arena_place(&m->shape, &b, m->memory, &m->a);
    WEIR_TRY(fill_arena(m));
    return weir__backend_reserve(be, weir__op_floats(&m->shape, be, m->n_row, m->n_prompt));
}

static void free_arena(weir_model *m) {
    if (m->stage != m->a.prompt) weir_free(m->stage);
    if (m->memory) weir__backend_free(m->be, m->memory);
}

/* ---- create and free ---- */

static weir_status build(weir_model *m, const weir_tensor_source *src, weir_err *err) {
    weir_status s = m->ops->alloc_layers(m);
    if (s != WEIR_OK) return weir_fail(err, s, "%s: %s", m->ops->name, weir_status_str(s));
    WEIR_TRY(load(m, src, err));
    s = create_arena(m);
    if (s == WEIR_ECUDA)
        weir__backend_failure(m->be, err);
    else if (s != WEIR_OK)
        weir_fail(err, s, "%s: %s", m->ops->name, weir_status_str(s));
    return s;
}

weir_status weir__model_create(weir_model *m, const weir_tensor_source *src, weir_err *err) {
    const weir_status s = build(m, src, err);
    if (s != WEIR_OK) weir__model_free(m);
    return s;
}

void weir__model_free(weir_model *m) {
    if (!m) return;
    m->ops->free_layers(m);
    weir__head_free(m->be, &m->head);
    free_arena(m);
    if (m->vectors) weir__backend_free(m->be, m->vectors);
    weir_free(m);
}
