/* The clamped gated unit of experts: one thread a column, one block 256 of a row. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/moe/cuda.h"
}

namespace {

enum { THREADS = 256 };

/* The group of a row: the first that ends after it; n_group if none does. */
PTX_FN int32_t group_of(const weir_glu &a, int64_t row) {
    int32_t lo = 0, hi = a.n_group;
    while (lo < hi) {
        const int32_t mid = (lo + hi) / 2;
        if (a.begin[mid + 1] > row) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

__global__ void __launch_bounds__(THREADS) glu_kernel(const weir_glu a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t i = static_cast<int64_t>(blockIdx.y) * THREADS + threadIdx.x, row = blockIdx.x;
    const int32_t group = group_of(a, row);
    if (i >= a.n_col || group == a.n_group || row < a.begin[0]) return;
    const float *bias = a.bias + 2 * a.n_col * group;
    float *x = a.x + row * a.ld;
    float g = x[i] + bias[i], u = x[a.n_col + i] + bias[a.n_col + i];
    g = g > a.limit ? a.limit : g; /* NaN passes through */
    u = u > a.limit ? a.limit : u < -a.limit ? -a.limit : u;
    x[i] = (u + 1.0f) * (g / (1.0f + expf(-WEIR_GLU_SLOPE * g)));
}

} // namespace

extern "C" weir_status weir__glu_cuda(weir_backend *be, weir_glu *a) {
    WEIR_TRY(weir__glu_check(a));
    if (a->n_row > INT32_MAX || a->n_col > 65535 * static_cast<int64_t>(THREADS)) return WEIR_EINVAL;
    if (a->n_row == 0 || a->n_col == 0) return WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    const dim3 grid(static_cast<unsigned>(a->n_row),
                    static_cast<unsigned>((a->n_col + THREADS - 1) / THREADS));
    K_LAUNCH_PDL(glu_kernel, grid, dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "glu", "n_row %lld n_col %lld", (long long)a->n_row, (long long)a->n_col);
}
