#include "host/serve/http/io.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct http_tls {
    SSL_CTX *ctx;
};

/* ---- certificates -------------------------------------------------------------------------------------- */

static weir_status tls_fail(weir_err *err, const char *what, const char *file) {
    const unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return weir_fail(err, WEIR_EINVAL, "%s %s: %s", what, file, reason ? reason : "cannot be used");
}

/* A client that offers protocols gets HTTP/1.1 if that is one of them; else it is left to find out. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n_out, const unsigned char *in,
                           unsigned n, void *ud) {
    (void)ssl, (void)ud;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *found = NULL;
    if (SSL_select_next_proto(&found, n_out, ours, sizeof ours - 1, in, n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

static weir_status tls_setup(SSL_CTX *ctx, const char *cert_file, const char *key_file, weir_err *err) {
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION))
        return weir_fail(err, WEIR_ENOTSUP, "OpenSSL has no TLS 1.2");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* RELEASE_BUFFERS: 34 KiB less for each idle connection. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return tls_fail(err, "the certificate", cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return tls_fail(err, "the key", key_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return tls_fail(err, "the certificate is not of the key", key_file);
    return WEIR_OK;
}

weir_status http_tls_open(http_tls **out, const char *cert_file, const char *key_file, weir_err *err) {
    http_tls *t = weir_calloc(1, sizeof *t);
    if (!t) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    ERR_clear_error();
    t->ctx = SSL_CTX_new(TLS_server_method());
    weir_status st = t->ctx ? tls_setup(t->ctx, cert_file, key_file, err)
                            : weir_fail(err, WEIR_ENOMEM, "OpenSSL is out of memory");
    if (st != WEIR_OK) {
        http_tls_close(t);
        t = NULL;
    }
    *out = t;
    return st;
}

void http_tls_close(http_tls *t) {
    if (!t) return;
    SSL_CTX_free(t->ctx);
    weir_free(t);
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

bool http_io_open(http_io *io, int fd, http_tls *t) {
    *io = (http_io){.fd = fd};
    if (!t) return true;
    ERR_clear_error();
    io->ssl = SSL_new(t->ctx);
    if (!io->ssl || !SSL_set_fd(io->ssl, fd)) {
        SSL_free(io->ssl);
        io->ssl = NULL;
        return false;
    }
    SSL_set_accept_state(io->ssl);
    return true;
}

static long tls_failure(http_io *io, int result, bool reading) {
    switch (SSL_get_error(io->ssl, result)) {
    case SSL_ERROR_WANT_READ: return HTTP_IO_WAIT;
    case SSL_ERROR_WANT_WRITE: io->read_wants_out = reading; return HTTP_IO_WAIT;
    case SSL_ERROR_ZERO_RETURN: return HTTP_IO_EOF;
    default: return HTTP_IO_FAILED;
    }
}

static long tls_read(http_io *io, char *to, size_t n) {
    size_t got = 0;
    io->read_wants_out = false;
    while (got < n) {
        const size_t most = n - got < INT_MAX ? n - got : INT_MAX;
        ERR_clear_error();
        const int k = SSL_read(io->ssl, to + got, (int)most);
        if (k <= 0) {
            const long why = tls_failure(io, k, true);
            return got ? (long)got : why;
        }
        got += (size_t)k;
    }
    return (long)got;
}

long http_io_read(http_io *io, char *to, size_t n) {
    if (io->ssl) return tls_read(io, to, n);
    ssize_t k;
    do k = recv(io->fd, to, n, 0);
    while (k < 0 && errno == EINTR);
    if (k > 0) return (long)k;
    if (k == 0) return HTTP_IO_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? HTTP_IO_WAIT : HTTP_IO_FAILED;
}

static long tls_write(http_io *io, struct evbuffer *from) {
    long sent = 0;
    struct evbuffer_iovec piece;
    while (evbuffer_peek(from, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        const size_t n = piece.iov_len < (16 << 10) ? piece.iov_len : 16 << 10; /* one TLS record */
        ERR_clear_error();
        const int k = SSL_write(io->ssl, piece.iov_base, (int)n);
        if (k <= 0) {
            const long why = tls_failure(io, k, false);
            return sent && why == HTTP_IO_WAIT ? sent : why;
        }
        evbuffer_drain(from, (size_t)k);
        sent += k;
    }
    return sent;
}

long http_io_write(http_io *io, struct evbuffer *from) {
    if (io->ssl) return tls_write(io, from);
    int k;
    do k = evbuffer_write(from, io->fd);
    while (k < 0 && errno == EINTR);
    if (k >= 0) return k;
    return errno == EAGAIN || errno == EWOULDBLOCK ? HTTP_IO_WAIT : HTTP_IO_FAILED;
}

bool http_io_pending(const http_io *io) { return io->ssl && SSL_pending(io->ssl) > 0; }

void http_io_shut(http_io *io) {
    if (io->ssl) {
        ERR_clear_error();
        (void)SSL_shutdown(io->ssl); /* our half; the peer's is not waited for */
    }
    (void)shutdown(io->fd, SHUT_WR);
}

void http_io_close(http_io *io) {
    SSL_free(io->ssl);
    if (io->fd >= 0) (void)close(io->fd);
    *io = (http_io){.fd = -1};
}
