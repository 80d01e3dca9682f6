#include <math.h>

#include "kernels/accept/cpu.h"
#include "kernels/accept/sweep/sweep.h"

/* Entries before place `at` are at least as large and have smaller ids; the last one is dropped. */
static void insert(weir_top_entry *out, int n_top, int32_t id, float logit) {
    int at = n_top - 1;
    for (; at > 0 && (out[at - 1].id < 0 || logit > out[at - 1].logit); at--) out[at] = out[at - 1];
    out[at] = (weir_top_entry){id, logit};
}

/* Most chunks hold nothing that is large enough: their largest logit shows it. */
static void top_piece(void *ctx, const weir_env *env, int64_t r) {
    const weir_top_args *a = ctx;
    const float *l = a->logits + a->row[r] * a->ld;
    weir_top_entry *out = a->out + r * a->n_top, *last = out + a->n_top - 1;
    for (int i = 0; i < a->n_top; i++) out[i] = (weir_top_entry){-1, NAN};
    if (isnan(a->stats[a->row[r]].max)) return;
    for (int32_t begin = 0; begin < a->n_vocab; begin += WEIR_CHUNK) {
        const int32_t n = a->n_vocab - begin < WEIR_CHUNK ? a->n_vocab - begin : WEIR_CHUNK;
        int32_t lo, hi;
        env->lanes->minmax(l + begin, n, &lo, &hi);
        if (last->id >= 0 && !(weir__order_value(hi) > last->logit)) continue;
        for (int32_t v = begin; v < begin + n; v++)
            if (last->id < 0 || l[v] > last->logit) insert(out, a->n_top, v, l[v] + 0.0f);
    }
}

weir_status weir__top_cpu(weir_backend *be, weir_top_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__top_check(a));
    const weir_env env = weir__env_of(be->isa, be->pool);
    weir__each(&env, top_piece, a, a->n_row, a->n_vocab);
    return WEIR_OK;
}
