#include "host/serve/http/gate.h"

#include <string.h>
#include <strings.h>

#include "host/serve/http/head.h"

enum { START, REQUEST, FIELD, DATA, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, DONE, REFUSED };

void http_gate_init(http_gate *g, uint64_t max_body) { *g = (http_gate){.max_body = max_body}; }

void http_gate_reset(http_gate *g) {
    wire_buf_free(&g->head);
    http_gate_init(g, g->max_body);
}

bool http_gate_idle(const http_gate *g) { return g->state == START && !g->cr && !g->first_empty; }

const char *http_gate_method(const http_gate *g) { return g->head.data; }
const char *http_gate_path(const http_gate *g) { return g->head.data + g->path; }

const char *http_gate_header(const http_gate *g, const char *name) {
    for (int i = 0; i < g->n_field; i++)
        if (strcasecmp(g->head.data + g->name[i], name) == 0) return g->head.data + g->value[i];
    return NULL;
}

/* The line that ends before the CR LF just read. */
static bool line_read(http_gate *g) {
    char *line = g->head.data + g->line;
    const size_t n = g->head.len - g->line;
    if (g->state == REQUEST) {
        g->state = FIELD;
        if (!http_head_request(g, line, n)) return false;
    } else if (n > 0) {
        if (!http_head_field(g, line, n, g->state == TRAILER)) return false;
    } else if (g->state == TRAILER) {
        g->state = DONE;
    } else {
        if (!http_head_check(g)) return false;
        g->state = !g->has_body ? DONE : g->chunked ? CHUNK_SIZE : DATA;
    }
    g->line = g->head.len;
    return true;
}

/* The byte after a carriage return; the line's text then ends in the zero that wire_buf_add wrote. */
static bool line_end(http_gate *g, unsigned char b) {
    if (b != '\n') return serve_fail(&g->error, 400, "bad_head", NULL, "a carriage return ends no line");
    g->cr = false;
    if (g->state == START) { /* RFC 9112, 2.2: an empty line before a request is passed over */
        if (g->first_empty)
            return serve_fail(&g->error, 400, "bad_head", NULL, "empty lines before a request");
        return g->first_empty = true;
    }
    if (!wire_buf_add(&g->head, "", 1))
        return serve_fail(&g->error, 500, "internal_error", NULL, "out of memory");
    g->head.len--; /* line_read sees the text alone; the next line begins after its zero */
    if (!line_read(g)) return false;
    g->head.len++;
    g->line++;
    return true;
}

static bool sizes(http_gate *g) {
    if (g->state == REQUEST && g->target > HTTP_TARGET_BYTES)
        return serve_fail(&g->error, 414, "target_too_long", NULL,
                          "the request's target is longer than %d bytes", HTTP_TARGET_BYTES);
    if (g->head.len >= HTTP_HEAD_BYTES)
        return serve_fail(&g->error, 431, "head_too_large", NULL,
                          "the request's head is longer than %d bytes", HTTP_HEAD_BYTES);
    return true;
}

/* A byte of the head or of the trailers. */
static bool head_byte(http_gate *g, char byte) {
    const unsigned char b = (unsigned char)byte;
    if (g->cr) return line_end(g, b);
    if (b == '\r') return g->cr = true;
    if (b == '\n')
        return serve_fail(&g->error, 400, "bad_head", NULL, "a line feed without a carriage return");
    if ((b < 0x20 && b != '\t') || b == 0x7f)
        return serve_fail(&g->error, 400, "bad_head", NULL, "control byte 0x%02x in the head", b);
    if (g->state == START) g->state = REQUEST;
    if (!wire_buf_add(&g->head, &byte, 1))
        return serve_fail(&g->error, 500, "internal_error", NULL, "out of memory");
    if (b == ' ')
        g->spaces++;
    else if (g->spaces == 1)
        g->target++;
    return sizes(g);
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool chunk_begins(http_gate *g) {
    if (g->digits == 0) return serve_fail(&g->error, 400, "bad_body", NULL, "a chunk without a size");
    if (g->left > g->max_body - g->n_body) return http_head_too_large(g);
    g->n_body += g->left;
    g->state = g->left ? CHUNK_DATA : TRAILER;
    g->digits = 0;
    return true;
}

/* A byte of a chunk's size line. Extensions are refused: nobody sends them but to hide something. */
static bool size_byte(http_gate *g, char b) {
    if (g->cr) {
        g->cr = false;
        if (b != '\n') return serve_fail(&g->error, 400, "bad_body", NULL, "a chunk's size ends in CR LF");
        return chunk_begins(g);
    }
    if (b == '\r') return g->cr = true;
    const int digit = hex(b);
    if (digit < 0)
        return serve_fail(&g->error, 400, "bad_body", NULL, "a chunk's size is hexadecimal digits only");
    if (++g->digits > 16) return serve_fail(&g->error, 400, "bad_body", NULL, "a chunk's size is too long");
    if (g->digits == 1) g->left = 0;
    g->left = g->left << 4 | (uint64_t)digit;
    return true;
}

static bool chunk_end_byte(http_gate *g, char b) {
    if (b != (g->cr ? '\n' : '\r'))
        return serve_fail(&g->error, 400, "bad_body", NULL, "a chunk is longer than its size");
    if (g->cr) g->state = CHUNK_SIZE;
    g->cr = !g->cr;
    return true;
}

static bool byte_read(http_gate *g, char b) {
    switch (g->state) {
    case CHUNK_SIZE: return size_byte(g, b);
    case CHUNK_END: return chunk_end_byte(g, b);
    default: return head_byte(g, b);
    }
}

static void body_span(http_gate *g, const char *bytes, size_t n) {
    g->span = bytes;
    g->n_span = g->left < n ? (size_t)g->left : n;
    g->left -= g->n_span;
    if (g->left == 0) g->state = g->state == DATA ? DONE : CHUNK_END;
}

http_edge http_gate_feed(http_gate *g, const char *bytes, size_t n, size_t *used) {
    *used = 0;
    if (g->state == DONE) {
        g->state = START;
        g->first_empty = false;
        return HTTP_END;
    }
    while (*used < n && g->state != REFUSED) {
        if (g->state == START && g->head.len) http_gate_reset(g);
        if (g->state == DATA || g->state == CHUNK_DATA) {
            body_span(g, bytes + *used, n - *used);
            *used += g->n_span;
            return HTTP_BODY;
        }
        const bool in_head = g->state <= FIELD;
        if (!byte_read(g, bytes[(*used)++]))
            g->state = REFUSED;
        else if (in_head && g->state > FIELD)
            return HTTP_HEAD;
        else if (g->state == DONE)
            return http_gate_feed(g, NULL, 0, &(size_t){0});
    }
    return g->state == REFUSED ? HTTP_REFUSED : HTTP_MORE;
}
