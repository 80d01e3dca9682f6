#ifndef WEIR_KERNELS_MOE_ROUTE_H
#define WEIR_KERNELS_MOE_ROUTE_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

enum { WEIR_EXPERTS = 1024, WEIR_EXPERTS_USED = 32 }; /* most of a layer, and of a row */

/* The n_used likeliest experts of every row, by falling logit (equal ones: the lower id first; NaN counts as
 * the largest), and the entries (row, expert) sorted by expert, then by row.
 *
 * The logits l are those of the product plus the biases, rounded to f32.
 *
 *   weight[r][j] = exp(l_j) / sum exp(l_i)     over all experts i if over_all (softmax before the choice),
 *                                              else over the chosen ones: those weights add up to 1
 *
 *   logits  (n_row, n_expert) f32, row stride ld >= n_expert
 *   bias    (n_expert) f32 or NULL
 *   slot    (n_row): a row below 0 is dead, it goes nowhere; NULL: no row is
 *   expert  (n_row, n_used); dead rows: -1
 *   weight  (n_row, n_used); dead rows: 0
 *   begin   (n_expert + 1) entries [begin[e], begin[e + 1]) are those of expert e
 *   row     (n_row * n_used) of each entry; 0 from begin[n_expert] on
 *   owner   (n_row * n_used) its expert; 0 from begin[n_expert] on
 *   place   (n_row, n_used) the entry of a row's j-th expert; dead rows: -1
 *
 * All arrays are backend memory, results do not alias inputs. A row's choice and weights depend on its logits
 * alone. A weight errs by (n + 8 + d) 2^-24 of itself where n exponentials are added and its logit is d below
 * the largest. A row whose logits hold NaN or +inf has NaN weights.
 * WEIR_EINVAL  n_row < 0, n_used < 1 or above n_expert or WEIR_EXPERTS_USED, n_expert above WEIR_EXPERTS,
 *              ld < n_expert, NULL, more than INT32_MAX entries */
typedef struct weir_route {
    const float *logits;
    int64_t ld;
    const float *bias;
    const int32_t *slot;
    int64_t n_row;
    int32_t n_expert, n_used;
    bool over_all;
    float *weight;
    int32_t *expert, *begin, *row, *owner, *place;
} weir_route;

static inline weir_status weir__route_check(const weir_route *a) {
    if (a->n_row < 0 || a->n_used < 1 || a->n_used > a->n_expert) return WEIR_EINVAL;
    if (a->n_used > WEIR_EXPERTS_USED || a->n_expert > WEIR_EXPERTS || a->ld < a->n_expert)
        return WEIR_EINVAL;
    if (a->n_row > INT32_MAX / WEIR_EXPERTS_USED) return WEIR_EINVAL;
    if (!a->logits || !a->weight || !a->expert || !a->begin || !a->row || !a->owner || !a->place)
        return WEIR_EINVAL;
    return WEIR_OK;
}

#endif /* WEIR_KERNELS_MOE_ROUTE_H */
