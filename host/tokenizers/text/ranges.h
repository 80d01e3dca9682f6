#ifndef WEIR_HOST_TOKENIZERS_TEXT_RANGES_H
#define WEIR_HOST_TOKENIZERS_TEXT_RANGES_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Where in a text control tokens may be found. */

typedef struct weir__range {
    size_t begin, end;
} weir__range;

/* Parts of a text, in order, none touching the next. A control token counts where one of them holds all of
 * it. */
typedef struct weir__ranges {
    weir__range *list;
    size_t n;
} weir__ranges;

bool weir__ranges_hold(const weir__ranges *r, size_t begin, size_t end);

/* Of `all`, what lies in [from, to), with `from` as 0. out->list by weir_alloc, also when it is empty. */
weir_status weir__ranges_clip(const weir__ranges *all, size_t from, size_t to, weir__ranges *out,
                              weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_TEXT_RANGES_H */
