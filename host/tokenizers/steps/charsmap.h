#ifndef WEIR_HOST_TOKENIZERS_STEPS_CHARSMAP_H
#define WEIR_HOST_TOKENIZERS_STEPS_CHARSMAP_H

#include "host/tokenizers/steps/out.h"
#include "kernels/base/status.h"

/* SentencePiece's precompiled_charsmap: characters and their replacements in a double array. It is applied as
 * tokenizers does, which differs from SentencePiece: by grapheme clusters of less than six bytes, then by
 * characters, each with the shortest key that it begins with. */
typedef struct weir__charsmap weir__charsmap;

/* base64: as tokenizer.json has it. EFORMAT, ENOMEM. */
weir_status weir__charsmap_open(weir__charsmap **out, const char *base64, size_t bytes, weir_err *err);
void weir__charsmap_free(weir__charsmap *m); /* NULL allowed */

/* Appends what becomes of a text. Failed puts show in `out`. */
void weir__charsmap_apply(const weir__charsmap *m, const char *text, size_t n, weir__out *out);

#endif /* WEIR_HOST_TOKENIZERS_STEPS_CHARSMAP_H */
