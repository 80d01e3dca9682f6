#ifndef WEIR_KERNELS_COMM_EXCHANGE_H
#define WEIR_KERNELS_COMM_EXCHANGE_H

#include "kernels/comm/comm.h"

/* Ops of a group of ranks. All ranks issue the same exchanges in the same order. A backend without them
 * (weir_backend.exchange NULL) serves one rank. ECOMM: see comm.h. */

/* y[r][n] (+)= sum over ranks of part[r][n], the ranks' partial sums of a product that is split along its
 * inputs (kernels/weight/segments.h), added as its tree.
 *   part  (n_row, n) f32, dense: this rank's; not read on a rank that has no inputs. It must not be written
 *         before this rank has come back from its next exchange
 *   y     (n_row, n) f32, row stride ldy >= n; does not alias part
 *   has   bit r: rank r has inputs; at least one does
 * WEIR_EINVAL  n_row < 0, ldy < n, NULL, has 0 */
typedef struct weir_reduce {
    weir_comm *comm;
    const float *part;
    float *y;
    int64_t ldy, n_row, n;
    uint32_t has;
    bool add; /* y += */
} weir_reduce;

static inline weir_status weir__reduce_check(const weir_reduce *a) {
    return !a->comm || !a->part || !a->y || a->n_row < 0 || a->ldy < a->n || a->has == 0 ? WEIR_EINVAL
                                                                                         : WEIR_OK;
}

/* Rows of x that another rank owns come from there: rank r owns those whose id is in [first[r], first[r +
 * 1]). Returns when no rank reads this one's x any more.
 *   x   (n_row, n) f32, dense
 *   id  (n_row) int32, the same on every rank, each in [0, first[n_rank])
 * WEIR_EINVAL  n_row < 0, NULL, an id out of range (on the CPU) */
typedef struct weir_collect_rows {
    weir_comm *comm;
    float *x;
    const int32_t *id;
    int64_t n_row, n;
    const int64_t *first; /* (n_rank + 1) host */
} weir_collect_rows;

/* Columns of y on rank 0: rank r has columns [first[r], first[r + 1]) of all rows. Other ranks give theirs
 * and get nothing; part must not be written before this rank has come back from its next exchange.
 *   part  (n_row, first[rank + 1] - first[rank]) f32, dense; not read on rank 0, whose columns are in y
 *   y     (n_row, first[n_rank]) f32, row stride ldy; rank 0 only */
typedef struct weir_collect_columns {
    weir_comm *comm;
    const float *part;
    float *y;
    int64_t ldy, n_row;
    const int64_t *first; /* (n_rank + 1) host */
} weir_collect_columns;

typedef struct weir_exchange_ops {
    weir_status (*reduce)(const weir_reduce *a);
    weir_status (*collect_rows)(const weir_collect_rows *a);
    weir_status (*collect_columns)(const weir_collect_columns *a);
} weir_exchange_ops;

extern const weir_exchange_ops weir__exchange_cpu;

#endif /* WEIR_KERNELS_COMM_EXCHANGE_H */
