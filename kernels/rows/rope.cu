/* Biases, norms of heads and rotary embedding of q, k and v in place, where the product left them (rope.h).
 * One warp per head: lane l holds elements l, l + 32, …; the two elements of a pair meet through shared
 * memory, since the second half may begin anywhere. Every warp computes the cosines of its own head, two per
 * lane: cheaper than a second trip to memory.
 *
 * Where rows are few the warps of k and v also put their heads into the cache: the page is looked up while
 * the head is loaded, so that it costs stores alone, of two bytes in 32 for k, which is transposed there.
 * Rows of a prompt are left to kv_append's tiles, which write whole sectors. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/attention/kv.cuh"
#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/attention/cuda.h"
#include "kernels/math/sincos.h"
#include "kernels/rows/cuda.h"
}

namespace {

enum { WARPS = 8, THREADS = 32 * WARPS, DIMS = WEIR_ROPE_CUDA_DIMS, KEEP = DIMS / 32 };
enum { FEW_ROWS = 32 /* a tile of kv_append */ };

/* A warp's head: where it is, and what is done with it. */
struct head {
    float *x;
    const float *bias, *norm;
    bool turns;
    int kept; /* which of the cache; -1: none, it is of q */
};

/* No cache, or one of elements T. */
struct no_cache {
    static constexpr bool ON = false;
    PTX_FN void find(const head &, int32_t, int32_t) {}
    PTX_FN void put(int, float) const {}
};

template <typename T> struct cache {
    static constexpr bool ON = true;
    kv_pool<T> kv;
    T *to;    /* element 0 of the warp's head; NULL: a head of q */
    int step; /* to the next element */

    explicit cache(const weir_rope *a) : kv(a->kv, a->layer), to(nullptr), step(0) {}
    PTX_FN void find(const head &o, int32_t slot, int32_t pos) {
        if (o.kept < 0) return;
        T *page = kv.page(slot, pos / WEIR_PAGE);
        const int t = pos % WEIR_PAGE;
        step = o.turns ? static_cast<int>(WEIR_PAGE) : 1;
        to = o.turns ? kv.keys(page, o.kept) + t : kv.values(page, o.kept) + t * kv.head_dim;
    }
    PTX_FN void put(int i, float x) const {
        if (to) store(to + i * step, x);
    }
};

PTX_FN head head_of(const weir_rope &a, int64_t row, int h) {
    const int64_t n = a.head_dim, at = row * a.ld;
    head o;
    o.bias = a.bias ? a.bias + h * n : nullptr; /* heads of q, k and v follow each other there */
    o.turns = h < a.n_head + a.n_head_kv;
    o.kept = h < a.n_head ? -1 : (h - a.n_head) % a.n_head_kv;
    if (h < a.n_head) {
        o.x = a.q + at + h * n, o.norm = a.q_norm;
    } else if (o.turns) {
        o.x = a.k + at + (h - a.n_head) * n, o.norm = a.k_norm;
    } else {
        o.x = a.v + at + (h - a.n_head - a.n_head_kv) * n, o.norm = nullptr;
    }
    return o;
}

/* Element i of the head in shared memory, turned. */
PTX_FN float turned(const weir_rope &a, const float *u, int i, float pos) {
    const int half = a.n_dim / 2, pair = a.interleaved ? i / 2 : i < half ? i : i - half;
    const bool first = a.interleaved ? i % 2 == 0 : i < half;
    const float other = u[a.interleaved ? i ^ 1 : first ? i + half : i - half];
    float s, c;
    wf_sincos(pos * a.inv_freq[pair], &s, &c);
    return first ? u[i] * (a.scale * c) - other * (a.scale * s)
                 : u[i] * (a.scale * c) + other * (a.scale * s);
}

template <class Cache>
__global__ void __launch_bounds__(THREADS) rope_kernel(const weir_rope a, int n_all, Cache kept) {
    K_SHARED(heads, float[WARPS][DIMS]);
    ptx::grid_wait();
    ptx::grid_launch_dependents(); /* attention reads early what was there before (weir_cuda_ahead) */
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32,
              h = static_cast<int>(blockIdx.y) * WARPS + warp;
    const int64_t row = blockIdx.x;
    if (h >= n_all || a.slot[row] < 0) return;
    const head o = head_of(a, row, h);
    kept.find(o, a.slot[row], a.pos[row]);
    float u[KEEP], sum = 0.0f;
#pragma unroll
    for (int j = 0; j < KEEP; j++) {
        const int i = lane + 32 * j;
        u[j] = i < a.head_dim ? o.x[i] + (o.bias ? o.bias[i] : 0.0f) : 0.0f;
        sum = fmaf(u[j], u[j], sum);
    }
    if (o.norm) {
        sum = k_warp_sum(sum);
        const float factor = 1.0f / sqrtf(sum / static_cast<float>(a.head_dim) + a.eps);
#pragma unroll
        for (int j = 0; j < KEEP; j++) {
            if (lane + 32 * j < a.head_dim) u[j] = u[j] * factor * o.norm[lane + 32 * j];
        }
    }
#pragma unroll
    for (int j = 0; j < KEEP; j++) heads[warp][lane + 32 * j] = u[j];
    __syncwarp(0xffffffffu);
    const float pos = static_cast<float>(a.pos[row]);
#pragma unroll
    for (int j = 0; j < KEEP; j++) {
        const int i = lane + 32 * j;
        if (i >= a.head_dim) continue;
        const float x = o.turns && i < a.n_dim ? turned(a, heads[warp], i, pos) : u[j];
        o.x[i] = x;
        kept.put(i, x);
    }
}

template <class Cache> weir_status launch(weir_cuda *cu, const weir_rope *a, const Cache &kept) {
    const int n_all = a->n_head + (a->bias || Cache::ON ? 2 : 1) * a->n_head_kv;
    const dim3 grid(static_cast<unsigned>(a->n_row), static_cast<unsigned>((n_all + WARPS - 1) / WARPS));
    K_LAUNCH_PDL(rope_kernel<Cache>, grid, dim3(THREADS), 0, cu->stream)(*a, n_all, kept);
    WEIR_TRY(weir__cuda_launched(&cu->base, "rope", "n_row %lld heads %d of %d", (long long)a->n_row, n_all,
                                 (int)a->head_dim));
    cu->left = {true, Cache::ON ? a->n_row : 0, a->slot, a->pos};
    return WEIR_OK;
}

} // namespace

extern "C" weir_status weir__rope_cuda(weir_backend *be, weir_rope *a) {
    WEIR_TRY(weir__rope_check(a));
    if (a->n_row > INT32_MAX) return WEIR_EINVAL;
    if (a->head_dim > DIMS) return WEIR_ENOTSUP;
    if (a->n_row == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const weir_dtype dtype = a->kv ? a->kv->dtype : WEIR_DTYPE_F32;
    if (dtype != WEIR_DTYPE_F32 && dtype != WEIR_DTYPE_BF16) return WEIR_EINVAL;
    if (a->kv && a->n_row <= FEW_ROWS)
        return dtype == WEIR_DTYPE_F32 ? launch(cu, a, cache<float>(a)) : launch(cu, a, cache<uint16_t>(a));
    WEIR_TRY(launch(cu, a, no_cache()));
    if (!a->kv) return WEIR_OK;
    weir_kv_append append = weir__rope_append(a);
    cu->left = {}; /* another kernel follows */
    return weir__kv_append_cuda(be, &append);
}
