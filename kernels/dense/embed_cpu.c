#include "kernels/dense/cpu.h"

weir_status weir_embed_cpu(weir_backend *be, weir_embed *a) {
    (void)be;
    WEIR_TRY(weir_embed_check(a));
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->token[r] < 0 || a->token[r] >= a->table->n) return WEIR_EINVAL;
    }
    const int64_t dim = a->table->k;
    for (int64_t r = 0; r < a->n_row; r++) {
        for (int64_t i = 0; i < dim; i++) {
            a->x[r * dim + i] = a->scale * weir_weight_get(a->table, a->token[r], i, false);
        }
    }
    return WEIR_OK;
}
