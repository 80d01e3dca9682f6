#ifndef WEIR_KERNELS_MATH_VEC_H
#define WEIR_KERNELS_MATH_VEC_H

/* One vector of f32 under the widest instruction set that the including file is compiled for, so that a
 * kernel is written once and instantiated in ..._avx2.c and ..._avx512.c. Everything here is static: two
 * files compiled with different flags must never share a function. */
#include <immintrin.h>
#include <stdint.h>

#if defined(__clang__)
#define WEIR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define WEIR_UNROLL _Pragma("GCC unroll 16")
#endif
#define WEIR_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)

enum { VF = 16 };
typedef __m512 vf;
typedef __m512i vi;

WEIR_INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
WEIR_INLINE vf vf_set1(float f) { return _mm512_set1_ps(f); }
WEIR_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
WEIR_INLINE void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
WEIR_INLINE __mmask16 vf_mask(int64_t n) { return (__mmask16)((1u << n) - 1u); }
/* The first n lanes, 0 <= n <= VF; the others are 0 and their memory is not touched. */
WEIR_INLINE vf vf_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(vf_mask(n), p); }
WEIR_INLINE void vf_store_n(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, vf_mask(n), v); }
/* Lanes from n on become `other`. */
WEIR_INLINE vf vf_keep_n(vf v, int64_t n, vf other) { return _mm512_mask_mov_ps(other, vf_mask(n), v); }
WEIR_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
WEIR_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
WEIR_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
WEIR_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
WEIR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
WEIR_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); } /* b where either is NaN */
WEIR_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
/* a < b ? yes : no, lane by lane; `no` where either is NaN. */
WEIR_INLINE vf vf_pick_less(vf a, vf b, vf yes, vf no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}
WEIR_INLINE vf vf_nearest(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
WEIR_INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
WEIR_INLINE vf vf_copysign(vf mag, vf sign) {
    const __m512i s = _mm512_set1_epi32((int)0x80000000u);
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(s, _mm512_castps_si512(sign), _mm512_castps_si512(mag), 0xca));
}
/* a * 2^n for integral n in [-150, 129], rounded once where the result is subnormal. */
WEIR_INLINE vf vf_ldexp(vf a, vf n) { return _mm512_scalef_ps(a, n); }

WEIR_INLINE float vf_sum(vf v) {
    const __m256 lo = _mm512_castps512_ps256(v), hi = _mm512_extractf32x8_ps(v, 1);
    const __m256 s8 = _mm256_add_ps(lo, hi);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
WEIR_INLINE float vf_hmax(vf v) {
    const __m256 s8 = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}

/* Weight lanes: VF outputs, each a pair of 16-bit inputs; even and odd inputs widened. */
WEIR_INLINE vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
WEIR_INLINE vf vi_bf16_even(vi w) { return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16)); }
WEIR_INLINE vf vi_bf16_odd(vi w) {
    return _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xffff0000u)));
}
WEIR_INLINE vf vi_bf16_odd_tight(vi w) { return vi_bf16_odd(w); }
WEIR_INLINE vf vi_f16_even(vi w) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(w)); }
WEIR_INLINE vf vi_f16_odd(vi w) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(w, 16))); }
/* VF numbers of e4m3 times 2^-8: the sign and seven bits of a byte, moved to their places in an f16. */
WEIR_INLINE vf vf_load_e4m3(const void *p) {
    const __m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i_u *)p)), 7);
    return _mm512_cvtph_ps(_mm256_and_si256(h, _mm256_set1_epi16((short)0xbf80)));
}

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

enum { VF = 8 };
typedef __m256 vf;
typedef __m256i vi;

WEIR_INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
WEIR_INLINE vf vf_set1(float f) { return _mm256_set1_ps(f); }
WEIR_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
WEIR_INLINE void vf_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
WEIR_INLINE __m256i vf_mask(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
WEIR_INLINE vf vf_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vf_mask(n)); }
WEIR_INLINE void vf_store_n(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, vf_mask(n), v); }
WEIR_INLINE vf vf_keep_n(vf v, int64_t n, vf other) {
    return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(vf_mask(n)));
}
WEIR_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
WEIR_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
WEIR_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
WEIR_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
WEIR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
WEIR_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
WEIR_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
WEIR_INLINE vf vf_pick_less(vf a, vf b, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
WEIR_INLINE vf vf_nearest(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
WEIR_INLINE vf vf_sign_bit(void) { return _mm256_set1_ps(-0.0f); }
WEIR_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(vf_sign_bit(), a); }
WEIR_INLINE vf vf_copysign(vf mag, vf sign) {
    return _mm256_or_ps(_mm256_andnot_ps(vf_sign_bit(), mag), _mm256_and_ps(vf_sign_bit(), sign));
}
/* Two factors, since a single one cannot represent 2^-150 or 2^128. */
WEIR_INLINE vf vf_ldexp(vf a, vf n) {
    const __m256i e = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(e, 1), rest = _mm256_sub_epi32(e, half);
    const __m256i one = _mm256_set1_epi32(127);
    const __m256 f = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23));
    const __m256 g = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23));
    return _mm256_mul_ps(_mm256_mul_ps(a, f), g);
}

WEIR_INLINE float vf_sum(vf v) {
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
WEIR_INLINE float vf_hmax(vf v) {
    const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}

WEIR_INLINE vi vi_load(const void *p) { return _mm256_loadu_si256((const __m256i_u *)p); }
WEIR_INLINE vf vi_bf16_even(vi w) { return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16)); }
WEIR_INLINE vf vi_bf16_odd(vi w) {
    return _mm256_castsi256_ps(_mm256_and_si256(w, _mm256_set1_epi32((int)0xffff0000u)));
}
/* The same without a register for the mask; two shifts are slower unless registers are scarce. */
WEIR_INLINE vf vi_bf16_odd_tight(vi w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(w, 16), 16));
}
/* Low halves of 8 lanes as 8 f16. */
WEIR_INLINE __m128i vi_low_halves(vi w) {
    const __m256i pick = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 4,
                                          5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i s = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(w, pick), 0x08);
    return _mm256_castsi256_si128(s);
}
WEIR_INLINE vf vi_f16_even(vi w) { return _mm256_cvtph_ps(vi_low_halves(w)); }
WEIR_INLINE vf vi_f16_odd(vi w) { return _mm256_cvtph_ps(vi_low_halves(_mm256_srli_epi32(w, 16))); }
WEIR_INLINE vf vf_load_e4m3(const void *p) {
    const __m128i h = _mm_slli_epi16(_mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i_u *)p)), 7);
    return _mm256_cvtph_ps(_mm_and_si128(h, _mm_set1_epi16((short)0xbf80)));
}

#else
#error "vec.h is for files compiled with -mavx2 -mfma -mf16c or with -mavx512f and its kin"
#endif

/* e^x. x = n ln 2 + r, |r| <= ln 2 / 2, Taylor to r^7 (remainder 5e-9), so |error| <= 2^-22 e^x;
 * 0 below -104, inf above 88.8, NaN stays NaN. */
WEIR_INLINE vf vf_exp(vf x) {
    const vf lo = vf_set1(-104.0f), hi = vf_set1(89.0f);
    x = vf_min(hi, vf_max(lo, x)); /* in this order NaN passes through */
    const vf n = vf_nearest(vf_mul(x, vf_set1(0x1.715476p+0f)));
    vf r = vf_fma(n, vf_set1(-0x1.62e400p-1f), x);
    r = vf_fma(n, vf_set1(-0x1.7f7d1cp-20f), r);
    vf p = vf_set1(1.0f / 5040.0f);
    p = vf_fma(p, r, vf_set1(1.0f / 720.0f));
    p = vf_fma(p, r, vf_set1(1.0f / 120.0f));
    p = vf_fma(p, r, vf_set1(1.0f / 24.0f));
    p = vf_fma(p, r, vf_set1(1.0f / 6.0f));
    p = vf_fma(p, r, vf_set1(0.5f));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return vf_ldexp(p, n);
}

/* tanh x, |error| <= 2^-21 |tanh x|: its Taylor series to x^13 below 1/2 (the rest is under 2^-23 of it), so
 * that a small score keeps its digits, and 1 - 2 / (e^2x + 1) above. */
WEIR_INLINE vf vf_tanh(vf x) {
    const vf z = vf_mul(x, x), size = vf_abs(x);
    vf p = vf_set1(21844.0f / 6081075.0f);
    p = vf_fma(p, z, vf_set1(-1382.0f / 155925.0f));
    p = vf_fma(p, z, vf_set1(62.0f / 2835.0f));
    p = vf_fma(p, z, vf_set1(-17.0f / 315.0f));
    p = vf_fma(p, z, vf_set1(2.0f / 15.0f));
    p = vf_fma(p, z, vf_set1(-1.0f / 3.0f));
    const vf small = vf_fma(vf_mul(p, z), x, x);
    const vf e = vf_exp(vf_add(size, size)), one = vf_set1(1.0f);
    const vf large = vf_copysign(vf_sub(one, vf_div(vf_set1(2.0f), vf_add(e, one))), x);
    return vf_pick_less(size, vf_set1(0.5f), small, large);
}

WEIR_INLINE vf vf_softcap(vf x, vf cap) { return vf_mul(cap, vf_tanh(vf_div(x, cap))); }

/* sum x^2 in four chains of vectors: the order depends only on n. */
WEIR_INLINE float vf_sum_sq(const float *x, int64_t n) {
    vf s0 = vf_zero(), s1 = vf_zero(), s2 = vf_zero(), s3 = vf_zero();
    int64_t i = 0;
    for (; i + 4 * VF <= n; i += 4 * VF) {
        const vf a = vf_load(x + i), b = vf_load(x + i + VF);
        const vf c = vf_load(x + i + 2 * VF), d = vf_load(x + i + 3 * VF);
        s0 = vf_fma(a, a, s0);
        s1 = vf_fma(b, b, s1);
        s2 = vf_fma(c, c, s2);
        s3 = vf_fma(d, d, s3);
    }
    for (; i < n; i += VF) {
        const vf a = n - i < VF ? vf_load_n(x + i, n - i) : vf_load(x + i);
        s0 = vf_fma(a, a, s0);
    }
    return vf_sum(vf_add(vf_add(s0, s1), vf_add(s2, s3)));
}

#endif /* WEIR_KERNELS_MATH_VEC_H */
