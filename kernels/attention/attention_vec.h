/* Attention over the vector of vec.h: included once by each instruction set's file.
 *
 * Each (row, head) walks its keys page by page. K is transposed, so VF scores are one vector and need no
 * horizontal sum; V is stored by position, so an output is a sum of vectors. Both sums are split into
 * independent chains (dimension mod 4, position mod CHAINS), since a single chain would wait for the latency
 * of each multiply-add. */
#include <math.h>
#include <string.h>

#include "kernels/attention/cpu.h"
#include "kernels/math/vec.h"

enum {
    PAGE_VECS = WEIR_PAGE / VF,
    V_GROUP = 4, /* vectors of the output held at once */
};
#if defined(__AVX512F__)
enum { K_GROUP = 4, CHAINS = 4 }; /* 16 accumulators of 32 registers */
#else
enum { K_GROUP = 2, CHAINS = 2 }; /* 8 of 16 */
#endif

/* s[0 … G * VF) = q · K of G vectors of positions from `keys` on. If `keys` is inside a page, the last vector
 * may reach into the next dimension's keys, or from the last dimension into V: those lanes have no meaning,
 * but the memory belongs to the block. */
WEIR_INLINE void scores_group(float *s, const float *q, const float *keys, int64_t head_dim, const int G) {
    vf acc[4][4];
    WEIR_UNROLL for (int c = 0; c < 4; c++) { WEIR_UNROLL for (int g = 0; g < G; g++) acc[c][g] = vf_zero(); }
    int64_t d = 0;
    for (; d + 4 <= head_dim; d += 4) {
        WEIR_UNROLL for (int c = 0; c < 4; c++) {
            const vf qv = vf_set1(q[d + c]);
            WEIR_UNROLL for (int g = 0; g < G; g++) {
                acc[c][g] = vf_fma(qv, vf_load(keys + (d + c) * WEIR_PAGE + g * VF), acc[c][g]);
            }
        }
    }
    for (; d < head_dim; d++) {
        const vf qv = vf_set1(q[d]);
        WEIR_UNROLL for (int g = 0; g < G; g++) {
            acc[0][g] = vf_fma(qv, vf_load(keys + d * WEIR_PAGE + g * VF), acc[0][g]);
        }
    }
    WEIR_UNROLL for (int g = 0; g < G; g++) {
        vf_store(s + g * VF, vf_add(vf_add(acc[0][g], acc[1][g]), vf_add(acc[2][g], acc[3][g])));
    }
}

/* Scores of the first n positions of a page; whole vectors; lanes from n on have no meaning. */
static inline void page_scores(float *s, const float *q, const float *keys, int64_t head_dim, int64_t n) {
    const int n_vec = (int)((n + VF - 1) / VF);
    int v = 0;
    for (; v + K_GROUP <= n_vec; v += K_GROUP) scores_group(s + v * VF, q, keys + v * VF, head_dim, K_GROUP);
#if defined(__AVX512F__)
    if (v + 2 <= n_vec) {
        scores_group(s + v * VF, q, keys + v * VF, head_dim, 2);
        v += 2;
    }
#endif
    if (v < n_vec) scores_group(s + v * VF, q, keys + v * VF, head_dim, 1);
}

/* The bias of positions t0 … t0 + n: a contiguous part of the head's table, or clamped one by one at its
 * ends. */
static inline const float *page_bias(const weir_attention *a, int64_t r, int32_t h, int64_t t0, int64_t n,
                                     float *buffer) {
    const int64_t width = (int64_t)a->bias_left + 1 + a->bias_right;
    const float *row = a->bias + h * width + a->bias_left;
    const int64_t lo = t0 - a->pos[r], hi = lo + n - 1;
    if (lo >= -a->bias_left && hi <= a->bias_right) return row + lo;
    for (int64_t i = 0; i < n; i++) {
        const int64_t d = lo + i;
        buffer[i] = row[d < -a->bias_left ? -a->bias_left : d > a->bias_right ? a->bias_right : d];
    }
    return buffer;
}

static __attribute__((noinline)) void cap_scores(float *s, float scale, float softcap, int64_t n) {
    const vf cap = vf_set1(softcap);
    for (int64_t i = 0; i < n; i += VF)
        vf_store(s + i, vf_softcap(vf_mul(vf_load(s + i), vf_set1(scale)), cap));
}

/* s = scale * s + bias over n positions, -inf after them; returns the maximum. */
static inline float finish_scores(float *s, float scale, const float *bias, int64_t n) {
    vf max = vf_set1(-INFINITY);
    for (int64_t i = 0; i < n; i += VF) {
        const int64_t left = n - i < VF ? n - i : VF;
        vf v = vf_mul(vf_load(s + i), vf_set1(scale));
        if (bias) v = vf_add(v, vf_load_n(bias + i, left));
        v = vf_keep_n(v, left, vf_set1(-INFINITY));
        max = vf_max(max, v);
        vf_store(s + i, v);
    }
    return vf_hmax(max);
}

/* s = e^(s - max); returns the sum. */
static inline float page_weights(float *s, float max, int64_t n) {
    vf sum = vf_zero();
    for (int64_t i = 0; i < n; i += VF) {
        const vf p = vf_exp(vf_sub(vf_load(s + i), vf_set1(max)));
        /* The exponential of -inf is already 0, except where max itself is -inf or NaN. */
        const vf kept = n - i < VF ? vf_keep_n(p, n - i, vf_zero()) : p;
        vf_store(s + i, kept);
        sum = vf_add(sum, kept);
    }
    return vf_sum(sum);
}

/* acc[g] = sum_t p[t] V[t] over n positions for G vectors of dimensions; `tail` lanes in the last. */
WEIR_INLINE void values_group(float *o, const float *p, const float *values, int64_t head_dim, int64_t n,
                              float keep, float scale, bool first, const int G, int64_t tail) {
    vf acc[CHAINS][V_GROUP];
    WEIR_UNROLL for (int c = 0; c < CHAINS; c++) {
        WEIR_UNROLL for (int g = 0; g < G; g++) acc[c][g] = vf_zero();
    }
    int64_t t = 0;
    for (; t + CHAINS <= n; t += CHAINS) {
        WEIR_UNROLL for (int c = 0; c < CHAINS; c++) {
            const float *v = values + (t + c) * head_dim;
            const vf pv = vf_set1(p[t + c]);
            WEIR_UNROLL for (int g = 0; g < G; g++) {
                const vf vv = g == G - 1 && tail < VF ? vf_load_n(v + g * VF, tail) : vf_load(v + g * VF);
                acc[c][g] = vf_fma(pv, vv, acc[c][g]);
            }
        }
    }
    for (; t < n; t++) {
        const float *v = values + t * head_dim;
        const vf pv = vf_set1(p[t]);
        WEIR_UNROLL for (int g = 0; g < G; g++) {
            const vf vv = g == G - 1 && tail < VF ? vf_load_n(v + g * VF, tail) : vf_load(v + g * VF);
            acc[0][g] = vf_fma(pv, vv, acc[0][g]);
        }
    }
    WEIR_UNROLL for (int g = 0; g < G; g++) {
        vf sum = acc[0][g];
        WEIR_UNROLL for (int c = 1; c < CHAINS; c++) sum = vf_add(sum, acc[c][g]);
        const int64_t lanes = g == G - 1 ? tail : VF;
        if (!first) sum = vf_fma(vf_load_n(o + g * VF, lanes), vf_set1(keep), sum);
        vf_store_n(o + g * VF, vf_mul(sum, vf_set1(scale)), lanes);
    }
}

/* o = (keep * o + sum_t p[t] V[t]) * scale, without the first term on the first page. */
static inline void page_values(float *o, const float *p, const float *values, int64_t head_dim, int64_t n,
                               float keep, float scale, bool first) {
    int64_t d = 0;
    for (; d + V_GROUP * VF <= head_dim; d += V_GROUP * VF) {
        values_group(o + d, p, values + d, head_dim, n, keep, scale, first, V_GROUP, VF);
    }
    for (; d + 2 * VF <= head_dim; d += 2 * VF) {
        values_group(o + d, p, values + d, head_dim, n, keep, scale, first, 2, VF);
    }
    for (; d < head_dim; d += VF) {
        const int64_t tail = head_dim - d < VF ? head_dim - d : VF;
        values_group(o + d, p, values + d, head_dim, n, keep, scale, first, 1, tail);
    }
}

static void attend(const weir_attention *a, int64_t r, int32_t h) {
    const weir_kv_view *kv = a->kv;
    const int64_t head_dim = kv->head_dim, n_key = a->n_key[r], first = weir__attention_first(a, r);
    const int32_t h_kv = weir__attention_kv_head(a, h);
    const float *q = a->q + r * a->ldq + h * head_dim;
    float *o = a->o + r * a->ldo + h * head_dim;
    _Alignas(64) float s[WEIR_PAGE], bias_buffer[WEIR_PAGE];
    float max = -INFINITY, sum = 0.0f;
    int64_t n = 0; /* positions of a page: a window may begin inside the first page */
    for (int64_t t0 = first; t0 < n_key; t0 += n) {
        const int64_t in_page = t0 % WEIR_PAGE;
        n = n_key - t0 < WEIR_PAGE - in_page ? n_key - t0 : WEIR_PAGE - in_page;
        const float *block = weir__kv_block(kv, a->slot[r], t0, a->layer, h_kv);
        page_scores(s, q, block + in_page, head_dim, n);
        if (a->softcap > 0.0f) cap_scores(s, a->scale, a->softcap, n);
        const float *bias = a->bias ? page_bias(a, r, h, t0, n, bias_buffer) : NULL;
        const float page_max = finish_scores(s, a->softcap > 0.0f ? 1.0f : a->scale, bias, n);
        const float new_max = page_max > max || t0 == first ? page_max : max;
        const float keep = t0 == first ? 0.0f : expf(max - new_max);
        sum = sum * keep + page_weights(s, new_max, n);
        max = new_max;
        const bool last = t0 + n == n_key;
        if (last && a->sinks) sum += expf(a->sinks[h] - max);
        const float scale = last ? 1.0f / sum : 1.0f;
        page_values(o, s, block + head_dim * WEIR_PAGE + in_page * head_dim, head_dim, n, keep, scale,
                    t0 == first);
    }
}

static void attend_row(const weir_attention *a, int64_t r, int32_t h) {
    if (a->slot[r] >= 0 && weir__attention_first(a, r) < a->n_key[r]) {
        attend(a, r, h);
    } else {
        memset(a->o + r * a->ldo + h * a->kv->head_dim, 0, (size_t)a->kv->head_dim * sizeof *a->o);
    }
}

/* --- among workers --------------------------------------------------------------------------- */

/* A parallel region costs about half a microsecond: this many multiply-adds on one core. */
enum { SERIAL_WORK = 16 * 1024 };

/* (head, row) items, each computed by one worker alone. Heads are outermost: consecutive rows of one session
 * share the keys in the L1 cache. */
static void attention_worker(void *arg, int worker, int n_worker) {
    const weir_attention *a = arg;
    long begin, end;
    weir__pool_split(a->n_row * a->n_head, 1, worker, n_worker, &begin, &end);
    for (int64_t i = begin; i < end; i++) attend_row(a, i % a->n_row, (int32_t)(i / a->n_row));
}

static weir_status run_attention(weir_backend *be, weir_attention *a) {
    WEIR_TRY(weir__attention_check(a));
    if (a->kv->dtype != WEIR_DTYPE_F32) return WEIR_EINVAL;
    int64_t keys = 0;
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->slot[r] >= 0) keys += a->n_key[r] - weir__attention_first(a, r);
    }
    if (2 * keys * a->n_head * a->kv->head_dim < SERIAL_WORK) {
        attention_worker(a, 0, 1);
    } else {
        weir__pool_run(be->pool, attention_worker, a);
    }
    return WEIR_OK;
}
