#ifndef WEIR_HOST_TOKENIZERS_TEXT_RANGES_H
#define WEIR_HOST_TOKENIZERS_TEXT_RANGES_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Where in a text control tokens may be found. */

typedef struct weir__range {
    size_t begin, end;
} weir__range;

/* Parts of a text, in order, not touching each other. A control token counts if one part holds all of it. */
typedef struct weir__ranges {
    weir__range *list;
    size_t n;
} weir__ranges;

bool weir__ranges_hold(const weir__ranges *r, size_t begin, size_t end);

/* The parts of `all` inside [from, to), relative to `from`. out->list by weir_alloc, even if empty. */
weir_status weir__ranges_clip(const weir__ranges *all, size_t from, size_t to, weir__ranges *out,
                              weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_TEXT_RANGES_H */
