#include "tests/kernels/accept/accept_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/accept/accept_oracle.h"
#include "tests/support/compare.h"

block *block_new(int n_draft, int n_vocab, int ld) {
    block *b = calloc(1, sizeof *b);
    const size_t n = (size_t)(n_draft + 1) * (size_t)ld;
    b->be.isa = weir__isa_best();
    b->law = weir_law_default();
    b->n_draft = n_draft;
    b->n_vocab = n_vocab;
    b->ld = ld;
    b->q = malloc(2 * n * sizeof *b->q);
    b->p = b->q + n;
    for (size_t i = 0; i < 2 * n; i++) b->q[i] = NAN;
    return b;
}

void block_free(block *b) {
    free(b->q);
    free(b);
}

void block_stats(block *b) {
    const int32_t law_of[BLOCK_DRAFT + 1] = {0};
    weir_row_stats_args a = {.logits = b->q,
                             .ld = b->ld,
                             .n_row = b->n_draft + 1,
                             .n_vocab = b->n_vocab,
                             .law = &b->law,
                             .law_of = law_of,
                             .out = b->q_stats};
    cr_assert(weir__row_stats_cpu(&b->be, &a) == WEIR_OK);
    a.logits = b->p;
    a.out = b->p_stats;
    cr_assert(weir__row_stats_cpu(&b->be, &a) == WEIR_OK);
}

int32_t block_draw(block *b, int j) {
    const int32_t law_of = 0, position = b->position + j, row = b->law.block_verify ? j : 0;
    float logp;
    weir_draw_args a = {.logits = b->q + (size_t)j * (size_t)b->ld,
                        .ld = b->ld,
                        .n_row = 1,
                        .n_vocab = b->n_vocab,
                        .law = &b->law,
                        .law_of = &law_of,
                        .stats = &b->q_stats[j],
                        .position = &position,
                        .block_row = &row,
                        .purpose = WEIR_PURPOSE_DRAFT,
                        .token = &b->draft[j],
                        .logp = &logp};
    cr_assert(weir__draw_cpu(&b->be, &a) == WEIR_OK);
    return b->draft[j];
}

void block_accept(block *b) {
    b->session = (weir_accept_session){.law = &b->law,
                                       .q_logits = b->q,
                                       .p_logits = b->p,
                                       .q_stats = b->q_stats,
                                       .p_stats = b->p_stats,
                                       .draft = b->draft,
                                       .n_draft = b->n_draft,
                                       .position = b->position,
                                       .row = b->row};
    weir_accept_args a = {&b->session, 1, b->ld, b->ld, b->n_vocab};
    cr_assert(weir__accept_cpu(&b->be, &a) == WEIR_OK);
}

int32_t block_emit(block *b, bool bonus_pi) {
    const int j = b->session.n_accept;
    const bool bonus = j == b->n_draft;
    b->emit = (weir_emit_session){.law = &b->law,
                                  .kind = !bonus     ? WEIR_EMIT_RESIDUAL
                                          : bonus_pi ? WEIR_EMIT_PI
                                                     : WEIR_EMIT_P,
                                  .q_logits = b->q + (size_t)j * (size_t)b->ld,
                                  .p_logits = b->p + (size_t)j * (size_t)b->ld,
                                  .q_stats = &b->q_stats[j],
                                  .p_stats = &b->p_stats[j],
                                  .draft = bonus ? -1 : b->draft[j],
                                  .block_p = b->session.block_p,
                                  .position = b->position + j,
                                  .block_row = j};
    weir_emit_args a = {&b->emit, 1, b->n_vocab};
    cr_assert(weir__emit_cpu(&b->be, &a) == WEIR_OK);
    return b->emit.status == WEIR_OK ? b->emit.token : -1;
}

bool block_make_empty(block *b) {
    const size_t n = (size_t)(b->n_draft + 1) * (size_t)b->ld;
    memcpy(b->p, b->q, n * sizeof *b->p);
    b->p[b->draft[0]] = nextafterf(b->q[b->draft[0]], -INFINITY);
    b->position = 0;
    b->law.key[0] = KEY_OF_COIN_ONE;
    b->law.key[1] = 0;
    block_stats(b);
    return memcmp(&b->q_stats[0].psum, &b->p_stats[0].psum, sizeof(float)) == 0 &&
           memcmp(&b->q_stats[0].sum, &b->p_stats[0].sum, sizeof(float)) == 0 &&
           b->q_stats[0].argmax != b->draft[0];
}

weir_law rule_law(weir_rule rule, float alpha) {
    weir_law law = weir_law_default();
    const weir_rule_info *f = weir_rule_facts(rule);
    law.rule = rule;
    law.alpha = isnan(alpha) ? f->alpha_default : alpha;
    law.beta = isnan(f->beta_default) ? 1.0f : f->beta_default;
    law.measure_reject = true;
    return law;
}

void block_fill(block *b, uint64_t *seed, bool ties) {
    for (int j = 0; j <= b->n_draft; j++)
        random_rows(seed, b->n_vocab, 1.5f, 0.6f, ties, b->q + j * b->ld, b->p + j * b->ld);
    block_stats(b);
    for (int j = 0; j < b->n_draft; j++) block_draw(b, j);
}

weir_law block_random_law(uint64_t *seed, weir_rule rule) {
    static const float temps[] = {0.0f, 0.4f, 1.0f, 1.5f};
    weir_law law = rule_law(rule, NAN);
    if (rng_u64(seed) % 2) law.alpha = rng_uniform(seed, 0.0f, 0.95f);
    law.temp = temps[rng_u64(seed) % 4];
    if (rng_u64(seed) % 4 == 0) law.top_k = 3;
    if (rng_u64(seed) % 4 == 0) law.top_p = 0.8f;
    law.gate_scaled = rng_u64(seed) % 4 == 0;
    law.exact_first = rng_u64(seed) % 4 == 0 ? 3 : 0;
    law.key[0] = (uint32_t)rng_u64(seed);
    law.key[1] = (uint32_t)rng_u64(seed);
    return law;
}
