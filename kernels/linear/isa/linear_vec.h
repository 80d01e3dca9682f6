/* Row kernels of the linear op over the vector of vec.h: included once by each instruction set's file.
 *
 *   panel  | 16 outputs x pair 0 | 16 outputs x pair 1 | …     a vector is VF of the 16 outputs
 *   row    | x0 x1 | x2 x3 | …                                  broadcast, one input at a time
 *
 * Each (row, output) is one chain of multiply-adds for each segment of k, in rising order, and the segments'
 * tree (kernels/weight/segments.h). That is the whole numerical contract, and the reason why neither the
 * number of rows nor that of panels processed at once can change a bit. The independent chains that hide the
 * latency of a multiply-add come from several panels at once: 8 for one row, fewer for more rows, so that
 * rows x panels fit in registers.
 *
 * Tried and rejected: even and odd inputs in two chains (twice the registers, which several rows need); one
 * panel at a time (one row 1.8 times slower with 9 MB of bf16 weights on a Zen 5 core); prefetching the next
 * panels by hand (slower for 2 to 5 rows; the hardware follows 4 to 8 streams). */
#include <math.h>
#include <string.h>

#include "kernels/linear/isa/linear_tile.h"
#include "kernels/math/vec.h"

enum { PER_PANEL = WEIR_PANEL / VF, ROWS_BF16 = WEIR_TILE_KINDS /* beside those: dpbf16 */ };

/* --- rows ------------------------------------------------------------------------------------ */

WEIR_INLINE float norm_factor(const float *x, float eps, int64_t k) {
    return 1.0f / sqrtf(vf_sum_sq(x, k) / (float)k + eps);
}

WEIR_INLINE vf norm_vec(vf x, vf factor, vf norm) { return vf_mul(vf_mul(x, factor), norm); }

/* x[i … i + VF) prepared; lanes beyond k are 0. */
WEIR_INLINE vf row_vec(const float *x, const float *norm, vf factor, int64_t i, int64_t k) {
    const int64_t left = k - i;
    if (left >= VF) return norm ? norm_vec(vf_load(x + i), factor, vf_load(norm + i)) : vf_load(x + i);
    const vf v = vf_load_n(x + i, left);
    return norm ? norm_vec(v, factor, vf_load_n(norm + i, left)) : v;
}

static inline void prepare_f32(void *dst, const float *x, const float *norm, float eps, int64_t k) {
    float *out = dst;
    const vf factor = vf_set1(norm ? norm_factor(x, eps, k) : 1.0f);
    const int64_t k_pad = k + (k & 1);
    for (int64_t i = 0; i < k_pad; i += VF) {
        const vf v = row_vec(x, norm, factor, i, k);
        if (k_pad - i >= VF) {
            vf_store(out + i, v);
        } else {
            vf_store_n(out + i, v, k_pad - i);
        }
    }
}

#if defined(__AVX512BF16__)
static void prepare_bf16(void *dst, const float *x, const float *norm, float eps, int64_t k) {
    uint16_t *out = dst;
    const vf factor = vf_set1(norm ? norm_factor(x, eps, k) : 1.0f);
    const int64_t k_pad = k + (k & 1);
    for (int64_t i = 0; i < k_pad; i += VF) {
        const __m256i v = (__m256i)_mm512_cvtneps_pbh(row_vec(x, norm, factor, i, k));
        const int64_t n = k_pad - i < VF ? k_pad - i : VF;
        _mm256_mask_storeu_epi16(out + i, vf_mask(n), v);
    }
}
#endif

/* --- epilogues ------------------------------------------------------------------------------- */

/* d / (1 + e^-u): e^-u overflows to inf for very negative u, where the quotient is correctly 0. */
WEIR_INLINE vf times_sigmoid(vf d, vf u) {
    const vf e = vf_exp(vf_sub(vf_zero(), u));
    return vf_div(d, vf_add(vf_set1(1.0f), e));
}

/* 0.5 (1 + tanh(z)) = sigmoid(2 z). */
WEIR_INLINE vf gelu_tanh(vf d) {
    const vf cubic = vf_fma(vf_mul(vf_mul(d, d), d), vf_set1(0.044715f), d);
    return times_sigmoid(d, vf_mul(vf_set1(1.5957691216f), cubic)); /* 2 sqrt(2 / pi) */
}

/* erf by Abramowitz and Stegun 7.1.26: |error| <= 1.5e-7. */
WEIR_INLINE vf gelu_erf(vf d) {
    const vf z = vf_mul(vf_abs(d), vf_set1(0.70710678119f));
    const vf t = vf_div(vf_set1(1.0f), vf_fma(z, vf_set1(0.3275911f), vf_set1(1.0f)));
    vf p = vf_set1(1.061405429f);
    p = vf_fma(p, t, vf_set1(-1.453152027f));
    p = vf_fma(p, t, vf_set1(1.421413741f));
    p = vf_fma(p, t, vf_set1(-0.284496736f));
    p = vf_fma(p, t, vf_set1(0.254829592f));
    const vf tail = vf_mul(vf_mul(p, t), vf_exp(vf_sub(vf_zero(), vf_mul(z, z))));
    const vf erf = vf_copysign(vf_sub(vf_set1(1.0f), tail), d);
    return vf_mul(vf_mul(vf_set1(0.5f), d), vf_add(vf_set1(1.0f), erf));
}

WEIR_INLINE vf activate(weir_epilogue e, vf d) {
    switch (e) {
    case WEIR_EPI_RELU: return vf_max(vf_zero(), d); /* in this order NaN passes through through */
    case WEIR_EPI_GELU_TANH: return gelu_tanh(d);
    case WEIR_EPI_GELU_ERF: return gelu_erf(d);
    case WEIR_EPI_SILU: return times_sigmoid(d, d);
    default: return d;
    }
}

WEIR_INLINE vf onto(vf y, vf d, weir_epilogue e) { return e == WEIR_EPI_ADD ? vf_add(y, d) : vf_mul(y, d); }

WEIR_INLINE void put(float *y, vf d, weir_epilogue e, int64_t left) {
    const bool reads = weir__epilogue_reads(e);
    if (left >= VF) {
        vf_store(y, reads ? onto(vf_load(y), d, e) : d);
    } else if (left > 0) {
        vf_store_n(y, reads ? onto(vf_load_n(y, left), d, e) : d, left);
    }
}

static __attribute__((noinline)) void finish(const weir_linear_tile *t, const float *c, int64_t ldc,
                                             int n_row) {
    const vf scale = vf_set1(t->scale);
    const int64_t n_col = t->n_panel / (t->gated ? 2 : 1) * WEIR_PANEL;
    for (int r = 0; r < n_row; r++, c += ldc) {
        float *y = t->y + r * t->ldy;
        for (int64_t n = 0; n < n_col && n < t->n_left; n += VF) {
            const float *at = t->gated ? c + n / WEIR_PANEL * 2 * WEIR_PANEL + n % WEIR_PANEL : c + n;
            vf d = activate(t->epilogue, vf_mul(scale, vf_load(at)));
            if (t->softcap > 0.0f) d = vf_softcap(d, vf_set1(t->softcap));
            if (t->gated) d = vf_mul(d, vf_load(at + WEIR_PANEL));
            put(y + n, d, t->epilogue, t->n_left - n);
        }
    }
}

/* --- tiles ----------------------------------------------------------------------------------- */

/* Inputs 2 i (odd = 0) or 2 i + 1 of VF outputs: vector v of a panel at w. scales: of fp8, those of the
 * panel. tight: no register to spare. */
WEIR_INLINE vf weight_vec(const unsigned char *w, const float *scales, int64_t i, int v, int odd, int kind,
                          bool tight) {
    if (kind == WEIR_TILE_FP8) {
        const vf code = vf_load_e4m3(w + (2 * i + odd) * WEIR_PANEL + v * VF);
        return vf_mul(code, vf_load(scales + i / 32 * WEIR_PANEL + v * VF));
    }
    if (kind == WEIR_DTYPE_F32) {
        const float *f = (const float *)(const void *)(w + (2 * i + odd) * WEIR_PANEL * 4);
        return vf_load(f + v * VF);
    }
    const vi pair = vi_load(w + i * WEIR_PANEL * 4 + v * VF * 4);
    if (kind == WEIR_DTYPE_BF16 && odd) return tight ? vi_bf16_odd_tight(pair) : vi_bf16_odd(pair);
    if (kind == WEIR_DTYPE_BF16) return vi_bf16_even(pair);
    return odd ? vi_f16_odd(pair) : vi_f16_even(pair);
}

/* Whether so many accumulators leave no register besides weights and input. */
#define TIGHT(row_panels) ((row_panels)*PER_PANEL >= 12)

/* acc[r][q] += inputs of pair i, for R rows and P panels. */
WEIR_INLINE void tile_pair(vf (*acc)[16], const unsigned char *const *w, const float *const *scales,
                           const unsigned char *const *x, int64_t i, const int R, const int P,
                           const int kind) {
    vf wv[16];
#if defined(__AVX512BF16__)
    if (kind == ROWS_BF16) {
        WEIR_UNROLL for (int q = 0; q < P; q++) wv[q] = (vf)vi_load(w[q] + i * WEIR_PANEL * 4);
        WEIR_UNROLL for (int r = 0; r < R; r++) {
            int32_t pair;
            memcpy(&pair, x[r] + 4 * i, sizeof pair);
            const __m512bh xv = (__m512bh)_mm512_set1_epi32(pair);
            WEIR_UNROLL for (int q = 0; q < P; q++) {
                acc[r][q] = _mm512_dpbf16_ps(acc[r][q], (__m512bh)wv[q], xv);
            }
        }
        return;
    }
#endif
    WEIR_UNROLL for (int odd = 0; odd < 2; odd++) {
        WEIR_UNROLL for (int q = 0; q < P * PER_PANEL; q++) {
            wv[q] = weight_vec(w[q / PER_PANEL], scales[q / PER_PANEL], i, q % PER_PANEL, odd, kind,
                               TIGHT(R * P));
        }
        WEIR_UNROLL for (int r = 0; r < R; r++) {
            const vf xv = vf_set1(((const float *)(const void *)x[r])[2 * i + odd]);
            WEIR_UNROLL for (int q = 0; q < P * PER_PANEL; q++) acc[r][q] = vf_fma(wv[q], xv, acc[r][q]);
        }
    }
}

/* acc = kept + acc, N vectors for each of R rows; and acc to `kept`, from where merge takes it. */
WEIR_INLINE void merge(const float *kept, vf *acc, const int ld, const int R, const int N) {
    WEIR_UNROLL for (int r = 0; r < R; r++) {
        WEIR_UNROLL for (int q = 0; q < N; q++) {
            acc[r * ld + q] = vf_add(vf_load(kept + (r * N + q) * VF), acc[r * ld + q]);
        }
    }
}

WEIR_INLINE void keep(float *kept, const vf *acc, const int ld, const int R, const int N) {
    WEIR_UNROLL for (int r = 0; r < R; r++) {
        WEIR_UNROLL for (int q = 0; q < N; q++) vf_store(kept + (r * N + q) * VF, acc[r * ld + q]);
    }
}

/* P panels from panel `first` on times R rows. R, P and kind are constants after inlining. */
WEIR_INLINE void tile_sums(vf (*acc)[16], const weir_linear_tile *t, int64_t first, const int R, const int P,
                           const int kind) {
    const weir_segments *s = t->segments;
    const unsigned char *w[8], *x[WEIR_TILE_ROWS];
    const float *scales[8];
    _Alignas(64) float kept[WEIR_SEGMENTS / 2 - 1][WEIR_TILE_ROWS * 8 * WEIR_PANEL];
    int n_kept = 0;
    WEIR_UNROLL for (int p = 0; p < P; p++) {
        w[p] = t->w + (first + p) * t->panel_bytes;
        scales[p] = (const float *)(const void *)(w[p] + 2 * t->n_pair * WEIR_PANEL);
    }
    WEIR_UNROLL for (int r = 0; r < R; r++) x[r] = t->x + r * t->x_stride;
    int64_t i = 0;
    for (int g = 0;; g++) {
        const int64_t end = (s->end[g] + 1) / 2;
        WEIR_UNROLL for (int r = 0; r < R; r++) {
            WEIR_UNROLL for (int q = 0; q < P * PER_PANEL; q++) acc[r][q] = vf_zero();
        }
        for (; i < end; i++) tile_pair(acc, w, scales, x, i, R, P, kind);
        for (int m = s->merges[g]; m > 0; m--) merge(kept[--n_kept], acc[0], 16, R, P * PER_PANEL);
        if (g + 1 == s->n) return;
        keep(kept[n_kept++], acc[0], 16, R, P * PER_PANEL);
    }
}

/* Panels [first, first + P) are whole columns of y, and only the scale stands between a sum and y. */
WEIR_INLINE bool is_plain(const weir_linear_tile *t, int64_t first, const int P) {
    return !t->gated && t->epilogue <= WEIR_EPI_MUL && !(t->softcap > 0.0f) &&
           t->n_left - first * WEIR_PANEL >= P * WEIR_PANEL;
}

/* Sums of panels [first, first + n), spilled as (rows, ldc), into y. */
static inline void finish_part(const weir_linear_tile *t, int64_t first, int64_t n, const float *c,
                               int64_t ldc, int n_row) {
    const int64_t col = first * WEIR_PANEL / (t->gated ? 2 : 1);
    weir_linear_tile part = *t;
    part.n_panel = n;
    part.y = t->y + col;
    part.n_left = t->n_left - col;
    finish(&part, c, ldc, n_row);
}

WEIR_INLINE void spill(float *c, int64_t ldc, vf (*acc)[16], const int R, const int P) {
    WEIR_UNROLL for (int r = 0; r < R; r++) {
        WEIR_UNROLL for (int q = 0; q < P * PER_PANEL; q++) vf_store(c + r * ldc + q * VF, acc[r][q]);
    }
}

WEIR_INLINE void tile_step(const weir_linear_tile *t, int64_t first, const int R, const int P,
                           const int kind) {
    vf acc[WEIR_TILE_ROWS][16];
    tile_sums(acc, t, first, R, P, kind);
    if (is_plain(t, first, P)) {
        const vf scale = vf_set1(t->scale);
        WEIR_UNROLL for (int r = 0; r < R; r++) {
            float *y = t->y + r * t->ldy + first * WEIR_PANEL;
            WEIR_UNROLL for (int q = 0; q < P * PER_PANEL; q++) {
                put(y + q * VF, vf_mul(scale, acc[r][q]), t->epilogue, VF);
            }
        }
        return;
    }
    _Alignas(64) float c[WEIR_TILE_ROWS * 8 * WEIR_PANEL];
    spill(c, P * WEIR_PANEL, acc, R, P);
    finish_part(t, first, P, c, P * WEIR_PANEL, R);
}

/* A gate panel and then its up panel, where both do not fit the registers. */
WEIR_INLINE void tile_gated(const weir_linear_tile *t, int64_t first, const int R, const int kind) {
    _Alignas(64) float c[WEIR_TILE_ROWS * 2 * WEIR_PANEL];
    for (int p = 0; p < 2; p++) {
        vf acc[WEIR_TILE_ROWS][16];
        tile_sums(acc, t, first + p, R, 1, kind);
        spill(c + p * WEIR_PANEL, 2 * WEIR_PANEL, acc, R, 1);
    }
    finish_part(t, first, 2, c, 2 * WEIR_PANEL, R);
}

/* All panels of a tile: P (1, 2, 4 or 8) at once, then the rest. */
#define WEIR_TILE(name, R, P, kind)                                              \
    static void name(const weir_linear_tile *t) {                                \
        int64_t p = 0;                                                           \
        if ((P) > 1) {                                                           \
            for (; p + (P) <= t->n_panel; p += (P)) tile_step(t, p, R, P, kind); \
        } else if (t->gated) {                                                   \
            for (; p < t->n_panel; p += 2) tile_gated(t, p, R, kind);            \
        }                                                                        \
        if ((P) > 4 && p + 4 <= t->n_panel) tile_step(t, p, R, 4, kind), p += 4; \
        if ((P) > 2 && p + 2 <= t->n_panel) tile_step(t, p, R, 2, kind), p += 2; \
        for (; p < t->n_panel; p++) tile_step(t, p, R, 1, kind);                 \
    }
