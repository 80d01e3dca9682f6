#ifndef WEIR_KERNELS_DENSE_ATTENTION_H
#define WEIR_KERNELS_DENSE_ATTENTION_H

#include "kernels/dense/kv.h"

/* o[r][h] = sum_t softmax_t(s[t]) V[t],   s[t] = cap(scale * q[r][h]·K[t]) + bias(h, t - pos[r])
 * over the positions t in [first, n_key[r]) of slot[r]; query head h reads KV head h / (n_head / n_head_kv).
 * cap(s) = softcap * tanh(s / softcap), the identity where softcap is 0 (Gemma 2, arXiv 2408.00118). first = 0, or
 * max(0, pos[r] + 1 - window) under a sliding window (window > 0): the row's own position counts as one of it.
 * Decode and verify rows pass n_key = pos + 1 (causal), cross attention the source length, an encoder
 * its own length (bidirectional). n_key[r] >= 1. A row with slot < 0 is dead: its o is zeros and nothing else of it is
 * read; so is o where a window leaves no position. Pages wholly outside [first, n_key) are not read, nor their table entries.
 *
 *   q     (n_row, n_head * head_dim) f32, row stride ldq
 *   o     (n_row, n_head * head_dim) f32, row stride ldo; may not alias q
 *   group rows r … r + group - 1 of every multiple r of group share a slot (dead rows aside), so that a device can read
 *         keys once for all of them; n_row is a multiple of it. 1 is always right and changes no bit.
 *   prefill  rows are consecutive positions of one slot, chunked as in linear.h
 *   bias  (n_head, bias_left + 1 + bias_right) f32 or NULL: bias(h, d) reads column
 *         clamp(d, -bias_left, bias_right) + bias_left
 *
 * Keys are taken page by page at absolute positions and pages are merged in order (online softmax), so a
 * row's result depends on its own n_key and nothing else. Truth in double; error of a fast path:
 * |o - truth| <= 2^-24 * max|V| * (2 (head_dim + 8) S + 2 n_key + 32), S the largest over t of
 * scale * sum |q K[t]| + |bias|: an error e of a score is one of 2e of its weight, and the sums add theirs. With a softcap
 * 24 stands for the 8: two more roundings and a tanh of relative error 2^-21, whose slope is at most 1.
 * WEIR_EINVAL  n_row < 0, n_head not a multiple of n_head_kv, layer out of range, NULL, softcap or window < 0, n_row not a
 *              multiple of group, a pool that is not f32 on the CPU */
typedef struct weir_attention {
    const weir_kv_view *kv;
    const float *q;
    int64_t ldq;
    float *o;
    int64_t ldo;
    const int32_t *slot, *pos, *n_key; /* (n_row) */
    int64_t n_row;
    int32_t layer, n_head;
    float scale;
    const float *bias;
    int32_t bias_left, bias_right;
    float softcap;   /* 0 = none */
    int32_t window;  /* 0 = none */
    int32_t group;   /* 0 = 1 */
    bool prefill;
} weir_attention;

static inline weir_status weir_attention_check(const weir_attention *a) {
    if (a->n_row < 0 || !a->kv || !a->q || !a->o || !a->slot || !a->pos || !a->n_key) return WEIR_EINVAL;
    if (a->layer < 0 || a->layer >= a->kv->n_layer) return WEIR_EINVAL;
    if (!(a->softcap >= 0.0f) || a->window < 0 || a->group < 0) return WEIR_EINVAL;
    if (a->group > 1 && a->n_row % a->group != 0) return WEIR_EINVAL;
    return a->n_head <= 0 || a->n_head % a->kv->n_head_kv != 0 ? WEIR_EINVAL : WEIR_OK;
}

/* First position that live row r looks at. */
static inline int64_t weir_attention_first(const weir_attention *a, int64_t r) {
    const int64_t first = a->window > 0 ? (int64_t)a->pos[r] + 1 - a->window : 0;
    return first < 0 ? 0 : first;
}

#endif /* WEIR_KERNELS_DENSE_ATTENTION_H */
