#ifndef WEIR_KERNELS_WEIGHT_LAYOUT_H
#define WEIR_KERNELS_WEIGHT_LAYOUT_H

#include <stdint.h>

enum { WEIR_PANEL = 16 }; /* outputs of a panel (weight.h) */

/* Index of input k of row `lane` in a panel of 16-bit elements: the CPU's, and that of fragments. */
static inline int64_t weir__panel16_at(int64_t k, int64_t lane) {
    return (k / 2 * WEIR_PANEL + lane) * 2 + k % 2;
}

static inline int64_t weir__fragment_at(int64_t k, int64_t lane) {
    const int64_t owner = 4 * (lane % 8) + k % 16 / 4;
    return (k / 16 * 32 + owner) * 8 + k % 4 / 2 * 4 + lane / 8 * 2 + k % 2;
}

#endif /* WEIR_KERNELS_WEIGHT_LAYOUT_H */
