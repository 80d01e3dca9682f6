#include "kernels/attention/cpu.h"

/* A parallel region costs as much as writing this many floats. */
enum { SERIAL_FLOATS = 1024 };

/* K and V of one head of all rows. */
static void append_head(const weir_kv_append *a, int32_t h) {
    const weir_kv_view *kv = a->kv;
    const int64_t head_dim = kv->head_dim;
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->slot[r] < 0) continue;
        const int64_t t = a->pos[r] % WEIR_PAGE;
        float *keys = weir__kv_block(kv, a->slot[r], a->pos[r], a->layer, h);
        float *values = keys + head_dim * WEIR_PAGE;
        const float *k = a->k + r * a->ld + h * head_dim, *v = a->v + r * a->ld + h * head_dim;
        for (int64_t d = 0; d < head_dim; d++) keys[d * WEIR_PAGE + t] = k[d];
        for (int64_t d = 0; d < head_dim; d++) values[t * head_dim + d] = v[d];
    }
}

static void append_worker(void *arg, int worker, int n_worker) {
    const weir_kv_append *a = arg;
    long begin, end;
    weir__pool_split(a->kv->n_head_kv, 1, worker, n_worker, &begin, &end);
    for (long h = begin; h < end; h++) append_head(a, (int32_t)h);
}

weir_status weir__kv_append_cpu(weir_backend *be, weir_kv_append *a) {
    WEIR_TRY(weir__kv_append_check(a));
    if (a->kv->dtype != WEIR_DTYPE_F32) return WEIR_EINVAL;
    if (a->n_row * a->kv->n_head_kv * a->kv->head_dim < SERIAL_FLOATS)
        append_worker(a, 0, 1);
    else
        weir__pool_run(be->pool, append_worker, a);
    return WEIR_OK;
}
