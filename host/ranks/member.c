/* A rank that follows. It trusts rank 0's arguments, which were checked there; a message that makes no sense
 * ends the group all the same. */
#include "host/ranks/member.h"

#include <string.h>

#include "host/deck/plan.h"
#include "host/pair/place.h"
#include "kernels/base/mem.h"

/* ---- open and close ------------------------------------------------------------------------------------ */

/* A zeroed array of the host as ops see it. */
static weir_status open_copy(ranks_member *m, int32_t *host, size_t n, int32_t **seen) {
    *seen = m->be->device ? weir__backend_alloc(m->be, n * sizeof *host) : host;
    if (!*seen) return WEIR_EDEVMEM;
    return m->be->device ? weir__backend_zero(m->be, *seen, n * sizeof *host) : WEIR_OK;
}

static weir_status open_pool(ranks_member *m, member_side *s, int which, const weir_kv_shape *shape,
                             weir_kv_view *view) {
    ranks_table *t = &s->table[which];
    if (shape->n_layer == 0) return WEIR_OK;
    t->n_slot = shape->n_slot;
    t->stride = weir__kv_pages_for(shape->max_len);
    t->page = weir_calloc((size_t)(t->n_slot * t->stride), sizeof *t->page);
    const size_t bytes = (size_t)weir__kv_shape_pages(shape) * weir__kv_page_bytes(shape);
    s->pool[which] = weir__backend_alloc(m->be, bytes);
    if (!t->page || !s->pool[which]) return WEIR_ENOMEM;
    WEIR_TRY(weir__backend_zero(m->be, s->pool[which], bytes)); /* no page may start with NaN */
    WEIR_TRY(open_copy(m, t->page, (size_t)(t->n_slot * t->stride), &s->seen[which]));
    *view =
        (weir_kv_view){.pool = s->pool[which],
                       .page_elems = weir__kv_page_elems(shape->n_layer, shape->n_head_kv, shape->head_dim),
                       .table = s->seen[which],
                       .table_stride = t->stride,
                       .n_layer = shape->n_layer,
                       .n_head_kv = shape->n_head_kv,
                       .head_dim = shape->head_dim,
                       .dtype = shape->dtype};
    return WEIR_OK;
}

static weir_status open_caches(ranks_member *m, member_side *s) {
    const weir_kv_shape self = weir__plan_self(m->e, &s->facts), slide = weir__plan_slide(m->e, &s->facts);
    WEIR_TRY(open_pool(m, s, RANKS_SELF, &self, &s->kv.self));
    WEIR_TRY(open_pool(m, s, RANKS_SLIDE, &slide, &s->kv.slide));
    for (int i = 0; i < s->facts.n_open; i++) {
        s->prompt[i] = weir_calloc((size_t)m->e->pair.ctx_size, sizeof **s->prompt);
        if (!s->prompt[i]) return WEIR_ENOMEM;
    }
    if (s->facts.n_layer_cross == 0) return WEIR_OK;
    s->cross_len = weir_calloc((size_t)m->e->pair.n_parallel, sizeof *s->cross_len);
    if (!s->cross_len) return WEIR_ENOMEM;
    WEIR_TRY(open_copy(m, s->cross_len, (size_t)m->e->pair.n_parallel, &s->seen_cross_len));
    s->kv.cross = s->kv.self;
    s->kv.cross.table += m->e->pair.n_parallel * s->kv.self.table_stride;
    s->kv.cross_len = s->seen_cross_len;
    return WEIR_OK;
}

static weir_status open_side(ranks_member *m, int i, weir_err *err) {
    const weir_pair *p = &m->e->pair;
    member_side *s = &m->side[i];
    const weir_family *f = p->side[i].family;
    const weir_place place = weir__ranks_place(m->e, i, m->comm->rank);
    weir_checkpoint ck = weir__checkpoint_copy(&p->side[i].ck);
    const weir_tensor_source src = weir__checkpoint_source(&ck);
    WEIR_TRY(f->measure(&ck, &src, place, &s->facts, err));
    const weir_status made =
        f->create(&s->model, m->be, &ck, &src, place.whole_body, p->n_row_max, p->ctx_size, err);
    weir__checkpoint_drop(&ck);
    if (made != WEIR_OK) return made;
    const weir_status st = open_caches(m, s);
    return st == WEIR_OK ? st : weir_fail(err, st, "%s for the KV pages", weir_status_str(st));
}

/* Of a device's failure before it is in the group the others wait to hear. */
weir_status weir__member_join(ranks_member *m, weir_err *err) {
    const weir_pair *p = &m->e->pair;
    const int index = p->processes ? p->device_here : p->device_of[m->comm->rank];
    const weir_status s = p->be->device ? weir__backend_cuda_open(&m->be, index, err)
                                        : weir__backend_cpu_open(&m->be, m->n_thread, m->isa, err);
    if (s != WEIR_OK) {
        if (p->be->device) weir__comm_abort(m->comm, s, err->text);
        return s;
    }
    m->be->minmaxes = p->be->minmaxes;
    return m->be->exchange->join(m->be, m->comm, p->exchange_floats, err);
}

weir_status weir__member_open(ranks_member *m, weir_err *err) {
    const weir_pair *p = &m->e->pair;
    const size_t rows = WEIR_SPREAD * (size_t)p->n_row_max * sizeof *m->rows;
    if (m->be->device && !(m->rows = weir__backend_alloc(m->be, rows)))
        return weir_fail(err, WEIR_EDEVMEM, "%s: %s", m->be->name, weir_status_str(WEIR_EDEVMEM));
    for (int i = 0; i <= (int)p->has_draft; i++) WEIR_TRY(open_side(m, i, err));
    const weir_status s = weir__backend_reserve(m->be, p->op_floats);
    return s == WEIR_OK ? s : weir_fail(err, s, "%s for the scratch of ops", weir_status_str(s));
}

void weir__member_close(ranks_member *m) {
    if (m->be && m->be->comm) m->be->exchange->leave(m->be);
    for (int i = 0; i < WEIR_LOOP_KEYS; i++)
        if (m->loop[i]) m->be->stream->graph_free(m->be, m->loop[i]);
    if (m->rows) weir__backend_free(m->be, m->rows);
    for (int i = 0; i < 2; i++) {
        member_side *s = &m->side[i];
        weir__model_free(s->model);
        for (int t = 0; t < RANKS_TABLES; t++) {
            if (s->pool[t]) weir__backend_free(m->be, s->pool[t]);
            if (s->seen[t] && s->seen[t] != s->table[t].page) weir__backend_free(m->be, s->seen[t]);
            weir_free(s->table[t].page);
        }
        for (int p = 0; p < WEIR_PROMPTS_OPEN; p++) weir_free(s->prompt[p]);
        if (s->seen_cross_len && s->seen_cross_len != s->cross_len)
            weir__backend_free(m->be, s->seen_cross_len);
        weir_free(s->cross_len);
        *s = (member_side){0};
    }
    weir__backend_close(m->be); /* NULL: it was never opened */
    m->be = NULL;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

/* Part of a table of the host to where ops see it. */
static weir_status show(ranks_member *m, const int32_t *host, int32_t *seen, int64_t first, int64_t n) {
    if (host == seen) return WEIR_OK;
    return weir__backend_upload(m->be, seen + first, host + first, (size_t)n * sizeof *host);
}

static weir_status take_tables(ranks_member *m, member_side *s, ranks_reader *r) {
    for (int32_t n = weir__words_get(r); n > 0 && !r->wrong; n--) {
        const int32_t which = weir__words_get(r), slot = weir__words_get(r), count = weir__words_get(r);
        const int32_t *page = weir__words_get_all(r, count);
        if (!page || which < 0 || which >= RANKS_TABLES) return WEIR_EFORMAT;
        ranks_table *t = &s->table[which];
        if (slot < 0 || slot >= t->n_slot || count > t->stride) return WEIR_EFORMAT;
        memcpy(t->page + slot * t->stride, page, (size_t)count * sizeof *page);
        WEIR_TRY(show(m, t->page, s->seen[which], slot * t->stride, count));
    }
    for (int32_t n = weir__words_get(r); n > 0 && !r->wrong; n--) {
        const int32_t slot = weir__words_get(r), len = weir__words_get(r);
        if (!s->cross_len || slot < 0 || slot >= m->e->pair.n_parallel) return WEIR_EFORMAT;
        s->cross_len[slot] = len;
        WEIR_TRY(show(m, s->cross_len, s->seen_cross_len, slot, 1));
    }
    return r->wrong ? WEIR_EFORMAT : WEIR_OK;
}

/* A call whose rows come from rank 0's device. */
static weir_status forward_spread(ranks_member *m, const ranks_call *c) {
    const int64_t most = m->e->pair.n_row_max;
    if (c->side < 0 || c->side > (int32_t)m->e->pair.has_draft || c->n_row < 0 || c->n_row > most ||
        c->n_out < 0 || c->n_out > c->n_row)
        return WEIR_EFORMAT;
    const weir_spread a = {.to = {m->rows, m->rows + most, m->rows + 2 * most, m->rows + 3 * most},
                           .n = {c->n_row, c->n_row, c->n_row, c->n_out}};
    const weir_batch b = {.token = a.to[0],
                          .pos = a.to[1],
                          .slot = a.to[2],
                          .n_row = c->n_row,
                          .out = a.to[3],
                          .n_out = c->n_out,
                          .group = c->group};
    WEIR_TRY(m->be->exchange->spread(m->be, &a));
    return weir__model_forward(m->side[c->side].model, &m->side[c->side].kv, &b);
}

static weir_status forward(ranks_member *m, int32_t side, ranks_reader *r) {
    const int32_t n_row = weir__words_get(r), n_out = weir__words_get(r), group = weir__words_get(r);
    const ranks_call c = {side, n_row, n_out, group};
    if (m->be->device) return r->wrong ? WEIR_EFORMAT : forward_spread(m, &c);
    const member_side *s = &m->side[side];
    weir_batch b = {.n_row = c.n_row, .n_out = c.n_out, .group = c.group};
    b.token = weir__words_get_all(r, b.n_row);
    b.pos = weir__words_get_all(r, b.n_row);
    b.slot = weir__words_get_all(r, b.n_row);
    b.out = weir__words_get_all(r, b.n_out);
    return r->wrong ? WEIR_EFORMAT : weir__model_forward(s->model, &s->kv, &b);
}

static weir_status prefill(const ranks_member *m, member_side *s, ranks_reader *r) {
    const int32_t slot = weir__words_get(r), place = weir__words_get(r), step = weir__words_get(r),
                  n = weir__words_get(r), sent = weir__words_get(r);
    const int32_t *token = weir__words_get_all(r, sent);
    if (r->wrong || place < 0 || place >= s->facts.n_open || sent > m->e->pair.ctx_size) return WEIR_EFORMAT;
    if (sent > 0) {
        memcpy(s->prompt[place], token, (size_t)sent * sizeof *token);
        s->n_prompt[place] = sent;
    }
    if (n != s->n_prompt[place]) return WEIR_EFORMAT;
    return weir__model_prefill_part(s->model, &s->kv, slot, s->prompt[place], n, place, step, step + 1);
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

typedef struct script {
    ranks_member *m;
    const ranks_call *call;
    int32_t n;
} script;

static weir_status run_script(void *ctx) {
    const script *a = ctx;
    for (int32_t i = 0; i < a->n; i++) WEIR_TRY(forward_spread(a->m, &a->call[i]));
    const weir_spread word = {.to = {a->m->rows}, .n = {1}, .loop = true};
    return a->m->be->exchange->spread(a->m->be, &word);
}

static weir_graph **loop_at(ranks_member *m, int32_t key) {
    return key < 0 || key >= WEIR_LOOP_KEYS || !m->be->device ? NULL : &m->loop[key];
}

weir_status weir__loops_everywhere(weir_comm *comm, bool mine, bool *all) {
    int32_t word = mine, words[WEIR_RANKS];
    WEIR_TRY(weir__comm_agree(comm, &word, words, sizeof word));
    *all = true;
    for (int r = 0; r < comm->n_rank; r++) *all = *all && words[r] != 0;
    return WEIR_OK;
}

static weir_status record(ranks_member *m, ranks_reader *r) {
    weir_graph **g = loop_at(m, weir__words_get(r));
    const int32_t n = weir__words_get(r);
    if (n < 0 || n > INT32_MAX / RANKS_CALL_WORDS) return WEIR_EFORMAT;
    script a = {m, (const ranks_call *)weir__words_get_all(r, n * RANKS_CALL_WORDS), n};
    if (!g || r->wrong) return WEIR_EFORMAT;
    if (*g) m->be->stream->graph_free(m->be, *g);
    *g = NULL;
    const weir_status s = m->be->stream->capture(m->be, run_script, &a, true, g);
    if (s != WEIR_ENOTSUP) WEIR_TRY(s);
    bool all;
    return weir__loops_everywhere(m->comm, *g && (*g)->loops, &all);
}

static weir_status loop(ranks_member *m, ranks_reader *r) {
    weir_graph **g = loop_at(m, weir__words_get(r));
    if (!g || !*g) return WEIR_EFORMAT;
    WEIR_TRY(m->be->stream->launch(m->be, *g));
    return m->be->stream->wait(m->be);
}

/* ---- verbs --------------------------------------------------------------------------------------------- */

static weir_status call(ranks_member *m, ranks_reader *r, bool *closed) {
    const int32_t verb = weir__words_get(r), side = weir__words_get(r);
    *closed = verb == RANKS_CLOSE;
    if (*closed) return WEIR_OK;
    if (side < 0 || side > (int32_t)m->e->pair.has_draft) return WEIR_EFORMAT;
    WEIR_TRY(take_tables(m, &m->side[side], r));
    switch (verb) {
    case RANKS_FORWARD: return forward(m, side, r);
    case RANKS_PREFILL: return prefill(m, &m->side[side], r);
    case RANKS_PAGES: return WEIR_OK;
    case RANKS_RECORD: return record(m, r);
    case RANKS_LOOP: return loop(m, r);
    case RANKS_EXCHANGE: {
        const int32_t each = weir__words_get(r), times = weir__words_get(r);
        return each < 1 || r->wrong ? WEIR_EFORMAT
                                    : weir__exchange_rounds(m->be, (size_t)each, times, 1, NULL);
    }
    default: return WEIR_EFORMAT;
    }
}

/* EINVAL before any exchange is what rank 0 gets too, of the same arguments. */
bool weir__member_serve(ranks_member *m) {
    for (bool closed = false, busy; !closed;) {
        const void *msg;
        size_t bytes;
        if (weir__comm_command(m->comm, &msg, &bytes) != WEIR_OK) return false;
        ranks_reader r = {.word = msg, .n = bytes / sizeof(int32_t)};
        const uint64_t before = m->comm->gathered;
        weir_status s = call(m, &r, &closed);
        if (s == WEIR_OK) s = m->be->stream->poll(m->be, &busy); /* whether what was queued has failed */
        if (s != WEIR_OK && (s != WEIR_EINVAL || m->comm->gathered != before))
            weir__comm_abort(m->comm, s, weir__rank_words(m->be, s));
    }
    return true;
}
