#ifndef WEIR_HOST_TOKENIZERS_VOCAB_TRIE_H
#define WEIR_HOST_TOKENIZERS_VOCAB_TRIE_H

#include "host/tokenizers/vocab/vocab.h"

/* Strings of symbols (bytes, code points) by their prefixes. Reserve before use. Node 0 is the root. */
typedef struct weir__trie {
    weir__pairs edges; /* node and symbol to node */
    int32_t *value;    /* (cap) the string that ends at a node; -1: none */
    size_t n, cap;     /* nodes */
} weir__trie;

void weir__trie_free(weir__trie *t);
weir_status weir__trie_reserve(weir__trie *t, size_t nodes, weir_err *err); /* once, before the first node */
int32_t weir__trie_next(const weir__trie *t, int32_t node,
                        int32_t symbol);                              /* -1: no string continues like this */
int32_t weir__trie_grow(weir__trie *t, int32_t node, int32_t symbol); /* the same; makes a missing node */

#endif /* WEIR_HOST_TOKENIZERS_VOCAB_TRIE_H */
