#ifndef WEIR_KERNELS_LINEAR_MINMAX_H
#define WEIR_KERNELS_LINEAR_MINMAX_H

#include <stdint.h>

/* What the product that makes the logits can provide to the row statistics at no cost: the smallest and
 * largest order key (kernels/math/order.h, weir__order_key) of WEIR_EXTENT_SPAN ids, and the lowest id of the
 * largest. Both are exact, so spans may be merged in any order. */
enum { WEIR_EXTENT_SPAN = 64 };

typedef struct weir_minmax {
    int32_t lo, hi;
    int32_t id;
} weir_minmax;

static inline int64_t weir__minmax_count(int64_t n_vocab) {
    return (n_vocab + WEIR_EXTENT_SPAN - 1) / WEIR_EXTENT_SPAN;
}

#endif /* WEIR_KERNELS_LINEAR_MINMAX_H */
