#ifndef WEIR_KERNELS_LINEAR_SLICES_CUH
#define WEIR_KERNELS_LINEAR_SLICES_CUH

/* Where a product's slices are, and how their sums are added: segments (kernels/weight/segments.h) as a
 * tree. */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"
extern "C" {
#include "kernels/linear/linear_tiling.h"
}

namespace linear {

enum { WARPS = WEIR_LINEAR_WARPS, THREADS = 32 * WARPS };
constexpr int TILE_BYTES = 512; /* of a FRAGMENT weight */

/* The sums that are kept, in registers. */
struct kept_sums {
    float newest, second, third;

    PTX_FN float merge(float sum, int merges) {
        for (int m = 0; m < merges; m++) {
            sum = newest + sum;
            newest = second, second = third;
        }
        return sum;
    }
    PTX_FN void keep(float sum) { third = second, second = newest, newest = sum; }
};

/* Whether no segment is empty: then the merges are those of sum_segments. */
PTX_FN bool all_segments(const weir_linear_part *part, int n_part) {
    return n_part == WEIR_SEGMENTS && part[WEIR_SEGMENTS - 1].merges == 3;
}

/* Sums of N outputs at once, so that their loads are in flight together: output j is at[j] floats from the
 * first one. */

/* One slice of each segment, `hop` floats apart. */
template <int N>
PTX_FN void load_segments(float (&v)[WEIR_SEGMENTS][N], const float *from, const int (&at)[N], int64_t hop) {
#pragma unroll
    for (int i = 0; i < WEIR_SEGMENTS; i++, from += hop) {
#pragma unroll
        for (int j = 0; j < N; j++) v[i][j] = from[at[j]];
    }
}

/* All eight segments as a tree, of `each` slices in rising order. */
template <int N>
PTX_FN void sum_segments(float (&sum)[N], const float *from, const int (&at)[N], int64_t step, int each) {
    float v[WEIR_SEGMENTS][N];
    load_segments(v, from, at, each * step);
#pragma unroll 1
    for (int z = 1; z < each; z++) {
        float next[WEIR_SEGMENTS][N];
        load_segments(next, from += step, at, each * step);
#pragma unroll
        for (int i = 0; i < WEIR_SEGMENTS; i++) {
#pragma unroll
            for (int j = 0; j < N; j++) v[i][j] += next[i][j];
        }
    }
#pragma unroll
    for (int j = 0; j < N; j++)
        sum[j] = ((v[0][j] + v[1][j]) + (v[2][j] + v[3][j])) + ((v[4][j] + v[5][j]) + (v[6][j] + v[7][j]));
}

PTX_FN float sum_segments(const float *from, int64_t step) {
    const int at[1] = {};
    float sum[1];
    sum_segments(sum, from, at, step, 1);
    return sum[0];
}

/* A segment's slices in rising order, four loads of each output in flight besides the first. */
template <int N>
PTX_FN void sum_segment(float (&sum)[N], const float *from, const int (&at)[N], int64_t step, int n) {
#pragma unroll
    for (int j = 0; j < N; j++) sum[j] = from[at[j]];
#pragma unroll 1
    for (int z = 1; z < n; z += 4) {
        float v[4][N];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            from += step;
#pragma unroll
            for (int j = 0; j < N; j++) v[i][j] = z + i < n ? from[at[j]] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                if (z + i < n) sum[j] += v[i][j];
            }
        }
    }
}

/* The sums of a product's slices, which lie `step` floats apart: a segment's in rising order, then the
 * segments as a tree. each: slices of every segment, if none is empty and all have as many; or 0. */
template <int N>
PTX_FN void sum_slices(float (&all)[N], const float *from, const int (&at)[N], int64_t step,
                       const weir_linear_tiling &p, int each) {
    if (each) return sum_segments(all, from, at, step, each);
    if (p.n_part == 1) return sum_segment(all, from, at, step, p.part[0].slices);
    kept_sums kept[N] = {};
#pragma unroll
    for (int j = 0; j < N; j++) all[j] = 0.0f;
    for (int s = 0; s < p.n_part; s++) {
        float sum[N];
        sum_segment(sum, from, at, step, p.part[s].slices);
        from += p.part[s].slices * step;
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (s > 0) kept[j].keep(all[j]);
            all[j] = kept[j].merge(sum[j], p.part[s].merges);
        }
    }
}

PTX_FN float sum_slices(const float *from, int64_t step, const weir_linear_tiling &p) {
    const int at[1] = {};
    float all[1];
    sum_slices(all, from, at, step, p, p.split == WEIR_SEGMENTS && all_segments(p.part, p.n_part));
    return all[0];
}

/* The same of segments of one slice each, near enough to be read one by one. */
PTX_FN float sum_pieces(const float *from, int64_t step, const weir_linear_tiling &p) {
    kept_sums kept = {};
    float all = 0.0f;
    for (int s = 0; s < p.n_part; s++, from += step) {
        if (s > 0) kept.keep(all);
        all = kept.merge(*from, p.part[s].merges);
    }
    return all;
}

/* Tiles of a slice. */
struct slice_tiles {
    int first, count;
};

/* Slice z, of whichever segment. */
PTX_FN slice_tiles slice_at(const weir_linear_tiling &p, int z) {
    int i = 0;
    while (z >= p.part[i].slices) z -= p.part[i++].slices;
    const weir_linear_part &s = p.part[i];
    const int slice = static_cast<int>(s.slice), begin = z * slice, left = static_cast<int>(s.tiles) - begin;
    return {static_cast<int>(s.begin) + begin, left < slice ? left : slice};
}

} // namespace linear

#endif /* WEIR_KERNELS_LINEAR_SLICES_CUH */
