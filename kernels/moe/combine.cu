/* Sums of what a row's experts returned: one thread an element, one block 256 of a row. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/moe/cuda.h"
}

namespace {

enum { THREADS = 256 };

__global__ void __launch_bounds__(THREADS) combine_kernel(const weir_combine a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t i = static_cast<int64_t>(blockIdx.y) * THREADS + threadIdx.x, row = blockIdx.x;
    const int32_t *place = a.place + row * a.n_used;
    const float *weight = a.weight + row * a.n_used;
    if (i >= a.dim || place[0] < 0) return;
    float sum = 0.0f;
    for (int j = 0; j < a.n_used; j++) {
        float part = a.part[place[j] * a.ld + i];
        if (a.bias) part += a.bias[a.expert[row * a.n_used + j] * a.dim + i];
        sum = fmaf(weight[j], part, sum);
    }
    if (a.shared) sum = fmaf(1.0f / (1.0f + expf(-a.gate[row])), a.shared[row * a.ld_shared + i], sum);
    float *y = a.y + row * a.ldy + i;
    *y = __fadd_rn(*y, sum);
}

} // namespace

extern "C" weir_status weir__combine_cuda(weir_backend *be, weir_combine *a) {
    WEIR_TRY(weir__combine_check(a));
    if (a->n_row > INT32_MAX || a->dim > 65535 * static_cast<int64_t>(THREADS)) return WEIR_EINVAL;
    if (a->n_row == 0 || a->dim == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const dim3 grid(static_cast<unsigned>(a->n_row), static_cast<unsigned>((a->dim + THREADS - 1) / THREADS));
    K_LAUNCH_PDL(combine_kernel, grid, dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "combine", "n_row %lld dim %lld", (long long)a->n_row, (long long)a->dim);
}
