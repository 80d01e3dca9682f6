#ifndef WEIR_KERNELS_ACCEPT_TOP_H
#define WEIR_KERNELS_ACCEPT_TOP_H

#include "kernels/accept/stats.h"

enum { WEIR_TOP_MAX = 20 };

typedef struct weir_top_entry {
    int32_t id;  /* -1: there is none */
    float logit; /* NaN then */
} weir_top_entry;

/* The n_top largest logits of n_row rows, the largest first, the smaller id first among equals; both zeros
 * are one. Row r of the result is row[r] of the logits, whose statistics say whether it is usable: a row that
 * is not has no entry. A vocabulary of fewer ids leaves entries without one at the end. Exact: the same on
 * every backend. Reads 4 n_row n_vocab bytes, a device n_top times that.
 * EINVAL: n_row < 0, n_top outside [1, WEIR_TOP_MAX], n_vocab <= 0, ld < n_vocab, NULL. */
typedef struct weir_top_args {
    const float *logits; /* (…, ld) */
    int64_t ld, n_row;
    int32_t n_vocab, n_top;
    const weir_row_stats *stats; /* of the logits' rows */
    const int32_t *row;          /* (n_row) backend memory */
    weir_top_entry *out;         /* (n_row, n_top) */
} weir_top_args;

static inline weir_status weir__top_check(const weir_top_args *a) {
    const bool ok = a->n_row >= 0 && a->n_vocab > 0 && a->n_vocab <= WEIR_VOCAB_MAX && a->ld >= a->n_vocab &&
                    a->n_top >= 1 && a->n_top <= WEIR_TOP_MAX;
    if (!ok || (a->n_row > 0 && (!a->logits || !a->stats || !a->row || !a->out))) return WEIR_EINVAL;
    return WEIR_OK;
}

#endif /* WEIR_KERNELS_ACCEPT_TOP_H */
