#ifndef WEIR_HOST_TOKENIZERS_TEXT_UTF8_H
#define WEIR_HOST_TOKENIZERS_TEXT_UTF8_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Bytes that may or may not be UTF-8. Input is read like llama.cpp's unicode.cpp, so ids agree for any bytes:
 * only continuation bytes are checked, and a byte that begins no character is one U+FFFD. */

#define WEIR__REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Length of a character by its first byte, 1 to 4; 1 for a byte that cannot be first. */
size_t weir__utf8_length(char first);

/* Length and code point of the character at s, n > 0; 1 and U+FFFD for a byte that begins none. Overlong
 * forms and surrogates give their code points; anything above U+10FFFF is not a character. Sets *broken if it
 * is not UTF-8. */
size_t weir__utf8_step(const char *s, size_t n, uint32_t *cp, bool *broken);

/* Length and code point of the last character of s, n > 0; 1 and U+FFFD for a byte that ends none. */
size_t weir__utf8_back(const char *s, size_t n, uint32_t *cp);

/* Appends cp, at most U+10FFFF, to out; returns its 1 to 4 bytes. */
size_t weir__utf8_put(char *out, uint32_t cp);

bool weir__utf8_is_valid(const char *s, size_t n); /* strict: no surrogates */

/* Strict UTF-8 for output. Each maximal incomplete character, and each other wrong byte, becomes one U+FFFD
 * (Unicode 3.9, like Python's and Rust's lossy decoders). Takes *text, a weir_alloc block of *n bytes and one
 * more, and gives it back or a larger one, zero-terminated. On ENOMEM the block is freed. */
weir_status weir__utf8_lossy(char **text, size_t *n, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_TEXT_UTF8_H */
