#ifndef WEIR_HOST_TOKENIZERS_TEXT_WHITE_H
#define WEIR_HOST_TOKENIZERS_TEXT_WHITE_H

#include "kernels/base/types.h"

/* White space as Python's str.strip() sees it: Unicode's, and the separators U+001C to U+001F. */
void weir__white_strip_left(const char **s, size_t *n);
void weir__white_strip_right(const char *s, size_t *n);

/* Bytes of white space (Unicode's White_Space) at the end of s, and at its beginning. */
size_t weir__white_at_end(const char *s, size_t n);
size_t weir__white_at_start(const char *s, size_t n);

#endif /* WEIR_HOST_TOKENIZERS_TEXT_WHITE_H */
