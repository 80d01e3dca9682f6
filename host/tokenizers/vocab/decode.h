#ifndef WEIR_HOST_TOKENIZERS_VOCAB_DECODE_H
#define WEIR_HOST_TOKENIZERS_VOCAB_DECODE_H

#include "host/tokenizers/vocab/vocab.h"

/* From tokens to text: a list of steps on the list of their spellings (tokenizer.json's decoder), at whose
 * end the spellings are joined. */

typedef enum weir__decode_kind {
    WEIR__DECODE_BYTE_LEVEL,    /* printable characters to bytes (bytes.h); one spelling is left */
    WEIR__DECODE_BYTE_FALLBACK, /* runs of "<0x41>" to their characters; U+FFFD for each if a run is not
                                   UTF-8 */
    WEIR__DECODE_FUSE,          /* one spelling is left */
    WEIR__DECODE_STRIP, /* at most `start` times `from` off the beginning of each, `stop` times off its end */
    WEIR__DECODE_REPLACE,   /* `from` by `to` in each */
    WEIR__DECODE_METASPACE, /* `from` by a space in each; in the first by nothing, where `start` is 1 */
    WEIR__DECODE_PIECES,    /* as llama.cpp spells tokens: by their kind (vocab.h) */
} weir__decode_kind;

enum { WEIR__MAX_DECODE_STEPS = 8, WEIR__DECODE_BYTES = 32 };

typedef struct weir__decode_step {
    weir__decode_kind kind;
    int32_t start, stop;
    size_t n_from, n_to;
    char from[WEIR__DECODE_BYTES], to[WEIR__DECODE_BYTES];
} weir__decode_step;

typedef struct weir__decoder {
    weir__decode_step list[WEIR__MAX_DECODE_STEPS];
    int n;
    bool spaces;     /* between the spellings that are left at the end: no decoder at all */
    bool byte_level; /* PIECES: of tokens that are spelled as printable characters */
} weir__decoder;

weir_status weir__decode_add(weir__decoder *d, weir__decode_step step, const char *from, const char *to,
                             weir_err *err);

/* Text of ids, all inside the vocabulary. first: nothing precedes them; else what is taken off the beginning
 * of a text stays. *text by weir_alloc, zero-terminated, UTF-8. */
weir_status weir__decode(const weir__decoder *d, const weir__vocab *v, const int32_t *ids, size_t n,
                         bool first, char **text, size_t *bytes, weir_err *err);

/* Whether the text of what precedes id and of id may still change by the tokens that follow. */
bool weir__decode_is_open(const weir__decoder *d, const weir__vocab *v, int32_t id);

#endif /* WEIR_HOST_TOKENIZERS_VOCAB_DECODE_H */
