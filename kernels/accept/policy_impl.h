#ifndef WEIR_KERNELS_ACCEPT_POLICY_IMPL_H
#define WEIR_KERNELS_ACCEPT_POLICY_IMPL_H

#include "kernels/accept/accept.h"
#include "kernels/accept/gate_q.h"
#include "kernels/accept/sweep/point.h"
#include "kernels/accept/traits.h"

/* Internal to the accept path: a law applied to one position; one source for every backend. The includer has
 * declared the type weir_env, which passes over a vocabulary run on, and
 *   void weir__qp_sums(const weir_env *env, const weir_qp *r, weir_sum_kind kind, int32_t n_vocab,
 *                        bool point, float out[2]);
 * On a device every thread of a team runs this with equal values, so that all meet in each pass. Plain C that
 * is also C++: no designated initialisers, no compound literals. */

typedef struct weir_position {
    const weir_law *law;
    const float *q_logits, *p_logits; /* q may be NULL if only p is needed; p for q_only gates */
    const weir_row_stats *q_stats, *p_stats;
    int32_t n_vocab;
    int32_t position;            /* output index, for exact_first */
    int32_t draft;               /* the drafted token (cactus), -1 none */
    const weir_verdict *verdict; /* known from the accept op, or NULL */
} weir_position;

/* Without a drafted token or a known verdict. */
WEIR_STEP_FN weir_position weir__position(const weir_law *law, const float *q_logits, const float *p_logits,
                                          const weir_row_stats *q_stats, const weir_row_stats *p_stats,
                                          int32_t n_vocab, int32_t position) {
    weir_position at;
    at.law = law;
    at.q_logits = q_logits;
    at.p_logits = p_logits;
    at.q_stats = q_stats;
    at.p_stats = p_stats;
    at.n_vocab = n_vocab;
    at.position = position;
    at.draft = -1;
    at.verdict = NULL;
    return at;
}

typedef struct weir_policy {
    weir_qp pair;
    weir_rule rule; /* after exact_first */
    weir_rule_kind kind;
    bool point; /* temperature 0 */
    bool gate;  /* GATE: r of the row */
    bool has_keep, has_pi;
    float reject, mass; /* R = sum (q - num)+ and sum res; NaN if they were not measured */
    float eta, beta;    /* NaN if undefined */
} weir_policy;

/* ---- row facts that rules ask for ---------------------------------------------------------------------- */

WEIR_STEP_FN float policy_max_prob(const weir_row_view *r, bool scaled) {
    return scaled ? r->inv_psum : r->inv_sum;
}

/* alpha D_TV, 0 at D_TV = 0 for infinite alpha too. */
WEIR_STEP_FN float policy_tv_term(float alpha, float tv) { return tv > 0.0f ? alpha * tv : 0.0f; }

/* ---- a policy under construction ----------------------------------------------------------------------- */

typedef struct policy_build {
    const weir_env *env;
    const weir_position *at;
    const weir_law *law;
    weir_policy *y;
} policy_build;

WEIR_STEP_FN void policy_sums(const policy_build *b, weir_sum_kind kind, float out[2]) {
    weir__qp_sums(b->env, &b->y->pair, kind, b->at->n_vocab, b->y->point, out);
}

WEIR_STEP_FN void policy_set_coef(weir_qp *r, int keep, float num_q, float num_p, float res_q, float res_p) {
    weir_rule_coef *c = &r->coef[keep];
    c->num_q = num_q;
    c->num_p = num_p;
    c->res_q = res_q;
    c->res_p = res_p;
}

/* Whether R and the residual's mass are known in the end. */
WEIR_STEP_FN bool policy_measures(const policy_build *b) {
    return b->law->measure_reject || b->y->point || weir__rule_weighs(b->y->rule);
}

/* num = q: nothing is rejected. */
WEIR_STEP_FN void policy_form_keep(const policy_build *b) {
    policy_set_coef(&b->y->pair, 0, 1, 0, 0, 0);
    if (policy_measures(b)) b->y->reject = b->y->mass = 0.0f;
}

/* num = p: the exact test. Its two masses are D_TV, from either side. */
WEIR_STEP_FN void policy_form_exact(weir_policy *y) { policy_set_coef(&y->pair, 0, 0, 1, -1, 1); }

WEIR_STEP_FN void policy_measure(const policy_build *b) {
    float out[2];
    policy_sums(b, WEIR_SUM_MASS, out);
    b->y->reject = out[0];
    b->y->mass = out[1];
}

/* By a rule that has no use for its masses. */
WEIR_STEP_FN void policy_measure_if_wanted(const policy_build *b) {
    if (policy_measures(b)) policy_measure(b);
}

/* Membership test m(v) >= floor on one of the four distributions. */
WEIR_STEP_FN void policy_set_member(const policy_build *b, bool of_p, float floor) {
    weir_qp *r = &b->y->pair;
    r->member_p = of_p;
    r->member_raw = !b->law->gate_scaled;
    r->floor = floor;
}

/* ---- gates --------------------------------------------------------------------------------------------- */

/* For opt and opt-log the exact form has been measured (D_TV = reject). */
WEIR_STEP_FN bool policy_gate_defers(const policy_build *b) {
    const weir_row_view *q = &b->y->pair.q, *p = &b->y->pair.p;
    const bool scaled = b->law->gate_scaled;
    const float alpha = b->law->alpha;
    switch (b->y->rule) {
    case WEIR_RULE_CHOW:
    case WEIR_RULE_CHOW_LOG: return weir__gate_by_q(b->law, b->at->q_stats);
    case WEIR_RULE_DIFF: return policy_max_prob(q, scaled) < policy_max_prob(p, scaled) - alpha;
    case WEIR_RULE_OPT:
        return policy_max_prob(q, scaled) < policy_max_prob(p, scaled) - policy_tv_term(alpha, b->y->reject);
    case WEIR_RULE_OPT_LOG:
        return weir__stats_entropy(b->at->q_stats, scaled) >
               weir__stats_entropy(b->at->p_stats, scaled) + policy_tv_term(alpha, b->y->reject);
    case WEIR_RULE_BILD: return -wf_log(weir__prob(p, q->argmax, !scaled)) > alpha;
    case WEIR_RULE_FUZZY: {
        float js[2];
        policy_sums(b, WEIR_SUM_JS, js);
        return js[0] > alpha;
    }
    default: return true; /* exact */
    }
}

WEIR_STEP_FN void policy_build_gate(const policy_build *b) {
    weir_policy *y = b->y;
    policy_form_exact(y);
    if (weir__rule_weighs(y->rule)) policy_measure(b);
    y->gate = policy_gate_defers(b);
    y->eta = y->gate ? 1.0f : 0.0f;
    if (!y->gate)
        policy_form_keep(b);
    else if (!weir__rule_weighs(y->rule))
        policy_measure_if_wanted(b);
}

/* ---- token rules --------------------------------------------------------------------------------------- */

/* keep(v) = not (m(v) < bound). */
WEIR_STEP_FN void policy_token_membership(const policy_build *b) {
    const weir_row_view *p = &b->y->pair.p;
    const float max_p = policy_max_prob(p, b->law->gate_scaled), alpha = b->law->alpha;
    switch (b->y->rule) {
    case WEIR_RULE_TOKEN_V1: policy_set_member(b, false, max_p - alpha); break;
    case WEIR_RULE_TOKEN_V2: policy_set_member(b, true, max_p - alpha); break;
    default: policy_set_member(b, true, (1.0f - alpha) * max_p); break;
    }
}

WEIR_STEP_FN void policy_build_token(const policy_build *b) {
    weir_policy *y = b->y;
    float out[2];
    policy_token_membership(b);
    policy_sums(b, WEIR_SUM_ETA, out);
    y->eta = out[0];
    policy_set_coef(&y->pair, 0, 0, y->eta, -1, y->eta);
    policy_set_coef(&y->pair, 1, 1, y->eta, 0, y->eta);
    if (policy_measures(b)) y->reject = y->mass = 0.0f;
    if (y->eta > 0.0f) policy_measure_if_wanted(b);
}

/* ---- rules of their own -------------------------------------------------------------------------------- */

/* s = 1 / beta in (0, 1] with sum (s p - q)+ = R. The sum is convex and piecewise linear in s, at least R at
 * s = 1: Newton's steps from there decrease towards the root and end after finitely many, since each drops
 * ids from {s p > q}. */
WEIR_STEP_FN float policy_matching_tilt(const policy_build *b, float reject) {
    weir_qp *r = &b->y->pair;
    r->tilt = 1.0f;
    for (int i = 0; i < 64; i++) {
        float over[2];
        policy_sums(b, WEIR_SUM_TILT, over);
        const float s = (reject + over[0]) / over[1];
        if (!(over[1] > 0.0f) || !(s < r->tilt)) break;
        r->tilt = s;
    }
    return r->tilt;
}

WEIR_STEP_FN void policy_build_lossy(const policy_build *b) {
    weir_policy *y = b->y;
    const float alpha = b->law->alpha;
    const bool find_beta = isnan(b->law->beta);
    y->beta = find_beta ? 1.0f : b->law->beta;
    if (y->point) { /* the definition at temperature 0 */
        policy_form_exact(y);
        if (weir__prob(&y->pair.p, y->pair.q.argmax, true) >= (1.0f - alpha) * y->pair.p.inv_sum)
            policy_form_keep(b);
        else
            policy_measure(b);
        return;
    }
    policy_set_coef(&y->pair, 0, 0, 1.0f / (1.0f - alpha), -1, 1.0f / y->beta);
    policy_measure(b);
    if (find_beta && y->reject > 0.0f) {
        const float s = policy_matching_tilt(b, y->reject);
        y->beta = 1.0f / s;
        policy_set_coef(&y->pair, 0, 0, 1.0f / (1.0f - alpha), -1, s);
        policy_measure(b);
    }
    if (!(y->mass > 0.0f) && y->reject > 0.0f) {
        y->beta = 1.0f;
        policy_set_coef(&y->pair, 0, 0, 1.0f / (1.0f - alpha), -1, 1);
        policy_measure(b);
    }
}

WEIR_STEP_FN void policy_build_exact_tail(const policy_build *b) {
    policy_token_membership(b);
    policy_set_coef(&b->y->pair, 0, 0, 1, -1, 1);
    policy_set_coef(&b->y->pair, 1, 1, 0, -1, 1);
    policy_measure(b);
}

WEIR_STEP_FN void policy_build_ensemble(const policy_build *b) {
    const float w = b->law->alpha;
    policy_set_coef(&b->y->pair, 0, 1.0f - w, w, -w, w);
    b->y->eta = w;
    policy_measure_if_wanted(b);
}

WEIR_STEP_FN void policy_typical_membership(const policy_build *b) {
    const float h = weir__stats_entropy(b->at->p_stats, b->law->gate_scaled);
    const float scaled = b->law->beta * wf_exp(h > 0.0f ? -h : 0.0f);
    const float bound = b->law->alpha < scaled ? b->law->alpha : scaled;
    policy_set_member(b, true, nextafterf(bound, INFINITY)); /* p(v) > bound */
}

WEIR_STEP_FN void policy_build_typical(const policy_build *b) {
    weir_policy *y = b->y;
    float out[2];
    policy_typical_membership(b);
    policy_sums(b, WEIR_SUM_ETA, out);
    const float rest = out[1] > 0.0f ? 0.0f : 1.0f; /* no mass on the set: the residual is p */
    policy_set_coef(&y->pair, 0, 0, 0, 0, rest);
    policy_set_coef(&y->pair, 1, 1, 0, 0, 1);
    policy_measure(b);
}

/* Returns the factor of the rest of p in h. */
WEIR_STEP_FN float policy_cactus_form(const policy_build *b) {
    weir_qp *r = &b->y->pair;
    r->cactus = true;
    r->delta2 = 2.0f * b->law->alpha;
    if (b->at->draft < 0) return 1.0f;
    const weir_point x = weir__point(r, b->at->draft);
    r->skip = b->at->draft; /* rejected: num(x) < q(x), so that (h - q)+ is 0 there */
    return x.p < 1.0f ? (1.0f - x.num) / (1.0f - x.p) : 0.0f;
}

WEIR_STEP_FN void policy_build_cactus(const policy_build *b) {
    policy_set_coef(&b->y->pair, 0, 0, 0, -1, policy_cactus_form(b));
    policy_measure_if_wanted(b);
}

/* pi of ensemble is num itself. */
WEIR_STEP_FN bool policy_owns_pi(const weir_policy *y) {
    return y->kind == WEIR_KIND_OWN && y->rule != WEIR_RULE_ENSEMBLE;
}

WEIR_STEP_FN void policy_build_own(const policy_build *b) {
    switch (b->y->rule) {
    case WEIR_RULE_LOSSY: policy_build_lossy(b); break;
    case WEIR_RULE_TOKEN_V3_EXACT_TAIL: policy_build_exact_tail(b); break;
    case WEIR_RULE_ENSEMBLE: policy_build_ensemble(b); break;
    case WEIR_RULE_TYPICAL: policy_build_typical(b); break;
    default: policy_build_cactus(b); break;
    }
    b->y->pair.own = policy_owns_pi(b->y);
    if (b->y->mass > 0.0f) b->y->pair.mix = b->y->reject / b->y->mass;
}

/* ---- entry points -------------------------------------------------------------------------------------- */

WEIR_STEP_FN bool policy_usable(const float *logits, const weir_row_stats *s) {
    return logits && s && !isnan(s->max);
}

WEIR_STEP_FN weir_status policy_start(const weir_position *at, weir_policy *y) {
    const weir_law *law = at->law;
    const weir_rule rule = at->position < law->exact_first ? WEIR_RULE_EXACT : (weir_rule)law->rule;
    if (!weir__rule_known((int32_t)rule) || !policy_usable(at->q_logits, at->q_stats)) return WEIR_EINVAL;
    const bool has_p = policy_usable(at->p_logits, at->p_stats);
    if (!has_p && (!weir__rule_q_only(rule) || at->p_logits)) return WEIR_EINVAL;
    memset(y, 0, sizeof *y);
    y->rule = rule;
    y->kind = weir__rule_kind(rule);
    y->point = !(law->temp > 0.0f);
    y->eta = y->beta = y->reject = y->mass = NAN;
    y->has_pi = weir__rule_has_pi(rule);
    y->has_keep = y->kind != WEIR_KIND_OWN || rule == WEIR_RULE_ENSEMBLE;
    y->pair.q = weir__row_view(at->q_logits, at->q_stats, law);
    y->pair.p = has_p ? weir__row_view(at->p_logits, at->p_stats, law) : y->pair.q;
    y->pair.floor = INFINITY;
    y->pair.skip = -1;
    y->pair.block_p = 1.0f;
    return WEIR_OK;
}

WEIR_STEP_FN weir_verdict weir__verdict(const weir_policy *y) {
    weir_verdict v;
    memset(&v, 0, sizeof v);
    v.known = true;
    v.gate = y->gate;
    v.reject = y->reject;
    v.mass = y->mass;
    v.eta = y->eta;
    v.beta = y->beta;
    v.mix = y->pair.mix;
    for (int k = 0; k < 2; k++) {
        const weir_rule_coef *c = &y->pair.coef[k];
        v.coef[k][0] = c->num_q;
        v.coef[k][1] = c->num_p;
        v.coef[k][2] = c->res_q;
        v.coef[k][3] = c->res_p;
    }
    return v;
}

/* The sums are known; membership depends only on the row statistics. */
WEIR_STEP_FN void policy_recall(const policy_build *b, const weir_verdict *v) {
    weir_policy *y = b->y;
    if (y->kind == WEIR_KIND_TOKEN || y->rule == WEIR_RULE_TOKEN_V3_EXACT_TAIL) policy_token_membership(b);
    if (y->rule == WEIR_RULE_TYPICAL) policy_typical_membership(b);
    if (y->rule == WEIR_RULE_CACTUS) policy_cactus_form(b);
    y->gate = v->gate;
    y->reject = v->reject;
    y->mass = v->mass;
    y->eta = v->eta;
    y->beta = v->beta;
    y->pair.own = policy_owns_pi(y);
    y->pair.mix = v->mix;
    for (int k = 0; k < 2; k++)
        policy_set_coef(&y->pair, k, v->coef[k][0], v->coef[k][1], v->coef[k][2], v->coef[k][3]);
}

WEIR_STEP_FN weir_status weir__policy(const weir_env *env, const weir_position *at, weir_policy *out) {
    if (!policy_usable(at->p_logits, at->p_stats)) return WEIR_EINVAL;
    WEIR_TRY(policy_start(at, out));
    const policy_build b = {env, at, at->law, out};
    if (at->verdict && at->verdict->known) {
        policy_recall(&b, at->verdict);
        return WEIR_OK;
    }
    switch (out->kind) {
    case WEIR_KIND_GATE: policy_build_gate(&b); break;
    case WEIR_KIND_TOKEN: policy_build_token(&b); break;
    case WEIR_KIND_OWN: policy_build_own(&b); break;
    }
    return WEIR_OK;
}

WEIR_STEP_FN weir_status weir__gate(const weir_env *env, const weir_position *at, bool *deferred) {
    weir_policy y;
    WEIR_TRY(policy_start(at, &y));
    if (y.kind != WEIR_KIND_GATE) return WEIR_EINVAL;
    const policy_build b = {env, at, at->law, &y};
    policy_form_exact(&y);
    if (weir__rule_weighs(y.rule)) policy_measure(&b);
    *deferred = policy_gate_defers(&b);
    return WEIR_OK;
}

WEIR_STEP_FN float weir__keep(const weir_policy *y, const weir_point *t) {
    if (!y->has_keep) return NAN;
    if (y->kind == WEIR_KIND_OWN) return 1.0f - y->eta; /* ensemble */
    if (y->kind == WEIR_KIND_GATE) return y->gate ? 0.0f : 1.0f;
    return t->keep ? 1.0f : 0.0f;
}

WEIR_STEP_FN bool weir__deferred(const weir_policy *y, const weir_point *t) {
    switch (y->kind) {
    case WEIR_KIND_GATE: return y->gate;
    case WEIR_KIND_TOKEN: return !t->keep;
    default: return t->num < t->q;
    }
}

#endif /* WEIR_KERNELS_ACCEPT_POLICY_IMPL_H */
