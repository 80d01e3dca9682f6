#ifndef WEIR_HOST_TOKENIZERS_VOCAB_VOCAB_H
#define WEIR_HOST_TOKENIZERS_VOCAB_VOCAB_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Strings by number and numbers by string. Zero-initialised is empty; one writer before, any number of
 * readers after. */

typedef enum weir__token_kind { /* GGUF's tokenizer.ggml.token_type */
                                WEIR__TOKEN_UNDEFINED,
                                WEIR__TOKEN_NORMAL,
                                WEIR__TOKEN_UNKNOWN, /* for text that the vocabulary lacks */
                                WEIR__TOKEN_CONTROL, /* not in text unless asked for, no text of its own */
                                WEIR__TOKEN_USER,    /* found in text before anything else */
                                WEIR__TOKEN_UNUSED,
                                WEIR__TOKEN_BYTE, /* "<0x41>" */
} weir__token_kind;

enum { WEIR__MAX_TOKENS = 1 << 22, WEIR__MAX_TOKEN_BYTES = 1 << 16 };

typedef struct weir__vocab {
    int32_t n, cap;
    char *text; /* all strings, each with a zero byte after it */
    size_t text_n, text_cap;
    uint32_t *at;    /* (cap + 1) where string i begins in text */
    float *score;    /* (cap) */
    uint8_t *kind;   /* (cap) weir__token_kind */
    uint32_t *slots; /* (n_slot) number + 1 by hash, 0 = free; n_slot is a power of 2 */
    size_t n_slot;
    size_t longest; /* bytes */
} weir__vocab;

void weir__vocab_free(weir__vocab *v); /* leaves it empty */
weir_status weir__vocab_reserve(weir__vocab *v, size_t n, weir_err *err);
/* String number v->n. Empty strings may repeat and are never found. EFORMAT names any other string that
 * repeats. */
weir_status weir__vocab_add(weir__vocab *v, const char *s, size_t n, weir__token_kind kind, float score,
                            weir_err *err);
/* The same for a string that is never found. */
weir_status weir__vocab_add_apart(weir__vocab *v, const char *s, size_t n, weir__token_kind kind, float score,
                                  weir_err *err);

int32_t weir__vocab_find(const weir__vocab *v, const char *s, size_t n); /* -1: absent */
static inline const char *weir__vocab_text(const weir__vocab *v, int32_t i) { return v->text + v->at[i]; }
static inline size_t weir__vocab_bytes(const weir__vocab *v, int32_t i) {
    return v->at[i + 1] - v->at[i] - 1;
}

/* ---- pairs of symbols to what they merge into ---------------------------------------------------------- */

typedef struct weir__pair {
    int32_t left, right; /* left = -1: free */
    uint32_t rank;       /* lower merges first */
    int32_t merged;
} weir__pair;

typedef struct weir__pairs {
    weir__pair *slots;
    size_t n, n_slot;
} weir__pairs;

void weir__pairs_free(weir__pairs *p);
/* for n pairs in all; once, before the first */
weir_status weir__pairs_reserve(weir__pairs *p, size_t n, weir_err *err);
void weir__pairs_add(weir__pairs *p, weir__pair x); /* the first of equal pairs stays */
/* NULL: absent */
const weir__pair *weir__pairs_find(const weir__pairs *p, int32_t left, int32_t right);

#endif /* WEIR_HOST_TOKENIZERS_VOCAB_VOCAB_H */
