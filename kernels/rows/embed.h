#ifndef WEIR_KERNELS_ROWS_EMBED_H
#define WEIR_KERNELS_ROWS_EMBED_H

#include "kernels/weight/weight.h"

/* x[r][i] = scale * table[token[r] - first][i], widened to f32. Rows of tokens that the table, a rank's
 * share of the vocabulary, does not have are left as they are.
 *   table  a packed weight with n of n_whole = n_vocab outputs and k = dim inputs (so that a tied head shares
 *          it); n 0: a rank without any
 *   token  (n_row) int32, each in [0, table->n_whole)
 *   x      (n_row, dim) f32, dense
 * WEIR_EINVAL  n_row < 0, a gated table, NULL; a token out of range (checked before anything is written; on a
 *              device its row is zeros) */
typedef struct weir_embed {
    float *x;
    const weir_weight *table;
    const int32_t *token;
    int64_t n_row;
    float scale;
    int32_t first; /* id of the table's first row */
} weir_embed;

static inline weir_status weir__embed_check(const weir_embed *a) {
    return a->n_row < 0 || !a->x || !a->table || (!a->table->data && a->table->n > 0) || a->table->gated ||
                   !a->token
               ? WEIR_EINVAL
               : WEIR_OK;
}

#endif /* WEIR_KERNELS_ROWS_EMBED_H */
