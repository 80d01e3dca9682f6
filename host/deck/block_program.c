#include "host/deck/block_program.h"

#include <string.h>

#include "host/deck/deck.h"
#include "kernels/base/clock.h"
#include "kernels/loop/seat.h"

/* The rows of a call; `all` says what they are where none is left out. */
static weir_status make_rows(const weir_bucket *b, int32_t step, const weir_batch *all, weir_batch *rows) {
    weir_engine *e = b->l->e;
    const weir_step_buffers *d = &e->deck.dev;
    weir_loop_rows a = {.loop = &b->loop,
                        .step = step,
                        .token = d->token,
                        .pos = d->pos,
                        .slot = d->slot,
                        .law_of = d->law_of,
                        .law = d->law,
                        .out = d->out};
    WEIR_TRY(e->pair.be->op.loop_rows(e->pair.be, &a));
    *rows = *all;
    if (!b->loop.first) return WEIR_OK;
    *rows = (weir_batch){.n_row = a.n_row, .out = d->out, .n_out = a.n_out, .group = 1};
    return WEIR_OK;
}

/* A step of the drafter, and with branches those after it. */
typedef struct drafting {
    const weir_bucket *b;
    int32_t step;
    weir_batch rows;
} drafting;

static weir_status draft_rows(void *ctx) {
    drafting *d = ctx;
    const weir_block_loop *l = d->b->l;
    const int32_t n = d->b->loop.n_seat;
    const weir_batch first = {.n_row = 2 * n, .out = l->second, .n_out = n, .group = 2};
    const weir_batch later = {.n_row = n, .out = l->every, .n_out = n, .group = 1};
    return make_rows(d->b, d->step, d->step == 0 ? &first : &later, &d->rows);
}

static weir_status draft_tokens(const drafting *d) {
    weir_engine *e = d->b->l->e;
    weir_loop_sample sample = {.loop = &d->b->loop, .step = d->step, .minmax = e->deck.dev.minmax};
    WEIR_TRY(weir__rows_forward(e, WEIR_DRAFTER, d->rows, weir__seat_q_row(&d->b->loop, 0, d->step)));
    return e->pair.be->op.loop_sample(e->pair.be, &sample);
}

weir_status weir__block_draft_step(const weir_bucket *b, int32_t step) {
    drafting d = {.b = b, .step = step};
    WEIR_TRY(draft_rows(&d));
    return draft_tokens(&d);
}

static int32_t n_step(const weir_bucket *b) { return b->loop.gamma + b->loop.bonus; }

static weir_status draft_branch(const weir_bucket *b, int32_t step);

/* Where a step is not taken, none after it is. */
static weir_status draft_rest(void *ctx) {
    const drafting *d = ctx;
    WEIR_TRY(draft_tokens(d));
    return draft_branch(d->b, d->step + 1);
}

static weir_status draft_branch(const weir_bucket *b, int32_t step) {
    weir_backend *be = b->l->e->pair.be;
    drafting d = {.b = b, .step = step};
    if (step == n_step(b)) return WEIR_OK;
    return be->stream->branch(be, draft_rows, draft_rest, &d);
}

/* Ranks agree on the calls of a block beforehand, so there are no branches: rows that nobody needs are
 * dead. */
static weir_status draft(const weir_bucket *b) {
    const weir_block_loop *l = b->l;
    weir_backend *be = l->e->pair.be;
    weir_loop_lookup lookup = {.loop = &b->loop};
    if (b->loop.lookup.history && b->loop.gamma > 0) return be->op.loop_lookup(be, &lookup);
    if (l->draft && b->loop.gamma > 0) return l->draft(b);
    if (l->graphs && b->chooses && l->e->pair.n_rank == 1) return draft_branch(b, 0);
    for (int32_t j = 0; j < n_step(b); j++) {
        drafting d = {.b = b, .step = j};
        WEIR_TRY(draft_rows(&d));
        if (d.rows.n_out == 0) break; /* no seat takes part */
        WEIR_TRY(draft_tokens(&d));
    }
    return WEIR_OK;
}

static weir_row_stats_args verifier_stats(const weir_bucket *b) {
    return weir__rows_examination(b->l->e, WEIR_VERIFIER, b->loop.p_logits,
                                  b->loop.n_seat * (b->loop.gamma + 1), b->loop.p_stats);
}

weir_status weir__block_verifier_stats(const weir_bucket *b) {
    weir_row_stats_args a = verifier_stats(b);
    return b->l->e->pair.be->op.row_stats(b->l->e->pair.be, &a);
}

weir_status weir__block_verify(const weir_bucket *b) {
    weir_block_loop *l = b->l;
    const int32_t group = b->loop.gamma + 1, n = b->loop.n_seat * group;
    const weir_batch all = {.n_row = n, .out = l->every, .n_out = n, .group = group};
    weir_batch rows;
    WEIR_TRY(make_rows(b, WEIR_LOOP_VERIFY, &all, &rows));
    return weir__rows_forward(b->l->e, WEIR_VERIFIER, rows, b->loop.p_logits);
}

/* The drafter's row after the last draft, of n seats. Where this is called, the host reads backend memory. */
static weir_status run_bonus(void *ud, const int32_t *who, int32_t n) {
    const weir_bucket *b = ud;
    const weir_step_buffers *d = &b->l->e->deck.dev;
    for (int32_t k = 0; k < n; k++) {
        const weir_seat *s = &b->loop.seat[who[k]];
        const int32_t last = weir__seat_draft(&b->loop, who[k])[s->n_draft - 1];
        const weir_seat_row r = weir__seat_row_at(s, true, last, s->n + s->n_draft);
        d->token[k] = r.token;
        d->pos[k] = r.pos;
        d->slot[k] = r.slot;
    }
    const weir_batch rows = {.n_row = n, .out = b->l->every, .n_out = n, .group = 1};
    return weir__rows_forward(b->l->e, WEIR_DRAFTER, rows, weir__seat_q_row(&b->loop, 0, b->loop.gamma));
}

weir_status weir__block_close(weir_bucket *b) {
    const weir_row_stats_args stats = verifier_stats(b);
    weir_loop_close a = {.loop = &b->loop};
    if (b->loop.first)
        a.bonus = run_bonus, a.ud = b, a.who = b->l->bonus;
    else
        a.stats = &stats;
    return b->l->e->pair.be->op.loop_close(b->l->e->pair.be, &a);
}

/* Its parts are timed where an op has ended when it returns. */
weir_status weir__block_run(void *ctx) {
    weir_bucket *b = ctx;
    const double t0 = weir_seconds();
    WEIR_TRY(draft(b));
    const double t1 = weir_seconds();
    WEIR_TRY(weir__block_verify(b));
    const double t2 = weir_seconds();
    WEIR_TRY(weir__block_close(b));
    const double spent[3] = {t1 - t0, t2 - t1, weir_seconds() - t2};
    if (!b->l->e->pair.be->device) memcpy(b->l->spent, spent, sizeof spent);
    return WEIR_OK;
}
