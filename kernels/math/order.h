#ifndef WEIR_KERNELS_MATH_ORDER_H
#define WEIR_KERNELS_MATH_ORDER_H

#include "kernels/math/fmath.h"

/* Signed integers that are ordered like the floats; the keys of NaN and +inf are at or above WEIR_KEY_INF, or
 * below -inf's key. */
enum { WEIR_KEY_INF = 0x7f800000, WEIR_KEY_MINUS_INF = (int32_t)(-0x7f800001) };

WF_FN int32_t weir__order_key(float f) {
    const int32_t i = wf_bits(f);
    return i ^ (int32_t)((uint32_t)(i >> 31) >> 1);
}

WF_FN float weir__order_value(int32_t key) {
    return wf_from_bits(key ^ (int32_t)((uint32_t)(key >> 31) >> 1));
}

#endif /* WEIR_KERNELS_MATH_ORDER_H */
