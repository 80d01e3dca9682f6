#ifndef WEIR_HOST_RANK_PLAN_H
#define WEIR_HOST_RANK_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* Part of weir.h. */

enum { WEIR_MAX_RANKS = 8 };

/* A rank's part of the memory plan, and of the models ([0] verifier, [1] drafter). */
typedef struct weir_rank_plan {
    int32_t head[2], n_head[2]; /* its query heads: the first, and how many */
    int32_t n_head_kv[2];       /* heads of keys and values that they read; other ranks may have them too */
    int64_t n_ff[2];            /* columns of the feed-forward */
    int32_t expert[2], n_expert[2]; /* experts of a mixture's layers; of the shared one, a part */
    int64_t id[2], n_id[2];         /* rows of the vocabulary */
    size_t weights[2], kv, scratch, exchange, total; /* bytes; exchange: of scratch, for partial results */
} weir_rank_plan;

/* What the ranks of an engine have done so far. */
typedef struct weir_ranks_facts {
    int n_rank;                /* 1: there is no group, and the following is 0 */
    uint64_t exchanges, bytes; /* bytes: that rank 0 has given to each of the others in them */
    bool ended;                /* the group has failed, as far as this rank has heard; */
    weir_err why;              /* the reason */
} weir_ranks_facts;

#endif /* WEIR_HOST_RANK_PLAN_H */
