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

static void permute_row(float *dst, const float *src, const int32_t *order, int64_t n) {
    for (int64_t j = 0; j < n; j++) dst[j] = src[order[j]];
}

static void permute_worker(void *arg, int worker, int n_worker) {
    const weir_permute *a = arg;
    long begin, end;
    weir__pool_split((long)a->n_row, 1, worker, n_worker, &begin, &end);
    for (long r = begin; r < end; r++)
        permute_row(a->dst + r * a->ld_dst, a->src + r * a->ld_src, a->order, a->n_col);
}

weir_status weir__permute_cpu(weir_backend *be, weir_permute *a) {
    enum { FEW = 1 << 15 }; /* elements: less work than a meeting of threads */
    WEIR_TRY(weir__permute_check(a));
    if (a->norm && a->n_row > 0) permute_row(a->norm_dst, a->norm, a->order, a->n_col);
    if (a->n_row * a->n_col <= FEW)
        permute_worker(a, 0, 1);
    else
        weir__pool_run(be->pool, permute_worker, a);
    return WEIR_OK;
}
