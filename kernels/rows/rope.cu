/* Biases, norms of heads and rotary embedding of q, k and v in place, where the product left them (rope.h).
 * One warp per head: lane l holds elements l, l + 32, …; the two elements of a pair meet through shared
 * memory, since the second half may begin anywhere. Every warp computes the cosines of its own head, two per
 * lane: cheaper than a second trip to memory. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/math/sincos.h"
#include "kernels/rows/cuda.h"
}

namespace {

enum { WARPS = 8, THREADS = 32 * WARPS, DIMS = WEIR_ROPE_CUDA_DIMS, KEEP = DIMS / 32 };

/* A warp's head: where it is, and what is done with it. */
struct head {
    float *x;
    const float *bias, *norm;
    bool turns;
};

PTX_FN head head_of(const weir_rope &a, int64_t row, int h) {
    const int64_t n = a.head_dim, at = row * a.ld;
    head o;
    o.bias = a.bias ? a.bias + h * n : nullptr; /* heads of q, k and v follow each other there */
    o.turns = h < a.n_head + a.n_head_kv;
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

__global__ void __launch_bounds__(THREADS) rope_kernel(const weir_rope a, int n_all) {
    K_SHARED(heads, float[WARPS][DIMS]);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32,
              h = static_cast<int>(blockIdx.y) * WARPS + warp;
    const int64_t row = blockIdx.x;
    if (h >= n_all || a.slot[row] < 0) return;
    const head o = head_of(a, row, h);
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
        if (i < a.head_dim) o.x[i] = o.turns && i < a.n_dim ? turned(a, heads[warp], i, pos) : u[j];
    }
}

} // namespace

extern "C" weir_status weir__rope_cuda(weir_backend *be, weir_rope *a) {
    WEIR_TRY(weir__rope_check(a));
    if (a->n_row > INT32_MAX) return WEIR_EINVAL;
    if (a->head_dim > DIMS) return WEIR_ENOTSUP;
    if (a->n_row == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const int n_all = a->n_head + (a->bias ? 2 : 1) * a->n_head_kv;
    const dim3 grid(static_cast<unsigned>(a->n_row), static_cast<unsigned>((n_all + WARPS - 1) / WARPS));
    K_LAUNCH_PDL(rope_kernel, grid, dim3(THREADS), 0, cu->stream)(*a, n_all);
    return weir__cuda_launched(be, "rope", "n_row %lld heads %d of %d", (long long)a->n_row, n_all,
                               (int)a->head_dim);
}
