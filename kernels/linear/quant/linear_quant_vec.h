/* Row kernels of the linear op for quantised weights: included once by each instruction set's file. Rows are
 * quantised too, to bytes with one scale for every 32 inputs, and multiplied byte by byte into exact integer
 * sums:
 *
 *   panel  | 16 outputs x 4 or 8 codes | …      weight_quant.h; a vector is VF of the 16 outputs
 *   row    | q[32] d d·sum -sum | …             one line of memory for 32 inputs, broadcast four bytes at a
 *          time
 *
 * A unit is the 32 inputs (q2_k, q3_k, q6_k: 16) that share the scale s and the offset o of an output: its
 * term is s d (sum q x - zero · sum x), or s d sum q x + o d sum x. The zero is the format's; int4's is the
 * block's. Codes that are indices are looked up first. Each (row, output) is one chain of such terms for each
 * segment of k, in rising order, and the segments' tree, so neither the number of rows nor that of panels
 * processed at once can change a bit. */
#include "kernels/linear/quant/linear_quant.h"
#include "kernels/linear/isa/linear_vec.h"

enum { UNIT = 32, LINE = WEIR_PANEL * 4, AHEAD = 4096 };

/* ---- integers in vectors ------------------------------------------------------------------------------- */

#if defined(__AVX512F__)
#define VQ(name) _mm512_##name
WEIR_INLINE vi vq_and(vi a, vi b) { return _mm512_and_si512(a, b); }
WEIR_INLINE vi vq_or(vi a, vi b) { return _mm512_or_si512(a, b); }
WEIR_INLINE vi vq_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
WEIR_INLINE vi vq_srl(vi v, int n) { return _mm512_srli_epi32(v, (unsigned)n); }
WEIR_INLINE vi vq_sll(vi v, int n) { return _mm512_slli_epi32(v, (unsigned)n); }
WEIR_INLINE vi vq_sra(vi v, int n) { return _mm512_srai_epi32(v, (unsigned)n); }
WEIR_INLINE vi vq_zero(void) { return _mm512_setzero_si512(); }
WEIR_INLINE vf vq_load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p));
}
WEIR_INLINE vi vq_load_u8(const void *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)p));
}
/* 16 bytes, as often as they fit. */
WEIR_INLINE vi vq_repeat(const void *p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i_u *)p));
}
/* b's bytes with the signs of a's. */
WEIR_INLINE vi vq_signed(vi b, vi a) { return _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), vq_zero(), b); }
WEIR_INLINE int32_t vq_sum(vi v) { return _mm512_reduce_add_epi32(v); }
WEIR_INLINE uint32_t vq_hmax(vi v) { return _mm512_reduce_max_epu32(v); }
WEIR_INLINE void vq_store_bytes(int8_t *p, vi v) {
    _mm_storeu_si128((__m128i_u *)p, _mm512_cvtepi32_epi8(v));
}
#else
#define VQ(name) _mm256_##name
WEIR_INLINE vi vq_and(vi a, vi b) { return _mm256_and_si256(a, b); }
WEIR_INLINE vi vq_or(vi a, vi b) { return _mm256_or_si256(a, b); }
WEIR_INLINE vi vq_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
WEIR_INLINE vi vq_srl(vi v, int n) { return _mm256_srli_epi32(v, n); }
WEIR_INLINE vi vq_sll(vi v, int n) { return _mm256_slli_epi32(v, n); }
WEIR_INLINE vi vq_sra(vi v, int n) { return _mm256_srai_epi32(v, n); }
WEIR_INLINE vi vq_zero(void) { return _mm256_setzero_si256(); }
WEIR_INLINE vf vq_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p)); }
WEIR_INLINE vi vq_load_u8(const void *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)p));
}
WEIR_INLINE vi vq_repeat(const void *p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i_u *)p));
}
WEIR_INLINE vi vq_signed(vi b, vi a) { return _mm256_sign_epi8(b, a); }
WEIR_INLINE int32_t vq_sum(vi v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
WEIR_INLINE uint32_t vq_hmax(vi v) {
    __m128i s = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(s, _mm_shuffle_epi32(s, 0xb1)));
}
WEIR_INLINE void vq_store_bytes(int8_t *p, vi v) {
    const __m128i s = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i_u *)p, _mm_packs_epi16(s, s));
}
#endif

WEIR_INLINE vi vq_set1(int32_t u) { return VQ(set1_epi32)(u); }
WEIR_INLINE vi vq_bytes(int b) { return VQ(set1_epi8)((char)b); }
WEIR_INLINE vf vq_float(vi v) { return VQ(cvtepi32_ps)(v); }

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* VF inputs to bytes; their sum is added to *sum. */
WEIR_INLINE void row_bytes(int8_t *q, vf x, vf inverse, int32_t *sum) {
    const vi v = VQ(cvtps_epi32)(vf_mul(x, inverse)); /* to nearest even; at most 127 */
    vq_store_bytes(q, v);
    *sum += vq_sum(v);
}

WEIR_INLINE void row_unit(weir_quant_unit *u, const vf *x) {
    enum { N = UNIT / VF };
    vi most = vq_zero();
    WEIR_UNROLL for (int i = 0; i < N; i++) {
        vi bits;
        const vf a = vf_abs(x[i]);
        memcpy(&bits, &a, sizeof bits);
        most = VQ(max_epu32)(most, bits);
    }
    const uint32_t bits = vq_hmax(most); /* as integers, NaN is above infinity, and both are above numbers */
    float a;
    memcpy(&a, &bits, sizeof a);
    const bool number = bits < 0x7f800000u, some = number && a >= WEIR_QUANT_LEAST;
    const vf inverse = vf_set1(some ? 127.0f / a : 0.0f);
    int32_t sum[2] = {0, 0};
    WEIR_UNROLL for (int i = 0; i < N; i++)
        row_bytes(u->q + i * VF, some ? x[i] : vf_zero(), inverse, &sum[i * VF / 16]);
    u->d = some ? a / 127.0f : number ? 0.0f : NAN;
    u->d_sum = u->d * (float)(sum[0] + sum[1]);
    u->minus = -(sum[0] + sum[1]);
    u->minus_half[0] = -sum[0], u->minus_half[1] = -sum[1];
    u->d_half[0] = u->d * (float)sum[0], u->d_half[1] = u->d * (float)sum[1];
}

static inline void prepare_units(void *dst, int64_t stride, const float *x, const float *norm, float eps,
                                 int64_t k) {
    unsigned char *out = dst;
    const vf factor = vf_set1(norm ? norm_factor(x, eps, k) : 1.0f);
    for (int64_t i = 0; i < k; i += UNIT, out += stride) {
        vf v[UNIT / VF];
        WEIR_UNROLL for (int j = 0; j < UNIT / VF; j++) v[j] = row_vec(x, norm, factor, i + j * VF, k);
        row_unit((weir_quant_unit *)(void *)out, v);
    }
}

/* ---- weights ------------------------------------------------------------------------------------------- */

#if defined(__AVX512VNNI__)
enum { SIGNED_BYTES = 0 };
#else
enum { SIGNED_BYTES = 1 }; /* 2 x 255 x 127 does not fit 16 bits, 2 x 128 x 127 does */
#endif

/* `kind`, a weir_dtype, is a constant after inlining; so are these. */
WEIR_INLINE bool has_offset(int kind) {
    return kind == WEIR_DTYPE_Q4_1 || kind == WEIR_DTYPE_Q5_1 || kind == WEIR_DTYPE_Q2_K ||
           kind == WEIR_DTYPE_Q4_K || kind == WEIR_DTYPE_Q5_K;
}
/* A code that means zero, of every block and output, in the word before the codes. */
WEIR_INLINE bool has_zero(int kind) { return kind == WEIR_DTYPE_INT4 || kind == WEIR_DTYPE_INT4_128; }
WEIR_INLINE bool has_fifth_bits(int kind) { return kind == WEIR_DTYPE_Q5_0 || kind == WEIR_DTYPE_Q5_1; }
WEIR_INLINE bool is_iq4(int kind) { return kind == WEIR_DTYPE_IQ4_NL || kind == WEIR_DTYPE_IQ4_XS; }
/* Blocks of 32 elements, or of 128 or 256 that are stored like four or eight of those. */
WEIR_INLINE bool in_32s(int kind) {
    return weir_dtype_block((weir_dtype)kind) == 32 || kind == WEIR_DTYPE_IQ4_XS ||
           kind == WEIR_DTYPE_INT4_128;
}
/* A scale for every 16. */
WEIR_INLINE bool in_halves(int kind) {
    return kind == WEIR_DTYPE_Q2_K || kind == WEIR_DTYPE_Q3_K || kind == WEIR_DTYPE_Q6_K;
}

/* Of the bytes that are multiplied: as many bits hold them. */
WEIR_INLINE int code_bits(int kind) {
    if (kind == WEIR_DTYPE_Q8_0 || is_iq4(kind)) return 8;
    if (kind == WEIR_DTYPE_Q6_K) return 6;
    if (kind == WEIR_DTYPE_Q2_K) return 2;
    if (kind == WEIR_DTYPE_Q3_K) return 3;
    return kind == WEIR_DTYPE_Q4_0 || kind == WEIR_DTYPE_Q4_1 || kind == WEIR_DTYPE_Q4_K || has_zero(kind)
               ? 4
               : 5;
}

/* Where the codes of one unit are: words of 4 or 8 codes, and words of high bits, or the word that has the
 * block's zero. */
typedef struct unit_at {
    const unsigned char *low, *high;
    int part; /* which of the elements that share a byte: a constant after inlining but for q5_k's high
                 bits */
    int half; /* of the block: q3_k's third bits */
} unit_at;

/* The bits of every byte from `from` on to those that the mask, from bit `to` on, lets through. */
WEIR_INLINE vi high_bits(vi v, int from, int to, int mask) {
    const vi moved = from < to ? vq_sll(v, to - from) : from > to ? vq_srl(v, from - to) : v;
    return vq_and(moved, vq_bytes(mask));
}

/* Prefetches the code words AHEAD bytes further, each once per block. The hardware prefetcher is not fast
 * enough when a core has several rows to multiply: 6 rows took 1.8 times as long as one row without this, 1.5
 * with it (Sapphire Rapids). */
WEIR_INLINE void fetch_ahead(int kind, const unit_at *u, int i) {
    const bool two = kind == WEIR_DTYPE_Q2_K || kind == WEIR_DTYPE_Q3_K, six = kind == WEIR_DTYPE_Q6_K;
    const bool first = kind == WEIR_DTYPE_Q8_0 || (in_32s(kind) ? i < 4
                                                   : two        ? u->part == 0
                                                   : six        ? u->part < 2
                                                                : u->part % 2 == 0);
    if (first) _mm_prefetch((const char *)u->low + i * LINE + AHEAD, _MM_HINT_T0);
    if (six && u->part == 2) _mm_prefetch((const char *)u->high + i * LINE + AHEAD, _MM_HINT_T0);
    if (kind == WEIR_DTYPE_Q3_K && u->part == 1 && u->half == 0)
        _mm_prefetch((const char *)u->high + i * LINE + AHEAD, _MM_HINT_T0);
}

/* The values of indices, moved by a power of two so that they have no sign, unless bytes may have one. */
WEIR_INLINE vi look_up(int kind, vi index) {
    const vi value = vq_repeat(is_iq4(kind) ? weir__iq4_values : weir__mxfp4_values);
    if (kind == WEIR_DTYPE_MXFP4) return VQ(shuffle_epi8)(VQ(add_epi8)(value, vq_bytes(16)), index);
    return VQ(shuffle_epi8)(SIGNED_BYTES ? value : vq_xor(value, vq_bytes(0x80)), index);
}

/* Four codes, i of 8, of VF outputs. */
WEIR_INLINE vi codes(int kind, const unit_at *u, int i) {
    const vi mask = vq_bytes(0x0f);
    if (kind == WEIR_DTYPE_Q8_0) return vi_load(u->low + i * LINE);
    if (in_32s(kind)) {
        const vi w = vi_load(u->low + i % 4 * LINE), low = vq_and(i < 4 ? w : vq_srl(w, 4), mask);
        if (is_iq4(kind) || kind == WEIR_DTYPE_MXFP4) return look_up(kind, low);
        return has_fifth_bits(kind) ? vq_or(low, high_bits(vi_load(u->high), i, 4, 0x10)) : low;
    }
    if (kind == WEIR_DTYPE_Q2_K || kind == WEIR_DTYPE_Q3_K) {
        const vi low = high_bits(vi_load(u->low + i * LINE), 2 * u->part, 0, 3);
        if (kind == WEIR_DTYPE_Q2_K) return low;
        return vq_or(low, high_bits(vq_srl(vi_load(u->high + i * LINE), 4 * u->half), u->part, 2, 4));
    }
    const int upper = kind == WEIR_DTYPE_Q6_K ? u->part / 2 : u->part % 2;
    const vi w = vi_load(u->low + i * LINE), low = vq_and(upper ? vq_srl(w, 4) : w, mask);
    if (kind == WEIR_DTYPE_Q4_K) return low;
    const vi high = vi_load(u->high + i * LINE);
    return vq_or(low, kind == WEIR_DTYPE_Q6_K ? high_bits(high, 2 * u->part, 4, 0x30)
                                              : high_bits(high, u->part, 4, 0x10));
}

/* ---- sums of a unit ------------------------------------------------------------------------------------ */

WEIR_INLINE vi row_word(const weir_quant_unit *x, int i) {
    int32_t u;
    memcpy(&u, x->q + 4 * i, sizeof u);
    return vq_set1(u);
}

#if defined(__AVX512VNNI__)

/* sum[r][p] += codes of words [begin, end) of unit u[p] times row r's bytes. */
WEIR_INLINE void unit_sums(vi (*sum)[8], const unit_at *u, const unsigned char *x, int begin, int end,
                           const int R, const int P, const int kind) {
    WEIR_UNROLL for (int i = begin; i < end; i++) {
        vi w[8];
        WEIR_UNROLL for (int p = 0; p < P; p++) {
            fetch_ahead(kind, &u[p], i);
            w[p] = codes(kind, &u[p], i);
        }
        WEIR_UNROLL for (int r = 0; r < R; r++) {
            const vi v = row_word((const weir_quant_unit *)(const void *)x + r, i);
            WEIR_UNROLL for (int p = 0; p < P; p++) sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], w[p], v);
        }
    }
}

#else

/* Products of pairs in 16 bits: as many as cannot overflow are added before they are widened:
 * 8 x 2 x 15 x 127, 4 x 2 x 31 x 127, 2 x 2 x 63 x 127. A unit has 8 words, or 4. */
WEIR_INLINE int pairs_at_once(int kind) {
    const int bits = code_bits(kind);
    if (bits <= 4) return in_halves(kind) ? 4 : 8;
    return bits == 5 ? 4 : bits == 6 ? 2 : 1;
}

WEIR_INLINE void unit_sums(vi (*sum)[8], const unit_at *u, const unsigned char *x, int begin, int end,
                           const int R, const int P, const int kind) {
    const int group = pairs_at_once(kind); /* divides the words of a unit */
    const vi ones = VQ(set1_epi16)(1);
    WEIR_UNROLL for (int p = 0; p < P; p++) {
        vi s[WEIR_QUANT_ROWS] = {vq_zero()};
        WEIR_UNROLL for (int i = begin; i < end; i++) {
            fetch_ahead(kind, &u[p], i);
            vi w = codes(kind, &u[p], i), sign = w;
            if (kind == WEIR_DTYPE_Q8_0) sign = vq_xor(w, vq_bytes(0x80));
            if (code_bits(kind) == 8) w = VQ(abs_epi8)(sign);
            WEIR_UNROLL for (int r = 0; r < R; r++) {
                const vi v = row_word((const weir_quant_unit *)(const void *)x + r, i);
                const vi product = VQ(maddubs_epi16)(w, code_bits(kind) == 8 ? vq_signed(v, sign) : v);
                s[r] = (i - begin) % group == 0 ? product : VQ(add_epi16)(s[r], product);
                if ((i - begin) % group == group - 1) {
                    sum[r][p] = VQ(add_epi32)(sum[r][p], VQ(madd_epi16)(s[r], ones));
                }
            }
        }
    }
}

#endif

WEIR_INLINE vi zero_of(const unit_at *u) { return vq_and(vi_load(u->high), vq_set1(WEIR_INT4_ZERO)); }

/* The start value of the sum: minus the code that means zero, mostly a power of two, times the sum of the
 * row's bytes, which fits 16 bits. */
WEIR_INLINE vi first_sum(int kind, int32_t minus, vi zero) {
    if (has_zero(kind)) return VQ(madd_epi16)(zero, vq_set1(minus));
    if (has_offset(kind) || (code_bits(kind) == 8 && SIGNED_BYTES)) return vq_zero();
    return vq_sll(vq_set1(minus), code_bits(kind) - 1);
}

/* acc[r][p] += the term of one unit. half: 0 or 1 of the 32 inputs at x, -1 all. */
WEIR_INLINE void add_unit(vf (*acc)[8], const unit_at *u, const vf *scale, const vf *offset,
                          const unsigned char *x, int half, const int R, const int P, const int kind) {
    const weir_quant_unit *row = (const weir_quant_unit *)(const void *)x;
    vi sum[WEIR_QUANT_ROWS][8], zero[8];
    WEIR_UNROLL for (int p = 0; p < P; p++) zero[p] = has_zero(kind) ? zero_of(&u[p]) : vq_zero();
    WEIR_UNROLL for (int r = 0; r < R; r++) {
        WEIR_UNROLL for (int p = 0; p < P; p++) sum[r][p] =
            first_sum(kind, half < 0 ? row[r].minus : row[r].minus_half[half], zero[p]);
    }
    unit_sums(sum, u, x, half == 1 ? 4 : 0, half == 0 ? 4 : 8, R, P, kind);
    WEIR_UNROLL for (int r = 0; r < R; r++) {
        const vf d = vf_set1(row[r].d), d_sum = vf_set1(half < 0 ? row[r].d_sum : row[r].d_half[half]);
        WEIR_UNROLL for (int p = 0; p < P; p++) {
            acc[r][p] = vf_fma(vq_float(sum[r][p]), vf_mul(scale[p], d), acc[r][p]);
            if (has_offset(kind)) acc[r][p] = vf_fma(offset[p], d_sum, acc[r][p]);
        }
    }
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* P vectors of outputs: where their block's words and f16 scales are. */
typedef struct block_at {
    const unsigned char *word[8], *scale[8];
} block_at;

/* 2^(e - 128): the exponent is e - 1; of e = 0 and 1 there is a bit of the mantissa instead. */
WEIR_INLINE vf load_half_e8m0(const void *p) {
    const vi e = vq_load_u8(p), one = vq_set1(1);
    const vi least = VQ(add_epi32)(vq_set1(0x00200000), vq_sll(VQ(min_epu32)(e, one), 21));
    const vi bits = VQ(max_epi32)(vq_sll(VQ(sub_epi32)(e, one), 23), least);
    vf f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

WEIR_INLINE void next_block(block_at *b, const int P, int kind) {
    const weir_quant_pack pack = weir__quant_pack_of((weir_dtype)kind);
    WEIR_UNROLL for (int p = 0; p < P; p++) {
        b->word[p] += pack.words * LINE;
        b->scale[p] += WEIR_PANEL * pack.apart;
    }
}

/* The unit of a block of 32. */
WEIR_INLINE unit_at unit_of_32(const unsigned char *word, int kind) {
    const int first = (has_offset(kind) || has_zero(kind) ? 1 : 0) + (has_fifth_bits(kind) ? 1 : 0);
    return (unit_at){word + first * LINE, word + (first ? first - 1 : 0) * LINE, 0, 0};
}

/* d of the word that has d and zero. */
WEIR_INLINE vf scale_int4(const unsigned char *word) {
    const vi d = vq_and(vi_load(word), vq_set1((int32_t)WEIR_INT4_SCALE));
    vf f;
    memcpy(&f, &d, sizeof f);
    return f;
}

/* Its scale, and its offset if it has one. */
WEIR_INLINE vf scale_of_32(const unsigned char *word, const unsigned char *apart, vf *offset, int kind) {
    if (has_offset(kind)) {
        const vi dm = vi_load(word);
        *offset = vi_f16_odd(dm);
        return vi_f16_even(dm);
    }
    *offset = vf_zero();
    if (has_zero(kind)) return scale_int4(word);
    return kind == WEIR_DTYPE_MXFP4 ? load_half_e8m0(apart) : vq_load_f16(apart);
}

WEIR_INLINE void add_block_32(vf (*acc)[8], const block_at *b, const unsigned char *x, const int R,
                              const int P, const int kind) {
    unit_at u[8];
    vf scale[8], offset[8];
    WEIR_UNROLL for (int p = 0; p < P; p++) {
        u[p] = unit_of_32(b->word[p], kind);
        scale[p] = scale_of_32(b->word[p], b->scale[p], &offset[p], kind);
    }
    add_unit(acc, u, scale, offset, x, -1, R, P, kind);
}

/* Scales and minima of 8 units (kernels/weight/quant.c) times d and -dmin. */
WEIR_INLINE void scales_k(float *scale, float *offset, const unsigned char *word) {
    const vi dm = vi_load(word), s0 = vi_load(word + LINE), s1 = vi_load(word + 2 * LINE),
             s2 = vi_load(word + 3 * LINE);
    const vf d = vi_f16_even(dm), minus = vf_sub(vf_zero(), vi_f16_odd(dm));
    const vi six = vq_set1(63), four = vq_set1(15), top = vq_set1(48);
    WEIR_UNROLL for (int j = 0; j < 4; j++) {
        const vi low = vq_srl(s2, 8 * j);
        const vi s = vq_and(vq_srl(s0, 8 * j), six), m = vq_and(vq_srl(s1, 8 * j), six);
        const vi s4 = vq_or(vq_and(low, four), vq_and(vq_srl(s0, 8 * j + 2), top));
        const vi m4 = vq_or(vq_and(vq_srl(low, 4), four), vq_and(vq_srl(s1, 8 * j + 2), top));
        vf_store(scale + j * VF, vf_mul(d, vq_float(s))),
            vf_store(offset + j * VF, vf_mul(minus, vq_float(m)));
        vf_store(scale + (j + 4) * VF, vf_mul(d, vq_float(s4)));
        vf_store(offset + (j + 4) * VF, vf_mul(minus, vq_float(m4)));
    }
}

/* Byte j % 4 of word j / 4 has scale j; of q2_k, in four bits each, minimum and scale. */
WEIR_INLINE void scales_q6_k(float *scale, const unsigned char *word, const unsigned char *d16) {
    const vf d = vq_load_f16(d16);
    WEIR_UNROLL for (int i = 0; i < 4; i++) {
        const vi four = vi_load(word + (48 + i) * LINE);
        WEIR_UNROLL for (int j = 0; j < 4; j++) {
            vf_store(scale + (4 * i + j) * VF, vf_mul(d, vq_float(vq_sra(vq_sll(four, 24 - 8 * j), 24))));
        }
    }
}

WEIR_INLINE void scales_q2_k(float *scale, float *offset, const unsigned char *word) {
    const vi dm = vi_load(word + 20 * LINE), four = vq_set1(15);
    const vf d = vi_f16_even(dm), minus = vf_sub(vf_zero(), vi_f16_odd(dm));
    WEIR_UNROLL for (int i = 0; i < 4; i++) {
        const vi w = vi_load(word + i * LINE);
        WEIR_UNROLL for (int j = 0; j < 4; j++) {
            const vi s = vq_and(vq_srl(w, 8 * j), four), m = vq_and(vq_srl(w, 8 * j + 4), four);
            vf_store(scale + (4 * i + j) * VF, vf_mul(d, vq_float(s)));
            vf_store(offset + (4 * i + j) * VF, vf_mul(minus, vq_float(m)));
        }
    }
}

WEIR_INLINE void scales_q3_k(float *scale, const unsigned char *word, const unsigned char *d16) {
    const vf d = vq_load_f16(d16);
    const vi four = vq_set1(15), two = vq_set1(3), zero = vq_set1(32), high = vi_load(word + 26 * LINE);
    WEIR_UNROLL for (int j = 0; j < 16; j++) {
        const vi low = vq_and(vq_srl(vi_load(word + (24 + j / 4 % 2) * LINE), 8 * (j % 4) + j / 8 * 4), four);
        const vi top = vq_sll(vq_and(vq_srl(high, 8 * (j % 4) + j / 4 * 2), two), 4);
        vf_store(scale + j * VF, vf_mul(d, vq_float(VQ(sub_epi32)(vq_or(low, top), zero))));
    }
}

/* Unit 4 half + part of a block with a scale for every 16. */
WEIR_INLINE unit_at unit_of_halves(int kind, const unsigned char *word, int half, int part) {
    if (kind == WEIR_DTYPE_Q2_K) return (unit_at){word + (4 + 8 * half) * LINE, word, part, half};
    if (kind == WEIR_DTYPE_Q3_K) return (unit_at){word + (8 + 8 * half) * LINE, word, part, half};
    return (unit_at){word + (16 * half + part % 2 * 8) * LINE, word + (32 + 8 * half) * LINE, part, half};
}

/* Eight blocks of 16 bytes of codes; scale j has 4 bits in the second word and 2 in the first. */
WEIR_INLINE void scales_iq4_xs(float *scale, const unsigned char *word) {
    const vi top = vi_load(word), low = vi_load(word + LINE);
    const vf d = vi_f16_even(top);
    WEIR_UNROLL for (int j = 0; j < 8; j++) {
        const vi s =
            vq_or(vq_and(vq_srl(low, 4 * j), vq_set1(15)), vq_and(vq_srl(top, 12 + 2 * j), vq_set1(48)));
        vf_store(scale + j * VF, vf_mul(d, vq_float(VQ(sub_epi32)(s, vq_set1(32)))));
    }
}

/* Four units share one. */
WEIR_INLINE void scales_int4_128(float *scale, const unsigned char *word) {
    const vf d = scale_int4(word);
    WEIR_UNROLL for (int j = 0; j < 4; j++) vf_store(scale + j * VF, d);
}

/* The scales and offsets of the units, or halves of units, of a large block: of 128 or 256. */
typedef struct block_scales {
    _Alignas(64) float scale[16 * VF];
    float offset[16 * VF];
} block_scales;

WEIR_INLINE void scales_of_large(block_scales *s, const unsigned char *word, const unsigned char *apart,
                                 int kind) {
    if (kind == WEIR_DTYPE_Q2_K) scales_q2_k(s->scale, s->offset, word);
    if (kind == WEIR_DTYPE_Q3_K) scales_q3_k(s->scale, word, apart);
    if (kind == WEIR_DTYPE_Q6_K) scales_q6_k(s->scale, word, apart);
    if (kind == WEIR_DTYPE_IQ4_XS) scales_iq4_xs(s->scale, word);
    if (kind == WEIR_DTYPE_INT4_128) scales_int4_128(s->scale, word);
    if (kind == WEIR_DTYPE_Q4_K || kind == WEIR_DTYPE_Q5_K) scales_k(s->scale, s->offset, word);
}

/* Units whose codes share bytes, so that which of them is a constant after unrolling. */
WEIR_INLINE int units_of_byte(int kind) { return in_halves(kind) ? 4 : in_32s(kind) ? 1 : 2; }

/* Unit j of a large block. */
WEIR_INLINE unit_at unit_of_large(const unsigned char *word, int j, int kind) {
    if (in_halves(kind)) return unit_of_halves(kind, word, j / 4, j % 4);
    if (in_32s(kind)) return (unit_at){word + ((has_zero(kind) ? 1 : 2) + 4 * j) * LINE, word, 0, 0};
    const int low = kind == WEIR_DTYPE_Q4_K ? 4 : 12;
    return (unit_at){word + (low + 8 * (j / 2)) * LINE, word + 4 * LINE, kind == WEIR_DTYPE_Q5_K ? j : j % 2,
                     0};
}

WEIR_INLINE void add_block_large(vf (*acc)[8], const block_at *b, const unsigned char *x, int64_t stride,
                                 const int R, const int P, const int kind) {
    const int halves = in_halves(kind) ? 2 : 1, at_once = units_of_byte(kind),
              units = weir_dtype_block((weir_dtype)kind) / UNIT;
    block_scales scales[8];
    for (int p = 0; p < P; p++) scales_of_large(&scales[p], b->word[p], b->scale[p], kind);
    for (int first = 0; first < units; first += at_once) {
        WEIR_UNROLL for (int i = 0; i < at_once; i++, x += stride) {
            unit_at u[8];
            WEIR_UNROLL for (int p = 0; p < P; p++) u[p] = unit_of_large(b->word[p], first + i, kind);
            WEIR_UNROLL for (int h = 0; h < halves; h++) {
                const int at = (halves * (first + i) + h) * VF;
                vf s[8], o[8];
                WEIR_UNROLL for (int p = 0; p < P; p++) {
                    s[p] = vf_load(scales[p].scale + at);
                    o[p] = has_offset(kind) ? vf_load(scales[p].offset + at) : s[p];
                }
                add_unit(acc, u, s, o, x, halves == 2 ? h : -1, R, P, kind);
            }
        }
    }
}

/* ---- tiles --------------------------------------------------------------------------------------------- */

/* P vectors of outputs from vector `at` of the tile's n on, times R rows. R, P and kind are constants after
 * inlining. */
WEIR_INLINE void quant_sums(vf (*acc)[8], const weir_linear_tile *t, int64_t at, int64_t n, const int R,
                            const int P, const int kind) {
    const weir_quant_pack pack = weir__quant_pack_of((weir_dtype)kind);
    const int block = weir_dtype_block((weir_dtype)kind);
    const int64_t n_block = 2 * t->n_pair / block, word_bytes = pack.words * LINE;
    const weir_segments *s = t->segments;
    _Alignas(64) float kept[WEIR_SEGMENTS / 2 - 1][WEIR_QUANT_ROWS * 8 * VF];
    int n_kept = 0;
    block_at b;
    WEIR_UNROLL for (int p = 0; p < P; p++) {
        const int64_t v = at + p < n ? at + p : n - 1;
        const unsigned char *panel = t->w + v / PER_PANEL * t->panel_bytes;
        b.word[p] = panel + v % PER_PANEL * VF * 4;
        b.scale[p] = panel + n_block * word_bytes + v % PER_PANEL * VF * pack.apart;
    }
    const unsigned char *x = t->x;
    int64_t i = 0;
    for (int g = 0;; g++) {
        WEIR_UNROLL for (int r = 0; r < R; r++) {
            WEIR_UNROLL for (int p = 0; p < P; p++) acc[r][p] = vf_zero();
        }
        for (; i < s->end[g] / block; i++, x += block / UNIT * t->x_stride) {
            if (block == 32)
                add_block_32(acc, &b, x, R, P, kind);
            else
                add_block_large(acc, &b, x, t->x_stride, R, P, kind);
            next_block(&b, P, kind);
        }
        for (int m = s->merges[g]; m > 0; m--) merge(kept[--n_kept], acc[0], 8, R, P);
        if (g + 1 == s->n) return;
        keep(kept[n_kept++], acc[0], 8, R, P);
    }
}

/* All panels of a tile, P vectors at once. If the tile's end is not a multiple of P, the last vector is
 * computed twice: a second instance of the loop would double the code. */
WEIR_INLINE void quant_tile(const weir_linear_tile *t, const int R, const int P, const int kind) {
    /* whole pairs of gate and up */
    const int64_t n = t->n_panel * PER_PANEL, step = P > 2 * PER_PANEL ? P : 2 * PER_PANEL;
    const int64_t ldc = step * VF;
    _Alignas(64) float c[WEIR_QUANT_ROWS * 4 * WEIR_PANEL];
    for (int64_t at = 0; at < n; at += step) {
        const int64_t left = n - at < step ? n - at : step;
        for (int64_t i = 0; i < left; i += P) {
            vf acc[WEIR_QUANT_ROWS][8];
            quant_sums(acc, t, at + i, n, R, P, kind);
            WEIR_UNROLL for (int r = 0; r < R; r++) {
                WEIR_UNROLL for (int p = 0; p < P; p++) vf_store(c + r * ldc + (i + p) * VF, acc[r][p]);
            }
        }
        finish_part(t, at / PER_PANEL, left / PER_PANEL, c, ldc, R);
    }
}

/* A tile takes the compiler seconds, or half a minute with instrumentation; two row counts exercise all the
 * code. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR_QUANT_FEW_TILES 1
#endif

#define WEIR_QUANT_TILE(name, R, P, kind) \
    static void name(const weir_linear_tile *t) { quant_tile(t, R, P, kind); }

/* Every format, for an instruction set's TILES(dtype, suffix) and LIST(suffix). */
#define WEIR_QUANT_EACH(X)       \
    X(WEIR_DTYPE_Q4_0, q4_0)     \
    X(WEIR_DTYPE_Q4_1, q4_1)     \
    X(WEIR_DTYPE_Q5_0, q5_0)     \
    X(WEIR_DTYPE_Q5_1, q5_1)     \
    X(WEIR_DTYPE_Q8_0, q8_0)     \
    X(WEIR_DTYPE_IQ4_NL, iq4_nl) \
    X(WEIR_DTYPE_MXFP4, mxfp4)   \
    X(WEIR_DTYPE_INT4, int4)     \
    X(WEIR_DTYPE_Q2_K, q2_k)     \
    X(WEIR_DTYPE_Q3_K, q3_k)     \
    X(WEIR_DTYPE_Q4_K, q4_k)     \
    X(WEIR_DTYPE_Q5_K, q5_k)     \
    X(WEIR_DTYPE_Q6_K, q6_k) X(WEIR_DTYPE_IQ4_XS, iq4_xs) X(WEIR_DTYPE_INT4_128, int4_128)
#define WEIR_QUANT_ENTRY(dtype, suffix) [dtype] = LIST(suffix),
