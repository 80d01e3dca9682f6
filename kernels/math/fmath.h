#ifndef WEIR_KERNELS_MATH_FMATH_H
#define WEIR_KERNELS_MATH_FMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp and log of the accept path. Our own, because the same logits must give the same token on every machine:
 * only IEEE add, multiply, divide and an explicit fmaf, no tables, no branches that differ between a vector
 * and a scalar build. Loops over these functions vectorise. Coefficients are minimax fits in the relative
 * error of the result (Lawson iteration in 40 digits, rounded to float). The stated errors are the largest
 * found by tests/kernels/math/test_fmath.c, which visits every argument. */

#if defined(__CUDACC__)
#define WF_FN static __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define WF_FN static inline __attribute__((always_inline))
#else
#define WF_FN static inline
#endif

WF_FN int32_t wf_bits(float f) {
    int32_t i;
    memcpy(&i, &f, sizeof i);
    return i;
}

WF_FN float wf_from_bits(int32_t i) {
    float f;
    memcpy(&f, &i, sizeof f);
    return f;
}

/* Below this wf_exp gives 0: e^-87.3 is still a normal number, so that no result is subnormal. */
#define WF_EXP_MIN (-87.3f)

/* e^x for x <= 0, -inf included; wf_exp(0) = 1 exactly; monotonic in x; within 1.1 ulp. x > 0 and NaN are not
 * allowed. */
WF_FN float wf_exp(float x) {
    const float t = x > WF_EXP_MIN ? x : WF_EXP_MIN; /* keeps n in range; the select below decides */
    const float magic = 0x1.8p23f;                   /* adding it rounds to an integer, ties to even */
    const float shifted = fmaf(t, 0x1.715476p+0f, magic);
    const float n = shifted - magic;
    float r = fmaf(n, -0x1.62e43p-1f, t); /* exact: n has 7 bits, r at most 24 */
    r = fmaf(n, 0x1.05c61p-29f, r);
    float p = 0x1.6db4e8p-10f;
    p = fmaf(p, r, 0x1.123bdep-7f);
    p = fmaf(p, r, 0x1.55545ep-5f);
    p = fmaf(p, r, 0x1.55548ep-3f);
    p = fmaf(p, r, 0.5f);
    p = 1.0f + fmaf(r * r, p, r); /* not Horner to the end: this form is monotonic in r */
    /* the low bits of `shifted` hold n in two's complement: shift them into p's exponent */
    const uint32_t scale = (uint32_t)wf_bits(shifted) << 23;
    const float e = wf_from_bits((int32_t)((uint32_t)wf_bits(p) + scale));
    return x >= WF_EXP_MIN ? e : 0.0f;
}

/* log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1], exact in relative terms down to f = 0. */
WF_FN float wf_log1p_near(float f) {
    float p = -0x1.41f1b6p-4f;
    p = fmaf(p, f, 0x1.07e70cp-3f);
    p = fmaf(p, f, -0x1.0ce95ep-3f);
    p = fmaf(p, f, 0x1.226bb4p-3f);
    p = fmaf(p, f, -0x1.547776p-3f);
    p = fmaf(p, f, 0x1.99a5acp-3f);
    p = fmaf(p, f, -0x1.000224p-2f);
    p = fmaf(p, f, 0x1.55554ap-2f);
    return fmaf(f * f, fmaf(f, p, -0.5f), f);
}

/* x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); x normal and positive. */
WF_FN float wf_split(float x, float *e) {
    const int32_t half = 0x3f3504f3; /* sqrt(1/2) */
    const int32_t k = (int32_t)((uint32_t)wf_bits(x) - (uint32_t)half) >> 23;
    *e = (float)k;
    return wf_from_bits((int32_t)((uint32_t)wf_bits(x) - ((uint32_t)k << 23))) - 1.0f;
}

WF_FN float wf_log_join(float e, float log1p_f) {
    return fmaf(e, 0x1.62e43p-1f, fmaf(e, -0x1.05c61p-29f, log1p_f));
}

/* log x for x > 0 (subnormals included), -inf at 0; within 1.0 ulp. Negative x and NaN are not allowed. */
WF_FN float wf_log(float x) {
    const int32_t tiny = -(int32_t)(x < 0x1p-126f);
    float e;
    const float f = wf_split(x * wf_from_bits(0x3f800000 + (tiny & (32 << 23))), &e);
    const float y = wf_log_join(e - wf_from_bits(tiny & 0x42000000), wf_log1p_near(f)); /* tiny: - 32 */
    return x > 0.0f ? y : -INFINITY;
}

/* (a 2^16 + b + 1/2) 2^-32 for halves of 32 bits given as floats; one rounding. */
WF_FN float wf_unit(float a, float b) { return fmaf(a, 0x1p-16f, fmaf(b, 0x1p-32f, 0x1p-33f)); }

/* A standard exponential from 32 random bits: -log1p(-u), u = (x + 1/2) 2^-32, strictly inside (0, 1). Small
 * u keep their full relative precision (all 32 bits count: a draw over 256k tokens is decided near u = 4e-6);
 * large u use 1 - u = (~x + 1/2) 2^-32, which is as precise. Within 2.5 ulp. */
WF_FN float wf_exponential(uint32_t x) {
    const float high = (float)(int32_t)(x >> 16), low = (float)(int32_t)(x & 0xffffu);
    const float u = wf_unit(high, low);
    float e;
    const float f = wf_split(wf_unit(65535.0f - high, 65535.0f - low), &e);
    /* u < 1 - sqrt(1/2): e would be 0 and f = -u. Selected by bits, so that no compiler evaluates two
     * polynomials instead of one. */
    const int32_t small = -(int32_t)(x < 0x4afb0ccdu);
    const float g = wf_from_bits((wf_bits(-u) & small) | (wf_bits(f) & ~small));
    return -wf_log_join(wf_from_bits(wf_bits(e) & ~small), wf_log1p_near(g));
}

/* The coin of the accept test: u in (0, 1], compared by u q <= num. A sure accept (num >= q) holds for
 * every u; num = 0 never does. */
WF_FN float wf_coin(uint32_t x) { return wf_unit((float)(int32_t)(x >> 16), (float)(int32_t)(x & 0xffffu)); }

#endif /* WEIR_KERNELS_MATH_FMATH_H */
