/* How a product is divided: rows into tiles that fit the registers, panels among workers. This cannot change
 * a bit of a result: each (row, output) is the same chains of multiply-adds wherever it is computed.
 *
 * Prefill uses the same code. A library GEMM was tried for full chunks of 64 rows, f32, one Zen 5 core:
 * OpenBLAS 0.3.21 99 GFLOP/s, these tiles 92 (AVX2) and 236 (AVX-512); and its serial build may not be called
 * from two threads at once. */
#include "kernels/linear/linear_quant.h"

enum {
    SERIAL_BYTES = 48 * 1024, /* weight bytes below which waking the other workers does not pay */
    BLOCK_BYTES = 128 * 1024, /* panels that stay in a core's cache while several row tiles pass over them */
};

typedef struct job {
    weir_backend *be;
    const weir_linear *a;
    const weir_linear_quant *quant; /* NULL: float weights */
    weir_prepare_fn *prepare;       /* NULL: rows are read where they are */
    weir_tile_fn *const *tile;
    int tile_rows;
    int64_t row_bytes;   /* of a prepared row */
    int64_t row0, n_row; /* the chunk */
    int64_t panel_bytes;
} job;

/* Whole cache lines, an odd number of them: rows a power of two apart would map to the same few cache
 * sets. */
static int64_t row_stride(int64_t bytes) { return ((bytes + 63) / 64 | 1) * 64; }

/* The tile of panels [first, first + n) for row r of the chunk. */
static weir_linear_tile tile_at(const job *j, int64_t first, int64_t n, int64_t r) {
    const weir_linear *a = j->a;
    const int64_t col = first / (a->w->gated ? 2 : 1) * WEIR_PANEL;
    return (weir_linear_tile){
        .w = (const unsigned char *)a->w->data + first * j->panel_bytes,
        .panel_bytes = j->panel_bytes,
        .n_panel = n,
        .segments = &a->w->segments,
        .n_pair = a->w->k_pad / 2,
        .y = a->y + (j->row0 + r) * a->ldy + col,
        .ldy = a->ldy,
        .n_left = a->w->n - col,
        .epilogue = a->epilogue,
        .gated = a->w->gated,
        .scale = a->scale,
        .softcap = a->softcap,
    };
}

/* Every worker prepares the rows for itself, which is cheaper than waiting for one to do it. step: bytes
 * between rows; stride: the tile's x_stride. */
static const unsigned char *prepared_rows(const job *j, int worker, int64_t *step, int64_t *stride) {
    const weir_linear *a = j->a;
    const float *x = a->x + j->row0 * a->ldx;
    unsigned char *dst = (unsigned char *)(j->be->scratch + (size_t)worker * j->be->scratch_floats);
    if (j->quant) {
        *step = (int64_t)sizeof(weir_quant_unit);
        *stride = row_stride(j->n_row * *step);
        for (int64_t r = 0; r < j->n_row; r++) {
            j->quant->prepare(dst + r * *step, *stride, x + r * a->ldx, a->norm, a->eps, a->w->k);
        }
        return dst;
    }
    if (!j->prepare) {
        *step = *stride = a->ldx * (int64_t)sizeof *x;
        return (const unsigned char *)x;
    }
    for (int64_t r = 0; r < j->n_row; r++) {
        j->prepare(dst + r * j->row_bytes, x + r * a->ldx, a->norm, a->eps, a->w->k);
    }
    *step = *stride = j->row_bytes;
    return dst;
}

static void rows_worker(void *arg, int worker, int n_worker) {
    const job *j = arg;
    const int64_t n_panel = j->a->w->n_panel;
    long begin, end;
    weir__pool_split(n_panel, n_panel >= 8 * n_worker ? 4 : 2, worker, n_worker, &begin, &end);
    if (begin >= end) return;
    int64_t step, stride;
    const unsigned char *x = prepared_rows(j, worker, &step, &stride);

    const int64_t n_tile = (j->n_row + j->tile_rows - 1) / j->tile_rows;
    int64_t block = BLOCK_BYTES / j->panel_bytes / 4 * 4;
    if (block < 4) block = 4;
    if (n_tile == 1) block = end - begin;
    for (int64_t p = begin; p < end; p += block) {
        const int64_t n = end - p < block ? end - p : block;
        for (int64_t i = 0; i < n_tile; i++) {
            const int64_t r0 = j->n_row * i / n_tile, r1 = j->n_row * (i + 1) / n_tile;
            weir_linear_tile t = tile_at(j, p, n, r0);
            t.n_row = (int)(r1 - r0);
            t.x = x + r0 * step;
            t.x_stride = stride;
            j->tile[r1 - r0 - 1](&t);
        }
    }
}

static weir_status linear_fast(weir_backend *be, const weir_linear *a, const weir_linear_kernels *kernels,
                               const weir_linear_bf16 *bf16, const weir_linear_quant *quant) {
    WEIR_TRY(weir__linear_check(a));
    if (be->scratch_floats < weir__linear_scratch_floats(a->w->k)) return WEIR_ENOMEM;
    const weir_weight *w = a->w;
    const bool round_rows = a->rows && bf16 && w->dtype == WEIR_DTYPE_BF16;
    job j = {
        .be = be,
        .a = a,
        .prepare = round_rows                    ? bf16->prepare
                   : a->norm || w->k != w->k_pad ? kernels->prepare
                                                 : NULL,
        .row_bytes = row_stride(w->k_pad * (round_rows ? 2 : 4)),
        .panel_bytes = weir__weight_panel_bytes(w),
    };
    if (!weir_dtype_is_float(w->dtype)) {
        j.quant = quant, j.tile = quant->tile[w->dtype], j.tile_rows = quant->tile_rows;
    } else {
        j.tile = round_rows ? bf16->tile : kernels->tile[w->dtype];
        j.tile_rows = round_rows ? bf16->tile_rows : kernels->tile_rows;
    }
    const bool serial = w->n_panel * j.panel_bytes < SERIAL_BYTES;
    for (j.row0 = 0; j.row0 < a->n_row; j.row0 += j.n_row) {
        j.n_row = a->n_row - j.row0 < WEIR_LINEAR_CHUNK ? a->n_row - j.row0 : WEIR_LINEAR_CHUNK;
        if (serial) {
            rows_worker(&j, 0, 1);
        } else {
            weir__pool_run(be->pool, rows_worker, &j);
        }
    }
    return WEIR_OK;
}

weir_status weir__linear_avx2(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx2, NULL, &weir_linear_quant_avx2);
}

weir_status weir__linear_avx512(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx512, NULL, &weir_linear_quant_avx512);
}

weir_status weir__linear_avx512bf16(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx512, &weir_linear_bf16_avx512,
                       &weir_linear_quant_avx512vnni);
}

weir_status weir__linear_amx(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx512, &weir_linear_bf16_amx,
                       &weir_linear_quant_avx512vnni);
}
