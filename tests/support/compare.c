#include "tests/support/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* What a value is, from its bits alone, so that no compiler flag can argue with it. */
typedef enum kind { FINITE, POS_INF, NEG_INF, NOT_A_NUMBER } kind;

static kind kind_f32(float f) {
    const uint32_t u = bits_of(f);
    if ((u & 0x7f800000u) != 0x7f800000u) return FINITE;
    if (u & 0x007fffffu) return NOT_A_NUMBER;
    return u >> 31 ? NEG_INF : POS_INF;
}

static kind kind_f64(double d) {
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    if ((u & 0x7ff0000000000000u) != 0x7ff0000000000000u) return FINITE;
    if (u & 0x000fffffffffffffu) return NOT_A_NUMBER;
    return u >> 63 ? NEG_INF : POS_INF;
}

bool close_f32(const float *got, const double *want, size_t n, double atol, double rtol, double nmse,
               char *msg, size_t cap) {
    double error = 0.0, power = 0.0;
    for (size_t i = 0; i < n; i++) {
        const kind g = kind_f32(got[i]), w = kind_f64(want[i]);
        if (g != w) {
            snprintf(msg, cap, "[%zu] got %.9g, want %.9g: finite in one only", i, (double)got[i], want[i]);
            return false;
        }
        if (g != FINITE) continue;
        const double d = (double)got[i] - want[i];
        if (!(fabs(d) <= atol + rtol * fabs(want[i]))) {
            snprintf(msg, cap, "[%zu] got %.9g, want %.9g, |diff| %.3g > %.3g; neighbours %.9g %.9g", i,
                     (double)got[i], want[i], fabs(d), atol + rtol * fabs(want[i]),
                     (double)got[i > 0 ? i - 1 : i], (double)got[i + 1 < n ? i + 1 : i]);
            return false;
        }
        error += d * d;
        power += want[i] * want[i];
    }
    if (nmse < INFINITY && !(error <= nmse * power)) {
        snprintf(msg, cap, "nmse %.3g > %.3g over %zu elements", error / power, nmse, n);
        return false;
    }
    return true;
}

bool same_bits_f32(const float *got, const float *want, size_t n, char *msg, size_t cap) {
    for (size_t i = 0; i < n; i++) {
        if (bits_of(got[i]) == bits_of(want[i])) continue;
        snprintf(msg, cap, "[%zu] got %.9g (%08x), want %.9g (%08x)", i, (double)got[i], bits_of(got[i]),
                 (double)want[i], bits_of(want[i]));
        return false;
    }
    return true;
}

static const uint32_t GUARD_BITS = 0x7fc0dea1u; /* a NaN that no kernel writes */

float *guarded_new(size_t n) {
    float *base = malloc((n + 2 * GUARD) * sizeof *base);
    if (!base) abort();
    for (size_t i = 0; i < n + 2 * GUARD; i++) memcpy(base + i, &GUARD_BITS, sizeof GUARD_BITS);
    return base + GUARD;
}

bool guarded_intact(const float *p, size_t n) {
    for (size_t i = 0; i < GUARD; i++) {
        if (bits_of(p[-(ptrdiff_t)GUARD + (ptrdiff_t)i]) != GUARD_BITS || bits_of(p[n + i]) != GUARD_BITS) {
            return false;
        }
    }
    return true;
}

void guarded_free(float *p) {
    if (p) free(p - GUARD);
}

uint64_t rng_u64(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

float rng_uniform(uint64_t *state, float lo, float hi) {
    return lo + (hi - lo) * (float)(rng_u64(state) >> 40) * 0x1p-24f;
}

float rng_normal(uint64_t *state) {
    /* Sum of twelve uniforms: near enough for test data, and the same on every libm. */
    float sum = -6.0f;
    for (int i = 0; i < 12; i++) sum += rng_uniform(state, 0.0f, 1.0f);
    return sum;
}
