#ifndef WEIR_HOST_TOKENIZERS_STEPS_NORMALIZE_H
#define WEIR_HOST_TOKENIZERS_STEPS_NORMALIZE_H

#include "host/tokenizers/vocab/added.h"
#include "host/tokenizers/steps/pretok.h"

/* What happens to a text before it is cut into words. */

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

typedef struct weir__charsmap weir__charsmap; /* charsmap.h */

typedef struct weir__step {
    weir__step_kind kind;
    size_t n_from, n_to;
    char from[WEIR__STEP_BYTES], to[WEIR__STEP_BYTES];
    weir__pretok *pattern;    /* owned */
    weir__charsmap *charsmap; /* owned */
} weir__step;

typedef struct weir__steps {
    weir__step list[WEIR__MAX_STEPS];
    int n;
} weir__steps;

void weir__steps_free(weir__steps *s);
weir_status weir__step_add(weir__steps *s, weir__step_kind kind, const char *from, const char *to,
                           weir_err *err);
/* They own the pattern and the table from the call on, also where it fails. */
weir_status weir__step_add_pattern(weir__steps *s, weir__pretok *pattern, const char *to, weir_err *err);
weir_status weir__step_add_charsmap(weir__steps *s, weir__charsmap *map, weir_err *err);

/* A text on its way, and where in it control tokens may be found. */
typedef struct weir__marked {
    char *text; /* weir_alloc, zero-terminated */
    size_t bytes;
    weir__ranges special;
} weir__marked;

void weir__marked_free(weir__marked *t);
weir_status weir__marked_copy(
    weir__marked *out, const char *text, size_t bytes, const weir__ranges *special, size_t from,
    weir_err *err); /* text is [from, from + bytes) of what `special` is of; NULL: nowhere */

/* Runs the steps on t. first: nothing precedes the text. t is whole after a failure too, for
 * weir__marked_free. */
weir_status weir__steps_run(const weir__steps *s, bool first, weir__marked *t, weir_err *err);
weir_status weir__marked_repair(weir__marked *t, weir_err *err); /* WEIR__STEP_REPAIR alone */

#endif /* WEIR_HOST_TOKENIZERS_STEPS_NORMALIZE_H */
