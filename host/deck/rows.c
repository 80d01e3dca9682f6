/* Flat rows of one forward call: the only place where sessions become a batch. */
#include "host/deck/deck.h"
#include "kernels/loop/seat.h"

void weir__rows_add(weir_engine *e, weir_rows *r, const weir_seat *seat, int32_t token, int64_t input,
                    bool wanted) {
    weir_step_buffers *b = &e->deck.buf;
    const weir_seat_row row = weir__seat_row_at(seat, true, token, (int32_t)input);
    b->token[r->n_row] = row.token;
    b->pos[r->n_row] = row.pos;
    b->slot[r->n_row] = row.slot;
    if (wanted) b->out[r->n_out++] = r->n_row;
    r->n_row++;
}

void weir__rows_catch_up(weir_engine *e, weir_rows *r, const weir_seat *seat, weir_session *s, int side,
                         int64_t upto, bool wanted) {
    for (int64_t i = s->cached[side]; i < upto; i++)
        weir__rows_add(e, r, seat, s->timeline[i], i, wanted && i == upto - 1);
    s->cached[side] = upto;
}

/* Rows of a slot follow each other. Where every slot has as many, a device reads keys once for all of
 * them. */
static int32_t common_group(const int32_t *slot, int32_t n) {
    int32_t group = 1;
    while (group < n && slot[group] == slot[0]) group++;
    if (n % group != 0) return 1;
    for (int32_t i = 0; i < n; i++)
        if (slot[i] != slot[i - i % group]) return 1;
    return group;
}

weir_status weir__rows_put(weir_engine *e, const weir_rows *r, int side, weir_batch *rows) {
    WEIR_TRY(weir__caches_sync(&e->deck.side[side]));
    WEIR_TRY(WEIR_PUT(e, token, r->n_row));
    WEIR_TRY(WEIR_PUT(e, pos, r->n_row));
    WEIR_TRY(WEIR_PUT(e, slot, r->n_row));
    *rows = (weir_batch){.n_row = r->n_row,
                         .out = e->deck.dev.out,
                         .n_out = r->n_out,
                         .group = e->pair.be->device ? common_group(e->deck.buf.slot, r->n_row) : 1};
    return r->n_out > 0 ? WEIR_PUT(e, out, r->n_out) : WEIR_OK;
}

weir_status weir__rows_forward(weir_engine *e, int side, weir_batch rows, float *logits) {
    const weir_step_buffers *d = &e->deck.dev;
    rows.token = d->token;
    rows.pos = d->pos;
    rows.slot = d->slot;
    rows.logits = logits;
    const bool apart = side == WEIR_DRAFTER && e->pair.tok_draft; /* a vocabulary of other sizes */
    rows.minmax = apart ? NULL : d->minmax;
    rows.minmax_n = rows.minmax ? e->pair.n_vocab : 0;
    return weir__model_forward(e->pair.side[side].model, &e->deck.side[side].kv, &rows);
}

/* Of rows of the drafter's own buffer; else NULL. */
static float *weights_of(const weir_engine *e, int side, const float *logits) {
    const weir_step_buffers *d = &e->deck.dev;
    return side == WEIR_DRAFTER && d->q_weights ? d->q_weights + (logits - d->q_logits) : NULL;
}

weir_row_stats_args weir__rows_examination(const weir_engine *e, int side, const float *logits, int n_row,
                                           weir_row_stats *out) {
    return (weir_row_stats_args){.logits = logits,
                                 .ld = e->pair.side[side].ld,
                                 .n_row = n_row,
                                 .n_vocab = e->pair.n_vocab,
                                 .law = e->deck.dev.law,
                                 .law_of = e->deck.dev.law_of,
                                 .out = out,
                                 .minmax = e->deck.dev.minmax,
                                 .weights = weights_of(e, side, logits)};
}

weir_status weir__rows_examine(weir_engine *e, int side, const float *logits, int n_row,
                               weir_row_stats *out) {
    weir_row_stats_args a = weir__rows_examination(e, side, logits, n_row, out);
    return e->pair.be->op.row_stats(e->pair.be, &a);
}

weir_status weir__rows_run(weir_engine *e, const weir_rows *r, int side, float *logits) {
    if (r->n_row == 0) return WEIR_OK;
    weir_batch rows;
    WEIR_TRY(weir__rows_put(e, r, side, &rows));
    return weir__rows_forward(e, side, rows, logits);
}

weir_status weir__rows_stats(weir_engine *e, int side, const float *logits, int n_row, weir_row_stats *out) {
    WEIR_TRY(WEIR_PUT(e, law_of, n_row));
    return weir__rows_examine(e, side, logits, n_row, out);
}

weir_status weir__rows_draw(weir_engine *e, const float *logits, int n_row, const weir_row_stats *stats) {
    const weir_step_buffers *d = &e->deck.dev;
    weir_draw_args a = {.logits = logits,
                        .ld = e->pair.side[WEIR_DRAFTER].ld,
                        .n_row = n_row,
                        .n_vocab = e->pair.n_vocab,
                        .law = d->law,
                        .law_of = d->law_of,
                        .stats = stats,
                        .weights = weights_of(e, WEIR_DRAFTER, logits),
                        .position = d->position,
                        .block_row = d->block_row,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = d->drawn,
                        .logp = d->draft_logp};
    WEIR_TRY(WEIR_PUT(e, law_of, n_row));
    WEIR_TRY(WEIR_PUT(e, position, n_row));
    WEIR_TRY(WEIR_PUT(e, block_row, n_row));
    WEIR_TRY(e->pair.be->op.draw(e->pair.be, &a));
    WEIR_TRY(WEIR_GET(e, drawn, n_row));
    return WEIR_GET(e, draft_logp, n_row);
}

weir_status weir__rows_pick(weir_engine *e, int side, const float *logits, int n, const int32_t *token) {
    const int64_t ld = e->pair.side[side].ld;
    const int per_call = ld < INT32_MAX ? (int)(INT32_MAX / ld) : 1; /* indices are of 32 bits */
    for (int from = 0; from < n; from += per_call) {
        const int count = n - from < per_call ? n - from : per_call;
        for (int i = 0; i < count; i++) e->deck.buf.pick[i] = (int32_t)(i * ld + token[from + i]);
        weir_gather a = {.dst = e->deck.dev.picked + from,
                         .ld_dst = 1,
                         .src = logits + from * ld,
                         .ld_src = 1,
                         .index = e->deck.dev.pick,
                         .n_row = count,
                         .n_col = 1};
        WEIR_TRY(WEIR_PUT(e, pick, count));
        WEIR_TRY(e->pair.be->op.gather(e->pair.be, &a));
    }
    return WEIR_GET(e, picked, n);
}

void weir__rows_book(weir_session *s, int side, int n_row) {
    if (side == WEIR_DRAFTER) {
        s->stats.drafter_calls++;
        s->stats.drafter_rows += n_row;
    } else {
        s->stats.verifier_calls++;
        s->stats.verifier_rows += n_row;
    }
}
