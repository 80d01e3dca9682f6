#ifndef WEIR_HOST_RANK_PLAN_H
#define WEIR_HOST_RANK_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* Part of weir.h. */

enum { WEIR_MAX_RANKS = 8 };

/* A rank's part of the memory plan, and of the models ([0] verifier, [1] drafter). */
typedef struct weir_rank_plan {
    int32_t head[2], n_head[2]; /* its query heads: the first, and how many */
    int32_t n_head_kv[2];       /* heads of keys and values that they read; other ranks may have them too */
    int64_t n_ff[2];            /* columns of the feed-forward */
    int64_t id[2], n_id[2];     /* rows of the vocabulary */
    size_t weights[2], kv, scratch, exchange, total; /* bytes; exchange: of scratch, for partial results */
} weir_rank_plan;

#endif /* WEIR_HOST_RANK_PLAN_H */
