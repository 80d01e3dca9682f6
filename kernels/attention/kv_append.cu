/* Writes rows of K and V to their places in the pages.
 *
 * Launch: grid (columns / 32, rows / 32), block 256. K is transposed in a page, so a tile of 32 rows x 32
 * columns is transposed in shared memory: it is read along the columns and written along the rows, whose
 * positions are consecutive in a prompt.
 *
 *   k (rows, columns)   [32][33]   page K [head_dim][64]
 *   r0  ........   ->   turned  -> d0  r0 r1 r2 ...
 *   r1  ........                   d1  r0 r1 r2 ...
 *
 * V keeps its order and is copied directly. */
#include "kernels/cuda/util.cuh"

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/attention/kv.cuh"

extern "C" {
#include "kernels/attention/cuda.h"
}

namespace {

enum { TILE = 32, THREADS = 256, WARPS = THREADS / 32 };

struct row_place {
    int32_t slot, page, t; /* slot < 0: a dead row */
};

PTX_FN row_place place_of(const int32_t *slot, const int32_t *pos, int64_t r) {
    const int32_t s = ptx::load_here(slot + r), p = ptx::load_here(pos + r);
    return {s, p / WEIR_PAGE, p % WEIR_PAGE};
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    append_tile(kv_pool<T> kv, const float *k, const float *v, int64_t ld, const int32_t *slot,
                const int32_t *pos, int64_t n_row) {
    K_SHARED(turned, float[TILE][TILE + 1]);
    ptx::grid_launch_dependents();
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int width = kv.n_head_kv * kv.head_dim, column0 = static_cast<int>(blockIdx.x) * TILE;
    const int64_t row0 = static_cast<int64_t>(blockIdx.y) * TILE;

    const int column = column0 + lane, head = column / kv.head_dim, dim = column % kv.head_dim;
    ptx::grid_wait();
    for (int i = warp; i < TILE; i += WARPS) {
        const int64_t r = row0 + i;
        if (r >= n_row || column >= width) continue;
        /* in one round trip, of a dead row too, of which nothing is used */
        const row_place at = place_of(slot, pos, r);
        const float key = ptx::load_here(k + r * ld + column), value = ptx::load_here(v + r * ld + column);
        if (at.slot < 0) continue;
        turned[i][lane] = key;
        store(kv.values(kv.page(at.slot, at.page), head) + at.t * kv.head_dim + dim, value);
    }
    __syncthreads();
    const int64_t r = row0 + lane;
    if (r >= n_row) return;
    const row_place at = place_of(slot, pos, r);
    if (at.slot < 0) return;
    T *page = kv.page(at.slot, at.page);
    for (int i = warp; i < TILE && column0 + i < width; i += WARPS) {
        const int c = column0 + i;
        store(kv.keys(page, c / kv.head_dim) + c % kv.head_dim * WEIR_PAGE + at.t, turned[lane][i]);
    }
}

template <typename T> void launch(const weir_kv_append *a, dim3 grid, cudaStream_t stream) {
    K_LAUNCH_PDL(append_tile<T>, grid, THREADS, 0, stream)
    (kv_pool<T>(a->kv, a->layer), a->k, a->v, a->ld, a->slot, a->pos, a->n_row);
}

} // namespace

extern "C" weir_status weir__kv_append_cuda(weir_backend *be, weir_kv_append *a) {
    WEIR_TRY(weir__kv_append_check(a));
    const weir_kv_view *kv = a->kv;
    const int64_t tiles = (a->n_row + TILE - 1) / TILE;
    if (kv->dtype != WEIR_DTYPE_F32 && kv->dtype != WEIR_DTYPE_BF16) return WEIR_EINVAL;
    if (tiles > 65535) return WEIR_EINVAL;
    if (a->n_row == 0) return WEIR_OK; /* a grid of no blocks is a launch error */

    const dim3 grid(static_cast<unsigned>((kv->n_head_kv * kv->head_dim + TILE - 1) / TILE),
                    static_cast<unsigned>(tiles));
    cudaStream_t stream = weir__cuda_of(be)->stream;
    if (kv->dtype == WEIR_DTYPE_F32) {
        launch<float>(a, grid, stream);
    } else {
        launch<uint16_t>(a, grid, stream);
    }
    return weir__cuda_launched(be, "kv_append", "n_row %lld n_head_kv %d head_dim %d",
                               static_cast<long long>(a->n_row), kv->n_head_kv, kv->head_dim);
}
