/* Rows of a table of embeddings, widened: one block per row, whose first thread also says what attention
 * needs to know of the row. FRAGMENT tables (a tied head): a token's inputs are in groups of two, eight
 * groups to a tile of 512 bytes. Quantised tables: a thread decodes 8 elements. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
#include "kernels/rows/row_keys.cuh"
#include "kernels/weight/quant.cuh"
extern "C" {
#include "kernels/rows/cuda.h"
}

namespace {

enum { THREADS = 128 };

struct table {
    const void *data;
    int64_t n, k, k_pad;
    int32_t first; /* id of its first row */
    bool all;      /* it has every row */
    weir_dtype dtype;
    weir_layout layout;
};

PTX_FN float element(const table &t, int64_t token, int64_t i) {
    if (t.layout == WEIR_LAYOUT_FRAGMENT) { /* kernels/weight/weight.h */
        const int64_t lane = token % 16, owner = 4 * (lane % 8) + i % 16 / 4;
        const int64_t at =
            token / 16 * t.k_pad * 16 + (i / 16 * 32 + owner) * 8 + i % 4 / 2 * 4 + lane / 8 * 2 + i % 2;
        return ptx::f32_of_bf16(static_cast<const uint16_t *>(t.data)[at]);
    }
    const int64_t at = token * t.k + i;
    if (t.dtype == WEIR_DTYPE_F32) return static_cast<const float *>(t.data)[at];
    const uint16_t h = static_cast<const uint16_t *>(t.data)[at];
    return t.dtype == WEIR_DTYPE_F16 ? ptx::f32_of_f16(h) : ptx::f32_of_bf16(h);
}

/* The table's row of an id; -1: it has none. Then x is left to the rank that does, or zeros if nobody has. */
PTX_FN int64_t row_of(const table &t, int32_t id) {
    const int64_t row = static_cast<int64_t>(id) - t.first;
    return row >= 0 && row < t.n ? row : -1;
}

__global__ void __launch_bounds__(THREADS)
    embed_kernel(float *x, const table t, const int32_t *token, float scale, const weir_row_keys keys) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t row = blockIdx.x;
    if (keys.slot && threadIdx.x == 0) make_row_keys(keys, row);
    const int64_t from = row_of(t, token[row]);
    if (from < 0 && !t.all) return;
    for (int64_t i = threadIdx.x; i < t.k; i += THREADS)
        x[row * t.k + i] = from >= 0 ? scale * element(t, from, i) : 0.0f;
}

template <int DTYPE> PTX_FN void eight_of(float *x, const uint8_t *row, int64_t i, float scale) {
    float w[8];
    quant::elements<DTYPE>(w, row, i);
#pragma unroll
    for (int v = 0; v < 8; v++) x[i + v] = scale * w[v];
}

__global__ void __launch_bounds__(THREADS)
    embed_blocks_kernel(float *x, const table t, const int32_t *token, float scale, int64_t row_bytes,
                        const weir_row_keys keys) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    if (keys.slot && threadIdx.x == 0) make_row_keys(keys, blockIdx.x);
    const int64_t from = row_of(t, token[blockIdx.x]);
    if (from < 0 && !t.all) return;
    const uint8_t *row = static_cast<const uint8_t *>(t.data) + (from >= 0 ? from : 0) * row_bytes;
    x += blockIdx.x * t.k;
    for (int64_t i = 8 * static_cast<int64_t>(threadIdx.x); i < t.k; i += 8 * THREADS) {
        switch (from >= 0 ? t.dtype : WEIR_DTYPE_COUNT) {
#define EIGHT(DTYPE) \
    case DTYPE: eight_of<DTYPE>(x, row, i, scale); break;
            QUANT_EACH(EIGHT)
            EIGHT(WEIR_DTYPE_FP8)
#undef EIGHT
        default:
            for (int v = 0; v < 8; v++) x[i + v] = 0.0f;
        }
    }
}

} // namespace

extern "C" weir_status weir__embed_cuda(weir_backend *be, weir_embed *a) {
    WEIR_TRY(weir__embed_check(a));
    if (a->table->layout == WEIR_LAYOUT_PANEL || a->n_row > INT32_MAX) return WEIR_EINVAL;
    if (a->n_row == 0) return WEIR_OK;
    weir_row_keys keys = {};
    if (a->keys) keys = *a->keys;
    if (a->table->n == 0) return a->keys ? weir__row_keys_cuda(be, &keys) : WEIR_OK;
    weir_cuda *cu = weir__cuda_of(be);
    table t = {};
    t.data = a->table->data, t.n = a->table->n, t.k = a->table->k, t.k_pad = a->table->k_pad;
    t.dtype = a->table->dtype, t.layout = a->table->layout;
    t.first = a->first, t.all = a->table->n == a->table->n_whole;
    const dim3 grid(static_cast<unsigned>(a->n_row));
    if (!weir_dtype_is_float(t.dtype)) {
        const int64_t row_bytes = weir_dtype_row_bytes(t.dtype, t.k);
        K_LAUNCH_PDL(embed_blocks_kernel, grid, dim3(THREADS), 0, cu->stream)
        (a->x, t, a->token, a->scale, row_bytes, keys);
        return weir__cuda_launched(be, "embed", "n_row %lld dim %lld", (long long)a->n_row, (long long)t.k);
    }
    K_LAUNCH_PDL(embed_kernel, grid, dim3(THREADS), 0, cu->stream)(a->x, t, a->token, a->scale, keys);
    return weir__cuda_launched(be, "embed", "n_row %lld dim %lld", (long long)a->n_row, (long long)t.k);
}
