#ifndef WEIR_KERNELS_ROWS_GATHER_H
#define WEIR_KERNELS_ROWS_GATHER_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* What attention needs to know about the rows of a batch, from their slots and positions:
 *   row i of the result is row index[i] of the batch (index NULL: row i)
 *   out_slot, out_pos   copies
 *   n_key = pos + 1     keys of causal self attention
 *   n_src               cross_len[slot]; not written if cross_len is NULL
 * A dead row (slot < 0) stays dead: slot -1, pos 0, n_key 1, n_src 1. All arrays are backend memory, results
 * do not alias inputs, and any of the four may be NULL.
 * WEIR_EINVAL  n_row < 0, NULL; on the CPU also a live row with pos < 0 or cross_len < 1 (a device treats it
 *              as dead) */
typedef struct weir_row_keys {
    const int32_t *slot, *pos; /* of the batch */
    const int32_t *index;      /* (n_row) or NULL */
    const int32_t *cross_len;  /* (n_slot) or NULL */
    int64_t n_row;
    int32_t *out_slot, *out_pos, *n_key, *n_src; /* (n_row) */
} weir_row_keys;

/* dst[i] = src[index[i]] for n_row rows of n_col floats; strides in floats; dst does not alias src. */
typedef struct weir_gather {
    float *dst;
    int64_t ld_dst;
    const float *src;
    int64_t ld_src;
    const int32_t *index; /* (n_row) backend memory */
    int64_t n_row, n_col;
} weir_gather;

/* dst[r][j] = src[r][order[j]] for n_row rows of n_col floats, and norm_dst[j] = norm[order[j]]: what a
 * product reads whose weight has its inputs in an order of its own (kernels/weight/weight.h). Strides in
 * floats; dst and norm_dst alias nothing. Moves 8 bytes an element, and 4 of the order. */
typedef struct weir_permute {
    float *dst;
    int64_t ld_dst;
    const float *src;
    int64_t ld_src;
    const float *norm;    /* (n_col) factors of the product's norm; NULL: it has none */
    float *norm_dst;      /* (n_col) */
    const int32_t *order; /* (n_col) backend memory, a permutation of 0 … n_col - 1, not checked; no kernel
                             before this one writes it */
    int64_t n_row, n_col;
} weir_permute;

static inline weir_status weir__row_keys_check(const weir_row_keys *a) {
    return a->n_row < 0 || !a->slot || !a->pos ? WEIR_EINVAL : WEIR_OK;
}

static inline weir_status weir__gather_check(const weir_gather *a) {
    if (a->n_row < 0 || a->n_col < 0 || !a->dst || !a->src || !a->index) return WEIR_EINVAL;
    return a->ld_dst < a->n_col || a->ld_src < a->n_col ? WEIR_EINVAL : WEIR_OK;
}

static inline weir_status weir__permute_check(const weir_permute *a) {
    if (a->n_row < 0 || a->n_col < 0 || !a->dst || !a->src || !a->order) return WEIR_EINVAL;
    if (a->norm && !a->norm_dst) return WEIR_EINVAL;
    return a->ld_dst < a->n_col || a->ld_src < a->n_col ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_ROWS_GATHER_H */
