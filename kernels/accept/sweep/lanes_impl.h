/* The loops over the vocabulary; included by lanes_portable.c, lanes_avx2.c and lanes_avx512.c, which differ
 * in the compiler's target and in the name WEIR_LANES_TABLE. No include guard.
 *
 * Work goes chunk by chunk through buffers of 1,024 floats that stay in the L1 cache: probabilities, then
 * terms, then one lane sum. Every loop is elementwise, so that the compiler may use any vector width; only
 * lane_sum adds across elements, in the order of stats.h. */
#include "kernels/accept/sweep/lanes.h"
#include "kernels/accept/sweep/point.h"
#include "kernels/math/philox.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { ACC_FLOATS = 16 };
#elif defined(__AVX2__)
enum { ACC_FLOATS = 8 };
#else
enum { ACC_FLOATS = 4 };
#endif
enum { LANE64 = ACC_FLOATS / 2 };
typedef float acc_t __attribute__((vector_size(ACC_FLOATS * sizeof(float))));
typedef uint64_t lane64 __attribute__((vector_size(LANE64 * sizeof(uint64_t))));

typedef struct chunk {
    _Alignas(64) float x[WEIR_CHUNK + 96];
} chunk;

static inline int32_t chunk_size(int32_t n_vocab, int32_t c) {
    const int64_t left = (int64_t)n_vocab - (int64_t)c * WEIR_CHUNK;
    return left < WEIR_CHUNK ? (int32_t)left : WEIR_CHUNK;
}

static inline int32_t round_up(int32_t n) { return (n + WEIR_LANES - 1) / WEIR_LANES * WEIR_LANES; }

/* Zeros up to the next multiple of the lanes: adding +0 changes nothing. */
static inline void pad(float *x, int32_t n) {
    for (int32_t i = n; i < round_up(n); i++) x[i] = 0.0f;
}

/* Lanes 16, 8, 4, 2, 1 apart. */
static inline float fold(float *lane) {
    for (int half = WEIR_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

/* Sum of n (padded) terms: each lane its ids in rising order, then lanes 16, 8, 4, 2, 1 apart. */
static float lane_sum(const float *restrict t, int32_t n) {
    acc_t acc[WEIR_LANES / ACC_FLOATS];
    memset(acc, 0, sizeof acc);
    for (int32_t i = 0; i < n; i += WEIR_LANES)
        for (int k = 0; k < WEIR_LANES / ACC_FLOATS; k++) {
            acc_t x;
            memcpy(&x, t + i + k * ACC_FLOATS, sizeof x);
            acc[k] += x;
        }
    float lane[WEIR_LANES];
    memcpy(lane, acc, sizeof lane);
    return fold(lane);
}

/* x, or a copy followed by `rest` where n entries end within the lanes. */
static inline const float *padded_by(float rest, const float *x, int32_t n, chunk *room) {
    if (n % WEIR_LANES == 0) return x;
    memcpy(room->x, x, (size_t)n * sizeof *x);
    for (int32_t i = n; i < round_up(n); i++) room->x[i] = rest;
    return room->x;
}

static inline const float *padded(const float *x, int32_t n, chunk *room) {
    return padded_by(0.0f, x, n, room);
}

static void minmax(const float *logits, int32_t n, int32_t *lo, int32_t *hi) {
    int32_t a = INT32_MAX, b = INT32_MIN;
    for (int32_t i = 0; i < n; i++) {
        const int32_t key = weir__order_key(logits[i]);
        a = key < a ? key : a;
        b = key > b ? key : b;
    }
    *lo = a;
    *hi = b;
}

static int32_t find(const float *logits, int32_t n, float value) {
    for (int32_t begin = 0; begin < n; begin += 128) {
        const int32_t end = begin + 128 < n ? begin + 128 : n;
        int32_t hit = 0;
        for (int32_t i = begin; i < end; i++) hit |= logits[i] == value;
        for (int32_t i = begin; hit && i < end; i++)
            if (logits[i] == value) return i;
    }
    return n;
}

/* ---- probabilities ------------------------------------------------------------------------------------- */

static void weights_all(const float *restrict l, float max, float inv_temp, float scale, int32_t n,
                        float *restrict out) {
    for (int32_t i = 0; i < n; i++) out[i] = wf_exp((l[i] - max) * inv_temp) * scale;
}

static void weights_cut(const weir_row_view *r, float scale, int32_t begin, int32_t n, float *restrict out) {
    const float *restrict l = r->logits + begin;
    const float max = r->max, inv_temp = r->inv_temp, thr = r->thr;
    /* ids of the chunk up to and including the last kept tie; clipped so that the loop stays in 32 bits */
    const int64_t last = (int64_t)r->tie - begin;
    const int32_t tie = last < -1 ? -1 : last > WEIR_CHUNK ? WEIR_CHUNK : (int32_t)last;
    for (int32_t i = 0; i < n; i++) {
        const float w = wf_exp((l[i] - max) * inv_temp) * scale;
        const int kept = (l[i] > thr) | ((l[i] == thr) & (i <= tie));
        out[i] = kept ? w : 0.0f;
    }
}

static void probs(const weir_row_view *r, bool raw, int32_t begin, int32_t n, float *out) {
    if (raw)
        weights_all(r->logits + begin, r->max, 1.0f, r->inv_sum, n, out);
    else if (!r->cut)
        weights_all(r->logits + begin, r->max, r->inv_temp, r->inv_psum, n, out);
    else
        weights_cut(r, r->inv_psum, begin, n, out);
    pad(out, n);
}

/* ---- sums of one row ----------------------------------------------------------------------------------- */

/* sum of w and of d w over a multiple of the lanes; d is kept finite, so that a weight of zero gives zero. */
static void weigh(const float *restrict l, float max, float inv_temp, const float *restrict w, int32_t n,
                  float *out) {
    float sum[WEIR_LANES] = {0}, dot[WEIR_LANES] = {0};
    for (int32_t i = 0; i < n; i += WEIR_LANES)
        for (int k = 0; k < WEIR_LANES; k++) {
            const float d = (l[i + k] - max) * inv_temp;
            sum[k] += w[i + k];
            dot[k] += (d > -128.0f ? d : -128.0f) * w[i + k];
        }
    out[0] = fold(sum);
    out[1] = fold(dot);
}

static void row_sums(const weir_row_view *r, int32_t n_vocab, int32_t chunk0, int32_t chunk1, float *keep_e,
                     float *keep_w, float *out) {
    chunk room, l_room, w_room;
    weir_tree tree;
    tree.n = 0;
    const int n_sum = r->plain ? 2 : 4;
    float *const first = r->plain ? keep_w : keep_e;
    for (int32_t c = chunk0; c < chunk1; c++) {
        const int32_t begin = c * WEIR_CHUNK, n = chunk_size(n_vocab, c), n_pad = round_up(n);
        const float *l = r->logits + begin, *l_pad = padded_by(-INFINITY, l, n, &l_room); /* weight 0 */
        float sum[WEIR_MAX_SUMS], *w = first ? first + begin : room.x;
        weights_all(l, r->max, 1.0f, 1.0f, n, w);
        weigh(l_pad, r->max, 1.0f, padded(w, n, &w_room), n_pad, sum);
        if (!r->plain) {
            w = keep_w ? keep_w + begin : room.x;
            if (r->cut)
                weights_cut(r, 1.0f, begin, n, w);
            else
                weights_all(l, r->max, r->inv_temp, 1.0f, n, w);
            weigh(l_pad, r->max, r->inv_temp, padded(w, n, &w_room), n_pad, sum + 2);
        }
        weir__tree_push(&tree, sum, n_sum);
    }
    weir__tree_total(&tree, out, n_sum);
}

static void scale(const float *x, int32_t n, float by, float *out) {
    for (int32_t i = 0; i < n; i++) out[i] = x[i] * by;
}

/* ---- sums and weights of a pair of rows ---------------------------------------------------------------- */

typedef struct pair_chunk {
    chunk room[3];
    const float *q, *p, *member; /* with zeros up to the next multiple of the lanes */
} pair_chunk;

static void load_pair(const weir_qp *r, int32_t begin, int32_t n, pair_chunk *b) {
    probs(&r->q, false, begin, n, b->room[0].x);
    probs(&r->p, false, begin, n, b->room[1].x);
    b->q = b->room[0].x;
    b->p = b->room[1].x;
    b->member = r->member_p ? b->p : b->q;
    if (!weir__needs_raw(r)) return;
    probs(r->member_p ? &r->p : &r->q, true, begin, n, b->room[2].x);
    b->member = b->room[2].x;
}

static void load_given(const weir_qp *r, const weir_given *g, int32_t begin, int32_t n, pair_chunk *b) {
    b->q = padded(g->processed[0] + begin, n, &b->room[0]);
    b->p = padded(g->processed[1] + begin, n, &b->room[1]);
    b->member = r->member_p ? b->p : b->q;
    if (weir__needs_raw(r)) b->member = padded(g->raw[r->member_p] + begin, n, &b->room[2]);
}

/* One loop per kind (and one for cactus): `kind` and `cactus` are constants after inlining. skip: an id whose
 * second term is zero, from the first on; cactus only. */
static inline __attribute__((always_inline)) void sums_of(weir_sum_kind kind, bool cactus, const weir_qp *r,
                                                          const pair_chunk *b, int32_t n, int32_t skip,
                                                          float *out) {
    weir_qp local = *r; /* a copy, so that the compiler knows that no store changes it */
    local.cactus = cactus;
    const float *restrict q = b->q, *restrict p = b->p, *restrict m = b->member;
    float sum0[WEIR_LANES] = {0}, sum1[WEIR_LANES] = {0};
    for (int32_t i = 0; i < n; i += WEIR_LANES)
        for (int k = 0; k < WEIR_LANES; k++) {
            float t0, t1;
            weir__terms(kind, &local, q[i + k], p[i + k], m[i + k], &t0, &t1);
            sum0[k] += t0;
            sum1[k] += cactus && i + k == skip ? 0.0f : t1;
        }
    out[0] = fold(sum0);
    out[1] = fold(sum1);
}

static void chunk_sums(weir_sum_kind kind, const weir_qp *r, const pair_chunk *b, int32_t n, int32_t skip,
                       float *out) {
    switch (kind) {
    case WEIR_SUM_MASS:
        if (r->cactus)
            sums_of(WEIR_SUM_MASS, true, r, b, n, skip, out);
        else
            sums_of(WEIR_SUM_MASS, false, r, b, n, skip, out);
        return;
    case WEIR_SUM_ETA: sums_of(WEIR_SUM_ETA, false, r, b, n, skip, out); return;
    case WEIR_SUM_JS: sums_of(WEIR_SUM_JS, false, r, b, n, skip, out); return;
    case WEIR_SUM_TILT: sums_of(WEIR_SUM_TILT, false, r, b, n, skip, out); return;
    case WEIR_SUM_BLOCK: sums_of(WEIR_SUM_BLOCK, false, r, b, n, skip, out); return;
    }
}

static void pair_sums(const weir_qp *r, const weir_given *given, weir_sum_kind kind, int32_t n_vocab,
                      int32_t chunk0, int32_t chunk1, float *out) {
    pair_chunk b;
    weir_tree tree;
    tree.n = 0;
    for (int32_t c = chunk0; c < chunk1; c++) {
        const int32_t begin = c * WEIR_CHUNK, n = chunk_size(n_vocab, c);
        float sum[2] = {0.0f, 0.0f};
        if (given)
            load_given(r, given, begin, n, &b);
        else
            load_pair(r, begin, n, &b);
        chunk_sums(kind, r, &b, round_up(n), r->skip - begin, sum);
        weir__tree_push(&tree, sum, 2);
    }
    weir__tree_total(&tree, out, 2);
}

static inline __attribute__((always_inline)) void below_of(bool cactus, const weir_qp *r, const pair_chunk *b,
                                                           int32_t n, float *restrict t) {
    weir_qp local = *r;
    local.cactus = cactus;
    const float *restrict q = b->q, *restrict p = b->p, *restrict m = b->member;
    for (int32_t i = 0; i < n; i++) {
        const bool keep = m[i] >= local.floor;
        const float num_q = keep ? local.coef[1].num_q : local.coef[0].num_q;
        const float num_p = keep ? local.coef[1].num_p : local.coef[0].num_p;
        t[i] = weir__num(&local, num_q, num_p, q[i], p[i]) < q[i] ? q[i] : 0.0f;
    }
}

static float below(const weir_qp *r, const weir_given *given, int32_t n_vocab) {
    pair_chunk b;
    chunk t;
    weir_tree tree;
    tree.n = 0;
    for (int32_t c = 0; (int64_t)c * WEIR_CHUNK < n_vocab; c++) {
        const int32_t n = chunk_size(n_vocab, c), n_pad = round_up(n);
        load_given(r, given, c * WEIR_CHUNK, n, &b);
        if (r->cactus)
            below_of(true, r, &b, n_pad, t.x);
        else
            below_of(false, r, &b, n_pad, t.x);
        const float sum = lane_sum(t.x, n_pad);
        weir__tree_push(&tree, &sum, 1);
    }
    float out;
    weir__tree_total(&tree, &out, 1);
    return out;
}

static inline __attribute__((always_inline)) void weights_of(weir_weight_kind kind, const weir_qp *r,
                                                             const pair_chunk *b, int32_t n,
                                                             float *restrict w) {
    weir_qp local = *r;
    local.cactus = false; /* cactus draws only from its residual, which is linear */
    const float *restrict q = b->q, *restrict p = b->p, *restrict m = b->member;
    for (int32_t i = 0; i < n; i++) w[i] = weir__weight(kind, &local, q[i], p[i], m[i]);
}

static void race_weights(const weir_race *r, int32_t begin, int32_t n, float *w) {
    const weir_qp *pair = r->pair;
    pair_chunk b;
    switch (r->kind) {
    case WEIR_WEIGHT_Q: probs(&pair->q, false, begin, n, w); return;
    case WEIR_WEIGHT_P: probs(&pair->p, false, begin, n, w); return;
    case WEIR_WEIGHT_RES:
        load_pair(pair, begin, n, &b);
        weights_of(WEIR_WEIGHT_RES, pair, &b, n, w);
        if (pair->skip >= begin && pair->skip < begin + n) w[pair->skip - begin] = 0.0f;
        return;
    case WEIR_WEIGHT_PI:
        load_pair(pair, begin, n, &b);
        weights_of(WEIR_WEIGHT_PI, pair, &b, n, w);
        return;
    case WEIR_WEIGHT_BLOCK:
        load_pair(pair, begin, n, &b);
        weights_of(WEIR_WEIGHT_BLOCK, pair, &b, n, w);
        return;
    }
}

/* ---- the race ------------------------------------------------------------------------------------------ */

typedef struct words {
    _Alignas(64) uint32_t x[WEIR_CHUNK];
} words;

/* Philox in 64-bit lanes: a product takes the low halves of its operands, so the high halves may hold
 * anything. None of the compiler's own forms of this product comes close to one multiply instruction. */
static inline lane64 mul_low(lane64 a, uint64_t m) {
#if defined(__AVX512F__)
    return (lane64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)m));
#elif defined(__AVX2__)
    return (lane64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)m));
#else
    return (a & 0xffffffffu) * m;
#endif
}

static inline lane64 xor3(lane64 a, lane64 b, uint32_t c) {
#if defined(__AVX512F__)
    return (lane64)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, _mm512_set1_epi64((long long)c), 0x96);
#else
    return a ^ b ^ (uint64_t)c;
#endif
}

/* out: two 64-bit lanes of a counter after each other. */
static inline void store_pairs(uint32_t *out, lane64 low, lane64 high) {
#if defined(__AVX512F__)
    const __m512i a = (__m512i)low, b = (__m512i)high;
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i last = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64(a, first, b));
    _mm512_storeu_si512(out + 16, _mm512_permutex2var_epi64(a, last, b));
#elif defined(__AVX2__)
    const __m256i even = _mm256_unpacklo_epi64((__m256i)low, (__m256i)high);
    const __m256i odd = _mm256_unpackhi_epi64((__m256i)low, (__m256i)high);
    _mm256_storeu_si256((__m256i_u *)out, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i_u *)(out + 8), _mm256_permute2x128_si256(even, odd, 0x31));
#else
    for (int i = 0; i < LANE64; i++) {
        memcpy(out + 4 * i, (const uint64_t *)&low + i, sizeof(uint64_t));
        memcpy(out + 4 * i + 2, (const uint64_t *)&high + i, sizeof(uint64_t));
    }
#endif
}

/* Low halves of a, then of b, in one lane. */
static inline lane64 join_low(lane64 a, lane64 b) {
#if defined(__AVX512F__)
    return (lane64)_mm512_mask_blend_epi32(0xaaaa, (__m512i)a, (__m512i)(b << 32));
#elif defined(__AVX2__)
    return (lane64)_mm256_blend_epi32((__m256i)a, (__m256i)(b << 32), 0xaa);
#else
    return (a & 0xffffffffu) | b << 32;
#endif
}

/* The random words of the chunk's ids; equal to wf_philox. */
static void random_words(const weir_race *r, uint32_t block, words *out) {
    lane64 step;
    for (uint32_t i = 0; i < LANE64; i++) step[i] = i;
    for (uint32_t j = 0; j < WEIR_CHUNK / 4; j += LANE64) {
        lane64 c0 = step + (uint64_t)block + j;
        lane64 c1 = c0 - c0 + (uint32_t)r->position, c2 = c0 - c0 + (uint32_t)r->purpose;
        lane64 c3 = c0 - c0 + (uint32_t)r->block_row;
        uint32_t k0 = r->key[0], k1 = r->key[1];
        for (int i = 0; i < 10; i++) {
            const lane64 a = mul_low(c0, WF_PHILOX_M0), b = mul_low(c2, WF_PHILOX_M1);
            c0 = xor3(b >> 32, c1, k0);
            c1 = b;
            c2 = xor3(a >> 32, c3, k1);
            c3 = a;
            k0 += WF_PHILOX_W0;
            k1 += WF_PHILOX_W1;
        }
        store_pairs(out->x + 4 * j, join_low(c0, c1), join_low(c2, c3));
    }
}

/* Whether any of SIFTED ids may arrive no later than the best so far. An exponential is at least u, and u at
 * least z 2^-24 with z = x >> 8, exact in a float; so E / w <= best needs z <= w best 2^24, and a 2^-19 more
 * covers every rounding (that of the exponential is below 2^-21). An infinite bound finds all weights that
 * are not zero. */
enum { SIFTED = 64 };

static inline float sift_bound(const weir_best *best) {
    return best->bits < WEIR_KEY_INF ? wf_from_bits(best->bits) * 0x1.00002p24f : INFINITY;
}

static inline bool sift(const uint32_t *restrict x, const float *restrict w, float bound) {
    int32_t hit = 0;
    for (int i = 0; i < SIFTED; i++) hit |= (float)(int32_t)(x[i] >> 8) <= w[i] * bound;
    return hit != 0;
}

/* Nearly every id loses by its bound, so that few logarithms and no other divisions are needed. */
static void race(const weir_race *r, const float *drawn, int32_t n_vocab, int32_t chunk0, int32_t chunk1,
                 weir_best *best) {
    chunk w;
    words u;
    for (int32_t c = chunk0; c < chunk1; c++) {
        const int32_t begin = c * WEIR_CHUNK, n = chunk_size(n_vocab, c);
        if (drawn)
            scale(drawn + begin, n, r->pair->q.inv_psum, w.x);
        else
            race_weights(r, begin, n, w.x);
        for (int32_t i = n; i % SIFTED != 0; i++) w.x[i] = 0.0f;
        random_words(r, (uint32_t)begin / 4u, &u);
        for (int32_t i = 0; i < n; i += SIFTED) {
            if (!sift(u.x + i, w.x + i, sift_bound(best))) continue;
            for (int32_t k = i; k < i + SIFTED; k++) {
                if (!((float)(int32_t)(u.x[k] >> 8) <= w.x[k] * sift_bound(best)) || !(w.x[k] > 0.0f))
                    continue;
                const int32_t bits = weir__arrival(wf_exponential(u.x[k]), w.x[k]);
                if (bits < best->bits) *best = (weir_best){bits, begin + k};
            }
        }
    }
}

const weir_lanes WEIR_LANES_TABLE = {.minmax = minmax,
                                     .find = find,
                                     .row = row_sums,
                                     .pair = pair_sums,
                                     .below = below,
                                     .race = race,
                                     .probs = probs,
                                     .scale = scale};
