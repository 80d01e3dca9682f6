#ifndef WEIR_HOST_WIRE_BUF_H
#define WEIR_HOST_WIRE_BUF_H

#include <stdbool.h>
#include <stddef.h>

/* A growable buffer of bytes. */
typedef struct wire_buf {
    char *data; /* zero-terminated once anything was added; NULL when empty from the start */
    size_t len, cap;
    bool failed; /* something was not added for want of memory: who adds much looks once, at the end */
} wire_buf;

/* false: out of memory; the bytes are as they were */
bool wire_buf_add(wire_buf *b, const char *bytes, size_t n);
bool wire_buf_puts(wire_buf *b, const char *s);
void wire_buf_free(wire_buf *b);

/* Length of the valid UTF-8 sequence at s (n > 0), 0 if none: no overlong forms, surrogates or values past
 * U+10FFFF. */
size_t wire_utf8_length(const char *s, size_t n);

/* A copy of the bytes as valid UTF-8: each byte that starts no valid sequence becomes U+FFFD. */
bool wire_buf_add_utf8(wire_buf *b, const char *bytes, size_t n);

#endif /* WEIR_HOST_WIRE_BUF_H */
