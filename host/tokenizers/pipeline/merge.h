#ifndef WEIR_HOST_TOKENIZERS_PIPELINE_MERGE_H
#define WEIR_HOST_TOKENIZERS_PIPELINE_MERGE_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Byte-pair merging of one word: of all neighbours that may merge, those of the lowest rank first and of
 * equal rank the leftmost, until none are left. A linked list and a heap: O(n log n) for n symbols, whatever
 * they are. A heap of a long word would miss the caches at every step: there neighbours wait in a list for
 * each rank, and the heap has only those that come late. */

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

/* Symbols that wait for their rank: a cache line of them. */
enum { WEIR__WAITING = 14 };
typedef struct weir__waiting {
    int32_t next, n; /* next: block; -1: none */
    int32_t left[WEIR__WAITING];
} weir__waiting;

/* Memory of merging, kept from word to word. Zero-initialised is empty. */
typedef struct weir__merger {
    weir__symbol *symbols;
    weir__bigram *heap;
    size_t n_symbol, symbol_cap, n_heap, heap_cap;
    int32_t *first; /* (n_rank) block in waiting; -1: none */
    size_t n_rank;
    weir__waiting *waiting;
    size_t n_waiting, waiting_cap;
    int32_t unused;        /* list of free blocks; -1: none */
    int32_t *batch, *room; /* symbols of one rank, in order */
    size_t batch_cap;
} weir__merger;

/* What two neighbours merge into; false if they do not. */
typedef bool weir__merge_rule(const void *ud, const char *word, const weir__symbol *left,
                              const weir__symbol *right, uint32_t *rank, int32_t *merged);

void weir__merger_free(weir__merger *m);
/* Appends a symbol of the next n bytes of the word; begin a word with n_symbol = 0. */
weir_status weir__merger_push(weir__merger *m, size_t n, int32_t id, weir_err *err);
/* Afterwards the result is symbols[0], symbols[symbols[0].next], … . */
weir_status weir__merger_run(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud,
                             weir_err *err);
/* The same for a long word (long_word.c); all ranks are below n_rank. */
weir_status weir__merger_run_long(weir__merger *m, const char *word, weir__merge_rule *rule, const void *ud,
                                  size_t n_rank, weir_err *err);

/* Inside: one step of merging, and the heap. */
weir_status weir__merger_grow(void *block, size_t n, size_t *cap, size_t size,
                              weir_err *err);                                  /* block: of a pointer */
weir_status weir__merger_keep(weir__merger *m, weir__bigram x, weir_err *err); /* into the heap */
weir__bigram weir__merger_least(weir__merger *m);                              /* out of it */
void weir__merger_join(weir__merger *m, int32_t left, int32_t merged); /* a symbol and the one after it */

#endif /* WEIR_HOST_TOKENIZERS_PIPELINE_MERGE_H */
