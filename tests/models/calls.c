#include "tests/models/calls.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { MAX_ROW = 256 };

weir_status call_rows(const call_room *c, const row *r, int32_t n, const int32_t *out, int32_t n_out,
                      float *logits) {
    int32_t rows[4 * MAX_ROW] = {0}, *token = rows, *pos = rows + c->n_row, *slot = rows + 2 * c->n_row,
                     *wanted = rows + 3 * c->n_row;
    cr_assert(c->n_row <= MAX_ROW && n <= c->n_row);
    for (int32_t i = 0; i < n; i++) {
        token[i] = r[i].token, pos[i] = r[i].pos, slot[i] = r[i].slot, wanted[i] = i;
        if (r[i].slot >= 0 && weir__kv_pool_len(c->self, r[i].slot) <= r[i].pos) {
            cr_assert_eq(weir__kv_pool_resize(c->self, r[i].slot, r[i].pos + 1), WEIR_OK);
        }
    }
    if (out)
        memcpy(wanted, out, (size_t)n_out * sizeof *out);
    else
        n_out = n;
    cr_assert_eq(weir__kv_pool_sync(c->self), WEIR_OK);
    cr_assert_eq(weir__backend_upload(c->be, c->dev_rows, rows, 4 * (size_t)c->n_row * sizeof *rows),
                 WEIR_OK);
    const weir_batch b = {.token = c->dev_rows,
                          .pos = c->dev_rows + c->n_row,
                          .slot = c->dev_rows + 2 * c->n_row,
                          .n_row = n,
                          .out = c->dev_rows + 3 * c->n_row,
                          .n_out = n_out,
                          .logits = logits ? c->dev_logits : NULL,
                          .group = c->group};
    WEIR_TRY(weir__model_forward(c->m, c->kv, &b));
    const size_t bytes = logits ? (size_t)n_out * (size_t)c->n_vocab * sizeof *logits : 0;
    return weir__backend_download(c->be, logits, c->dev_logits, bytes);
}

double logprob(const float *logits, int32_t n_vocab, int32_t token) {
    double max = -INFINITY, sum = 0.0;
    for (int32_t v = 0; v < n_vocab; v++) max = fmax(max, (double)logits[v]);
    for (int32_t v = 0; v < n_vocab; v++) sum += exp((double)logits[v] - max);
    return (double)logits[token] - max - log(sum);
}

void *backend_zeros(weir_backend *be, size_t bytes) {
    void *p = weir__backend_alloc(be, bytes);
    cr_assert(p && weir__backend_zero(be, p, bytes) == WEIR_OK);
    return p;
}

void read_words(FILE *f, void *to, size_t n) {
    cr_assert_eq(fread(to, 4, n, f), n, "golden.bin is cut short");
}
