#ifndef WEIR_HOST_TOKENIZERS_STEPS_NORMALIZE_H
#define WEIR_HOST_TOKENIZERS_STEPS_NORMALIZE_H

#include "host/tokenizers/steps/charsmap.h"
#include "host/tokenizers/steps/pretok.h"
#include "host/tokenizers/steps/step.h"
#include "host/tokenizers/text/ranges.h"

/* Runs the changes to a text before it is split into words. */

void weir__steps_free(weir__steps *s);
weir_status weir__step_add(weir__steps *s, weir__step_kind kind, const char *from, const char *to,
                           weir_err *err);
/* Both take ownership of the pattern or the table, even if they fail. */
weir_status weir__step_add_pattern(weir__steps *s, weir__pretok *pattern, const char *to, weir_err *err);
weir_status weir__step_add_charsmap(weir__steps *s, weir__charsmap *map, weir_err *err);

/* A text in progress, and where in it control tokens may be found. */
typedef struct weir__marked {
    char *text; /* weir_alloc, zero-terminated */
    size_t bytes;
    weir__ranges special;
} weir__marked;

void weir__marked_free(weir__marked *t);
weir_status weir__marked_copy(
    weir__marked *out, const char *text, size_t bytes, const weir__ranges *special, size_t from,
    weir_err *err); /* text is [from, from + bytes) of what `special` is of; NULL: nowhere */

/* Runs the steps on t. first: nothing precedes the text. After a failure t can still be freed. */
weir_status weir__steps_run(const weir__steps *s, bool first, weir__marked *t, weir_err *err);
weir_status weir__marked_repair(weir__marked *t, weir_err *err); /* WEIR__STEP_REPAIR alone */

#endif /* WEIR_HOST_TOKENIZERS_STEPS_NORMALIZE_H */
