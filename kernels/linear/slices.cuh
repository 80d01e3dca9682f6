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

/* All eight segments, `step` floats apart, as a tree; loads in flight together. */
PTX_FN float sum_segments(const float *from, int64_t step) {
    float v[WEIR_SEGMENTS];
#pragma unroll
    for (int i = 0; i < WEIR_SEGMENTS; i++) v[i] = from[i * step];
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

/* A segment's slices in rising order, four loads in flight. */
PTX_FN float sum_segment(const float *from, int64_t step, int n) {
    float sum = from[0];
    for (int z = 1; z < n; z += 4) {
        from += step;
        float v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) v[i] = z + i < n ? from[i * step] : 0.0f;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (z + i < n) sum += v[i];
        }
        from += 3 * step;
    }
    return sum;
}

/* The sum of a product's slices, which lie `step` floats apart: a segment's in rising order, then the
 * segments as a tree. ALONE: each segment has one slice, and they are near enough to be read one by one. */
template <bool ALONE = false>
PTX_FN float sum_slices(const float *from, int64_t step, const weir_linear_tiling &p) {
    if (!ALONE && all_segments(p.part, p.n_part) && p.split == WEIR_SEGMENTS) return sum_segments(from, step);
    kept_sums kept = {};
    float all = 0.0f;
    for (int s = 0; s < p.n_part; s++) {
        const int n = ALONE ? 1 : p.part[s].slices;
        const float sum = ALONE ? *from : sum_segment(from, step, n);
        from += n * step;
        if (s > 0) kept.keep(all);
        all = kept.merge(sum, p.part[s].merges);
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
