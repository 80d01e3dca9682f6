#ifndef WEIR_KERNELS_ACCEPT_SWEEP_LANES_H
#define WEIR_KERNELS_ACCEPT_SWEEP_LANES_H

#include "kernels/accept/sweep/order.h"
#include "kernels/accept/sweep/qp.h"
#include "kernels/base/isa.h"
#include "kernels/base/pool.h"

/* Internal to the accept path: the loops over the vocabulary, built once for each instruction set from
 * one source (lanes_impl.h) with equal bits. Ranges are chunks of WEIR_CHUNK ids; the first chunk of a
 * range is aligned so that the range is a whole subtree of stats.h's tree. */

enum { WEIR_MAX_SUMS = 4 };

/* The winner so far: smallest bits of E / w, then the lowest id; token -1 = no positive weight. */
typedef struct weir_best {
    int32_t bits, token;
} weir_best;

/* Probabilities of a pair that were computed before, of q and of p: (n_vocab) each, the same bits as from
 * probs. */
typedef struct weir_given {
    const float *processed[2], *raw[2];
} weir_given;

typedef struct weir_lanes {
    /* Smallest and largest order key (weir__order_key) of n logits. */
    void (*minmax)(const float *logits, int32_t n, int32_t *lo, int32_t *hi);
    /* First id with logits[id] == value; n if none. */
    int32_t (*find)(const float *logits, int32_t n, float value);
    /* Sums of one row: e, d e, w, (d / T) w (the last two only unless plain). keep_e, keep_w: (n_vocab) where
     * e and w stay, or NULL; a plain row has only w, which is e. */
    void (*row)(const weir_row_view *r, int32_t n_vocab, int32_t chunk0, int32_t chunk1, float *keep_e,
                float *keep_w, float *out);
    /* Two sums over a pair of rows. given: NULL, or the rows' probabilities, which saves the exponentials. */
    void (*pair)(const weir_qp *r, const weir_given *given, weir_sum_kind kind, int32_t n_vocab,
                 int32_t chunk0, int32_t chunk1, float *out);
    /* Mass of q over the tokens that may be rejected (num < q), over the whole vocabulary. */
    float (*below)(const weir_qp *r, const weir_given *given, int32_t n_vocab);
    /* drawn: NULL, or under WEIR_WEIGHT_Q the row's w, (n_vocab), which saves the exponentials. */
    void (*race)(const weir_race *r, const float *drawn, int32_t n_vocab, int32_t chunk0, int32_t chunk1,
                 weir_best *best);
    /* Probabilities of ids [begin, begin + n), n <= WEIR_CHUNK; out has room for n rounded up to
     * WEIR_LANES. */
    void (*probs)(const weir_row_view *r, bool raw, int32_t begin, int32_t n, float *out);
    void (*scale)(const float *x, int32_t n, float by, float *out); /* out may be x */
} weir_lanes;

extern const weir_lanes weir__lanes_portable, weir__lanes_avx2, weir__lanes_avx512;

static inline const weir_lanes *weir__lanes_of(weir_isa isa) {
#if defined(__x86_64__)
    if (isa >= WEIR_ISA_AVX512) return &weir__lanes_avx512;
    if (isa == WEIR_ISA_AVX2) return &weir__lanes_avx2;
#endif
    (void)isa;
    return &weir__lanes_portable;
}

/* stats.h's tree over chunks, fed in rising order: level k holds a subtree of 2^k chunks. */
typedef struct weir_tree {
    float level[32][WEIR_MAX_SUMS];
    uint32_t n;
} weir_tree;

static inline void weir__tree_push(weir_tree *t, const float *x, int n_sum) {
    float acc[WEIR_MAX_SUMS];
    int k = 0;
    for (int i = 0; i < n_sum; i++) acc[i] = x[i];
    for (; t->n >> k & 1u; k++)
        for (int i = 0; i < n_sum; i++) acc[i] = t->level[k][i] + acc[i];
    for (int i = 0; i < n_sum; i++) t->level[k][i] = acc[i];
    t->n++;
}

/* A missing right child passes the left one through. t->n > 0. */
static inline void weir__tree_total(const weir_tree *t, float *out, int n_sum) {
    int k = 0;
    while (!(t->n >> k & 1u)) k++;
    for (int i = 0; i < n_sum; i++) out[i] = t->level[k][i];
    for (k++; k < 32 && t->n >> k; k++) {
        if (!(t->n >> k & 1u)) continue;
        for (int i = 0; i < n_sum; i++) out[i] = t->level[k][i] + out[i];
    }
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_LANES_H */
