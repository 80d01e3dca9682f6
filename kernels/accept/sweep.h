#ifndef WEIR_KERNELS_ACCEPT_SWEEP_H
#define WEIR_KERNELS_ACCEPT_SWEEP_H

#include "kernels/accept/lanes.h"
#include "kernels/accept/point.h"

/* Internal to the accept path: passes over a whole vocabulary, on the calling thread or split over a
 * pool by subtrees of stats.h's tree. Results do not depend on the split. */
typedef struct weir_env {
    const weir_lanes *lanes;
    weir_pool *pool;         /* NULL: only the calling thread (also inside a region that is split by rows) */
    const weir_given *given; /* of the pair whose sums are asked for, or NULL */
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

/* Runs `n` independent pieces of `ids` vocabulary entries each: over the pool if that is worth a wake-up (the
 * pieces' env then has no pool), else one after another with `env` itself. */
typedef void (*weir_piece_fn)(void *ctx, const weir_env *env, int64_t piece);
void weir__each(const weir_env *env, weir_piece_fn fn, void *ctx, int64_t n, int64_t ids);

static inline weir_env weir__env_of(weir_isa isa, weir_pool *pool) {
    return (weir_env){weir__lanes_of(isa), pool && weir__pool_size(pool) > 1 ? pool : NULL, NULL};
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_H */
