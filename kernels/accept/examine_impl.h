#ifndef WEIR_KERNELS_ACCEPT_EXAMINE_IMPL_H
#define WEIR_KERNELS_ACCEPT_EXAMINE_IMPL_H

#include "kernels/accept/policy_impl.h"

/* Internal to the accept path: the accept step of one session and the token that closes its block; one source
 * for every backend. As in policy_impl.h: the includer has declared weir_env, and also
 *   int32_t weir__race(const weir_env *env, const weir_race *r, int32_t n_vocab, bool point);
 * Nothing here writes to a session: a backend stores what is returned. */

/* ---- coins --------------------------------------------------------------------------------------------- */

WEIR_STEP_FN float weir__coin(const weir_law *law, int32_t position, int32_t block_row) {
    uint32_t c[4] = {0, (uint32_t)position, WEIR_PURPOSE_ACCEPT, (uint32_t)block_row};
    wf_philox(c, law->key);
    return wf_coin(c[0]);
}

/* u q <= num. In two parts, because u q may underflow: num = 0 never accepts a token of q > 0. */
WEIR_STEP_FN bool weir__coin_accepts(float u, float q, float num) {
    if (num >= q) return true;
    return num > 0.0f && u * q <= num;
}

/* ---- one row ------------------------------------------------------------------------------------------- */

WEIR_STEP_FN float weir__log_raw(const float *logits, const weir_row_stats *s, int32_t v) {
    return (logits[v] - s->max) - wf_log(s->sum);
}

WEIR_STEP_FN weir_position weir__position_of(const weir_accept_args *a, const weir_accept_session *s,
                                             int32_t j) {
    weir_position at = weir__position(s->law, s->q_logits + j * a->ld_q, s->p_logits + j * a->ld_p,
                                      &s->q_stats[j], &s->p_stats[j], a->n_vocab, s->position + j);
    at.draft = s->draft[j];
    return at;
}

/* The policy of row j and what it gives for the drafted token. The status is in the note; unless it is OK
 * nothing else is valid. */
WEIR_STEP_FN void weir__examine(const weir_env *env, const weir_accept_args *a, const weir_accept_session *s,
                                int32_t j, weir_accept_row *row, weir_row_note *note) {
    const weir_position at = weir__position_of(a, s, j);
    memset(row, 0, sizeof *row);
    memset(note, 0, sizeof *note);
    note->status = WEIR_EINVAL;
    if (at.draft < 0 || at.draft >= at.n_vocab) return;
    weir_policy y;
    note->status = weir__policy(env, &at, &y);
    if (note->status != WEIR_OK) return;
    const weir_point x = weir__point(&y.pair, at.draft);
    note->verdict = weir__verdict(&y);
    note->q = x.q;
    note->num = x.num;
    note->pi = x.pi;
    note->has_pi = y.has_pi;
    row->reject = y.reject;
    row->log_pi = y.has_pi ? wf_log(x.pi) : NAN;
    row->log_p = weir__log_raw(at.p_logits, at.p_stats, at.draft);
    row->deferred = weir__deferred(&y, &x);
}

/* ---- the decision -------------------------------------------------------------------------------------- */

/* Of a block: the first n_accept of the n_examined rows are accepted. */
typedef struct weir_decision {
    weir_status status;
    int32_t n_examined, n_accept;
    bool rejected; /* standard verification: row n_accept was rejected; its verdict is the session's */
    float block_p;
} weir_decision;

/* A decision before its first row; over: nothing is left to decide. */
WEIR_STEP_FN weir_decision weir__undecided(const weir_accept_session *s, bool *over) {
    weir_decision d;
    memset(&d, 0, sizeof d);
    d.block_p = 1.0f;
    *over = true;
    if (!s->law || s->n_draft < 0 || s->n_draft > WEIR_GAMMA_MAX)
        d.status = WEIR_EINVAL;
    else if (s->n_draft == 0)
        d.status = WEIR_OK;
    else if (!s->q_logits || !s->p_logits || !s->q_stats || !s->p_stats || !s->draft || !s->row)
        d.status = WEIR_EINVAL;
    else if (s->law->block_verify && weir__rule_known(s->law->rule) &&
             !weir__rule_has_pi((weir_rule)s->law->rule))
        d.status = WEIR_ENOTSUP;
    else
        *over = false;
    return d;
}

/* Standard verification, rows in order: takes row n_examined into the decision; false ends the block. */
WEIR_STEP_FN bool weir__decide_row(const weir_accept_session *s, const weir_accept_row *row,
                                   const weir_row_note *note, weir_decision *d) {
    const int32_t j = d->n_examined;
    d->status = note->status;
    if (d->status != WEIR_OK) return false;
    d->n_examined = j + 1;
    /* no residual mass: the accept probability was 1 up to rounding; NaN: not known yet */
    const bool sure = !row->deferred || note->verdict.mass <= 0.0f;
    d->rejected = !sure && !weir__coin_accepts(weir__coin(s->law, s->position + j, 0), note->q, note->num);
    if (!d->rejected) d->n_accept = j + 1;
    return !d->rejected && d->n_examined < s->n_draft;
}

/* The coin has refused row n_accept, of which nobody knows whether its residual has mass. If it has none, the
 * decision was too early. */
WEIR_STEP_FN bool weir__decided_blindly(const weir_decision *d, const weir_row_note *note) {
    return d->status == WEIR_OK && d->rejected && isnan(note[d->n_accept].verdict.mass);
}

/* The policy of row j once more, whose note is known; false: it has none. */
WEIR_STEP_FN bool weir__recall(const weir_env *env, const weir_accept_args *a, const weir_accept_session *s,
                               int32_t j, const weir_row_note *note, weir_policy *y) {
    weir_position at = weir__position_of(a, s, j);
    at.verdict = &note->verdict;
    return weir__policy(env, &at, y) == WEIR_OK; /* it was when the row was examined */
}

/* Mass of the residual of row j, which was not measured. One pass over both rows. */
WEIR_STEP_FN float weir__residual_mass(const weir_env *env, const weir_accept_args *a,
                                       const weir_accept_session *s, int32_t j, const weir_row_note *note) {
    weir_policy y;
    float out[2] = {0.0f, 0.0f};
    if (weir__recall(env, a, s, j, note, &y))
        weir__qp_sums(env, &y.pair, WEIR_SUM_MASS, a->n_vocab, y.point, out);
    return out[1];
}

/* ---- block verification (arXiv 2403.10444) with pi in place of p --------------------------------------- */

/* S_j = sum_v (P_j pi_j(v) - q_j(v))+ */
WEIR_STEP_FN float weir__block_surplus(const weir_env *env, const weir_accept_args *a,
                                       const weir_accept_session *s, const weir_row_note *note, int32_t j,
                                       float block_p) {
    weir_policy y;
    float out[2] = {0.0f, 0.0f};
    if (!weir__recall(env, a, s, j, &note[j], &y)) return 0.0f;
    y.pair.block_p = block_p;
    weir__qp_sums(env, &y.pair, WEIR_SUM_BLOCK, a->n_vocab, y.point, out);
    return out[0];
}

/* P_i and S_i of the rows; P_n_draft is the last. */
typedef struct weir_block_sums {
    float p[WEIR_GAMMA_MAX + 1], s[WEIR_GAMMA_MAX];
} weir_block_sums;

/* h_i = S / (S + 1 - P), 1 at P = 1, S = 0; h_n_draft = P. */
WEIR_STEP_FN bool weir__block_takes(const weir_accept_session *s, const weir_block_sums *k, int32_t i) {
    const float u = weir__coin(s->law, s->position + i - 1, i - 1);
    if (i == s->n_draft) return weir__coin_accepts(u, 1.0f, k->p[i]);
    return weir__coin_accepts(u, k->s[i] + (1.0f - k->p[i]), k->s[i]);
}

/* Every row has been examined. */
WEIR_STEP_FN void weir__decide_block(const weir_env *env, const weir_accept_args *a,
                                     const weir_accept_session *s, const weir_row_note *note,
                                     weir_decision *d) {
    const int32_t n = s->n_draft;
    weir_block_sums k;
    k.p[0] = 1.0f;
    for (int32_t j = 0; j < n; j++) {
        d->status = note[j].status;
        if (d->status != WEIR_OK) return;
        k.s[j] = weir__block_surplus(env, a, s, note, j, k.p[j]);
        const float ratio = note[j].q > 0.0f ? note[j].pi / note[j].q : 1.0f;
        const float next = k.p[j] * ratio;
        k.p[j + 1] = next < 1.0f ? next : 1.0f;
    }
    int32_t tau = 0;
    for (int32_t i = 1; i <= n; i++)
        if (weir__block_takes(s, &k, i)) tau = i;
    while (tau < n && !(k.s[tau] > 0.0f)) tau++; /* a residual without mass comes from rounding only */
    d->n_examined = n;
    d->n_accept = tau;
    d->block_p = tau < n ? k.p[tau] : 1.0f;
}

/* ---- the closing token --------------------------------------------------------------------------------- */

/* The outputs of a weir_emit_session. */
typedef struct weir_closing {
    weir_status status;
    int32_t token;
    float log_pi, log_p, reject;
    bool deferred;
    bool empty; /* a residual without mass: the token is the draft */
} weir_closing;

WEIR_STEP_FN weir_race weir__race_of(const weir_emit_session *s, const weir_qp *pair, weir_weight_kind kind,
                                     int32_t purpose) {
    weir_race r;
    r.pair = pair;
    r.kind = kind;
    r.key[0] = s->law->key[0];
    r.key[1] = s->law->key[1];
    r.position = s->position;
    r.purpose = purpose;
    r.block_row = s->law->block_verify ? s->block_row : 0;
    return r;
}

WEIR_STEP_FN weir_status weir__close_p(const weir_env *env, const weir_emit_session *s, int32_t n_vocab,
                                       weir_closing *c) {
    if (!s->p_logits || !s->p_stats || isnan(s->p_stats->max)) return WEIR_EINVAL;
    weir_qp pair;
    memset(&pair, 0, sizeof pair);
    pair.q = pair.p = weir__row_view(s->p_logits, s->p_stats, s->law);
    pair.floor = INFINITY;
    pair.skip = -1;
    const weir_race race = weir__race_of(s, &pair, WEIR_WEIGHT_P, WEIR_PURPOSE_BONUS);
    c->token = s->law->temp > 0.0f ? weir__race(env, &race, n_vocab, false) : pair.p.argmax;
    if (c->token < 0) return WEIR_EINVAL;
    c->log_pi = wf_log(weir__prob(&pair.p, c->token, false));
    c->reject = 0.0f;
    c->deferred = true;
    return WEIR_OK;
}

WEIR_STEP_FN weir_status weir__close_law(const weir_env *env, const weir_emit_session *s, int32_t n_vocab,
                                         weir_closing *c) {
    const bool residual = s->kind == WEIR_EMIT_RESIDUAL;
    weir_position at =
        weir__position(s->law, s->q_logits, s->p_logits, s->q_stats, s->p_stats, n_vocab, s->position);
    if (residual) {
        at.draft = s->draft;
        at.verdict = s->verdict;
    }
    if (residual && (s->draft < 0 || s->draft >= n_vocab)) return WEIR_EINVAL;
    weir_policy y;
    WEIR_TRY(weir__policy(env, &at, &y));
    if (!residual && !y.has_pi) return WEIR_ENOTSUP;
    y.pair.block_p = s->block_p;
    const weir_weight_kind kind = !residual              ? WEIR_WEIGHT_PI
                                  : s->law->block_verify ? WEIR_WEIGHT_BLOCK
                                                         : WEIR_WEIGHT_RES;
    const weir_race race =
        weir__race_of(s, &y.pair, kind, residual ? WEIR_PURPOSE_RESIDUAL : WEIR_PURPOSE_BONUS);
    c->token = weir__race(env, &race, n_vocab, y.point);
    if (c->token < 0) { /* after an accept op never: it accepts the draft instead */
        if (!residual) return WEIR_EINVAL;
        c->empty = true;
        c->token = s->draft;
    }
    const weir_point t = weir__point(&y.pair, c->token);
    c->log_pi = y.has_pi ? wf_log(t.pi) : NAN;
    c->reject = y.reject;
    c->deferred = y.kind == WEIR_KIND_GATE ? y.gate : true;
    return WEIR_OK;
}

/* The status is in the result; unless it is OK nothing else is valid. */
WEIR_STEP_FN weir_closing weir__close(const weir_env *env, const weir_emit_session *s, int32_t n_vocab) {
    weir_closing c;
    memset(&c, 0, sizeof c);
    c.token = -1;
    c.status = !s->law                  ? WEIR_EINVAL
               : s->kind == WEIR_EMIT_P ? weir__close_p(env, s, n_vocab, &c)
                                        : weir__close_law(env, s, n_vocab, &c);
    if (c.status == WEIR_OK) c.log_p = weir__log_raw(s->p_logits, s->p_stats, c.token);
    return c;
}

WEIR_STEP_FN void weir__store_closing(weir_emit_session *s, const weir_closing *c) {
    s->status = c->status;
    if (c->status != WEIR_OK) return;
    s->token = c->token;
    s->log_pi = c->log_pi;
    s->log_p = c->log_p;
    s->reject = c->reject;
    s->deferred = c->deferred;
}

/* ---- gates alone --------------------------------------------------------------------------------------- */

WEIR_STEP_FN weir_status weir__gate_of(const weir_env *env, const weir_gate_session *s, int32_t n_vocab,
                                       bool *deferred) {
    if (!s->law) return WEIR_EINVAL;
    const weir_position at =
        weir__position(s->law, s->q_logits, s->p_logits, s->q_stats, s->p_stats, n_vocab, s->position);
    return weir__gate(env, &at, deferred);
}

#endif /* WEIR_KERNELS_ACCEPT_EXAMINE_IMPL_H */
