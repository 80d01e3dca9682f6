#ifndef WEIR_KERNELS_ACCEPT_SWEEP_SWEEP_H
#define WEIR_KERNELS_ACCEPT_SWEEP_SWEEP_H

#include "kernels/accept/sweep/lanes.h"
#include "kernels/accept/sweep/point.h"

/* Probabilities that one thread keeps between the passes over a pair of rows, so that an exponential is taken
 * once. They begin with the statistics of p, or with the first sums, and belong to that pair alone. */
typedef struct weir_kept {
    float *row[WEIR_KEPT_ROWS]; /* (n_vocab) each: q; p; raw of p or of the member */
    const float *q_weights;     /* w of q, or NULL */
    bool weights;               /* p, and its raw ones, are not divided by their sums yet */
    bool ready;                 /* given is filled in */
    weir_given given;
} weir_kept;

/* Internal to the accept path: passes over a whole vocabulary, on the calling thread or split over a
 * pool by subtrees of stats.h's tree. Results do not depend on the split. */
typedef struct weir_env {
    const weir_lanes *lanes;
    weir_pool *pool;         /* NULL: only the calling thread (also inside a region that is split by rows) */
    const weir_given *given; /* of the pair whose sums are asked for, or NULL */
    weir_kept *kept;         /* of the row or pair that is worked on, or NULL */
    float *weights;          /* where the w of a row go whose sums are asked for, or NULL */
    const float *drawn;      /* w of the row that is drawn from, or NULL */
    float *scratch;          /* (workers, n_scratch) of which each thread uses its part, or NULL */
    size_t n_scratch;
} weir_env;

void weir__minmax(const weir_env *env, const float *logits, int32_t n_vocab, int32_t *lo, int32_t *hi);
/* Statistics of a row; NaN on an unusable one (stats.h). */
weir_row_stats weir__row_stats_in(const weir_env *env, const float *logits, int32_t n_vocab,
                                  const weir_law *law);
void weir__row_sums(const weir_env *env, const weir_row_view *r, int32_t n_vocab, float out[4]);

/* At temperature 0 both rows have one positive token each, and only those are read. */
void weir__qp_sums(const weir_env *env, const weir_qp *r, weir_sum_kind kind, int32_t n_vocab, bool point,
                   float out[2]);

/* The token drawn; -1 if no weight is positive. */
int32_t weir__race(const weir_env *env, const weir_race *r, int32_t n_vocab, bool point);

/* Whether several rows of n_vocab ids are better worked on at once than one after another, each split. */
static inline bool weir__shares_rows(int32_t n_vocab) { return n_vocab < WEIR_KEPT_IDS; }

/* Runs `n` independent pieces of `ids` vocabulary entries each: over the pool if that is worth a wake-up (the
 * pieces' env then has no pool), else one after another with `env` itself. */
typedef void (*weir_piece_fn)(void *ctx, const weir_env *env, int64_t piece);
void weir__each(const weir_env *env, weir_piece_fn fn, void *ctx, int64_t n, int64_t ids);

static inline weir_env weir__env_of(weir_isa isa, weir_pool *pool) {
    return (weir_env){.lanes = weir__lanes_of(isa), .pool = pool && weir__pool_size(pool) > 1 ? pool : NULL};
}

/* The env of one worker of a region, which runs its passes alone. */
static inline weir_env weir__env_alone(const weir_env *env, int worker) {
    return (weir_env){.lanes = env->lanes,
                      .scratch = env->scratch ? env->scratch + (size_t)worker * env->n_scratch : NULL,
                      .n_scratch = env->n_scratch};
}

/* Nothing is kept yet, in the calling thread's scratch; false if that is too small. Passes that a pool runs
 * keep nothing. */
bool weir__keep_rows(const weir_env *env, int32_t n_vocab, weir_kept *out);

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_SWEEP_H */
