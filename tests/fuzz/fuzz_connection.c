#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/serve/http/conn.h"
#include "tests/fuzz/target.h"

/* A connection of a server without a network: one end of a pair of sockets. Whatever it sends, what it gets
 * is a row of whole answers, and once it is closed the server holds nothing of it. No body begins with an H,
 * so that an answer to HEAD, which has none, is recognised. */

static http_server *server;
static http_exchange *waiting; /* a request that is answered in another turn */

static void serve_count(void *ud, http_exchange *x) {
    (void)ud;
    char line[32];
    size_t n;
    (void)http_body(x, &n);
    http_reply(x, 200, "text/plain", line, (size_t)snprintf(line, sizeof line, "%zu bytes", n));
}

static void serve_later(void *ud, http_exchange *x) { (void)ud, waiting = x; }

static void serve_stream(void *ud, http_exchange *x) {
    (void)ud;
    http_stream_begin(x, "text/event-stream");
    for (int i = 0; i < 3; i++) http_stream_write(x, "data: x\n\n", 9);
    http_stream_end(x);
}

static void gone(void *ud, http_exchange *x) {
    (void)ud;
    if (waiting == x) waiting = NULL;
}

static const http_route routes[] = {
    {.path = "/a", .methods = HTTP_GET | HTTP_POST, .serve = serve_count},
    {.path = "/later", .methods = HTTP_GET | HTTP_POST, .serve = serve_later},
    {.path = "/stream", .methods = HTTP_GET | HTTP_POST, .serve = serve_stream},
};

static void turns(void) {
    for (int i = 0; i < 3; i++) (void)event_base_loop(server->base, EVLOOP_NONBLOCK);
    if (!waiting) return;
    http_exchange *x = waiting;
    waiting = NULL;
    serve_count(NULL, x);
    turns();
}

static void receive(int fd, wire_buf *b) {
    char part[4096];
    ssize_t k;
    while ((k = recv(fd, part, sizeof part, MSG_DONTWAIT)) > 0) FUZZ_CHECK(wire_buf_add(b, part, (size_t)k));
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static const char *chunks(const char *at) {
    for (;;) {
        char *end;
        const size_t n = strtoul(at, &end, 16);
        FUZZ_CHECK(end != at && strncmp(end, "\r\n", 2) == 0 && strlen(end) >= n + 4);
        FUZZ_CHECK(strncmp(end + 2 + n, "\r\n", 2) == 0);
        at = end + 4 + n;
        if (n == 0) return at;
    }
}

/* One answer; returns where the next begins. */
static const char *check_answer(const char *at) {
    static const char start[] = "HTTP/1.1 ";
    FUZZ_CHECK(strncmp(at, start, sizeof start - 1) == 0);
    const int status = (int)strtol(at + sizeof start - 1, NULL, 10);
    const char *end = strstr(at, "\r\n\r\n");
    FUZZ_CHECK(status >= 100 && status < 600 && end);
    const char *length = strstr(at, "Content-Length: "), *coding = strstr(at, "Transfer-Encoding: chunked");
    const char *body = end + 4;
    if (status == 100 || status == 204 || !*body || *body == 'H') return body;
    if (coding && coding < end) return chunks(body);
    if (!length || length > end) return body + strlen(body); /* HTTP/1.0 */
    const size_t n = strtoul(length + 16, NULL, 10);
    FUZZ_CHECK(strlen(body) >= n);
    return body + n;
}

/* The first byte says how long the pieces are and how the connection ends. */
FUZZ_TARGET(connection) {
    if (n == 0) return 0;
    const http_calls calls = {.gone = gone};
    const http_options opt = {.host = "127.0.0.1", .max_body = 1000, .max_buffered = 2000};
    int pair[2];
    wire_buf got = {0};
    FUZZ_CHECK(server || http_server_open(&server, &opt, routes, 3, NULL, &calls, NULL) == WEIR_OK);
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    http_conn_new(server, pair[0], "fuzz", false);
    const size_t step = 1 + (size_t)(data[0] & 63) * (data[0] & 63);
    for (size_t at = 1; at < n; at += step) {
        if (send(pair[1], data + at, n - at < step ? n - at : step, MSG_NOSIGNAL) <= 0) break;
        turns();
        receive(pair[1], &got);
    }
    turns();
    receive(pair[1], &got);
    for (const char *at = got.data; at && *at;) at = check_answer(at);
    if (data[0] & 64) shutdown(pair[1], SHUT_WR);
    if (data[0] & 64) turns();
    close(pair[1]);
    turns();
    FUZZ_CHECK(server->n_conn == 0 && server->buffered == 0 && server->bodies == 0 && !waiting);
    wire_buf_free(&got);
    return 0;
}
