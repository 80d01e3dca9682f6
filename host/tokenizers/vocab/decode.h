#ifndef WEIR_HOST_TOKENIZERS_VOCAB_DECODE_H
#define WEIR_HOST_TOKENIZERS_VOCAB_DECODE_H

#include "host/tokenizers/vocab/vocab.h"

/* From tokens to text: steps on the list of their spellings (tokenizer.json's decoder). At the end the
 * spellings are joined. */

typedef enum weir__decode_kind {
    WEIR__DECODE_BYTE_LEVEL,    /* printable characters to bytes (bytes.h); the result is one spelling */
    WEIR__DECODE_BYTE_FALLBACK, /* runs of "<0x41>" to their characters; U+FFFD for each if a run is not
                                   UTF-8 */
    WEIR__DECODE_FUSE,          /* joins all into one spelling */
    WEIR__DECODE_STRIP,     /* removes `from`: up to `start` times in front of each, `stop` times after it */
    WEIR__DECODE_REPLACE,   /* replaces `from` by `to` in each */
    WEIR__DECODE_METASPACE, /* replaces `from` by a space in each; if `start` is 1, by nothing in the first */
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
    bool spaces;     /* between the spellings at the end: there is no decoder */
    bool byte_level; /* PIECES: tokens are spelled as printable characters */
} weir__decoder;

weir_status weir__decode_add(weir__decoder *d, weir__decode_step step, const char *from, const char *to,
                             weir_err *err);

/* Text of ids, all inside the vocabulary. first: nothing precedes them; otherwise what is removed at the
 * beginning of a text stays. *text by weir_alloc, zero-terminated, UTF-8. */
weir_status weir__decode(const weir__decoder *d, const weir__vocab *v, const int32_t *ids, size_t n,
                         bool first, char **text, size_t *bytes, weir_err *err);

/* The bytes of one id that follows others: as above, but a byte token is its byte. */
weir_status weir__decode_bytes(const weir__decoder *d, const weir__vocab *v, int32_t id, char **bytes,
                               size_t *n, weir_err *err);

/* Whether later tokens may still change the text up to and including id. */
bool weir__decode_is_open(const weir__decoder *d, const weir__vocab *v, int32_t id);

#endif /* WEIR_HOST_TOKENIZERS_VOCAB_DECODE_H */
