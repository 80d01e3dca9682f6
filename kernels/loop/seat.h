#ifndef WEIR_KERNELS_LOOP_SEAT_H
#define WEIR_KERNELS_LOOP_SEAT_H

#include "kernels/accept/gate_q.h"
#include "kernels/accept/traits.h"
#include "kernels/loop/loop.h"
#include "kernels/math/fmath.h"

/* What a seat does in a block, but for the passes over the vocabulary: which of its rows are live, how its
 * block closes, what it becomes. One source for every backend. */

WF_FN bool weir__seat_ends_text(const weir_seat *s, int32_t token) {
    for (int32_t i = 0; i < s->n_eos; i++)
        if (s->eos[i] == token) return true;
    return false;
}

WF_FN bool weir__seat_runs(const weir_seat *s) { return s->end == WEIR_SEAT_RUNNING; }

/* ---- drafting; draft: the seat's (gamma) --------------------------------------------------------------- */

WF_FN bool weir__seat_drafts(const weir_seat *s, int32_t step) {
    return weir__seat_runs(s) && step < s->n_draft;
}

/* A fully accepted block closes with a token from pi, not from p. */
WF_FN bool weir__seat_bonus_is_pi(const weir_seat *s) {
    return s->n_draft > 0 && !s->unmatched && s->n + s->n_draft >= s->bonus_from;
}

/* The drafter's row of this step is wanted: for a draft, or after the last one for the bonus. */
WF_FN bool weir__seat_steps(const weir_seat *s, int32_t step, const int32_t *draft) {
    if (weir__seat_drafts(s, step)) return true;
    return weir__seat_runs(s) && step > 0 && step == s->n_draft && weir__seat_bonus_is_pi(s) &&
           !weir__seat_ends_text(s, draft[step - 1]);
}

/* ---- rows of forward calls ----------------------------------------------------------------------------- */

typedef struct weir_seat_row {
    int32_t token, pos, slot; /* slot -1: dead */
} weir_seat_row;

/* Input number `input` of the timeline. */
WF_FN weir_seat_row weir__seat_row_at(const weir_seat *s, bool live, int32_t token, int32_t input) {
    weir_seat_row r;
    r.token = live ? token : 0;
    r.pos = live ? s->base + input : 0;
    r.slot = live ? s->slot : -1;
    return r;
}

/* Row `which` (0 or 1) of step 0, the one row of a later step. */
WF_FN weir_seat_row weir__seat_draft_row(const weir_seat *s, int32_t step, int32_t which,
                                         const int32_t *draft) {
    const bool live = weir__seat_steps(s, step, draft);
    if (step > 0) return weir__seat_row_at(s, live, live ? draft[step - 1] : 0, s->n + step);
    if (which == 0) return weir__seat_row_at(s, live && s->n > 0, s->tail[0], s->n - 1);
    return weir__seat_row_at(s, live, s->tail[1], s->n);
}

/* Row j = 0 … gamma of the verifier: live up to the last draft. */
WF_FN weir_seat_row weir__seat_verify_row(const weir_seat *s, int32_t j, const int32_t *draft) {
    const bool live = weir__seat_runs(s) && j <= s->n_draft;
    return weir__seat_row_at(s, live, live && j > 0 ? draft[j - 1] : s->tail[1], s->n + j);
}

/* ---- where seat i's part of a bucket lies -------------------------------------------------------------- */

WF_FN float *weir__seat_q_row(const weir_loop *l, int32_t i, int32_t step) {
    return l->q_logits + ((int64_t)step * l->n_seat + i) * l->ld_q;
}
/* The weights of a row of q_logits; NULL if none are kept. */
WF_FN float *weir__seat_q_weights(const weir_loop *l, const float *q_row) {
    return l->q_weights ? l->q_weights + (q_row - l->q_logits) : NULL;
}
/* Of the verifier's. */
WF_FN int64_t weir__seat_first_row(const weir_loop *l, int32_t i) {
    return l->first ? l->first[i] : (int64_t)i * (l->gamma + 1);
}
WF_FN float *weir__seat_p_row(const weir_loop *l, int32_t i, int32_t j) {
    return l->p_logits + (weir__seat_first_row(l, i) + j) * l->ld_p;
}
WF_FN weir_row_stats *weir__seat_q_stats(const weir_loop *l, int32_t i) {
    return l->q_stats + (int64_t)i * (l->gamma + 1);
}
WF_FN weir_row_stats *weir__seat_p_stats(const weir_loop *l, int32_t i) {
    return l->p_stats + weir__seat_first_row(l, i);
}
WF_FN int32_t *weir__seat_draft(const weir_loop *l, int32_t i) { return l->draft + (int64_t)i * l->gamma; }
/* Prompt lookup: the history of the seat's slot; else NULL. */
WF_FN int32_t *weir__seat_history(const weir_loop *l, const weir_seat *s) {
    return l->lookup.history && s->slot >= 0 ? l->lookup.history + s->slot * l->lookup.ld : NULL;
}

/* ---- how many drafts ----------------------------------------------------------------------------------- */

WF_FN weir_gamma_plan weir__seat_gamma_plan(const weir_seat *s) {
    weir_gamma_plan g;
    g.most = s->gamma;
    g.bonus = s->bonus_from < INT32_MAX;
    return g;
}

/* Of a seat that chooses, before its first draft. What follows the limit would be thrown away. */
WF_FN int32_t weir__seat_most(const weir_seat *s) {
    const int32_t room = s->limit - s->n - 1, least = weir__seat_gamma_plan(s).bonus;
    if (s->past.settled) return 0;
    if (room < least) return least;
    return room < s->gamma ? room : s->gamma;
}

/* After `step` drafts. A row that a rule sees as kept from q alone is accepted for certain; one that it
 * defers is worth the verifier's word before anything else is drafted. */
WF_FN bool weir__seat_drafts_on(const weir_loop *l, weir_seat *s, int32_t step, const weir_row_stats *q) {
    const weir_gamma_plan g = weir__seat_gamma_plan(s);
    const int32_t bucket = weir__gamma_bucket(weir__stats_max_prob(&q[step - 1], false));
    if (weir__rule_q_only((weir_rule)s->law.rule) && s->n + step - 1 >= s->law.exact_first)
        return !weir__gate_by_q(&s->law, &q[step - 1]);
    const float mean = weir__gamma_mean(&s->past, 0.0f);
    const float next = weir__gamma_floor(1.0f - (1.0f - mean) * weir__gamma_refusal_after(bucket));
    s->hope *= weir__gamma_mean_at(&s->past, bucket, mean);
    return weir__gamma_extends(l->cost, &g, step, s->hope, next, mean, s->rate);
}

WF_FN void weir__seat_begin_block(const weir_loop *l, weir_seat *s) {
    s->n_draft = s->gamma;
    if (!s->chooses) return;
    const weir_gamma_plan g = weir__seat_gamma_plan(s);
    s->n_draft = weir__seat_most(s);
    s->hope = 1.0f;
    s->rate = weir__gamma_rate(l->cost, &g, weir__gamma_mean(&s->past, 0.0f));
}

/* Before tokens are looked up: as many as are found, up to gamma. */
WF_FN void weir__seat_begin_lookup(weir_seat *s) { s->n_draft = weir__seat_runs(s) ? s->gamma : 0; }

/* Before the rows of drafter step `step` of seat i are made: how many drafts the block has. */
WF_FN void weir__seat_begin_step(const weir_loop *l, int32_t i, int32_t step) {
    weir_seat *s = &l->seat[i];
    if (!weir__seat_runs(s))
        s->n_draft = 0;
    else if (step == 0)
        weir__seat_begin_block(l, s);
    else if (step < s->n_draft &&
             (weir__seat_ends_text(s, weir__seat_draft(l, i)[step - 1]) ||
              (s->chooses && !weir__seat_drafts_on(l, s, step, weir__seat_q_stats(l, i)))))
        s->n_draft = step;
}

/* From a block that was decided: its rows up to the one that was refused, and no draft after it (gamma.h). */
WF_FN void weir__seat_learn(const weir_loop *l, weir_seat *s, const weir_accept_session *a) {
    if (!s->chooses || a->status != WEIR_OK || s->past.settled) return;
    const weir_gamma_plan g = weir__seat_gamma_plan(s);
    for (int32_t j = 0; j < a->n_draft && j <= a->n_accept; j++)
        weir__gamma_learn(&s->past, weir__stats_max_prob(&a->q_stats[j], false), j < a->n_accept);
    weir__gamma_settle(l->cost, &g, &s->past);
}

/* ---- closing ------------------------------------------------------------------------------------------- */

/* Seat i's block for the accept step (ld_q: n_seat rows of q_logits). s: the seat, or a copy of it. law NULL:
 * the seat takes no part. */
WF_FN void weir__seat_block(const weir_loop *l, int32_t i, const weir_seat *s, weir_accept_session *a) {
    memset(a, 0, sizeof *a);
    if (!weir__seat_runs(s)) return;
    a->law = &s->law;
    a->p_logits = weir__seat_p_row(l, i, 0);
    a->p_stats = weir__seat_p_stats(l, i);
    a->n_draft = s->n_draft;
    a->position = s->n;
    if (l->gamma == 0) return;
    a->q_logits = weir__seat_q_row(l, i, 0);
    a->q_stats = weir__seat_q_stats(l, i);
    a->q_weights = weir__seat_q_weights(l, a->q_logits);
    a->draft = weir__seat_draft(l, i);
    a->row = l->row + (int64_t)i * l->gamma;
    a->note = l->note ? l->note + (int64_t)i * l->gamma : NULL;
}

/* The token that closes the block; false: there is none, after an accepted end of text or an unusable
 * row. */
WF_FN bool weir__seat_plan(const weir_loop *l, int32_t i, const weir_seat *s, const weir_accept_session *a,
                           weir_emit_session *out) {
    if (a->status != WEIR_OK) return false;
    const int32_t j = a->n_accept;
    const bool full = j == a->n_draft;
    if (full && j > 0 && weir__seat_ends_text(s, a->draft[j - 1])) return false;
    memset(out, 0, sizeof *out);
    out->law = a->law;
    out->p_logits = a->p_logits + j * l->ld_p;
    out->p_stats = a->p_stats + j;
    out->position = a->position + j;
    out->block_row = j;
    out->block_p = 1.0f;
    out->draft = -1;
    out->kind = !full ? WEIR_EMIT_RESIDUAL : weir__seat_bonus_is_pi(s) ? WEIR_EMIT_PI : WEIR_EMIT_P;
    if (out->kind == WEIR_EMIT_P) return true;
    out->q_logits = weir__seat_q_row(l, i, j);
    out->q_stats = a->q_stats + j;
    if (full) return true;
    out->draft = a->draft[j];
    out->block_p = a->block_p;
    out->verdict = &a->verdict;
    return true;
}

/* One token more, to the history too, if there is one: an end of text is not appended; the limit ends the
 * seat after it. */
WF_FN void weir__seat_append(weir_seat *s, int32_t token, int32_t *history) {
    if (weir__seat_ends_text(s, token)) {
        s->end = WEIR_SEAT_STOP;
        return;
    }
    s->tail[0] = s->tail[1];
    s->tail[1] = token;
    if (history) history[s->before + s->n] = token;
    s->n++;
    if (s->n >= s->limit) s->end = WEIR_SEAT_LENGTH;
}

/* Draft and row j of a block's outcome, j < n_draft; each apart, so that a device writes them at once. */
WF_FN void weir__block_note_row(const weir_accept_session *a, int32_t j, weir_block_outcome *r) {
    r->draft[j] = a->draft[j];
    if (j >= a->n_examined) return;
    r->row[j] = a->row[j];
    r->row[j].accepted = j < a->n_accept;
}

/* The outcome of a decided block, but for its rows and seat_end. emit NULL: no closing token. */
WF_FN void weir__block_note(const weir_accept_session *a, const weir_emit_session *emit,
                            weir_block_outcome *r) {
    r->live = 1;
    r->position = a->position;
    r->status = a->status == WEIR_OK && emit ? emit->status : a->status;
    r->n_draft = a->n_draft;
    r->n_accept = a->n_accept;
    r->n_examined = a->n_examined;
    r->closing = emit && r->status == WEIR_OK;
    r->kind = r->closing ? (int32_t)emit->kind : 0;
    r->token = r->closing ? emit->token : -1;
    r->log_pi = r->closing ? emit->log_pi : NAN;
    r->log_p = r->closing ? emit->log_p : NAN;
}

/* All of it but seat_end. */
WF_FN void weir__block_outcome_of(const weir_accept_session *a, const weir_emit_session *emit,
                                  weir_block_outcome *r) {
    memset(r, 0, sizeof *r);
    weir__block_note(a, emit, r);
    for (int32_t j = 0; j < a->n_draft; j++) weir__block_note_row(a, j, r);
}

/* The seat after a block; sets what the outcome says of it. history: weir__seat_history. */
WF_FN void weir__seat_commit(const weir_loop *l, weir_seat *s, const weir_accept_session *a,
                             weir_block_outcome *r, int32_t *history) {
    weir__seat_learn(l, s, a);
    r->past = s->past;
    if (r->status != WEIR_OK) s->end = WEIR_SEAT_BROKEN;
    for (int32_t j = 0; j < r->n_accept && weir__seat_runs(s); j++)
        weir__seat_append(s, r->draft[j], history);
    if (r->closing && weir__seat_runs(s)) weir__seat_append(s, r->token, history);
    r->seat_end = s->end;
}

/* After the last seat of block number `block`: whether the loop goes on. */
WF_FN bool weir__loop_goes_on(int32_t block, int32_t limit, int32_t running, int32_t stop) {
    return running > 0 && !stop && block + 1 < limit;
}

#endif /* WEIR_KERNELS_LOOP_SEAT_H */
