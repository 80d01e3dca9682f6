/* Flat rows of one forward call: the only place where sessions become a batch. */
#include "host/engine.h"

void weir_rows_add(weir_engine *e, weir_rows *r, const weir_session *s, int32_t token, int64_t pos,
                   bool wanted) {
    weir_step_buffers *b = &e->buf;
    b->token[r->n_row] = token;
    b->pos[r->n_row] = (int32_t)pos;
    b->slot[r->n_row] = s->slot;
    if (wanted) b->out[r->n_out++] = r->n_row;
    r->n_row++;
}

void weir_rows_catch_up(weir_engine *e, weir_rows *r, weir_session *s, int side, int64_t upto, bool wanted) {
    for (int64_t pos = s->cached[side]; pos < upto; pos++)
        weir_rows_add(e, r, s, s->timeline[pos], pos, wanted && pos == upto - 1);
    s->cached[side] = upto;
}

weir_status weir_rows_run(weir_engine *e, const weir_rows *r, int side, float *logits) {
    if (r->n_row == 0) return WEIR_OK;
    const weir_step_buffers *b = &e->buf;
    const weir_batch batch = {.token = b->token, .pos = b->pos, .slot = b->slot, .n_row = r->n_row,
                              .out = b->out, .n_out = r->n_out, .logits = logits};
    return weir_model_forward(e->side[side].model, &e->side[side].kv, &batch);
}

weir_status weir_rows_stats(weir_engine *e, int side, const float *logits, int n_row, weir_row_stats *out) {
    weir_row_stats_args a = {.logits = logits, .ld = e->side[side].ld, .n_row = n_row, .n_vocab = e->n_vocab,
                             .law = e->buf.law, .law_of = e->buf.law_of, .out = out};
    return e->be->op.row_stats(e->be, &a);
}

weir_status weir_rows_draw(weir_engine *e, const float *logits, int n_row, const weir_row_stats *stats) {
    weir_step_buffers *b = &e->buf;
    weir_draw_args a = {.logits = logits, .ld = e->side[WEIR_DRAFTER].ld, .n_row = n_row, .n_vocab = e->n_vocab,
                        .law = b->law, .law_of = b->law_of, .stats = stats, .position = b->position,
                        .block_row = b->block_row, .purpose = WEIR_PURPOSE_DRAFT, .token = b->drawn,
                        .logp = b->draft_logp};
    return e->be->op.draw(e->be, &a);
}

void weir_rows_book(weir_session *s, int side, int n_row) {
    if (side == WEIR_DRAFTER) {
        s->stats.drafter_calls++;
        s->stats.drafter_rows += n_row;
    } else {
        s->stats.verifier_calls++;
        s->stats.verifier_rows += n_row;
    }
}
