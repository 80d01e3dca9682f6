#ifndef WEIR_HOST_TOKENIZERS_BPE_H
#define WEIR_HOST_TOKENIZERS_BPE_H

#include "host/tokenizers/added.h"
#include "host/tokenizers/ops.h"
#include "host/tokenizers/pretok.h"
#include "host/tokenizers/vocab.h"

/* Byte-pair encoding, in the two families that decoder-only models have:
 *   byte level       symbols are bytes, written as printable characters ("Ġthe"); GPT-2, Llama 3, Qwen, SmolLM
 *   character level  symbols are characters, a space is "▁", what is no token falls back to "<0x41>"; Llama 2, Gemma
 * and with two kinds of ranks: a list of merges, or the scores of the tokens themselves. */

typedef enum weir__step_kind {
    WEIR__STEP_REPLACE,        /* `from` by `to` */
    WEIR__STEP_PREPEND,        /* `to` before a text that is not empty */
    WEIR__STEP_PREPEND_UNLESS, /* … that does not begin with it */
    WEIR__STEP_PREPEND_FIRST,  /* … and is at the beginning of all */
    WEIR__STEP_NFC,            /* Unicode's canonical composition; a text that is not UTF-8 stays */
} weir__step_kind;

enum { WEIR__MAX_STEPS = 8, WEIR__STEP_BYTES = 16 };

typedef struct weir__step {
    weir__step_kind kind;
    char from[WEIR__STEP_BYTES], to[WEIR__STEP_BYTES]; /* zero-terminated */
} weir__step;

typedef struct weir__bpe {
    weir__vocab vocab;      /* tokens as their file spells them */
    bool keeps_parts;       /* merges may lead over strings that are no tokens; else such a merge is left out */
    weir__vocab parts;      /* those strings; symbol vocab.n + i */
    weir__pairs pairs;      /* merges; unused with by_score */
    weir__added before, after; /* found in the text as it came; in the normalised text */
    weir__step norm[WEIR__MAX_STEPS], prep[WEIR__MAX_STEPS]; /* on either side of `after` */
    int n_norm, n_prep;
    weir__pretok *pretok;   /* NULL: a text is one word */
    bool byte_level, by_score;
    bool repair;            /* invalid UTF-8 becomes U+FFFD first */
    bool unknown_first;     /* characters that are no token are seen to before merging, as tokenizers does: what vanishes lets its
                               neighbours merge. Else after it, as llama.cpp does */
    bool ignore_merges;     /* a word that is a token is taken whole */
    bool byte_fallback;     /* character level: bytes for characters that are no token */
    bool fuse_unk;          /* one unk_id for a run of such characters */
    bool strip_left;        /* decoding drops one space at the beginning */
    int32_t unk_id;         /* -1: such characters vanish */
    int32_t unit[256];      /* symbol of a byte; -1 if none */
    bool cuts;              /* character level: nothing merges across the "▁" that follows a byte which is not glue */
    bool glue[256];         /* some token has a "▁" after this byte */
} weir__bpe;

extern const weir_tokenizer_ops weir__bpe_ops; /* impl is a weir__bpe */

weir__bpe *weir__bpe_new(weir_err *err); /* zeroed, unk_id -1; NULL: ENOMEM */
void weir__bpe_free(void *bpe);          /* NULL allowed */

/* A merge of two symbols, in falling order of preference; all tokens must be there. n: how many there will be. */
weir_status weir__bpe_merges(weir__bpe *b, size_t n, weir_err *err);
weir_status weir__bpe_merge(weir__bpe *b, const char *left, size_t n_left, const char *right, size_t n_right, weir_err *err);
/* "left right" */
weir_status weir__bpe_merge_line(weir__bpe *b, const char *line, size_t n, weir_err *err);

weir_status weir__bpe_add_step(weir__step *list, int *n, weir__step_kind kind, const char *from, const char *to,
                               weir_err *err);
weir_status weir__bpe_finish(weir__bpe *b, weir_err *err); /* after all of it, before the first use */

/* ---- bytes as printable characters (GPT-2's bytes_to_unicode) -------------------------------------------------------- */

size_t weir__byte_spell(uint8_t byte, char out[2]); /* its 1 or 2 bytes of UTF-8 */
/* Bytes of a token's spelling; a token with any other character stands for itself. Returns how many, at most n. */
size_t weir__byte_unspell(const char *token, size_t n, char *out);

/* bpe_text.c: steps on a text. *out by weir_alloc. */
weir_status weir__bpe_run_steps(const weir__step *steps, int n, bool first, const char *text, size_t bytes, char **out,
                                size_t *n_out, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_BPE_H */
