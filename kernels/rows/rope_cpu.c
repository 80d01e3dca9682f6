#include <math.h>

#include "kernels/attention/cpu.h"
#include "kernels/rows/cpu.h"

/* u[i] of one head, after bias and norm. */
static double factor_of(const float *x, const float *bias, int32_t n, float eps) {
    double sum_sq = 0.0;
    for (int32_t i = 0; i < n; i++) {
        const double u = (double)x[i] + (bias ? (double)bias[i] : 0.0);
        sum_sq += u * u;
    }
    return 1.0 / sqrt(sum_sq / (double)n + (double)eps);
}

static void prepare_head(const weir_rope *a, float *x, const float *bias, const float *norm, int32_t pos) {
    const int32_t n = a->head_dim, half = a->n_dim / 2;
    const double factor = norm ? factor_of(x, bias, n, a->eps) : 1.0;
    for (int32_t i = 0; i < n; i++) {
        const bool first = a->interleaved ? i % 2 == 0 : i < half;
        if (i < a->n_dim && !first) continue; /* with its partner */
        const int32_t j = i >= a->n_dim ? i : a->interleaved ? i + 1 : i + half;
        double u = (double)x[i] + (bias ? (double)bias[i] : 0.0),
               w = (double)x[j] + (bias ? (double)bias[j] : 0.0);
        if (norm) u *= factor * (double)norm[i], w *= factor * (double)norm[j];
        if (i == j) {
            x[i] = (float)u;
            continue;
        }
        const float turn = (float)pos * a->inv_freq[a->interleaved ? i / 2 : i];
        const double c = (double)a->scale * cos((double)turn), s = (double)a->scale * sin((double)turn);
        x[i] = (float)(u * c - w * s);
        x[j] = (float)(w * c + u * s);
    }
}

weir_status weir__rope_cpu(weir_backend *be, weir_rope *a) {
    WEIR_TRY(weir__rope_check(a));
    const int64_t n = a->head_dim, n_q = a->n_head * n, n_kv = a->n_head_kv * n;
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->slot[r] < 0) continue;
        const int64_t at = r * a->ld;
        for (int64_t i = 0; i < n_q; i += n)
            prepare_head(a, a->q + at + i, a->bias ? a->bias + i : NULL, a->q_norm, a->pos[r]);
        for (int64_t i = 0; i < n_kv; i += n) {
            prepare_head(a, a->k + at + i, a->bias ? a->bias + n_q + i : NULL, a->k_norm, a->pos[r]);
        }
        for (int64_t i = 0; a->bias && i < n_kv; i++) a->v[at + i] += a->bias[n_q + n_kv + i];
    }
    weir_kv_append append = weir__rope_append(a);
    return a->kv ? weir__kv_append_cpu(be, &append) : WEIR_OK;
}
