/* Products with ROWS weights (f32, f16; bf16 where the library is not available), and minmaxes of outputs
 * already in y. f32 and f16 are not the formats to be fast in.
 *
 *   block   8 warps, a tile of up to 8 rows whose inputs are in shared memory as f32, times norm, 2048 at
 *           most at once
 *   warp    two rows of the weight: two adjacent outputs, or gate and up of one output
 *   lane    16 bytes (V elements) of every 32 V, of a segment in rising order; then the lanes as a tree, then
 *           the segments
 *
 * Weight rows that are not a multiple of 16 bytes are read element by element. */
#include "kernels/linear/linear.cuh"

namespace linear {
namespace {

constexpr int STAGE = 2048; /* inputs; a multiple of 32 V */

PTX_FN float widen(float w) { return w; }
struct half_bits {
    uint16_t bits;
};
struct bf16_bits {
    uint16_t bits;
};
PTX_FN float widen(half_bits w) { return ptx::f32_of_f16(w.bits); }
PTX_FN float widen(bf16_bits w) { return ptx::f32_of_bf16(w.bits); }

/* V elements from p, widened. */
template <class W, int V> PTX_FN void load(float (&to)[V], const W *p) {
    W w[V];
    if constexpr (V == 1) {
        w[0] = *p;
    } else {
        const uint4 u = ptx::load_stream16(p);
        memcpy(w, &u, sizeof u);
    }
#pragma unroll
    for (int i = 0; i < V; i++) to[i] = widen(w[i]);
}

template <int V> PTX_FN void inputs(float (&to)[V], const float *p) {
    if constexpr (V == 1) {
        to[0] = *p;
    } else {
#pragma unroll
        for (int i = 0; i < V; i += 4) {
            const float4 f = *reinterpret_cast<const float4 *>(p + i);
            to[i] = f.x, to[i + 1] = f.y, to[i + 2] = f.z, to[i + 3] = f.w;
        }
    }
}

/* acc[m R + r] += weight row m . row r over n inputs in shared memory; n is a multiple of V except for the
 * last stage's padding. */
template <class W, int V, int R>
PTX_FN void accumulate(float (&acc)[2 * R], const W *w0, const W *w1, const float *xs, int stride, int n) {
#pragma unroll 4
    for (int i = threadIdx.x % 32 * V; i < n; i += 32 * V) {
        float a[V], b[V];
        load<W, V>(a, w0 + i);
        load<W, V>(b, w1 + i);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float x[V];
            inputs<V>(x, xs + r * stride + i);
#pragma unroll
            for (int v = 0; v < V; v++) {
                acc[r] = fmaf(a[v], x[v], acc[r]);
                acc[R + r] = fmaf(b[v], x[v], acc[R + r]);
            }
        }
    }
}

template <class W, int V, int R>
__global__ void __launch_bounds__(THREADS, 2) rows_kernel(const job a, int stage) {
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
    const int64_t n0 = a.gated ? pair : 2 * pair, n_weight = a.gated ? 2 * a.n : a.n;
    const int64_t m0 = n0 < a.n ? n0 : a.n - 1, m1 = a.gated ? a.n + m0 : m0 + 1 < n_weight ? m0 + 1 : m0;
    const W *w = reinterpret_cast<const W *>(tile.w), *w0 = w + m0 * a.k, *w1 = w + m1 * a.k;

    const bool whole = stage >= a.k;
    if (whole || a.norm)
        take<float, 4>(a, row0, rows, 0, static_cast<int>((a.k + 3) / 4 * 4), a.k, xs, stage, part,
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
                take<float, 2>(a, row0, rows, at, (n + 3) / 4 * 4, a.k, xs, stage, part, INPUTS);
                __syncthreads();
            }
            accumulate<W, V, R>(acc, w0 + at, w1 + at, xs + (whole ? at : 0), stage, n);
        }
        if (s > 0) kept.keep(sum);
        sum = kept.merge(warp_sums(acc), a.segments.merges[s]);
    }
    finish_pair<R>(a, sum, part, row0, rows, n0);
}

/* One warp per span of a row. */
__global__ void __launch_bounds__(THREADS) minmax_kernel(const job a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int64_t span = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / 32, row = blockIdx.y;
    if (span >= span_count(a)) return;
    const float *y = a.y + row * a.ldy;
    weir_minmax e = minmax_of(0.0f, false, 0);
    for (int64_t n = span * WEIR_EXTENT_SPAN + threadIdx.x % 32;
         n < (span + 1) * WEIR_EXTENT_SPAN && n < a.minmax_n; n += 32) {
        e = merge(e, minmax_of(y[n], true, static_cast<int32_t>(n)));
    }
    e = warp_merge(e);
    if (threadIdx.x % 32 == 0) a.minmax[row * span_count(a) + span] = e;
}

/* ---- host ---------------------------------------------------------------------------------------------- */

constexpr int64_t MOST_Y = 32768; /* grid.y */

template <class W, int V, int R> weir_status launch(weir_cuda *cu, const weir_linear *a) {
    static std::atomic<uint64_t> asked;
    WEIR_CUDA_TRY(&cu->base, allow_smem(rows_kernel<W, V, R>, &asked, cu), "linear: shared memory");
    const int64_t pairs = a->w->gated ? a->w->n : (a->w->n + 1) / 2, tiles = most_tiles(a, R);
    const int stage = a->w->k < STAGE ? static_cast<int>((a->w->k + 3) / 4 * 4) : STAGE;
    job j = job_of(a);
    for (; j.tile0 < tiles; j.tile0 += MOST_Y) {
        const int64_t left = tiles - j.tile0, now = left < MOST_Y ? left : MOST_Y;
        const dim3 grid(static_cast<unsigned>((pairs + WARPS - 1) / WARPS), static_cast<unsigned>(now));
        K_LAUNCH_PDL((rows_kernel<W, V, R>), grid, dim3(THREADS), R * (stage + WARPS) * sizeof(float),
                     cu->stream)
        (j, stage);
        WEIR_TRY(launched(cu, "rows", a));
    }
    return WEIR_OK;
}

/* A row's bits do not depend on R: an accumulator sees only its own row. */
template <class W, int V> weir_status launch_rows(weir_cuda *cu, const weir_linear *a) {
    return most_rows(a) <= 2 ? launch<W, V, 2>(cu, a) : launch<W, V, 8>(cu, a);
}

/* The inputs of a lane are part of the order of sums: the uncut matrix decides. */
template <class W> weir_status launch_dtype(weir_cuda *cu, const weir_linear *a) {
    constexpr int V = 16 / sizeof(W);
    return a->w->k_whole % V == 0 ? launch_rows<W, V>(cu, a) : launch_rows<W, 1>(cu, a);
}

} // namespace

weir_status minmaxes(weir_cuda *cu, const weir_linear *a) {
    for (int64_t r = 0; r < a->n_row; r += MOST_Y) {
        job j = job_of(a);
        j.y += r * a->ldy;
        j.minmax += r * weir__minmax_count(a->minmax_n);
        const int64_t rows = a->n_row - r < MOST_Y ? a->n_row - r : MOST_Y,
                      spans = weir__minmax_count(a->minmax_n);
        const dim3 grid(static_cast<unsigned>((spans + WARPS - 1) / WARPS), static_cast<unsigned>(rows));
        K_LAUNCH_PDL(minmax_kernel, grid, dim3(THREADS), 0, cu->stream)(j);
        WEIR_TRY(launched(cu, "minmaxes", a));
    }
    return WEIR_OK;
}

weir_status plain_rows(weir_cuda *cu, const weir_linear *a) {
    switch (a->w->dtype) {
    case WEIR_DTYPE_F32: WEIR_TRY(launch_dtype<float>(cu, a)); break;
    case WEIR_DTYPE_F16: WEIR_TRY(launch_dtype<half_bits>(cu, a)); break;
    case WEIR_DTYPE_BF16: WEIR_TRY(launch_dtype<bf16_bits>(cu, a)); break;
    default: return WEIR_EINVAL;
    }
    return a->minmax ? minmaxes(cu, a) : WEIR_OK;
}

} // namespace linear
