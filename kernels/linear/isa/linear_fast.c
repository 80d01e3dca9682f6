/* How a product is divided: rows into tiles that fit the registers, panels among workers. This cannot change
 * a bit of a result: each (row, output) is the same chains of multiply-adds wherever it is computed.
 *
 * Prefill uses the same code. A library GEMM was tried for full chunks of 64 rows, f32, one Zen 5 core:
 * OpenBLAS 0.3.21 99 GFLOP/s, these tiles 92 (AVX2) and 236 (AVX-512); and its serial build may not be called
 * from two threads at once. */
#include "kernels/linear/quant/linear_quant.h"

enum {
    SERIAL_BYTES = 48 * 1024, /* weight bytes below which waking the other workers does not pay */
    SHARED_ROWS = 16,         /* rows from which preparing them together pays for one hand-over more */
    BLOCK_BYTES = 128 * 1024, /* panels that stay in a core's cache while several row tiles pass over them */
};

typedef struct job {
    weir_backend *be;
    const weir_linear *a;
    const weir_linear_quant *quant; /* NULL: float weights */
    weir_prepare_fn *prepare;       /* NULL: rows are read where they are */
    weir_tile_fn *const *tile;      /* [n_row - 1]; NULL: any_rows */
    weir_tile_fn *any_rows;
    int tile_rows;
    const unsigned char *prepared; /* rows that are prepared already; NULL: each worker prepares them */
    int64_t row_bytes;             /* of a prepared row */
    int64_t part_bytes;            /* of a part of it */
    int64_t row0, n_row;           /* the chunk */
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
        .part_bytes = j->part_bytes,
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

/* Bytes between prepared rows, and the tile's x_stride. */
static int64_t row_step(const job *j) {
    return j->quant     ? (int64_t)sizeof(weir_quant_unit)
           : j->prepare ? j->row_bytes
                        : j->a->ldx * (int64_t)sizeof(float);
}
static int64_t tile_stride(const job *j) {
    return j->quant ? row_stride(j->n_row * row_step(j)) : row_step(j);
}

/* Rows [begin, end) of the chunk. */
static void prepare_rows(const job *j, unsigned char *dst, long begin, long end) {
    const weir_linear *a = j->a;
    for (long r = begin; r < end; r++) {
        const float *x = a->x + (j->row0 + r) * a->ldx;
        unsigned char *to = dst + r * row_step(j);
        if (j->quant)
            j->quant->prepare(to, tile_stride(j), x, a->norm, a->eps, a->w->k);
        else
            j->prepare(to, x, a->norm, a->eps, a->w->k);
    }
}

static unsigned char *scratch_of(const job *j, int worker) {
    return (unsigned char *)(j->be->scratch + (size_t)worker * j->be->scratch_floats);
}

static void prepare_worker(void *arg, int worker, int n_worker) {
    const job *j = arg;
    long begin, end;
    weir__pool_split((long)j->n_row, 1, worker, n_worker, &begin, &end);
    prepare_rows(j, scratch_of(j, 0), begin, end);
}

/* Where a worker finds the rows. A few rows every worker prepares for itself, which is cheaper than waiting
 * for one to do it. */
static const unsigned char *rows_at(const job *j, int worker) {
    if (j->prepared) return j->prepared;
    if (!j->quant && !j->prepare) return (const unsigned char *)(j->a->x + j->row0 * j->a->ldx);
    prepare_rows(j, scratch_of(j, worker), 0, (long)j->n_row);
    return scratch_of(j, worker);
}

static void rows_worker(void *arg, int worker, int n_worker) {
    const job *j = arg;
    const int64_t n_panel = j->a->w->n_panel;
    long begin, end;
    weir__pool_split(n_panel, n_panel >= 8 * n_worker ? 4 : 2, worker, n_worker, &begin, &end);
    if (begin >= end) return;
    const int64_t step = row_step(j), stride = tile_stride(j);
    const unsigned char *x = rows_at(j, worker);

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
            (j->tile ? j->tile[r1 - r0 - 1] : j->any_rows)(&t);
        }
    }
}

static void run_chunks(job *j) {
    const weir_linear *a = j->a;
    weir_pool *pool = j->be->pool;
    const bool serial = a->w->n_panel * j->panel_bytes < SERIAL_BYTES;
    for (j->row0 = 0; j->row0 < a->n_row; j->row0 += j->n_row) {
        j->n_row = a->n_row - j->row0 < WEIR_LINEAR_CHUNK ? a->n_row - j->row0 : WEIR_LINEAR_CHUNK;
        if (serial) {
            rows_worker(j, 0, 1);
            continue;
        }
        j->prepared = NULL;
        if (j->n_row >= SHARED_ROWS && (j->quant || j->prepare)) {
            weir__pool_run(pool, prepare_worker, j);
            j->prepared = scratch_of(j, 0);
        }
        weir__pool_run(pool, rows_worker, j);
    }
}

/* many: tiles of up to WEIR_QUANT_MANY_ROWS rows for each dtype, for more rows than quant's tiles have; NULL:
 * none. */
static weir_status linear_fast(weir_backend *be, const weir_linear *a, const weir_linear_kernels *kernels,
                               const weir_linear_bf16 *bf16, const weir_linear_quant *quant,
                               weir_tile_fn *const *many) {
    if (be->scratch_floats < weir__linear_scratch_floats(a->w->k)) return WEIR_ENOMEM;
    const weir_weight *w = a->w;
    const bool both_bf16 = bf16 && w->dtype == WEIR_DTYPE_BF16, fp8 = w->dtype == WEIR_DTYPE_FP8;
    job j = {.be = be, .a = a, .panel_bytes = weir__weight_panel_bytes(w)};
    if (!weir_dtype_is_float(w->dtype) && !fp8) {
        j.quant = quant, j.tile = quant->tile[w->dtype], j.tile_rows = quant->tile_rows;
        if (many && a->n_row > quant->tile_rows)
            j.tile = NULL, j.any_rows = many[w->dtype], j.tile_rows = WEIR_QUANT_MANY_ROWS;
    } else if (both_bf16 && a->rows) {
        j.prepare = bf16->prepare, j.row_bytes = row_stride(w->k_pad * 2);
        j.any_rows = bf16->tile, j.tile_rows = bf16->tile_rows;
    } else if (both_bf16 && bf16->prepare_split) {
        j.part_bytes = weir__bf16_part_bytes(w->k_pad);
        j.prepare = bf16->prepare_split, j.row_bytes = row_stride(WEIR_BF16_PARTS * j.part_bytes);
        j.any_rows = bf16->tile_split, j.tile_rows = bf16->tile_rows;
    } else {
        if (a->norm || w->k != w->k_pad) j.prepare = kernels->prepare;
        j.row_bytes = row_stride(w->k_pad * 4);
        j.tile = kernels->tile[fp8 ? (int)WEIR_TILE_FP8 : (int)w->dtype], j.tile_rows = kernels->tile_rows;
    }
    run_chunks(&j);
    return weir__linear_keep(be, a);
}

static weir_status one_avx2(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx2, NULL, &weir_linear_quant_avx2, NULL);
}

static weir_status one_avx512(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx512, NULL, &weir_linear_quant_avx512, NULL);
}

static weir_status one_avx512bf16(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx512, &weir_linear_bf16_avx512,
                       &weir_linear_quant_avx512vnni, NULL);
}

static weir_status one_amx(weir_backend *be, weir_linear *a) {
    return linear_fast(be, a, &weir_linear_kernels_avx512, &weir_linear_bf16_amx,
                       &weir_linear_quant_avx512vnni, weir_linear_quant_many_amx);
}

static weir_status product(weir_backend *be, weir_linear *a,
                           weir_status (*one)(weir_backend *, weir_linear *)) {
    WEIR_TRY(weir__linear_check(a));
    return a->groups ? weir__linear_each_group(be, a, one) : one(be, a);
}

weir_status weir__linear_avx2(weir_backend *be, weir_linear *a) { return product(be, a, one_avx2); }
weir_status weir__linear_avx512(weir_backend *be, weir_linear *a) { return product(be, a, one_avx512); }
weir_status weir__linear_avx512bf16(weir_backend *be, weir_linear *a) {
    return product(be, a, one_avx512bf16);
}
weir_status weir__linear_amx(weir_backend *be, weir_linear *a) { return product(be, a, one_amx); }
