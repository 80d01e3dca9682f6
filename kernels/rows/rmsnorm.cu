/* RMSNorm by itself, where a model's norm is not part of a product (linear.h). One block per row; up to 16 KB
 * of the row (dim <= 4096) stay in registers, the rest is read twice. A thread takes groups of four at
 * distance 1024, a warp sums its lanes as a tree, then the warps are added in order. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/rows/cuda.h"
}

namespace {

enum { THREADS = 256, WARPS = THREADS / 32, KEEP = 4 };

struct job {
    float *y;
    const float *x, *w;
    int64_t dim, ld;
    float eps;
    bool add;
    bool vector; /* rows and w can be read 16 bytes at a time */
};

PTX_FN void store4(float *p, int64_t at, int64_t n, bool vector, const float4 &v) {
    if (vector) {
        *reinterpret_cast<float4 *>(p + at) = v;
        return;
    }
    p[at] = v.x;
    if (at + 1 < n) p[at + 1] = v.y;
    if (at + 2 < n) p[at + 2] = v.z;
    if (at + 3 < n) p[at + 3] = v.w;
}

PTX_FN float squares(const float4 &v, float sum) {
    return fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, sum))));
}

PTX_FN void put(const job &a, int64_t row, int64_t at, const float4 &v, float inv) {
    const float4 w = k_load4(a.w, at, a.dim, a.vector);
    float4 r = make_float4(v.x * inv * w.x, v.y * inv * w.y, v.z * inv * w.z, v.w * inv * w.w);
    if (a.add) {
        const float4 y = k_load4(a.y + row * a.ld, at, a.dim, a.vector);
        r.x += y.x, r.y += y.y, r.z += y.z, r.w += y.w;
    }
    store4(a.y + row * a.ld, at, a.dim, a.vector, r);
}

__global__ void __launch_bounds__(THREADS) rmsnorm_kernel(const job a) {
    K_SHARED(part, float[WARPS]);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t row = blockIdx.x;
    const float *x = a.x + row * a.ld;
    float4 keep[KEEP];
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < KEEP; j++) {
        const int64_t at = 4 * (static_cast<int64_t>(j) * THREADS + threadIdx.x);
        keep[j] = at < a.dim ? k_load4(x, at, a.dim, a.vector) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        sum = squares(keep[j], sum);
    }
    for (int64_t at = 4 * (KEEP * THREADS + static_cast<int64_t>(threadIdx.x)); at < a.dim;
         at += 4 * THREADS) {
        sum = squares(k_load4(x, at, a.dim, a.vector), sum);
    }
    sum = k_warp_sum(sum);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = part[0];
    for (int i = 1; i < WARPS; i++) sum += part[i];
    const float inv = 1.0f / sqrtf(sum / static_cast<float>(a.dim) + a.eps);
#pragma unroll
    for (int j = 0; j < KEEP; j++) {
        const int64_t at = 4 * (static_cast<int64_t>(j) * THREADS + threadIdx.x);
        if (at < a.dim) put(a, row, at, keep[j], inv);
    }
    for (int64_t at = 4 * (KEEP * THREADS + static_cast<int64_t>(threadIdx.x)); at < a.dim;
         at += 4 * THREADS) {
        put(a, row, at, k_load4(x, at, a.dim, a.vector), inv);
    }
}

} // namespace

extern "C" weir_status weir__rmsnorm_cuda(weir_backend *be, weir_rmsnorm *a) {
    WEIR_TRY(weir__rmsnorm_check(a));
    if (a->n_row > INT32_MAX) return WEIR_EINVAL;
    if (a->n_row == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    job j = {};
    j.y = a->y, j.x = a->x, j.w = a->w, j.dim = a->dim, j.eps = a->eps, j.add = a->add;
    j.ld = weir__rmsnorm_ld(a);
    j.vector =
        a->dim % 4 == 0 && j.ld % 4 == 0 && k_aligned16(a->x) && k_aligned16(a->y) && k_aligned16(a->w);
    K_LAUNCH_PDL(rmsnorm_kernel, dim3(static_cast<unsigned>(a->n_row)), dim3(THREADS), 0, cu->stream)(j);
    return weir__cuda_launched(be, "rmsnorm", "n_row %lld dim %lld", (long long)a->n_row, (long long)a->dim);
}
