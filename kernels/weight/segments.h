#ifndef WEIR_KERNELS_WEIGHT_SEGMENTS_H
#define WEIR_KERNELS_WEIGHT_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

/* How the inputs of a product are added up, so that a matrix which is shared out along its inputs gives the
 * same bits on 1, 2, 4 or 8 ranks. The inputs are cut into 8 segments. Each is summed from zero and rounded
 * to f32; those sums are added as
 *
 *   ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
 *
 * of which a rank's segments are a subtree. An empty segment hands its neighbour through: adding 0 would turn
 * -0 into +0. All other products have one segment. */
enum { WEIR_SEGMENTS = 8 };

/* The segments that are not empty, in rising order, and the tree as a stack: sum segment i, add the newest
 * merges[i] sums that are kept to it (kept + sum, one after the other), keep the result. The last one stays.
 * Never more than 3 are kept. */
typedef struct weir_segments {
    int64_t end[WEIR_SEGMENTS]; /* the input after the segment's last */
    int32_t merges[WEIR_SEGMENTS];
    int32_t n;
} weir_segments;

static inline weir_segments weir__no_segments(void) {
    weir_segments s;
    for (int i = 0; i < WEIR_SEGMENTS; i++) s.end[i] = 0, s.merges[i] = 0;
    s.n = 0;
    return s;
}

static inline weir_segments weir__one_segment(int64_t k) {
    weir_segments s = weir__no_segments();
    s.end[s.n++] = k;
    return s;
}

/* The first input of segment s, 0 to 8, of k inputs in units of `unit`: segment s has the units
 * floor(s m / 8) to floor((s + 1) m / 8) - 1 of the m = ceil(k / unit). */
static inline int64_t weir__segment_begin(int64_t k, int64_t unit, int s) {
    const int64_t m = (k + unit - 1) / unit, begin = s * m / WEIR_SEGMENTS * unit;
    return begin < k ? begin : k;
}

/* Those of one of n_rank (1, 2, 4, 8) ranks, counted from its first input, of k inputs of the whole matrix. A
 * rank may have none. */
static inline weir_segments weir__segments_of(int64_t k, int64_t unit, int rank, int n_rank) {
    weir_segments out = weir__no_segments();
    const int each = WEIR_SEGMENTS / n_rank, first = rank * each;
    const int64_t origin = weir__segment_begin(k, unit, first);
    bool some[4] = {false, false, false, false}; /* a sum of 2^level segments waits for its neighbour */
    for (int i = 0; i < each; i++) {
        const int64_t begin = weir__segment_begin(k, unit, first + i),
                      end = weir__segment_begin(k, unit, first + i + 1);
        bool here = end > begin;
        if (here) out.end[out.n++] = end - origin;
        int level = 0;
        for (; i >> level & 1; level++) {
            if (some[level] && here) out.merges[out.n - 1]++;
            here = here || some[level];
        }
        some[level] = here;
    }
    return out;
}

#endif /* WEIR_KERNELS_WEIGHT_SEGMENTS_H */
