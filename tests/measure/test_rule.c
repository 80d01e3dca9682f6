#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/weir.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

enum { MAX_N = 1500 };

static weir_law law_of(weir_rule rule, float alpha) {
    weir_law law = weir_law_default();
    const weir_rule_info *f = weir_rule_facts(rule);
    law.rule = rule;
    law.alpha = isnan(alpha) ? f->alpha_default : alpha;
    law.beta = isnan(f->beta_default) ? 1.0f : f->beta_default;
    return law;
}

/* Counts of real draws against the oracle's law and its R. */
static bool check_draws(const weir_law *law, const float *q, const float *p, int n, uint64_t seed,
                        int64_t n_draw) {
    const int64_t total = draws_for_build(n_draw);
    oracle *o = oracle_new(law, q, p, n);
    const bool clear = o->margin >= 1.0;
    if (clear) {
        int64_t *counts = calloc((size_t)n, sizeof *counts), accepted = 0;
        weir_err err;
        cr_assert(weir_rule_draw(law, q, p, n, seed, 0, total, counts, &accepted, &err) == WEIR_OK, "%s",
                  err.text);
        const char *name = weir_rule_facts((weir_rule)law->rule)->name;
        const double z = chi_square_z(counts, o->pi, n, total),
                     zr = binomial_z(total - accepted, total, o->reject);
        cr_expect(z < Z_MAX, "%s T %g n %d: z = %g", name, law->temp, n, z);
        cr_expect(zr < Z_MAX, "%s T %g n %d: rejected %lld of %lld, R = %g", name, law->temp, n,
                  (long long)(total - accepted), (long long)total, o->reject);
        free(counts);
    }
    oracle_free(o);
    return clear;
}

/* Identities 1 and 2 for every rule. */
static void rule_emits_pi(int rule) {
    static const struct {
        float temp;
        int top_k;
        float top_p, min_p;
        bool scaled;
    } set[] = {{0, 0, 1, 0, false},
               {0.3f, 0, 1, 0, false},
               {1, 0, 1, 0, false},
               {2, 0, 1, 0, true},
               {1, 6, 1, 0, false},
               {1, 0, 0.8f, 0, true},
               {0.7f, 30, 0.95f, 0.02f, false}};
    static const int sizes[] = {2, 3, 17, 100, 1500};
    static const float alphas[] = {NAN, 0.35f};
    uint64_t seed = 61 + (uint64_t)rule;
    float q[MAX_N], p[MAX_N];
    int cases = 0;
    for (int i = 0; i < 5; i++)
        for (int s = 0; s < 7; s++)
            for (int k = 0; k < 2; k++) {
                random_rows(&seed, sizes[i], 1.3f, 0.6f, (s + k) % 3 == 0, q, p);
                weir_law law = law_of((weir_rule)rule, alphas[k]);
                law.temp = set[s].temp, law.top_k = set[s].top_k, law.top_p = set[s].top_p,
                law.min_p = set[s].min_p;
                law.gate_scaled = set[s].scaled;
                if (rule == WEIR_RULE_LOSSY && s % 2) law.beta = NAN;
                cases += check_draws(&law, q, p, sizes[i], rng_u64(&seed), 6000);
            }
    cr_log_info("%s: %d laws", weir_rule_facts((weir_rule)rule)->name, cases);
}

#define EMITS_PI(name, rule) \
    Test(rule_draw, name##_emits_pi) { rule_emits_pi(rule); }
EMITS_PI(exact, WEIR_RULE_EXACT)
EMITS_PI(chow, WEIR_RULE_CHOW)
EMITS_PI(chow_log, WEIR_RULE_CHOW_LOG)
EMITS_PI(diff, WEIR_RULE_DIFF)
EMITS_PI(opt, WEIR_RULE_OPT)
EMITS_PI(opt_log, WEIR_RULE_OPT_LOG)
EMITS_PI(token_v1, WEIR_RULE_TOKEN_V1)
EMITS_PI(token_v2, WEIR_RULE_TOKEN_V2)
EMITS_PI(token_v3, WEIR_RULE_TOKEN_V3)
EMITS_PI(lossy, WEIR_RULE_LOSSY)
EMITS_PI(bild, WEIR_RULE_BILD)
EMITS_PI(exact_tail, WEIR_RULE_TOKEN_V3_EXACT_TAIL)
EMITS_PI(ensemble, WEIR_RULE_ENSEMBLE)
EMITS_PI(typical, WEIR_RULE_TYPICAL)
EMITS_PI(cactus, WEIR_RULE_CACTUS)
EMITS_PI(fuzzy, WEIR_RULE_FUZZY)

/* The vocabulary of Gemma: 200 tokens carry the mass, the rest next to none, as in a real row. */
Test(rule_draw, emits_pi_over_256128_tokens) {
    enum { N = 256128, HEAD = 200, DRAWS = 3000 };
    float *q = malloc(2 * N * sizeof *q), *p = q + N;
    uint64_t seed = 71;
    for (int v = 0; v < N; v++) q[v] = p[v] = -18.0f + 0.5f * rng_normal(&seed);
    for (int i = 0; i < HEAD; i++) {
        const int v = (int)(rng_u64(&seed) % N);
        const float base = 1.2f * rng_normal(&seed);
        q[v] = base + 0.5f * rng_normal(&seed);
        p[v] = base + 0.5f * rng_normal(&seed);
    }
    static const weir_rule rules[] = {WEIR_RULE_EXACT, WEIR_RULE_TOKEN_V3, WEIR_RULE_LOSSY};
    for (int i = 0; i < 3; i++) {
        weir_law law = law_of(rules[i], NAN);
        cr_expect(check_draws(&law, q, p, N, 5 + (uint64_t)i, DRAWS));
    }
    free(q);
}

Test(rule_draw, repeats_by_seed_and_differs_by_seed) {
    const float q[] = {0.1f, 0.4f, -0.3f, 0.0f}, p[] = {0.5f, 0.0f, 0.1f, -0.2f};
    const weir_law law = weir_law_default();
    int64_t a[4] = {0}, b[4] = {0}, c[4] = {0}, none[4] = {0}, at_once = 0, in_slices = 0;
    cr_assert(weir_rule_draw(&law, q, p, 4, 1, 0, 5000, a, &at_once, NULL) == WEIR_OK);
    for (int64_t from = 0; from < 5000; from += 700) {
        const int64_t slice = 5000 - from < 700 ? 5000 - from : 700;
        cr_assert(weir_rule_draw(&law, q, p, 4, 1, from, slice, b, &in_slices, NULL) == WEIR_OK);
    }
    cr_assert(weir_rule_draw(&law, q, p, 4, 2, 0, 5000, c, NULL, NULL) == WEIR_OK);
    cr_expect(!memcmp(a, b, sizeof a) && memcmp(a, c, sizeof a));
    cr_expect(a[0] + a[1] + a[2] + a[3] == 5000 && at_once == in_slices && at_once > 0 && at_once < 5000);
    cr_assert(weir_rule_draw(&law, q, p, 4, 1, 0, 0, none, &in_slices, NULL) == WEIR_OK);
    cr_expect(none[0] + none[1] + none[2] + none[3] == 0 && in_slices == at_once);
}

Test(rule_eval, fills_what_is_asked_for) {
    const float q[] = {0.1f, 0.4f, -0.3f}, p[] = {0.5f, 0.0f, 0.1f};
    weir_law law = law_of(WEIR_RULE_CACTUS, 0.2f);
    float accept[3], pi[3];
    weir_rule_result r = {.accept = accept, .pi = pi};
    cr_assert(weir_rule_eval(&law, q, p, 3, &r, NULL) == WEIR_OK);
    cr_expect(!r.has_pi && !r.has_keep && !r.has_residual && r.deferred == -1 && isnan(r.eta) &&
              isnan(r.beta) && isnan(pi[0]));
    for (int v = 0; v < 3; v++) cr_expect(accept[v] > 0.0f && accept[v] <= 1.0f);
    weir_rule_result none = {0};
    law = law_of(WEIR_RULE_EXACT, 0);
    cr_assert(weir_rule_eval(&law, q, p, 3, &none, NULL) == WEIR_OK);
    cr_expect(none.has_pi && none.has_keep && none.deferred == 1 && none.eta == 1.0f && none.reject > 0.0f);
}

Test(rule_eval, refuses_with_one_line) {
    const float good[] = {0.0f, 1.0f}, bad[] = {NAN, 1.0f};
    weir_law law = weir_law_default(), wrong = law;
    wrong.temp = 3.0f;
    weir_rule_result r = {0};
    int64_t counts[2];
    const struct {
        const weir_law *law;
        const float *q, *p;
        int n;
    } set[] = {{&law, bad, good, 2},  {&law, good, bad, 2},    {&law, NULL, good, 2},
               {&law, good, good, 0}, {&wrong, good, good, 2}, {NULL, good, good, 2}};
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
        weir_err a = {{0}}, b = {{0}};
        cr_expect(weir_rule_eval(set[i].law, set[i].q, set[i].p, set[i].n, &r, &a) == WEIR_EINVAL &&
                      a.text[0],
                  "case %zu", i);
        cr_expect(weir_rule_draw(set[i].law, set[i].q, set[i].p, set[i].n, 1, 0, 10, counts, NULL, &b) ==
                          WEIR_EINVAL &&
                      b.text[0],
                  "case %zu", i);
        cr_expect(!strchr(a.text, '\n') && !strchr(b.text, '\n'));
    }
    cr_expect(weir_rule_draw(&law, good, good, 2, 1, 0, -1, counts, NULL, NULL) == WEIR_EINVAL);
}

Test(rule_draw, reports_a_failed_allocation_and_leaks_nothing) {
    const float q[] = {0.0f, 1.0f};
    const weir_law law = weir_law_default();
    int64_t counts[2] = {0, 0};
    alloc_install(1);
    cr_expect(weir_rule_draw(&law, q, q, 2, 1, 0, 10, counts, NULL, NULL) == WEIR_ENOMEM);
    cr_expect(alloc_live() == 0);
    alloc_uninstall();
    alloc_install(0);
    cr_expect(weir_rule_draw(&law, q, q, 2, 1, 0, 10, counts, NULL, NULL) == WEIR_OK);
    cr_expect(alloc_live() == 0 && alloc_count() > 0);
    alloc_uninstall();
}
