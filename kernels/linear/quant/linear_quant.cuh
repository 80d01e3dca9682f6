#ifndef WEIR_KERNELS_LINEAR_QUANT_LINEAR_QUANT_CUH
#define WEIR_KERNELS_LINEAR_QUANT_LINEAR_QUANT_CUH

/* What the kernels of quantised weights share: rows as bytes, weights as operands of tensor cores, and the
 * terms of a sum. A warp multiplies a panel of 16 outputs by octets of 8 rows, 256 inputs at a time:
 *
 *   unit    32 inputs: a row has one scale for them, a weight one scale (q2_k, q3_k, q6_k: two)
 *   term    weight's scale * row's scale * an exact sum of bytes, plus the weight's offset * the row's sum
 *   piece   an eighth of the inputs, or a segment (pieces_of): its terms are one chain in rising order, from
 *           zero
 *   lane    4 g + t: of a unit, inputs 4 t … 4 t + 3 and 16 further of outputs g, g + 8 and of row g
 *
 * Terms, and the pieces' sums as a tree, are the same wherever a product is computed; nothing else is rounded
 * after the rows are. */
#include <type_traits>

#include "kernels/linear/linear.cuh"
#include "kernels/weight/quant.cuh"

extern "C" {
#include "kernels/linear/quant/linear_quant.h"
}

namespace linear {

constexpr int UNIT = quant::UNIT, GROUP = 256, UNITS = GROUP / UNIT, OCTET = 8;

/* S: scales of a weight's unit. Bytes of a group of inputs: of a row's octet and of a panel. */
template <int S, bool OFFSET> struct quant_form {
    static constexpr int SUMS = OFFSET ? S : 0; /* of a row's unit: sums of its inputs that an offset meets */
    static constexpr int ROW_CODES = UNITS * OCTET * UNIT;
    static constexpr int ROW_LINE = (1 + SUMS) * OCTET; /* floats of a unit: scales, sums, each of 8 rows */
    static constexpr int ROWS = ROW_CODES + UNITS * ROW_LINE * static_cast<int>(sizeof(float));
    static constexpr int CODES = UNITS * WEIR_TILE * UNIT;
    static constexpr int PANEL =
        CODES + UNITS * S * WEIR_TILE * (OFFSET ? 2 : 1) * static_cast<int>(sizeof(float));
    static_assert(ROWS % 16 == 0 && PANEL % 16 == 0, "copied 16 bytes at a time");
};

/* How a launch is divided, the same for all its blocks; from n_tile on: linear_quant_wide.cu. */
struct quant_cut {
    int64_t row_bytes, n_panel;
    int32_t dtype, block_log2, block_bytes; /* a block has 2^block_log2 inputs */
    int32_t n_tile;                         /* row tiles */
    int32_t n_block;                        /* blocks of an output: 1, or one for each piece */
    int32_t n_step;                         /* groups of inputs in all pieces */
    weir_linear_tiling tree;                /* the pieces as slices, one a part */
    unsigned char *x;                       /* (octets, n_step, ROWS) */
    float *squares;                         /* (n_row) */
    float *record;                          /* (pieces, n_row, 16 n_panel), if n_block > 1 */
};

/* The pieces of a weight's inputs. Several eighths are a chain, and segments a tree (segments.h): either way
 * it depends on the uncut weight alone. */
inline weir_segments pieces_of(const weir_weight *w) {
    if (w->split == WEIR_SPLIT_INPUTS) return w->segments;
    weir_segments s = weir__segments_of(w->k, GROUP, 0, 1);
    for (int i = 0; i < s.n; i++) s.merges[i] = i > 0;
    return s;
}

PTX_FN int64_t piece_begin(const weir_segments &s, int i) { return i > 0 ? s.end[i - 1] : 0; }
__host__ __device__ static inline int steps_of(const weir_segments &s, int i) {
    return static_cast<int>((s.end[i] - (i > 0 ? s.end[i - 1] : 0) + GROUP - 1) / GROUP);
}
PTX_FN int units_left(int64_t at, int64_t end) {
    return end - at < GROUP ? static_cast<int>((end - at) / UNIT) : UNITS;
}

/* ---- rows ---- */

/* The largest bits of 32 magnitudes, of which a lane has 8: as integers, NaN is above infinity. */
PTX_FN uint32_t largest_of_unit(const float (&v)[8]) {
    uint32_t most = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) most = max(most, __float_as_uint(v[i]) & 0x7fffffffu);
    most = max(most, __shfl_xor_sync(ALL, most, 1));
    return max(most, __shfl_xor_sync(ALL, most, 2));
}

/* Four inputs to bytes, to nearest even: 1.5 * 2^23 leaves an integer in the low bits of a float. */
PTX_FN uint32_t bytes_of(const float *v, float inverse) {
    uint32_t q[4];
#pragma unroll
    for (int i = 0; i < 4; i++) q[i] = __float_as_uint(fmaf(v[i], inverse, 12582912.0f));
    return __byte_perm(__byte_perm(q[0], q[1], 0x0040), __byte_perm(q[2], q[3], 0x0040), 0x5410);
}

/* Over the four lanes that have a unit of a row. */
template <class T> PTX_FN T sum_of_lanes(T sum) {
    sum += __shfl_xor_sync(ALL, sum, 1);
    return sum + __shfl_xor_sync(ALL, sum, 2);
}

/* A lane's inputs of a unit (zeros where x is NULL) times norm. The sum of their squares. */
PTX_FN float unit_of_row(float (&v)[8], const job &a, const float *x, int64_t at) {
    float square = 0.0f;
#pragma unroll
    for (int h = 0; h < 2; h++, at += UNIT / 2) {
        const float4 f = x ? k_load4(x, at, a.k, a.vector) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        v[4 * h] = f.x, v[4 * h + 1] = f.y, v[4 * h + 2] = f.z, v[4 * h + 3] = f.w;
        if (!a.norm || !x) continue;
        const float4 n = k_load4(a.norm, at, a.k, a.vector);
#pragma unroll
        for (int i = 0; i < 4; i++) square = fmaf(v[4 * h + i], v[4 * h + i], square);
        v[4 * h] *= n.x, v[4 * h + 1] *= n.y, v[4 * h + 2] *= n.z, v[4 * h + 3] *= n.w;
    }
    return square;
}

/* Of an octet's pieces, in turn. */
PTX_FN float sum_squares(const float *piece, int n) {
    float sum = *piece;
    for (int i = 1; i < n; i++) sum += piece[i * OCTET];
    return sum;
}

/* A group of inputs of an octet as bytes. 2^log2 rows (1, 2, 4, 8) take 8 / 2^log2 units at once: lanes
 * 4 g + t have row g % 2^log2, of which x is (NULL: there is none). *square: the chain of its units' squares.
 * What is written nowhere belongs to other rows, whose sums nobody reads. */
template <int S, bool OFFSET>
PTX_FN void quantise(unsigned char *to, const job &a, const float *x, int log2, int64_t at, int units,
                     float *square) {
    using F = quant_form<S, OFFSET>;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, row = g & ((1 << log2) - 1);
    float *scales = reinterpret_cast<float *>(to + F::ROW_CODES) + row;
#pragma unroll 2
    for (int u0 = 0; u0 < units; u0 += OCTET >> log2) {
        const int u = u0 + (g >> log2);
        const bool mine = u < units;
        float v[8];
        const float squares = unit_of_row(v, a, mine ? x : nullptr, at + u * UNIT + 4 * t);
        if (a.norm) {
            const float of_unit = sum_of_lanes(squares);
            for (int i = row; i < OCTET; i += 1 << log2) *square += __shfl_sync(ALL, of_unit, 4 * i);
        }
        const uint32_t bits = largest_of_unit(v);
        const float largest = __uint_as_float(bits);
        const bool number = bits < 0x7f800000u, some = number && largest >= WEIR_QUANT_LEAST;
        const float inverse = some ? 127.0f / largest : 0.0f;
        const float scale = some ? largest * (1.0f / 127.0f) : number ? 0.0f : __uint_as_float(0x7fffffffu);
        const uint2 q = make_uint2(bytes_of(v, inverse), bytes_of(v + 4, inverse));
        float *line = scales + u * F::ROW_LINE;
        if (mine) reinterpret_cast<uint2 *>(to)[u * 32 + row * 4 + t] = q;
        if (mine && t == 0) line[0] = scale;
        if constexpr (OFFSET) {
            const int low = __dp4a(static_cast<int>(q.x), 0x01010101, 0),
                      high = __dp4a(static_cast<int>(q.y), 0x01010101, 0);
            const float sum = static_cast<float>(sum_of_lanes(S == 1 ? low + high : low));
            if (mine && t == 0) line[OCTET] = scale * sum;
            if constexpr (S == 2) {
                const float upper = static_cast<float>(sum_of_lanes(high));
                if (mine && t == 0) line[2 * OCTET] = scale * upper;
            }
        }
    }
}

/* ---- weights ---- */

/* Row i of a panel of a group's matrix; of a gated pair panels are gate, up, gate, up. Where there is none,
 * another. A group's number takes fewer registers than where its matrix begins. */
PTX_FN const uint8_t *weight_row(const job &a, const quant_cut &c, int group, int64_t panel, int i) {
    if (panel >= c.n_panel) panel = c.n_panel - 1;
    const int64_t n = (a.gated ? panel / 2 : panel) * WEIR_TILE + i;
    const int64_t matrix = a.gated ? 2 * group + panel % 2 : group;
    const int64_t row = matrix * a.n + (n < a.n ? n : a.n - 1);
    return static_cast<const uint8_t *>(a.w) + row * c.row_bytes;
}

/* Asks for a panel's group of inputs, some groups ahead: what the registers of a warp have under way is far
 * less than memory needs. */
PTX_FN void prefetch(const job &a, const quant_cut &c, int group, int64_t panel, int64_t at, int64_t end) {
    if (at >= end) return;
    const int lane = ptx::opaque(threadIdx.x) % 32;
    const uint8_t *row = weight_row(a, c, group, panel, lane / 2);
    if (at + GROUP < end) end = at + GROUP;
    const int64_t to = (end >> c.block_log2) * c.block_bytes;
#pragma unroll 1
    for (int64_t i = (at >> c.block_log2) * c.block_bytes + lane % 2 * 128; i < to; i += 256)
        ptx::prefetch_l2(row + i);
}

/* A panel's group of inputs from two rows of blocks to operands of mma, and their scales. */
template <int DTYPE>
PTX_FN void decode_as(unsigned char *to, const uint8_t *const (&row)[2], int64_t at, int units, int lane) {
    constexpr quant::format f = quant::format_of(DTYPE);
    using F = quant_form<f.scales, f.offset>;
    constexpr bool whole = f.units == UNITS; /* a block is a group */
    const int g = lane / 4, t = lane % 4;
    const int64_t first = at / (f.units * UNIT) * f.bytes;
    /* four units, the most that share bytes, of either row: as many loads as registers hold */
#pragma unroll(f.scales == 1 ? 2 : 1)
    for (int i = 0; i < (units + 3) / 4 * 2; i++) {
        const uint8_t *block = (i % 2 ? row[1] : row[0]) + first;
#pragma unroll
        for (int v = 0; v < 4; v++) {
            const int u = i / 2 * 4 + v, of = whole ? u : u % f.units;
            if (!whole && u >= units) continue;
            const uint8_t *b = block + (whole ? 0 : u / f.units * f.bytes);
            reinterpret_cast<uint2 *>(to)[(u * 32 + lane) * 2 + i % 2] =
                make_uint2(quant::codes<DTYPE>(b, of, t), quant::codes<DTYPE>(b, of, 4 + t));
        }
    }
    float *scales = reinterpret_cast<float *>(to + F::CODES);
#pragma unroll 2
    for (int h = 0; h < 2 * f.scales; h++) {
        const int i = t * 2 * f.scales + h; /* of the group */
        if (!whole && i >= units) continue;
        const int of = whole ? i : i % f.units; /* blocks that are no group have one scale a unit */
        const int64_t b = first + (whole ? 0 : i / f.units * f.bytes);
        const quant::scale low = quant::scale_of<DTYPE>(row[0] + b, of),
                           high = quant::scale_of<DTYPE>(row[1] + b, of);
        if constexpr (f.offset)
            reinterpret_cast<float4 *>(scales)[i * 8 + g] =
                make_float4(low.scale, high.scale, low.offset, high.offset);
        else
            reinterpret_cast<float2 *>(scales)[i * 8 + g] = make_float2(low.scale, high.scale);
    }
}

template <int S, bool OFFSET>
PTX_FN void decode(unsigned char *to, const job &a, const quant_cut &c, int group, int64_t panel, int64_t at,
                   int units) {
    const int lane = ptx::opaque(threadIdx.x) % 32, g = lane / 4;
    const uint8_t *const row[2] = {weight_row(a, c, group, panel, g), weight_row(a, c, group, panel, g + 8)};
    switch (c.dtype) {
#define DECODE(DTYPE)                                                                                  \
    case DTYPE:                                                                                        \
        if constexpr (quant::format_of(DTYPE).scales == S && quant::format_of(DTYPE).offset == OFFSET) \
            decode_as<DTYPE>(to, row, at, units, lane);                                                \
        break;
        QUANT_EACH(DECODE)
#undef DECODE
    default: break;
    }
}

/* ---- terms ---- */

/* The sums' start: as floats, 1.5 * 2^23 and what is added to these integers (below 2^22). */
constexpr int32_t MAGIC = 0x4b400000;

PTX_FN void start(int32_t (&sum)[4]) { sum[0] = sum[1] = sum[2] = sum[3] = MAGIC; }

/* Outputs g, g + 8 and rows 2 t, 2 t + 1. */
PTX_FN void add_scaled(float (&acc)[4], const int32_t (&sum)[4], float s0, float s1, float2 row) {
    const float s[4] = {s0 * row.x, s0 * row.y, s1 * row.x, s1 * row.y};
#pragma unroll
    for (int i = 0; i < 4; i++) acc[i] = fmaf(__int_as_float(sum[i]) - 12582912.0f, s[i], acc[i]);
}
PTX_FN void add_offset(float (&acc)[4], float o0, float o1, float2 sum) {
    acc[0] = fmaf(o0, sum.x, acc[0]), acc[1] = fmaf(o0, sum.y, acc[1]);
    acc[2] = fmaf(o1, sum.x, acc[2]), acc[3] = fmaf(o1, sum.y, acc[3]);
}

/* acc[j] += the terms of a group: a panel times octet j < octets of rows, which lie `step` bytes apart. */
template <int S, bool OFFSET, int N>
PTX_FN void multiply(float (&acc)[N][4], const unsigned char *panel, const unsigned char *rows, int step,
                     int units, int octets) {
    using F = quant_form<S, OFFSET>;
    using scale = std::conditional_t<OFFSET, float4, float2>;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const uint4 *codes = reinterpret_cast<const uint4 *>(panel) + lane;
    const scale *scales = reinterpret_cast<const scale *>(panel + F::CODES) + g;
#pragma unroll 1
    for (int u = 0; u < units; u++) {
        const uint4 w = codes[u * 32];
        scale s[S];
#pragma unroll
        for (int p = 0; p < S; p++) s[p] = scales[(u * S + p) * 8];
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (j >= octets) continue;
            const unsigned char *of = rows + j * step;
            const uint2 x = reinterpret_cast<const uint2 *>(of)[u * 32 + lane];
            const float *line = reinterpret_cast<const float *>(of + F::ROW_CODES) + u * F::ROW_LINE + 2 * t;
            const float2 row = *reinterpret_cast<const float2 *>(line);
#pragma unroll
            for (int p = 0; p < S; p++) {
                int32_t sum[4];
                start(sum);
                if constexpr (S == 1)
                    ptx::mma_s8(sum, {w.x, w.z, w.y, w.w}, {x.x, x.y});
                else if (p == 0)
                    ptx::mma_s8(sum, {w.x, w.z}, x.x);
                else
                    ptx::mma_s8(sum, {w.y, w.w}, x.y);
                add_scaled(acc[j], sum, s[p].x, s[p].y, row);
                if constexpr (OFFSET)
                    add_offset(acc[j], s[p].z, s[p].w,
                               *reinterpret_cast<const float2 *>(line + (1 + p) * OCTET));
            }
        }
    }
}

/* f's operator()<S, OFFSET>() for a dtype. */
template <class F> weir_status with_form(weir_dtype dtype, const F &f) {
    const quant::format of = quant::format_of(dtype);
    if (of.bytes == 0) return WEIR_EINVAL;
    if (of.scales == 1) return of.offset ? f.template run<1, true>() : f.template run<1, false>();
    return of.offset ? f.template run<2, true>() : f.template run<2, false>();
}

inline quant_cut cut_of(const weir_weight *w, const weir_segments &pieces) {
    quant_cut c = {};
    c.row_bytes = static_cast<int64_t>(weir_dtype_row_bytes(w->dtype, w->k));
    c.n_panel = weir__linear_panels(w->n, w->gated);
    c.dtype = w->dtype, c.block_log2 = __builtin_ctz(static_cast<unsigned>(weir_dtype_block(w->dtype)));
    c.block_bytes = quant::format_of(w->dtype).bytes;
    c.tree.n_part = pieces.n;
    for (int i = 0; i < pieces.n; i++) {
        c.tree.part[i].slices = 1, c.tree.part[i].merges = pieces.merges[i];
        c.n_step += steps_of(pieces, i);
    }
    return c;
}

/* linear_quant_wide.cu: more than one octet of rows. ENOTSUP: scratch has no room for them. */
weir_status quant_wide_rows(weir_cuda *cu, const weir_linear *a);

} // namespace linear

#endif /* WEIR_KERNELS_LINEAR_QUANT_LINEAR_QUANT_CUH */
