#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/accept/accept_fixture.h"
#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/build.h"
#include "tests/support/compare.h"

enum { N_MAX = 5988, WORKERS = 3 };

static weir_law law_of(uint64_t *seed, int rule, int rep) {
    static const float temps[] = {1.0f, 0.4f, 1.5f, 0.0f};
    weir_law law = rule_law((weir_rule)rule, NAN);
    law.temp = temps[rep % 4];
    law.top_p = rep % 8 > 5 ? 0.8f : 1.0f;
    law.gate_scaled = rep % 8 == 4;
    law.block_verify = rep % 8 == 3 && rule != WEIR_RULE_CACTUS;
    law.key[0] = (uint32_t)rng_u64(seed);
    law.measure_reject = law.key[0] % 2;
    return law;
}

/* What a block says, and the statistics of the rows that its decision reaches. */
typedef struct trace {
    int32_t n_examined, n_accept, token, block_p;
    weir_accept_row row[BLOCK_DRAFT];
    weir_row_stats stats[BLOCK_DRAFT + 1];
} trace;

static void note(block *b, trace *t) {
    memset(t, 0, sizeof *t);
    t->n_examined = b->session.n_examined;
    t->n_accept = b->session.n_accept;
    t->block_p = wf_bits(b->session.block_p);
    memcpy(t->row, b->row, (size_t)t->n_examined * sizeof *t->row);
    for (int j = 0; j <= b->n_draft; j++)
        if (j < t->n_examined || j == t->n_accept) t->stats[j] = b->p_stats[j];
    t->token = block_emit(b, b->law.rule != WEIR_RULE_CACTUS);
}

static void accept_kept(block *b, weir_isa isa, weir_pool *pool, float *scratch) {
    const size_t floats = (size_t)weir__accept_cpu_scratch_floats(b->n_vocab);
    memset(scratch, 0xff, WORKERS * floats * sizeof *scratch);
    memset(b->p_stats, 0xff, sizeof b->p_stats);
    b->be = (weir_backend){.isa = isa, .pool = pool, .scratch = scratch, .scratch_floats = floats};
    weir_accept_args a = {&b->session, 1, b->ld, b->ld, b->n_vocab, true};
    cr_assert(weir__accept_cpu(&b->be, &a) == WEIR_OK);
}

/* Rows that are examined at once, and probabilities that stay in the scratch, change no bit; the statistics
 * of the rows that a decision reaches are made all the same. */
Test(accept_kept, rows_at_once_and_kept_exponentials_change_nothing) {
    float *scratch = malloc(WORKERS * (size_t)weir__accept_cpu_scratch_floats(N_MAX) * sizeof *scratch);
    weir_pool *pool[WORKERS];
    for (int t = 0; t < WORKERS; t++) cr_assert(weir__pool_create(&pool[t], t + 1) == WEIR_OK);
    uint64_t seed = 49;
    static const int sizes[] = {3, 33, 1500, N_MAX};
    const int best = (int)weir__isa_best();
    int cases = 0;
    for (int i = 0; i < 8 * WEIR_RULE_COUNT; i++) {
        if (!in_sample(i, 7)) continue;
        const int n = sizes[i / 2 % 4];
        block *b = block_new(i % 3 ? 5 : 1, n, n);
        b->law = law_of(&seed, i / 8, i % 8);
        for (int j = 0; j <= b->n_draft; j++)
            random_rows(&seed, n, 1.5f, 0.6f, i % 2, b->q + j * n, b->p + j * n);
        b->be = (weir_backend){.isa = WEIR_ISA_PORTABLE};
        block_stats(b);
        for (int j = 0; j < b->n_draft; j++) block_draw(b, j);
        trace want, got;
        block_accept(b), note(b, &want);
        for (int isa = build_is_tsan() ? best : 0; isa <= best; isa++)
            for (int t = build_is_sanitized() ? WORKERS - 1 : 0; t < WORKERS; t++, cases++) {
                accept_kept(b, (weir_isa)isa, pool[t], scratch);
                note(b, &got);
                cr_assert(!memcmp(&got, &want, sizeof got), "rule %d n %d isa %d threads %d", i / 8, n, isa,
                          t + 1);
            }
        block_free(b);
    }
    for (int t = 0; t < WORKERS; t++) weir__pool_free(pool[t]);
    free(scratch);
    cr_assert(cases > 10); /* one instruction set of a sample, with sanitizers */
}

/* What the accept op found out about the rejected row saves the closing draw its passes and changes no
 * bit. */
Test(accept_kept, a_known_verdict_changes_no_bit) {
    uint64_t seed = 77;
    int rejected = 0;
    for (int rule = 0; rule < WEIR_RULE_COUNT; rule++)
        for (int rep = 0; rep < 60; rep++) {
            const int n_vocab = rep % 2 ? 1500 : 17;
            block *b = block_new(4, n_vocab, n_vocab);
            b->law = block_random_law(&seed, (weir_rule)rule);
            block_fill(b, &seed, false);
            block_accept(b);
            const int j = b->session.n_accept;
            cr_assert(b->session.verdict.known == (j < 4), "rule %d", rule);
            if (j < 4) {
                weir_emit_session s[2];
                for (int k = 0; k < 2; k++)
                    s[k] = (weir_emit_session){.law = &b->law,
                                               .kind = WEIR_EMIT_RESIDUAL,
                                               .q_logits = b->q + j * b->ld,
                                               .p_logits = b->p + j * b->ld,
                                               .q_stats = &b->q_stats[j],
                                               .p_stats = &b->p_stats[j],
                                               .draft = b->draft[j],
                                               .block_p = 1.0f,
                                               .verdict = k ? &b->session.verdict : NULL,
                                               .position = j,
                                               .block_row = j};
                weir_emit_args a = {.session = s, .n_session = 2, .n_vocab = n_vocab};
                cr_assert(weir__emit_cpu(&b->be, &a) == WEIR_OK && s[0].status == WEIR_OK &&
                          s[1].status == WEIR_OK);
                cr_assert(s[0].token == s[1].token && s[0].deferred == s[1].deferred, "rule %d", rule);
                cr_assert(memcmp(&s[0].log_pi, &s[1].log_pi, sizeof(float)) == 0, "rule %d", rule);
                cr_assert(memcmp(&s[0].reject, &s[1].reject, sizeof(float)) == 0, "rule %d", rule);
                rejected++;
            }
            block_free(b);
        }
    cr_assert(rejected > 200, "%d rejections", rejected);
}

/* A verdict is about this call only. */
Test(accept_kept, a_verdict_of_the_call_before_is_forgotten) {
    const weir_law law = weir_law_default();
    weir_accept_session s = {.law = &law, .n_draft = 0, .verdict = {.known = true, .mass = 1.0f}};
    weir_accept_args a = {.session = &s, .n_session = 1, .ld_q = 3, .ld_p = 3, .n_vocab = 3};
    weir_backend be = {.isa = WEIR_ISA_PORTABLE};
    cr_assert_eq(weir__accept_cpu(&be, &a), WEIR_OK);
    cr_expect(s.status == WEIR_OK && !s.verdict.known);
}
