/* A rank that follows. It trusts rank 0's arguments, which were checked there; a message that makes no sense
 * ends the group all the same. */
#include "host/ranks/member.h"

#include <string.h>

#include "host/deck/plan.h"
#include "host/pair/place.h"
#include "kernels/base/mem.h"

/* ---- open and close ------------------------------------------------------------------------------------ */

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
    *view = (weir_kv_view){.pool = s->pool[which],
                           .page_elems = (int64_t)(weir__kv_page_bytes(shape) / sizeof(float)),
                           .table = t->page,
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
    s->kv.cross = s->kv.self;
    s->kv.cross.table += m->e->pair.n_parallel * s->kv.self.table_stride;
    s->kv.cross_len = s->cross_len;
    return WEIR_OK;
}

static weir_status open_side(ranks_member *m, int i, weir_err *err) {
    const weir_pair *p = &m->e->pair;
    member_side *s = &m->side[i];
    const weir_family *f = p->side[i].family;
    const weir_place place = weir__ranks_place(m->e, i, m->comm->rank);
    weir_checkpoint ck =
        p->side[i].ck; /* the same map of the file: nothing of it is changed or closed here */
    const weir_tensor_source src = weir__checkpoint_source(&ck);
    WEIR_TRY(f->measure(&ck, &src, place, &s->facts, err));
    WEIR_TRY(f->create(&s->model, m->be, &ck, &src, place.whole_body, p->n_row_max, p->ctx_size, err));
    const weir_status st = open_caches(m, s);
    return st == WEIR_OK ? st : weir_fail(err, st, "%s for the KV pages", weir_status_str(st));
}

weir_status weir__member_open(ranks_member *m, weir_err *err) {
    WEIR_TRY(weir__backend_cpu_open(&m->be, m->n_thread, m->isa, err));
    m->be->comm = m->comm;
    for (int i = 0; i <= (int)m->e->pair.has_draft; i++) WEIR_TRY(open_side(m, i, err));
    return WEIR_OK;
}

void weir__member_close(ranks_member *m) {
    for (int i = 0; i < 2; i++) {
        member_side *s = &m->side[i];
        weir__model_free(s->model);
        for (int t = 0; t < RANKS_TABLES; t++) {
            if (s->pool[t]) weir__backend_free(m->be, s->pool[t]);
            weir_free(s->table[t].page);
        }
        for (int p = 0; p < WEIR_PROMPTS_OPEN; p++) weir_free(s->prompt[p]);
        weir_free(s->cross_len);
        *s = (member_side){0};
    }
    weir__backend_close(m->be); /* NULL: it was never opened */
    m->be = NULL;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static weir_status take_tables(ranks_member *m, member_side *s, ranks_reader *r) {
    for (int32_t n = weir__words_get(r); n > 0 && !r->wrong; n--) {
        const int32_t which = weir__words_get(r), slot = weir__words_get(r), count = weir__words_get(r);
        const int32_t *page = weir__words_get_all(r, count);
        if (!page || which < 0 || which >= RANKS_TABLES) return WEIR_EFORMAT;
        ranks_table *t = &s->table[which];
        if (slot < 0 || slot >= t->n_slot || count > t->stride) return WEIR_EFORMAT;
        memcpy(t->page + slot * t->stride, page, (size_t)count * sizeof *page);
    }
    for (int32_t n = weir__words_get(r); n > 0 && !r->wrong; n--) {
        const int32_t slot = weir__words_get(r), len = weir__words_get(r);
        if (!s->cross_len || slot < 0 || slot >= m->e->pair.n_parallel) return WEIR_EFORMAT;
        s->cross_len[slot] = len;
    }
    return r->wrong ? WEIR_EFORMAT : WEIR_OK;
}

static weir_status forward(member_side *s, ranks_reader *r) {
    weir_batch b = {.n_row = weir__words_get(r), .n_out = weir__words_get(r), .group = weir__words_get(r)};
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

static weir_status call(ranks_member *m, ranks_reader *r, bool *closed) {
    const int32_t verb = weir__words_get(r), side = weir__words_get(r);
    *closed = verb == RANKS_CLOSE;
    if (*closed) return WEIR_OK;
    if (side < 0 || side > (int32_t)m->e->pair.has_draft) return WEIR_EFORMAT;
    member_side *s = &m->side[side];
    if (verb == RANKS_EXCHANGE) {
        const int32_t each = weir__words_get(r), times = weir__words_get(r);
        return each < 1 || r->wrong ? WEIR_EFORMAT : weir__exchange_rounds(m->be, (size_t)each, times);
    }
    WEIR_TRY(take_tables(m, s, r));
    if (verb == RANKS_FORWARD) return forward(s, r);
    return verb == RANKS_PREFILL ? prefill(m, s, r) : WEIR_EFORMAT;
}

/* EINVAL before any exchange is what rank 0 gets too, of the same arguments. */
bool weir__member_serve(ranks_member *m) {
    for (bool closed = false; !closed;) {
        const void *msg;
        size_t bytes;
        if (weir__comm_command(m->comm, &msg, &bytes) != WEIR_OK) return false;
        ranks_reader r = {.word = msg, .n = bytes / sizeof(int32_t)};
        const uint64_t before = m->comm->gathered;
        const weir_status s = call(m, &r, &closed);
        if (s != WEIR_OK && (s != WEIR_EINVAL || m->comm->gathered != before))
            weir__comm_abort(m->comm, s, weir_status_str(s));
    }
    return true;
}
