#include "host/deck/block_program.h"

#include <string.h>

#include "kernels/base/clock.h"
#include "kernels/loop/seat.h"

/* The rows of a call; `all` says what they are where none is left out. */
static weir_status make_rows(const weir_bucket *b, int32_t step, const weir_batch *all, weir_batch *rows) {
    weir_block_loop *l = b->l;
    weir_loop_rows a = {.loop = &b->loop,
                        .step = step,
                        .token = l->token,
                        .pos = l->pos,
                        .slot = l->slot,
                        .law_of = l->law_of,
                        .law = l->law,
                        .out = l->out};
    WEIR_TRY(l->e->pair.be->op.loop_rows(l->e->pair.be, &a));
    *rows = *all;
    if (!b->loop.first) return WEIR_OK;
    *rows = (weir_batch){.n_row = a.n_row, .out = l->out, .n_out = a.n_out, .group = 1};
    return WEIR_OK;
}

static weir_status forward(const weir_bucket *b, int side, weir_batch rows, float *logits) {
    weir_block_loop *l = b->l;
    rows.token = l->token;
    rows.pos = l->pos;
    rows.slot = l->slot;
    rows.logits = logits;
    rows.minmax = l->minmax;
    rows.minmax_n = l->minmax ? l->e->pair.n_vocab : 0;
    return weir__model_forward(l->e->pair.side[side].model, &l->e->deck.side[side].kv, &rows);
}

/* *more: some seat took part. */
static weir_status draft_step(const weir_bucket *b, int32_t step, bool *more) {
    weir_block_loop *l = b->l;
    const int32_t n = b->loop.n_seat;
    const weir_batch first = {.n_row = 2 * n, .out = l->second, .n_out = n, .group = 2};
    const weir_batch later = {.n_row = n, .out = l->every, .n_out = n, .group = 1};
    weir_loop_sample sample = {.loop = &b->loop, .step = step, .minmax = l->minmax};
    weir_batch rows;
    WEIR_TRY(make_rows(b, step, step == 0 ? &first : &later, &rows));
    *more = rows.n_out > 0;
    if (!*more) return WEIR_OK;
    WEIR_TRY(forward(b, WEIR_DRAFTER, rows, weir__seat_q_row(&b->loop, 0, step)));
    return l->e->pair.be->op.loop_sample(l->e->pair.be, &sample);
}

static weir_status draft(const weir_bucket *b) {
    const int32_t steps = b->loop.gamma + b->loop.bonus;
    bool more = true;
    for (int32_t j = 0; j < steps && more; j++) WEIR_TRY(draft_step(b, j, &more));
    return WEIR_OK;
}

weir_status weir__block_verifier_stats(const weir_bucket *b, int32_t n_row) {
    weir_block_loop *l = b->l;
    weir_row_stats_args stats = {.logits = b->loop.p_logits,
                                 .ld = b->loop.ld_p,
                                 .n_row = n_row,
                                 .n_vocab = b->loop.n_vocab,
                                 .law = l->law,
                                 .law_of = l->law_of,
                                 .out = b->loop.p_stats,
                                 .minmax = l->minmax};
    return l->e->pair.be->op.row_stats(l->e->pair.be, &stats);
}

weir_status weir__block_verify(const weir_bucket *b) {
    weir_block_loop *l = b->l;
    const int32_t group = b->loop.gamma + 1, n = b->loop.n_seat * group;
    const weir_batch all = {.n_row = n, .out = l->every, .n_out = n, .group = group};
    weir_batch rows;
    WEIR_TRY(make_rows(b, WEIR_LOOP_VERIFY, &all, &rows));
    WEIR_TRY(forward(b, WEIR_VERIFIER, rows, b->loop.p_logits));
    return weir__block_verifier_stats(b, rows.n_out);
}

/* The drafter's row after the last draft, of n seats. Where this is called, the host reads backend memory. */
static weir_status run_bonus(void *ud, const int32_t *who, int32_t n) {
    const weir_bucket *b = ud;
    weir_block_loop *l = b->l;
    for (int32_t k = 0; k < n; k++) {
        const weir_seat *s = &b->loop.seat[who[k]];
        const int32_t last = weir__seat_draft(&b->loop, who[k])[s->n_draft - 1];
        const weir_seat_row r = weir__seat_row_at(s, true, last, s->n + s->n_draft);
        l->token[k] = r.token;
        l->pos[k] = r.pos;
        l->slot[k] = r.slot;
    }
    const weir_batch rows = {.n_row = n, .out = l->every, .n_out = n, .group = 1};
    return forward(b, WEIR_DRAFTER, rows, weir__seat_q_row(&b->loop, 0, b->loop.gamma));
}

weir_status weir__block_close(weir_bucket *b) {
    weir_loop_close a = {.loop = &b->loop};
    if (b->loop.first) a.bonus = run_bonus, a.ud = b, a.who = b->l->bonus;
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
