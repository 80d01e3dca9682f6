#ifndef WEIR_HOST_TOKENIZERS_MERGE_H
#define WEIR_HOST_TOKENIZERS_MERGE_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Byte-pair merging of one word: of all neighbours that may merge, those of the lowest rank first and of equal rank the
 * leftmost, until none are left. A linked list and a heap: O(n log n) for n symbols, whatever they are. */

typedef struct weir__symbol {
    uint32_t at, n;     /* bytes of the word; n = 0: merged into its left neighbour */
    int32_t id;         /* -1: the vocabulary lacks it */
    int32_t prev, next; /* -1: none */
} weir__symbol;

/* A symbol and the one after it. Symbols only grow, so that the bytes of both tell whether it still is. */
typedef struct weir__bigram {
    uint32_t rank;
    int32_t left;
    int32_t merged;
    uint32_t n;
} weir__bigram;

/* Memory of merging, kept from word to word. Zero-initialised is empty. */
typedef struct weir__merger {
    weir__symbol *symbols;
    weir__bigram *heap;
    size_t n_symbol, symbol_cap, n_heap, heap_cap;
} weir__merger;

/* What two neighbours merge into; false if they do not. */
typedef bool weir__merge_rule(const void *ud, const char *word, const weir__symbol *left, const weir__symbol *right,
                              uint32_t *rank, int32_t *merged);

void weir__merger_free(weir__merger *m);
/* Appends a symbol of the next n bytes of the word; begin a word with n_symbol = 0. */
weir_status weir__merger_push(weir__merger *m, size_t n, int32_t id, weir_err *err);
/* Afterwards the result is symbols[0], symbols[symbols[0].next], … . */
weir_status weir__merger_run(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_MERGE_H */
