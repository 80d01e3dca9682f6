#include <math.h>

#include "kernels/moe/cpu.h"

weir_status weir__combine_cpu(weir_backend *be, weir_combine *a) {
    (void)be;
    WEIR_TRY(weir__combine_check(a));
    for (int64_t r = 0; r < a->n_row; r++) {
        const int32_t *place = a->place + r * a->n_used;
        const int32_t *expert = a->expert ? a->expert + r * a->n_used : NULL;
        const float *weight = a->weight + r * a->n_used;
        const float *shared = a->shared ? a->shared + r * a->ld_shared : NULL;
        const double share = a->gate ? 1.0 / (1.0 + exp(-(double)a->gate[r])) : 0.0;
        float *y = a->y + r * a->ldy;
        if (place[0] < 0) continue;
        for (int64_t i = 0; i < a->dim; i++) {
            double sum = 0.0;
            for (int32_t j = 0; j < a->n_used; j++) {
                const double bias = expert ? (double)a->bias[expert[j] * a->dim + i] : 0.0;
                sum += (double)weight[j] * ((double)a->part[place[j] * a->ld + i] + bias);
            }
            if (shared) sum += share * (double)shared[i];
            y[i] += (float)sum;
        }
    }
    return WEIR_OK;
}
