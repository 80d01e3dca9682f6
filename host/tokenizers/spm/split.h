#ifndef WEIR_HOST_TOKENIZERS_SPM_SPLIT_H
#define WEIR_HOST_TOKENIZERS_SPM_SPLIT_H

#include "host/tokenizers/vocab/added.h"
#include "host/tokenizers/vocab/trie.h"

/* Finds added tokens in a text like transformers' slow classes (tokenization_utils.py, Trie.split and
 * PreTrainedTokenizer.tokenize of 4.57), quirks included: a token that must stand alone but touches a
 * character other than a space becomes part of the text next to it. */
typedef struct weir__split_set {
    weir__vocab texts; /* kind: flags (added.h) */
    int32_t *ids;      /* (n_id) */
    size_t n_id;
    weir__trie trie; /* of the texts by code points, to their numbers */
} weir__split_set;

typedef struct weir__slow_part {
    const char *s;
    size_t n;
    size_t begin, end; /* where it comes from in the text */
    int32_t id;        /* -1: text */
    char *owned;       /* s, where it had to be put together */
} weir__slow_part;

typedef struct weir__slow_parts {
    weir__slow_part *list;
    size_t n, cap;
} weir__slow_parts;

void weir__split_set_free(weir__split_set *s);
/* Adds a token, or changes flags and id of one that exists. */
weir_status weir__split_set_put(weir__split_set *s, const char *text, size_t bytes, int32_t id,
                                unsigned flags, weir_err *err);
weir_status weir__split_set_finish(weir__split_set *s, weir_err *err); /* after the last */

/* Parts in order; special: where control tokens may be found. Empty parts are left out. */
weir_status weir__slow_split(const weir__split_set *s, const char *text, size_t n,
                             const weir__ranges *special, weir__slow_parts *out, weir_err *err);
void weir__slow_parts_free(weir__slow_parts *p);

#endif /* WEIR_HOST_TOKENIZERS_SPM_SPLIT_H */
