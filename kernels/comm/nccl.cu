/* Exchanges of ranks through NCCL: for devices that do not reach each other's memory. It carries bytes and
 * never adds, since it promises no order: partial sums are gathered, and added here as the tree that every
 * other way adds. Slower than peer memory, and not inside a captured loop (conditional bodies take no node of
 * NCCL's): the host then calls a block op by op.
 *
 * A wait of its kernels has no deadline: they end with the group (ncclCommAbort). */
#include "kernels/comm/nccl.h"

#include "kernels/comm/peers.cuh"
#include "kernels/comm/pieces.cuh"
#include "kernels/cuda/library.h"

using namespace comm;

struct weir_cuda_nccl {
    void *library;
    struct {
#define NCCL_FIELD(name, args) ncclResult_t(*name) args;
        NCCL_MAP(NCCL_FIELD)
#undef NCCL_FIELD
    } f;
    ncclComm_t comm;
    float *all;    /* (n_rank, floats) what ranks give */
    size_t floats; /* of each at once */
    uint64_t *seen,
        *there;           /* a word of the host: the last exchange that came through; as the device sees it */
    uint64_t number;      /* exchanges queued */
    uint64_t last;        /* of seen, when a wait looked last */
    double looked, since; /* that time; and when it changed */
};

namespace {

enum {
#define NCCL_NAME(name, args) NAME_##name,
    NCCL_MAP(NCCL_NAME)
#undef NCCL_NAME
        N_NAME
};

/* ---- kernels ------------------------------------------------------------------------------------------- */

/* Exchange number `number` has come through: a wait of the host sees that its rank goes on. */
PTX_FN void note(uint64_t *there, uint64_t number) {
    if (blockIdx.x == 0 && threadIdx.x == 0) ptx::st_release_sys(there, number);
}

template <int R>
__global__ void __launch_bounds__(THREADS)
    gathered_sum(const float *all, int64_t stride, const reduction a, uint64_t *there, uint64_t number) {
    note(there, number);
    each_piece(a.total, a.width,
               [&](int64_t i) { sum_into<R>(a, i, [&](int r) { return all + r * stride + i; }); });
}

template <int R>
__global__ void __launch_bounds__(THREADS)
    gathered_rows(const float *all, int64_t stride, float *x, const int32_t *id, int64_t total, int64_t n,
                  int width, int rank, const firsts first) {
    each_piece(total, width, [&](int64_t i) {
        const int r = owner_of<R>(first, id[i / n]);
        if (r != rank) put(x + i, width, true, get(all + r * stride + i, width));
    });
}

__global__ void __launch_bounds__(THREADS)
    gathered_columns(const float *part, float *y, int64_t ldy, int64_t total, int64_t n, int width,
                     bool aligned) {
    each_piece(total, width,
               [&](int64_t i) { put(y + i / n * ldy + i % n, width, aligned, get(part + i, width)); });
}

/* ---- host ---------------------------------------------------------------------------------------------- */

weir_cuda_nccl *nccl_of(weir_backend *be) { return weir__cuda_of(be)->nccl; }

weir_status check(weir_backend *be, ncclResult_t e, const char *what) {
    if (e == 0) return WEIR_OK;
    if (weir__comm_ended(be->comm)) return WEIR_ECOMM;
    weir_cuda *cu = weir__cuda_of(be);
    cu->broken = true;
    return weir_fail(&be->err, WEIR_ECUDA, "%s: NCCL: %s failed (status %d)", cu->name, what, e);
}

#define NCCL_TRY(be, call, what) WEIR_TRY(check(be, nccl_of(be)->f.call, what))

/* Whether the group can exchange; counts what this rank gives. */
weir_status begin(weir_backend *be, int64_t floats, int64_t given) {
    WEIR_TRY(weir__cuda_enter(weir__cuda_of(be), "an exchange"));
    const weir_cuda_nccl *l = nccl_of(be);
    if (!l || !be->comm || floats < 0) return WEIR_EINVAL;
    if (static_cast<size_t>(floats) > l->floats) return WEIR_ENOMEM;
    if (weir__comm_ended(be->comm)) return WEIR_ECOMM;
    weir__comm_count(be->comm, static_cast<size_t>(given) * sizeof(float));
    nccl_of(be)->number++;
    return WEIR_OK;
}

dim3 grid_of(int64_t pieces) {
    const int64_t n = (pieces + THREADS - 1) / THREADS;
    return dim3(static_cast<unsigned>(n < 1 ? 1 : n < 1024 ? n : 1024));
}

#define LAUNCH_RANKS(kernel, grid, ...)                                                          \
    do {                                                                                         \
        cudaStream_t stream = weir__cuda_of(be)->stream;                                         \
        if (be->comm->n_rank == 2) K_LAUNCH((kernel<2>), grid, THREADS, 0, stream)(__VA_ARGS__); \
        if (be->comm->n_rank == 4) K_LAUNCH((kernel<4>), grid, THREADS, 0, stream)(__VA_ARGS__); \
        if (be->comm->n_rank == 8) K_LAUNCH((kernel<8>), grid, THREADS, 0, stream)(__VA_ARGS__); \
    } while (0)

weir_status reduce_gathered(weir_backend *be, const weir_reduce *a) {
    const reduction r = reduction_of(a);
    const int64_t stride = r.total;
    WEIR_TRY(begin(be, r.total, r.total));
    weir_cuda_nccl *l = nccl_of(be);
    NCCL_TRY(be,
             ncclAllGather(a->part, l->all, static_cast<size_t>(r.total), NCCL_FLOAT, l->comm,
                           weir__cuda_of(be)->stream),
             "gathering partial sums");
    LAUNCH_RANKS(gathered_sum, grid_of(r.total / r.width), l->all, stride, r, l->there, l->number);
    return weir__cuda_launched(be, "reduce", "n_row %lld n %lld", static_cast<long long>(a->n_row),
                               static_cast<long long>(a->n));
}

size_t slice_of_group(weir_backend *be) {
    const weir_cuda *cu = weir__cuda_of(be);
    return cu->nccl ? cu->nccl->floats : 0;
}

weir_status reduce(weir_backend *be, const weir_reduce *a) {
    return reduce_rows(be, a, slice_of_group(be), reduce_gathered);
}

weir_status collect_some_rows(weir_backend *be, const weir_collect_rows *a) {
    const int64_t total = a->n_row * a->n;
    const int width = width_of(a->n);
    WEIR_TRY(begin(be, total, total));
    weir_cuda_nccl *l = nccl_of(be);
    NCCL_TRY(be,
             ncclAllGather(a->x, l->all, static_cast<size_t>(total), NCCL_FLOAT, l->comm,
                           weir__cuda_of(be)->stream),
             "gathering rows");
    const firsts first = firsts_of(a->first, be->comm->n_rank);
    LAUNCH_RANKS(gathered_rows, grid_of(total / width), l->all, total, a->x, a->id, total, a->n, width,
                 be->comm->rank, first);
    return weir__cuda_launched(be, "collect_rows", "n_row %lld n %lld", static_cast<long long>(a->n_row),
                               static_cast<long long>(a->n));
}

weir_status collect_rows(weir_backend *be, const weir_collect_rows *a) {
    return rows_of_owners(be, a, slice_of_group(be), collect_some_rows);
}

/* Rank r's columns of n_row rows, from there to rank 0. */
weir_status give_columns(weir_backend *be, const weir_collect_columns *a) {
    weir_cuda_nccl *l = nccl_of(be);
    cudaStream_t stream = weir__cuda_of(be)->stream;
    const int n_rank = be->comm->n_rank, rank = be->comm->rank;
    for (int r = 1; r < n_rank; r++) {
        const size_t n = static_cast<size_t>(a->n_row * (a->first[r + 1] - a->first[r]));
        if (n == 0) continue;
        if (rank == r) NCCL_TRY(be, ncclSend(a->part, n, NCCL_FLOAT, 0, l->comm, stream), "sending logits");
        if (rank == 0)
            NCCL_TRY(be, ncclRecv(l->all + r * l->floats, n, NCCL_FLOAT, r, l->comm, stream),
                     "receiving logits");
    }
    return WEIR_OK;
}

weir_status collect_some_columns(weir_backend *be, const weir_collect_columns *a) {
    const int n_rank = be->comm->n_rank, rank = be->comm->rank;
    int64_t pieces;
    const int64_t most = widest(a, n_rank, &pieces), own = a->first[rank + 1] - a->first[rank];
    WEIR_TRY(begin(be, a->n_row * most, rank > 0 ? a->n_row * own : 0));
    const weir_cuda_nccl *l = nccl_of(be);
    NCCL_TRY(be, ncclGroupStart(), "a group of calls");
    const weir_status s = give_columns(be, a);
    NCCL_TRY(be, ncclGroupEnd(), "a group of calls");
    WEIR_TRY(s);
    for (int r = 1; rank == 0 && r < n_rank; r++) {
        const int64_t n = a->first[r + 1] - a->first[r], total = a->n_row * n;
        const int width = width_of(n);
        if (total == 0) continue;
        K_LAUNCH(gathered_columns, grid_of(total / width), THREADS, 0, weir__cuda_of(be)->stream)
        (l->all + r * l->floats, a->y + a->first[r], a->ldy, total, n, width,
         k_aligned16(a->y + a->first[r]) && a->ldy % 4 == 0);
        WEIR_TRY(weir__cuda_launched(be, "collect_columns", "n_row %lld", static_cast<long long>(a->n_row)));
    }
    return WEIR_OK;
}

weir_status collect_columns(weir_backend *be, const weir_collect_columns *a) {
    return columns_of_owners(be, a, slice_of_group(be), collect_some_columns);
}

weir_status spread(weir_backend *be, const weir_spread *a) {
    if (!be->comm || a->loop) return WEIR_EINVAL;
    WEIR_TRY(weir__spread_check(a, be->comm->rank));
    int64_t n = 0;
    for (int i = 0; i < WEIR_SPREAD; i++) n += a->n[i];
    WEIR_TRY(begin(be, 0, be->comm->rank == 0 ? n : 0));
    const weir_cuda_nccl *l = nccl_of(be);
    NCCL_TRY(be, ncclGroupStart(), "a group of calls");
    weir_status s = WEIR_OK;
    for (int i = 0; i < WEIR_SPREAD && s == WEIR_OK; i++) {
        if (a->n[i] == 0) continue;
        const int32_t *from = be->comm->rank == 0 ? a->from[i] : a->to[i];
        s = check(be,
                  l->f.ncclBroadcast(from, const_cast<int32_t *>(from), static_cast<size_t>(a->n[i]),
                                     NCCL_INT32, 0, l->comm, weir__cuda_of(be)->stream),
                  "spreading rows");
    }
    NCCL_TRY(be, ncclGroupEnd(), "a group of calls");
    return s;
}

/* ---- the group ----------------------------------------------------------------------------------------- */

weir_status load(weir_cuda *cu, weir_err *why) {
    static const char *const name[] = {
#define NCCL_TEXT(name, args) #name,
        NCCL_MAP(NCCL_TEXT)
#undef NCCL_TEXT
    };
    weir_library_fn fn[N_NAME];
    void *opened = nullptr;
    WEIR_TRY(weir__library_open(&opened, "libnccl.so.2", name, N_NAME, fn, why));
    weir_cuda_nccl *l = static_cast<weir_cuda_nccl *>(weir_calloc(1, sizeof *l));
    if (!l) {
        weir__library_close(opened);
        return WEIR_ENOMEM;
    }
    cu->nccl = l;
    l->library = opened;
#define NCCL_TAKE(name, args) l->f.name = reinterpret_cast<decltype(l->f.name)>(fn[NAME_##name]);
    NCCL_MAP(NCCL_TAKE)
#undef NCCL_TAKE
    return WEIR_OK;
}

/* What ranks tell each other before they meet in the library. */
struct told {
    int32_t status;
    ncclUniqueId id; /* rank 0's */
    weir_err why;
};

weir_status prepare(weir_cuda *cu, const weir_comm *comm, size_t floats, told *mine) {
    weir_backend *be = &cu->base;
    WEIR_TRY(load(cu, &mine->why));
    weir_cuda_nccl *l = cu->nccl;
    l->floats = (floats + 3) / 4 * 4;
    l->all = static_cast<float *>(
        weir__backend_alloc(be, static_cast<size_t>(comm->n_rank) * l->floats * sizeof *l->all));
    void *there = nullptr;
    l->seen = static_cast<uint64_t *>(be->stream->alloc_mapped(be, sizeof *l->seen, &there));
    l->there = static_cast<uint64_t *>(there);
    if (!l->all || !l->seen) return cu->broken ? WEIR_ECUDA : WEIR_EDEVMEM;
    if (comm->rank > 0) return WEIR_OK;
    const ncclResult_t e = l->f.ncclGetUniqueId(&mine->id);
    return e == 0 ? WEIR_OK : weir_fail(&mine->why, WEIR_ECUDA, "NCCL does not start (status %d)", e);
}

} // namespace

weir_status weir__cuda_nccl_join(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err) {
    weir_cuda *cu = weir__cuda_of(be);
    told mine = {}, all[WEIR_RANKS];
    mine.status = prepare(cu, comm, floats, &mine);
    WEIR_TRY(agree(comm, mine, all, err));
    const ncclResult_t e = cu->nccl->f.ncclCommInitRank(&cu->nccl->comm, comm->n_rank, all[0].id, comm->rank);
    mine = {};
    if (e != 0) mine.status = weir_fail(&mine.why, WEIR_ECUDA, "NCCL: ranks do not meet (status %d)", e);
    WEIR_TRY(agree(comm, mine, all, err));
    be->comm = comm;
    be->exchange = &weir__exchange_nccl;
    return WEIR_OK;
}

/* NCCL's kernels wait without a limit. Here: no exchange has come through for as long as the deadline. */
static void note_silence(weir_cuda *cu, weir_cuda_nccl *l) {
    weir_comm *c = cu->base.comm;
    const double now = weir_seconds();
    const uint64_t seen = __atomic_load_n(l->seen, __ATOMIC_ACQUIRE);
    if (now > l->looked + 1.0 || seen != l->last) l->since = now; /* a wait that begins, or goes on */
    l->looked = now, l->last = seen;
    if (now < l->since + c->seconds) return;
    weir_err why = {};
    weir_fail(&why, WEIR_ECOMM, "a rank silent for %g s, exchange %llu", c->seconds,
              static_cast<unsigned long long>(seen + 1));
    weir__comm_abort(c, WEIR_ECOMM, why.text);
}

weir_status weir__cuda_nccl_check(weir_cuda *cu, bool waits) {
    weir_cuda_nccl *l = cu->nccl;
    weir_comm *c = cu->base.comm;
    if (!l || !c) return WEIR_OK;
    if (waits) note_silence(cu, l);
    if (!weir__comm_ended(c)) return WEIR_OK;
    if (l->comm) l->f.ncclCommAbort(l->comm); /* frees the kernels that wait */
    l->comm = nullptr;
    return WEIR_ECOMM;
}

void weir__cuda_nccl_leave(weir_backend *be) {
    weir_cuda *cu = weir__cuda_of(be);
    weir_cuda_nccl *l = cu->nccl;
    if (!l) return;
    if (be->comm && !cu->broken) (void)be->stream->wait(be);
    if (l->comm) {
        const bool failed = be->comm && weir__comm_ended(be->comm);
        failed ? l->f.ncclCommAbort(l->comm) : l->f.ncclCommDestroy(l->comm);
    }
    if (l->all) weir__backend_free(be, l->all);
    if (l->seen) be->stream->free_mapped(be, l->seen);
    weir__library_close(l->library);
    weir_free(l);
    cu->nccl = nullptr;
    be->comm = nullptr;
}

namespace {

weir_status join(weir_backend *be, weir_comm *comm, size_t floats, weir_err *err) {
    return weir__cuda_nccl_join(be, comm, floats, err);
}

size_t bytes(int n_rank, size_t floats) {
    return n_rank == 1 ? 0 : static_cast<size_t>(n_rank) * ((floats + 3) / 4 * 4) * sizeof(float);
}

} // namespace

extern "C" const weir_exchange_ops weir__exchange_nccl = {
    "NCCL", false, join, weir__cuda_nccl_leave, bytes, reduce, collect_rows, collect_columns, spread,
};
