/* bf16 rows times bf16 weights by AMX tiles: 32 inputs of 16 outputs and up to 16 rows in one tdpbf16ps. A
 * panel is already a column of such tiles (weight.h), so weights are loaded as they lie. A product of 16 rows
 * takes the time of one, since the weights that are read decide it (9 MB from the L3 cache, one core of a
 * Sapphire Rapids: 383 us for 1, 6 and 16 rows; vdpbf16ps 330 us for 1, 595 us for 6).
 *
 * Each (row, output) is a chain of sums of 32 inputs for each segment of k, in rising order, then the inputs
 * that are left over, pair by pair, and the segments' tree. Tiles take inputs and sums below 2^-126 as 0
 * (Intel, Instruction Set Extensions Programming Reference, TDPBF16PS). */
#include "kernels/linear/linear_vec.h"

/* Two panels at once: one stream of weights leaves tiles waiting for each other (a chain of tdpbf16ps takes 52
 * cycles a link), and at the end of four the hardware has to find four streams anew (K = 256, 9 MB: 327 us for
 * two panels, 380 us for four). */
enum { AMX_PANELS = 2, AMX_PAIRS = 16, AMX_ROW_BYTES = 64, LDC = AMX_PANELS * WEIR_PANEL };

/* Tiles: 0 and 1 sums of a panel each, 2 rows, 3 and 4 weights. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "as ldtilecfg reads it");

/* Loading a configuration takes 50 ns, as long as a small product; asking for the one that is loaded takes 5.
 * It is asked for every time, since another library may use the tiles of this thread too. */
static void configure(int n_row) {
    _Alignas(64) tile_config now, c = {.palette = 1};
    for (int i = 0; i < 5; i++) {
        c.row_bytes[i] = AMX_ROW_BYTES;
        c.rows[i] = (uint8_t)(i < 3 ? n_row : AMX_PAIRS);
    }
    _tile_storeconfig(&now);
    if (memcmp(&now, &c, sizeof c) != 0) _tile_loadconfig(&c);
}

/* c (n_row, LDC) = sums of input pairs [begin, end) of P panels, as many as fill whole tiles; returns the
 * first pair that is left over. P is a constant after inlining. */
WEIR_INLINE int64_t whole_tiles(const weir_linear_tile *t, const unsigned char *w, int64_t begin, int64_t end,
                                float *c, const int P) {
    const unsigned char *x = t->x;
    const int64_t panel = t->panel_bytes;
    const size_t ldx = (size_t)t->x_stride, ldc = LDC * sizeof *c;
    int64_t i = begin;
    _tile_zero(0);
    if (P > 1) _tile_zero(1);
    for (; i + AMX_PAIRS <= end; i += AMX_PAIRS) {
        const unsigned char *at = w + i * AMX_ROW_BYTES;
        _tile_loadd(2, x + i * 4, ldx);
        _tile_loadd(3, at, AMX_ROW_BYTES);
        _tile_dpbf16ps(0, 2, 3);
        if (P > 1) _tile_loadd(4, at + panel, AMX_ROW_BYTES);
        if (P > 1) _tile_dpbf16ps(1, 2, 4);
    }
    _tile_stored(0, c, ldc);
    if (P > 1) _tile_stored(1, c + WEIR_PANEL, ldc);
    return i;
}

/* c += pairs [i, end), which are fewer than a tile has. */
static __attribute__((noinline)) void left_over(const weir_linear_tile *t, const unsigned char *w, int64_t i,
                                                int64_t end, float *c, int P) {
    for (int r = 0; r < t->n_row; r++) {
        for (int p = 0; p < P; p++) {
            float *at = c + r * LDC + p * WEIR_PANEL;
            const unsigned char *panel = w + p * t->panel_bytes;
            __m512 sum = _mm512_loadu_ps(at);
            for (int64_t j = i; j < end; j++) {
                int32_t pair;
                memcpy(&pair, t->x + r * t->x_stride + j * 4, sizeof pair);
                sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(panel + j * AMX_ROW_BYTES),
                                       (__m512bh)_mm512_set1_epi32(pair));
            }
            _mm512_storeu_ps(at, sum);
        }
    }
}

static void add_segment(const weir_linear_tile *t, float *kept, const float *c, int P) {
    for (int r = 0; r < t->n_row; r++, kept += LDC, c += LDC)
        for (int p = 0; p < P * WEIR_PANEL; p += VF)
            vf_store(kept + p, vf_add(vf_load(kept + p), vf_load(c + p)));
}

/* P panels from panel `first` on. */
WEIR_INLINE void amx_panels(const weir_linear_tile *t, int64_t first, const int P) {
    enum { MOST = WEIR_SEGMENTS / 2 }; /* sums that wait for their neighbours, and the latest */
    _Alignas(64) float c[MOST][WEIR_AMX_ROWS * LDC];
    const unsigned char *w = t->w + first * t->panel_bytes;
    const weir_segments *s = t->segments;
    int64_t i = 0;
    int at = 0;
    for (int g = 0; g < s->n; g++, at++) {
        const int64_t end = (s->end[g] + 1) / 2;
        i = whole_tiles(t, w, i, end, c[at], P);
        if (i < end) left_over(t, w, i, end, c[at], P);
        i = end;
        for (int m = s->merges[g]; m > 0; m--, at--) add_segment(t, c[at - 1], c[at], P);
    }
    if (!is_plain(t) || t->n_left - first * WEIR_PANEL < P * WEIR_PANEL) {
        finish_part(t, first, P, c[0], LDC, t->n_row);
        return;
    }
    const vf scale = vf_set1(t->scale);
    for (int r = 0; r < t->n_row; r++) {
        float *y = t->y + r * t->ldy + first * WEIR_PANEL;
        WEIR_UNROLL for (int q = 0; q < P * WEIR_PANEL; q += VF)
            put(y + q, vf_mul(scale, vf_load(c[0] + r * LDC + q)), t->epilogue, VF);
    }
}

static void amx_tile(const weir_linear_tile *t) {
    int64_t p = 0;
    configure(t->n_row);
    for (; p + 2 <= t->n_panel; p += 2) amx_panels(t, p, 2);
    if (p < t->n_panel) amx_panels(t, p, 1);
}

const weir_linear_bf16 weir_linear_bf16_amx = {
    .prepare = prepare_bf16,
    .tile_rows = WEIR_AMX_ROWS,
    .tile = {amx_tile, amx_tile, amx_tile, amx_tile, amx_tile, amx_tile, amx_tile, amx_tile, amx_tile,
             amx_tile, amx_tile, amx_tile, amx_tile, amx_tile, amx_tile, amx_tile},
};
