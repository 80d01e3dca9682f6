#ifndef WEIR_KERNELS_LINEAR_LINEAR_PLAN_H
#define WEIR_KERNELS_LINEAR_LINEAR_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the device divides a product with a FRAGMENT weight into blocks of 8 warps. A unit is 16 outputs (of
 * each matrix of a gated pair) or 64; a unit's inputs may be cut into slices, one per block, whose partial
 * sums are added in rising order by the last block to finish. Inside a block, 8 / panels warps share the
 * inputs of a panel, taking tiles in turn.
 *
 * This determines the order of sums, so it depends only on the shape: not on rows, device or memory.
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
    WEIR_PLAN_LONG = 2048,  /* inputs from which a merge between blocks pays */
    WEIR_PLAN_SLICE = 4096, /* inputs of a slice at most: 8 rows of them take 64 KB of shared memory */
    WEIR_PLAN_SHORT = 512,  /* inputs of a slice at least */
};

typedef struct weir_linear_tiling {
    int32_t panels; /* of a unit: 1, 2 (gated) or 4 */
    int32_t split;  /* slices */
    int64_t n_unit;
    int64_t tiles; /* of k, 16 inputs each */
    int64_t slice; /* tiles of a slice; the last may have fewer */
} weir_linear_tiling;

static inline weir_linear_tiling weir__linear_tiling_of(int64_t n, int64_t k, bool gated) {
    const int64_t n_panel = (n + WEIR_TILE - 1) / WEIR_TILE * (gated ? 2 : 1);
    weir_linear_tiling p;
    p.panels = gated ? 2 : 1;
    p.split = 1;
    p.tiles = (k + WEIR_TILE - 1) / WEIR_TILE;
    if (k >= WEIR_PLAN_LONG || n_panel >= 2 * WEIR_PLAN_BLOCKS) p.panels = 4;
    p.n_unit = (n_panel + p.panels - 1) / p.panels;
    p.slice = p.tiles;
    if (k < WEIR_PLAN_LONG) return p;

    int64_t split = (WEIR_PLAN_BLOCKS + p.n_unit - 1) / p.n_unit;
    if (split > k / WEIR_PLAN_SHORT) split = k / WEIR_PLAN_SHORT;
    /* There are enough units for every SM: rows that do not fit are processed in stages. */
    if (p.n_unit < 4 * WEIR_PLAN_BLOCKS && split * WEIR_PLAN_SLICE < k)
        split = (k + WEIR_PLAN_SLICE - 1) / WEIR_PLAN_SLICE;
    const int64_t step = WEIR_LINEAR_WARPS / p.panels; /* slices begin with the first of a panel's warps */
    p.slice = ((p.tiles + split - 1) / split + step - 1) / step * step;
    p.split = (int32_t)((p.tiles + p.slice - 1) / p.slice);
    return p;
}

/* Floats that the slices of one pass of 16 rows write to scratch: (split, n_unit, 16 rows, 64 outputs and the
 * sum of squares). */
static inline size_t weir__linear_partial_floats(const weir_linear_tiling *p) {
    if (p->split == 1) return 0;
    return (size_t)p->split * (size_t)p->n_unit * WEIR_LINEAR_ROWS * (4 * WEIR_TILE + 1);
}

#endif /* WEIR_KERNELS_LINEAR_LINEAR_PLAN_H */
