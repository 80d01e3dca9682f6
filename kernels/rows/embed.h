#ifndef WEIR_KERNELS_ROWS_EMBED_H
#define WEIR_KERNELS_ROWS_EMBED_H

#include "kernels/rows/gather.h"
#include "kernels/weight/weight.h"

/* x[r][i] = scale * table[token[r] - first][i], widened to f32. Rows of tokens that the table, a rank's
 * share of the vocabulary, does not have are left as they are.
 *   table  a packed weight with n of n_whole = n_vocab outputs and k = dim inputs (so that a tied head shares
 *          it); n 0: a rank without any
 *   token  (n_row) int32, each in [0, table->n_whole)
 *   x      (n_row, dim) f32, dense
 *   keys   what is done besides, as row_keys does it (gather.h): for the same rows, without an index; NULL:
 *          nothing
 * WEIR_EINVAL  n_row < 0, a gated table, NULL; a token out of range (checked before anything is written; on a
 *              device its row is zeros); keys of other rows, or what row_keys refuses */
typedef struct weir_embed {
    float *x;
    const weir_weight *table;
    const int32_t *token;
    int64_t n_row;
    float scale;
    int32_t first; /* id of the table's first row */
    const weir_row_keys *keys;
} weir_embed;

static inline weir_status weir__embed_check(const weir_embed *a) {
    if (a->n_row < 0 || !a->x || !a->table || (!a->table->data && a->table->n > 0) || a->table->gated ||
        !a->token)
        return WEIR_EINVAL;
    if (!a->keys) return WEIR_OK;
    return a->keys->n_row != a->n_row || a->keys->index ? WEIR_EINVAL : weir__row_keys_check(a->keys);
}

#endif /* WEIR_KERNELS_ROWS_EMBED_H */
