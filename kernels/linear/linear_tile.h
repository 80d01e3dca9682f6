#ifndef WEIR_KERNELS_LINEAR_LINEAR_TILE_H
#define WEIR_KERNELS_LINEAR_LINEAR_TILE_H

#include "kernels/linear/cpu.h"

/* Between linear_fast.c (how a product is divided, compiled for any machine) and the kernels of one
 * instruction set. */
enum {
    WEIR_TILE_ROWS = 8, /* rows of one tile: what the registers of the widest set hold */
    WEIR_AMX_ROWS = 16, /* what a tile register holds */
};

/* Some panels times up to 8 prepared rows, 16 with AMX. */
typedef struct weir_linear_tile {
    const unsigned char *w; /* first panel */
    int64_t panel_bytes, n_panel;
    const weir_segments *segments; /* of the inputs */
    int64_t n_pair;                /* of inputs, k_pad / 2 */
    int n_row;
    const unsigned char *x;        /* rows of k_pad f32 or bf16, x_stride bytes apart */
    int64_t x_stride;
    float *y; /* the column of the first panel */
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
    weir_prepare_fn *prepare;              /* f32 rows */
    int tile_rows;                         /* of the largest tile */
    weir_tile_fn *tile[3][WEIR_TILE_ROWS]; /* [dtype][n_row - 1] */
} weir_linear_kernels;

/* bf16 rows times bf16 weights. */
typedef struct weir_linear_bf16 {
    weir_prepare_fn *prepare;
    int tile_rows;
    weir_tile_fn *tile[WEIR_AMX_ROWS];
} weir_linear_bf16;

extern const weir_linear_kernels weir_linear_kernels_avx2, weir_linear_kernels_avx512;
extern const weir_linear_bf16 weir_linear_bf16_avx512, weir_linear_bf16_amx;

#endif /* WEIR_KERNELS_LINEAR_LINEAR_TILE_H */
