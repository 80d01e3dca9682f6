#include <stdio.h>
#include <string.h>

#include "host/serve/http/conn.h"

/* ---- a request, as its route sees it ------------------------------------------------------------------- */

const http_route *http_route_of(const http_exchange *x) { return x->route; }
unsigned http_method(const http_exchange *x) { return x->method; }
const char *http_path(const http_exchange *x) { return http_gate_path(&x->conn->gate); }
const char *http_header(const http_exchange *x, const char *name) {
    return http_gate_header(&x->conn->gate, name);
}
const char *http_id(const http_exchange *x) { return x->id; }
const char *http_peer(const http_exchange *x) { return x->conn->peer; }
uint64_t http_client(const http_exchange *x) { return x->client; }
double http_began(const http_exchange *x) { return x->began; }
void http_set_ud(http_exchange *x, void *ud) { x->ud = ud; }
void *http_ud(const http_exchange *x) { return x->ud; }

const char *http_body(const http_exchange *x, size_t *n) {
    *n = x->body.len;
    return x->body.data ? x->body.data : "";
}

void http_drop_body(http_exchange *x) {
    x->conn->server->bodies -= x->body.len;
    wire_buf_free(&x->body);
}

/* The peer's, if it is visible ASCII and of a length that logs bear. */
static void take_id(http_exchange *x) {
    const char *id = http_header(x, "X-Request-Id");
    size_t n = 0;
    while (id && id[n] > 0x20 && id[n] < 0x7f) n++;
    if (n > 0 && n < sizeof x->id && !id[n]) {
        memcpy(x->id, id, n + 1);
        return;
    }
    http_server *s = x->conn->server;
    snprintf(x->id, sizeof x->id, "%016llx%08llx", (unsigned long long)s->id_prefix,
             (unsigned long long)++s->n_id);
}

void http_exchange_init(http_conn *c) {
    c->x = (http_exchange){.conn = c, .open = true, .began = weir_seconds()};
    take_id(&c->x);
}

void http_exchange_free(http_exchange *x) {
    http_drop_body(x);
    wire_buf_free(&x->headers);
}

void http_exchange_done(http_exchange *x, int status) {
    if (!x->open) return;
    x->open = x->active = false;
    const http_calls *calls = &x->conn->server->calls;
    if (x->route && calls->done) calls->done(calls->ud, x, status, weir_seconds() - x->began);
    http_exchange_free(x);
}

/* ---- an answer's head ---------------------------------------------------------------------------------- */

static const char *reason(int status) {
    static const struct {
        int status;
        const char *text;
    } all[] = {{200, "OK"},
               {204, "No Content"},
               {304, "Not Modified"},
               {400, "Bad Request"},
               {401, "Unauthorized"},
               {403, "Forbidden"},
               {404, "Not Found"},
               {405, "Method Not Allowed"},
               {408, "Request Timeout"},
               {413, "Content Too Large"},
               {414, "URI Too Long"},
               {415, "Unsupported Media Type"},
               {417, "Expectation Failed"},
               {429, "Too Many Requests"},
               {431, "Request Header Fields Too Large"},
               {500, "Internal Server Error"},
               {501, "Not Implemented"},
               {503, "Service Unavailable"},
               {504, "Gateway Timeout"},
               {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].status == status) return all[i].text;
    return "Unknown";
}

static void add_line(http_exchange *x, const char *name, const char *value) {
    wire_buf *b = &x->headers;
    const size_t was = b->len;
    if (!wire_buf_puts(b, name) || !wire_buf_puts(b, ": ") || !wire_buf_puts(b, value)) {
        x->conn->broken = true;
        return;
    }
    for (size_t i = was; i < b->len; i++) /* a line break in a value would begin a field of its own */
        if ((unsigned char)b->data[i] < 0x20 || b->data[i] == 0x7f) b->data[i] = ' ';
    if (!wire_buf_puts(b, "\r\n")) x->conn->broken = true;
}

void http_add_header(http_exchange *x, const char *name, const char *value) {
    if (!x->head_out) add_line(x, name, value);
}

static void add_cors(http_exchange *x) {
    if (!x->origin) return;
    add_line(x, "Access-Control-Allow-Origin", x->origin);
    add_line(x, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    if (strcmp(x->origin, "*") != 0) add_line(x, "Vary", "Origin");
}

/* n: the body's bytes; < 0: a stream. */
static void put_head(http_exchange *x, int status, const char *type, long long n) {
    http_conn *c = x->conn;
    char line[512];
    if (x->close)
        add_line(x, "Connection", "close");
    else if (!c->gate.http11)
        add_line(x, "Connection", "keep-alive");
    if (type) add_line(x, "Content-Type", type);
    if (n < 0) {
        add_line(x, "Cache-Control", "no-store");
        add_line(x, "X-Accel-Buffering", "no");
        if (x->chunked) add_line(x, "Transfer-Encoding", "chunked");
    } else if (status != 204 && status != 304) {
        snprintf(line, sizeof line, "%lld", n);
        add_line(x, "Content-Length", line);
    }
    add_cors(x);
    const int len =
        snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: weir\r\nX-Request-Id: %s\r\n",
                 status, reason(status), http_date(c->server), x->id);
    http_conn_put(c, line, (size_t)len);
    if (x->headers.len) http_conn_put(c, x->headers.data, x->headers.len);
    http_conn_put(c, "\r\n", 2);
}

static bool closes(const http_exchange *x, bool wish) {
    const http_conn *c = x->conn;
    return wish || !c->gate.keep || c->server->draining || c->surplus || c->overflow;
}

/* ---- whole answers ------------------------------------------------------------------------------------- */

void http_answer(http_exchange *x, int status, const char *type, const char *body, size_t n, bool close) {
    http_conn *c = x->conn;
    x->close = closes(x, close);
    put_head(x, status, type, (long long)n);
    if (!x->head && n) http_conn_put(c, body, n);
    http_exchange_done(x, status);
    http_conn_answered(c, x->close);
}

void http_refuse(http_exchange *x, const serve_error *e, bool close) {
    static const char no_memory[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\","
                                    "\"param\":null,\"code\":\"internal_error\"}}";
    wire_buf b = {0};
    char seconds[16];
    if (e->retry_after > 0) {
        snprintf(seconds, sizeof seconds, "%d", e->retry_after);
        add_line(x, "Retry-After", seconds);
    }
    if (serve_error_write(e, &b))
        http_answer(x, e->status, "application/json", b.data, b.len, close);
    else
        http_answer(x, 500, "application/json", no_memory, sizeof no_memory - 1, close);
    wire_buf_free(&b);
}

void http_reply(http_exchange *x, int status, const char *type, const char *body, size_t n) {
    if (!x->active || x->head_out) return;
    http_answer(x, status, type, body, n, false);
}

void http_fail(http_exchange *x, const serve_error *e) {
    if (!x->active || x->head_out) return;
    http_refuse(x, e, false);
}

/* ---- streams ------------------------------------------------------------------------------------------- */

void http_stream_begin(http_exchange *x, const char *type) {
    x->begun = true;
    snprintf(x->type, sizeof x->type, "%s", type);
}

bool http_stream_begun(const http_exchange *x) { return x->begun; }

static void stream_head(http_exchange *x) {
    if (x->head_out) return;
    const bool http11 = x->conn->gate.http11;
    x->status = 200;
    x->chunked = http11;
    x->close = closes(x, !http11);
    put_head(x, x->status, x->type, -1);
    x->head_out = true;
}

void http_stream_write(http_exchange *x, const char *bytes, size_t n) {
    if (!x->active || n == 0) return;
    http_conn *c = x->conn;
    stream_head(x);
    if (!x->head) {
        char size[24];
        const int len = snprintf(size, sizeof size, "%zx\r\n", n);
        if (x->chunked) http_conn_put(c, size, (size_t)len);
        http_conn_put(c, bytes, n);
        if (x->chunked) http_conn_put(c, "\r\n", 2);
    }
    http_conn_wake(c);
}

size_t http_stream_waiting(const http_exchange *x) { return evbuffer_get_length(x->conn->out); }

void http_stream_end(http_exchange *x) {
    if (!x->active) return;
    http_conn *c = x->conn;
    stream_head(x);
    if (x->chunked && !x->head) http_conn_put(c, "0\r\n\r\n", 5);
    http_exchange_done(x, x->status);
    http_conn_answered(c, x->close);
}

void http_hang_up(http_exchange *x) {
    if (!x->active) return;
    http_conn *c = x->conn;
    http_exchange_done(x, x->head_out ? x->status : 499);
    c->dead = true;
    http_conn_wake(c);
}
