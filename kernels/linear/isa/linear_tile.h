#ifndef WEIR_KERNELS_LINEAR_ISA_LINEAR_TILE_H
#define WEIR_KERNELS_LINEAR_ISA_LINEAR_TILE_H

#include "kernels/linear/cpu.h"

/* Between linear_fast.c (how a product is divided, compiled for any machine) and the kernels of one
 * instruction set. */
enum {
    WEIR_TILE_ROWS = 8, /* rows of one tile: what the registers of the widest set hold */
    WEIR_AMX_ROWS = 32, /* two tile registers */
    WEIR_TILE_FP8 = 3,  /* kinds of weights that are multiplied as f32: float dtypes, and this one */
    WEIR_TILE_KINDS,
};

/* Some panels times up to 8 prepared rows, 32 with AMX. */
typedef struct weir_linear_tile {
    const unsigned char *w; /* first panel */
    int64_t panel_bytes, n_panel;
    const weir_segments *segments; /* of the inputs */
    int64_t n_pair;                /* of inputs, k_pad / 2 */
    int n_row;
    const unsigned char *x;       /* rows of k_pad f32 or bf16, x_stride bytes apart */
    int64_t x_stride, part_bytes; /* part_bytes: from one part of a row to the next */
    float *y;                     /* the column of the first panel */
    int64_t ldy;
    int64_t n_left; /* remaining columns of y */
    weir_epilogue epilogue;
    bool gated; /* panels come in pairs (gate, up), n_panel is even */
    float scale, softcap;
} weir_linear_tile;

typedef void weir_tile_fn(const weir_linear_tile *t);

/* Row to be multiplied, normalised if norm, padded with zeros to k_pad: f32 or bf16. */
typedef void weir_prepare_fn(void *dst, const float *x, const float *norm, float eps, int64_t k);

typedef struct weir_linear_kernels {
    weir_prepare_fn *prepare;                            /* f32 rows */
    int tile_rows;                                       /* of the largest tile */
    weir_tile_fn *tile[WEIR_TILE_KINDS][WEIR_TILE_ROWS]; /* [kind][n_row - 1] */
} weir_linear_kernels;

/* bf16 rows times bf16 weights; tiles of 1 to tile_rows rows. */
typedef struct weir_linear_bf16 {
    weir_prepare_fn *prepare;
    int tile_rows;
    weir_tile_fn *tile;
    /* f32 rows as WEIR_BF16_PARTS bf16 rows that add up to them, weir__bf16_part_bytes apart; NULL: f32 rows
     * are multiplied as f32 */
    weir_prepare_fn *prepare_split;
    weir_tile_fn *tile_split;
} weir_linear_bf16;

enum { WEIR_BF16_PARTS = 3 };
static inline int64_t weir__bf16_part_bytes(int64_t k_pad) { return (k_pad * 2 + 63) / 64 * 64; }

extern const weir_linear_kernels weir_linear_kernels_avx2, weir_linear_kernels_avx512;
extern const weir_linear_bf16 weir_linear_bf16_avx512, weir_linear_bf16_amx;

#endif /* WEIR_KERNELS_LINEAR_ISA_LINEAR_TILE_H */
