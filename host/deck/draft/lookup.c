#include "host/deck/draft/lookup.h"

#include <math.h>
#include <string.h>

#include "kernels/base/mem.h"
#include "kernels/loop/seat.h"

int64_t weir__lookup_before(const weir_session *s) {
    if (s->e->pair.draft != WEIR_DRAFT_LOOKUP) return 0;
    return (int64_t)s->n_prompt + s->e->pair.facts.encoder_decoder;
}

int64_t weir__lookup_ld(const weir_engine *e) {
    const int64_t ctx = e->pair.ctx_size, drafts = WEIR_GAMMA_MAX + 1;
    if (e->pair.draft != WEIR_DRAFT_LOOKUP) return 0;
    return e->pair.side[WEIR_VERIFIER].family->encoder_decoder ? 2 * ctx + 1 + drafts : ctx + drafts;
}

/* n_row rows of q. */
static weir_status clear_rows(weir_block_loop *l, int64_t n_row) {
    weir_backend *be = l->e->pair.be;
    const size_t n = (size_t)l->shape.ld_q;
    float *row = weir_alloc(n, sizeof *row);
    if (!row) return WEIR_ENOMEM;
    for (size_t v = 0; v < n; v++) row[v] = -INFINITY;
    weir_status st = WEIR_OK;
    for (int64_t r = 0; r < n_row && st == WEIR_OK; r++)
        st = weir__backend_upload(be, l->shape.q_logits + r * l->shape.ld_q, row, n * sizeof *row);
    weir_free(row);
    return st;
}

weir_status weir__lookup_open(weir_block_loop *l) {
    const weir_pair *p = &l->e->pair;
    const int64_t n_row = (int64_t)p->n_parallel * (p->max_draft + 1);
    weir_lookup *k = &l->shape.lookup;
    if (!k->hot) return WEIR_OK;
    k->ld = weir__lookup_ld(l->e);
    k->shortest = p->lookup_min;
    k->longest = p->lookup_max;
    WEIR_TRY(clear_rows(l, n_row));
    int32_t *none = weir_alloc((size_t)n_row, sizeof *none);
    if (!none) return WEIR_ENOMEM;
    memset(none, 0xff, (size_t)n_row * sizeof *none); /* -1 */
    const weir_status st = weir__backend_upload(p->be, k->hot, none, (size_t)n_row * sizeof *none);
    weir_free(none);
    return st;
}

weir_status weir__lookup_stage(const weir_bucket *b, int32_t i, int32_t j, int32_t token) {
    static const float cold = -INFINITY, hot = 0.0f;
    weir_backend *be = b->l->e->pair.be;
    int32_t *at = &b->loop.lookup.hot[(int64_t)j * b->loop.n_seat + i], before;
    float *row = weir__seat_q_row(&b->loop, i, j);
    WEIR_TRY(weir__backend_download(be, &before, at, sizeof before));
    if (before >= 0) WEIR_TRY(weir__backend_upload(be, row + before, &cold, sizeof cold));
    WEIR_TRY(weir__backend_upload(be, row + token, &hot, sizeof hot));
    return weir__backend_upload(be, at, &token, sizeof token);
}

weir_status weir__lookup_sync(weir_block_loop *l, weir_session *s) {
    static const int32_t apart = -1;
    const int64_t past = weir__lookup_before(s), have = past + s->n;
    if (!l->shape.lookup.history || s->looked == have) return WEIR_OK;
    weir_backend *be = l->e->pair.be;
    int32_t *to = l->shape.lookup.history + s->slot * l->shape.lookup.ld;
    WEIR_TRY(weir__backend_upload(be, to, s->prompt, s->n_prompt * sizeof *to));
    if (past > (int64_t)s->n_prompt) WEIR_TRY(weir__backend_upload(be, to + s->n_prompt, &apart, sizeof *to));
    WEIR_TRY(weir__backend_upload(be, to + past, s->timeline + 1, (size_t)s->n * sizeof *to));
    s->looked = have;
    return WEIR_OK;
}

void weir__lookup_took(weir_session *s) { s->looked = weir__lookup_before(s) + s->n; }
