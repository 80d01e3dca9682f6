#include <math.h>

#include "kernels/rows/cpu.h"

weir_status weir__rmsnorm_cpu(weir_backend *be, weir_rmsnorm *a) {
    (void)be;
    WEIR_TRY(weir__rmsnorm_check(a));
    for (int64_t r = 0; r < a->n_row; r++) {
        const float *x = a->x + r * weir__rmsnorm_ld(a);
        float *y = a->y + r * weir__rmsnorm_ld(a);
        double sum_sq = 0.0;
        for (int64_t i = 0; i < a->dim; i++) sum_sq += (double)x[i] * (double)x[i];
        const double inv = 1.0 / sqrt(sum_sq / (double)a->dim + (double)a->eps);
        for (int64_t i = 0; i < a->dim; i++) {
            const double v = (double)x[i] * inv * (double)a->w[i];
            y[i] = (float)(a->add ? (double)y[i] + v : v);
        }
    }
    return WEIR_OK;
}
