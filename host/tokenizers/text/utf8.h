#ifndef WEIR_HOST_TOKENIZERS_TEXT_UTF8_H
#define WEIR_HOST_TOKENIZERS_TEXT_UTF8_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Bytes that may or may not be UTF-8. Input is read as llama.cpp's unicode.cpp reads it, so that ids agree on
 * any bytes: continuation bytes are checked and nothing else, a byte that begins no character is U+FFFD on
 * its own. */

#define WEIR__REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Bytes of a character by its first byte alone, 1 to 4; 1 for a byte that cannot be first. */
size_t weir__utf8_length(char first);

/* The character at s, n > 0: its bytes, and its code point; or 1 and U+FFFD for a byte that begins none.
 * Overlong forms give their code point, surrogates theirs; past U+10FFFF is no character. *broken is set for
 * what is not UTF-8. */
size_t weir__utf8_step(const char *s, size_t n, uint32_t *cp, bool *broken);

/* The last character of s, n > 0: its bytes, and its code point; 1 and U+FFFD for a byte that ends none. */
size_t weir__utf8_back(const char *s, size_t n, uint32_t *cp);

/* Appends cp, at most U+10FFFF, to out; returns its 1 to 4 bytes. */
size_t weir__utf8_put(char *out, uint32_t cp);

bool weir__utf8_is_valid(const char *s, size_t n); /* strict: no surrogates */

/* Strict UTF-8 of the bytes, for output: each maximal part that begins a character and does not end it, and
 * each other wrong byte, is one U+FFFD (Unicode 3.9, as Python's and Rust's lossy decoders). Takes *text, a
 * weir_alloc block of *n bytes and one more, and gives it back or a larger one, zero-terminated. On ENOMEM
 * the block is freed. */
weir_status weir__utf8_lossy(char **text, size_t *n, weir_err *err);

#endif /* WEIR_HOST_TOKENIZERS_TEXT_UTF8_H */
