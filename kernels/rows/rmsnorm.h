#ifndef WEIR_KERNELS_ROWS_RMSNORM_H
#define WEIR_KERNELS_ROWS_RMSNORM_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* y[r][i] (+)= x[r][i] / sqrt(mean_i(x[r][i]^2) + eps) * w[i];   added if `add` is set (a norm after a
 * sub-layer, Gemma 2)
 *   x, y  (n_row, dim) f32, row stride ld of both; only [0, dim) of a row is read and written; y == x is
 *         allowed without `add`
 *   ld    >= dim, or 0 for dim (a part of a product's row: all heads of q, OLMo 2)
 *   w     (dim) f32
 * The order of the sum depends only on dim. Moves 4 * (2 * n_row * dim + dim) bytes, plus 4 * n_row * dim
 * with `add`.
 * WEIR_EINVAL  n_row < 0, dim <= 0, ld short, NULL, y == x with add */
typedef struct weir_rmsnorm {
    float *y;
    const float *x, *w;
    int64_t n_row, dim, ld;
    float eps;
    bool add;
} weir_rmsnorm;

static inline int64_t weir__rmsnorm_ld(const weir_rmsnorm *a) { return a->ld ? a->ld : a->dim; }

static inline weir_status weir__rmsnorm_check(const weir_rmsnorm *a) {
    if (a->n_row < 0 || a->dim <= 0 || !a->x || !a->y || !a->w) return WEIR_EINVAL;
    if (weir__rmsnorm_ld(a) < a->dim) return WEIR_EINVAL;
    return a->add && a->y == a->x ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_ROWS_RMSNORM_H */
