#ifndef WEIR_KERNELS_ROWS_BIAS_H
#define WEIR_KERNELS_ROWS_BIAS_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* x[r][i] += bias[i], one rounding; f32 in backend memory
 *   x     (n_row, dim), row stride ld >= dim
 *   bias  (dim)
 * Moves 4 * (2 * n_row + 1) * dim bytes. WEIR_EINVAL  n_row or dim < 0, ld < dim, NULL */
typedef struct weir_bias {
    float *x;
    int64_t ld;
    const float *bias;
    int64_t n_row, dim;
} weir_bias;

static inline weir_status weir__bias_check(const weir_bias *a) {
    if (a->n_row < 0 || a->dim < 0 || a->ld < a->dim) return WEIR_EINVAL;
    return !a->x || !a->bias ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_ROWS_BIAS_H */
