#ifndef WEIR_HOST_WIRE_BUF_H
#define WEIR_HOST_WIRE_BUF_H

#include <stdbool.h>
#include <stddef.h>

/* A growable buffer of bytes. */
typedef struct wire_buf {
    char *data; /* zero-terminated once anything was added; NULL when empty from the start */
    size_t len, cap;
} wire_buf;

bool wire_buf_add(wire_buf *b, const char *bytes, size_t n); /* false: out of memory, b unchanged */
bool wire_buf_puts(wire_buf *b, const char *s);
void wire_buf_free(wire_buf *b);

/* A copy of the bytes as valid UTF-8: each byte that starts no valid sequence becomes U+FFFD. */
bool wire_buf_add_utf8(wire_buf *b, const char *bytes, size_t n);

#endif /* WEIR_HOST_WIRE_BUF_H */
