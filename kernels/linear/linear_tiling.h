#ifndef WEIR_KERNELS_LINEAR_LINEAR_TILING_H
#define WEIR_KERNELS_LINEAR_LINEAR_TILING_H

#include "kernels/weight/weight.h"

/* How the device divides a product with a FRAGMENT weight into blocks of 8 warps. A unit is 16 outputs (of
 * each matrix of a gated pair) or 64; a segment's inputs may be cut into slices, one per block, whose partial
 * sums are added in rising order by the last block to finish, and then the segments as a tree
 * (kernels/weight/segments.h). Inside a block, several warps may share the tiles of a panel, taking them in
 * turn.
 *
 * This determines the order of sums, so it depends only on the uncut matrix: not on rows, device, memory or
 * how many ranks share it. A matrix that is split along its outputs is therefore cut into as many slices as
 * an eighth of it wants: eight ranks have so many blocks each, and one rank has enough for slices to cost
 * little (MODEL.md).
 *
 * Why: a block reads the inputs of its rows from L2 as f32: 4 rows k bytes for 32 panels k bytes of weights.
 * With 6 rows that adds 75% for one panel and 19% for four. But four panels make few blocks, and the device
 * needs two per SM with about 64 KB in flight each, so large matrices with few outputs are cut along their
 * inputs too. Small ones (k < 2048) are bound by latency, and a merge between blocks would cost more than the
 * inputs do. */
enum {
    WEIR_TILE = 16, /* outputs of a panel, inputs of a tile */
    WEIR_LINEAR_WARPS = 8,
    WEIR_LINEAR_ROWS = 16,  /* rows of one pass over the weights */
    WEIR_PLAN_BLOCKS = 264, /* two blocks for each of 132 SMs */
    WEIR_PLAN_EIGHTH = 132, /* one for each, of an eighth of a matrix */
    WEIR_PLAN_LONG = 2048,  /* inputs from which a merge between blocks pays */
    WEIR_PLAN_SLICE = 4096, /* inputs of a slice at most: 8 rows of them take 64 KB of shared memory */
    WEIR_PLAN_SHORT = 512,  /* inputs of a slice at least */
    WEIR_PLAN_PART = 1024,  /* of a segment's slice, since there are eight segments */
};

/* A segment's tiles and slices. */
typedef struct weir_linear_part {
    int64_t begin, tiles;
    int64_t slice;  /* tiles of a slice; the last may have fewer */
    int32_t slices; /* 1 where warps take segments */
    int32_t merges; /* kernels/weight/segments.h */
} weir_linear_part;

typedef struct weir_linear_tiling {
    int32_t panels; /* of a unit: 1, 2 (gated) or 4 */
    int32_t share;  /* warps that share a panel's tiles; 1: each of a panel's warps has a segment */
    int32_t split;  /* slices of all segments */
    int32_t n_part;
    int64_t n_unit;
    int64_t tiles; /* of k, 16 inputs each */
    weir_linear_part part[WEIR_SEGMENTS];
} weir_linear_tiling;

static inline int64_t weir__linear_panels(int64_t n, bool gated) {
    return (n + WEIR_TILE - 1) / WEIR_TILE * (gated ? 2 : 1);
}

static inline void weir__linear_slice(weir_linear_tiling *p, weir_linear_part *s, int64_t split) {
    if (split < 1) split = 1;
    s->slice = ((s->tiles + split - 1) / split + p->share - 1) / p->share * p->share;
    s->slices = (int32_t)((s->tiles + s->slice - 1) / s->slice);
    p->split += s->slices;
}

/* Slices of a matrix of k inputs that is split along its outputs, into `unit` units an eighth. */
static inline int64_t weir__linear_output_slices(int64_t k, int64_t unit) {
    int64_t split = (WEIR_PLAN_EIGHTH + unit - 1) / unit;
    if (split > k / WEIR_PLAN_SHORT) split = k / WEIR_PLAN_SHORT;
    /* There are enough units for every SM: rows that do not fit are processed in stages. */
    if (unit < 4 * WEIR_PLAN_BLOCKS && split * WEIR_PLAN_SLICE < k)
        split = (k + WEIR_PLAN_SLICE - 1) / WEIR_PLAN_SLICE;
    return split;
}

static inline weir_linear_tiling weir__linear_tiling_of(const weir_weight *w) {
    const bool inputs = w->split == WEIR_SPLIT_INPUTS, is_long = w->k_whole >= WEIR_PLAN_LONG;
    const int64_t eighth = (w->n_whole + WEIR_SEGMENTS - 1) / WEIR_SEGMENTS;
    weir_linear_tiling p;
    p.panels = w->gated ? 2 : 1;
    p.split = 0;
    if (is_long || (!inputs && weir__linear_panels(w->n_whole, w->gated) >= 2 * WEIR_PLAN_BLOCKS))
        p.panels = 4;
    p.share = inputs && !is_long ? 1 : WEIR_LINEAR_WARPS / p.panels;
    p.n_unit = (weir__linear_panels(w->n, w->gated) + p.panels - 1) / p.panels;
    p.tiles = (w->k + WEIR_TILE - 1) / WEIR_TILE;
    p.n_part = w->segments.n;
    const int64_t unit = (weir__linear_panels(eighth, w->gated) + p.panels - 1) / p.panels;
    for (int i = 0; i < p.n_part; i++) {
        weir_linear_part *s = &p.part[i];
        s->begin = i ? w->segments.end[i - 1] / WEIR_TILE : 0;
        s->tiles = (w->segments.end[i] + WEIR_TILE - 1) / WEIR_TILE - s->begin;
        s->merges = w->segments.merges[i];
        int64_t split = 1;
        if (is_long && inputs) {
            const int64_t most = s->tiles * WEIR_TILE / WEIR_PLAN_PART;
            split = (WEIR_PLAN_EIGHTH + p.n_unit - 1) / p.n_unit;
            if (split > most) split = most;
        } else if (is_long) {
            split = weir__linear_output_slices(w->k, unit);
        }
        weir__linear_slice(&p, s, split);
    }
    if (p.share == 1) p.split = 1; /* a block has all segments */
    return p;
}

/* Floats that `split` slices of one pass of 16 rows write to scratch: (split, n_unit, 16 rows, 64 outputs and
 * the sum of squares). */
static inline size_t weir__linear_partial_floats(int64_t split, int64_t n_unit) {
    if (split <= 1) return 0;
    return (size_t)split * (size_t)n_unit * WEIR_LINEAR_ROWS * (4 * WEIR_TILE + 1);
}

/* At most, for n outputs (of both matrices of a gated pair) and k inputs, however they are split. */
static inline size_t weir__linear_most_partial_floats(int64_t n, int64_t k) {
    if (k < WEIR_PLAN_LONG) return 0;
    const int64_t fewest = (n + 63) / 64, n_unit = fewest + 1; /* a gated pair's last unit may be half full */
    const int64_t each = (WEIR_PLAN_EIGHTH + fewest - 1) / fewest, eighth = (n + 511) / 512;
    int64_t inputs = WEIR_SEGMENTS + (k + WEIR_TILE - 1) / WEIR_PLAN_PART;
    if (inputs > WEIR_SEGMENTS * each) inputs = WEIR_SEGMENTS * each;
    const int64_t outputs = weir__linear_output_slices(k, eighth);
    return weir__linear_partial_floats(inputs > outputs ? inputs : outputs, n_unit);
}

#endif /* WEIR_KERNELS_LINEAR_LINEAR_TILING_H */
