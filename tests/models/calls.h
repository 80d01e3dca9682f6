#ifndef WEIR_TESTS_MODELS_CALLS_H
#define WEIR_TESTS_MODELS_CALLS_H

#include <stdio.h>

#include "host/deck/kv.h"

/* What the fixtures of all kinds of model share: calls of rows, and golden files. */

typedef struct row {
    int32_t slot, pos, token;
} row;

/* A model, its self cache, and room for a call of n_row rows. */
typedef struct call_room {
    weir_backend *be;
    weir_model *m;
    weir_kv_pool *self;
    const weir_kv *kv;
    int32_t *dev_rows; /* backend (4, n_row) token, pos, slot, out */
    float *dev_logits; /* backend (n_row, n_vocab) */
    int32_t n_row, n_vocab, group;
} call_room;

/* Grows the self cache to hold the rows, then one forward call; out NULL = all rows. logits (n_out,
 * n_vocab). */
weir_status call_rows(const call_room *c, const row *r, int32_t n, const int32_t *out, int32_t n_out,
                      float *logits);

double logprob(const float *logits, int32_t n_vocab, int32_t token);

void *backend_zeros(weir_backend *be, size_t bytes);
void read_words(FILE *f, void *to, size_t n); /* of golden.bin */

#endif
