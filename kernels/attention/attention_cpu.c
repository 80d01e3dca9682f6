#include <math.h>
#include <string.h>

#include "kernels/attention/cpu.h"

enum { DIM_TILE = 256 }; /* dimensions whose double sums are held at once */

static double score(const weir_attention *a, int64_t r, int32_t h, int64_t t) {
    const weir_kv_view *kv = a->kv;
    const int64_t head_dim = kv->head_dim;
    const float *q = a->q + r * a->ldq + h * head_dim;
    const float *keys = weir__kv_block(kv, a->slot[r], t, a->layer, weir__attention_kv_head(a, h));
    double sum = 0.0;
    for (int64_t d = 0; d < head_dim; d++) {
        sum += (double)q[d] * (double)keys[d * WEIR_PAGE + t % WEIR_PAGE];
    }
    sum *= (double)a->scale;
    if (a->softcap > 0.0f) sum = (double)a->softcap * tanh(sum / (double)a->softcap);
    if (!a->bias) return sum;
    int64_t at = t - a->pos[r];
    at = at < -a->bias_left ? -a->bias_left : at > a->bias_right ? a->bias_right : at;
    const int64_t width = (int64_t)a->bias_left + 1 + a->bias_right;
    return sum + (double)a->bias[h * width + at + a->bias_left];
}

static void attend(const weir_attention *a, int64_t r, int32_t h) {
    const weir_kv_view *kv = a->kv;
    const int64_t head_dim = kv->head_dim;
    float *o = a->o + r * a->ldo + h * head_dim;
    const int64_t first = weir__attention_first(a, r);
    double max = -INFINITY;
    for (int64_t t = first; t < a->n_key[r]; t++) max = fmax(max, score(a, r, h, t));

    for (int64_t d0 = 0; d0 < head_dim; d0 += DIM_TILE) {
        const int64_t n = head_dim - d0 < DIM_TILE ? head_dim - d0 : DIM_TILE;
        double acc[DIM_TILE] = {0}, sum = 0.0;
        for (int64_t t = first; t < a->n_key[r]; t++) {
            const double p = exp(score(a, r, h, t) - max);
            const float *v = weir__kv_block(kv, a->slot[r], t, a->layer, weir__attention_kv_head(a, h)) +
                             head_dim * WEIR_PAGE + t % WEIR_PAGE * head_dim;
            sum += p;
            for (int64_t d = 0; d < n; d++) acc[d] += p * (double)v[d0 + d];
        }
        if (a->sinks) sum += exp((double)a->sinks[h] - max);
        for (int64_t d = 0; d < n; d++) o[d0 + d] = (float)(acc[d] / sum);
    }
}

weir_status weir__attention_cpu(weir_backend *be, weir_attention *a) {
    (void)be;
    WEIR_TRY(weir__attention_check(a));
    if (a->kv->dtype != WEIR_DTYPE_F32) return WEIR_EINVAL;
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->slot[r] < 0 || weir__attention_first(a, r) >= a->n_key[r]) {
            memset(a->o + r * a->ldo, 0, (size_t)a->n_head * (size_t)a->kv->head_dim * sizeof *a->o);
            continue;
        }
        for (int32_t h = 0; h < a->n_head; h++) attend(a, r, h);
    }
    return WEIR_OK;
}
