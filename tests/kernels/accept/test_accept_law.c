#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/compare.h"

/* ---- whole texts: blocks one after another, distributions that hang on the prefix ---------------------- */

enum { V = 3, LENGTH = 3, TEXTS = V * V * V, MAX_BLOCK = 3, DEPTH = LENGTH + MAX_BLOCK + 1 };

/* Logits after a prefix: any function of it, here from a hash. */
static void prefix_logits(uint64_t world, const int32_t *prefix, int n, float *q, float *p) {
    uint64_t s = world * 977 + 13;
    for (int i = 0; i < n; i++) s = s * 31 + (uint64_t)prefix[i] + 1;
    rng_u64(&s);
    for (int v = 0; v < V; v++) {
        const float base = 0.8f * rng_normal(&s);
        q[v] = base + 0.6f * rng_normal(&s);
        p[v] = base + 0.6f * rng_normal(&s);
    }
}

/* One block after `text` (n tokens so far); returns the new length. */
static int run_block(block *b, uint64_t world, int32_t *text, int n) {
    b->position = n;
    for (int j = 0; j <= b->n_draft; j++) {
        prefix_logits(world, text, n + j, b->q + j * V, b->p + j * V);
        for (int v = 0; j < b->n_draft && v < V; v++) /* rows to come: not read yet */
            b->q[(j + 1) * V + v] = b->p[(j + 1) * V + v] = 0.0f;
        block_stats(b);
        if (j < b->n_draft) text[n + j] = block_draw(b, j);
    }
    block_accept(b);
    cr_assert(b->session.status == WEIR_OK);
    const int at = n + b->session.n_accept;
    text[at] = block_emit(b, true);
    cr_assert(text[at] >= 0 && text[at] < V);
    return at + 1;
}

static double text_z(weir_law law, int gamma, uint64_t world, int64_t n_text, double *accepted) {
    const int64_t total = draws_for_build(n_text);
    int64_t counts[TEXTS] = {0}, blocks = 0, taken = 0;
    double prob[TEXTS];
    block *b = block_new(gamma, V, V);
    for (int64_t i = 0; i < total; i++) {
        int32_t text[DEPTH + 1];
        int n = 0;
        b->law = law;
        b->law.key[0] = (uint32_t)i;
        b->law.key[1] = (uint32_t)world;
        while (n < LENGTH) {
            n = run_block(b, world, text, n);
            taken += b->session.n_accept;
            blocks++;
        }
        counts[(text[0] * V + text[1]) * V + text[2]]++;
    }
    block_free(b);
    for (int t = 0; t < TEXTS; t++) {
        const int32_t text[LENGTH] = {t / 9, t / 3 % 3, t % 3};
        prob[t] = 1.0;
        for (int n = 0; n < LENGTH; n++) {
            float q[V], p[V];
            prefix_logits(world, text, n, q, p);
            weir_law at = law;
            if (n < law.exact_first) at.rule = WEIR_RULE_EXACT;
            oracle *o = oracle_new(&at, q, p, V);
            prob[t] *= o->pi[text[n]];
            oracle_free(o);
        }
    }
    *accepted = (double)taken / (double)blocks;
    return chi_square_z(counts, prob, TEXTS, total);
}

static const struct {
    weir_rule rule;
    float alpha;
} BLOCK_RULES[] = {
    {WEIR_RULE_EXACT, 0},       {WEIR_RULE_CHOW, 0.5f},     {WEIR_RULE_DIFF, 0.0f},
    {WEIR_RULE_OPT, 0.1f},      {WEIR_RULE_TOKEN_V1, 0.1f}, {WEIR_RULE_TOKEN_V2, 0.1f},
    {WEIR_RULE_TOKEN_V3, 0.3f}, {WEIR_RULE_LOSSY, 0.2f},    {WEIR_RULE_TOKEN_V3_EXACT_TAIL, 0.3f},
    {WEIR_RULE_ENSEMBLE, 0.5f}, {WEIR_RULE_TYPICAL, 0.2f},  {WEIR_RULE_FUZZY, 0.03f}};
enum { N_BLOCK_RULE = sizeof BLOCK_RULES / sizeof BLOCK_RULES[0] };

static void texts_follow_pi(bool block_verify) {
    enum { N = 12000 };
    int cases = 0;
    for (int i = 0; i < N_BLOCK_RULE; i++)
        for (int gamma = 2; gamma <= 3; gamma++) {
            weir_law law = rule_law(BLOCK_RULES[i].rule, BLOCK_RULES[i].alpha);
            law.block_verify = block_verify;
            double accepted;
            const double z = text_z(law, gamma, (uint64_t)(i + gamma), N, &accepted);
            cr_expect(z < Z_MAX, "%s gamma %d: z = %g", weir_rule_facts((weir_rule)law.rule)->name, gamma, z);
            cases++;
        }
    cr_log_info("%d laws of %d texts", cases, TEXTS);
}

Test(text, follows_pi_under_standard_verification) { texts_follow_pi(false); }
Test(text, follows_pi_under_block_verification) { texts_follow_pi(true); }

Test(text, follows_pi_with_exact_first_and_truncation) {
    for (int i = 0; i < N_BLOCK_RULE; i++)
        for (int bv = 0; bv < 2; bv++) {
            weir_law law = rule_law(BLOCK_RULES[i].rule, BLOCK_RULES[i].alpha);
            law.block_verify = bv;
            law.exact_first = 1;
            law.temp = 0.8f;
            law.top_p = 0.9f;
            double accepted;
            const double z = text_z(law, 2, 5, 8000, &accepted);
            cr_expect(z < Z_MAX, "%s block %d: z = %g", weir_rule_facts(law.rule)->name, bv, z);
        }
}

/* Block verification never takes fewer tokens than token verification, and here takes more. */
Test(text, block_verification_accepts_more) {
    double by_token, by_block;
    weir_law law = rule_law(WEIR_RULE_EXACT, 0);
    text_z(law, 3, 1, 40000, &by_token);
    law.block_verify = true;
    text_z(law, 3, 1, 40000, &by_block);
    cr_expect(by_block > by_token + 0.01, "%g tokens a block against %g", by_block, by_token);
}

/* ---- closing tokens ------------------------------------------------------------------------------------ */

/* The bonus follows pi (or p), whatever the rule. */
Test(bonus, follows_its_law) {
    enum { N = 17 };
    const int draws = (int)draws_for_build(20000);
    static const float temps[] = {0.3f, 1.0f, 2.0f};
    uint64_t seed = 51;
    int cases = 0;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int t = 0; t < 3; t++)
            for (int kind = 0; kind < 2; kind++) {
                block *b = block_new(0, N, N);
                b->law = rule_law((weir_rule)rule, NAN);
                b->law.temp = temps[t];
                b->law.top_k = t == 1 ? 9 : 0;
                random_rows(&seed, N, 1.2f, 0.6f, false, b->q, b->p);
                block_stats(b);
                oracle *o = oracle_new(&b->law, b->q, b->p, N);
                int64_t counts[N] = {0};
                for (int i = 0; i < draws; i++) {
                    b->law.key[1] = (uint32_t)i;
                    block_accept(b);
                    const int32_t token = block_emit(b, kind == 0);
                    if (rule == WEIR_RULE_CACTUS && kind == 0) {
                        cr_assert(b->emit.status == WEIR_ENOTSUP);
                        break;
                    }
                    cr_assert(token >= 0 && token < N);
                    counts[token]++;
                    const double want = kind ? o->p[token] : o->pi[token];
                    if (o->margin >= 1.0) cr_assert(fabs((double)b->emit.log_pi - log(want)) < 1e-3);
                    cr_assert(fabs((double)b->emit.log_p - log(o->p_raw[token])) < 1e-4);
                }
                if (o->margin >= 1.0 && !(rule == WEIR_RULE_CACTUS && kind == 0)) {
                    const double z = chi_square_z(counts, kind ? o->p : o->pi, N, draws);
                    cr_expect(z < Z_MAX, "%s T %g kind %d: z = %g", weir_rule_facts((weir_rule)rule)->name,
                              temps[t], kind, z);
                    cases++;
                }
                oracle_free(o);
                block_free(b);
            }
    cr_log_info("%d laws", cases);
}

/* A bonus from p does not look at q. */
Test(bonus, of_the_verifier_needs_no_drafter_row) {
    const float p[] = {0.0f, 1.0f, 2.0f};
    weir_backend be = {.isa = weir__isa_best()};
    const weir_law law = weir_law_default();
    const int32_t law_of = 0;
    weir_row_stats s;
    weir_row_stats_args a = {
        .logits = p, .ld = 3, .n_row = 1, .n_vocab = 3, .law = &law, .law_of = &law_of, .out = &s};
    cr_assert(weir__row_stats_cpu(&be, &a) == WEIR_OK);
    weir_emit_session e = {.law = &law, .kind = WEIR_EMIT_P, .p_logits = p, .p_stats = &s, .block_p = 1.0f};
    weir_emit_args ea = {&e, 1, 3};
    cr_assert(weir__emit_cpu(&be, &ea) == WEIR_OK && e.status == WEIR_OK);
    cr_expect(e.token >= 0 && e.token < 3 && e.deferred && e.reject == 0.0f);
}
