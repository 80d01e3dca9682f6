#ifndef WEIR_KERNELS_COMM_PIECES_CUH
#define WEIR_KERNELS_COMM_PIECES_CUH

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"

/* What an exchange does with the data of a call, whichever way they come: pieces of 16 bytes where a row is a
 * multiple of that, else of 4, and the ranks' sums as a tree. */
namespace comm {

enum { THREADS = 128 };

/* ---- pieces -------------------------------------------------------------------------------------------- */

/* fn(i) for this thread's pieces of n floats, i being a piece's first one. */
template <class F> PTX_FN void each_piece(int64_t n, int width, F fn) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * THREADS;
    for (int64_t u = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x; u * width < n; u += step)
        fn(u * width);
}

__host__ __device__ inline int width_of(int64_t n) { return n % 4 == 0 ? 4 : 1; }

PTX_FN float4 get(const float *p, int width) {
    if (width == 4) return *reinterpret_cast<const float4 *>(p);
    float4 v = {};
    v.x = *p;
    return v;
}

PTX_FN void put(float *p, int width, bool aligned, float4 v) {
    if (width == 4 && aligned) {
        *reinterpret_cast<float4 *>(p) = v;
        return;
    }
    p[0] = v.x;
    if (width == 4) p[1] = v.y, p[2] = v.z, p[3] = v.w;
}

PTX_FN float4 plus(float4 a, float4 b) {
    a.x = a.x + b.x, a.y = a.y + b.y, a.z = a.z + b.z, a.w = a.w + b.w;
    return a;
}

/* ---- reduce -------------------------------------------------------------------------------------------- */

struct reduction {
    const float *part;
    float *y;
    int64_t ldy, n, total;
    float scale;
    uint32_t has;
    int32_t width;
    bool add, aligned; /* y */
};

/* The tree of kernels/weight/segments.h; at least one rank has inputs. */
template <int R> PTX_FN float4 tree(float4 (&v)[R], uint32_t has) {
#pragma unroll
    for (int half = 1; half < R; half *= 2) {
#pragma unroll
        for (int r = 0; r < R; r += 2 * half) {
            const bool left = has >> r & 1, right = has >> (r + half) & 1;
            if (right) v[r] = left ? plus(v[r], v[r + half]) : v[r + half];
            if (right) has |= 1u << r;
        }
    }
    return v[0];
}

/* Not to be joined with the addition that may follow. */
PTX_FN float4 times(float4 a, float s) {
    a.x = __fmul_rn(a.x, s), a.y = __fmul_rn(a.y, s), a.z = __fmul_rn(a.z, s), a.w = __fmul_rn(a.w, s);
    return a;
}

PTX_FN float *place_of(const reduction &a, int64_t i) { return a.y + i / a.n * a.ldy + i % a.n; }

PTX_FN float4 get_any(const float *p, int width) {
    float4 v = {};
    v.x = p[0];
    if (width == 4) v.y = p[1], v.z = p[2], v.w = p[3];
    return v;
}

/* Piece i of the call into y; from(r): where that of rank r is. */
template <int R, class From> PTX_FN void sum_into(const reduction &a, int64_t i, From from) {
    float4 v[R] = {};
#pragma unroll
    for (int r = 0; r < R; r++)
        if (a.has >> r & 1) v[r] = get(from(r), a.width);
    float *y = place_of(a, i);
    float4 sum = times(tree<R>(v, a.has), a.scale);
    if (a.add) sum = plus(get_any(y, a.width), sum);
    put(y, a.width, a.aligned, sum);
}

/* ---- owners -------------------------------------------------------------------------------------------- */

struct firsts {
    int64_t id[WEIR_RANKS + 1];
};

template <int R> PTX_FN int owner_of(const firsts &f, int32_t id) {
    int owner = 0;
#pragma unroll
    for (int r = 1; r < R; r++)
        if (id >= f.id[r] && f.id[r + 1] > f.id[r]) owner = r;
    return owner;
}

inline firsts firsts_of(const int64_t *first, int n_rank) {
    firsts f = {};
    for (int r = 0; r <= n_rank; r++) f.id[r] = first[r];
    return f;
}

inline reduction reduction_of(const weir_reduce *a) {
    reduction r = {};
    r.part = a->part, r.y = a->y, r.ldy = a->ldy, r.n = a->n, r.total = a->n_row * a->n;
    r.has = a->has, r.add = a->add, r.scale = weir__reduce_scale(a);
    r.width = width_of(a->n);
    r.aligned = k_aligned16(a->y) && a->ldy % 4 == 0;
    return r;
}

/* The widest share that is given, and the most pieces of one. */
inline int64_t widest(const weir_collect_columns *a, int n_rank, int64_t *pieces) {
    int64_t most = 0;
    *pieces = 0;
    for (int r = 1; r < n_rank; r++) {
        const int64_t n = a->first[r + 1] - a->first[r], of_r = a->n_row * n / width_of(n);
        most = n > most ? n : most;
        *pieces = of_r > *pieces ? of_r : *pieces;
    }
    return most;
}

/* ---- rows of a call that a slice of `floats` holds at once: the same on every rank --------------------- */

inline int64_t rows_at_once(size_t floats, int64_t n_row, int64_t width) {
    const int64_t most = width > 0 ? static_cast<int64_t>(floats) / width : 0;
    return most < 1 || most > n_row ? n_row : most;
}

/* some(be, part of the call) for as many rows at once; next(part) moves it on by that many. */
template <class Call, class Some, class Next>
weir_status by_slices(weir_backend *be, const Call *a, int64_t step, Some some, Next next) {
    Call part = *a;
    for (int64_t row = 0; row < a->n_row; row += step) {
        part.n_row = a->n_row - row < step ? a->n_row - row : step;
        WEIR_TRY(some(be, &part));
        next(&part);
    }
    return WEIR_OK;
}

/* The checks of a call, and its slices. */
template <class Some>
weir_status reduce_rows(weir_backend *be, const weir_reduce *a, size_t floats, Some some) {
    WEIR_TRY(weir__reduce_check(a));
    const int64_t step = rows_at_once(floats, a->n_row, a->n);
    return by_slices(be, a, step, some, [=](weir_reduce *part) {
        part->part += step * a->n;
        part->y += step * a->ldy;
    });
}

template <class Some>
weir_status rows_of_owners(weir_backend *be, const weir_collect_rows *a, size_t floats, Some some) {
    if (!a->x || !a->id || !a->first || a->n_row < 0) return WEIR_EINVAL;
    const int64_t step = rows_at_once(floats, a->n_row, a->n);
    return by_slices(be, a, step, some, [=](weir_collect_rows *part) {
        part->x += step * a->n;
        part->id += step;
    });
}

template <class Some>
weir_status columns_of_owners(weir_backend *be, const weir_collect_columns *a, size_t floats, Some some) {
    if (!a->first || a->n_row < 0 || !be->comm) return WEIR_EINVAL;
    const int rank = be->comm->rank;
    const int64_t own = a->first[rank + 1] - a->first[rank];
    if (rank == 0 ? !a->y : !a->part && own > 0) return WEIR_EINVAL;
    int64_t pieces;
    const int64_t step = rows_at_once(floats, a->n_row, widest(a, be->comm->n_rank, &pieces));
    return by_slices(be, a, step, some, [=](weir_collect_columns *part) {
        if (a->part) part->part += step * own;
        if (a->y) part->y += step * a->ldy;
    });
}

} // namespace comm

#endif /* WEIR_KERNELS_COMM_PIECES_CUH */
