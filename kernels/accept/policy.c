#include "kernels/accept/policy.h"

#include <math.h>

/* ---- row facts that rules ask for ------------------------------------------------------------------------ */

static float max_prob(const weir_row_view *r, bool scaled) { return scaled ? r->inv_psum : r->inv_sum; }

static float entropy(const weir_row_stats *s, bool scaled) {
    return scaled ? wf_log(s->psum) - s->pdot / s->psum : wf_log(s->sum) - s->dot / s->sum;
}

/* alpha D_TV, 0 at D_TV = 0 for infinite alpha too. */
static float tv_term(float alpha, float tv) { return tv > 0.0f ? alpha * tv : 0.0f; }

/* ---- a policy under construction ------------------------------------------------------------------------- */

typedef struct build {
    const weir_env *env;
    const weir_position *at;
    const weir_law *law;
    weir_policy *y;
} build;

static void sums(const build *b, weir_sum_kind kind, float out[2]) {
    weir__pair_sums(b->env, &b->y->pair, kind, b->at->n_vocab, b->y->point, out);
}

static void set_coef(weir_pair *r, int keep, float num_q, float num_p, float res_q, float res_p) {
    r->coef[keep] = (weir_rule_coef){num_q, num_p, res_q, res_p};
}

/* num = q: nothing is rejected. */
static void form_keep(weir_policy *y) {
    set_coef(&y->pair, 0, 1, 0, 0, 0);
    y->reject = y->mass = 0.0f;
}

/* num = p: the exact test. Its two masses are D_TV, from either side. */
static void form_exact(weir_policy *y) { set_coef(&y->pair, 0, 0, 1, -1, 1); }

static void measure(const build *b) {
    float out[2];
    sums(b, WEIR_SUM_MASS, out);
    b->y->reject = out[0];
    b->y->mass = out[1];
}

/* Membership test m(v) >= floor on one of the four distributions. */
static void set_member(const build *b, bool of_p, float floor) {
    weir_pair *r = &b->y->pair;
    r->member_p = of_p;
    r->member_raw = !b->law->gate_scaled;
    r->floor = floor;
}

/* ---- gates ----------------------------------------------------------------------------------------------- */

static bool gate_needs_masses(weir_rule rule) { return rule == WEIR_RULE_OPT || rule == WEIR_RULE_OPT_LOG; }

/* opt and opt-log have measured the exact form before (D_TV = reject). */
static bool gate_defers(const build *b) {
    const weir_row_view *q = &b->y->pair.q, *p = &b->y->pair.p;
    const bool scaled = b->law->gate_scaled;
    const float alpha = b->law->alpha;
    switch (b->y->rule) {
    case WEIR_RULE_CHOW: return max_prob(q, scaled) < 1.0f - alpha;
    case WEIR_RULE_CHOW_LOG: return entropy(b->at->q_stats, scaled) > alpha;
    case WEIR_RULE_DIFF: return max_prob(q, scaled) < max_prob(p, scaled) - alpha;
    case WEIR_RULE_OPT: return max_prob(q, scaled) < max_prob(p, scaled) - tv_term(alpha, b->y->reject);
    case WEIR_RULE_OPT_LOG:
        return entropy(b->at->q_stats, scaled) > entropy(b->at->p_stats, scaled) + tv_term(alpha, b->y->reject);
    case WEIR_RULE_BILD: return -wf_log(weir__prob(p, q->argmax, !scaled)) > alpha;
    case WEIR_RULE_FUZZY: {
        float js[2];
        sums(b, WEIR_SUM_JS, js);
        return js[0] > alpha;
    }
    default: return true; /* exact */
    }
}

static void build_gate(const build *b) {
    weir_policy *y = b->y;
    form_exact(y);
    if (gate_needs_masses(y->rule)) measure(b);
    y->gate = gate_defers(b);
    y->eta = y->gate ? 1.0f : 0.0f;
    if (!y->gate)
        form_keep(y);
    else if (!gate_needs_masses(y->rule))
        measure(b);
}

/* ---- token rules ----------------------------------------------------------------------------------------- */

/* keep(v) = not (m(v) < bound). */
static void token_membership(const build *b) {
    const weir_row_view *p = &b->y->pair.p;
    const float max_p = max_prob(p, b->law->gate_scaled), alpha = b->law->alpha;
    switch (b->y->rule) {
    case WEIR_RULE_TOKEN_V1: set_member(b, false, max_p - alpha); break;
    case WEIR_RULE_TOKEN_V2: set_member(b, true, max_p - alpha); break;
    default: set_member(b, true, (1.0f - alpha) * max_p); break;
    }
}

static void build_token(const build *b) {
    weir_policy *y = b->y;
    float out[2];
    token_membership(b);
    sums(b, WEIR_SUM_ETA, out);
    y->eta = out[0];
    set_coef(&y->pair, 0, 0, y->eta, -1, y->eta);
    set_coef(&y->pair, 1, 1, y->eta, 0, y->eta);
    if (y->eta > 0.0f) measure(b);
}

/* ---- rules of their own ---------------------------------------------------------------------------------- */

/* s = 1 / beta in (0, 1] with sum (s p - q)+ = R. The sum is convex and piecewise linear in s, at least R at s = 1:
 * Newton's steps from there fall towards the root and end after finitely many, as each drops ids from {s p > q}. */
static float matching_tilt(const build *b, float reject) {
    weir_pair *r = &b->y->pair;
    r->tilt = 1.0f;
    for (int i = 0; i < 64; i++) {
        float over[2];
        sums(b, WEIR_SUM_TILT, over);
        const float s = (reject + over[0]) / over[1];
        if (!(over[1] > 0.0f) || !(s < r->tilt)) break;
        r->tilt = s;
    }
    return r->tilt;
}

static void build_lossy(const build *b) {
    weir_policy *y = b->y;
    const float alpha = b->law->alpha;
    const bool find_beta = isnan(b->law->beta);
    y->beta = find_beta ? 1.0f : b->law->beta;
    if (y->point) { /* the definition at temperature 0 */
        form_exact(y);
        if (weir__prob(&y->pair.p, y->pair.q.argmax, true) >= (1.0f - alpha) * y->pair.p.inv_sum)
            form_keep(y);
        else
            measure(b);
        return;
    }
    set_coef(&y->pair, 0, 0, 1.0f / (1.0f - alpha), -1, 1.0f / y->beta);
    measure(b);
    if (find_beta && y->reject > 0.0f) {
        const float s = matching_tilt(b, y->reject);
        y->beta = 1.0f / s;
        set_coef(&y->pair, 0, 0, 1.0f / (1.0f - alpha), -1, s);
        measure(b);
    }
    if (!(y->mass > 0.0f) && y->reject > 0.0f) {
        y->beta = 1.0f;
        set_coef(&y->pair, 0, 0, 1.0f / (1.0f - alpha), -1, 1);
        measure(b);
    }
}

static void build_exact_tail(const build *b) {
    token_membership(b);
    set_coef(&b->y->pair, 0, 0, 1, -1, 1);
    set_coef(&b->y->pair, 1, 1, 0, -1, 1);
    measure(b);
}

static void build_ensemble(const build *b) {
    const float w = b->law->alpha;
    set_coef(&b->y->pair, 0, 1.0f - w, w, -w, w);
    b->y->eta = w;
    measure(b);
}

static void typical_membership(const build *b) {
    const float h = entropy(b->at->p_stats, b->law->gate_scaled);
    const float scaled = b->law->beta * wf_exp(h > 0.0f ? -h : 0.0f);
    const float bound = b->law->alpha < scaled ? b->law->alpha : scaled;
    set_member(b, true, nextafterf(bound, INFINITY)); /* p(v) > bound */
}

static void build_typical(const build *b) {
    weir_policy *y = b->y;
    float out[2];
    typical_membership(b);
    sums(b, WEIR_SUM_ETA, out);
    const float rest = out[1] > 0.0f ? 0.0f : 1.0f; /* no mass on the set: the residual is p */
    set_coef(&y->pair, 0, 0, 0, 0, rest);
    set_coef(&y->pair, 1, 1, 0, 0, 1);
    measure(b);
}

/* Returns what the rest of p is scaled by in h. */
static float cactus_form(const build *b) {
    weir_pair *r = &b->y->pair;
    r->cactus = true;
    r->delta2 = 2.0f * b->law->alpha;
    if (b->at->draft < 0) return 1.0f;
    const weir_point x = weir__point(r, b->at->draft);
    r->skip = b->at->draft; /* rejected: num(x) < q(x), so that (h - q)+ is 0 there */
    return x.p < 1.0f ? (1.0f - x.num) / (1.0f - x.p) : 0.0f;
}

static void build_cactus(const build *b) {
    set_coef(&b->y->pair, 0, 0, 0, -1, cactus_form(b));
    measure(b);
}

/* pi of ensemble is num itself. */
static bool owns_pi(const weir_policy *y) { return y->kind == WEIR_KIND_OWN && y->rule != WEIR_RULE_ENSEMBLE; }

static void build_own(const build *b) {
    switch (b->y->rule) {
    case WEIR_RULE_LOSSY: build_lossy(b); break;
    case WEIR_RULE_TOKEN_V3_EXACT_TAIL: build_exact_tail(b); break;
    case WEIR_RULE_ENSEMBLE: build_ensemble(b); break;
    case WEIR_RULE_TYPICAL: build_typical(b); break;
    default: build_cactus(b); break;
    }
    b->y->pair.own = owns_pi(b->y);
    if (b->y->mass > 0.0f) b->y->pair.mix = b->y->reject / b->y->mass;
}

/* ---- entry points ---------------------------------------------------------------------------------------- */

static bool usable(const float *logits, const weir_row_stats *s) { return logits && s && !isnan(s->max); }

static weir_status start(const weir_position *at, weir_policy *y) {
    const weir_law *law = at->law;
    const weir_rule rule = at->position < law->exact_first ? WEIR_RULE_EXACT : (weir_rule)law->rule;
    const weir_rule_info *facts = weir_rule_facts(rule);
    if (!facts || !usable(at->q_logits, at->q_stats)) return WEIR_EINVAL;
    const bool has_p = usable(at->p_logits, at->p_stats);
    if (!has_p && (!facts->q_only || at->p_logits)) return WEIR_EINVAL;
    *y = (weir_policy){.rule = rule, .kind = facts->kind, .point = !(law->temp > 0.0f), .eta = NAN, .beta = NAN,
                       .has_pi = facts->pi_exists,
                       .has_keep = facts->kind != WEIR_KIND_OWN || rule == WEIR_RULE_ENSEMBLE};
    y->pair.q = weir__row_view(at->q_logits, at->q_stats, law);
    y->pair.p = has_p ? weir__row_view(at->p_logits, at->p_stats, law) : y->pair.q;
    y->pair.floor = INFINITY;
    y->pair.skip = -1;
    y->pair.block_p = 1.0f;
    return WEIR_OK;
}

weir_verdict weir__verdict(const weir_policy *y) {
    weir_verdict v = {.known = true, .gate = y->gate, .reject = y->reject, .mass = y->mass, .eta = y->eta,
                      .beta = y->beta, .mix = y->pair.mix};
    for (int k = 0; k < 2; k++) {
        const weir_rule_coef *c = &y->pair.coef[k];
        v.coef[k][0] = c->num_q, v.coef[k][1] = c->num_p, v.coef[k][2] = c->res_q, v.coef[k][3] = c->res_p;
    }
    return v;
}

/* The sums are known; membership is a matter of the row statistics alone. */
static void recall(const build *b, const weir_verdict *v) {
    weir_policy *y = b->y;
    if (y->kind == WEIR_KIND_TOKEN || y->rule == WEIR_RULE_TOKEN_V3_EXACT_TAIL) token_membership(b);
    if (y->rule == WEIR_RULE_TYPICAL) typical_membership(b);
    if (y->rule == WEIR_RULE_CACTUS) cactus_form(b);
    y->gate = v->gate;
    y->reject = v->reject;
    y->mass = v->mass;
    y->eta = v->eta;
    y->beta = v->beta;
    y->pair.own = owns_pi(y);
    y->pair.mix = v->mix;
    for (int k = 0; k < 2; k++)
        y->pair.coef[k] = (weir_rule_coef){v->coef[k][0], v->coef[k][1], v->coef[k][2], v->coef[k][3]};
}

weir_status weir__policy(const weir_env *env, const weir_position *at, weir_policy *out) {
    if (!usable(at->p_logits, at->p_stats)) return WEIR_EINVAL;
    WEIR_TRY(start(at, out));
    const build b = {env, at, at->law, out};
    if (at->verdict && at->verdict->known) {
        recall(&b, at->verdict);
        return WEIR_OK;
    }
    switch (out->kind) {
    case WEIR_KIND_GATE: build_gate(&b); break;
    case WEIR_KIND_TOKEN: build_token(&b); break;
    case WEIR_KIND_OWN: build_own(&b); break;
    }
    return WEIR_OK;
}

weir_status weir__gate(const weir_env *env, const weir_position *at, bool *deferred) {
    weir_policy y;
    WEIR_TRY(start(at, &y));
    if (y.kind != WEIR_KIND_GATE) return WEIR_EINVAL;
    const build b = {env, at, at->law, &y};
    form_exact(&y);
    if (gate_needs_masses(y.rule)) measure(&b);
    *deferred = gate_defers(&b);
    return WEIR_OK;
}

float weir__keep(const weir_policy *y, const weir_point *t) {
    if (!y->has_keep) return NAN;
    if (y->kind == WEIR_KIND_OWN) return 1.0f - y->eta; /* ensemble */
    if (y->kind == WEIR_KIND_GATE) return y->gate ? 0.0f : 1.0f;
    return t->keep ? 1.0f : 0.0f;
}

bool weir__deferred(const weir_policy *y, const weir_point *t) {
    switch (y->kind) {
    case WEIR_KIND_GATE: return y->gate;
    case WEIR_KIND_TOKEN: return !t->keep;
    default: return t->num < t->q;
    }
}
