#ifndef WEIR_HOST_TOKENIZERS_STEPS_CHARSMAP_H
#define WEIR_HOST_TOKENIZERS_STEPS_CHARSMAP_H

#include "host/tokenizers/steps/out.h"
#include "kernels/base/status.h"

/* SentencePiece's precompiled_charsmap: characters and their replacements in a double array. It is applied
 * like tokenizers, which differs from SentencePiece: to grapheme clusters of less than six bytes, then to
 * characters, each by the shortest key that it begins with. */
typedef struct weir__charsmap weir__charsmap;

/* base64: from tokenizer.json. EFORMAT, ENOMEM. */
weir_status weir__charsmap_open(weir__charsmap **out, const char *base64, size_t bytes, weir_err *err);
void weir__charsmap_free(weir__charsmap *m); /* NULL allowed */

/* Appends the mapped text. `out` says whether a put failed. */
void weir__charsmap_apply(const weir__charsmap *m, const char *text, size_t n, weir__out *out);

#endif /* WEIR_HOST_TOKENIZERS_STEPS_CHARSMAP_H */
