/* What attention needs to know about rows (one thread per row), rows picked by index (one block per row), and
 * columns in another order (one block per 512 of a row). */
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

enum { COLUMNS = 4 * THREADS }; /* of a block: a thread's four loads of each kind are under way at once */

/* Row n_row is the norm's factors. The order comes from memory, while the kernel ahead still runs. */
__global__ void __launch_bounds__(THREADS) permute_kernel(const weir_permute a) {
    const int64_t row = blockIdx.x, first = static_cast<int64_t>(blockIdx.y) * COLUMNS + threadIdx.x;
    const float *src = row < a.n_row ? a.src + row * a.ld_src : a.norm;
    float *dst = row < a.n_row ? a.dst + row * a.ld_dst : a.norm_dst;
    int32_t from[4];
    float x[4];
    for (int i = 0; i < 4; i++) from[i] = first + i * THREADS < a.n_col ? a.order[first + i * THREADS] : 0;
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    for (int i = 0; i < 4; i++) x[i] = src[from[i]];
    for (int i = 0; i < 4; i++)
        if (first + i * THREADS < a.n_col) dst[first + i * THREADS] = x[i];
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

extern "C" weir_status weir__permute_cuda(weir_backend *be, weir_permute *a) {
    WEIR_TRY(weir__permute_check(a));
    const int64_t rows = a->n_row + (a->norm ? 1 : 0), tiles = (a->n_col + COLUMNS - 1) / COLUMNS;
    if (rows > INT32_MAX || tiles > 65535) return WEIR_EINVAL;
    if (a->n_row == 0 || a->n_col == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(tiles));
    K_LAUNCH_PDL(permute_kernel, grid, dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "permute", "n_row %lld n_col %lld", (long long)a->n_row,
                               (long long)a->n_col);
}
