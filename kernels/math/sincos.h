#ifndef WEIR_KERNELS_MATH_SINCOS_H
#define WEIR_KERNELS_MATH_SINCOS_H

#include "kernels/math/fmath.h"

/* sin x and cos x, |x| < 2^20, each within 2^-23 (absolute). The nearest multiple n of pi / 2 is subtracted
 * in three parts. The first step is exact (n has 20 bits, n c1 and x are multiples of 2^-23, and the
 * remainder is below 1), so large angles lose no precision beyond the rounding of x itself. Taylor to r^9 and
 * r^10, |r| <= pi / 4: remainders 2e-9. NaN stays NaN. */
WF_FN void wf_sincos(float x, float *sin_x, float *cos_x) {
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, in the low bits */
    const float shifted = fmaf(x, 0x1.45f306p-1f, magic);
    const float n = shifted - magic;
    float r = fmaf(n, -0x1.921fb6p+0f, x);
    r = fmaf(n, 0x1.777a5cp-25f, r);
    r = fmaf(n, 0x1.ee59dap-50f, r);
    const float z = r * r;
    float s = 1.0f / 362880.0f, c = -1.0f / 3628800.0f;
    s = fmaf(s, z, -1.0f / 5040.0f);
    s = fmaf(s, z, 1.0f / 120.0f);
    s = fmaf(s, z, -1.0f / 6.0f);
    s = fmaf(s * z, r, r);
    c = fmaf(c, z, 1.0f / 40320.0f);
    c = fmaf(c, z, -1.0f / 720.0f);
    c = fmaf(c, z, 1.0f / 24.0f);
    c = fmaf(c, z, -0.5f);
    c = fmaf(c, z, 1.0f);
    const int32_t quadrant = wf_bits(shifted);
    const float s_of = quadrant & 1 ? c : s, c_of = quadrant & 1 ? s : c;
    *sin_x = quadrant & 2 ? -s_of : s_of;
    *cos_x = (quadrant + 1) & 2 ? -c_of : c_of;
}

#endif /* WEIR_KERNELS_MATH_SINCOS_H */
