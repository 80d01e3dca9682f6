#ifndef WEIR_HOST_TOKENIZERS_PIPELINE_UNIGRAM_H
#define WEIR_HOST_TOKENIZERS_PIPELINE_UNIGRAM_H

#include "host/tokenizers/vocab/vocab.h"

/* The Unigram model of tokenizers: of all ways to split a word into tokens, the one with the highest sum of
 * scores, found from left to right with a trie of the vocabulary. Time: length of the word times length of
 * the longest token. */
typedef struct weir__unigram weir__unigram;

/* Where the best cut up to a place comes from. */
typedef struct weir__lattice_node {
    double score;
    int32_t id;    /* of its last token; -1: no cut ends here */
    uint32_t from; /* where that begins */
} weir__lattice_node;

/* Memory of a search, kept from word to word. Zero-initialised is empty. */
typedef struct weir__lattice {
    weir__lattice_node *nodes;
    size_t cap;
} weir__lattice;

/* Over the first n tokens of a vocabulary, whose scores are in `scores`; neither is kept. unk_id: -1:
 * none. */
weir_status weir__unigram_new(weir__unigram **out, const weir__vocab *v, const double *scores, int32_t n,
                              int32_t unk_id, weir_err *err);
void weir__unigram_free(weir__unigram *u); /* NULL allowed */
void weir__lattice_free(weir__lattice *l);

/* The best cut of n bytes, which are UTF-8, n > 0: afterwards nodes[n] is its last token,
 * nodes[nodes[n].from] the one before, … 0 is the beginning. EINVAL: a character has no token, and there is
 * no unk_id. */
weir_status weir__unigram_search(const weir__unigram *u, weir__lattice *l, const char *word, size_t n,
                                 weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_PIPELINE_UNIGRAM_H */
