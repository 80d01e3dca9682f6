#ifndef WEIR_HOST_TOKENIZERS_ADDED_H
#define WEIR_HOST_TOKENIZERS_ADDED_H

#include "host/tokenizers/vocab.h"

/* Tokens that are found in a text before it is cut into words: control tokens, which only callers who ask for them get, and
 * others. Of several at one place the longest wins, then the search goes on behind it. (llama.cpp looks for the longest
 * anywhere first: the same unless two overlap.) Zero-initialised is empty. */
typedef enum weir__added_flag { /* as tokenizer.json has them */
    WEIR__ADDED_SPECIAL = 1,    /* a control token */
    WEIR__ADDED_LSTRIP = 2,     /* takes the white space before it along */
    WEIR__ADDED_RSTRIP = 4,     /* … after it */
    WEIR__ADDED_WORD = 8,       /* only where no letter, number or _ touches it */
} weir__added_flag;

typedef struct weir__added {
    weir__vocab texts;      /* kind: flags */
    int32_t *ids;           /* (texts.cap) */
    int32_t cap;
    uint8_t *lengths;       /* (longest + 1) 1: some text has this many bytes */
    bool first[256];        /* bytes that some text begins with */
    bool single[256];       /* bytes that are a text */
    uint64_t second[1024];  /* bit first * 256 + second: the first two bytes of some text */
} weir__added;

void weir__added_free(weir__added *a);
weir_status weir__added_put(weir__added *a, const char *text, size_t bytes, int32_t id, unsigned flags, weir_err *err);
weir_status weir__added_finish(weir__added *a, weir_err *err); /* after the last, before the first find */

/* The first token at or after `from`: [*begin, *end) is what it takes of the text, its white space included. false if there
 * is none. special: control tokens too. */
bool weir__added_find(const weir__added *a, const char *text, size_t n, size_t from, bool special, size_t *begin,
                      size_t *end, int32_t *id);

#endif /* WEIR_HOST_TOKENIZERS_ADDED_H */
