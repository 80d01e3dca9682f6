#include <string.h>

#include "kernels/rows/cpu.h"

static weir_status check_live(const weir_row_keys *a) {
    for (int64_t i = 0; i < a->n_row; i++) {
        const int32_t r = a->index ? a->index[i] : (int32_t)i;
        if (a->slot[r] < 0) continue;
        if (a->pos[r] < 0 || (a->cross_len && a->cross_len[a->slot[r]] < 1)) return WEIR_EINVAL;
    }
    return WEIR_OK;
}

weir_status weir__row_keys_cpu(weir_backend *be, weir_row_keys *a) {
    (void)be;
    WEIR_TRY(weir__row_keys_check(a));
    WEIR_TRY(check_live(a));
    for (int64_t i = 0; i < a->n_row; i++) {
        const int32_t r = a->index ? a->index[i] : (int32_t)i;
        const bool live = a->slot[r] >= 0;
        const int32_t slot = live ? a->slot[r] : -1, pos = live ? a->pos[r] : 0;
        if (a->out_slot) a->out_slot[i] = slot;
        if (a->out_pos) a->out_pos[i] = pos;
        if (a->n_key) a->n_key[i] = pos + 1;
        if (a->n_src && a->cross_len) a->n_src[i] = live ? a->cross_len[slot] : 1;
    }
    return WEIR_OK;
}

weir_status weir__gather_cpu(weir_backend *be, weir_gather *a) {
    (void)be;
    WEIR_TRY(weir__gather_check(a));
    for (int64_t i = 0; i < a->n_row; i++) {
        memcpy(a->dst + i * a->ld_dst, a->src + a->index[i] * a->ld_src, (size_t)a->n_col * sizeof(float));
    }
    return WEIR_OK;
}
