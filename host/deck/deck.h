#ifndef WEIR_HOST_DECK_DECK_H
#define WEIR_HOST_DECK_DECK_H

#include "host/state.h"

/* ---- the arrays of a call (buffers.c) ---- */
weir_bytes weir__buffers_bytes(const weir_engine *e);
weir_status weir__buffers_open(weir_engine *e);
void weir__buffers_close(weir_engine *e);
weir_status weir__step_put(weir_engine *e, void *dev, const void *host, size_t bytes);
weir_status weir__step_get(weir_engine *e, void *host, const void *dev, size_t bytes);
/* Entries [0, n) of an array to the backend, or back to the host; free on the CPU. A get waits for what is
 * queued. */
#define WEIR_PUT(e, field, n) \
    weir__step_put(e, (e)->deck.dev.field, (e)->deck.buf.field, (size_t)(n) * sizeof *(e)->deck.buf.field)
#define WEIR_GET(e, field, n) \
    weir__step_get(e, (e)->deck.buf.field, (e)->deck.dev.field, (size_t)(n) * sizeof *(e)->deck.buf.field)

/* ---- caches of both models (caches.c) ---- */

weir_status weir__caches_open(weir_engine *e, int side); /* the model is loaded */
void weir__caches_close(weir_engine *e);
weir_status weir__caches_sync(weir_deck_side *m); /* the page tables of all its pools */

/* ---- what each model reads of a session ---- */

/* The position of the timeline's first input in the self caches, the prompt, and the timeline: the session's,
 * or what they are in a drafter's own vocabulary. */
static inline const weir_retold *weir__session_retold(const weir_session *s, int side) {
    return side == WEIR_DRAFTER ? s->retold : NULL;
}
static inline int64_t weir__session_base(const weir_session *s, int side) {
    const weir_retold *r = weir__session_retold(s, side);
    return r ? r->base : s->base;
}
static inline const int32_t *weir__session_prompt(const weir_session *s, int side) {
    const weir_retold *r = weir__session_retold(s, side);
    return r ? r->prompt.at : s->prompt;
}
static inline const int32_t *weir__session_timeline(const weir_session *s, int side) {
    const weir_retold *r = weir__session_retold(s, side);
    return r ? r->timeline : s->timeline;
}

/* ---- pages of sessions (pages.c) ---- */

/* Pages of a side for the prompt and n_input inputs of the timeline; fewer than before is a rollback. */
weir_status weir__session_room(weir_session *s, int side, int64_t n_input);
weir_status weir__session_reserve(weir_session *s, int side, int64_t n_input); /* as weir__kv_pool_reserve */
/* For what is to be read before the next row: the prompt, and inputs that it held before. */
weir_status weir__session_prompt_room(weir_session *s, int side);
void weir__session_drop_pages(weir_session *s, int side);
int32_t weir__cross_slot(const weir_session *s); /* of the pool self: where its source is */
/* Inputs of the timeline for which `blocks` blocks, or a tick, may want pages; -1: the side runs nothing. */
int64_t weir__session_inputs_ahead(const weir_session *s, int side, int blocks);

/* EPAGES: the running sessions of a list, or what a session reads before its first row, need more pages than
 * are free. Only the second takes them. Both note which session wants pages. */
weir_status weir__pages_for_blocks(weir_session *const *sessions, int n, int blocks, weir_err *err);
weir_status weir__pages_for_prompt(weir_session *s, weir_err *err);
/* ETOOLONG: not even all pages hold the prompt of a session without a slot and n_input inputs. */
weir_status weir__pages_hold(const weir_session *s, int64_t n_input, weir_err *err);

/* ---- a session on its slot (seat.c) ---- */

/* Takes a slot and runs what is left of the prompt where it surely will be needed. */
weir_status weir__session_admit(weir_session *s, weir_err *err);
weir_status weir__session_note_source(weir_session *s, int side); /* how long an encoder's prompt is */
/* The prompt on one model, once: what is left of it, and what a suspension took. ECANCELED as
 * weir__session_given_up. */
weir_status weir__session_prefill(weir_session *s, int side, weir_err *err);
int64_t weir__session_prefill_left(
    const weir_session *s); /* positions, on the models that need the prompt at once */
bool weir__session_given_up(const weir_session *s); /* cancelled, or the engine's calls are interrupted */
bool weir__session_reads(const weir_session *s, int side);  /* something before the side's first row, now */
void weir__session_close_prompt(weir_session *s, int side); /* what it has of the part is lost */
void weir__session_forget(weir_session *s, int side); /* drops what the side holds of it, pages and all */
void weir__session_release(weir_session *s);          /* gives the slot back */
void weir__session_give_up(weir_session *s);          /* ends it as cancelled and gives its slot back */

/* The session as the programs see it, blocks and ticks alike: where its rows lie, its law, its last
 * inputs. */
weir_seat weir__seat_of(const weir_session *s);
bool weir__session_chooses(const weir_session *s); /* gamma auto */
/* Drafts of a block, of gamma auto at most; 0: the verifier alone. */
int weir__session_gamma(const weir_session *s);
void weir__session_begin_drafts(weir_session *s); /* its past of gamma auto, which is empty */

/* ---- forward calls over several sessions (rows.c) ---- */

typedef struct weir_rows {
    int32_t n_row, n_out;
} weir_rows;
/* Input number `input` of the seat's timeline. */
void weir__rows_add(weir_engine *e, weir_rows *r, const weir_seat *seat, int32_t token, int64_t input,
                    bool wanted);
/* Inputs [cached, upto) of the timeline that the side lacks, `wanted` marks the last one. */
void weir__rows_catch_up(weir_engine *e, weir_rows *r, const weir_seat *seat, weir_session *s, int side,
                         int64_t upto, bool wanted);
/* A call with the rows that the deck's arrays hold (backend memory); of `rows` the caller fills n_row, out,
 * n_out and group. Then the statistics of n_row rows of its logits under dev.law_of and dev.law. */
weir_status weir__rows_forward(weir_engine *e, int side, weir_batch rows, float *logits);
weir_status weir__rows_examine(weir_engine *e, int side, const float *logits, int n_row, weir_row_stats *out);
/* What it asks row_stats for. */
weir_row_stats_args weir__rows_examination(const weir_engine *e, int side, const float *logits, int n_row,
                                           weir_row_stats *out);
/* The call itself; logits (backend) of the n_out wanted rows in order, NULL for none. */
weir_status weir__rows_run(weir_engine *e, const weir_rows *r, int side, float *logits);
/* Its first half: brings the rows to the backend; *rows is what weir__rows_forward then takes, as often as it
 * is called. */
weir_status weir__rows_put(weir_engine *e, const weir_rows *r, int side, weir_batch *rows);
/* Statistics of the n_row rows of logits that weir__rows_run made last, under buf.law_of, into entries [0,
 * n_row) of an array of e->deck.dev; buf.law must have been put. */
weir_status weir__rows_stats(weir_engine *e, int side, const float *logits, int n_row, weir_row_stats *out);
/* Draws of drafter rows into buf.drawn and buf.draft_logp; laws, positions and block rows as the buffers say,
 * stats an array of e->deck.dev. */
weir_status weir__rows_draw(weir_engine *e, const float *logits, int n_row, const weir_row_stats *stats);
/* The logit of token[i] in row i of logits, for n rows, into buf.picked (n). */
weir_status weir__rows_pick(weir_engine *e, int side, const float *logits, int n, const int32_t *token);
void weir__rows_book(weir_session *s, int side, int n_row); /* a call of a side with n_row rows of this
                                                              session */

/* ---- likeliest tokens (tops.c) ---- */

/* Of the verifier's rows buf.top_row[0 … n), logits and statistics as dev.p_logits and dev.p_stats hold them,
 * the n_top likeliest tokens each into buf.top (n, n_top). */
weir_status weir__tops_select(weir_engine *e, int n, int n_top);
int weir__tops_asked(weir_session *const *s, int n); /* the largest n_top of n sessions */

/* ---- ticks (ticks.c): one token for each session of a list ---- */

weir_status weir__tick_sequential(weir_engine *e, weir_session **s, int n, weir_err *err);

#endif /* WEIR_HOST_DECK_DECK_H */
