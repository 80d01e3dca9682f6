#include "kernels/accept/cpu.h"
#include "kernels/accept/sweep/sweep.h"
#include "kernels/accept/policy_impl.h"

weir_status weir__row_stats_of(weir_isa isa, const weir_law *law, const float *logits, int32_t n_vocab,
                               const char *whose, weir_row_stats *out, weir_err *err) {
    const int32_t law_of = 0;
    weir_row_stats_args a = {.logits = logits,
                             .ld = n_vocab,
                             .n_row = 1,
                             .n_vocab = n_vocab,
                             .law = law,
                             .law_of = &law_of,
                             .out = out};
    if (weir__row_stats_on(isa, &a) != WEIR_OK)
        return weir_fail(err, WEIR_EINVAL, "%s logits: none given, or a vocabulary of %d", whose, n_vocab);
    if (isnan(out->max))
        return weir_fail(err, WEIR_EINVAL, "%s logits: NaN, +inf, or no finite value", whose);
    return WEIR_OK;
}

static weir_law measuring(const weir_law *law) {
    weir_law x = *law;
    x.measure_reject = true;
    return x;
}

static void write_token(const weir_rule_row *e, const weir_policy *y, int32_t v) {
    const weir_point t = weir__point(&y->pair, v);
    if (e->pi) e->pi[v] = e->has_pi ? t.pi : NAN;
    if (e->keep) e->keep[v] = weir__keep(y, &t);
    if (e->accept) e->accept[v] = !(t.q > 0.0f) ? NAN : t.num < t.q ? t.num / t.q : 1.0f;
    if (e->residual) e->residual[v] = e->has_residual ? t.res / y->mass : NAN;
}

weir_status weir__rule_evaluate_row(weir_rule_row *e, weir_err *err) {
    if (!e || !e->law || e->n_vocab < 1)
        return weir_fail(err, WEIR_EINVAL, "a rule needs a law and logits of at least one token");
    WEIR_TRY(weir_law_check(e->law, err));
    const weir_isa isa = weir__isa_best();
    const weir_env env = weir__env_of(isa, NULL);
    const weir_law law = measuring(e->law);
    weir_row_stats q, p;
    WEIR_TRY(weir__row_stats_of(isa, e->law, e->q_logits, e->n_vocab, "q", &q, err));
    WEIR_TRY(weir__row_stats_of(isa, e->law, e->p_logits, e->n_vocab, "p", &p, err));
    const weir_position at = weir__position(&law, e->q_logits, e->p_logits, &q, &p, e->n_vocab, 0);
    weir_policy y;
    if (weir__policy(&env, &at, &y) != WEIR_OK)
        return weir_fail(err, WEIR_EINVAL, "the rule has no answer here");
    e->reject = y.reject;
    e->eta = y.eta;
    e->beta = y.beta;
    e->deferred = y.kind == WEIR_KIND_GATE ? y.gate : -1;
    e->has_keep = y.has_keep;
    e->has_pi = y.has_pi;
    e->has_residual = y.mass > 0.0f && y.rule != WEIR_RULE_CACTUS; /* cactus: one for each drafted token */
    for (int32_t v = 0; v < e->n_vocab; v++) write_token(e, &y, v);
    return WEIR_OK;
}

/* ---- one token ----------------------------------------------------------------------------------------- */

void weir__rule_probs(const weir_law *law, const float *logits, const weir_row_stats *stats, int32_t n_vocab,
                      float *processed, float *raw) {
    const weir_row_view r = weir__row_view(logits, stats, law);
    const bool point = !(law->temp > 0.0f);
    for (int32_t v = 0; v < n_vocab; v++) {
        processed[v] = !point ? weir__prob(&r, v, false) : v == r.argmax ? 1.0f : 0.0f;
        raw[v] = weir__prob(&r, v, true);
    }
}

/* Probability that a token drafted from q counts as deferred. */
static float deferred_mass(const weir_policy *y, const weir_env *env, int32_t n_vocab) {
    if (y->kind == WEIR_KIND_GATE) return y->gate ? 1.0f : 0.0f;
    if (y->kind == WEIR_KIND_TOKEN) return y->eta;
    return env->lanes->below(&y->pair, env->given, n_vocab);
}

weir_status weir__rule_token_of(weir_rule_token *t) {
    const weir_given given = {{t->processed[0], t->processed[1]}, {t->raw[0], t->raw[1]}};
    weir_env env = weir__env_of(weir__isa_best(), NULL);
    env.given = &given;
    const weir_law law = measuring(t->law);
    weir_position at =
        weir__position(&law, t->q_logits, t->p_logits, t->q_stats, t->p_stats, t->n_vocab, t->position);
    at.draft = t->token;
    weir_policy y;
    WEIR_TRY(weir__policy(&env, &at, &y));
    const weir_point x = weir__point(&y.pair, t->token);
    t->reject = y.reject;
    t->deferred = deferred_mass(&y, &env, t->n_vocab);
    t->has_pi = y.has_pi;
    t->q = x.q;
    t->p = x.p;
    t->taken = x.num < x.q ? x.num : x.q;
    t->pi = y.has_pi ? x.pi : NAN;
    return WEIR_OK;
}
