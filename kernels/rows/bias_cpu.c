#include "kernels/rows/cpu.h"

weir_status weir__bias_cpu(weir_backend *be, weir_bias *a) {
    (void)be;
    WEIR_TRY(weir__bias_check(a));
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t i = 0; i < a->dim; i++) a->x[r * a->ld + i] += a->bias[i];
    return WEIR_OK;
}
