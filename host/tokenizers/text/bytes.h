#ifndef WEIR_HOST_TOKENIZERS_TEXT_BYTES_H
#define WEIR_HOST_TOKENIZERS_TEXT_BYTES_H

#include "kernels/base/types.h"

/* The two ways in which tokens spell bytes. */

size_t weir__byte_spell(uint8_t byte, char out[2]); /* as a printable character: its 1 or 2 bytes of UTF-8 */
/* Bytes of a token's spelling. A token with any other character spells itself. Returns their number, at most
 * n. */
size_t weir__byte_unspell(const char *token, size_t n, char *out);

int weir__byte_token(const char *s, size_t n); /* the byte that "<0x41>" means, -1 for any other token */

#endif /* WEIR_HOST_TOKENIZERS_TEXT_BYTES_H */
