#include <math.h>

#include "kernels/linear/cpu.h"
#include "kernels/weight/quant.h"

static double activate(weir_epilogue e, double d) {
    switch (e) {
    case WEIR_EPI_STORE:
    case WEIR_EPI_ADD:
    case WEIR_EPI_MUL: return d;
    case WEIR_EPI_RELU: return d < 0.0 ? 0.0 : d; /* NaN passes through */
    case WEIR_EPI_GELU_TANH: return 0.5 * d * (1.0 + tanh(sqrt(2.0 / M_PI) * (d + 0.044715 * d * d * d)));
    case WEIR_EPI_GELU_ERF: return 0.5 * d * (1.0 + erf(d / sqrt(2.0)));
    case WEIR_EPI_SILU: return d / (1.0 + exp(-d));
    }
    return d;
}

/* 1 / sqrt(mean(x^2) + eps), or 1 where nothing is normalised. */
static double row_factor(const weir_linear *a, const float *x) {
    if (!a->norm) return 1.0;
    double sum_sq = 0.0;
    for (int64_t i = 0; i < a->w->k; i++) sum_sq += (double)x[i] * (double)x[i];
    return 1.0 / sqrt(sum_sq / (double)a->w->k + (double)a->eps);
}

static double input(const weir_linear *a, const float *x, double factor, int64_t i) {
    return a->norm ? (double)x[i] * factor * (double)a->norm[i] : (double)x[i];
}

/* Of inputs [begin, end). */
static double part_of_dot(const weir_linear *a, const float *x, double factor, int64_t n, bool up,
                          int64_t begin, int64_t end) {
    const int block = weir_dtype_block(a->w->dtype);
    float w[WEIR_QUANT_BLOCK];
    double sum = 0.0;
    for (int64_t i = begin; i < end; i += block) {
        if (block == 1) {
            w[0] = weir__weight_get(a->w, n, i, up);
        } else {
            weir__weight_block(a->w, n, i / block, up, w);
        }
        for (int j = 0; j < block; j++) sum += input(a, x, factor, i + j) * (double)w[j];
    }
    return sum;
}

static double dot(const weir_linear *a, const float *x, double factor, int64_t n, bool up) {
    const weir_segments *s = &a->w->segments;
    if (a->w->split == WEIR_SPLIT_OUTPUTS) return part_of_dot(a, x, factor, n, up, 0, a->w->k);
    float kept[WEIR_SEGMENTS], sum = 0.0f;
    for (int g = 0, n_kept = 0; g < s->n; g++) {
        sum = (float)part_of_dot(a, x, factor, n, up, g ? s->end[g - 1] : 0, s->end[g]);
        for (int m = s->merges[g]; m > 0; m--) sum = kept[--n_kept] + sum;
        kept[n_kept++] = sum;
    }
    return (double)sum;
}

static weir_status check_groups(const weir_linear *a) {
    const weir_groups *g = a->groups;
    if (g->begin[0] < 0 || g->begin[g->n] > a->n_row) return WEIR_EINVAL;
    for (int32_t i = 0; i < g->n; i++) {
        const int64_t rows = (int64_t)g->begin[i + 1] - g->begin[i];
        if (rows < 0 || rows > g->most) return WEIR_EINVAL;
    }
    return WEIR_OK;
}

weir_status weir__linear_each_group(weir_backend *be, const weir_linear *a,
                                    weir_status (*one)(weir_backend *be, weir_linear *a)) {
    WEIR_TRY(check_groups(a));
    for (int32_t i = 0; i < a->groups->n; i++) {
        const int32_t begin = a->groups->begin[i], n = a->groups->begin[i + 1] - begin;
        if (n == 0) continue;
        const weir_weight w = weir__weight_at(a->w, i);
        weir_linear of = *a;
        of.w = &w, of.x += begin * a->ldx, of.y += begin * a->ldy, of.n_row = n, of.groups = NULL;
        WEIR_TRY(one(be, &of));
    }
    return WEIR_OK;
}

weir_status weir__linear_cpu(weir_backend *be, weir_linear *a) {
    WEIR_TRY(weir__linear_check(a));
    if (a->groups) return weir__linear_each_group(be, a, weir__linear_cpu);
    for (int64_t r = 0; r < a->n_row; r++) {
        const float *x = a->x + r * a->ldx;
        float *y = a->y + r * a->ldy;
        const double factor = row_factor(a, x);
        for (int64_t n = 0; n < a->w->n; n++) {
            double d = activate(a->epilogue, (double)a->scale * dot(a, x, factor, n, false));
            if (a->softcap > 0.0f) d = (double)a->softcap * tanh(d / (double)a->softcap);
            if (a->w->gated) d *= dot(a, x, factor, n, true);
            if (a->epilogue == WEIR_EPI_ADD) d = (double)(float)d + (double)y[n];
            if (a->epilogue == WEIR_EPI_MUL) d *= (double)y[n];
            y[n] = (float)d;
        }
    }
    return weir__linear_keep(be, a);
}
