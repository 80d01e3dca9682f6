#ifndef WEIR_TESTS_SUPPORT_HEX_H
#define WEIR_TESTS_SUPPORT_HEX_H

#include <stddef.h>

/* Bytes of a text in hexadecimal, malloc'ed, a zero byte after the *n of them; NULL if it is not
 * hexadecimal. */
char *hex_decode(const char *hex, size_t *n);

#endif
