#ifndef WEIR_KERNELS_COMM_EXCHANGE_H
#define WEIR_KERNELS_COMM_EXCHANGE_H

#include "kernels/comm/comm.h"

typedef struct weir_backend weir_backend;

/* Ops of the group of ranks that a backend has joined (weir_backend.comm). All ranks issue the same exchanges
 * in the same order. A backend without them (weir_backend.exchange NULL) serves one rank. ECOMM: see comm.h;
 * a device's exchanges are queued, and waiting for the stream returns it. */

/* y[r][n] (+)= scale * sum over ranks of part[r][n], the ranks' partial sums of a product that is split along
 * its inputs (kernels/weight/segments.h), added as its tree. The scaled sum is rounded to f32 before it is
 * added to y, as linear.h does it on one rank.
 *   part  (n_row, n) f32, dense: this rank's; not read on a rank that has no inputs. It must not be written
 *         before this rank has come back from its next exchange
 *   y     (n_row, n) f32, row stride ldy >= n; does not alias part
 *   has   bit r: rank r has inputs; at least one does
 * WEIR_EINVAL  n_row < 0, ldy < n, NULL, has 0 */
typedef struct weir_reduce {
    const float *part;
    float *y;
    int64_t ldy, n_row, n;
    uint32_t has;
    bool add;    /* y += */
    float scale; /* 0 = 1 */
} weir_reduce;

static inline float weir__reduce_scale(const weir_reduce *a) { return a->scale == 0.0f ? 1.0f : a->scale; }

static inline weir_status weir__reduce_check(const weir_reduce *a) {
    return !a->part || !a->y || a->n_row < 0 || a->ldy < a->n || a->has == 0 ? WEIR_EINVAL : WEIR_OK;
}

/* Rows of x that another rank owns come from there: rank r owns those whose id is in [first[r], first[r +
 * 1]). Returns when no rank reads this one's x any more.
 *   x   (n_row, n) f32, dense
 *   id  (n_row) int32, the same on every rank, each in [0, first[n_rank])
 * WEIR_EINVAL  n_row < 0, NULL, an id out of range (on the CPU) */
typedef struct weir_collect_rows {
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
    const float *part;
    float *y;
    int64_t ldy, n_row;
    const int64_t *first; /* (n_rank + 1) host */
} weir_collect_columns;

/* Rank 0's words to all others: from[i] (n[i]) int32 of rank 0 into to[i] of the others.
 * loop: inside a captured loop of another rank than 0: the loop ends after this pass where to[0][0] is 0, or
 * where the group has failed. */
enum { WEIR_SPREAD = 4 };
typedef struct weir_spread {
    const int32_t *from[WEIR_SPREAD]; /* not read on the other ranks */
    int32_t *to[WEIR_SPREAD];         /* not used on rank 0 */
    int32_t n[WEIR_SPREAD];
    bool loop;
} weir_spread;

static inline weir_status weir__spread_check(const weir_spread *a, int rank) {
    for (int i = 0; i < WEIR_SPREAD; i++)
        if (a->n[i] < 0 || (a->n[i] > 0 && (rank == 0 ? !a->from[i] : !a->to[i]))) return WEIR_EINVAL;
    return a->loop && (rank == 0 || a->n[0] < 1) ? WEIR_EINVAL : WEIR_OK;
}

typedef struct weir_exchange_ops {
    const char *name; /* "peer memory", "NCCL"; "memory" on the CPU */
    bool loops;       /* may be part of a captured loop */
    /* Makes the backend comm's rank; comm stays the caller's, and must outlive it. All ranks call it, each
     * with a device of its own, or several with one. floats: what a device holds of each rank at once, a row
     * at least; larger exchanges go row by row. Devices that do not reach each other's memory exchange
     * through NCCL, unless comm says otherwise: then be->exchange is another one afterwards. ENOTSUP: neither
     * can be. A failure of any rank fails on all. */
    weir_status (*join)(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err);
    /* Its end: all ranks call it, and it waits for all unless the group has ended. be->comm is NULL then. */
    void (*leave)(weir_backend *be);
    size_t (*bytes)(int n_rank, size_t floats); /* of backend memory that join takes */
    weir_status (*reduce)(weir_backend *be, const weir_reduce *a);
    weir_status (*collect_rows)(weir_backend *be, const weir_collect_rows *a);
    weir_status (*collect_columns)(weir_backend *be, const weir_collect_columns *a);
    weir_status (*spread)(weir_backend *be, const weir_spread *a);
} weir_exchange_ops;

extern const weir_exchange_ops weir__exchange_cpu, weir__exchange_cuda, weir__exchange_nccl;

#endif /* WEIR_KERNELS_COMM_EXCHANGE_H */
