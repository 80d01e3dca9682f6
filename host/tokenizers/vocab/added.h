#ifndef WEIR_HOST_TOKENIZERS_VOCAB_ADDED_H
#define WEIR_HOST_TOKENIZERS_VOCAB_ADDED_H

#include "host/tokenizers/text/ranges.h"
#include "host/tokenizers/vocab/vocab.h"

/* Tokens that are found in a text before it is split into words: control tokens, only for callers that ask
 * for them, and others. If several match at one place, the longest wins, and the search continues after it.
 * (llama.cpp looks for the longest anywhere first. The result is the same unless two overlap.)
 * Zero-initialised is empty. */
typedef enum weir__added_flag {                          /* as tokenizer.json has them */
                                WEIR__ADDED_SPECIAL = 1, /* a control token */
                                WEIR__ADDED_LSTRIP = 2,  /* includes the white space before it */
                                WEIR__ADDED_RSTRIP = 4,  /* … after it */
                                WEIR__ADDED_WORD = 8,    /* only where no letter, number or _ touches it */
                                WEIR__ADDED_NORMALIZED = 16, /* found in the normalised text */
} weir__added_flag;

typedef struct weir__added {
    weir__vocab texts; /* kind: flags */
    int32_t *ids;      /* (texts.cap) */
    int32_t cap;
    uint8_t *lengths; /* (longest + 1) 1: some text has this many bytes */
    bool has_special; /* some token is a control token */
    /* A match that is not allowed still uses up its text, as in tokenizers. If false, a shorter token or one
     * that begins inside it may match, as in llama.cpp. */
    bool consumes;
    bool first[256];       /* bytes that some text begins with */
    bool single[256];      /* bytes that are a text */
    uint64_t second[1024]; /* bit first * 256 + second: the first two bytes of some text */
} weir__added;

void weir__added_free(weir__added *a);
weir_status weir__added_put(weir__added *a, const char *text, size_t bytes, int32_t id, unsigned flags,
                            weir_err *err);
weir_status weir__added_finish(weir__added *a, weir_err *err); /* after the last, before the first find */

/* ---- find ---------------------------------------------------------------------------------------------- */

/* Zero before the first call. The text before a token is [taken, begin). It may be empty: a token after one
 * that took white space may begin before `taken`, as in tokenizers. */
typedef struct weir__scan {
    size_t search;     /* where the next token may begin */
    size_t taken;      /* the end of what the token before took */
    size_t begin, end; /* what this token takes, its white space included */
    size_t spaces_end; /* of the white space after the last token that takes it */
    int32_t id;
} weir__scan;

/* Moves to the next token. False at the end of the text; then [taken, n) remains. */
bool weir__added_next(const weir__added *a, const char *text, size_t n, const weir__ranges *special,
                      weir__scan *at);

#endif /* WEIR_HOST_TOKENIZERS_VOCAB_ADDED_H */
