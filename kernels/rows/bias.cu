/* One vector added to every row: one thread an element, one block 256 of a row. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/rows/cuda.h"
}

namespace {

enum { THREADS = 256 };

__global__ void __launch_bounds__(THREADS) bias_kernel(const weir_bias a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t i = static_cast<int64_t>(blockIdx.y) * THREADS + threadIdx.x;
    if (i < a.dim) a.x[blockIdx.x * a.ld + i] += a.bias[i];
}

} // namespace

extern "C" weir_status weir__bias_cuda(weir_backend *be, weir_bias *a) {
    WEIR_TRY(weir__bias_check(a));
    if (a->n_row > INT32_MAX || a->dim > 65535 * static_cast<int64_t>(THREADS)) return WEIR_EINVAL;
    if (a->n_row == 0 || a->dim == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const dim3 grid(static_cast<unsigned>(a->n_row), static_cast<unsigned>((a->dim + THREADS - 1) / THREADS));
    K_LAUNCH_PDL(bias_kernel, grid, dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "bias", "n_row %lld dim %lld", (long long)a->n_row, (long long)a->dim);
}
