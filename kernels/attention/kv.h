#ifndef WEIR_KERNELS_ATTENTION_KV_H
#define WEIR_KERNELS_ATTENTION_KV_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

enum { WEIR_PAGE = 64 }; /* positions in a page */

/* Keys and values of one cache group of one model, seen by kernels. A page holds WEIR_PAGE
 * positions of K and V of every layer of the group, f32 or (device backends only) bf16:
 *
 *   page: [n_layer][n_head_kv]{ K [head_dim][WEIR_PAGE] , V [WEIR_PAGE][head_dim] }
 *
 * K is transposed inside a page, so that scores of 16 positions are one vector. Position t of slot s is in
 * page table[s * table_stride + t / WEIR_PAGE], at t % WEIR_PAGE. Rollback only shortens the length: stale
 * positions after a row's own never affect a result. The view itself is in host memory. */
typedef struct weir_kv_view {
    void *pool;           /* [n_page][page_elems] of dtype, backend memory */
    int64_t page_elems;   /* weir__kv_page_elems(...) */
    const int32_t *table; /* [n_slot][table_stride] page numbers, backend memory */
    int64_t table_stride; /* pages a slot can have */
    int32_t n_layer, n_head_kv, head_dim;
    weir_dtype dtype; /* of the pool; F32 on the CPU */
} weir_kv_view;

static inline int64_t weir__kv_page_elems(int64_t n_layer, int64_t n_head_kv, int64_t head_dim) {
    return n_layer * n_head_kv * 2 * head_dim * WEIR_PAGE;
}

/* K (head_dim, WEIR_PAGE) of (layer, head) in the page that holds position t of a slot; V follows it. For f32
 * pools in host memory. */
static inline float *weir__kv_block(const weir_kv_view *v, int32_t slot, int64_t t, int32_t layer,
                                    int32_t head) {
    const int64_t page = v->table[slot * v->table_stride + t / WEIR_PAGE];
    return (float *)v->pool + page * v->page_elems +
           ((int64_t)layer * v->n_head_kv + head) * 2 * v->head_dim * WEIR_PAGE;
}

/* Writes row r's K and V to position pos[r] of slot[r]. Two rows never share (slot, pos). A row with slot < 0
 * is dead (device loops pad to a fixed number of rows): nothing of it is used or written.
 *   k, v  (n_row, n_head_kv * head_dim) f32, row stride ld */
typedef struct weir_kv_append {
    const weir_kv_view *kv;
    const float *k, *v;
    int64_t ld;
    const int32_t *slot, *pos; /* (n_row) */
    int64_t n_row;
    int32_t layer;
} weir_kv_append;

static inline weir_status weir__kv_append_check(const weir_kv_append *a) {
    if (a->n_row < 0 || !a->kv || !a->k || !a->v || !a->slot || !a->pos) return WEIR_EINVAL;
    if (a->layer < 0 || a->layer >= a->kv->n_layer) return WEIR_EINVAL;
    return a->ld < (int64_t)a->kv->n_head_kv * a->kv->head_dim ? WEIR_EINVAL : WEIR_OK;
}

#endif /* WEIR_KERNELS_ATTENTION_KV_H */
