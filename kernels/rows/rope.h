#ifndef WEIR_KERNELS_ROWS_ROPE_H
#define WEIR_KERNELS_ROWS_ROPE_H

#include "kernels/attention/kv.h"

/* What happens between the product of q, k and v and attention, in place and in this order:
 *   bias   x += bias                                                     of q, k and v
 *   norm   x_i = x_i / sqrt(mean(x^2) + eps) * w_i                       of each head of q and k separately
 *   turn   (x_a, x_b) = (x_a cos t - x_b sin t, x_b cos t + x_a sin t)   of q and k, t = pos[r] * inv_freq[i]
 * for the pairs i < n_dim / 2 of a head: a = i, b = i + n_dim / 2, or interleaved a = 2 i, b = 2 i + 1.
 * Elements from n_dim on do not turn. cos and sin are multiplied by `scale`. Rotary embedding: arXiv
 * 2104.09864; norms of heads: arXiv 2302.05442.
 *
 *   q     (n_row, n_head * head_dim), k, v (n_row, n_head_kv * head_dim) f32, all of row stride ld: they are
 *         parts of one product's row
 *   bias  (n_head + 2 n_head_kv, head_dim) f32 of q, k, v, or NULL: then v is not used
 *   q_norm, k_norm  (head_dim) f32, or both NULL
 *   inv_freq        (n_dim / 2) f32, backend memory like all arrays; not used if n_dim is 0
 *   kv, layer       where k and v go besides, as kv_append would put them then (kv.h); NULL: nowhere
 *
 * A row with slot < 0 is dead: nothing of it is read or written. Rows are independent of each other.
 *
 * t is the product rounded to f32 (as in transformers) and taken as exact. The truth is in double. Error of a
 * fast path for |t| < 2^20, where u is the head before it turns and m = |u_a| + |u_b| (|u_i| for what does
 * not turn):
 *   |x - truth| <= 2^-24 * max(scale, 1) * m * (head_dim / 8 + 20)
 * from a chain of squares, the root, the quotient, two products, cos and sin within 2^-23, and the roundings
 * of the turn itself.
 *
 * Moves 8 * (n_head + n_head_kv) * head_dim bytes per row, as much of v if there is a bias or a kv, and what
 * kv_append writes.
 * WEIR_EINVAL  n_row < 0, sizes <= 0, n_dim odd, negative, over head_dim or WEIR_ROPE_DIMS, ld short, NULL,
 *              one norm without the other; a kv of other heads, or what kv_append refuses
 * WEIR_ENOTSUP a device: head_dim over WEIR_ROPE_CUDA_DIMS */
typedef struct weir_rope {
    float *q, *k, *v;
    int64_t ld;
    const float *bias;
    const float *q_norm, *k_norm;
    float eps;
    const float *inv_freq;
    float scale;
    const int32_t *slot, *pos; /* (n_row) */
    int64_t n_row;
    int32_t n_head, n_head_kv, head_dim, n_dim;
    bool interleaved;
    const weir_kv_view *kv;
    int32_t layer;
} weir_rope;

enum {
    WEIR_ROPE_DIMS = 1024,     /* most elements of a head that turn */
    WEIR_ROPE_CUDA_DIMS = 256, /* largest head_dim on a device, the same as attention's */
};

/* What kv_append does with k and v once they are done. */
static inline weir_kv_append weir__rope_append(const weir_rope *a) {
    weir_kv_append p;
    p.kv = a->kv;
    p.k = a->k;
    p.v = a->v;
    p.ld = a->ld;
    p.slot = a->slot;
    p.pos = a->pos;
    p.n_row = a->n_row;
    p.layer = a->layer;
    return p;
}

static inline weir_status weir__rope_check(const weir_rope *a) {
    if (a->n_row < 0 || a->n_head <= 0 || a->n_head_kv <= 0 || a->head_dim <= 0) return WEIR_EINVAL;
    if (a->n_dim < 0 || a->n_dim % 2 || a->n_dim > a->head_dim || a->n_dim > WEIR_ROPE_DIMS)
        return WEIR_EINVAL;
    if (!a->q || !a->k || (a->bias && !a->v) || !a->slot || !a->pos || (a->n_dim && !a->inv_freq))
        return WEIR_EINVAL;
    if (!a->q_norm != !a->k_norm) return WEIR_EINVAL;
    if (a->kv) {
        const weir_kv_append p = weir__rope_append(a);
        if (a->kv->n_head_kv != a->n_head_kv || a->kv->head_dim != a->head_dim) return WEIR_EINVAL;
        WEIR_TRY(weir__kv_append_check(&p));
    }
    return a->ld < (int64_t)a->n_head * a->head_dim || a->ld < (int64_t)a->n_head_kv * a->head_dim
               ? WEIR_EINVAL
               : WEIR_OK;
}

#endif /* WEIR_KERNELS_ROWS_ROPE_H */
