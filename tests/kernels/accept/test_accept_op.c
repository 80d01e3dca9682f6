#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/math/philox.h"
#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"

/* As KEY_OF_COIN_ONE, a coin near 0. */
enum { KEY_OF_TINY_COIN = 36934599 };

static float coin_of(const weir_law *law, int position, int row) {
    uint32_t c[4] = {0, (uint32_t)position, WEIR_PURPOSE_ACCEPT, (uint32_t)row};
    wf_philox(c, law->key);
    return wf_coin(c[0]);
}

/* ---- standard verification, row by row against the oracle ---------------------------------------------- */

/* What row j must say; false where fp32 may decide otherwise, so that the rest of the block is open. */
static bool check_row(const block *b, int j, bool *accepted) {
    weir_law law = b->law;
    if (b->position + j < law.exact_first) law.rule = WEIR_RULE_EXACT;
    oracle *o = oracle_new(&law, b->q + j * b->ld, b->p + j * b->ld, b->n_vocab);
    const weir_accept_row *r = &b->row[j];
    const int x = b->draft[j];
    const double u = (double)coin_of(&law, b->position + j, 0);
    const weir_rule_kind kind = weir_rule_facts((weir_rule)law.rule)->kind;
    const bool deferred = kind == WEIR_KIND_GATE    ? o->deferred
                          : kind == WEIR_KIND_TOKEN ? o->keep[x] == 0.0
                                                    : o->num[x] < o->q[x];
    const bool close = o->margin < 1.0 || fabs(u * o->q[x] - o->num[x]) < 1e-5 ||
                       (kind == WEIR_KIND_OWN && fabs(o->num[x] - o->q[x]) < 1e-5 * o->q[x]);
    if (!close) {
        *accepted = !deferred || u * o->q[x] <= o->num[x];
        cr_assert(r->deferred == deferred, "rule %d row %d deferred %d", law.rule, j, r->deferred);
        cr_assert(r->accepted == *accepted, "rule %d row %d accepted %d", law.rule, j, r->accepted);
        cr_assert(!(!r->deferred && !r->accepted));
        cr_assert(fabs(r->reject - o->reject) < 1e-5, "rule %d row %d R %g want %g", law.rule, j, r->reject,
                  o->reject);
        cr_assert(fabs((double)r->log_p - log(o->p_raw[x])) < 1e-4 || isinf(r->log_p));
        if (law.rule == WEIR_RULE_CACTUS)
            cr_assert(isnan(r->log_pi));
        else if (o->pi[x] > 1e-4)
            cr_assert(fabs((double)r->log_pi - log(o->pi[x])) < 2e-2 * 1e-4 / o->pi[x] + 1e-3,
                      "rule %d log pi %g want %g", law.rule, r->log_pi, log(o->pi[x]));
    }
    oracle_free(o);
    return !close;
}

Test(accept, stops_at_the_first_rejection_and_reports_every_row) {
    uint64_t seed = 41;
    static const int sizes[] = {2, 3, 17, 100, 1500};
    int blocks = 0, rows = 0, rejected = 0;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int rep = 0; rep < 120; rep++) {
            block *b = block_new(1 + rep % BLOCK_DRAFT, sizes[rep % 5], sizes[rep % 5] + rep % 3);
            b->law = block_random_law(&seed, (weir_rule)rule);
            b->position = rep % 5;
            block_fill(b, &seed, rep % 2);
            block_accept(b);
            cr_assert(b->session.status == WEIR_OK);
            cr_assert(b->session.block_p == 1.0f);
            bool accepted = true, open = false;
            int j = 0;
            for (; j < b->n_draft && accepted && !open; j++) {
                open = !check_row(b, j, &accepted);
                rows += !open;
            }
            if (!open) {
                cr_assert(b->session.n_examined == j, "examined %d of %d", b->session.n_examined, j);
                cr_assert(b->session.n_accept == (accepted ? j : j - 1));
                rejected += !accepted;
                blocks++;
            }
            block_free(b);
        }
    cr_expect(blocks > WEIR_RULE_COUNT * 90 && rejected > 300, "%d blocks, %d rejected", blocks, rejected);
    cr_log_info("%d blocks, %d rows, %d rejections", blocks, rows, rejected);
}

/* ---- block verification, from its definition and its own coins (trap 6) -------------------------------- */

/* P_i, S_i and the coins of the block say where it ends; *open where fp32 may decide otherwise. */
static int block_end(const block *b, oracle *const *o, double *p_end, bool *open) {
    double p[BLOCK_DRAFT + 1] = {1.0}, s[BLOCK_DRAFT + 1] = {0.0};
    const int n = b->n_draft;
    for (int j = 0; j < n; j++) {
        for (int v = 0; v < b->n_vocab; v++) s[j] += fmax(0.0, p[j] * o[j]->pi[v] - o[j]->q[v]);
        p[j + 1] = fmin(1.0, p[j] * o[j]->pi[b->draft[j]] / o[j]->q[b->draft[j]]);
        if (o[j]->margin < 1.0) *open = true;
    }
    int tau = 0;
    for (int i = 1; i <= n; i++) {
        const double u = (double)coin_of(&b->law, b->position + i - 1, i - 1);
        const double rest = s[i] + 1.0 - p[i], h = i == n ? p[n] : rest > 0.0 ? s[i] / rest : 1.0;
        if (fabs(u - h) < 1e-4 || (i < n && rest < 1e-3)) *open = true;
        if (u <= h) tau = i;
    }
    if (tau < n && s[tau] < 1e-4) *open = true;
    *p_end = tau < n ? p[tau] : 1.0;
    return tau;
}

/* Winner of the race over (P pi - q)+, or over pi after a whole block, from the streams of that row. */
static int block_winner(const block *b, const oracle *o, int tau, double p_end, bool *open) {
    const bool bonus = tau == b->n_draft;
    double best = INFINITY, second = INFINITY;
    int token = -1;
    for (int v = 0; v < b->n_vocab; v++) {
        const double w = bonus ? o->pi[v] : fmax(0.0, p_end * o->pi[v] - o->q[v]);
        uint32_t c[4] = {(uint32_t)v / 4u, (uint32_t)(b->position + tau),
                         bonus ? WEIR_PURPOSE_BONUS : WEIR_PURPOSE_RESIDUAL, (uint32_t)tau};
        wf_philox(c, b->law.key);
        const double t = w > 1e-6 ? (double)wf_exponential(c[v % 4]) / w : INFINITY;
        if (t < best)
            second = best, best = t, token = v;
        else if (t < second)
            second = t;
    }
    if (second < best * 1.01) *open = true;
    return token;
}

Test(accept, a_block_ends_where_its_coins_say) {
    uint64_t seed = 45;
    int blocks = 0, partial = 0;
    for (int rep = 0; rep < 3000; rep++) {
        const weir_rule rule = (weir_rule)(rep % WEIR_RULE_COUNT);
        if (!weir_rule_facts(rule)->pi_exists) continue;
        block *b = block_new(1 + rep % 5, 17, 17);
        b->law = block_random_law(&seed, rule);
        if (b->law.temp == 0.0f) b->law.temp = 1.0f;
        b->law.block_verify = true;
        b->position = rep % 7;
        block_fill(b, &seed, false);
        oracle *o[BLOCK_DRAFT + 1];
        for (int j = 0; j <= b->n_draft; j++) {
            weir_law law = b->law;
            if (b->position + j < law.exact_first) law.rule = WEIR_RULE_EXACT;
            o[j] = oracle_new(&law, b->q + j * b->ld, b->p + j * b->ld, b->n_vocab);
        }
        bool open = false;
        double p_end;
        const int tau = block_end(b, o, &p_end, &open);
        block_accept(b);
        cr_assert(b->session.status == WEIR_OK && b->session.n_examined == b->n_draft);
        if (!open) {
            cr_assert(b->session.n_accept == tau, "rule %d: %d accepted, not %d", rule, b->session.n_accept,
                      tau);
            cr_assert(fabs((double)b->session.block_p - p_end) < 1e-4, "rule %d: P %g, not %g", rule,
                      b->session.block_p, p_end);
            open = o[tau]->margin < 1.0;
            const int want = block_winner(b, o[tau], tau, p_end, &open);
            const int32_t token = block_emit(b, true);
            if (!open) cr_assert(token == want, "rule %d row %d: token %d, not %d", rule, tau, token, want);
            blocks++;
            partial += tau > 0 && tau < b->n_draft;
        }
        for (int j = 0; j <= b->n_draft; j++) oracle_free(o[j]);
        block_free(b);
    }
    cr_expect(blocks > 1500 && partial > 200, "%d blocks, %d ended inside", blocks, partial);
    cr_log_info("%d blocks, %d ended inside", blocks, partial);
}

/* ---- coins (trap 7) ------------------------------------------------------------------------------------ */

static block *one_row(weir_law law, const float *q, const float *p, int n, int draft) {
    block *b = block_new(1, n, n);
    for (int j = 0; j < 2; j++) {
        memcpy(b->q + j * n, q, (size_t)n * 4);
        memcpy(b->p + j * n, p, (size_t)n * 4);
    }
    b->law = law;
    block_stats(b);
    b->draft[0] = draft;
    return b;
}

Test(accept, a_sure_token_is_taken_by_every_coin) {
    const float q[] = {0.3f, 1.2f, -0.7f};
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int bv = 0; bv < 2; bv++) {
            if (rule == WEIR_RULE_TYPICAL || weir_rule_facts((weir_rule)rule)->kind == WEIR_KIND_TOKEN)
                continue;
            weir_law law = rule_law((weir_rule)rule, NAN);
            law.block_verify = bv && rule != WEIR_RULE_CACTUS;
            law.key[0] = KEY_OF_COIN_ONE;
            cr_assert(coin_of(&law, 0, 0) == 1.0f);
            for (int x = 0; x < 3; x++) {
                block *b = one_row(law, q, q, 3, x); /* p = q: num >= q up to rounding, no residual */
                block_accept(b);
                cr_expect(b->session.n_accept == 1, "rule %d token %d block %d", rule, x, bv);
                block_free(b);
            }
        }
}

/* The same where the row as a whole is tested: num(x) = q(x) bit for bit, mass elsewhere, the coin is 1. */
Test(accept, equality_accepts) {
    /* the two sums have equal bits */
    const float q[] = {0.0f, 1.0f, 0.5f, 2.0f}, p[] = {0.0f, 2.0f, 0.5f, 1.0f};
    static const weir_rule rules[] = {WEIR_RULE_EXACT, WEIR_RULE_LOSSY, WEIR_RULE_TOKEN_V3_EXACT_TAIL};
    for (int i = 0; i < 3; i++) {
        weir_law law = rule_law(rules[i], 0.0f);
        law.key[0] = KEY_OF_COIN_ONE;
        block *b = one_row(law, q, p, 4, 0);
        cr_assert(wf_bits(b->q_stats[0].sum) == wf_bits(b->p_stats[0].sum));
        block_accept(b);
        cr_expect(b->session.n_accept == 1 && b->row[0].reject > 0.1f, "rule %d", rules[i]);
        b->draft[0] = 3; /* num < q: the same coin refuses */
        block_accept(b);
        cr_expect(b->session.n_accept == 0, "rule %d", rules[i]);
        block_free(b);
    }
}

/* Trap 5: p = q but for one p(x) a few ulp below q(x), too little to move the sums. The residual has no mass,
 * the coin would refuse: x is taken. A draw that is asked for nevertheless gives x too, not the last id. */
Test(accept, a_rejection_without_residual_mass_takes_the_draft) {
    const float q[] = {0.0f, -5.0f, -INFINITY}, p[] = {0.0f, nextafterf(-5.0f, -INFINITY), -INFINITY};
    static const struct {
        weir_rule rule;
        float alpha;
    } rules[] = {{WEIR_RULE_EXACT, 0.0f},
                 {WEIR_RULE_DIFF, -1.0f},
                 {WEIR_RULE_TOKEN_V3, -1.0f},
                 {WEIR_RULE_LOSSY, 0.0f},
                 {WEIR_RULE_TOKEN_V3_EXACT_TAIL, -1.0f}};
    for (int i = 0; i < 5; i++)
        for (int bv = 0; bv < 2; bv++) {
            weir_law law = rule_law(rules[i].rule, rules[i].alpha);
            law.key[0] = KEY_OF_COIN_ONE;
            law.block_verify = bv;
            block *b = one_row(law, q, p, 3, 1);
            cr_assert(wf_bits(b->q_stats[0].sum) == wf_bits(b->p_stats[0].sum));
            block_accept(b);
            cr_assert(b->row[0].deferred && b->row[0].reject > 0.0f);
            cr_expect(b->session.n_accept == 1 && b->row[0].accepted, "rule %d block %d", rules[i].rule, bv);
            b->session.n_accept = 0;
            cr_expect(block_emit(b, true) == 1, "rule %d block %d: token %d", rules[i].rule, bv,
                      b->emit.token);
            block_free(b);
        }
}

/* The same where R is not asked for: what the coin refused is looked at before it ends the block. */
Test(accept, an_empty_residual_is_found_without_R) {
    uint64_t seed = 52;
    int empty = 0;
    for (int rep = 0; rep < 300; rep++) {
        const int n = rep % 2 ? 400 : 2500;
        block *b = block_new(3, n, n);
        b->law = rule_law((weir_rule)(rep % WEIR_RULE_COUNT), rep % 3 ? NAN : 0.0f);
        block_fill(b, &seed, false);
        const bool made = block_make_empty(b);
        block_accept(b);
        const int n_accept = b->session.n_accept, n_examined = b->session.n_examined;
        const bool none = made && b->row[0].deferred && n_accept > 0;
        b->law.measure_reject = false;
        memset(b->row, 0, sizeof b->row); /* rows that are not examined are kept */
        block_accept(b);
        cr_assert(b->session.n_accept == n_accept && b->session.n_examined == n_examined, "rule %d",
                  b->law.rule);
        cr_assert(n_accept == 3 || b->session.verdict.mass > 0.0f, "rule %d", b->law.rule);
        empty += none && isnan(b->row[0].reject);
        block_free(b);
    }
    cr_expect(empty > 40, "%d rows", empty);
}

Test(accept, a_token_of_no_mass_is_refused_by_every_coin) {
    const float q[] = {0.0f, 0.0f}, p[] = {0.0f, -INFINITY};
    for (int bv = 0; bv < 2; bv++)
        for (int top_k = 0; top_k < 2; top_k++) {
            const float masked[] = {0.0f, -1.0f};
            weir_law law = rule_law(WEIR_RULE_EXACT, 0);
            law.key[0] = KEY_OF_TINY_COIN;
            law.block_verify = bv;
            law.top_k = top_k; /* ties keep both of q and one of p */
            cr_assert(coin_of(&law, 0, 0) < 1e-9f);
            block *b = one_row(law, q, top_k ? masked : p, 2, 1);
            block_accept(b);
            cr_expect(b->session.n_accept == 0);
            cr_expect(block_emit(b, true) == 0);
            cr_expect(b->row[0].log_pi == -INFINITY);
            block_free(b);
        }
}

/* Identity 6, over many keys: r = 0 means accepted; the residual of a row without mass is never drawn
 * from. */
Test(accept, what_is_not_deferred_is_accepted) {
    uint64_t seed = 42;
    int kept = 0;
    for (int rep = 0; rep < 4000; rep++) {
        block *b = block_new(4, 17, 17);
        b->law = block_random_law(&seed, (weir_rule)(rep % WEIR_RULE_COUNT));
        block_fill(b, &seed, false);
        block_accept(b);
        for (int j = 0; j < b->session.n_examined; j++) {
            cr_assert(b->row[j].deferred || b->row[j].accepted);
            kept += !b->row[j].deferred;
        }
        block_free(b);
    }
    cr_expect(kept > 2000);
}

/* ---- failures ------------------------------------------------------------------------------------------ */

Test(accept, a_nan_row_fails_its_session_alone) {
    uint64_t seed = 43;
    block *good = block_new(3, 50, 50), *bad = block_new(3, 50, 50);
    block_fill(good, &seed, false);
    block_fill(bad, &seed, false);
    for (int side = 0; side < 2; side++)
        for (int bv = 0; bv < 2; bv++) {
            weir_law law = rule_law(WEIR_RULE_EXACT, 0);
            law.block_verify = bv;
            float *cell = (side ? bad->p : bad->q) + 7;
            const float kept = *cell;
            *cell = NAN;
            block_stats(bad);
            weir_accept_session s[3];
            weir_accept_row rows[3][BLOCK_DRAFT];
            for (int i = 0; i < 3; i++) {
                block *b = i == 1 ? bad : good;
                s[i] = (weir_accept_session){.law = &law,
                                             .q_logits = b->q,
                                             .p_logits = b->p,
                                             .q_stats = b->q_stats,
                                             .p_stats = b->p_stats,
                                             .draft = b->draft,
                                             .n_draft = 3,
                                             .row = rows[i]};
            }
            weir_accept_args a = {s, 3, 50, 50, 50};
            cr_assert(weir__accept_cpu(&good->be, &a) == WEIR_OK);
            cr_expect(s[0].status == WEIR_OK && s[1].status == WEIR_EINVAL && s[2].status == WEIR_OK);
            cr_expect(!memcmp(&rows[0][0], &rows[2][0], sizeof rows[0][0]));
            weir_emit_session e = {.law = &law,
                                   .kind = side ? WEIR_EMIT_P : WEIR_EMIT_PI,
                                   .q_logits = bad->q,
                                   .p_logits = bad->p,
                                   .q_stats = bad->q_stats,
                                   .p_stats = bad->p_stats,
                                   .block_p = 1.0f};
            weir_emit_args ea = {&e, 1, 50};
            cr_assert(weir__emit_cpu(&good->be, &ea) == WEIR_OK);
            cr_expect(e.status == WEIR_EINVAL);
            *cell = kept;
        }
    block_free(good);
    block_free(bad);
}

Test(accept, bad_arguments_are_refused) {
    uint64_t seed = 44;
    block *b = block_new(2, 9, 9);
    block_fill(b, &seed, false);
    b->draft[0] = -1; /* what a draw from a NaN row gives */
    block_accept(b);
    cr_expect(b->session.status == WEIR_EINVAL);
    b->draft[0] = 9;
    block_accept(b);
    cr_expect(b->session.status == WEIR_EINVAL);
    b->draft[0] = 0;
    b->law = rule_law(WEIR_RULE_CACTUS, NAN);
    b->law.block_verify = true;
    block_accept(b);
    cr_expect(b->session.status == WEIR_ENOTSUP);
    weir_accept_args a = {&b->session, 1, 8, 9, 9};
    cr_expect(weir__accept_cpu(&b->be, &a) == WEIR_EINVAL);
    a.ld_q = 9, a.n_session = -1;
    cr_expect(weir__accept_cpu(&b->be, &a) == WEIR_EINVAL);
    a.n_session = 0;
    cr_expect(weir__accept_cpu(&b->be, &a) == WEIR_OK);
    b->session.n_draft = 17, a.n_session = 1;
    cr_expect(weir__accept_cpu(&b->be, &a) == WEIR_OK && b->session.status == WEIR_EINVAL);
    block_free(b);
}

/* ---- gate ---------------------------------------------------------------------------------------------- */

Test(gate, says_what_the_accept_step_says) {
    uint64_t seed = 45;
    for (int rep = 0; rep < 3000; rep++) {
        const weir_rule rule = (weir_rule)(rep % WEIR_RULE_COUNT);
        block *b = block_new(1, 17, 17);
        b->law = block_random_law(&seed, rule);
        b->position = rep % 5;
        block_fill(b, &seed, rep % 2);
        block_accept(b);
        weir_gate_session g = {.law = &b->law,
                               .q_logits = b->q,
                               .p_logits = b->p,
                               .q_stats = b->q_stats,
                               .p_stats = b->p_stats,
                               .position = b->position};
        cr_assert_eq(weir__gate_cpu(&b->be, &(weir_gate_args){&g, 1, 17}), WEIR_OK);
        const weir_status s = g.status;
        const weir_rule_info *f = weir_rule_facts(rule);
        if (f->kind == WEIR_KIND_GATE || b->position < b->law.exact_first) {
            cr_assert(s == WEIR_OK && g.deferred == b->row[0].deferred, "rule %d", rule);
            weir_gate_session alone = g;
            alone.p_logits = NULL, alone.p_stats = NULL;
            cr_assert_eq(weir__gate_cpu(&b->be, &(weir_gate_args){&alone, 1, 17}), WEIR_OK);
            const weir_status without_p = alone.status;
            if (f->q_only && b->position >= b->law.exact_first)
                cr_assert(without_p == WEIR_OK && alone.deferred == g.deferred);
            else
                cr_assert(without_p == WEIR_EINVAL);
        } else
            cr_assert(s == WEIR_EINVAL, "rule %d is no gate", rule);
        block_free(b);
    }
}

/* ---- same bits ----------------------------------------------------------------------------------------- */

/* Everything the ops report of a block, as bytes. */
typedef struct trace {
    int32_t draft[BLOCK_DRAFT], n_examined, n_accept, token;
    int32_t rows[BLOCK_DRAFT][5], block_p, emit[4];
} trace;

/* Of a block that was accepted; draws its closing token. */
static void note_block(block *b, trace *t) {
    memset(t, 0, sizeof *t);
    for (int j = 0; j < b->n_draft; j++) t->draft[j] = b->draft[j];
    t->n_examined = b->session.n_examined;
    t->n_accept = b->session.n_accept;
    t->block_p = wf_bits(b->session.block_p);
    for (int j = 0; j < t->n_examined; j++) {
        const weir_accept_row *r = &b->row[j];
        const int32_t x[5] = {wf_bits(r->reject), wf_bits(r->log_pi), wf_bits(r->log_p), r->deferred,
                              r->accepted};
        memcpy(t->rows[j], x, sizeof x);
    }
    t->token = block_emit(b, b->law.rule != WEIR_RULE_CACTUS);
    const int32_t x[4] = {wf_bits(b->emit.log_pi), wf_bits(b->emit.log_p), wf_bits(b->emit.reject),
                          b->emit.deferred};
    memcpy(t->emit, x, sizeof x);
}

static void run(block *b, trace *t) {
    block_stats(b);
    for (int j = 0; j < b->n_draft; j++) block_draw(b, j);
    block_accept(b);
    note_block(b, t);
}

Test(accept, does_not_depend_on_isa_or_threads) {
    weir_pool *pool[3];
    for (int t = 0; t < 3; t++) cr_assert(weir__pool_create(&pool[t], t + 1) == WEIR_OK);
    uint64_t seed = 46;
    static const int sizes[] = {3, 33, 1500, 6016, 40001};
    int cases = 0;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int rep = 0; rep < (build_is_sanitized() ? 5 : 10); rep++) {
            if (!in_sample(5 * rule + rep, 7)) continue;
            /* Every remainder of a vector shows an overrun, so a sanitizer needs no large vocabulary. */
            const int n = sizes[build_is_sanitized() ? rep % 3 : rep % 5];
            block *b = block_new(n > 10000 ? 2 : 5, n, n);
            b->law = block_random_law(&seed, (weir_rule)rule);
            b->law.block_verify = rep % 3 == 0 && rule != WEIR_RULE_CACTUS;
            if (rep % 2 && rule == WEIR_RULE_LOSSY) b->law.beta = NAN;
            for (int j = 0; j <= b->n_draft; j++)
                random_rows(&seed, n, 1.5f, 0.6f, rep % 4 == 0, b->q + j * n, b->p + j * n);
            trace want, got;
            b->be = (weir_backend){.isa = WEIR_ISA_PORTABLE};
            run(b, &want);
            for (int isa = build_is_tsan() ? (int)weir__isa_best() : 0; isa <= (int)weir__isa_best(); isa++)
                for (int t = build_is_sanitized() ? 2 : 0; t < 3; t++) {
                    b->be = (weir_backend){.isa = (weir_isa)isa, .pool = pool[t]};
                    run(b, &got);
                    cr_assert(!memcmp(&got, &want, sizeof got), "rule %d n %d isa %d threads %d", rule, n,
                              isa, t + 1);
                    cases++;
                }
            block_free(b);
        }
    for (int t = 0; t < 3; t++) weir__pool_free(pool[t]);
    cr_log_info("%d blocks compared", cases);
}

/* The op makes the verifier's statistics of the rows that a decision reaches, and no others. */
Test(accept, makes_the_statistics_that_it_needs) {
    uint64_t seed = 48;
    int skipped = 0;
    for (int rep = 0; rep < 60; rep++) {
        block *b = block_new(rep % (BLOCK_DRAFT + 1), 300, 300);
        weir_row_stats given[BLOCK_DRAFT + 1];
        b->law = block_random_law(&seed, (weir_rule)(rep % WEIR_RULE_COUNT));
        b->law.block_verify = rep % 4 == 0 && b->law.rule != WEIR_RULE_CACTUS;
        block_fill(b, &seed, rep % 2);
        trace want, got;
        run(b, &want), memcpy(given, b->p_stats, sizeof given);
        memset(b->p_stats, 0xff, sizeof b->p_stats);
        weir_accept_args a = {&b->session, 1, b->ld, b->ld, b->n_vocab, true};
        const weir_status status = weir__accept_cpu(&b->be, &a);
        const int n_examined = b->session.n_examined;
        for (int j = 0; j <= b->n_draft; j++) {
            const bool needed = j < n_examined || j == b->session.n_accept;
            const weir_row_stats *made = &b->p_stats[j];
            skipped += !needed;
            cr_assert(needed ? !memcmp(made, &given[j], sizeof *made) : isnan(made->max) && isnan(made->sum),
                      "rule %d, row %d of %d, %d examined", b->law.rule, j, b->n_draft, n_examined);
        }
        note_block(b, &got);
        cr_assert(status == WEIR_OK && !memcmp(&got, &want, sizeof got), "rule %d", b->law.rule);
        block_free(b);
    }
    cr_expect(skipped > 30);
}

static bool weighs(weir_rule rule) {
    return rule == WEIR_RULE_OPT || rule == WEIR_RULE_OPT_LOG || rule == WEIR_RULE_LOSSY ||
           rule == WEIR_RULE_TYPICAL || rule == WEIR_RULE_TOKEN_V3_EXACT_TAIL;
}

/* The bits of R, or those of NaN where it costs a pass that nobody asked for. */
static int32_t reject_bits(const block *b, int position, int32_t measured) {
    const weir_rule rule = position < b->law.exact_first ? WEIR_RULE_EXACT : (weir_rule)b->law.rule;
    return b->law.temp > 0.0f && !weighs(rule) ? wf_bits(NAN) : measured;
}

/* Tokens, sources and logs are the same whether R is asked for or not, and R is NaN where it is not measured,
 * never a number. */
Test(accept, R_that_is_not_asked_for_changes_nothing_else) {
    uint64_t seed = 51;
    int absent = 0, present = 0;
    for (int rep = 0; rep < 1600; rep++) {
        const int n = rep % 3 ? 40 : 1500;
        block *b = block_new(rep % 6, n, n);
        b->law = block_random_law(&seed, (weir_rule)(rep % WEIR_RULE_COUNT));
        b->law.block_verify = rep % 5 == 0 && b->law.rule != WEIR_RULE_CACTUS;
        b->position = rep % 4;
        block_fill(b, &seed, rep % 2);
        trace want, got;
        run(b, &want);
        b->law.measure_reject = false;
        run(b, &got);
        for (int j = 0; j < want.n_examined; j++) {
            want.rows[j][0] = reject_bits(b, b->position + j, want.rows[j][0]);
            *(isnan(b->row[j].reject) ? &absent : &present) += 1;
        }
        if (b->emit.kind != WEIR_EMIT_P) want.emit[2] = reject_bits(b, b->emit.position, want.emit[2]);
        cr_assert(!memcmp(&got, &want, sizeof got), "rule %d, case %d", b->law.rule, rep);
        block_free(b);
    }
    cr_expect(absent > 500 && present > 500, "%d rows without R, %d with it", absent, present);
}

/* Many sessions at once give what each gives alone, whatever the order and the threads. */
Test(accept, does_not_depend_on_the_batch) {
    enum { N = 9 };
    weir_pool *pool;
    cr_assert(weir__pool_create(&pool, 2) == WEIR_OK);
    uint64_t seed = 47;
    for (int rep = 0; rep < 20; rep++) {
        block *b[N];
        weir_accept_session s[N];
        weir_accept_row rows[N][BLOCK_DRAFT];
        for (int i = 0; i < N; i++) {
            b[i] = block_new(i, 2000, 2000);
            b[i]->law = block_random_law(&seed, (weir_rule)((rep + i) % WEIR_RULE_COUNT));
            block_fill(b[i], &seed, false);
            block_accept(b[i]);
            s[N - 1 - i] = b[i]->session;
            s[N - 1 - i].row = rows[N - 1 - i];
        }
        weir_backend be = {.isa = weir__isa_best(), .pool = pool};
        weir_accept_args a = {s, N, 2000, 2000, 2000};
        cr_assert(weir__accept_cpu(&be, &a) == WEIR_OK);
        for (int i = 0; i < N; i++) {
            const weir_accept_session *x = &s[N - 1 - i];
            cr_assert(x->n_accept == b[i]->session.n_accept && x->n_examined == b[i]->session.n_examined);
            for (int j = 0; j < x->n_examined; j++)
                cr_assert(wf_bits(x->row[j].reject) == wf_bits(b[i]->row[j].reject) &&
                          x->row[j].accepted == b[i]->row[j].accepted);
            block_free(b[i]);
        }
    }
    weir__pool_free(pool);
}
