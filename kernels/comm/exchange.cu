/* Exchanges of ranks as kernels (peers.cuh). Bound by latency up to some 100 KB: two trips over the link, for
 * the data and for the flag, and two barriers.
 *
 *   launch  up to 64 blocks of 128 threads, the same number on every rank; cooperative, since a block waits
 *           for the same block elsewhere: all are resident, beside another rank's on one device too
 *   thread  every 128 BLOCKS-th piece: 16 bytes where a row is a multiple of that, else 4
 *
 * What came before a launch on this rank has ended when it begins, on which the two sets of data rely. */
#include "kernels/comm/peers.cuh"
#include "kernels/comm/pieces.cuh"

namespace {

using namespace comm;

PTX_FN char *slice_of(const peers &p, int to, int from, int n_rank, uint64_t e) {
    return p.data[to] + (e % 2 * n_rank + from) * p.slice;
}

PTX_FN void give_up(const peers &p, int r, uint64_t e, bool late) {
    if (atomicExch(p.broken, 1u) != 0 || !late) return;
    p.why->rank = static_cast<uint32_t>(r);
    p.why->exchange = e;
    ptx::fence_sys();
    ptx::st_release_sys(&p.why->here, 1u);
}

/* The clock and the host's word cost more than the flag: they are asked now and then. */
PTX_FN bool comes(const peers &p, int r, uint64_t e) {
    constexpr unsigned ASK = 64;
    const uint64_t *flag = p.flag[p.rank] + blockIdx.x * WEIR_RANKS + r;
    uint64_t until = 0;
    for (unsigned turn = 1; ptx::ld_acquire_sys(flag) < e; turn++) {
        if (turn % ASK == 0) {
            const uint64_t now = ptx::global_ns();
            if (until == 0) until = now + p.ns;
            if (now > until || ptx::ld_acquire_sys(p.stop) != 0) {
                give_up(p, r, e, now > until);
                return false;
            }
        }
        ptx::spin();
    }
    return true;
}

/* The exchange of one block. push(e) stores, pull(e) reads. */
template <int R, class Push, class Pull> PTX_FN void exchange(const peers &p, Push push, Pull pull) {
    const int t = static_cast<int>(threadIdx.x);
    if (__syncthreads_or(t == 0 && ptx::ld_acquire(p.broken) != 0)) return;
    const uint64_t e = *p.done + 1;
    push(e);
    __syncthreads();
    bool here = true;
#pragma unroll
    for (int r = 0; r < R; r++)
        if (t == r) ptx::st_release_sys(p.flag[r] + blockIdx.x * WEIR_RANKS + p.rank, e);
    if (t < R) here = comes(p, t, e);
    if (__syncthreads_and(here)) pull(e);
    __syncthreads();
    if (t > 0 || ptx::add_release(p.left, 1) + 1 < gridDim.x) return;
    *p.left = 0;
    *p.done = e;
}

/* ---- reduce -------------------------------------------------------------------------------------------- */

/* Piece i of the call, which lies at `at` of the slices, into y. */
template <int R>
PTX_FN void sum_piece(const peers &p, const reduction &a, uint64_t e, int64_t i, int64_t at) {
    sum_into<R>(a, i, [&](int r) {
        const float *from = reinterpret_cast<const float *>(slice_of(p, p.rank, r, R, e));
        return r == p.rank ? a.part + i : from + at;
    });
}

template <int R> __global__ void __launch_bounds__(THREADS) reduce_kernel(const peers p, const reduction a) {
    const auto push = [&](uint64_t e) {
        if (!(a.has >> p.rank & 1)) return;
        each_piece(a.total, a.width, [&](int64_t i) {
            const float4 v = get(a.part + i, a.width);
#pragma unroll
            for (int r = 0; r < R; r++)
                if (r != p.rank)
                    put(reinterpret_cast<float *>(slice_of(p, r, p.rank, R, e)) + i, a.width, true, v);
        });
    };
    const auto pull = [&](uint64_t e) {
        each_piece(a.total, a.width, [&](int64_t i) { sum_piece<R>(p, a, e, i, i); });
    };
    exchange<R>(p, push, pull);
}

/* ---- reduce in two steps: each rank sums its part of the call, and pushes the sums --------------------- */

/* The first float of rank r's part; R: the end. */
template <int R> PTX_FN int64_t begin_of(const reduction &a, int r) {
    return a.total / a.width * r / R * a.width;
}

template <int R> __global__ void __launch_bounds__(THREADS) scatter_kernel(const peers p, const reduction a) {
    const auto push = [&](uint64_t e) {
        if (!(a.has >> p.rank & 1)) return;
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int64_t begin = begin_of<R>(a, r), n = begin_of<R>(a, r + 1) - begin;
            float *to = reinterpret_cast<float *>(slice_of(p, r, p.rank, R, e));
            if (r == p.rank) continue;
            each_piece(n, a.width,
                       [&](int64_t i) { put(to + i, a.width, true, get(a.part + begin + i, a.width)); });
        }
    };
    const auto pull = [&](uint64_t e) {
        const int64_t begin = begin_of<R>(a, p.rank), n = begin_of<R>(a, p.rank + 1) - begin;
        each_piece(n, a.width, [&](int64_t i) { sum_piece<R>(p, a, e, begin + i, i); });
    };
    exchange<R>(p, push, pull);
}

template <int R> __global__ void __launch_bounds__(THREADS) gather_kernel(const peers p, const reduction a) {
    const auto push = [&](uint64_t e) {
        const int64_t begin = begin_of<R>(a, p.rank), n = begin_of<R>(a, p.rank + 1) - begin;
        each_piece(n, a.width, [&](int64_t i) {
            const float4 v = get_any(place_of(a, begin + i), a.width);
#pragma unroll
            for (int r = 0; r < R; r++)
                if (r != p.rank)
                    put(reinterpret_cast<float *>(slice_of(p, r, p.rank, R, e)) + i, a.width, true, v);
        });
    };
    const auto pull = [&](uint64_t e) {
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int64_t begin = begin_of<R>(a, r), n = begin_of<R>(a, r + 1) - begin;
            const float *from = reinterpret_cast<const float *>(slice_of(p, p.rank, r, R, e));
            if (r == p.rank) continue;
            each_piece(n, a.width, [&](int64_t i) {
                put(place_of(a, begin + i), a.width, a.aligned, get(from + i, a.width));
            });
        }
    };
    exchange<R>(p, push, pull);
}

/* ---- collect ------------------------------------------------------------------------------------------- */

template <int R>
__global__ void __launch_bounds__(THREADS)
    collect_rows_kernel(const peers p, float *x, const int32_t *id, int64_t n_row, int64_t n, int width,
                        const firsts first) {
    const auto push = [&](uint64_t e) {
        each_piece(n_row * n, width, [&](int64_t i) {
            if (owner_of<R>(first, id[i / n]) != p.rank) return;
            const float4 v = get(x + i, width);
#pragma unroll
            for (int r = 0; r < R; r++)
                if (r != p.rank)
                    put(reinterpret_cast<float *>(slice_of(p, r, p.rank, R, e)) + i, width, true, v);
        });
    };
    const auto pull = [&](uint64_t e) {
        each_piece(n_row * n, width, [&](int64_t i) {
            const int r = owner_of<R>(first, id[i / n]);
            if (r == p.rank) return;
            put(x + i, width, true,
                get(reinterpret_cast<const float *>(slice_of(p, p.rank, r, R, e)) + i, width));
        });
    };
    exchange<R>(p, push, pull);
}

template <int R>
__global__ void __launch_bounds__(THREADS)
    collect_columns_kernel(const peers p, const float *part, int64_t own, float *y, int64_t ldy,
                           int64_t n_row, bool aligned, const firsts first) {
    const auto push = [&](uint64_t e) {
        const int width = width_of(own);
        if (p.rank == 0) return;
        float *to = reinterpret_cast<float *>(slice_of(p, 0, p.rank, R, e));
        each_piece(n_row * own, width, [&](int64_t i) { put(to + i, width, true, get(part + i, width)); });
    };
    const auto pull = [&](uint64_t e) {
        if (p.rank > 0) return;
#pragma unroll
        for (int r = 1; r < R; r++) {
            const int64_t n = first.id[r + 1] - first.id[r];
            const int width = width_of(n);
            const float *from = reinterpret_cast<const float *>(slice_of(p, 0, r, R, e));
            each_piece(n_row * n, width, [&](int64_t i) {
                put(y + i / n * ldy + first.id[r] + i % n, width, aligned, get(from + i, width));
            });
        }
    };
    exchange<R>(p, push, pull);
}

/* ---- spread -------------------------------------------------------------------------------------------- */

template <int R>
__global__ void __launch_bounds__(THREADS)
    spread_kernel(const peers p, const weir_spread a, uint64_t conditional) {
    const auto all = [&](auto fn) {
        int32_t before = 0;
#pragma unroll
        for (int k = 0; k < WEIR_SPREAD; k++) {
            for (int32_t i = static_cast<int32_t>(threadIdx.x); i < a.n[k]; i += THREADS)
                fn(k, i, before + i);
            before += a.n[k];
        }
    };
    const auto push = [&](uint64_t e) {
        if (p.rank > 0) return;
        all([&](int k, int32_t i, int32_t at) {
            const int32_t word = a.from[k][i];
#pragma unroll
            for (int r = 1; r < R; r++) reinterpret_cast<int32_t *>(slice_of(p, r, 0, R, e))[at] = word;
        });
    };
    const auto pull = [&](uint64_t e) {
        if (p.rank == 0) return;
        const int32_t *from = reinterpret_cast<const int32_t *>(slice_of(p, p.rank, 0, R, e));
        all([&](int k, int32_t i, int32_t at) { a.to[k][i] = from[at]; });
    };
    exchange<R>(p, push, pull);
    if (!a.loop || threadIdx.x > 0) return; /* this thread has written word 0 itself */
    if (ptx::ld_acquire(p.broken) != 0 || a.to[0][0] == 0) ptx::set_conditional(conditional, 0);
}

/* ---- host ---------------------------------------------------------------------------------------------- */

/* The peers as a launch takes them; NULL: too much for a slice, or no group. */
const peers *ready(weir_backend *be, int64_t floats, int64_t given, weir_status *why) {
    weir_cuda *cu = weir__cuda_of(be);
    *why = weir__cuda_enter(cu, "an exchange");
    if (*why == WEIR_OK && be->comm && weir__comm_ended(be->comm)) *why = WEIR_ECOMM; /* peers may be gone */
    if (*why != WEIR_OK) return nullptr;
    *why = !cu->peers ? WEIR_EINVAL : WEIR_ENOMEM;
    if (!cu->peers || floats < 0 || static_cast<size_t>(floats) > cu->peers->floats) return nullptr;
    weir__comm_count(be->comm, static_cast<size_t>(given) * sizeof(float));
    cu->peers->of.ns = static_cast<uint64_t>(be->comm->seconds * 1e9);
    return &cu->peers->of;
}

dim3 blocks_of(const peers *p, int64_t pieces) {
    const int64_t n = (pieces + THREADS - 1) / THREADS;
    return dim3(static_cast<unsigned>(n < 1 ? 1 : n < p->blocks ? n : p->blocks));
}

/* The instance for the group's size. */
#define LAUNCH_RANKS(kernel, grid, ...)                                                              \
    do {                                                                                             \
        cudaStream_t stream = weir__cuda_of(be)->stream;                                             \
        const int group = be->comm->n_rank;                                                          \
        if (group == 2) K_LAUNCH_TEAM_AFTER((kernel<2>), grid, THREADS, 0, stream)(*p, __VA_ARGS__); \
        if (group == 4) K_LAUNCH_TEAM_AFTER((kernel<4>), grid, THREADS, 0, stream)(*p, __VA_ARGS__); \
        if (group == 8) K_LAUNCH_TEAM_AFTER((kernel<8>), grid, THREADS, 0, stream)(*p, __VA_ARGS__); \
    } while (0)

template <class F> void fewest(F *kernel, int *blocks) {
    int n = 0;
    if (cudaOccupancyMaxActiveBlocksPerMultiprocessor(&n, kernel, THREADS, 0) != cudaSuccess) n = 0;
    *blocks = n < *blocks ? n : *blocks;
}

weir_status reduce_at_once(weir_backend *be, const weir_reduce *a) {
    weir_status s;
    const reduction r = reduction_of(a);
    const bool gives = be->comm && (a->has >> be->comm->rank & 1);
    const peers *p = ready(be, r.total, gives ? r.total : 0, &s);
    if (!p) return s;
    LAUNCH_RANKS(reduce_kernel, blocks_of(p, r.total / r.width), r);
    return weir__cuda_launched(be, "reduce", "n_row %lld n %lld", static_cast<long long>(a->n_row),
                               static_cast<long long>(a->n));
}

weir_status reduce_by_parts(weir_backend *be, const weir_reduce *a) {
    weir_status s;
    const reduction r = reduction_of(a);
    const int n_rank = be->comm->n_rank;
    const int64_t most = r.total / n_rank + r.width;
    const peers *p = ready(be, most, r.total / n_rank, &s);
    if (!p) return s;
    LAUNCH_RANKS(scatter_kernel, blocks_of(p, most / r.width), r);
    p = ready(be, most, r.total / n_rank, &s);
    if (!p) return s;
    LAUNCH_RANKS(gather_kernel, blocks_of(p, most / r.width), r);
    return weir__cuda_launched(be, "reduce", "n_row %lld n %lld in parts", static_cast<long long>(a->n_row),
                               static_cast<long long>(a->n));
}

/* Whole to everyone is one exchange of R - 1 times the bytes; in parts two of 2 (R - 1) / R together. */
weir_status reduce_whole_or_in_parts(weir_backend *be, const weir_reduce *a) {
    enum { LARGE = 64 << 10 }; /* floats: 256 KiB take longer than an exchange over the fastest links */
    const bool parts = be->comm && be->comm->n_rank > 2 && a->n_row * a->n > LARGE;
    return parts ? reduce_by_parts(be, a) : reduce_at_once(be, a);
}

size_t slice_of_group(weir_backend *be) {
    const weir_cuda *cu = weir__cuda_of(be);
    return cu->peers ? cu->peers->floats : 0;
}

weir_status reduce(weir_backend *be, const weir_reduce *a) {
    return reduce_rows(be, a, slice_of_group(be), reduce_whole_or_in_parts);
}

weir_status collect_some_rows(weir_backend *be, const weir_collect_rows *a) {
    weir_status s;
    const int64_t total = a->n_row * a->n;
    const peers *p = ready(be, total, total, &s);
    if (!p) return s;
    const int width = width_of(a->n);
    const firsts first = firsts_of(a->first, be->comm->n_rank);
    LAUNCH_RANKS(collect_rows_kernel, blocks_of(p, total / width), a->x, a->id, a->n_row, a->n, width, first);
    return weir__cuda_launched(be, "collect_rows", "n_row %lld n %lld", static_cast<long long>(a->n_row),
                               static_cast<long long>(a->n));
}

weir_status collect_rows(weir_backend *be, const weir_collect_rows *a) {
    return rows_of_owners(be, a, slice_of_group(be), collect_some_rows);
}

weir_status collect_some_columns(weir_backend *be, const weir_collect_columns *a) {
    weir_status s;
    const int n_rank = be->comm->n_rank, rank = be->comm->rank;
    int64_t pieces;
    const int64_t most = widest(a, n_rank, &pieces), own = a->first[rank + 1] - a->first[rank];
    const peers *p = ready(be, a->n_row * most, rank > 0 ? a->n_row * own : 0, &s);
    if (!p) return s;
    const bool aligned = k_aligned16(a->y) && a->ldy % 4 == 0;
    const firsts first = firsts_of(a->first, n_rank);
    LAUNCH_RANKS(collect_columns_kernel, blocks_of(p, pieces), a->part, own, a->y, a->ldy, a->n_row, aligned,
                 first);
    return weir__cuda_launched(be, "collect_columns", "n_row %lld", static_cast<long long>(a->n_row));
}

weir_status collect_columns(weir_backend *be, const weir_collect_columns *a) {
    return columns_of_owners(be, a, slice_of_group(be), collect_some_columns);
}

weir_status spread(weir_backend *be, const weir_spread *a) {
    if (!be->comm) return WEIR_EINVAL;
    WEIR_TRY(weir__spread_check(a, be->comm->rank));
    const uint64_t conditional = weir__cuda_of(be)->conditional;
    if (a->loop && !conditional) return WEIR_EINVAL;
    weir_status s;
    int64_t n = 0;
    for (int i = 0; i < WEIR_SPREAD; i++) n += a->n[i];
    const peers *p = ready(be, n, be->comm->rank == 0 ? n : 0, &s);
    if (!p) return s;
    LAUNCH_RANKS(spread_kernel, dim3(1), *a, conditional);
    return weir__cuda_launched(be, "spread", "%lld words", static_cast<long long>(n));
}

} // namespace

int weir__cuda_exchange_blocks(const weir_cuda *cu) {
    int n = BLOCKS;
    fewest(reduce_kernel<WEIR_RANKS>, &n);
    fewest(scatter_kernel<WEIR_RANKS>, &n);
    fewest(gather_kernel<WEIR_RANKS>, &n);
    fewest(collect_rows_kernel<WEIR_RANKS>, &n);
    fewest(collect_columns_kernel<WEIR_RANKS>, &n);
    fewest(spread_kernel<WEIR_RANKS>, &n);
    return n * cu->sm_count;
}

extern "C" const weir_exchange_ops weir__exchange_cuda = {
    "peer memory", true,         weir__cuda_join, weir__cuda_leave, weir__cuda_join_bytes,
    reduce,        collect_rows, collect_columns, spread,
};
