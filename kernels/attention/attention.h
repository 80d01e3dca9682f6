#ifndef WEIR_KERNELS_ATTENTION_ATTENTION_H
#define WEIR_KERNELS_ATTENTION_ATTENTION_H

#include "kernels/attention/kv.h"

/* o[r][h] = sum_t softmax_t(s[t]) V[t],   s[t] = cap(scale * q[r][h]·K[t]) + bias(h, t - pos[r]) over the
 * positions t in [first, n_key[r]) of slot[r]; query head h reads KV head (head + h) / heads_of_kv. cap(s) =
 * softcap * tanh(s / softcap), the identity where softcap is 0 (Gemma 2, arXiv 2408.00118). first = 0, or
 * max(0, pos[r] + 1 - window) under a sliding window (window > 0): the window includes the row's own
 * position. Decode and verify rows pass n_key = pos + 1 (causal), cross attention the source length, an
 * encoder its own length (bidirectional), or under a window on both sides at most pos + 1 + ahead. n_key[r]
 * >= 1. A row with slot < 0 is dead: its o is set to zeros
 * and nothing else of it is used. o is also zeros where a window leaves no position. Pages wholly outside
 * [first, n_key) are not read, nor their table entries.
 *
 *   head  of a rank's share: the place of its first query head among those of its first KV head
 *   q     (n_row, n_head * head_dim) f32, row stride ldq
 *   o     (n_row, n_head * head_dim) f32, row stride ldo; may not alias q
 *   group rows r … r + group - 1 of every multiple r of group share a slot (dead rows aside), so that a
 *         device can read keys once for all of them; n_row is a multiple of it. 1 is always right and changes
 *         no bit.
 *   prefill  rows are consecutive positions of one slot, chunked as in linear.h
 *   bias  (n_head, bias_left + 1 + bias_right) f32 or NULL: bias(h, d) reads column
 *         clamp(d, -bias_left, bias_right) + bias_left
 *   sinks (n_head) f32 or NULL: the softmax's denominator of head h has exp(sinks[h]) besides, a weight that
 *         no value has (gpt-oss; arXiv 2309.17453, where the sink is a position). -inf: as without. It is
 *         added once, after all positions.
 *
 * Keys are taken page by page at absolute positions and pages are merged in order (online softmax), so a
 * row's result depends on its own n_key and nothing else. The truth is in double. Error of a fast path: |o -
 * truth| <= 2^-24 * max|V| * (2 (head_dim + 8) S + 2 n_key + 32), S the largest over t of scale * sum |q
 * K[t]| + |bias|: an error e of a score is one of 2e of its weight, and the sums add theirs. With a softcap,
 * 24 replaces the 8: two more roundings and a tanh of relative error 2^-21, whose slope is at most 1. With
 * sinks 40 replaces the 32: a sink x above the largest score errs by x 2^-24 of its weight, which moves o by
 * at most ln(n_key) / 4 of these units. For a bf16 pool the truth is computed from the rounded K and V.
 *
 * prefill on a device, bf16 pool, head_dim a multiple of 16 up to 128: tensor cores, for which queries and
 * weights are rounded to bf16, so |o - truth| <= max|V| * (e^(2E) - 1 + 2^-8 + 2^-22 (n_key + 32)), E = (2^-8
 * + 2^-22 (head_dim + 8)) S, 8 and 32 with a cap and with sinks as above: a rounded query moves a score by
 * 2^-8 S at most, a rounded weight the sum by 2^-8 of itself; it is 2^-22 because tensor cores truncate where
 * f32 rounds. In this case a position that other rows of the same 64 look at must not hold infinities or NaN,
 * even if the row itself does not look at it. Every other prefill is computed like decode rows, within the
 * bound above.
 *
 * WEIR_EINVAL  n_row < 0, query heads that do not divide among KV heads or reach past the last, layer out of
 *              range, NULL, softcap, window or ahead < 0, n_row not a multiple of group, a pool that is not
 *              f32 on the CPU, one of f16
 * WEIR_ENOTSUP a device: head_dim over 256
 * WEIR_ENOMEM  a device: not enough scratch for one row (8 rows of an f32 prefill) */
typedef struct weir_attention {
    const weir_kv_view *kv;
    const float *q;
    int64_t ldq;
    float *o;
    int64_t ldo;
    const int32_t *slot, *pos, *n_key; /* (n_row) */
    int64_t n_row;
    int32_t layer, n_head;
    int32_t head, heads_of_kv; /* heads_of_kv 0 = n_head / n_head_kv */
    float scale;
    const float *bias;
    int32_t bias_left, bias_right;
    const float *sinks;
    float softcap;  /* 0 = none */
    int32_t window; /* 0 = none */
    int32_t ahead;  /* with a window: n_key[r] <= pos[r] + 1 + ahead */
    int32_t group;  /* 0 = 1 */
    bool prefill;
} weir_attention;

static inline weir_status weir__attention_check(const weir_attention *a) {
    if (a->n_row < 0 || !a->kv || !a->q || !a->o || !a->slot || !a->pos || !a->n_key) return WEIR_EINVAL;
    if (a->layer < 0 || a->layer >= a->kv->n_layer) return WEIR_EINVAL;
    if (!(a->softcap >= 0.0f) || a->window < 0 || a->ahead < 0 || a->group < 0) return WEIR_EINVAL;
    if (a->group > 1 && a->n_row % a->group != 0) return WEIR_EINVAL;
    if (a->n_head <= 0 || a->head < 0 || a->heads_of_kv < 0) return WEIR_EINVAL;
    if (a->heads_of_kv == 0) return a->head > 0 || a->n_head % a->kv->n_head_kv != 0 ? WEIR_EINVAL : WEIR_OK;
    return (a->head + a->n_head - 1) / a->heads_of_kv >= a->kv->n_head_kv ? WEIR_EINVAL : WEIR_OK;
}

static inline int32_t weir__attention_heads_of_kv(const weir_attention *a) {
    return a->heads_of_kv > 0 ? a->heads_of_kv : a->n_head / a->kv->n_head_kv;
}

/* The KV head that query head h reads. */
static inline int32_t weir__attention_kv_head(const weir_attention *a, int32_t h) {
    return (a->head + h) / weir__attention_heads_of_kv(a);
}

/* First position that live row r looks at. */
static inline int64_t weir__attention_first(const weir_attention *a, int64_t r) {
    const int64_t first = a->window > 0 ? (int64_t)a->pos[r] + 1 - a->window : 0;
    return first < 0 ? 0 : first;
}

enum {
    WEIR_ATTENTION_SPLIT = 128,     /* positions of a split */
    WEIR_ATTENTION_CUDA_DIMS = 256, /* largest head_dim */
};

/* Splits that one row can touch in a table of max_keys positions; window: all that it sees, 0 = no window. */
static inline int32_t weir__attention_cuda_splits(int64_t max_keys, int32_t window) {
    const int64_t all = (max_keys + WEIR_ATTENTION_SPLIT - 1) / WEIR_ATTENTION_SPLIT;
    const int64_t near =
        window > 0 ? ((int64_t)window + WEIR_ATTENTION_SPLIT - 2) / WEIR_ATTENTION_SPLIT + 1 : all;
    return (int32_t)(near < all ? near : all);
}

/* Floats of scratch for n_row rows at once; max_keys = table_stride * WEIR_PAGE. With less, a call is cut
 * into slices of whole groups, or of single rows if not even one group fits; neither changes a bit. */
static inline size_t weir__attention_cuda_scratch_floats(int64_t n_row, int32_t n_head, int32_t head_dim,
                                                         int64_t max_keys, int32_t window) {
    const int32_t splits = weir__attention_cuda_splits(max_keys, window);
    return splits <= 1 ? 0 : (size_t)n_row * (size_t)n_head * (size_t)splits * (size_t)(head_dim + 2);
}

#endif /* WEIR_KERNELS_ATTENTION_ATTENTION_H */
