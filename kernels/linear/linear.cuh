#ifndef WEIR_KERNELS_LINEAR_LINEAR_CUH
#define WEIR_KERNELS_LINEAR_LINEAR_CUH

/* What the kernels of linear share: arguments in the form kernels take, rows to shared memory, epilogues,
 * minmaxes. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
#include "kernels/linear/slices.cuh"
extern "C" {
#include "kernels/linear/cuda.h"
#include "kernels/linear/linear_tiling.h"
#include "kernels/math/order.h"
}

namespace linear {

constexpr unsigned ALL = 0xffffffffu;

struct job {
    const float *x, *norm;
    int64_t ldx;
    float eps;
    const void *w;
    int64_t n, k; /* below 2^31: products of few rows count in 32 bits */
    float *y;
    int64_t ldy, n_row; /* rows: below 2^31 */
    weir_epilogue epilogue;
    float scale, softcap;
    bool gated, vector; /* vector: 16-byte loads of x and norm are aligned */
    bool settles;       /* the next kernel begins once this one's wait is over (weir_cuda_ahead) */
    weir_minmax *minmax;
    int32_t minmax_n;
    weir_segments segments;
    int64_t tile0; /* row tile of the launch's first block */
    /* of groups (linear.h); begin NULL: one matrix */
    const int32_t *begin;
    int32_t n_group, before; /* before: rows that begin counts, but the job leaves out */
    int64_t group_bytes;
};

inline job job_of(const weir_linear *a) {
    job j = {};
    j.x = a->x, j.norm = a->norm, j.ldx = a->ldx, j.eps = a->eps;
    j.w = a->w->data, j.n = a->w->n, j.k = a->w->k, j.gated = a->w->gated;
    j.y = a->y, j.ldy = a->ldy, j.n_row = a->n_row;
    j.epilogue = a->epilogue, j.scale = a->scale, j.softcap = a->softcap;
    j.vector = k_aligned16(a->x) && a->ldx % 4 == 0 && k_aligned16(a->norm);
    j.minmax = a->minmax, j.minmax_n = a->minmax_n;
    j.segments = a->w->segments;
    if (!a->groups) return j;
    j.begin = a->groups->begin, j.n_group = a->groups->n;
    j.group_bytes =
        static_cast<int64_t>(weir__weight_bytes(a->w->layout, a->w->dtype, a->w->n, a->w->k, a->w->gated));
    return j;
}

/* The job's rows from `at` on, `rows` at most. */
inline job rows_of(job j, int64_t at, int64_t rows) {
    j.x += at * j.ldx;
    j.y += at * j.ldy;
    j.n_row = j.n_row - at < rows ? j.n_row - at : rows;
    j.before += static_cast<int32_t>(at);
    if (j.minmax) j.minmax += at * weir__minmax_count(j.minmax_n);
    return j;
}

/* ---- tiles of rows ---- */

/* Rows of one matrix, at most. */
inline int64_t most_rows(const weir_linear *a) {
    return a->groups && a->groups->most < a->n_row ? a->groups->most : a->n_row;
}

/* Tiles of `rows` rows that n_row of them make, at most: those of a group begin with it. */
inline int64_t most_tiles(const weir_linear *a, int64_t rows, int64_t n_row) {
    if (!a->groups) return (n_row + rows - 1) / rows;
    const int64_t full = most_rows(a) > rows ? n_row / rows : 0, n = full + a->groups->n;
    return n < n_row ? n : n_row;
}
inline int64_t most_tiles(const weir_linear *a, int64_t rows) { return most_tiles(a, rows, a->n_row); }

/* Rows of one matrix as the host expects them, which does not know the groups' begins: their mean. */
inline int64_t mean_rows(const weir_linear *a) {
    if (!a->groups) return a->n_row;
    return a->n_row / (a->groups->n_all > a->groups->n ? a->groups->n_all : a->groups->n);
}

/* Rows that a tile should have room for, where a tile has many: few groups have twice the mean. */
inline int64_t tall_rows(const weir_linear *a) {
    const int64_t rows = a->groups ? 2 * mean_rows(a) : a->n_row, most = most_rows(a);
    return rows < most ? rows : most;
}

struct row_tile {
    int64_t row0;
    int rows; /* 0: there is no such tile */
    int group;
    const unsigned char *w;
};

/* A group's first row, of the job's. */
PTX_FN int begin_of(const job &a, int group) {
    const int at = a.begin[group] - a.before, n_row = static_cast<int>(a.n_row);
    return at < 0 ? 0 : at < n_row ? at : n_row;
}

/* Whether a row is one of a matrix. */
PTX_FN bool is_grouped(const job &a, int64_t row) {
    return !a.begin || (row >= begin_of(a, 0) && row < begin_of(a, a.n_group));
}

/* Tile `at` of a product of groups. Every warp looks: a lane counts the tiles of some groups in a row, and
 * the one whose groups have the tile finds it. */
template <int ROWS> PTX_FN row_tile group_tile(const job &a, int64_t at) {
    const int lane = threadIdx.x % 32, each = (a.n_group + 31) / 32, first = lane * each;
    const int last = first + each < a.n_group ? first + each : a.n_group;
    int own = 0;
    for (int g = first; g < last; g++) own += (begin_of(a, g + 1) - begin_of(a, g) + ROWS - 1) / ROWS;
    int upto = own;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int before = __shfl_up_sync(ALL, upto, d);
        if (lane >= d) upto += before;
    }
    const unsigned past = __ballot_sync(ALL, at < upto);
    if (past == 0) return {0, 0, 0, nullptr};
    const int owner = __popc(~past & (past - 1)); /* the lowest */
    int group = 0, row0 = 0, rows = 0;
    if (lane == owner) {
        int left = static_cast<int>(at) - (upto - own);
        for (group = first;; group++) {
            const int begin = begin_of(a, group), n = begin_of(a, group + 1) - begin;
            const int tiles = (n + ROWS - 1) / ROWS;
            row0 = begin + left * ROWS, rows = n - left * ROWS;
            if (left < tiles) break;
            left -= tiles;
        }
    }
    group = __shfl_sync(ALL, group, owner);
    row0 = __shfl_sync(ALL, row0, owner), rows = __shfl_sync(ALL, rows, owner);
    return {row0, rows < ROWS ? rows : ROWS, group,
            static_cast<const unsigned char *>(a.w) + group * a.group_bytes};
}

/* The rows of a launch's i-th tile, of one matrix. */
template <int ROWS> PTX_FN row_tile matrix_tile(const job &a, int64_t i) {
    const int row0 = static_cast<int>(a.tile0 + i) * ROWS, left = static_cast<int>(a.n_row) - row0;
    return {row0, left < ROWS ? left : ROWS, 0, static_cast<const unsigned char *>(a.w)};
}

/* The same of one matrix or of groups: then it reads what earlier kernels wrote. */
template <int ROWS> PTX_FN row_tile tile_of(const job &a, int64_t i) {
    return a.begin ? group_tile<ROWS>(a, a.tile0 + i) : matrix_tile<ROWS>(a, i);
}

/* Floats of a part of scratch, so that the next one is aligned to 256 bytes. */
template <class N> N whole_lines(N floats) { return (floats + 63) / 64 * 64; }

/* ---- one output ---- */

PTX_FN float activate(weir_epilogue e, float d) {
    if (e < WEIR_EPI_RELU) return d; /* spares most products the switch */
    switch (e) {
    case WEIR_EPI_RELU: return d < 0.0f ? 0.0f : d; /* NaN passes through */
    case WEIR_EPI_GELU_TANH:                        /* d sigmoid(2 u): avoids the cancellation in 1 + tanh */
        return d / (1.0f + expf(-1.5957691216057308f * fmaf(0.044715f * d * d, d, d)));
    case WEIR_EPI_GELU_ERF: return 0.5f * d * (1.0f + erff(d * 0.70710678118654752f));
    case WEIR_EPI_SILU: return d / (1.0f + expf(-d));
    default: return d;
    }
}

/* What y holds, if the epilogue reads it. */
PTX_FN float stored(const job &a, int64_t row, int64_t n) {
    return weir__epilogue_reads(a.epilogue) ? a.y[row * a.ldy + n] : 0.0f;
}

/* From the products of gate (or the only matrix) and up to *y; the value stored. was: what *y held. Which
 * kernel computes a row depends on how many rows there are, so no compiler may contract a product and a sum
 * in one and not in another. */
PTX_FN float finish_at(const job &a, float gate, bool gated, float up, float *y, float was) {
    float d = activate(a.epilogue, __fmul_rn(a.scale, gate));
    if (a.softcap > 0.0f) d = a.softcap * tanhf(d / a.softcap);
    if (gated) d *= up;
    if (a.epilogue == WEIR_EPI_ADD) d = __fadd_rn(d, was);
    if (a.epilogue == WEIR_EPI_MUL) d *= was;
    *y = d;
    return d;
}
PTX_FN float finish(const job &a, float gate, float up, int64_t row, int64_t n, float was) {
    return finish_at(a, gate, a.gated, up, a.y + row * a.ldy + n, was);
}
PTX_FN float finish(const job &a, float gate, float up, int64_t row, int64_t n) {
    return finish(a, gate, up, row, n, stored(a, row, n));
}

/* 1 / sqrt(mean of squares + eps); products use x norm, so that rows are read once and scaled after the
 * sum. */
PTX_FN float row_factor(const job &a, float sum_sq) {
    return a.norm ? 1.0f / sqrtf(sum_sq / static_cast<float>(static_cast<int>(a.k)) + a.eps) : 1.0f;
}

/* ---- minmaxes (minmax.h) ---- */

PTX_FN weir_minmax minmax_of(float f, bool counts, int32_t id) {
    const int32_t key = weir__order_key(f + 0.0f); /* -0 and 0 are one: the lowest id of the largest */
    weir_minmax e;
    e.lo = counts ? key : INT32_MAX;
    e.hi = counts ? key : INT32_MIN;
    e.id = counts ? id : INT32_MAX;
    return e;
}

PTX_FN weir_minmax merge(const weir_minmax &a, const weir_minmax &b) {
    const bool first = a.hi > b.hi || (a.hi == b.hi && a.id < b.id);
    weir_minmax e;
    e.lo = a.lo < b.lo ? a.lo : b.lo;
    e.hi = first ? a.hi : b.hi;
    e.id = first ? a.id : b.id;
    return e;
}

PTX_FN int64_t span_count(const job &a) { return (a.minmax_n + WEIR_EXTENT_SPAN - 1) / WEIR_EXTENT_SPAN; }

PTX_FN weir_minmax warp_merge(const weir_minmax &e) {
    weir_minmax all;
    all.lo = __reduce_min_sync(ALL, e.lo);
    all.hi = __reduce_max_sync(ALL, e.hi);
    all.id = __reduce_min_sync(ALL, e.hi == all.hi ? e.id : INT32_MAX);
    return all;
}

/* Outputs go to y alone. */
struct keeps_none {
    PTX_FN void operator()(int, int, float) const {}
};

/* y is read when it is needed. */
struct stored_late {
    PTX_FN float at(const job &a, int64_t row0, int row, int, int n) const {
        return stored(a, row0 + row, n);
    }
};

/* The first of the two columns of a unit of four panels that a lane finishes; the other one is in the panel
 * after. Of a gated pair, whose panels are gate, up, gate, up, they are an output's. */
PTX_FN int lane_column() {
    const int lane = threadIdx.x % 32;
    return lane / WEIR_TILE * 2 * WEIR_TILE + lane % WEIR_TILE;
}

/* y and minmaxes of a unit of four panels. A warp takes whole rows, so that its lanes can reduce a span.
 * sums.two(…, row of the tile, column, v): what is there and 16 columns on; returns the row's factor.
 * keep(row of the tile, output, value): where else an output goes, unless the weight is gated.
 * was.at(…, row of the tile, which of a lane's two outputs, output): what y held. */
template <class Sums, class Keep = keeps_none, class Was = stored_late>
PTX_FN void finish_large(const job &a, Sums &&sums, int64_t unit, int64_t row0, int rows,
                         const Keep &keep = Keep(), const Was &was = Was()) {
    const int lane = threadIdx.x % 32, column = lane_column(), span = static_cast<int>(unit);
    const int n0 = a.gated ? span * 32 + lane : span * WEIR_EXTENT_SPAN + column;
    for (int row = threadIdx.x / 32; row < rows; row += WARPS) {
        float v[2];
        const float factor = sums.two(a, row, column, v);
        float *y = a.y + (row0 + row) * a.ldy + n0;
        v[0] = factor * v[0], v[1] = factor * v[1];
        if (a.gated) {
            if (n0 < static_cast<int>(a.n)) finish_at(a, v[0], true, v[1], y, 0.0f);
            continue;
        }
        weir_minmax e = minmax_of(0.0f, false, 0);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int n = n0 + WEIR_TILE * h;
            if (n >= static_cast<int>(a.n)) continue;
            const float d = finish_at(a, v[h], false, 0.0f, y + WEIR_TILE * h, was.at(a, row0, row, h, n));
            keep(row, n, d);
            if (a.minmax) e = merge(e, minmax_of(d, n < a.minmax_n, n));
        }
        if (!a.minmax || span * WEIR_EXTENT_SPAN >= a.minmax_n) continue;
        e = warp_merge(e);
        if (lane == 0) a.minmax[(row0 + row) * span_count(a) + span] = e;
    }
}

/* Sums of many rows in shared memory, as finish_large wants them: 64 outputs. */
template <int LINE> struct tile_sums {
    const float *sums, *sum_sq;
    PTX_FN float two(const job &a, int row, int column, float (&v)[2]) const {
        v[0] = sums[row * LINE + column], v[1] = sums[row * LINE + column + WEIR_TILE];
        return a.norm ? row_factor(a, sum_sq[row]) : 1.0f;
    }
};

/* ---- sums over a warp ---- */

/* N sums (a power of two up to 32) over a warp's lanes, each in the order of k_warp_sum, in N - 1 exchanges
 * and the rest of a tree: in every step a lane keeps half of its values. Lane l gets sum l / (32 / N). */
template <int N, int D> PTX_FN float warp_sums_from(float (&v)[N]) {
    if constexpr (N == 1) {
        float sum = v[0];
#pragma unroll
        for (int d = D; d > 0; d /= 2) sum += __shfl_xor_sync(ALL, sum, d);
        return sum;
    } else {
        float half[N / 2];
        ptx::add_halves<D>(v, half);
        return warp_sums_from<N / 2, D / 2>(half);
    }
}
template <int N> PTX_FN float warp_sums(float (&v)[N]) { return warp_sums_from<N, 16>(v); }

/* ---- rows into shared memory ---- */

PTX_FN void put4(uint16_t *dst, const float4 &v) {
    *reinterpret_cast<uint2 *>(dst) = make_uint2(ptx::bf16x2(v.x, v.y), ptx::bf16x2(v.z, v.w));
}
PTX_FN void put4(float *dst, const float4 &v) { *reinterpret_cast<float4 *>(dst) = v; }

/* Four floats from p[at], zeros from `end` on. EVEN: all four are there, in 16 bytes that are aligned. */
template <bool EVEN> PTX_FN float4 group4(const float *p, int at, int end, bool vector) {
    if constexpr (EVEN) return *reinterpret_cast<const float4 *>(p + at);
    return k_load4(p, at, end, vector);
}

/* What take makes of rows. */
enum { INPUTS = 1, SQUARES = 2 };

/* A batch of ROWS rows: loads of STEPS groups of four inputs of each are in flight together. x: the first
 * row's first input; `rows` may be more; `full` inputs are there, of `width`. */
template <class T, int ROWS, int STEPS, bool EVEN>
PTX_FN void take_batch(const job &a, const float *x, int rows, const float *norm, int width, int full, T *xs,
                       int stride, float (*part)[WARPS], int what) {
    const int ld = static_cast<int>(a.ldx);
    float sum[ROWS] = {};
    int i0 = 4 * threadIdx.x;
    for (; i0 < full; i0 += 4 * THREADS * STEPS) {
        float4 v[ROWS][STEPS], g[STEPS] = {};
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            const int i = i0 + 4 * THREADS * s;
            if (s > 0 && i >= full) break;
            if (a.norm) g[s] = group4<EVEN>(norm, i, full, a.vector);
            int at = i; /* opaque: or each row's address is a product of its own */
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (r > 0 && r >= rows) break;
                v[r][s] = group4<EVEN>(x, at, at - i + full, a.vector);
                at = ptx::opaque(at + ld);
            }
        }
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            const int i = i0 + 4 * THREADS * s;
            if (s > 0 && i >= full) break;
            T *to = xs + i;
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (r > 0 && r >= rows) break;
                float4 &f = v[r][s];
                if (a.norm) {
                    sum[r] = fmaf(f.x, f.x, sum[r]), sum[r] = fmaf(f.y, f.y, sum[r]);
                    sum[r] = fmaf(f.z, f.z, sum[r]), sum[r] = fmaf(f.w, f.w, sum[r]);
                    f.x *= g[s].x, f.y *= g[s].y, f.z *= g[s].z, f.w *= g[s].w;
                }
                if (what & INPUTS) put4(to, f);
                to += stride;
            }
        }
    }
    for (int i = (full + 3) / 4 * 4 + 4 * threadIdx.x; (what & INPUTS) && i < width; i += 4 * THREADS) {
        for (int r = 0; r < ROWS && r < rows; r++)
            put4(xs + r * stride + i, make_float4(0.0f, 0.0f, 0.0f, 0.0f));
    }
    if (!(what & SQUARES)) return;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / (32 / ROWS);
    const float s = warp_sums(sum);
    if (lane % (32 / ROWS) == 0 && row < rows) part[row][warp] = s;
}

/* Inputs [first, first + width) of rows [row0, row0 + rows): INPUTS: times norm, as elements T at xs + r
 * stride, zeros from `end` (<= k) on. SQUARES, of rows with a norm: part[r][warp], this warp's share of the
 * sum of squares of those inputs. Its order depends only on first and end: a thread takes groups of four at
 * distance 1024 in rising order, a warp its lanes as a tree. */
template <class T, int ROWS, int STEPS>
PTX_FN void take_rows(const job &a, int64_t row0, int rows, int64_t first, int width, int64_t end, T *xs,
                      int stride, float (*part)[WARPS], int what) {
    const int left = static_cast<int>(end - first), full = left < width ? left : width;
    const float *x = a.x + row0 * a.ldx + first, *norm = a.norm ? a.norm + first : nullptr;
    if (a.vector && full % 4 == 0) {
        for (; rows > 0; rows -= ROWS) {
            take_batch<T, ROWS, STEPS, true>(a, x, rows, norm, width, full, xs, stride, part, what);
            x += ROWS * a.ldx, xs += ROWS * stride, part += ROWS;
        }
        return;
    }
#pragma unroll 1
    for (; rows > 0; rows--) {
        take_batch<T, 1, 1, false>(a, x, 1, norm, width, full, xs, stride, part, what);
        x += a.ldx, xs += stride, part++;
    }
}

/* Of one row two groups are in flight, of more one of up to ROWS rows. Both add in the same order. */
template <class T, int ROWS = 8>
PTX_FN void take(const job &a, int64_t row0, int rows, int64_t first, int width, int64_t end, T *xs,
                 int stride, float (*part)[WARPS], int what) {
    if (rows == 1) {
        take_rows<T, 1, 2>(a, row0, 1, first, width, end, xs, stride, part, what);
    } else {
        take_rows<T, ROWS, 1>(a, row0, rows, first, width, end, xs, stride, part, what);
    }
}

/* The warps' shares in order. */
PTX_FN float sum_parts(const float (&part)[WARPS]) {
    float sum = part[0];
#pragma unroll
    for (int w = 1; w < WARPS; w++) sum += part[w];
    return sum;
}

/* A warp's two rows of the weight: stores outputs n0 and n0 + 1, or n0 from gate and up. sum: value
 * lane / (16 / R) of R products with the first row, then R with the second; part[r]: row r's sum of squares
 * by warp, read only if there is a norm. */
template <int R>
PTX_FN void finish_pair(const job &a, float sum, float (*part)[WARPS], int64_t row0, int rows, int64_t n0) {
    const int lane = threadIdx.x % 32, r = lane < R ? lane : 0;
    const float d0 = __shfl_sync(ALL, sum, r * (16 / R)), d1 = __shfl_sync(ALL, sum, 16 + r * (16 / R));
    if (lane >= R || r >= rows || n0 >= a.n) return;
    const float factor = a.norm ? row_factor(a, sum_parts(part[r])) : 1.0f;
    finish(a, factor * d0, factor * d1, row0 + r, n0);
    if (!a.gated && n0 + 1 < a.n) finish(a, factor * d1, 0.0f, row0 + r, n0 + 1);
}

/* ---- entry points ---- */

/* Sums of parts of a product, as several blocks leave them in scratch. */
struct records {
    weir_linear_tiling p; /* how they are added: sum_slices */
    int64_t n_panel;      /* of a gated pair: gate, up, gate, up */
    const float *squares; /* (n_row), if there is a norm */
    const float *record;  /* (slices, n_row, 16 n_panel) */
};

/* Entry points of the other files. */
weir_status plain_rows(weir_cuda *cu, const weir_linear *a); /* linear_rows.cu: ROWS weights of floats */
weir_status quant_rows(weir_cuda *cu, const weir_linear *a); /* linear_quant.cu: ROWS weights of blocks, any
                                                                  number of rows, prompts too */
weir_status quant_float_rows(weir_cuda *cu, const weir_linear *a); /* linear_quant_float.cu: fp8 */
weir_status prefill(weir_cuda *cu, const weir_linear *a); /* linear_prefill.cu: ROWS weights through the
                                                                  library */
/* linear_wide.cu: FRAGMENT weights, many rows. ENOTSUP: they are too few, or scratch is too small for
 * them. */
weir_status wide_rows(weir_cuda *cu, const weir_linear *a);
/* linear_wide.cu: y from records. n_row: at most the 65,535 of grid.y. */
weir_status merge_records(weir_cuda *cu, const weir_linear *a, const job &j, const records &r);
/* linear_prefill.cu: rows of bf16 for a product of its own: n_row rows x norm at xs (rows, ld), zeros from k
 * up to ld, and in rows up to `rows`; squares[row]: its sum of squares, of `slice` inputs each in rising
 * order, if there is a norm. */
weir_status prepare_bf16(weir_cuda *cu, const weir_linear *a, const job &j, int64_t rows, uint16_t *xs,
                         int64_t ld, int64_t slice, float *squares);
weir_status minmaxes(weir_cuda *cu, const weir_linear *a); /* linear_rows.cu: of outputs already in y */

inline weir_status launched(weir_cuda *cu, const char *kernel, const weir_linear *a) {
    return weir__cuda_launched(&cu->base, "linear", "%s, n_row %lld n %lld k %lld %s%s", kernel,
                               (long long)a->n_row, (long long)a->w->n, (long long)a->w->k,
                               weir_dtype_name(a->w->dtype), a->w->gated ? " gated" : "");
}

} // namespace linear

#endif /* WEIR_KERNELS_LINEAR_LINEAR_CUH */
