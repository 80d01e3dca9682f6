#ifndef WEIR_HOST_SERVE_HTTP_IO_H
#define WEIR_HOST_SERVE_HTTP_IO_H

#include <event2/buffer.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/weir.h"

/* Bytes of one socket, in the clear or over TLS. */
typedef struct http_tls http_tls;

weir_status http_tls_open(http_tls **out, const char *cert_file, const char *key_file, weir_err *err);
void http_tls_close(http_tls *t); /* NULL allowed */

typedef struct http_io {
    int fd;
    SSL *ssl;            /* NULL: in the clear */
    bool read_wants_out; /* TLS must write before it can read on */
} http_io;

enum { HTTP_IO_WAIT = -1, HTTP_IO_EOF = -2, HTTP_IO_FAILED = -3 };

bool http_io_open(http_io *io, int fd, http_tls *t); /* t NULL: in the clear; false: out of memory */
long http_io_read(http_io *io, char *to, size_t n);  /* > 0, or one of the above */
/* Sends from the buffer's start and drains it. WAIT: the socket is full. */
long http_io_write(http_io *io, struct evbuffer *from);
bool http_io_pending(const http_io *io); /* decrypted bytes wait, which no event tells of */
void http_io_shut(http_io *io);          /* nothing more is sent */
void http_io_close(http_io *io);

#endif /* WEIR_HOST_SERVE_HTTP_IO_H */
