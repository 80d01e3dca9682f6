/* More rows than a decode step has, times quantised weights by AMX tiles: a unit of 16 outputs and up to 16
 * rows in one tdpbssd. A panel's words are the columns of such a tile once their codes are bytes. The sums of
 * a unit are integers, and what is added up in floats is the same chain of terms as in linear_quant_vec.h, so
 * a row has the same bits there and here.
 *
 * Four units at a time go through three passes: codes to memory, tiles, floats. Tiles cannot be loaded from
 * stores that have not retired, nor vectors from a tile's, so with one unit at a time each waits for memory
 * four times. 64 rows, one core of a Sapphire Rapids, GMAC/s, vpdpbusd and this: q5_0 160 and 227, q4_k 163
 * and 216, q6_k 114 and 135, q8_0 194 and 222. Tiles of one group between the floats of another were no
 * faster. */
#include "kernels/linear/isa/amx_tiles.h"
#include "kernels/linear/quant/linear_quant_vec.h"

enum { TILE = WEIR_TILE_REGISTER_ROWS, ROWS = WEIR_QUANT_MANY_ROWS, PANELS = 2, UNITS = 4 };
_Static_assert((int)ROWS == 2 * (int)TILE && (int)VF == (int)WEIR_PANEL, "a vector is a row of a tile");

/* Four units, or halves of units where 16 inputs have a scale, of two panels. */
typedef struct group {
    vi word[UNITS][PANELS][UNIT / 4];
    vi sum[UNITS][PANELS][ROWS];
    float scale[PANELS][UNITS * VF], offset[PANELS][UNITS * VF];
} group;

WEIR_INLINE int unit_inputs(int kind) { return in_halves(kind) ? UNIT / 2 : UNIT; }

/* Unit j of the first row, and where its bytes are. */
WEIR_INLINE const weir_quant_unit *row_unit_at(int kind, const unsigned char *x, int64_t stride, int j) {
    return (const weir_quant_unit *)(const void *)(x + (in_halves(kind) ? j / 2 : j) * stride);
}
WEIR_INLINE const int8_t *row_bytes_at(int kind, const unsigned char *x, int64_t stride, int j) {
    return row_unit_at(kind, x, stride, j)->q + (in_halves(kind) ? j % 2 * (UNIT / 2) : 0);
}

/* Words [begin, end) of a unit to bytes. Where there is no offset they are signed, so that sums need no
 * correction. */
WEIR_INLINE void words(vi *to, const unit_at *u, int begin, int end, const int kind) {
    const vi zero = has_zero(kind) ? VQ(mullo_epi32)(zero_of(u), vq_set1(0x01010101))
                                   : vq_bytes(1 << (code_bits(kind) - 1));
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
        const int8_t *row = row_bytes_at(kind, x, stride, j);
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
                const float d_sum = in_halves(kind) ? row->d_half[j % 2] : row->d_sum;
                if (has_offset(kind)) a = vf_fma(vf_load(g->offset[p] + j * VF), vf_set1(d_sum), a);
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

/* Block j of a group: one unit. */
WEIR_INLINE void unit_of_group(group *g, int j, const block_at *b, const int kind) {
    WEIR_UNROLL for (int p = 0; p < PANELS; p++) {
        const unit_at u = unit_of_32(b->word[p], kind);
        vf offset;
        words(g->word[j][p], &u, 0, 8, kind);
        vf_store(g->scale[p] + j * VF, scale_of_32(b->word[p], b->scale[p], &offset, kind));
        if (has_offset(kind)) vf_store(g->offset[p] + j * VF, offset);
    }
}

/* UNITS units, or halves of units, of such a block, from `first` on. */
WEIR_INLINE void units_of_large(group *g, int first, const block_at *b, const block_scales *s,
                                const int kind) {
    WEIR_UNROLL for (int p = 0; p < PANELS; p++) {
        memcpy(g->scale[p], s[p].scale + first * VF, sizeof g->scale[p]);
        if (has_offset(kind)) memcpy(g->offset[p], s[p].offset + first * VF, sizeof g->offset[p]);
        WEIR_UNROLL for (int j = 0; j < UNITS; j++) {
            const int at = first + j, begin = in_halves(kind) ? j % 2 * 4 : 0;
            const unit_at u = unit_of_large(b->word[p], in_halves(kind) ? at / 2 : at, kind);
            words(g->word[j][p], &u, begin, in_halves(kind) ? begin + 4 : 8, kind);
        }
    }
}

/* acc[r][p] += a large block; returns the row's bytes after it. */
WEIR_INLINE const unsigned char *add_groups_of_large(vf (*acc)[PANELS], group *g, const block_at *b,
                                                     const unsigned char *x, const weir_linear_tile *t,
                                                     const int kind) {
    const int n = weir_dtype_block((weir_dtype)kind) / unit_inputs(kind);
    block_scales s[PANELS];
    for (int p = 0; p < PANELS; p++) scales_of_large(&s[p], b->word[p], b->scale[p], kind);
    WEIR_UNROLL for (int first = 0; first < n; first += UNITS) {
        units_of_large(g, first, b, s, kind);
        add_group(acc, g, UNITS, x, t->x_stride, t->n_row, kind);
        x += UNITS * unit_inputs(kind) / UNIT * t->x_stride;
    }
    return x;
}

/* acc[r][p] += blocks [i, end) from b and x on; returns the row's bytes after them. */
WEIR_INLINE const unsigned char *add_blocks(vf (*acc)[PANELS], block_at *b, int64_t i, int64_t end,
                                            const unsigned char *x, const weir_linear_tile *t,
                                            const int kind) {
    group g;
    while (i < end) {
        if (weir_dtype_block((weir_dtype)kind) == UNIT) {
            const int n = end - i < UNITS ? (int)(end - i) : UNITS;
            for (int j = 0; j < n; j++, next_block(b, PANELS, kind)) unit_of_group(&g, j, b, kind);
            add_group(acc, &g, n, x, t->x_stride, t->n_row, kind);
            i += n, x += n * t->x_stride;
        } else {
            x = add_groups_of_large(acc, &g, b, x, t, kind);
            next_block(b, PANELS, kind);
            i++;
        }
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
    weir__tile_shape(t->n_row, unit_inputs(kind));
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
