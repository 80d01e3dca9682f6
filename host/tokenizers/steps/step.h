#ifndef WEIR_HOST_TOKENIZERS_STEPS_STEP_H
#define WEIR_HOST_TOKENIZERS_STEPS_STEP_H

#include "kernels/base/types.h"

/* What can happen to a text before it is cut into words, as data. */

typedef enum weir__step_kind {
    WEIR__STEP_REPLACE,         /* `from` by `to` */
    WEIR__STEP_REPLACE_PATTERN, /* matches of `pattern` by `to` */
    WEIR__STEP_PREPEND,         /* `to` before a text that is not empty */
    WEIR__STEP_PREPEND_UNLESS,  /* … that does not begin with it */
    WEIR__STEP_PREPEND_FIRST,   /* … and is at the beginning of all */
    WEIR__STEP_STRIP_LEFT,      /* white space at the beginning vanishes */
    WEIR__STEP_STRIP_RIGHT,     /* … at the end */
    /* Unicode's normal forms; a text that is not UTF-8 stays */
    WEIR__STEP_NFC,
    WEIR__STEP_NFD,
    WEIR__STEP_NFKC,
    WEIR__STEP_NFKD,
    WEIR__STEP_LOWERCASE,
    WEIR__STEP_STRIP_ACCENTS, /* marks vanish */
    WEIR__STEP_NMT,           /* control characters vanish, other white space is a space */
    WEIR__STEP_CHARSMAP,      /* SentencePiece's precompiled table */
    WEIR__STEP_REPAIR,        /* bytes that are no UTF-8 as llama.cpp reads them (utf8.h) */
} weir__step_kind;

enum { WEIR__MAX_STEPS = 12, WEIR__STEP_BYTES = 32 };

typedef struct weir__step {
    weir__step_kind kind;
    size_t n_from, n_to;
    char from[WEIR__STEP_BYTES], to[WEIR__STEP_BYTES];
    struct weir__pretok *pattern;    /* owned */
    struct weir__charsmap *charsmap; /* owned */
} weir__step;

typedef struct weir__steps {
    weir__step list[WEIR__MAX_STEPS];
    int n;
} weir__steps;

#endif /* WEIR_HOST_TOKENIZERS_STEPS_STEP_H */
