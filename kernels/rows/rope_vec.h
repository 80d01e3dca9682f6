/* Rotary embedding over the vector of vec.h: included once by each instruction set's file. A row's cosines
 * are computed once for all its heads; a head is read once for its norm and once to turn, the second time
 * from the L1 cache. */
#include <math.h>

#include "kernels/attention/cpu.h"
#include "kernels/math/sincos.h"
#include "kernels/math/vec.h"
#include "kernels/rows/cpu.h"

enum { SERIAL_FLOATS = 32 * 1024 }; /* work too small to be worth waking the other workers */

/* scale times cos and sin of a row's angles. */
typedef struct angles {
    float cos[WEIR_ROPE_DIMS / 2], sin[WEIR_ROPE_DIMS / 2];
} angles;

static void angles_of(const weir_rope *a, int32_t pos, angles *t) {
    const float p = (float)pos;
    for (int32_t i = 0; i < a->n_dim / 2; i++) {
        float s, c;
        wf_sincos(p * a->inv_freq[i], &s, &c);
        t->cos[i] = a->scale * c;
        t->sin[i] = a->scale * s;
    }
}

/* x += b */
static void add_to(float *x, const float *b, int64_t n) {
    int64_t i = 0;
    for (; i + VF <= n; i += VF) vf_store(x + i, vf_add(vf_load(x + i), vf_load(b + i)));
    if (i < n) vf_store_n(x + i, vf_add(vf_load_n(x + i, n - i), vf_load_n(b + i, n - i)), n - i);
}

static void normalise(float *x, const float *norm, float eps, int64_t n) {
    const vf factor = vf_set1(1.0f / sqrtf(vf_sum_sq(x, n) / (float)n + eps));
    int64_t i = 0;
    for (; i + VF <= n; i += VF) vf_store(x + i, vf_mul(vf_mul(vf_load(x + i), factor), vf_load(norm + i)));
    if (i < n)
        vf_store_n(x + i, vf_mul(vf_mul(vf_load_n(x + i, n - i), factor), vf_load_n(norm + i, n - i)), n - i);
}

static void turn_halves(float *x, const angles *t, int64_t half) {
    for (int64_t i = 0; i < half; i += VF) {
        const int64_t n = half - i < VF ? half - i : VF;
        const vf u = vf_load_n(x + i, n), w = vf_load_n(x + half + i, n);
        const vf c = vf_load_n(t->cos + i, n), s = vf_load_n(t->sin + i, n);
        vf_store_n(x + i, vf_sub(vf_mul(u, c), vf_mul(w, s)), n);
        vf_store_n(x + half + i, vf_fma(w, c, vf_mul(u, s)), n);
    }
}

static void turn_pairs(float *x, const angles *t, int64_t half) {
    for (int64_t i = 0; i < half; i++) {
        const float u = x[2 * i], w = x[2 * i + 1];
        x[2 * i] = u * t->cos[i] - w * t->sin[i];
        x[2 * i + 1] = w * t->cos[i] + u * t->sin[i];
    }
}

static void prepare_heads(const weir_rope *a, float *x, int32_t n_head, const float *norm, const angles *t) {
    for (int32_t h = 0; h < n_head; h++, x += a->head_dim) {
        if (norm) normalise(x, norm, a->eps, a->head_dim);
        if (a->interleaved) {
            turn_pairs(x, t, a->n_dim / 2);
        } else {
            turn_halves(x, t, a->n_dim / 2);
        }
    }
}

static void rope_worker(void *arg, int worker, int n_worker) {
    const weir_rope *a = arg;
    const int64_t n_q = (int64_t)a->n_head * a->head_dim, n_kv = (int64_t)a->n_head_kv * a->head_dim;
    angles t;
    long begin, end;
    weir__pool_split(a->n_row, 1, worker, n_worker, &begin, &end);
    for (long r = begin; r < end; r++) {
        if (a->slot[r] < 0) continue;
        float *q = a->q + r * a->ld, *k = a->k + r * a->ld;
        if (a->bias) {
            add_to(q, a->bias, n_q);
            add_to(k, a->bias + n_q, n_kv);
            add_to(a->v + r * a->ld, a->bias + n_q + n_kv, n_kv);
        }
        angles_of(a, a->pos[r], &t);
        prepare_heads(a, q, a->n_head, a->q_norm, &t);
        prepare_heads(a, k, a->n_head_kv, a->k_norm, &t);
    }
}

static weir_status run_rope(weir_backend *be, weir_rope *a) {
    WEIR_TRY(weir__rope_check(a));
    if (a->n_row <= SERIAL_FLOATS / a->ld) {
        rope_worker(a, 0, 1);
    } else {
        weir__pool_run(be->pool, rope_worker, a);
    }
    weir_kv_append append = weir__rope_append(a);
    return a->kv ? weir__kv_append_cpu(be, &append) : WEIR_OK;
}
