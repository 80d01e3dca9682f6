#ifndef WEIR_KERNELS_MATH_PHILOX_H
#define WEIR_KERNELS_MATH_PHILOX_H

#include "kernels/math/fmath.h"

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): a counter-based generator. Four random words are a
 * function of a 64-bit key and a 128-bit counter, so that any token's number can be generated in any
 * order. */
#define WF_PHILOX_M0 0xD2511F53u
#define WF_PHILOX_M1 0xCD9E8D57u
#define WF_PHILOX_W0 0x9E3779B9u
#define WF_PHILOX_W1 0xBB67AE85u

WF_FN void wf_philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
    const uint64_t a = (uint64_t)WF_PHILOX_M0 * c[0];
    const uint64_t b = (uint64_t)WF_PHILOX_M1 * c[2];
    const uint32_t c1 = c[1], c3 = c[3];
    c[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
    c[1] = (uint32_t)b;
    c[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c[3] = (uint32_t)a;
}

/* c: counter in, random words out. */
WF_FN void wf_philox(uint32_t c[4], const uint32_t key[2]) {
    uint32_t k0 = key[0], k1 = key[1];
    for (int i = 0; i < 10; i++) {
        wf_philox_round(c, k0, k1);
        k0 += WF_PHILOX_W0;
        k1 += WF_PHILOX_W1;
    }
}

#endif /* WEIR_KERNELS_MATH_PHILOX_H */
