#ifndef WEIR_KERNELS_ACCEPT_SWEEP_ORDER_H
#define WEIR_KERNELS_ACCEPT_SWEEP_ORDER_H

#include <stdbool.h>

#include "kernels/math/order.h"

/* A row is usable: no NaN, no +inf, and at least one value above -inf. lo, hi: its smallest and largest
 * key. */
WF_FN bool weir__usable_keys(int32_t lo, int32_t hi) {
    return hi < WEIR_KEY_INF && lo >= WEIR_KEY_MINUS_INF && hi != WEIR_KEY_MINUS_INF;
}

/* ---- threshold search (truncate.h) --------------------------------------------------------------------- */

/* It descends through the 32 bits of a key by digits of 11, 11 and 10 bits, the highest first. */
enum { WEIR_SEARCH_DIGITS = 3, WEIR_SEARCH_BINS = 1 << 11 };
WF_FN int weir__search_shift(int digit) { return digit == 0 ? 21 : digit == 1 ? 10 : 0; }
WF_FN uint32_t weir__search_low(int digit) { return digit == 2 ? 0x3ffu : 0x7ffu; }

/* Unsigned key, rising with the float; both zeros have the same key. */
WF_FN uint32_t weir__search_key(float l) { return (uint32_t)weir__order_key(l + 0.0f) ^ 0x80000000u; }
WF_FN float weir__search_value(uint32_t key) { return weir__order_value((int32_t)(key ^ 0x80000000u)); }

/* A weight as an integer, so that masses add up the same in any order. */
WF_FN uint64_t weir__search_mass(float w) { return (uint64_t)(w * 0x1p40f); }

/* The mass that the kept entries must reach. */
WF_FN uint64_t weir__search_target(float top_p, uint64_t total) {
    const double want = ceil((double)top_p * (double)total);
    return want < 1.0 ? 1 : want > (double)total ? total : (uint64_t)want;
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_ORDER_H */
