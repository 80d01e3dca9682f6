#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"

#define JSON_POST(path) "POST " path " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

/* ---- a certificate ------------------------------------------------------------------------------------- */

typedef struct files {
    char cert[64], key[64];
} files;

static void make_certificate(EVP_PKEY *pkey, const char *path) {
    X509 *x = X509_new();
    cr_assert(x && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), 1));
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, pkey);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x, name);
    cr_assert(X509_sign(x, pkey, EVP_sha256()) > 0);
    FILE *f = fopen(path, "w");
    cr_assert(f && PEM_write_X509(f, x) && fclose(f) == 0);
    X509_free(x);
}

/* Two of one key; `other`: the key of another certificate. */
static files make_files(const char *other) {
    files all;
    snprintf(all.cert, sizeof all.cert, "/tmp/weir-tls-%d%s-cert.pem", (int)getpid(), other);
    snprintf(all.key, sizeof all.key, "/tmp/weir-tls-%d%s-key.pem", (int)getpid(), other);
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    cr_assert_not_null(pkey);
    make_certificate(pkey, all.cert);
    FILE *f = fopen(all.key, "w");
    cr_assert(f && PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL) && fclose(f) == 0);
    EVP_PKEY_free(pkey);
    return all;
}

static void remove_files(const files *f) {
    unlink(f->cert);
    unlink(f->key);
}

/* ---- a client ------------------------------------------------------------------------------------------ */

typedef struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
} peer;

/* ssl stays NULL if no such version is agreed on. */
static peer peer_open(int port, int version) {
    peer p = {.ctx = SSL_CTX_new(TLS_client_method()), .fd = client_open(port)};
    SSL_CTX_set_security_level(p.ctx, 0);
    SSL_CTX_set_min_proto_version(p.ctx, version);
    SSL_CTX_set_max_proto_version(p.ctx, version);
    p.ssl = SSL_new(p.ctx);
    SSL_set_fd(p.ssl, p.fd);
    static const unsigned char protocols[] = "\x02h2\x08http/1.1";
    SSL_set_alpn_protos(p.ssl, protocols, sizeof protocols - 1);
    if (SSL_connect(p.ssl) == 1) return p;
    SSL_free(p.ssl);
    p.ssl = NULL;
    return p;
}

static void peer_close(peer *p) {
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    close(p->fd);
}

/* Asks, and reads until `n` bytes came or the end; the text, zero-terminated, of which `n` is kept. */
static char *peer_ask(peer *p, const char *request, size_t n, size_t *got) {
    char *text = calloc(1, n + 1);
    cr_assert_eq(SSL_write(p->ssl, request, (int)strlen(request)), (int)strlen(request));
    *got = 0;
    while (*got < n) {
        const int k = SSL_read(p->ssl, text + *got, (int)(n - *got));
        if (k <= 0) break;
        *got += (size_t)k;
        if (n < 4096 && strstr(text, "\r\n\r\nok")) break;
    }
    return text;
}

static void expect_ok(peer *p) {
    size_t got;
    char *text = peer_ask(p, GET("/health"), 4000, &got);
    cr_assert(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0 && strcmp(text + got - 6, "\r\n\r\nok") == 0,
              "%s", text);
    free(text);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

Test(http_tls, keeps_a_connection_alive) {
    const files f = make_files("");
    host *h = host_start(&(http_options){.cert_file = f.cert, .key_file = f.key}, NULL);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; i++) {
        peer p = peer_open(h->port, versions[i]);
        cr_assert_not_null(p.ssl);
        const unsigned char *protocol;
        unsigned n;
        SSL_get0_alpn_selected(p.ssl, &protocol, &n);
        cr_assert(n == 8 && memcmp(protocol, "http/1.1", 8) == 0);
        for (int k = 0; k < 20; k++) expect_ok(&p);
        peer_close(&p);
    }
    peer old = peer_open(h->port, TLS1_1_VERSION);
    cr_assert_null(old.ssl);
    peer_close(&old);
    host_stop(h);
    remove_files(&f);
}

Test(http_tls, streams_and_bodies_are_whole) {
    const files f = make_files("");
    host *h = host_start(&(http_options){.cert_file = f.cert, .key_file = f.key}, NULL);
    peer p = peer_open(h->port, TLS1_3_VERSION);
    enum { BODY = 1000000 };
    char *request = malloc(BODY + 300);
    int n =
        snprintf(request, 300, JSON_POST("/echo") "Connection: close\r\nContent-Length: %d\r\n\r\n", BODY);
    for (int i = 0; i < BODY; i++) request[n++] = (char)('a' + i % 26);
    request[n] = '\0';
    size_t got;
    char *text = peer_ask(&p, request, BODY + 2000, &got);
    const char *body = strstr(text, "\r\n\r\n");
    cr_assert(body && strcmp(body + 4, request + n - BODY) == 0);
    free(text);
    peer_close(&p);
    p = peer_open(h->port, TLS1_2_VERSION);
    text = peer_ask(&p, JSON_POST("/flood") "Connection: close\r\nContent-Length: 7\r\n\r\n5000000", 6000000,
                    &got);
    size_t letters = 0;
    for (body = strstr(text, "\r\n\r\n"); *body; body++) letters += *body == 'f' && body[-1] == 'f';
    cr_assert_eq(letters, 5000 * 999); /* parts of 1,000 */
    cr_assert_str_eq(text + got - 5, "0\r\n\r\n");
    free(text);
    peer_close(&p);
    free(request);
    host_stop(h);
    remove_files(&f);
}

Test(http_tls, sees_a_peer_leave) {
    const files f = make_files("");
    host *h = host_start(&(http_options){.cert_file = f.cert, .key_file = f.key}, NULL);
    for (int i = 0; i < 9; i++) {
        peer p = peer_open(h->port, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
        const char request[] = JSON_POST("/silent") "\r\n";
        SSL_write(p.ssl, request, sizeof request - 1);
        host_wait(&h->n_silent, i + 1);
        const struct linger reset = {.l_onoff = 1};
        if (i % 3 == 0) SSL_shutdown(p.ssl); /* sends its end, and stays */
        if (i % 3 == 1) shutdown(p.fd, SHUT_WR);
        if (i % 3 == 2) setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), close(p.fd);
        host_wait(&h->gone, i + 1);
        peer_close(&p);
    }
    host_stop(h);
    remove_files(&f);
}

Test(http_tls, a_peer_that_reads_nothing_is_dropped) {
    const files f = make_files("");
    host *h = host_start(&(http_options){.cert_file = f.cert, .key_file = f.key, .stall_seconds = 0.1}, NULL);
    peer p = peer_open(h->port, TLS1_3_VERSION);
    const char request[] = JSON_POST("/flood") "Content-Length: 9\r\n\r\n999999999";
    SSL_write(p.ssl, request, sizeof request - 1);
    host_wait(&h->gone, 1);
    cr_assert_leq(atomic_load(&h->most_waiting), (64 << 10) + 1400);
    peer_close(&p);
    host_stop(h);
    remove_files(&f);
}

Test(http_tls, what_is_no_tls_is_dropped) {
    const files f = make_files("");
    host *h = host_start(&(http_options){.cert_file = f.cert, .key_file = f.key, .head_seconds = 0.1}, NULL);
    const int clear = client_open(h->port), silent = client_open(h->port);
    client_puts(clear, GET("/health"));
    char byte;
    while (recv(clear, &byte, 1, 0) > 0) {} /* an alert, then the end */
    cr_assert(client_at_end(silent));
    peer p = peer_open(h->port, TLS1_3_VERSION);
    expect_ok(&p);
    peer_close(&p);
    close(clear), close(silent);
    host_stop(h);
    remove_files(&f);
}

Test(http_tls, files_that_do_not_fit_are_refused) {
    const files f = make_files(""), g = make_files("b");
    const struct {
        const char *cert, *key, *part;
    } all[] = {{f.cert, g.key, g.key},
               {f.key, f.key, f.key},
               {f.cert, f.cert, f.cert},
               {f.cert, "/nowhere", "/nowhere"}};
    for (size_t i = 0; i < 4; i++) {
        http_server *s;
        weir_err err = {""};
        const http_options opt = {.host = "127.0.0.1", .cert_file = all[i].cert, .key_file = all[i].key};
        cr_assert_eq(http_server_open(&s, &opt, NULL, 0, NULL, &(http_calls){0}, &err), WEIR_EINVAL);
        cr_assert(strstr(err.text, all[i].part) && !strchr(err.text, '\n'), "%s", err.text);
    }
    remove_files(&f);
    remove_files(&g);
}
