#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/accept/cpu.h"
#include "kernels/accept/traits.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/compare.h"

enum { MAX_N = 1500 };

typedef struct result {
    weir_rule_row row;
    float pi[MAX_N], keep[MAX_N], accept[MAX_N], residual[MAX_N];
} result;

static void evaluate(result *r, const weir_law *law, const float *q, const float *p, int n) {
    weir_err err;
    r->row = (weir_rule_row){.law = law,
                             .q_logits = q,
                             .p_logits = p,
                             .n_vocab = n,
                             .pi = r->pi,
                             .keep = r->keep,
                             .accept = r->accept,
                             .residual = r->residual};
    cr_assert(weir__rule_evaluate_row(&r->row, &err) == WEIR_OK, "%s: %s",
              weir_rule_facts((weir_rule)law->rule)->name, err.text);
}

static weir_law law_of(weir_rule rule, float alpha) {
    weir_law law = weir_law_default();
    const weir_rule_info *f = weir_rule_facts(rule);
    law.rule = rule;
    law.alpha = alpha;
    law.beta = isnan(f->beta_default) ? 1.0f : f->beta_default;
    return law;
}

/* Values of alpha worth a visit, ends of the range among them. */
static int alphas(weir_rule rule, int n, float out[8]) {
    const weir_rule_info *f = weir_rule_facts(rule);
    int k = 0;
    out[k++] = f->alpha_default;
    if (isfinite(f->alpha_min)) out[k++] = f->alpha_min;
    if (isfinite(f->alpha_max) && !f->alpha_max_open) out[k++] = f->alpha_max;
    if (rule == WEIR_RULE_CHOW_LOG) out[k++] = logf((float)n);
    static const float more[] = {0.05f, 0.3f, 0.7f};
    for (int i = 0; i < 3; i++) out[k++] = more[i];
    if (rule == WEIR_RULE_OPT || rule == WEIR_RULE_OPT_LOG) out[k++] = -0.6f;
    return k;
}

/* ---- two places that say the same ---------------------------------------------------------------------- */

Test(rules, facts_and_traits_agree) {
    for (int rule = -1; rule <= WEIR_RULE_COUNT; rule++) {
        const weir_rule_info *f = weir_rule_facts((weir_rule)rule);
        cr_assert(weir__rule_known(rule) == (f != NULL), "rule %d", rule);
        if (!f) continue;
        cr_expect(weir__rule_kind((weir_rule)rule) == f->kind, "%s: kind", f->name);
        cr_expect(weir__rule_q_only((weir_rule)rule) == f->q_only, "%s: q_only", f->name);
        cr_expect(weir__rule_has_pi((weir_rule)rule) == f->pi_exists, "%s: pi", f->name);
    }
}

/* ---- against the oracle -------------------------------------------------------------------------------- */

static bool near(double got, double want, double tol) {
    return isnan(want) ? isnan(got) : fabs(got - want) <= tol;
}

/* fp32 against double: a probability has a relative error of 2e-5 at most (the exponential's argument at 87)
 * and 3e-6 where it matters; differences of them an absolute one; residuals and ratios that divided by the
 * mass or by q. */
static void compare(const result *r, const oracle *o, const char *where) {
    const bool own_law = r->row.law->rule != WEIR_RULE_CACTUS;
    cr_expect(near(r->row.reject, o->reject, 6e-6), "%s: R %g want %g", where, r->row.reject, o->reject);
    cr_expect(near(r->row.eta, o->eta, 6e-6), "%s: eta %g want %g", where, r->row.eta, o->eta);
    cr_expect(r->row.deferred == o->deferred, "%s: deferred %d want %d", where, r->row.deferred, o->deferred);
    cr_expect(r->row.has_pi == own_law, "%s: has_pi", where);
    cr_expect(r->row.has_keep == !isnan(o->keep[0]), "%s: has_keep", where);
    const bool mass = o->mass > 1e-4;
    if (own_law && mass) cr_expect(r->row.has_residual, "%s: residual of mass %g", where, o->mass);
    for (int v = 0; v < o->n; v++) {
        /* a token at the edge of the lossy residual moves with beta, which depends on the masses */
        const double pi_tol = 4e-6 + 4e-5 * o->pi[v] + (mass ? 0.0 : 1e-4);
        if (own_law)
            cr_assert(near(r->pi[v], o->pi[v], pi_tol), "%s: pi[%d] %g want %g", where, v, r->pi[v],
                      o->pi[v]);
        cr_assert(near(r->keep[v], o->keep[v], 1e-7), "%s: keep[%d] %g want %g", where, v, r->keep[v],
                  o->keep[v]);
        if (o->q[v] > 1e-35) {
            const double a = fmin(1.0, o->num[v] / o->q[v]);
            cr_assert(near(r->accept[v], a, 4e-6 / fmin(1.0, o->q[v] + 0.01) + 1e-4 * a),
                      "%s: accept[%d] %g want %g", where, v, r->accept[v], a);
        } else if (o->q[v] == 0.0)
            cr_assert(isnan(r->accept[v]), "%s: accept[%d] of no q", where, v);
        if (own_law && mass)
            cr_assert(near(r->residual[v], o->res[v] / o->mass, 4e-6 / o->mass + 4e-5),
                      "%s: residual[%d] %g want %g", where, v, r->residual[v], o->res[v] / o->mass);
    }
}

static void check_case(weir_law law, const float *q, const float *p, int n, int *done, int *skipped) {
    static result r;
    char where[160];
    evaluate(&r, &law, q, p, n);
    oracle *o = oracle_new(&law, q, p, n);
    snprintf(where, sizeof where, "%s alpha %g beta %g T %g k %d p %g m %g scaled %d n %d",
             weir_rule_facts((weir_rule)law.rule)->name, law.alpha, law.beta, law.temp, law.top_k, law.top_p,
             law.min_p, law.gate_scaled, n);
    if (o->margin >= 1.0) {
        compare(&r, o, where);
        ++*done;
    } else
        ++*skipped;
    oracle_free(o);
}

static const float TEMPS[] = {0.0f, 0.3f, 1.0f, 2.0f};
static const struct {
    int top_k;
    float top_p, min_p;
} CUTS[] = {{0, 1, 0}, {5, 1, 0}, {0, 0.7f, 0}, {0, 1, 0.05f}, {8, 0.9f, 0.01f}};
static const int SIZES[] = {2, 3, 17, 100, 1500};

static void check_rule(weir_rule rule, uint64_t *seed, int *done, int *skipped) {
    float q[MAX_N], p[MAX_N], alpha[8];
    for (int i = 0; i < 5; i++) {
        const int n = SIZES[i], n_alpha = alphas(rule, n, alpha);
        for (int t = 0; t < 4; t++)
            for (int c = 0; c < 5; c++)
                for (int scaled = 0; scaled < 2; scaled++)
                    for (int k = 0; k < n_alpha; k++) {
                        random_rows(seed, n, 1.5f, 0.7f, (k + c) % 3 == 0, q, p);
                        weir_law law = law_of(rule, alpha[k]);
                        law.temp = TEMPS[t];
                        law.top_k = CUTS[c].top_k, law.top_p = CUTS[c].top_p, law.min_p = CUTS[c].min_p;
                        law.gate_scaled = scaled;
                        if (rule == WEIR_RULE_LOSSY && k % 2) law.beta = NAN;
                        if (rule == WEIR_RULE_LOSSY && k == 2) law.beta = 2.0f;
                        check_case(law, q, p, n, done, skipped);
                    }
    }
}

Test(rules, agree_with_the_oracle) {
    uint64_t seed = 31;
    int done = 0, skipped = 0;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) check_rule((weir_rule)rule, &seed, &done, &skipped);
    cr_expect(skipped * 20 < done, "%d cases too close to call, %d compared", skipped, done);
    cr_log_info("%d cases compared, %d too close to call", done, skipped);
}

/* ---- closed forms -------------------------------------------------------------------------------------- */

/* pi = q keep + eta p, sum pi = 1, and pi = min(q, num) + R norm(res), from the reported arrays alone. */
Test(rules, laws_are_laws) {
    uint64_t seed = 32;
    static result r, e;
    float q[MAX_N], p[MAX_N];
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int rep = 0; rep < 60; rep++) {
            const int n = SIZES[rep % 5];
            random_rows(&seed, n, 1.5f, 0.7f, rep % 2, q, p);
            weir_law law = law_of((weir_rule)rule, weir_rule_facts((weir_rule)rule)->alpha_default);
            law.temp = TEMPS[rep % 4];
            evaluate(&r, &law, q, p, n);
            if (!r.row.has_pi) continue;
            weir_law exact = law, drafter = law; /* their pi are p and q */
            exact.rule = WEIR_RULE_EXACT;
            drafter.rule = WEIR_RULE_CHOW, drafter.alpha = 1.0f;
            double *pp = calloc(MAX_N, sizeof *pp), sum = 0.0;
            evaluate(&e, &exact, q, p, n);
            for (int v = 0; v < n; v++) pp[v] = e.pi[v];
            evaluate(&e, &drafter, q, p, n);
            for (int v = 0; v < n; v++) {
                sum += r.pi[v];
                const double qv = e.pi[v];
                if (r.row.has_keep)
                    cr_assert(near(r.pi[v], qv * r.keep[v] + r.row.eta * pp[v], 1e-6), "rule %d: form at %d",
                              rule, v);
                const double a = isnan(r.accept[v]) ? 0.0 : r.accept[v],
                             res = r.row.has_residual ? r.residual[v] : 0.0;
                cr_assert(near(r.pi[v], qv * a + r.row.reject * res, 2e-6),
                          "rule %d: accept and residual at %d", rule, v);
            }
            cr_expect(near(sum, 1.0, 1e-5), "rule %d: sums to %g", rule, sum);
            free(pp);
        }
}

Test(rules, limits) {
    uint64_t seed = 33;
    static result r;
    float q[MAX_N], p[MAX_N];
    const struct {
        weir_rule rule;
        float alpha;
        bool exact;
    } end[] = {{WEIR_RULE_CHOW, 0.0f, true},
               {WEIR_RULE_CHOW, -0.5f, true},
               {WEIR_RULE_CHOW, 1.0f, false},
               {WEIR_RULE_CHOW_LOG, -0.5f, true},
               {WEIR_RULE_CHOW_LOG, INFINITY, false},
               {WEIR_RULE_DIFF, -1.0f, true},
               {WEIR_RULE_DIFF, 1.0f, false},
               {WEIR_RULE_OPT, -INFINITY, true},
               {WEIR_RULE_OPT, INFINITY, false},
               {WEIR_RULE_OPT_LOG, -INFINITY, true},
               {WEIR_RULE_OPT_LOG, INFINITY, false},
               {WEIR_RULE_TOKEN_V1, -1.0f, true},
               {WEIR_RULE_TOKEN_V1, 1.0f, false},
               {WEIR_RULE_TOKEN_V2, -1.0f, true},
               {WEIR_RULE_TOKEN_V2, 1.0f, false},
               {WEIR_RULE_TOKEN_V3, -0.25f, true},
               {WEIR_RULE_TOKEN_V3, 1.0f, false},
               {WEIR_RULE_TOKEN_V3_EXACT_TAIL, -0.25f, true},
               {WEIR_RULE_TOKEN_V3_EXACT_TAIL, 1.0f, false},
               {WEIR_RULE_LOSSY, 0.0f, true},
               {WEIR_RULE_BILD, INFINITY, false},
               {WEIR_RULE_ENSEMBLE, 1.0f, true},
               {WEIR_RULE_ENSEMBLE, 0.0f, false},
               {WEIR_RULE_FUZZY, 1.0f, false},
               {WEIR_RULE_FUZZY, 0.0f, true}};
    for (size_t i = 0; i < sizeof end / sizeof end[0]; i++)
        for (int t = 0; t < 4; t++)
            for (int rep = 0; rep < 10; rep++) {
                const int n = SIZES[rep % 4];
                random_rows(&seed, n, 1.5f, 0.7f, false, q, p);
                weir_law law = law_of(end[i].rule, end[i].alpha);
                law.temp = TEMPS[t];
                oracle *o = oracle_new(&law, q, p, n);
                evaluate(&r, &law, q, p, n);
                const double *want = end[i].exact ? o->p : o->q;
                /* the closed end of chow-log's and lossy's word at T = 0 hold as everywhere */
                for (int v = 0; v < n; v++)
                    cr_assert(near(r.pi[v], want[v], 4e-6), "%s alpha %g T %g: pi[%d] %g want %g",
                              weir_rule_facts(end[i].rule)->name, end[i].alpha, TEMPS[t], v, r.pi[v],
                              want[v]);
                oracle_free(o);
            }
}

Test(rules, equal_rows_reject_nothing_under_exact) {
    uint64_t seed = 34;
    static result r;
    float q[MAX_N], p[MAX_N];
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) {
        if (rule == WEIR_RULE_TYPICAL) continue; /* refuses what is outside its set whatever q is */
        for (int rep = 0; rep < 20; rep++) {
            const int n = SIZES[rep % 5];
            random_rows(&seed, n, 1.5f, 0.7f, false, q, p);
            weir_law law = law_of((weir_rule)rule, 0.3f);
            law.temp = TEMPS[rep % 4];
            evaluate(&r, &law, q, q, n);
            /* token rules keep the head and let the tail through at rate eta: R > 0 with p = q as well */
            const bool token = weir_rule_facts((weir_rule)rule)->kind == WEIR_KIND_TOKEN;
            if (!token) cr_expect(r.row.reject <= 1e-7f, "rule %d R %g", rule, r.row.reject);
            if (rule == WEIR_RULE_EXACT) cr_expect(r.row.reject == 0.0f && !r.row.has_residual);
        }
    }
}

/* chow, diff, opt: r D_TV; exact-tail tests fewer tokens than exact does. */
Test(rules, gates_and_the_exact_tail_never_reject_more_than_exact) {
    static const weir_rule rules[] = {
        WEIR_RULE_CHOW,    WEIR_RULE_CHOW_LOG, WEIR_RULE_DIFF,  WEIR_RULE_OPT,
        WEIR_RULE_OPT_LOG, WEIR_RULE_BILD,     WEIR_RULE_FUZZY, WEIR_RULE_TOKEN_V3_EXACT_TAIL,
        WEIR_RULE_LOSSY};
    uint64_t seed = 35;
    static result r, e;
    float q[MAX_N], p[MAX_N];
    bool token_rejects_more = false;
    for (int rep = 0; rep < 400; rep++) {
        const int n = SIZES[rep % 5];
        random_rows(&seed, n, 1.5f, 0.7f, false, q, p);
        weir_law exact = law_of(WEIR_RULE_EXACT, 0);
        exact.temp = TEMPS[rep % 4];
        evaluate(&e, &exact, q, p, n);
        for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
            weir_law law = law_of(rules[i], rng_uniform(&seed, 0.0f, 0.9f));
            law.temp = exact.temp;
            evaluate(&r, &law, q, p, n);
            cr_assert(r.row.reject <= e.row.reject, "rule %d: R %g over %g", rules[i], r.row.reject,
                      e.row.reject);
            if (r.row.deferred >= 0)
                cr_assert(r.row.reject == (r.row.deferred ? e.row.reject : 0.0f), "rule %d: R is r D_TV",
                          rules[i]);
        }
        weir_law token = law_of(WEIR_RULE_TOKEN_V3, 0.3f);
        token.temp = exact.temp;
        evaluate(&r, &token, q, p, n);
        token_rejects_more |= r.row.reject > e.row.reject + 1e-4f;
    }
    cr_expect(token_rejects_more, "token-v3 has an eta: it may reject more");
}

/* T = 0, raw gate: opt, diff and token-v1 emit the same token; token-v2, token-v3 and lossy as stated. */
static int emitted(const float *pi, int n) {
    for (int v = 0; v < n; v++)
        if (pi[v] == 1.0f) return v;
    return -1;
}

Test(rules, temperature_zero_equivalences) {
    uint64_t seed = 36;
    static result r;
    float q[MAX_N], p[MAX_N];
    int differ = 0;
    for (int rep = 0; rep < 2000; rep++) {
        const int n = SIZES[rep % 4];
        random_rows(&seed, n, 1.0f, 1.0f, rep % 3 == 0, q, p);
        const float alpha = rng_uniform(&seed, -0.3f, 0.6f);
        weir_law law = weir_law_default();
        law.temp = 0.0f;
        double margin = 1e9, *raw_q = calloc(2 * MAX_N, sizeof *raw_q), *raw_p = raw_q + MAX_N;
        oracle_softmax(&law, true, q, n, raw_q, &margin);
        oracle_softmax(&law, true, p, n, raw_p, &margin);
        int a = 0, b = 0;
        for (int v = 1; v < n; v++) a = q[v] > q[a] ? v : a, b = p[v] > p[b] ? v : b;
        const double al = alpha, up = alpha < 0 ? 0 : alpha;
        const struct {
            weir_rule rule;
            bool keep;
            double gap;
        } want[] = {
            {WEIR_RULE_DIFF, raw_q[a] >= raw_p[b] - al, raw_q[a] - raw_p[b] + al},
            {WEIR_RULE_OPT, raw_q[a] >= raw_p[b] - al, raw_q[a] - raw_p[b] + al},
            {WEIR_RULE_TOKEN_V1, raw_q[a] >= raw_p[b] - al, raw_q[a] - raw_p[b] + al},
            {WEIR_RULE_TOKEN_V2, raw_p[a] >= raw_p[b] - al, raw_p[a] - raw_p[b] + al},
            {WEIR_RULE_TOKEN_V3, raw_p[a] >= (1 - up) * raw_p[b], raw_p[a] - (1 - up) * raw_p[b]},
            {WEIR_RULE_TOKEN_V3_EXACT_TAIL, raw_p[a] >= (1 - up) * raw_p[b], raw_p[a] - (1 - up) * raw_p[b]},
            {WEIR_RULE_LOSSY, raw_p[a] >= (1 - up) * raw_p[b], raw_p[a] - (1 - up) * raw_p[b]}};
        int tokens[3];
        for (int i = 0; i < 7; i++) {
            const bool ratio = i >= 4;
            law.rule = want[i].rule;
            law.alpha = ratio ? (float)up : alpha;
            evaluate(&r, &law, q, p, n);
            const int token = emitted(r.pi, n);
            if (i < 3) tokens[i] = token;
            if (fabs(want[i].gap) > 1e-5)
                cr_assert(token == (want[i].keep ? a : b), "rule %d rep %d", want[i].rule, rep);
        }
        cr_assert(tokens[0] == tokens[1] && tokens[1] == tokens[2], "diff, opt, token-v1 at rep %d", rep);
        differ += a != b;
        free(raw_q);
    }
    cr_expect(differ > 500, "only %d rows where it matters", differ);
}

/* Strict `<`: at equality the drafter's word stands. */
Test(rules, ties_keep_the_drafter) {
    static result r;
    const float q[] = {0.0f, 0.0f}, p[] = {0.0f, -INFINITY}, u[] = {0.0f, 0.0f, 0.0f, 0.0f};
    weir_law law = law_of(WEIR_RULE_CHOW, 0.5f); /* max q = 1/2 = 1 - alpha */
    evaluate(&r, &law, q, p, 2);
    cr_expect(r.row.deferred == 0);
    law = law_of(WEIR_RULE_DIFF, 0.5f); /* 1/2 = 1 - 1/2 */
    evaluate(&r, &law, q, p, 2);
    cr_expect(r.row.deferred == 0);
    law = law_of(WEIR_RULE_OPT, 1.0f); /* D_TV = 1/2 */
    evaluate(&r, &law, q, p, 2);
    cr_expect(r.row.deferred == 0);
    law = law_of(WEIR_RULE_TOKEN_V1, 0.5f);
    evaluate(&r, &law, q, p, 2);
    cr_expect(r.keep[0] == 1.0f && r.keep[1] == 1.0f);
    law = law_of(WEIR_RULE_TOKEN_V2, 0.0f);
    evaluate(&r, &law, u, u, 4);
    for (int v = 0; v < 4; v++) cr_expect(r.keep[v] == 1.0f);
    law = law_of(WEIR_RULE_TOKEN_V3, 0.0f);
    evaluate(&r, &law, u, u, 4);
    for (int v = 0; v < 4; v++) cr_expect(r.keep[v] == 1.0f);
    law = law_of(WEIR_RULE_FUZZY, 0.0f);
    evaluate(&r, &law, u, u, 4);
    cr_expect(r.row.deferred == 0);
    law = law_of(WEIR_RULE_TYPICAL, 0.25f); /* strict the other way: p > epsilon */
    law.beta = INFINITY;
    evaluate(&r, &law, u, u, 4);
    for (int v = 0; v < 4; v++) cr_expect(r.accept[v] == 0.0f);
}

/* Trap 2: pi of a token rule is not "keep, or else the exact test". */
Test(rules, token_rules_have_an_eta) {
    static result r;
    const float q[] = {1.0f, 0.5f, 0.0f}, p[] = {2.0f, 0.0f, -1.0f};
    weir_law law = law_of(WEIR_RULE_TOKEN_V3, 0.1f);
    evaluate(&r, &law, q, p, 3);
    oracle *o = oracle_new(&law, q, p, 3);
    cr_expect(near(r.row.eta, o->q[1] + o->q[2], 1e-6));
    cr_expect(near(r.pi[0], o->q[0] + (o->q[1] + o->q[2]) * o->p[0], 1e-6));
    oracle_free(o);
}

/* lossy with the matching beta is GenSpecSample with its pi: R norm(res) needs no factor. */
Test(rules, lossy_auto_matches_the_masses) {
    uint64_t seed = 37;
    static result r;
    float q[MAX_N], p[MAX_N];
    int found = 0;
    for (int rep = 0; rep < 300; rep++) {
        const int n = SIZES[rep % 5];
        random_rows(&seed, n, 1.5f, 0.7f, rep % 2, q, p);
        weir_law law = law_of(WEIR_RULE_LOSSY, rng_uniform(&seed, 0.0f, 0.8f));
        law.beta = NAN;
        law.temp = TEMPS[1 + rep % 3];
        evaluate(&r, &law, q, p, n);
        cr_expect(r.row.beta >= 1.0f);
        if (r.row.reject < 1e-3f) continue;
        oracle *o = oracle_new(&law, q, p, n);
        for (int v = 0; v < n; v++) {
            const double want =
                fmax(fmin(o->q[v], o->p[v] / (1.0 - (double)law.alpha)), o->p[v] / (double)r.row.beta);
            cr_assert(near(r.pi[v], want, 1e-5), "rep %d: pi[%d] %g want %g", rep, v, r.pi[v], want);
        }
        oracle_free(o);
        found++;
    }
    cr_expect(found > 100);
}

/* A beta that leaves no residual while something is rejected counts as 1 on that row. */
/* A set that no token is in: whatever was drafted is replaced by a token from p. */
Test(rules, typical_on_an_empty_set_draws_from_p) {
    static result r;
    const float q[] = {0.0f, 0.0f, 0.0f}, p[] = {200.0f, 0.0f, 0.0f}; /* p is 1 and 0 in f32 */
    weir_law law = law_of(WEIR_RULE_TYPICAL, 1.0f);
    law.beta = INFINITY;
    evaluate(&r, &law, q, p, 3);
    cr_expect(r.row.reject == 1.0f && r.row.has_residual, "%g", (double)r.row.reject);
    for (int v = 0; v < 3; v++)
        cr_expect(r.accept[v] == 0.0f && r.residual[v] == (v == 0), "%d: %g, %g", v, (double)r.accept[v],
                  (double)r.residual[v]);
}

Test(rules, lossy_without_residual_mass_takes_beta_one) {
    static result r;
    const float q[] = {1.0f, 0.0f, 0.0f}, p[] = {0.0f, 0.2f, 0.0f};
    weir_law law = law_of(WEIR_RULE_LOSSY, 0.0f);
    law.beta = 1000.0f;
    evaluate(&r, &law, q, p, 3);
    cr_expect(r.row.beta == 1.0f && r.row.has_residual && r.row.reject > 0.0f);
}

Test(rules, exact_first_overrides_the_rule) {
    static result r, e;
    const float q[] = {1.0f, 0.0f, 0.0f}, p[] = {0.0f, 0.2f, 0.0f};
    weir_law law = law_of(WEIR_RULE_CHOW, 1.0f), exact = law_of(WEIR_RULE_EXACT, 0.0f);
    law.exact_first = 1;
    evaluate(&r, &law, q, p, 3);
    evaluate(&e, &exact, q, p, 3);
    for (int v = 0; v < 3; v++) cr_expect(r.pi[v] == e.pi[v]);
}

/* ---- facts and refusals -------------------------------------------------------------------------------- */

Test(rules, names_aliases_and_defaults) {
    static const struct {
        const char *name;
        weir_rule rule;
    } names[] = {{"speed", WEIR_RULE_EXACT},
                 {"cascade_chow", WEIR_RULE_CHOW},
                 {"cascade_diff", WEIR_RULE_DIFF},
                 {"cascade_opt", WEIR_RULE_OPT},
                 {"cascade_tokenV1", WEIR_RULE_TOKEN_V1},
                 {"cascade_tokenV2", WEIR_RULE_TOKEN_V2},
                 {"cascade_tokenV3", WEIR_RULE_TOKEN_V3},
                 {"lossy", WEIR_RULE_LOSSY}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_expect(weir_rule_parse(names[i].name) == (int)names[i].rule, "%s", names[i].name);
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++) {
        const weir_rule_info *f = weir_rule_facts((weir_rule)rule);
        cr_assert(f && f->name && f->defers);
        cr_expect(weir_rule_parse(f->name) == rule);
        weir_law law = law_of((weir_rule)rule, f->alpha_default);
        weir_err err;
        cr_expect(weir_law_check(&law, &err) == WEIR_OK, "%s: %s", f->name, err.text);
        law.block_verify = true;
        cr_expect(weir_law_check(&law, &err) == (f->pi_exists ? WEIR_OK : WEIR_ENOTSUP), "%s", f->name);
    }
    cr_expect(weir_rule_parse("cascade") == -1 && weir_rule_parse("") == -1 && weir_rule_parse(NULL) == -1);
    cr_expect(weir_rule_facts(WEIR_RULE_COUNT) == NULL && weir_rule_facts((weir_rule)-1) == NULL);
    weir_law law = weir_law_default();
    cr_expect(law.rule == WEIR_RULE_EXACT && law.temp == 1.0f && law.bonus_pi &&
              weir_law_check(&law, NULL) == WEIR_OK);
}

Test(rules, laws_out_of_range_are_refused_by_field) {
    const weir_law ok = law_of(WEIR_RULE_LOSSY, 0.1f);
    struct {
        weir_law law;
        const char *word;
    } bad[] = {{ok, "rule"},  {ok, "alpha"},       {ok, "alpha"},       {ok, "alpha"},
               {ok, "beta"},  {ok, "temperature"}, {ok, "temperature"}, {ok, "temperature"},
               {ok, "top-k"}, {ok, "top-p"},       {ok, "top-p"},       {ok, "min-p"},
               {ok, "min-p"}, {ok, "exact-first"}, {ok, "beta"},        {ok, "alpha"}};
    bad[0].law.rule = 99;
    bad[1].law.alpha = 1.0f; /* [0, 1) */
    bad[2].law.alpha = -0.1f;
    bad[3].law.alpha = NAN;
    bad[4].law.beta = 0.85f; /* < 1 - alpha */
    bad[5].law.temp = 2.1f;
    bad[6].law.temp = -1.0f;
    bad[7].law.temp = NAN;
    bad[8].law.top_k = -1;
    bad[9].law.top_p = 0.0f;
    bad[10].law.top_p = NAN;
    bad[11].law.min_p = 1.5f;
    bad[12].law.min_p = NAN;
    bad[13].law.exact_first = -1;
    bad[14].law.rule = WEIR_RULE_TYPICAL, bad[14].law.beta = NAN;
    bad[15].law.rule = WEIR_RULE_CHOW, bad[15].law.alpha = 1.5f;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        weir_err err = {{0}};
        cr_expect(weir_law_check(&bad[i].law, &err) == WEIR_EINVAL, "case %zu", i);
        cr_expect(strstr(err.text, bad[i].word) != NULL, "case %zu says \"%s\"", i, err.text);
    }
    cr_expect(weir_law_check(&ok, NULL) == WEIR_OK);
}

Test(rules, unusable_logits_are_refused_with_a_line) {
    const float good[] = {0.0f, 1.0f}, nan[] = {0.0f, NAN}, inf[] = {INFINITY, 0.0f},
                none[] = {-INFINITY, -INFINITY};
    const float *rows[] = {nan, inf, none, NULL};
    const weir_law law = weir_law_default();
    for (int i = 0; i < 4; i++)
        for (int side = 0; side < 2; side++) {
            weir_err err = {{0}};
            weir_rule_row r = {.law = &law,
                               .q_logits = side ? good : rows[i],
                               .p_logits = side ? rows[i] : good,
                               .n_vocab = 2};
            cr_expect(weir__rule_evaluate_row(&r, &err) == WEIR_EINVAL && err.text[0]);
        }
    weir_rule_row r = {.law = &law, .q_logits = good, .p_logits = good, .n_vocab = 0};
    cr_expect(weir__rule_evaluate_row(&r, NULL) == WEIR_EINVAL);
}
