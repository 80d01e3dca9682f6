#ifndef WEIR_KERNELS_MOE_GLU_H
#define WEIR_KERNELS_MOE_GLU_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

#define WEIR_GLU_SLOPE 1.702f /* of the sigmoid; as GELU's approximation has it (arXiv 1606.08415) */

/* The clamped gated unit of gpt-oss (arXiv 2508.10925; linear units with a gate: 2002.05202), in place:
 *
 *   y[r][i] = (u + 1) g / (1 + exp(-1.702 g)),   g = min(x[r][i] + bias[e][i], limit)
 *                                                u = clamp(x[r][n_col + i] + bias[e][n_col + i], ±limit)
 *
 *   x      (n_row, 2 n_col) f32, row stride ld: gate, then up; y takes the place of the gate, up is left
 *   begin  (n_group + 1) rows [begin[e], begin[e + 1]) are of group e (linear.h): its biases
 *   bias   (n_group, 2 n_col)
 *
 * All in backend memory. Rows before the first group and past the last are left as they are. NaN stays NaN.
 * With G = |x| + |bias| of the gate and U the same of up,
 * |y - truth| <= 2^-24 ((|u| + 1) (2 G + 1) + U |g| + 16 |y|).
 * WEIR_EINVAL  n_row or n_col < 0, n_group < 1, ld < 2 n_col, NULL, limit not above 0 */
typedef struct weir_glu {
    float *x;
    int64_t ld;
    const float *bias;
    const int32_t *begin;
    int32_t n_group;
    float limit;
    int64_t n_row, n_col;
} weir_glu;

static inline weir_status weir__glu_check(const weir_glu *a) {
    if (a->n_row < 0 || a->n_col < 0 || a->n_group < 1 || a->ld < 2 * a->n_col) return WEIR_EINVAL;
    return !a->x || !a->bias || !a->begin || !(a->limit > 0.0f) ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_MOE_GLU_H */
