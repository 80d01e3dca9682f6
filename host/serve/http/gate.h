#ifndef WEIR_HOST_SERVE_HTTP_GATE_H
#define WEIR_HOST_SERVE_HTTP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/serve/error.h"
#include "host/wire/buf.h"

/* What a connection sends, cut into requests: RFC 9112, strictly. Where programs disagree about a request's
 * length, one in front of this server may see other requests than it does (request smuggling); so whatever
 * could be read in two ways is refused. Bytes may come in any pieces; the result is the same. */
enum { HTTP_HEAD_BYTES = 16 << 10, HTTP_TARGET_BYTES = 8 << 10, HTTP_FIELDS = 100 };

typedef enum http_edge {
    HTTP_MORE,    /* all bytes are used */
    HTTP_HEAD,    /* the head is whole */
    HTTP_BODY,    /* span: some of the body */
    HTTP_END,     /* the request is whole */
    HTTP_REFUSED, /* error says why; what follows must never be read as a request */
} http_edge;

typedef struct http_gate {
    uint64_t max_body;
    int state;
    bool cr;               /* the last byte of a line was a carriage return */
    bool first_empty;      /* an empty line came before the request */
    wire_buf head;         /* and trailers; strings end in zeros once their line was read */
    size_t line;           /* where the line began */
    size_t spaces, target; /* in the request line; the target's bytes */
    int n_field, n_trailer;
    uint16_t name[HTTP_FIELDS], value[HTTP_FIELDS]; /* offsets into head */
    size_t path, query;                             /* offsets into head; query 0 = none */
    bool http11, keep, expect, has_body, chunked;
    int digits;       /* of a chunk's size */
    uint64_t left;    /* bytes of the body, or of the chunk, that must come */
    uint64_t n_body;  /* bytes of the body that came or were announced */
    const char *span; /* of HTTP_BODY, in the bytes that were fed */
    size_t n_span;
    serve_error error;
} http_gate;

void http_gate_init(http_gate *g, uint64_t max_body);
/* Frees; the gate then waits for a request, as after http_gate_init. */
void http_gate_reset(http_gate *g);

/* Reads up to the next edge; `used` of the n bytes were read. To be called again, with n = 0 if all are used,
 * until it returns HTTP_MORE. The head remains until http_gate_reset or a byte after HTTP_END. */
http_edge http_gate_feed(http_gate *g, const char *bytes, size_t n, size_t *used);
bool http_gate_idle(const http_gate *g); /* between two requests */

/* Valid from HTTP_HEAD on. */
const char *http_gate_method(const http_gate *g);
const char *http_gate_path(const http_gate *g);
const char *http_gate_header(const http_gate *g, const char *name); /* the first; NULL: none */

#endif /* WEIR_HOST_SERVE_HTTP_GATE_H */
