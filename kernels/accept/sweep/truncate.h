#ifndef WEIR_KERNELS_ACCEPT_SWEEP_TRUNCATE_H
#define WEIR_KERNELS_ACCEPT_SWEEP_TRUNCATE_H

#include "kernels/accept/sweep/sweep.h"

/* Internal to the accept path: top-k, top-p and min-p of a law as one threshold on the logits. Kept are l >
 * thr and, among l == thr, the ids up to tie. r: the row's max and temperature; r->cut and thr are not used.
 * No sort: radix selection on the bits of the logits, by count and by mass. Masses are 64-bit integers
 * (weights times 2^40), so that the sum is the same in any order; in the search for top-p, a weight under
 * 2^-40 of the largest counts as zero. The most probable token always stays. Needs n_vocab <= WEIR_VOCAB_MAX:
 * that many weights of 2^40 fit in 63 bits. */
void weir__truncate(const weir_env *env, const weir_law *law, const weir_row_view *r, int32_t n_vocab,
                    float *thr, int32_t *tie);

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_TRUNCATE_H */
