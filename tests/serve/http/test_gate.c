#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/http/gate.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"

enum { MAX_BODY = 1000 };

/* ---- what the gate makes of bytes, as a text ----------------------------------------------------------- */

typedef struct reading {
    http_gate gate;
    wire_buf text;
    bool in_body, refused;
} reading;

static void add(reading *r, const char *s) { cr_assert(wire_buf_puts(&r->text, s)); }

static void add_head(reading *r) {
    const http_gate *g = &r->gate;
    char line[200];
    add(r, http_gate_method(g));
    add(r, " ");
    add(r, http_gate_path(g));
    if (g->query) add(r, " ?");
    if (g->query) add(r, g->head.data + g->query);
    snprintf(line, sizeof line, " 1.%d%s%s", g->http11, g->keep ? " keep" : "", g->expect ? " expect" : "");
    add(r, line);
    for (int i = 0; i < g->n_field; i++) {
        add(r, i ? ";" : " ");
        add(r, g->head.data + g->name[i]);
        add(r, "=");
        add(r, g->head.data + g->value[i]);
    }
    add(r, "\n");
}

static void feed(reading *r, const char *bytes, size_t n) {
    char line[600];
    for (size_t at = 0, used; !r->refused; at += used) {
        const http_edge edge = http_gate_feed(&r->gate, bytes + at, n - at, &used);
        cr_assert_leq(used, n - at);
        if (edge == HTTP_MORE) {
            cr_assert_eq(at + used, n);
            return;
        }
        if (edge == HTTP_HEAD) add_head(r);
        if (edge == HTTP_BODY) {
            cr_assert(r->gate.n_span > 0 && r->gate.span >= bytes + at &&
                      r->gate.span + r->gate.n_span <= bytes + at + used);
            cr_assert(wire_buf_add(&r->text, r->gate.span, r->gate.n_span));
        }
        if (edge == HTTP_END) add(r, "|end\n");
        if (edge == HTTP_REFUSED) {
            snprintf(line, sizeof line, "|%d %s: %s\n", r->gate.error.status, r->gate.error.code,
                     r->gate.error.message.text);
            add(r, line);
            r->refused = true;
        }
    }
}

static reading reading_new(void) {
    reading r = {0};
    http_gate_init(&r.gate, MAX_BODY);
    add(&r, "");
    return r;
}

static void reading_free(reading *r) {
    http_gate_reset(&r->gate);
    wire_buf_free(&r->text);
}

/* Each piece is a block of its own size, so that a sanitizer sees a byte read past it. */
static void feed_copy(reading *r, const char *bytes, size_t n) {
    char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    feed(r, copy, n);
    free(copy);
}

static void check_splits(const char *bytes, size_t n) {
    reading whole = reading_new(), single = reading_new();
    feed_copy(&whole, bytes, n);
    for (size_t i = 0; i < n; i++) feed_copy(&single, bytes + i, 1);
    cr_assert_str_eq(single.text.data, whole.text.data);
    for (size_t cut = 0; cut <= n; cut++) {
        reading r = reading_new();
        feed_copy(&r, bytes, cut);
        feed_copy(&r, bytes + cut, n - cut);
        cr_assert_str_eq(r.text.data, whole.text.data, "cut at %zu", cut);
        reading_free(&r);
    }
    reading_free(&whole);
    reading_free(&single);
}

/* ---- requests that pass -------------------------------------------------------------------------------- */

#define HOST "Host: a\r\n"
#define POST "POST /p HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
    const char *bytes, *text;
} passes[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 keep Host=a\n|end\n"},
    {"\r\nGET /a?b=c&d HTTP/1.1\r\nhOsT:a:80\r\n\r\n", "GET /a ?b=c&d 1.1 keep hOsT=a:80\n|end\n"},
    {"GET /a? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a ? 1.1 keep Host=a\n|end\n"},
    {"GET / HTTP/1.0\r\n\r\n", "GET / 1.0\n|end\n"},
    {"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n",
     "GET / 1.0 keep Connection=x, Keep-Alive\n|end\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo\r\nConnection: CLOSE ,bar\r\n\r\n",
     "GET / 1.1 Host=a;Connection=foo;Connection=CLOSE ,bar\n|end\n"},
    {"OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "OPTIONS * 1.1 keep Host=[::1]:8080\n|end\n"},
    {"GET http://a.b:1/x HTTP/1.1\r\nHost: A.b:1\r\n\r\n", "GET /x 1.1 keep Host=A.b:1\n|end\n"},
    {"GET /x://y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x://y 1.1 keep Host=a\n|end\n"},
    {"GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Blank: \t \r\nX-Two:\t b \t c\xc3\xa9 \r\n\r\n",
     "GET / 1.1 keep Host=a;X-Empty=;X-Blank=;X-Two=b \t c\xc3\xa9\n|end\n"},
    {POST "Content-Length: 3\r\n\r\nabc", "POST /p 1.1 keep Host=a;Content-Length=3\nabc|end\n"},
    {POST "Content-Length: 0\r\n\r\n", "POST /p 1.1 keep Host=a;Content-Length=0\n|end\n"},
    {POST "Content-Length: 003\r\nExpect: 100-Continue\r\n\r\nGET",
     "POST /p 1.1 keep expect Host=a;Content-Length=003;Expect=100-Continue\nGET|end\n"},
    {CHUNKED "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
     "POST /p 1.1 keep Host=a;Transfer-Encoding=chunked\nabc0123456789|end\n"},
    {POST "Transfer-Encoding: CHUNKED\r\n\r\n0000000000000003\r\n\r\n\r\r\n0\r\nX: y\r\nHost: b\r\n\r\n",
     "POST /p 1.1 keep Host=a;Transfer-Encoding=CHUNKED\n\r\n\r|end\n"},
    {"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" POST "Content-Length: 1\r\n\r\nx\r\nGET /2 HTTP/1.0\r\n\r\n",
     "GET /1 1.1 keep Host=a\n|end\nPOST /p 1.1 keep Host=a;Content-Length=1\nx|end\nGET /2 1.0\n|end\n"},
    {POST "Content-Length: 2\r\n\r\na", "POST /p 1.1 keep Host=a;Content-Length=2\na"},
    {"GET / HTTP/1.1\r\nHo", ""},
};

Test(http_gate, reads_requests) {
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        reading r = reading_new();
        feed_copy(&r, passes[i].bytes, strlen(passes[i].bytes));
        cr_assert_str_eq(r.text.data, passes[i].text, "%s", passes[i].bytes);
        reading_free(&r);
        check_splits(passes[i].bytes, strlen(passes[i].bytes));
    }
}

/* ---- requests that do not ------------------------------------------------------------------------------ */

#define GET_WITH(field) "GET / HTTP/1.1\r\nHost: a\r\n" field "\r\n\r\n"
#define BYTES(s) s, sizeof s - 1

/* Each refusal follows a whole request and is followed by another, which must not be read. */
static const struct {
    const char *bytes;
    size_t n;
    int status;
    const char *why;
} refusals[] = {
    {BYTES(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "both"},
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), 400, "both"},
    {BYTES(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400, "Content-Length is there twice"},
    {BYTES(POST "Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc"), 400, "Content-Length is there twice"},
    {BYTES(POST "Content-Length: 3, 3\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length: +3\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length: -3\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length: 0x3\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length: 3 3\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length: 3;\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length:\r\n\r\nabc"), 400, "no number"},
    {BYTES(POST "Content-Length: 1001\r\n\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(POST "Content-Length: 99999999999999999999999999\r\n\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(POST "Content-Length: 18446744073709551616\r\n\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(POST "Transfer-Encoding: gzip\r\n\r\n"), 400, "other than chunked"},
    {BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400, "other than chunked"},
    {BYTES(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400, "other than chunked"},
    {BYTES(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 400, "other than chunked"},
    {BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400, "other than chunked"},
    {BYTES(POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n"), 400, "other than chunked"},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400,
     "other than"},
    {BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "in HTTP/1.0"},
    {BYTES("GET / HTTP/1.1\r\n\r\n"), 400, "Host is missing"},
    {BYTES(GET_WITH("Host: a")), 400, "Host is there twice"},
    {BYTES(GET_WITH("host: b")), 400, "Host is there twice"},
    {BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400, "Host is there twice"},
    {BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400, "no name of a host"},
    {BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400, "no name of a host"},
    {BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400, "no name of a host"},
    {BYTES("GET / HTTP/1.1\r\nHost: u@b\r\n\r\n"), 400, "no name of a host"},
    {BYTES("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "name two hosts"},
    {BYTES("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "has no path"},
    {BYTES("GET http://a?x/y HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "name two hosts"},
    {BYTES("GET http:///x HTTP/1.0\r\n\r\n"), 400, "name two hosts"},
    {BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400, "name is no token"},
    {BYTES(GET_WITH("Content-Length : 3")), 400, "name is no token"},
    {BYTES(GET_WITH("X\tY: 3")), 400, "name is no token"},
    {BYTES(GET_WITH("X\xc3\xa9: 3")), 400, "name is no token"},
    {BYTES(GET_WITH(": 3")), 400, "name is no token"},
    {BYTES(GET_WITH("(x): 3")), 400, "name is no token"},
    {BYTES(GET_WITH("no colon")), 400, "no colon"},
    {BYTES(GET_WITH("X: a\r\n b")), 400, "folded"},
    {BYTES(GET_WITH("X: a\r\n\tContent-Length: 3")), 400, "folded"},
    {BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400, "folded"},
    {BYTES(GET_WITH("X: a\0b")), 400, "control byte 0x00"},
    {BYTES(GET_WITH("X\0: ab")), 400, "control byte 0x00"},
    {BYTES("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "control byte 0x00"},
    {BYTES(GET_WITH("X: a\x7f")), 400, "control byte 0x7f"},
    {BYTES(GET_WITH("X: a\x0b")), 400, "control byte 0x0b"},
    {BYTES("\x16\x03\x01\x02\x00\x01"), 400, "control byte 0x16"}, /* TLS to a server without it */
    {BYTES("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400, "a line feed without"},
    {BYTES(GET_WITH("X: a\nY: b")), 400, "a line feed without"},
    {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400, "a line feed without"},
    {BYTES(GET_WITH("X: a\rY: b")), 400, "carriage return ends no line"},
    {BYTES(GET_WITH("X: a\r\r")), 400, "carriage return ends no line"},
    {BYTES("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "empty lines"},
    {BYTES("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "carriage return ends no line"},
    {BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505, "HTTP/2.0"},
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "HTTP/2.0"},
    {BYTES("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505, "HTTP/1.2"},
    {BYTES("GET / http/1.1\r\nHost: a\r\n\r\n"), 400, "ends in no HTTP/1.1"},
    {BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400, "ends in no HTTP/1.1"},
    {BYTES("GET / HTTP/11\r\nHost: a\r\n\r\n"), 400, "ends in no HTTP/1.1"},
    {BYTES("GET /\r\nHost: a\r\n\r\n"), 400, "no METHOD TARGET"},
    {BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "no METHOD TARGET"},
    {BYTES(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "method is no token"},
    {BYTES("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "method is no token"},
    {BYTES("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "no METHOD TARGET"},
    {BYTES("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "not visible ASCII"},
    {BYTES("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "not visible ASCII"},
    {BYTES("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "begins with no /"},
    {BYTES("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "begins with no /"},
    {BYTES("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "fragment"},
    {BYTES(GET_WITH("Expect: 200-ok")), 417, "Expect"},
    {BYTES(CHUNKED "3;x=y\r\nabc\r\n0\r\n\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "3 \r\nabc\r\n0\r\n\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "+3\r\nabc\r\n0\r\n\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "-1\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "g\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "3\nabc\r\n0\r\n\r\n"), 400, "hexadecimal"},
    {BYTES(CHUNKED "3\rabc\r\n0\r\n\r\n"), 400, "ends in CR LF"},
    {BYTES(CHUNKED "\r\n"), 400, "without a size"},
    {BYTES(CHUNKED "3\r\nabcd\r\n0\r\n\r\n"), 400, "longer than its size"},
    {BYTES(CHUNKED "3\r\nabc\n0\r\n\r\n"), 400, "longer than its size"},
    {BYTES(CHUNKED "3\r\nabc\r0\r\n\r\n"), 400, "longer than its size"},
    {BYTES(CHUNKED "3e9\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(CHUNKED "1\r\nx\r\n3e8\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(CHUNKED "ffffffffffffffff\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(CHUNKED "1\r\nx\r\nffffffffffffffff\r\n"), 413, "larger than 1000 bytes"},
    {BYTES(CHUNKED "10000000000000003\r\nabc\r\n"), 400, "too long"},
    {BYTES(CHUNKED "00000000000000003\r\nabc\r\n"), 400, "too long"},
    {BYTES(CHUNKED "0\r\nX : y\r\n\r\n"), 400, "name is no token"},
    {BYTES(CHUNKED "0\r\nno colon\r\n\r\n"), 400, "no colon"},
    {BYTES(CHUNKED "0\r\n folded: y\r\n\r\n"), 400, "folded"},
    {BYTES(CHUNKED "0\r\nX: y\n\r\n"), 400, "a line feed without"},
    {BYTES(CHUNKED "0\r\n\n"), 400, "a line feed without"},
};

Test(http_gate, refuses_what_can_be_read_in_two_ways) {
    static const char before[] = "GET /before HTTP/1.0\r\n\r\n", after[] = "GET /after HTTP/1.0\r\n\r\n";
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char bytes[1000], want[32];
        size_t n = 0;
        memcpy(bytes, before, sizeof before - 1);
        n += sizeof before - 1;
        memcpy(bytes + n, refusals[i].bytes, refusals[i].n);
        n += refusals[i].n;
        memcpy(bytes + n, after, sizeof after - 1);
        n += sizeof after - 1;
        reading r = reading_new();
        feed_copy(&r, bytes, n);
        snprintf(want, sizeof want, "|%d ", refusals[i].status);
        cr_assert(strstr(r.text.data, "GET /before 1.0\n|end\n") == r.text.data);
        cr_assert(r.refused && strstr(r.text.data, want) && strstr(r.text.data, refusals[i].why), "%s: %s",
                  refusals[i].bytes, r.text.data);
        cr_assert(!strstr(r.text.data, "/after"));
        reading_free(&r);
        check_splits(bytes, n);
    }
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static int status_of(const char *bytes, size_t n) {
    reading r = reading_new();
    feed_copy(&r, bytes, n);
    const int status = r.refused ? r.gate.error.status : 0;
    if (!status) cr_assert(strstr(r.text.data, "|end\n"));
    reading_free(&r);
    return status;
}

/* "GET /aaa… HTTP/1.1", a field of `blank` bytes, and n small fields; + Host. */
static int status_of_sizes(size_t target, size_t value, int fields) {
    wire_buf b = {0};
    char *fill = malloc(1 << 16);
    memset(fill, 'a', 1 << 16);
    cr_assert(wire_buf_puts(&b, "GET /") && wire_buf_add(&b, fill, target - 1) &&
              wire_buf_puts(&b, " HTTP/1.1\r\nHost: a\r\n"));
    for (int i = 0; i < fields; i++) cr_assert(wire_buf_puts(&b, "X: y\r\n"));
    if (value)
        cr_assert(wire_buf_puts(&b, "V: ") && wire_buf_add(&b, fill, value) && wire_buf_puts(&b, "\r\n"));
    cr_assert(wire_buf_puts(&b, "\r\n"));
    const int status = status_of(b.data, b.len);
    wire_buf_free(&b);
    free(fill);
    return status;
}

Test(http_gate, bounds_heads) {
    cr_assert_eq(status_of_sizes(HTTP_TARGET_BYTES, 0, 0), 0);
    cr_assert_eq(status_of_sizes(HTTP_TARGET_BYTES + 1, 0, 0), 414);
    cr_assert_eq(status_of_sizes(60000, 0, 0), 414);
    cr_assert_eq(status_of_sizes(1, 0, HTTP_FIELDS - 1), 0);
    cr_assert_eq(status_of_sizes(1, 0, HTTP_FIELDS), 431);
    cr_assert_eq(status_of_sizes(1, HTTP_HEAD_BYTES - 200, 0), 0);
    cr_assert_eq(status_of_sizes(1, HTTP_HEAD_BYTES, 0), 431);
    cr_assert_eq(status_of_sizes(8000, 8000, 0), 0);
    cr_assert_eq(status_of_sizes(8192, 8192, 0), 431);
}

/* A head that never ends, a method that never ends, trailers that never end: none takes more memory than a
 * head may. */
Test(http_gate, bounds_memory) {
    static const char *const starts[] = {"", "GET /?", "GET / HTTP/1.1\r\nX: ", CHUNKED "0\r\nX: "};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        reading r = reading_new();
        feed_copy(&r, starts[i], strlen(starts[i]));
        for (int k = 0; k < 100 && !r.refused; k++) {
            static const char fill[1000] = {[0 ... 999] = 'a'};
            feed_copy(&r, fill, sizeof fill);
            cr_assert_leq(r.gate.head.cap, 2 * HTTP_HEAD_BYTES);
        }
        cr_assert(r.refused && (r.gate.error.status == 431 || r.gate.error.status == 414));
        reading_free(&r);
    }
}

/* ---- many requests in a row ---------------------------------------------------------------------------- */

static size_t below(uint64_t *rng, size_t n) { return (size_t)(rng_u64(rng) % n); }

static void put(wire_buf *b, const char *s) { cr_assert(wire_buf_puts(b, s)); }

/* A body that looks like requests and chunks. */
static size_t random_body(uint64_t *rng, char *out, size_t cap) {
    static const char *const words[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "0\r\n\r\n", "\r\n", "x",
                                        "5\r\n"};
    size_t n = 0;
    for (size_t k = below(rng, 6); k > 0; k--) {
        const char *w = words[below(rng, 5)];
        if (n + strlen(w) <= cap) memcpy(out + n, w, strlen(w)), n += strlen(w);
    }
    return n;
}

static void random_request(uint64_t *rng, wire_buf *bytes, wire_buf *text) {
    char body[200], line[100];
    const size_t n = random_body(rng, body, sizeof body);
    const bool chunked = below(rng, 2);
    if (chunked) {
        put(bytes, CHUNKED);
        put(text, "POST /p 1.1 keep Host=a;Transfer-Encoding=chunked\n");
        for (size_t at = 0, take; at < n; at += take) {
            take = 1 + below(rng, n - at);
            snprintf(line, sizeof line, "%zx\r\n", take);
            put(bytes, line);
            cr_assert(wire_buf_add(bytes, body + at, take));
            put(bytes, "\r\n");
        }
        put(bytes, below(rng, 2) ? "0\r\n\r\n" : "0\r\nT: x\r\n\r\n");
    } else {
        snprintf(line, sizeof line, POST "Content-Length: %zu\r\n\r\n", n);
        put(bytes, line);
        cr_assert(wire_buf_add(bytes, body, n));
        snprintf(line, sizeof line, "POST /p 1.1 keep Host=a;Content-Length=%zu\n", n);
        put(text, line);
    }
    cr_assert(wire_buf_add(text, body, n));
    put(text, "|end\n");
}

Test(http_gate, knows_where_the_next_head_begins) {
    uint64_t rng = 14;
    for (int round = 0; round < 300; round++) {
        wire_buf bytes = {0}, want = {0};
        for (size_t k = 1 + below(&rng, 12); k > 0; k--) random_request(&rng, &bytes, &want);
        reading r = reading_new();
        for (size_t at = 0, n; at < bytes.len; at += n) {
            n = 1 + below(&rng, below(&rng, 2) ? 4 : 200);
            if (n > bytes.len - at) n = bytes.len - at;
            feed_copy(&r, bytes.data + at, n);
        }
        cr_assert_str_eq(r.text.data, want.data);
        cr_assert(http_gate_idle(&r.gate));
        reading_free(&r);
        wire_buf_free(&bytes);
        wire_buf_free(&want);
    }
}

/* ---- memory -------------------------------------------------------------------------------------------- */

Test(http_gate, says_when_memory_is_short) {
    static const char bytes[] = CHUNKED "3\r\nabc\r\n0\r\nTrailer: of-some-length\r\n\r\n";
    bool went_well = false;
    for (long fail = 1; !went_well; fail++) {
        alloc_install(fail);
        http_gate g;
        http_gate_init(&g, MAX_BODY);
        http_edge edge = HTTP_MORE;
        for (size_t at = 0, used; edge != HTTP_REFUSED && !went_well; at += used) {
            edge = http_gate_feed(&g, bytes + at, sizeof bytes - 1 - at, &used);
            went_well = edge == HTTP_END;
        }
        if (edge == HTTP_REFUSED) cr_assert_eq(g.error.status, 500, "%s", g.error.message.text);
        http_gate_reset(&g);
        cr_assert_eq(alloc_live(), 0);
        alloc_uninstall();
        cr_assert_lt(fail, 100);
    }
}
