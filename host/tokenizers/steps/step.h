#ifndef WEIR_HOST_TOKENIZERS_STEPS_STEP_H
#define WEIR_HOST_TOKENIZERS_STEPS_STEP_H

#include "kernels/base/types.h"

/* The changes to a text before it is split into words, as data. */

typedef enum weir__step_kind {
    WEIR__STEP_REPLACE,         /* `from` by `to` */
    WEIR__STEP_REPLACE_PATTERN, /* matches of `pattern` by `to` */
    WEIR__STEP_PREPEND,         /* puts `to` before a text that is not empty */
    WEIR__STEP_PREPEND_UNLESS,  /* … that does not begin with it */
    WEIR__STEP_PREPEND_FIRST,   /* … and is at the beginning of all */
    WEIR__STEP_STRIP_LEFT,      /* removes white space at the beginning */
    WEIR__STEP_STRIP_RIGHT,     /* … at the end */
    /* Unicode's normal forms; text that is not UTF-8 is left alone */
    WEIR__STEP_NFC,
    WEIR__STEP_NFD,
    WEIR__STEP_NFKC,
    WEIR__STEP_NFKD,
    WEIR__STEP_LOWERCASE,
    WEIR__STEP_STRIP_ACCENTS, /* removes marks */
    WEIR__STEP_NMT,           /* removes control characters; other white space becomes a space */
    WEIR__STEP_CHARSMAP,      /* SentencePiece's precompiled table */
    WEIR__STEP_REPAIR,        /* reads invalid UTF-8 like llama.cpp (utf8.h) */
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
