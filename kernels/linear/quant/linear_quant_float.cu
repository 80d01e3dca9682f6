/* Products with weights in blocks of 8-bit floats, which stay in the file's blocks: decoded in registers, f32
 * inputs, f32 sums. Decode rows and prompts use the same kernel, so a row has the same bits in both.
 *
 *   block   8 warps, a tile of up to 8 rows whose inputs are in shared memory as f32, times norm, 2048 at
 *           most at once
 *   warp    two rows of the weight: two adjacent outputs, or gate and up of one output
 *   lane    8 elements of every 256, of a segment in rising order; then the lanes as a tree, then
 *           the segments */
#include "kernels/linear/linear.cuh"
#include "kernels/weight/quant.cuh"

namespace linear {
namespace {

constexpr int STAGE = 2048; /* inputs; a multiple of 256 */
constexpr int V = 8;

PTX_FN void inputs(float (&to)[V], const float *p) {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
        const float4 f = *reinterpret_cast<const float4 *>(p + i);
        to[i] = f.x, to[i + 1] = f.y, to[i + 2] = f.z, to[i + 3] = f.w;
    }
}

/* acc[m R + r] += elements [begin, begin + n) of weight row m . row r's inputs in shared memory; n is a
 * multiple of 32. */
template <int DTYPE, int R>
PTX_FN void accumulate(float (&acc)[2 * R], const uint8_t *w0, const uint8_t *w1, int64_t begin,
                       const float *xs, int stride, int n) {
#pragma unroll 2
    for (int i = threadIdx.x % 32 * V; i < n; i += 32 * V) {
        float a[V], b[V];
        quant::elements<DTYPE>(a, w0, begin + i);
        quant::elements<DTYPE>(b, w1, begin + i);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float x[V];
            inputs(x, xs + r * stride + i);
#pragma unroll
            for (int v = 0; v < V; v++) {
                acc[r] = fmaf(a[v], x[v], acc[r]);
                acc[R + r] = fmaf(b[v], x[v], acc[R + r]);
            }
        }
    }
}

template <int DTYPE, int R>
__global__ void __launch_bounds__(THREADS, 2) float_kernel(const job a, int stage, int64_t row_bytes) {
    K_DYN_SHARED(float, xs); /* [R][stage], then the warps' shares of the sums of squares */
    float(*part)[WARPS] = reinterpret_cast<float(*)[WARPS]>(xs + R * stage);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int warp = threadIdx.x / 32;
    const row_tile tile = tile_of<R>(a, blockIdx.y);
    if (tile.rows == 0) return;
    const int64_t row0 = tile.row0;
    const int rows = tile.rows;
    const int64_t pair = static_cast<int64_t>(blockIdx.x) * WARPS + warp;
    const int64_t n0 = a.gated ? pair : 2 * pair;
    const int64_t m0 = n0 < a.n ? n0 : a.n - 1, m1 = a.gated ? a.n + m0 : m0 + 1 < a.n ? m0 + 1 : m0;
    const uint8_t *w0 = tile.w + m0 * row_bytes, *w1 = tile.w + m1 * row_bytes;

    const bool whole = stage >= a.k;
    if (whole || a.norm)
        take<float, 4>(a, row0, rows, 0, static_cast<int>(a.k), a.k, xs, stage, part,
                       (whole ? INPUTS : 0) | (a.norm ? SQUARES : 0));
    __syncthreads();
    kept_sums kept = {};
    float sum = 0.0f; /* of lane / (16 / R): w0's rows, then w1's */
    for (int s = 0; s < a.segments.n; s++) {
        const int64_t end = a.segments.end[s];
        float acc[2 * R] = {};
        for (int64_t at = s ? a.segments.end[s - 1] : 0; at < end; at += stage) {
            const int n = static_cast<int>(end - at < stage ? end - at : stage);
            if (!whole) {
                __syncthreads(); /* the stage before has been read */
                take<float, 4>(a, row0, rows, at, n, a.k, xs, stage, part, INPUTS);
                __syncthreads();
            }
            accumulate<DTYPE, R>(acc, w0, w1, at, xs + (whole ? at : 0), stage, n);
        }
        if (s > 0) kept.keep(sum);
        sum = kept.merge(warp_sums(acc), a.segments.merges[s]);
    }
    finish_pair<R>(a, sum, part, row0, rows, n0);
}

/* ---- host ---------------------------------------------------------------------------------------------- */

constexpr int64_t MOST_Y = 32768; /* grid.y */

template <int DTYPE, int R> weir_status launch(weir_cuda *cu, const weir_linear *a) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(float_kernel<DTYPE, R>, &asked, cu), "linear: shared memory");
    const int64_t pairs = a->w->gated ? a->w->n : (a->w->n + 1) / 2, tiles = most_tiles(a, R);
    const int stage = a->w->k < STAGE ? static_cast<int>(a->w->k) : STAGE;
    const int64_t row_bytes = weir_dtype_row_bytes(a->w->dtype, a->w->k);
    job j = job_of(a);
    for (; j.tile0 < tiles; j.tile0 += MOST_Y) {
        const int64_t left = tiles - j.tile0, now = left < MOST_Y ? left : MOST_Y;
        const dim3 grid(static_cast<unsigned>((pairs + WARPS - 1) / WARPS), static_cast<unsigned>(now));
        K_LAUNCH_PDL((float_kernel<DTYPE, R>), grid, dim3(THREADS), R * (stage + WARPS) * sizeof(float),
                     cu->stream)
        (j, stage, row_bytes);
        WEIR_TRY(launched(cu, "blocks", a));
    }
    return WEIR_OK;
}

/* A row's bits do not depend on R: an accumulator sees only its own row. */
template <int DTYPE> weir_status launch_rows(weir_cuda *cu, const weir_linear *a) {
    return most_rows(a) <= 2 ? launch<DTYPE, 2>(cu, a) : launch<DTYPE, 8>(cu, a);
}

} // namespace

weir_status quant_float_rows(weir_cuda *cu, const weir_linear *a) {
    if (a->w->dtype != WEIR_DTYPE_FP8) return WEIR_EINVAL;
    WEIR_TRY(launch_rows<WEIR_DTYPE_FP8>(cu, a));
    return a->minmax ? minmaxes(cu, a) : WEIR_OK;
}

} // namespace linear
