#ifndef WEIR_HOST_TOKENIZERS_STEPS_PRETOK_H
#define WEIR_HOST_TOKENIZERS_STEPS_PRETOK_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Pre-tokenizer: splits a text into words; nothing merges across words. A list of steps, each a regular
 * expression that splits every word of the previous step. PCRE2 does the matching, compiled to machine code
 * if possible. */
typedef struct weir__pretok weir__pretok;

/* What becomes of a match of a step and of the text between matches (Hugging Face's
 * SplitDelimiterBehavior). */
typedef enum weir__split {
    WEIR__SPLIT_ISOLATED,      /* each is a word */
    WEIR__SPLIT_REMOVED,       /* matches are removed */
    WEIR__SPLIT_KEPT,          /* only matches stay ("Removed" of the inverted pattern) */
    WEIR__SPLIT_WITH_PREVIOUS, /* a match joins the text before it */
    WEIR__SPLIT_WITH_NEXT,     /* … after it */
    WEIR__SPLIT_CONTIGUOUS,    /* neighbouring matches are one word */
} weir__split;

typedef struct weir__word {
    uint32_t begin, end;
} weir__word;

typedef struct weir__words {
    weir__word *list;
    size_t n, cap;
} weir__words;

weir_status weir__pretok_open(weir__pretok **out, weir_err *err); /* without steps: a text is one word */
void weir__pretok_free(weir__pretok *p);                          /* NULL allowed */
bool weir__pretok_is_empty(const weir__pretok *p);                /* no steps */

/* Adds a step. A regular expression is in Oniguruma's Ruby syntax: what tokenizers use is supported, the rest
 * is refused by name (ENOTSUP). `literal`: the pattern is a text to find. */
weir_status weir__pretok_add(weir__pretok *p, const char *pattern, size_t bytes, bool literal,
                             weir__split how, weir_err *err);

/* The steps that llama.cpp uses for a GGUF file's tokenizer.ggml.pre, and whether a word that is a token is
 * taken whole. ENOTSUP names an unknown one. */
weir_status weir__pretok_add_named(weir__pretok *p, const char *name, size_t bytes, bool *ignore_merges,
                                   weir_err *err);

/* Words of a text, in order; *words is emptied first. Bytes that are not UTF-8 count as neither letter,
 * number nor space. Threads may share p. EINVAL if a pattern needs an unreasonable number of steps or amount
 * of memory; ENOMEM. */
weir_status weir__pretok_split(const weir__pretok *p, const char *text, size_t bytes, weir__words *words,
                               weir_err *err);
void weir__words_free(weir__words *w);

/* Internal to the two files of this header: a pattern in PCRE2's syntax, zero-terminated, by weir_alloc. */
weir_status weir__pattern_translate(const char *pattern, size_t bytes, char **out, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_STEPS_PRETOK_H */
