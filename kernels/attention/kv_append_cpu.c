#include "kernels/attention/cpu.h"

weir_status weir__kv_append_cpu(weir_backend *be, weir_kv_append *a) {
    (void)be;
    WEIR_TRY(weir__kv_append_check(a));
    const weir_kv_view *kv = a->kv;
    if (kv->dtype != WEIR_DTYPE_F32) return WEIR_EINVAL;
    const int64_t head_dim = kv->head_dim;
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->slot[r] < 0) continue;
        const int64_t t = a->pos[r] % WEIR_PAGE;
        for (int32_t h = 0; h < kv->n_head_kv; h++) {
            float *keys = weir__kv_block(kv, a->slot[r], a->pos[r], a->layer, h);
            float *values = keys + head_dim * WEIR_PAGE;
            const float *k = a->k + r * a->ld + h * head_dim, *v = a->v + r * a->ld + h * head_dim;
            for (int64_t d = 0; d < head_dim; d++) keys[d * WEIR_PAGE + t] = k[d];
            for (int64_t d = 0; d < head_dim; d++) values[t * head_dim + d] = v[d];
        }
    }
    return WEIR_OK;
}
