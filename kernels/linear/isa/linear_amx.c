/* f32 or bf16 rows times bf16 weights by AMX tiles: 32 inputs of 16 outputs and up to 16 rows in one
 * tdpbf16ps. A panel is already a column of such tiles (weight.h), so weights are loaded as they lie. A
 * product of 16 rows takes the time of one, since the weights that are read decide it (9 MB from the L3
 * cache, one core of a Sapphire Rapids: 383 us for 1, 6 and 16 rows; vdpbf16ps 330 us for 1, 595 us for 6).
 *
 * Decode rows are rounded to bf16. Rows of prompts are cut into three bf16 parts of 8 bits each, which add up
 * to the f32 exactly (as Henry, Tang and Heinecke split f32, arXiv 1904.06376, but none of the nine products
 * is left out, since weights have one part).
 *
 * Each (row, output) is a chain of sums of 32 inputs for each segment of k, in rising order, those of a
 * part before those of the next smaller one; then the inputs that are left over, pair by pair; and the
 * segments' tree. Tiles take inputs and sums below 2^-126 as 0 (Intel, Instruction Set Extensions
 * Programming Reference, TDPBF16PS). */
#include "kernels/linear/isa/amx_tiles.h"
#include "kernels/linear/isa/linear_vec.h"

/* Two panels at once: one stream of weights leaves tiles waiting for each other (a chain of tdpbf16ps
 * takes 52 cycles a link), and at the end of four the hardware has to find four streams anew (K = 256, 9
 * MB: 327 us for two panels, 380 us for four). */
enum {
    AMX_PANELS = 2,
    AMX_PAIRS = 16,
    AMX_ROW_BYTES = 64,
    AMX_TILE_ROWS = WEIR_TILE_REGISTER_ROWS,
    LDC = AMX_PANELS * WEIR_PANEL,
};

/* c (n_row, LDC) = sums of input pairs [begin, end) of P panels, as many as fill whole tiles; returns the
 * first pair that is left over. P, H row tiles and N parts are constants after inlining. */
WEIR_INLINE int64_t whole_tiles(const weir_linear_tile *t, const unsigned char *w, int64_t begin, int64_t end,
                                float *c, const int P, const int H, const int N) {
    const int64_t panel = t->panel_bytes;
    const size_t ldx = (size_t)t->x_stride, ldc = LDC * sizeof *c;
    int64_t i = begin;
    _tile_zero(0);
    if (P > 1) _tile_zero(1);
    if (H > 1) _tile_zero(2);
    if (P > 1 && H > 1) _tile_zero(3);
    for (; i + AMX_PAIRS <= end; i += AMX_PAIRS) {
        const unsigned char *x = t->x + i * 4, *at = w + i * AMX_ROW_BYTES;
        _tile_loadd(6, at, AMX_ROW_BYTES);
        if (P > 1) _tile_loadd(7, at + panel, AMX_ROW_BYTES);
        for (int n = 0; n < N; n++, x += t->part_bytes) {
            _tile_loadd(4, x, ldx);
            _tile_dpbf16ps(0, 4, 6);
            if (P > 1) _tile_dpbf16ps(1, 4, 7);
            if (H > 1) _tile_loadd(5, x + AMX_TILE_ROWS * ldx, ldx);
            if (H > 1) _tile_dpbf16ps(2, 5, 6);
            if (P > 1 && H > 1) _tile_dpbf16ps(3, 5, 7);
        }
    }
    float *below = c + AMX_TILE_ROWS * LDC;
    _tile_stored(0, c, ldc);
    if (P > 1) _tile_stored(1, c + WEIR_PANEL, ldc);
    if (H > 1) _tile_stored(2, below, ldc);
    if (P > 1 && H > 1) _tile_stored(3, below + WEIR_PANEL, ldc);
    return i;
}

/* c += pairs [i, end), which are fewer than a tile has. */
static __attribute__((noinline)) void left_over(const weir_linear_tile *t, const unsigned char *w, int64_t i,
                                                int64_t end, float *c, int P, int N) {
    for (int r = 0; r < t->n_row; r++) {
        for (int p = 0; p < P; p++) {
            float *at = c + r * LDC + p * WEIR_PANEL;
            const unsigned char *panel = w + p * t->panel_bytes;
            __m512 sum = _mm512_loadu_ps(at);
            for (int64_t j = i; j < end; j++) {
                const __m512bh weights = (__m512bh)_mm512_loadu_si512(panel + j * AMX_ROW_BYTES);
                for (int n = 0; n < N; n++) {
                    int32_t pair;
                    memcpy(&pair, t->x + r * t->x_stride + n * t->part_bytes + j * 4, sizeof pair);
                    sum = _mm512_dpbf16_ps(sum, weights, (__m512bh)_mm512_set1_epi32(pair));
                }
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
WEIR_INLINE void amx_panels(const weir_linear_tile *t, int64_t first, const int P, const int H, const int N) {
    enum { MOST = WEIR_SEGMENTS / 2 }; /* sums that wait for their neighbours, and the latest */
    _Alignas(64) float c[MOST][WEIR_AMX_ROWS * LDC];
    const unsigned char *w = t->w + first * t->panel_bytes;
    const weir_segments *s = t->segments;
    int64_t i = 0;
    int at = 0;
    for (int g = 0; g < s->n; g++, at++) {
        const int64_t end = (s->end[g] + 1) / 2;
        i = whole_tiles(t, w, i, end, c[at], P, H, N);
        if (i < end) left_over(t, w, i, end, c[at], P, N);
        i = end;
        for (int m = s->merges[g]; m > 0; m--, at--) add_segment(t, c[at - 1], c[at], P);
    }
    if (!is_plain(t, first, P)) {
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

WEIR_INLINE void amx_tile(const weir_linear_tile *t, const int N) {
    const bool low = t->n_row <= AMX_TILE_ROWS;
    int64_t p = 0;
    weir__tile_shape(t->n_row, AMX_ROW_BYTES);
    for (; low && p + 2 <= t->n_panel; p += 2) amx_panels(t, p, 2, 1, N);
    for (; !low && p + 2 <= t->n_panel; p += 2) amx_panels(t, p, 2, 2, N);
    if (p == t->n_panel) return;
    if (low)
        amx_panels(t, p, 1, 1, N);
    else
        amx_panels(t, p, 1, 2, N);
}

static void rounded_rows(const weir_linear_tile *t) { amx_tile(t, 1); }
static void split_rows(const weir_linear_tile *t) { amx_tile(t, WEIR_BF16_PARTS); }

/* Three parts, each the upper half of what the larger ones leave: 24 bits in all. An infinity leaves a
 * NaN. */
static void prepare_split(void *dst, const float *x, const float *norm, float eps, int64_t k) {
    const vf factor = vf_set1(norm ? norm_factor(x, eps, k) : 1.0f);
    const int64_t k_pad = k + (k & 1), part = weir__bf16_part_bytes(k_pad);
    for (int64_t i = 0; i < k_pad; i += VF) {
        vf left = row_vec(x, norm, factor, i, k);
        const __mmask16 mask = vf_mask(k_pad - i < VF ? k_pad - i : VF);
        unsigned char *at = (unsigned char *)dst + i * 2;
        for (int n = 0; n < WEIR_BF16_PARTS; n++, at += part) {
            const vi bits = _mm512_castps_si512(left);
            _mm256_mask_storeu_epi16(at, mask, _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
            left = vf_sub(left, vi_bf16_odd(bits));
        }
    }
}

const weir_linear_bf16 weir_linear_bf16_amx = {
    .prepare = prepare_bf16,
    .tile_rows = WEIR_AMX_ROWS,
    .tile = rounded_rows,
    .prepare_split = prepare_split,
    .tile_split = split_rows,
};
