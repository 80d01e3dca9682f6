#ifndef WEIR_HOST_TOKENIZERS_STEPS_PRETOK_H
#define WEIR_HOST_TOKENIZERS_STEPS_PRETOK_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Pre-tokenizer: cuts a text into words, inside of which merging stays. A list of steps, each a regular
 * expression that cuts every word of the step before it. PCRE2 does the matching, compiled to machine code
 * where it can. */
typedef struct weir__pretok weir__pretok;

/* What becomes of a match of a step and of the text between matches (Hugging Face's
 * SplitDelimiterBehavior). */
typedef enum weir__split {
    WEIR__SPLIT_ISOLATED,      /* each is a word */
    WEIR__SPLIT_REMOVED,       /* matches vanish */
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

/* One step more. A regular expression is read as Oniguruma's Ruby syntax, of which what tokenizers use is
 * known and the rest refused by name (ENOTSUP); `literal`: the pattern is a text to find. */
weir_status weir__pretok_add(weir__pretok *p, const char *pattern, size_t bytes, bool literal,
                             weir__split how, weir_err *err);

/* The steps that llama.cpp has for a GGUF file's tokenizer.ggml.pre, and whether a word that is a token is
 * taken whole. ENOTSUP names one that is not known. */
weir_status weir__pretok_add_named(weir__pretok *p, const char *name, size_t bytes, bool *ignore_merges,
                                   weir_err *err);

/* Words of a text, in order; *words is emptied first. Bytes that are not UTF-8 are no letter, number or
 * space. Threads may share p. EINVAL where a pattern needs more steps or memory than is reasonable,
 * ENOMEM. */
weir_status weir__pretok_split(const weir__pretok *p, const char *text, size_t bytes, weir__words *words,
                               weir_err *err);
void weir__words_free(weir__words *w);

/* Internal to the two files of this header: a pattern in PCRE2's syntax, zero-terminated, by weir_alloc. */
weir_status weir__pattern_translate(const char *pattern, size_t bytes, char **out, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_STEPS_PRETOK_H */
