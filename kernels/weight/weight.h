#ifndef WEIR_KERNELS_WEIGHT_WEIGHT_H
#define WEIR_KERNELS_WEIGHT_WEIGHT_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"
#include "kernels/weight/layout.h"
#include "kernels/weight/segments.h"

/* How the elements of a matrix are stored.
 *   PANEL     the CPU: panels of 16 outputs, below
 *   FRAGMENT  CUDA, bf16, rows of decode and verify: tiles of 16 outputs x 16 inputs as the A operand of
 *             mma.m16n8k16 wants them, [n_panel][k_pad / 16][32 lanes][8]. Lane 4 g + t holds, in order, of
 *             outputs g, g + 8, g, g + 8 the input pairs 4 t, 4 t, 4 t + 2, 4 t + 2 (and each one's
 *             neighbour): inputs are permuted inside a tile so that a lane's activations are four in a row
 *   ROWS      CUDA, everything else: row-major (n, k), no padding; gated: n rows of gate, then n of up */
typedef enum weir_layout { WEIR_LAYOUT_PANEL = 0, WEIR_LAYOUT_FRAGMENT, WEIR_LAYOUT_ROWS } weir_layout;

/* What a matrix is for: rows of decode and verify (a head too), or prompts and look-ups only. */
typedef enum weir_use { WEIR_USE_ROWS = 0, WEIR_USE_PREFILL } weir_use;

/* Along which dimension ranks share a matrix of decode and verify rows. The order of a product's sums follows
 * from it and from the uncut matrix, at one rank too (linear.h). */
typedef enum weir_split {
    WEIR_SPLIT_OUTPUTS = 0, /* a rank has some outputs and all inputs */
    WEIR_SPLIT_INPUTS,      /* a rank has some inputs and all outputs: partial sums are added afterwards */
} weir_split;

/* A backend's layout. device: its memory is not host memory. */
static inline weir_layout weir__layout_of(bool device, weir_dtype dtype, weir_use use) {
    if (!device) return WEIR_LAYOUT_PANEL;
    return dtype == WEIR_DTYPE_BF16 && use == WEIR_USE_ROWS ? WEIR_LAYOUT_FRAGMENT : WEIR_LAYOUT_ROWS;
}

/* A weight matrix as an op reads it: pointer, dtype, block layout, shape. Quantisation is a dtype,
 * never another op. The CPU keeps matrices in panels of 16 outputs, so that one vector load feeds
 * 16 dot products and none needs a horizontal sum:
 *
 *   16-bit  [n_panel][k_pad / 2][16][2]    output n = 16 * panel + lane, k = 2 * pair + half
 *   32-bit  [n_panel][k_pad][16]
 *
 * n is padded to 16 and k to 2 (FRAGMENT: 16) with zeros. Quantised matrices are in panels of 16 outputs too,
 * with a file's block stored word by word (weight_quant.h); k is whole blocks. They are copied like the
 * others, not read from the mapped file: six rows cost little more than one only if a vector holds many
 * outputs, which rows of a file do not. A copy takes 0.7 s per GB and thread (Sapphire Rapids), including
 * page faults. A gated pair (gate, up; same shape) interleaves panels: panel 2j holds gate outputs
 * 16j…16j+15, panel 2j+1 the up outputs of the same indices. */
typedef struct weir_weight {
    void *data; /* backend memory, owned: free with weir__weight_free (pack.h) */
    weir_dtype dtype;
    int64_t n, k;    /* logical outputs and inputs; for a gated pair, n of one of the two */
    int64_t n_panel; /* ceil(n / 16), twice that when gated; ROWS: 0 */
    int64_t k_pad;   /* k rounded up to 2 (FRAGMENT: 16); ROWS, quantised: k */
    bool gated;
    weir_layout layout;
    weir_split split;
    int64_t n_whole, k_whole; /* of the uncut matrix */
    weir_segments segments;   /* of the k inputs; SPLIT_OUTPUTS: one */
    /* (k) or NULL, backend memory, not owned. Column j is input order[j] of the matrix that is meant. The
     * linear op does not look at it: who multiplies has put the rows, and a norm's factors, into that order
     * (kernels/rows/gather.h). Rows that are looked up (embed) may have none. */
    const int32_t *order;
} weir_weight;

/* Bytes that weir__weight_pack will allocate; the memory plan uses the same function. SIZE_MAX: no such
 * matrix. */
size_t weir__weight_bytes(weir_layout layout, weir_dtype dtype, int64_t n, int64_t k, bool gated);

/* A matrix in a layout, without its data. It is whole, SPLIT_OUTPUTS. */
weir_weight weir__weight_shape(weir_layout layout, weir_dtype dtype, int64_t n, int64_t k, bool gated);

/* Makes w, not gated, a rank's share of a matrix of k_whole inputs that is split along them in units of
 * `unit` inputs (segments.h); its data are that share's. */
void weir__weight_split_inputs(weir_weight *w, int64_t k_whole, int64_t unit, int rank, int n_rank);

/* Matrix i of several alike that lie one after another. */
weir_weight weir__weight_at(const weir_weight *w, int64_t i);

/* One element widened to f32: output n, input k, both in range; up: of a gated pair's second matrix. For the
 * portable ops and tests; slow. Host memory only. */
float weir__weight_get(const weir_weight *w, int64_t n, int64_t k, bool up);

/* Block b of output n of a quantised matrix, widened: weir_dtype_block(w->dtype) floats. Host memory only. */
void weir__weight_block(const weir_weight *w, int64_t n, int64_t b, bool up, float *out);

/* Bytes of one panel (layout PANEL). */
int64_t weir__weight_panel_bytes(const weir_weight *w);

#endif /* WEIR_KERNELS_WEIGHT_WEIGHT_H */
