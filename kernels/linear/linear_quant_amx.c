/* More rows than a decode step has, times quantised weights by AMX tiles: a unit of 16 outputs and up to 16
 * rows in one tdpbssd. A panel's words are the columns of such a tile once their codes are bytes. The sums of
 * a unit are integers, and what is added up in floats is the same chain of terms as in linear_quant_vec.h, so
 * a row has the same bits there and here.
 *
 * Four units at a time go through three passes: codes to memory, tiles, floats. Tiles cannot be loaded from
 * stores that have not retired, nor vectors from a tile's, so with one unit at a time each waits for memory
 * four times. 64 rows, one core of a Sapphire Rapids, GMAC/s, vpdpbusd and this: q5_0 160 and 227, q4_k 163 and
 * 216, q6_k 114 and 135, q8_0 194 and 222. Tiles of one group between the floats of another were no faster. */
#include "kernels/linear/amx_tiles.h"
#include "kernels/linear/linear_quant_vec.h"

enum { TILE = WEIR_TILE_REGISTER_ROWS, ROWS = WEIR_QUANT_MANY_ROWS, PANELS = 2, UNITS = 4 };
_Static_assert((int)ROWS == 2 * (int)TILE && (int)VF == (int)WEIR_PANEL, "a vector is a row of a tile");

/* Four units (q6_k: halves of units) of two panels. */
typedef struct group {
    vi word[UNITS][PANELS][UNIT / 4];
    vi sum[UNITS][PANELS][ROWS];
    float scale[PANELS][UNITS * VF], offset[PANELS][UNITS * VF];
} group;

WEIR_INLINE int unit_inputs(int kind) { return kind == WEIR_DTYPE_Q6_K ? UNIT / 2 : UNIT; }

/* Registers: 0 to 3 sums, 2 h + p of row tile h and panel p; 4 and 5 rows; 6 and 7 words. */
static void shape_tiles(int kind, int n_row) {
    const int k = unit_inputs(kind), w = k / 4, first = n_row < TILE ? n_row : TILE, second = n_row - first;
    weir__tile_shape((const int[8]){first, first, second, second, first, second, w, w},
                     (const int[8]){LINE, LINE, LINE, LINE, k, k, LINE, LINE});
}

/* Where unit j's bytes of the first row are. */
WEIR_INLINE const unsigned char *row_bytes_at(int kind, const unsigned char *x, int64_t stride, int j) {
    return kind == WEIR_DTYPE_Q6_K ? x + j / 2 * stride + j % 2 * (UNIT / 2) : x + j * stride;
}
WEIR_INLINE const weir_quant_unit *row_unit_at(int kind, const unsigned char *x, int64_t stride, int j) {
    return (const weir_quant_unit *)(const void *)(kind == WEIR_DTYPE_Q6_K ? x + j / 2 * stride
                                                                           : x + j * stride);
}

/* What codes are above: their bytes are signed here, so that sums need no correction. */
WEIR_INLINE int zero_of(int kind) {
    return has_offset(kind)          ? 0
           : kind == WEIR_DTYPE_Q8_0 ? 128
           : kind == WEIR_DTYPE_Q6_K ? 32
           : kind == WEIR_DTYPE_Q5_0 ? 16
                                     : 8;
}

/* Words [begin, end) of a unit to bytes. */
WEIR_INLINE void words(vi *to, const unit_at *u, int begin, int end, const int kind) {
    const vi zero = vq_bytes(zero_of(kind));
    WEIR_UNROLL for (int i = begin; i < end; i++) {
        fetch_ahead(kind, u, i);
        const vi c = codes(kind, u, i);
        to[i - begin] = has_offset(kind) ? c : VQ(sub_epi8)(c, zero);
    }
}

/* H row tiles, a constant after inlining. */
WEIR_INLINE void tiles(group *g, int n, const unsigned char *x, int64_t stride, const int H, const int kind) {
    const size_t step = sizeof(weir_quant_unit);
    __asm__ volatile("" : : "m"(g->word)); /* gcc's _tile_loadd does not say that it reads memory */
    for (int j = 0; j < n; j++) {
        const unsigned char *row = row_bytes_at(kind, x, stride, j);
        _tile_zero(0);
        _tile_zero(1);
        _tile_loadd(6, g->word[j][0], LINE);
        _tile_loadd(4, row, step);
        _tile_dpbssd(0, 4, 6);
        _tile_loadd(7, g->word[j][1], LINE);
        _tile_dpbssd(1, 4, 7);
        if (H > 1) {
            _tile_zero(2);
            _tile_zero(3);
            _tile_loadd(5, row + TILE * step, step);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
        _tile_stored(0, g->sum[j][0], LINE);
        _tile_stored(1, g->sum[j][1], LINE);
        if (H > 1) _tile_stored(2, g->sum[j][0] + TILE, LINE);
        if (H > 1) _tile_stored(3, g->sum[j][1] + TILE, LINE);
    }
}

/* acc[r][p] += the terms of n units, in rising order. */
WEIR_INLINE void add_terms(vf (*acc)[PANELS], const group *g, const int n, const unsigned char *x,
                           int64_t stride, int n_row, const int kind) {
    for (int p = 0; p < PANELS; p++) {
        for (int r = 0; r < n_row; r++) {
            vf a = acc[r][p];
            WEIR_UNROLL for (int j = 0; j < n; j++) {
                const weir_quant_unit *row = row_unit_at(kind, x, stride, j) + r;
                a = vf_fma(vq_float(g->sum[j][p][r]), vf_mul(vf_load(g->scale[p] + j * VF), vf_set1(row->d)),
                           a);
                if (has_offset(kind)) a = vf_fma(vf_load(g->offset[p] + j * VF), vf_set1(row->d_sum), a);
            }
            acc[r][p] = a;
        }
    }
}

WEIR_INLINE void add_group(vf (*acc)[PANELS], group *g, int n, const unsigned char *x, int64_t stride,
                           int n_row, const int kind) {
    if (n_row <= TILE)
        tiles(g, n, x, stride, 1, kind);
    else
        tiles(g, n, x, stride, 2, kind);
    if (n == UNITS)
        add_terms(acc, g, UNITS, x, stride, n_row, kind);
    else
        add_terms(acc, g, n, x, stride, n_row, kind);
}

/* Block j of a group: one unit of 32 inputs. */
WEIR_INLINE void unit_of_32(group *g, int j, const block_at *b, const int kind) {
    const bool offsets = has_offset(kind);
    const int first = (offsets ? 1 : 0) + (code_bits(kind) == 5 ? 1 : 0);
    WEIR_UNROLL for (int p = 0; p < PANELS; p++) {
        const unit_at u = {b->word[p] + first * LINE, b->word[p] + (first ? first - 1 : 0) * LINE, 0};
        words(g->word[j][p], &u, 0, 8, kind);
        if (offsets) {
            const vi dm = vi_load(b->word[p]);
            vf_store(g->scale[p] + j * VF, vi_f16_even(dm)), vf_store(g->offset[p] + j * VF, vi_f16_odd(dm));
        } else {
            vf_store(g->scale[p] + j * VF, vq_load_f16(b->scale[p]));
        }
    }
}

/* Half of a block: units from `first` on. scale and offset: of the block's eight. */
WEIR_INLINE void units_of_k(group *g, int first, const block_at *b, const float (*scale)[16 * VF],
                            const float (*offset)[8 * VF], const int kind) {
    const int low = kind == WEIR_DTYPE_Q4_K ? 4 : 12;
    for (int p = 0; p < PANELS; p++) {
        memcpy(g->scale[p], scale[p] + first * VF, sizeof g->scale[p]);
        memcpy(g->offset[p], offset[p] + first * VF, sizeof g->offset[p]);
        WEIR_UNROLL for (int j = 0; j < UNITS; j++) {
            unit_at u = {b->word[p] + (low + 8 * ((first + j) / 2)) * LINE, b->word[p] + 4 * LINE, j % 2};
            if (kind == WEIR_DTYPE_Q5_K) u.part = first + j;
            words(g->word[j][p], &u, 0, 8, kind);
        }
    }
}

/* A quarter of a q6_k block: halves of units from `first` on. scale: of the block's 16. */
WEIR_INLINE void halves_of_q6_k(group *g, int first, const block_at *b, const float (*scale)[16 * VF]) {
    const int half = first / 8;
    for (int p = 0; p < PANELS; p++) {
        memcpy(g->scale[p], scale[p] + first * VF, sizeof g->scale[p]);
        WEIR_UNROLL for (int i = 0; i < 2; i++) {
            const int part = first % 8 / 2 + i;
            const unit_at u = {b->word[p] + (16 * half + part % 2 * 8) * LINE,
                               b->word[p] + (32 + 8 * half) * LINE, part};
            words(g->word[2 * i][p], &u, 0, 4, WEIR_DTYPE_Q6_K);
            words(g->word[2 * i + 1][p], &u, 4, 8, WEIR_DTYPE_Q6_K);
        }
    }
}

WEIR_INLINE void next_blocks(block_at *b, int n, int64_t word_bytes) {
    WEIR_UNROLL for (int p = 0; p < PANELS; p++) b->word[p] += n * word_bytes,
        b->scale[p] += n * WEIR_PANEL * 2;
}

/* acc[r][p] += blocks [i, end) from b and x on; returns the row's bytes after them. */
WEIR_INLINE const unsigned char *add_blocks(vf (*acc)[PANELS], block_at *b, int64_t i, int64_t end,
                                            const unsigned char *x, const weir_linear_tile *t,
                                            const int kind) {
    const int64_t word_bytes = weir__quant_pack_of((weir_dtype)kind).words * LINE, stride = t->x_stride;
    group g;
    while (i < end) {
        if (weir_dtype_block((weir_dtype)kind) == UNIT) {
            const int n = end - i < UNITS ? (int)(end - i) : UNITS;
            for (int j = 0; j < n; j++, next_blocks(b, 1, word_bytes)) unit_of_32(&g, j, b, kind);
            add_group(acc, &g, n, x, stride, t->n_row, kind);
            i += n, x += n * stride;
            continue;
        }
        _Alignas(64) float scale[PANELS][16 * VF], offset[PANELS][8 * VF];
        for (int p = 0; p < PANELS; p++) {
            if (kind == WEIR_DTYPE_Q6_K)
                scales_q6_k(scale[p], b->word[p], b->scale[p]);
            else
                scales_k(scale[p], offset[p], b->word[p]);
        }
        if (kind == WEIR_DTYPE_Q6_K) {
            WEIR_UNROLL for (int q = 0; q < 4; q++, x += UNITS / 2 * stride) {
                halves_of_q6_k(&g, q * UNITS, b, (const float(*)[16 * VF]) scale);
                add_group(acc, &g, UNITS, x, stride, t->n_row, kind);
            }
        } else {
            WEIR_UNROLL for (int half = 0; half < 2; half++, x += UNITS * stride) {
                units_of_k(&g, half * UNITS, b, (const float(*)[16 * VF]) scale,
                           (const float(*)[8 * VF]) offset, kind);
                add_group(acc, &g, UNITS, x, stride, t->n_row, kind);
            }
        }
        next_blocks(b, 1, word_bytes);
        i++;
    }
    return x;
}

/* Two panels from panel `at` on; the second is the first again where there is no other. */
WEIR_INLINE void panel_sums(vf (*acc)[PANELS], const weir_linear_tile *t, int64_t at, const int kind) {
    const int block = weir_dtype_block((weir_dtype)kind);
    const int64_t word_bytes = weir__quant_pack_of((weir_dtype)kind).words * LINE;
    const weir_segments *s = t->segments;
    _Alignas(64) float kept[WEIR_SEGMENTS / 2 - 1][ROWS * PANELS * VF];
    const unsigned char *x = t->x;
    int n_kept = 0;
    block_at b;
    for (int p = 0; p < PANELS; p++) {
        b.word[p] = t->w + (at + p < t->n_panel ? at + p : at) * t->panel_bytes;
        b.scale[p] = b.word[p] + 2 * t->n_pair / block * word_bytes;
    }
    for (int g = 0;; g++) {
        for (int r = 0; r < t->n_row; r++) acc[r][0] = acc[r][1] = vf_zero();
        x = add_blocks(acc, &b, g > 0 ? s->end[g - 1] / block : 0, s->end[g] / block, x, t, kind);
        for (int m = s->merges[g]; m > 0; m--) merge(kept[--n_kept], acc[0], PANELS, t->n_row, PANELS);
        if (g + 1 == s->n) return;
        keep(kept[n_kept++], acc[0], PANELS, t->n_row, PANELS);
    }
}

WEIR_INLINE void many_rows(const weir_linear_tile *t, const int kind) {
    enum { LDC = PANELS * VF };
    vf acc[ROWS][PANELS];
    _Alignas(64) float c[ROWS * LDC];
    shape_tiles(kind, t->n_row);
    for (int64_t at = 0; at < t->n_panel; at += PANELS) {
        const int n = t->n_panel - at < PANELS ? 1 : PANELS;
        panel_sums(acc, t, at, kind);
        for (int r = 0; r < t->n_row; r++)
            for (int p = 0; p < PANELS; p++) vf_store(c + r * LDC + p * VF, acc[r][p]);
        finish_part(t, at, n, c, LDC, t->n_row);
    }
}

#define TILES(dtype, suffix) \
    static void rows_##suffix(const weir_linear_tile *t) { many_rows(t, dtype); }
#define ENTRY(dtype, suffix) [dtype] = rows_##suffix,

WEIR_QUANT_EACH(TILES)

weir_tile_fn *const weir_linear_quant_many_amx[WEIR_DTYPE_COUNT] = {WEIR_QUANT_EACH(ENTRY)};
