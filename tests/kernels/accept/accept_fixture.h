#ifndef WEIR_TESTS_KERNELS_ACCEPT_ACCEPT_FIXTURE_H
#define WEIR_TESTS_KERNELS_ACCEPT_ACCEPT_FIXTURE_H

#include "kernels/accept/cpu.h"

/* A block of one session: rows of both models, statistics, drafted tokens, and the ops over them. */
enum { BLOCK_DRAFT = 16, BLOCK_VOCAB = 8192 };

typedef struct block {
    weir_backend be;
    weir_law law;
    int n_draft, n_vocab, ld, position;
    float *q, *p; /* (n_draft + 1, ld): row n_draft of q is for a bonus from pi */
    weir_row_stats q_stats[BLOCK_DRAFT + 1], p_stats[BLOCK_DRAFT + 1];
    int32_t draft[BLOCK_DRAFT];
    weir_accept_row row[BLOCK_DRAFT];
    weir_accept_session session;
    weir_emit_session emit;
} block;

block *block_new(int n_draft, int n_vocab, int ld); /* rows poisoned with NaN */
void block_free(block *b);
void block_stats(block *b);
int32_t block_draw(block *b, int j);         /* row j of q, purpose DRAFT, as the loop does it */
void block_accept(block *b);                 /* asserts that the op itself succeeds */
int32_t block_emit(block *b, bool bonus_pi); /* the token that closes the block; -1 on a failed status */

/* Random rows, their statistics and drafts. */
void block_fill(block *b, uint64_t *seed, bool ties);

/* Of the rule: alpha, temperature, truncation, gate, exact_first and key at random. */
weir_law block_random_law(uint64_t *seed, weir_rule rule);

/* alpha NaN: the default; beta the rule's default; R is measured */
weir_law rule_law(weir_rule rule, float alpha);

/* Key {k, 0} whose coin at position 0, row 0 is 1. */
enum { KEY_OF_COIN_ONE = 182758777 };

/* From then on p is q but for the first draft, a few ulp below: the residual of row 0 has no mass, and its
 * coin refuses the draft. Its logit must not be the largest. false: the sums have other bits, so that there
 * is mass. */
bool block_make_empty(block *b);

#endif
