/* Recorded texts under other rules: each row as weir_rule_eval has it, the reweighted sums as the rule's own
 * run has them, the rows themselves as each model alone has them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/host/pairs/pair_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"
#include "tests/support/costs.h"

static weir_law law_of(int rule, float alpha, float temp) {
    weir_law law = weir_law_default();
    const weir_rule_info *f = weir_rule_facts((weir_rule)rule);
    law.rule = rule;
    law.alpha = isnan(alpha) ? f->alpha_default : alpha;
    law.beta = isnan(f->beta_default) ? 1.0f : f->beta_default;
    law.temp = temp;
    return law;
}

static weir_replay *replay_new(const weir_law *sampled) {
    weir_replay *r = NULL;
    weir_err err = {""};
    cr_assert(weir_replay_create(sampled, &r, &err) == WEIR_OK, "%s", err.text);
    cr_assert(weir_replay_begin(r, &err) == WEIR_OK, "%s", err.text);
    return r;
}

static void add(weir_replay *r, const float *q, const float *p, int n, int token) {
    weir_err err = {""};
    cr_assert(weir_replay_add(r, q, p, n, token, true, &err) == WEIR_OK, "%s", err.text);
}

static weir_replay_result estimate(const weir_replay *r, const weir_law *law, int gamma) {
    weir_replay_result out;
    weir_err err = {""};
    cr_assert(weir_replay_estimate(r, law, gamma, &out, &err) == WEIR_OK, "%s", err.text);
    return out;
}

/* ---- one row ------------------------------------------------------------------------------------------- */

/* What the accept step would count as deferred, over the drafted token: from weir_rule_eval's arrays. */
static double deferred_of(const weir_law *law, const weir_rule_result *e, const float *q, int n) {
    if (e->deferred >= 0) return e->deferred;
    const weir_rule_info *f = weir_rule_facts((weir_rule)law->rule);
    double sum = 0;
    for (int v = 0; v < n; v++) {
        if (!(q[v] > 0)) continue;
        sum += f->kind == WEIR_KIND_TOKEN ? (double)q[v] * (1 - (double)e->keep[v])
               : e->accept[v] < 1.0f      ? (double)q[v]
                                          : 0;
    }
    return sum;
}

static void check_row(int rule, float alpha, const weir_law *shape, uint64_t *seed) {
    enum { N = 1100 }; /* two chunks */
    float q[N], p[N], keep[N], accept[N], law_q[N];
    random_rows(seed, N, 1.5f, 0.7f, false, q, p);
    weir_law law = *shape, sampled = *shape;
    law.rule = rule;
    law.alpha = alpha;
    law.beta = law_of(rule, NAN, 1).beta;
    sampled.rule = WEIR_RULE_EXACT;
    weir_rule_result e = {.keep = keep, .accept = accept};
    weir_err err = {""};
    cr_assert(weir_rule_eval(&law, q, p, N, &e, &err) == WEIR_OK, "%s", err.text);
    weir_law drafter = *shape;
    drafter.rule = WEIR_RULE_ENSEMBLE;
    drafter.alpha = 0; /* pi = q */
    weir_rule_result only_q = {.pi = law_q};
    cr_assert(weir_rule_eval(&drafter, q, p, N, &only_q, &err) == WEIR_OK);
    int token = 0;
    for (int v = 0; v < N; v++) token = p[v] > p[token] ? v : token; /* exact emits it at any temperature */
    weir_replay *r = replay_new(&sampled);
    add(r, q, p, N, token);
    const weir_replay_result out = estimate(r, &law, 5);
    const char *name = weir_rule_facts((weir_rule)rule)->name;
    cr_expect(out.recorded.rejection.value == (double)e.reject, "%s T %g: %g, rule has %g", name, law.temp,
              out.recorded.rejection.value, e.reject);
    /* fp32 probabilities, summed in double here and in fp32 by lanes and a tree there: 38 roundings of
     * 2^-24 */
    cr_expect(fabs(out.recorded.deferral.value - deferred_of(&law, &e, law_q, N)) < 1e-5,
              "%s T %g: %g against %g", name, law.temp, out.recorded.deferral.value,
              deferred_of(&law, &e, law_q, N));
    cr_expect(isnan(out.reweighted.rejection.value) == !weir_rule_facts((weir_rule)rule)->pi_exists, "%s",
              name);
    weir_replay_free(r);
}

Test(replay, a_row_rejects_and_defers_as_the_rule_says) {
    uint64_t seed = 17;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int s = 0; s < 5; s++) {
            weir_law shape = law_of(WEIR_RULE_EXACT, NAN, (const float[]){1, 0, 0.7f, 1, 1.5f}[s]);
            shape.top_k = s == 3 ? 20 : 0;
            shape.top_p = s == 4 ? 0.9f : 1.0f;
            shape.gate_scaled = s == 2;
            check_row(rule, law_of(rule, NAN, 1).alpha, &shape, &seed);
            check_row(rule, rule == WEIR_RULE_EXACT ? 0.0f : 0.4f, &shape, &seed);
        }
}

/* ---- the reweighted chain, by enumeration -------------------------------------------------------------- */

enum { V = 4, LENGTH = 4, TEXTS = 256 }; /* V ^ LENGTH */

/* A Markov pair: rows depend on the token before. */
typedef struct markov {
    float q[V][V], p[V][V];
    oracle *rule[V], *recorded[V];
    int gamma;
    bool bonus_pi;
} markov;

/* Expected blocks and accepted drafts of the rule's own run from here to the end. */
static void expect_run(const markov *m, int before, int i, int depth, double out[2]) {
    out[0] = depth == 0 && i < LENGTH;
    out[1] = 0;
    for (int v = 0; v < V && i < LENGTH; v++) {
        const oracle *o = m->rule[before];
        double next[2];
        if (depth == m->gamma) {
            expect_run(m, v, i + 1, 0, next);
            const double b = m->bonus_pi ? o->pi[v] : o->p[v];
            for (int k = 0; k < 2; k++) out[k] += b * next[k];
            continue;
        }
        const double a = fmin(o->q[v], o->num[v]);
        expect_run(m, v, i + 1, depth + 1, next);
        out[0] += a * next[0];
        out[1] += a * (1 + next[1]);
        expect_run(m, v, i + 1, 0, next);
        for (int k = 0; k < 2; k++) out[k] += (o->pi[v] - a) * next[k];
    }
}

/* The same from recorded texts: every text with its probability under the recorded law. */
static void expect_replay(const markov *m, const weir_law *sampled, const weir_law *law, double out[3]) {
    out[0] = out[1] = out[2] = 0;
    for (int text = 0; text < TEXTS; text++) {
        weir_replay *r = replay_new(sampled);
        double weight = 1;
        for (int i = 0, rest = text, before = 0; i < LENGTH; i++, rest /= V) {
            weight *= m->recorded[before]->pi[rest % V];
            add(r, m->q[before], m->p[before], V, rest % V);
            before = rest % V;
        }
        const weir_replay_result e = estimate(r, law, m->gamma);
        const double tokens = e.reweighted.length.value, blocks = e.reweighted.calls.value * tokens;
        out[0] += weight * blocks;
        out[1] += weight * (e.reweighted.acceptance.value - 1) * blocks;
        out[2] += weight * tokens;
        weir_replay_free(r);
    }
}

static void check_markov(int rule, float alpha, int gamma, bool bonus_pi, uint64_t seed) {
    markov m = {.gamma = gamma, .bonus_pi = bonus_pi};
    weir_law law = law_of(rule, alpha, 0.8f), sampled = law_of(WEIR_RULE_ENSEMBLE, 0.5f, 0.8f);
    law.bonus_pi = bonus_pi;
    bool clear = true;
    for (int v = 0; v < V; v++) {
        random_rows(&seed, V, 1.0f, 0.7f, false, m.q[v], m.p[v]);
        m.rule[v] = oracle_new(&law, m.q[v], m.p[v], V);
        m.recorded[v] = oracle_new(&sampled, m.q[v], m.p[v], V);
        clear = clear && m.rule[v]->margin >= 1;
    }
    double run[2], replayed[3];
    expect_run(&m, 0, 0, 0, run);
    expect_replay(&m, &sampled, &law, replayed);
    const char *name = weir_rule_facts((weir_rule)rule)->name;
    /* weights are products of LENGTH ratios of fp32 probabilities, 2^-22 relative each; sums are of order
     * 4 */
    for (int k = 0; k < 2 && clear; k++)
        cr_expect(fabs(replayed[k] - run[k]) < 1e-5, "%s gamma %d %s: %.8f, its own run has %.8f", name,
                  gamma, k ? "accepted" : "blocks", replayed[k], run[k]);
    cr_expect(fabs(replayed[2] - LENGTH) < 1e-5, "%s: weights add up to %.8f tokens", name, replayed[2]);
    for (int v = 0; v < V; v++) {
        oracle_free(m.rule[v]);
        oracle_free(m.recorded[v]);
    }
}

Test(replay, reweighted_sums_are_those_of_the_rule_s_own_run) {
    static const struct {
        int rule;
        float alpha;
    } cases[] = {{WEIR_RULE_EXACT, 0},       {WEIR_RULE_CHOW, 0.4f},     {WEIR_RULE_OPT, 0.3f},
                 {WEIR_RULE_TOKEN_V2, 0.2f}, {WEIR_RULE_TOKEN_V3, 0.5f}, {WEIR_RULE_LOSSY, 0.3f},
                 {WEIR_RULE_TYPICAL, 0.1f}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        for (int gamma = 1; gamma <= 3; gamma++)
            check_markov(cases[c].rule, cases[c].alpha, gamma, gamma != 2, 100 * c + (uint64_t)gamma);
}

Test(replay, recorded_chances_are_one_minus_the_reject_mass) {
    enum { N = 30 };
    uint64_t seed = 5;
    float q[3][N], p[3][N];
    double r[3];
    const weir_law law = law_of(WEIR_RULE_OPT, 0.1f, 1);
    weir_replay *replay =
        replay_new(&(weir_law){.rule = WEIR_RULE_EXACT, .temp = 1, .top_p = 1, .bonus_pi = true});
    for (int i = 0; i < 3; i++) {
        random_rows(&seed, N, 1, 1, false, q[i], p[i]);
        add(replay, q[i], p[i], N, 0);
        weir_rule_result e = {.pi = NULL};
        weir_err err;
        cr_assert(weir_rule_eval(&law, q[i], p[i], N, &e, &err) == WEIR_OK);
        r[i] = (double)e.reject;
    }
    const weir_replay_result e = estimate(replay, &law, 1);
    /* gamma 1: row 0 begins a block; row 1 is a bonus after an accepted row 0, else begins one; row 2
     * likewise */
    const double begin1 = r[0], begin2 = (1 - r[0]) + r[0] * r[1], blocks = 1 + begin1 + begin2;
    const double reject = r[0] + begin1 * r[1] + begin2 * r[2];
    cr_expect(fabs(e.recorded.calls.value - blocks / 3) < 1e-12);
    cr_expect(fabs(e.recorded.rejection.value - reject / blocks) < 1e-12);
    cr_expect(e.n_text == 1 && e.n_row == 3 && e.recorded.texts == 1 && isnan(e.recorded.rejection.error));
    weir_replay_free(replay);
}

Test(replay, errors_are_those_of_a_ratio_over_texts) {
    enum { N = 20, M = 6 };
    uint64_t seed = 9;
    float q[N], p[N];
    const weir_law law = law_of(WEIR_RULE_EXACT, NAN, 1);
    weir_replay *r = replay_new(&law);
    weir_err err;
    double x[M], mean = 0, square = 0;
    for (int t = 0; t < M; t++) {
        if (t > 0) cr_assert(weir_replay_begin(r, &err) == WEIR_OK);
        random_rows(&seed, N, 1, 1, false, q, p);
        add(r, q, p, N, 0);
        weir_rule_result e = {.pi = NULL};
        cr_assert(weir_rule_eval(&law, q, p, N, &e, &err) == WEIR_OK);
        mean += (x[t] = (double)e.reject) / M;
    }
    for (int t = 0; t < M; t++) square += (x[t] - mean) * (x[t] - mean);
    const weir_replay_result e = estimate(r, &law, 5);
    cr_expect(fabs(e.recorded.rejection.value - mean) < 1e-12);
    /* the mean's, texts being of one row */
    cr_expect(fabs(e.recorded.rejection.error - sqrt(square / (M - 1) / M)) < 1e-12);
    cr_expect(e.reweighted.texts == M);
    weir_replay_free(r);
}

/* ---- positions ----------------------------------------------------------------------------------------- */

/* exact_first counts from the beginning of each text: a second copy of a text changes no ratio. */
Test(replay, positions_begin_again_in_every_text) {
    enum { ROWS = 9 };
    const weir_law sampled = law_of(WEIR_RULE_EXACT, NAN, 1);
    weir_replay *once = replay_new(&sampled), *twice = replay_new(&sampled);
    weir_err err;
    for (int copy = 0; copy < 3; copy++) {
        weir_replay *r = copy == 0 ? once : twice;
        if (copy == 2) cr_assert(weir_replay_begin(r, &err) == WEIR_OK);
        for (int i = 0; i < ROWS; i++) {
            const float q[3] = {0.3f * (float)i, 1, 0}, p[3] = {0, 0.5f, 0.2f * (float)i};
            add(r, q, p, 3, i % 3);
        }
    }
    for (int first = 0; first <= ROWS; first++) {
        weir_law law = law_of(WEIR_RULE_TOKEN_V3, 0.6f, 1);
        law.exact_first = first;
        const weir_replay_result a = estimate(once, &law, 3), b = estimate(twice, &law, 3);
        cr_expect(fabs(a.recorded.rejection.value - b.recorded.rejection.value) < 1e-12 &&
                      fabs(a.recorded.deferral.value - b.recorded.deferral.value) < 1e-12 &&
                      fabs(a.recorded.acceptance.value - b.recorded.acceptance.value) < 1e-12,
                  "exact_first %d: %g, twice %g", first, a.recorded.rejection.value,
                  b.recorded.rejection.value);
    }
    weir_replay_free(once);
    weir_replay_free(twice);
}

/* Before exact_first even cactus has a law of its own: texts that end there have weights, and one that does
 * not takes them from all, wherever it stands. */
Test(replay, one_text_without_weights_leaves_none) {
    const float q[3] = {0, 1, 2}, p[3] = {2, 1, 0};
    for (int at = -1; at < 3; at++) {
        weir_law law = law_of(WEIR_RULE_CACTUS, 0.1f, 1);
        law.exact_first = 1;
        weir_replay *r = NULL;
        weir_replay_result out;
        weir_err err;
        cr_assert(weir_replay_create(&law, &r, &err) == WEIR_OK);
        for (int text = 0; text < 3; text++) {
            cr_assert(weir_replay_begin(r, &err) == WEIR_OK);
            for (int i = 0; i <= (text == at); i++)
                cr_assert(weir_replay_add(r, q, p, 3, 1, true, &err) == WEIR_OK);
        }
        cr_assert(weir_replay_estimate(r, &law, 2, &out, &err) == WEIR_OK);
        cr_expect(isnan(out.reweighted.texts) == (at >= 0), "text %d: %g", at, out.reweighted.texts);
        weir_replay_free(r);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

Test(replay, what_it_cannot_know_is_refused) {
    const float q[3] = {0, 1, 2}, p[3] = {2, 1, 0}, bad[3] = {NAN, 0, 0};
    weir_law sampled = law_of(WEIR_RULE_EXACT, NAN, 0), law = sampled;
    weir_replay *r = NULL;
    weir_replay_result out = {.n_text = 77};
    weir_err err;
    cr_assert(weir_replay_create(&sampled, &r, &err) == WEIR_OK);
    cr_expect(weir_replay_add(r, q, p, 3, 0, true, &err) == WEIR_EINVAL &&
              strstr(err.text, "before any text"));
    cr_assert(weir_replay_begin(r, &err) == WEIR_OK);
    cr_expect(weir_replay_estimate(r, &law, 5, &out, &err) == WEIR_EINVAL &&
              strstr(err.text, "nothing was recorded"));
    cr_expect(weir_replay_add(r, q, p, 3, 3, true, &err) == WEIR_EINVAL &&
              strstr(err.text, "token 3 of a row of 3"));
    cr_expect(weir_replay_add(r, q, p, 0, 0, true, &err) == WEIR_EINVAL);
    cr_expect(weir_replay_add(r, bad, p, 3, 0, true, &err) == WEIR_EINVAL && strstr(err.text, "q logits"));
    cr_expect(weir_replay_add(r, q, bad, 3, 0, true, &err) == WEIR_EINVAL && strstr(err.text, "p logits"));
    cr_expect(weir_replay_add(r, q, p, 3, 2, true, &err) == WEIR_EINVAL && strstr(err.text, "cannot emit"));
    add(r, q, p, 3, 0);
    law.temp = 1;
    cr_expect(weir_replay_estimate(r, &law, 5, &out, &err) == WEIR_EINVAL &&
              strstr(err.text, "recorded at temperature 0"));
    law.temp = 0;
    weir_law other[3] = {law, law, law};
    other[0].top_k = 2, other[1].top_p = 0.5f, other[2].min_p = 0.5f;
    for (int i = 0; i < 3; i++)
        cr_expect(weir_replay_estimate(r, &other[i], 5, &out, &err) == WEIR_EINVAL &&
                      strstr(err.text, "recorded at"),
                  "%d", i);
    law.block_verify = true;
    cr_expect(weir_replay_estimate(r, &law, 5, &out, &err) == WEIR_ENOTSUP);
    law.block_verify = false;
    cr_expect(weir_replay_estimate(r, &law, 0, &out, &err) == WEIR_EINVAL && strstr(err.text, "gamma 0"));
    cr_expect(weir_replay_estimate(r, &law, 17, &out, &err) == WEIR_EINVAL);
    law.alpha = NAN;
    law.rule = WEIR_RULE_OPT;
    cr_expect(weir_replay_estimate(r, &law, 5, &out, &err) == WEIR_EINVAL);
    cr_expect(out.n_text == 77);
    sampled.temp = 3;
    weir_replay *none = NULL;
    cr_expect(weir_replay_create(&sampled, &none, &err) == WEIR_EINVAL && !none);
    weir_replay_free(r);
    weir_replay_free(NULL);
}

/* The whole life of a replay; false where an allocation failed. */
static bool small_life(void) {
    const weir_law law = law_of(WEIR_RULE_EXACT, NAN, 1);
    const float x[40] = {0};
    weir_replay *r = NULL;
    weir_replay_result out;
    weir_err err = {""};
    weir_status s = weir_replay_create(&law, &r, &err);
    for (int t = 0; t < 3 && s == WEIR_OK; t++) {
        s = weir_replay_begin(r, &err);
        for (int i = 0; i < 5 && s == WEIR_OK; i++) s = weir_replay_add(r, x, x, 40, i, true, &err);
    }
    if (s == WEIR_OK) s = weir_replay_estimate(r, &law, 2, &out, &err);
    cr_expect(s == WEIR_OK || (s == WEIR_ENOMEM && strstr(err.text, "memory")));
    weir_replay_free(r);
    return s == WEIR_OK;
}

Test(replay, every_failed_allocation_is_met) {
    int failures = 0;
    for (bool whole = false; !whole; failures++) {
        alloc_install(failures + 1);
        whole = small_life();
        cr_expect(alloc_live() == 0);
        alloc_uninstall();
    }
    cr_expect(failures > 6);
}

/* ---- the rows of a pair -------------------------------------------------------------------------------- */

typedef struct rows_seen {
    float logp[2][64]; /* of the completion's token under q, p */
    const int32_t *ids;
    size_t n, stop_after;
} rows_seen;

static bool see_row(void *ud, size_t i, const float *q_logits, const float *p_logits, int32_t n) {
    rows_seen *s = ud;
    const float *x[2] = {q_logits, p_logits};
    cr_assert(i == s->n && i < 64);
    for (int side = 0; side < 2; side++) {
        double sum = 0;
        for (int32_t v = 0; v < n; v++) sum += exp((double)x[side][v]);
        s->logp[side][i] = (float)((double)x[side][s->ids[i]] - log(sum));
    }
    return ++s->n != s->stop_after;
}

Test(score_pair, rows_are_those_of_each_model_alone) {
    static const int32_t text[] = {83, 39, 213, 2293, 303, 470, 3, 1};
    enum { N = 8 };
    weir_engine *pair = demo_open(1, 1, "portable", true);
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/models/demo/drafter";
    o.isa = "portable";
    o.n_thread = 1;
    weir_engine *drafter = NULL;
    weir_err err = {""};
    cr_assert(weir_engine_open(&drafter, &o, &err) == WEIR_OK, "%s", err.text);
    int32_t *ids = NULL;
    size_t n = 0;
    cr_assert(weir_tokenize(pair, demo_prompts[0], strlen(demo_prompts[0]), true, true, &ids, &n, &err) ==
              WEIR_OK);
    rows_seen seen = {.ids = text};
    cr_assert(weir_score_pair(pair, ids, n, text, N, see_row, &seen, &err) == WEIR_OK, "%s", err.text);
    float want[2][N];
    cr_assert(weir_score(drafter, ids, n, text, N, want[0], &err) == WEIR_OK);
    cr_assert(weir_score(pair, ids, n, text, N, want[1], &err) == WEIR_OK);
    cr_expect(seen.n == N);
    /* one log-sum-exp in double, the other of fp32 sums over 6,016 tokens in a tree: 13 levels of 2^-24 */
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < N; i++)
            cr_expect(fabs((double)(seen.logp[side][i] - want[side][i])) < 4e-6,
                      "side %d token %d: %.8g, alone %.8g", side, i, (double)seen.logp[side][i],
                      (double)want[side][i]);
    rows_seen some = {.ids = text, .stop_after = 3};
    cr_expect(weir_score_pair(pair, ids, n, text, N, see_row, &some, &err) == WEIR_OK && some.n == 3);
    cr_expect(weir_score_pair(pair, ids, n, text, 0, see_row, &some, &err) == WEIR_OK && some.n == 3);
    weir_ids_free(ids);
    weir_engine_close(drafter);
    weir_engine_close(pair);
}

Test(score_pair, what_it_cannot_run_is_refused) {
    weir_engine *pair = demo_open(1, 1, "portable", true), *alone = demo_open(1, 1, "portable", false);
    const int32_t prompt[] = {83, 1}, bad[] = {1, 1 << 20}, negative[] = {-1};
    int32_t text[200];
    for (int i = 0; i < 200; i++) text[i] = 3;
    rows_seen seen = {.ids = prompt};
    weir_err err;
    cr_expect(weir_score_pair(alone, prompt, 2, prompt, 2, see_row, &seen, &err) == WEIR_ENOTSUP &&
              strstr(err.text, "drafter"));
    cr_expect(weir_score_pair(pair, prompt, 0, prompt, 2, see_row, &seen, &err) == WEIR_EINVAL);
    cr_expect(weir_score_pair(pair, prompt, 2, bad, 2, see_row, &seen, &err) == WEIR_EINVAL &&
              strstr(err.text, "token 1 is 1048576"));
    cr_expect(weir_score_pair(pair, prompt, 2, negative, 1, see_row, &seen, &err) == WEIR_EINVAL);
    cr_expect(weir_score_pair(pair, prompt, 2, text, 200, see_row, &seen, &err) == WEIR_ETOOLONG &&
              strstr(err.text, "200 tokens"));
    cr_expect(weir_score_pair(pair, negative, 1, prompt, 2, see_row, &seen, &err) == WEIR_EINVAL);
    cr_expect(seen.n == 0);
    weir_engine_close(pair);
    weir_engine_close(alone);
}
