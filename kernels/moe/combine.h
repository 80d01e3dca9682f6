#ifndef WEIR_KERNELS_MOE_COMBINE_H
#define WEIR_KERNELS_MOE_COMBINE_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* y[r] += sum_j weight[r][j] (part[place[r][j]] + bias[expert[r][j]]) + sigmoid(gate[r]) shared[r]
 *
 *   y       (n_row, dim), row stride ldy
 *   part    (entries, dim), row stride ld: what experts returned (route.h)
 *   place   (n_row, n_used) entries; a row whose first is below 0 is dead: it stays as it is
 *   weight  (n_row, n_used)
 *   bias    (n_expert, dim) of what the experts returned, or NULL
 *   expert  (n_row, n_used) ids below n_expert; NULL where bias is; of dead rows not looked at
 *   shared  (n_row, dim), row stride ld_shared, what an expert of all rows returned; or NULL
 *   gate    (n_row) logits of its weight; NULL where shared is
 *
 * All f32 in backend memory; y aliases nothing. The sum over j runs from 0 up, the shared term comes last,
 * and their sum is rounded before it is added to y: a row's bits depend on nothing else. Errs by (n_used + 9)
 * 2^-24 of the sum of the terms' magnitudes (|weight| (|part| + |bias|)), and by 2^-24 |y|.
 * WEIR_EINVAL  n_row or dim < 0, n_used < 1, strides below dim, NULL, one of shared and gate or of bias and
 *              expert alone */
typedef struct weir_combine {
    float *y;
    int64_t ldy;
    const float *part;
    int64_t ld;
    const int32_t *place;
    const float *weight;
    int32_t n_used;
    const float *bias;
    const int32_t *expert;
    const float *shared;
    int64_t ld_shared;
    const float *gate;
    int64_t n_row, dim;
} weir_combine;

static inline weir_status weir__combine_check(const weir_combine *a) {
    if (a->n_row < 0 || a->dim < 0 || a->n_used < 1 || a->ldy < a->dim || a->ld < a->dim) return WEIR_EINVAL;
    if (!a->y || !a->part || !a->place || !a->weight || !a->shared != !a->gate || !a->bias != !a->expert)
        return WEIR_EINVAL;
    return a->shared && a->ld_shared < a->dim ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_MOE_COMBINE_H */
