#include "kernels/backend.h"

#include <string.h>

enum { COLUMNS = 256 }; /* that are added at once: what a level of the tree holds stays in the first cache */

/* Columns [at, at + n) of the sum over ranks [r, r + n_rank) into `to`; false: none of them has inputs, and
 * nothing is written. */
static bool add_up(const float *const *part, uint32_t has, int r, int n_rank, int64_t at, int64_t n,
                   float *to) {
    if (n_rank == 1) {
        if (has >> r & 1) memcpy(to, part[r] + at, (size_t)n * sizeof *to);
        return has >> r & 1;
    }
    float other[COLUMNS];
    const bool left = add_up(part, has, r, n_rank / 2, at, n, to);
    const bool right = add_up(part, has, r + n_rank / 2, n_rank / 2, at, n, left ? other : to);
    for (int64_t i = 0; left && right && i < n; i++) to[i] = to[i] + other[i];
    return left || right;
}

static void add_row(const weir_reduce *a, int n_rank, const float *const *part, int64_t row) {
    const float scale = weir__reduce_scale(a);
    float sum[COLUMNS], *y = a->y + row * a->ldy;
    for (int64_t at = 0; at < a->n; at += COLUMNS) {
        const int64_t n = a->n - at < COLUMNS ? a->n - at : COLUMNS;
        (void)add_up(part, a->has, 0, n_rank, row * a->n + at, n, sum);
        for (int64_t i = 0; i < n; i++) sum[i] = scale * sum[i];
        for (int64_t i = 0; i < n; i++) y[at + i] = a->add ? y[at + i] + sum[i] : sum[i];
    }
}

static weir_status join(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err) {
    (void)floats;
    (void)err;
    be->comm = comm;
    return WEIR_OK;
}

static void leave(weir_backend *be) { be->comm = NULL; }

static size_t no_bytes(int n_rank, size_t floats) {
    (void)n_rank;
    (void)floats;
    return 0;
}

static weir_status reduce(weir_backend *be, const weir_reduce *a) {
    WEIR_TRY(weir__reduce_check(a));
    const float *part[WEIR_RANKS];
    size_t bytes[WEIR_RANKS];
    const int n_rank = be->comm->n_rank;
    for (int r = 0; r < n_rank; r++)
        bytes[r] = a->has >> r & 1 ? (size_t)(a->n_row * a->n) * sizeof **part : 0;
    WEIR_TRY(weir__comm_gather(be->comm, a->part, bytes, (const void **)part));
    for (int64_t row = 0; row < a->n_row; row++) add_row(a, n_rank, part, row);
    return WEIR_OK;
}

static int owner_of(const int64_t *first, int n_rank, int32_t id) {
    int r = 0;
    while (r < n_rank && id >= first[r + 1]) r++;
    return r;
}

static weir_status collect_rows(weir_backend *be, const weir_collect_rows *a) {
    if (!a->x || !a->id || !a->first || a->n_row < 0) return WEIR_EINVAL;
    const int n_rank = be->comm->n_rank;
    const float *x[WEIR_RANKS];
    size_t bytes[WEIR_RANKS];
    for (int64_t i = 0; i < a->n_row; i++)
        if (a->id[i] < 0 || a->id[i] >= a->first[n_rank]) return WEIR_EINVAL;
    for (int r = 0; r < n_rank; r++) bytes[r] = (size_t)(a->n_row * a->n) * sizeof **x;
    WEIR_TRY(weir__comm_gather(be->comm, a->x, bytes, (const void **)x));
    for (int64_t i = 0; i < a->n_row; i++) {
        const int r = owner_of(a->first, n_rank, a->id[i]);
        if (r != be->comm->rank) memcpy(a->x + i * a->n, x[r] + i * a->n, (size_t)a->n * sizeof **x);
    }
    return weir__comm_release(be->comm);
}

static weir_status collect_columns(weir_backend *be, const weir_collect_columns *a) {
    if (!a->first || a->n_row < 0) return WEIR_EINVAL;
    const int n_rank = be->comm->n_rank, rank = be->comm->rank;
    if (rank == 0 ? !a->y : !a->part && a->first[rank + 1] > a->first[rank]) return WEIR_EINVAL;
    const float *part[WEIR_RANKS];
    size_t bytes[WEIR_RANKS] = {0};
    for (int r = 1; r < n_rank; r++)
        bytes[r] = (size_t)(a->n_row * (a->first[r + 1] - a->first[r])) * sizeof **part;
    WEIR_TRY(weir__comm_gather(be->comm, a->part, bytes, (const void **)part));
    for (int r = 1; rank == 0 && r < n_rank; r++) {
        const int64_t n = a->first[r + 1] - a->first[r];
        for (int64_t row = 0; row < a->n_row; row++) {
            if (n > 0)
                memcpy(a->y + row * a->ldy + a->first[r], part[r] + row * n, (size_t)n * sizeof **part);
        }
    }
    return WEIR_OK;
}

static weir_status spread(weir_backend *be, const weir_spread *a) {
    if (a->loop) return WEIR_EINVAL;
    WEIR_TRY(weir__spread_check(a, be->comm->rank));
    for (int i = 0; i < WEIR_SPREAD; i++) {
        const void *peer[WEIR_RANKS];
        size_t bytes[WEIR_RANKS] = {0};
        if (a->n[i] == 0) continue;
        bytes[0] = (size_t)a->n[i] * sizeof *a->to[i];
        WEIR_TRY(weir__comm_gather(be->comm, a->from[i], bytes, peer));
        if (be->comm->rank > 0) memcpy(a->to[i], peer[0], bytes[0]);
        WEIR_TRY(weir__comm_release(be->comm));
    }
    return WEIR_OK;
}

const weir_exchange_ops weir__exchange_cpu = {
    "memory", false, join, leave, no_bytes, reduce, collect_rows, collect_columns, spread,
};
