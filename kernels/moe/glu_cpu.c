#include <math.h>

#include "kernels/moe/cpu.h"

static void unit(const weir_glu *a, int64_t r, const float *bias) {
    const float limit = a->limit;
    float *gate = a->x + r * a->ld;
    const float *up = gate + a->n_col;
    for (int64_t i = 0; i < a->n_col; i++) {
        const double g = (double)gate[i] + (double)bias[i], u = (double)up[i] + (double)bias[a->n_col + i];
        const double top = (double)limit, low = g > top ? top : g, mid = u > top ? top : u < -top ? -top : u;
        gate[i] = (float)((mid + 1.0) * low / (1.0 + exp(-(double)WEIR_GLU_SLOPE * low)));
    }
}

weir_status weir__glu_cpu(weir_backend *be, weir_glu *a) {
    (void)be;
    WEIR_TRY(weir__glu_check(a));
    for (int32_t e = 0; e < a->n_group; e++)
        for (int32_t r = a->begin[e]; r < a->begin[e + 1]; r++) unit(a, r, a->bias + 2 * a->n_col * e);
    return WEIR_OK;
}
