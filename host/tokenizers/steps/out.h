#ifndef WEIR_HOST_TOKENIZERS_STEPS_OUT_H
#define WEIR_HOST_TOKENIZERS_STEPS_OUT_H

#include "kernels/base/types.h"

/* The buffer that a step on a text writes to. */

typedef struct weir__out {
    char *s; /* weir_alloc */
    size_t n, cap;
    size_t most; /* bytes that a text may grow to */
    bool failed; /* a put failed, and all after it: no memory, or too long */
    bool too_long;
} weir__out;

bool weir__out_put(weir__out *o, const char *s, size_t n); /* false: failed */

#endif /* WEIR_HOST_TOKENIZERS_STEPS_OUT_H */
