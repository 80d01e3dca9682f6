/* What attention needs to know about rows (one thread per row), and rows picked by index (one block per row).
 * */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
#include "kernels/rows/row_keys.cuh"
extern "C" {
#include "kernels/rows/cuda.h"
}

namespace {

enum { THREADS = 128 };

__global__ void __launch_bounds__(THREADS) row_keys_kernel(const weir_row_keys a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (i < a.n_row) make_row_keys(a, i);
}

__global__ void __launch_bounds__(THREADS) gather_kernel(const weir_gather a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t row = blockIdx.x;
    const float *src = a.src + a.index[row] * a.ld_src;
    float *dst = a.dst + row * a.ld_dst;
    for (int64_t i = threadIdx.x; i < a.n_col; i += THREADS) dst[i] = src[i];
}

} // namespace

extern "C" weir_status weir__row_keys_cuda(weir_backend *be, weir_row_keys *a) {
    WEIR_TRY(weir__row_keys_check(a));
    if (a->n_row > INT32_MAX) return WEIR_EINVAL;
    if (a->n_row == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const dim3 grid(static_cast<unsigned>((a->n_row + THREADS - 1) / THREADS));
    K_LAUNCH_PDL(row_keys_kernel, grid, dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "row_keys", "n_row %lld", (long long)a->n_row);
}

extern "C" weir_status weir__gather_cuda(weir_backend *be, weir_gather *a) {
    WEIR_TRY(weir__gather_check(a));
    if (a->n_row > INT32_MAX) return WEIR_EINVAL;
    if (a->n_row == 0 || a->n_col == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    K_LAUNCH_PDL(gather_kernel, dim3(static_cast<unsigned>(a->n_row)), dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "gather", "n_row %lld n_col %lld", (long long)a->n_row,
                               (long long)a->n_col);
}
