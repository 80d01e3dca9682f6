#ifndef WEIR_KERNELS_ACCEPT_STATS_H
#define WEIR_KERNELS_ACCEPT_STATS_H

#include "kernels/accept/law.h"
#include "kernels/linear/minmax.h"

/* Sums over the vocabulary run in one fixed order on every backend: chunks of WEIR_CHUNK ids; in a
 * chunk 32 lanes (lane = id % 32) add their ids in rising order; lanes merge as a butterfly
 * (16, 8, 4, 2, 1); chunks merge as a binary tree over the chunk index, aligned to powers of two
 * (a missing right child passes the left one through). So a shard of whole aligned chunks exchanges
 * one partial and no logits. exp and log are kernels/math/fmath.h. */
enum { WEIR_CHUNK = 1024, WEIR_LANES = 32 };

/* The most that the search for top-p can sum (truncate.h). */
enum { WEIR_VOCAB_MAX = 1 << 23 };

/* Scratch of the accept path's kernels (team.cuh): two buffers of chunk partials and three of bins for every
 * block that may be resident; 10.4 MB at 256,128 ids. */
enum { WEIR_TEAM_BLOCKS = 320 };
static inline int64_t weir__team_chunks(int32_t n_vocab) {
    return ((int64_t)n_vocab + WEIR_CHUNK - 1) / WEIR_CHUNK;
}
static inline int64_t weir__team_floats(int32_t n_vocab) {
    return (8 * weir__team_chunks(n_vocab) + 6144 + 31) / 32 * 32;
}
static inline int64_t weir__accept_cuda_scratch_floats(int32_t n_vocab) {
    return WEIR_TEAM_BLOCKS * weir__team_floats(n_vocab);
}

/* Scratch of the accept path on the CPU, floats for each worker: the probabilities of a row of each model
 * between the passes over them (sweep.h). Longer rows are split among the workers and keep none. */
enum { WEIR_KEPT_IDS = 32768, WEIR_KEPT_ROWS = 3 };
static inline int64_t weir__accept_cpu_scratch_floats(int32_t n_vocab) {
    return n_vocab < WEIR_KEPT_IDS
               ? WEIR_KEPT_ROWS * (((int64_t)n_vocab + WEIR_LANES - 1) / WEIR_LANES * WEIR_LANES)
               : 0;
}

/* Statistics of one row of logits l over ids [0, n_vocab). -inf is a token of probability zero. Raw softmax:
 * e^(l - max) / sum. Processed: w(v) = e^((l - max) / T) where kept(v), else 0, over psum; kept(v) = l > thr
 * or (l == thr and v <= tie): temperature, top-k (ties kept), renormalise, smallest set with cumulative mass
 * >= top_p (ties by lower id), then min-p; T = 0 keeps only the argmax. */
typedef struct weir_row_stats {
    float max;      /* NaN if any logit is NaN or +inf, or all are -inf: the row is unusable */
    int32_t argmax; /* lowest id among equals */
    float sum;      /* raw: sum_v e^(l - max), >= 1 */
    float dot;      /* raw: sum_v (l - max) e^(l - max), <= 0; entropy = log(sum) - dot / sum */
    float thr;      /* kept threshold in logits; -inf keeps all of positive weight */
    int32_t tie;    /* last id kept among l == thr */
    float psum;     /* processed: sum of w */
    float pdot;     /* processed: sum of ((l - max) / T) w */
} weir_row_stats;

/* Row statistics of n_row rows.  logits (n_row, ld) f32, ld >= n_vocab, the tail [n_vocab, ld) is never read.
 * law: law[law_of[r]] gives T, top-k, top-p, min-p of row r. A row with law_of[r] < 0 is dead: its statistics
 * are those of an unusable row, its logits are not read. minmax: (n_row, weir__minmax_count(n_vocab)) as
 * written by the linear op for these logits, or NULL: computed again. The result depends only on the row and
 * its law. Reads 4 * n_row * n_vocab bytes once (twice without minmax), truncation a few times more.
 * EINVAL: n_row < 0, n_vocab <= 0, ld < n_vocab, NULL. */
typedef struct weir_row_stats_args {
    const float *logits;
    int64_t ld, n_row;
    int32_t n_vocab;
    const weir_law *law;
    const int32_t *law_of; /* (n_row) */
    weir_row_stats *out;   /* (n_row) */
    const weir_minmax *minmax;
    float *weights; /* CPU: (n_row, ld) out, w of the live rows (at T = 0 undefined), or NULL */
} weir_row_stats_args;

static inline weir_status weir__row_stats_check(const weir_row_stats_args *a) {
    const bool ok = a->n_row >= 0 && a->n_vocab > 0 && a->n_vocab <= WEIR_VOCAB_MAX && a->ld >= a->n_vocab;
    if (!ok || (a->n_row > 0 && (!a->logits || !a->law || !a->law_of || !a->out))) return WEIR_EINVAL;
    return WEIR_OK;
}

/* Purposes of random numbers; part of the Philox counter. */
enum { WEIR_PURPOSE_DRAFT = 0, WEIR_PURPOSE_ACCEPT = 1, WEIR_PURPOSE_RESIDUAL = 2, WEIR_PURPOSE_BONUS = 3 };

/* One draw per row from the processed distribution: argmin over v of E_v / w(v), w > 0, E_v = -log1p(-u_v),
 * u_v from Philox4x32-10(key = law.key, counter = {v / 4, position, purpose, block_row})[v % 4]; the lowest
 * id among equals. T = 0: the argmax. logp = log(w(token) / psum). A row with stats.max = NaN and a dead row
 * (law_of < 0) give token -1 and logp NaN. */
typedef struct weir_draw_args {
    const float *logits;
    int64_t ld, n_row;
    int32_t n_vocab;
    const weir_law *law;
    const int32_t *law_of;       /* (n_row) */
    const weir_row_stats *stats; /* (n_row) */
    const float *weights;        /* CPU: (n_row, ld) from row_stats, or NULL: computed again */
    const int32_t *position;     /* (n_row) output index of the token that is drawn */
    const int32_t *block_row;    /* (n_row) row in the block under block verification, else 0; NULL = all
                                      0 */
    int32_t purpose;
    int32_t *token; /* (n_row) out */
    float *logp;    /* (n_row) out */
} weir_draw_args;

static inline weir_status weir__draw_check(const weir_draw_args *a) {
    const bool ok = a->n_row >= 0 && a->n_vocab > 0 && a->n_vocab <= WEIR_VOCAB_MAX && a->ld >= a->n_vocab;
    if (!ok || (a->n_row > 0 &&
                (!a->logits || !a->law || !a->law_of || !a->stats || !a->position || !a->token || !a->logp)))
        return WEIR_EINVAL;
    return WEIR_OK;
}

#endif /* WEIR_KERNELS_ACCEPT_STATS_H */
