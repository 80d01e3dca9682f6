#ifndef WEIR_HOST_SERVE_API_BODY_H
#define WEIR_HOST_SERVE_API_BODY_H

#include "host/serve/api/server.h"
#include "host/serve/error.h"
#include "host/wire/request.h"
#include "host/wire/settings.h"

enum { API_MAX_IGNORED = 64 };

/* The body of a request while it is read. Functions give false once *e says what is wrong. */
typedef struct api_body {
    const api_server *server;
    unsigned where; /* whose fields: WIRE_CHAT, … */
    wire_object in;
    weir_err err; /* for wire functions; api_body_ok passes it on */
    serve_error *e;
    json_t *ignored; /* names of unknown fields, the first API_MAX_IGNORED; NULL: none */
    int n_ignored;
} api_body;

/* Parses it, without its null fields. Freed by the caller after a failure too. */
bool api_body_parse(api_body *b, const api_server *s, unsigned where, const char *text, size_t n,
                    serve_error *e);
/* The same, and looks at the name of every field. */
bool api_body_open(api_body *b, const api_server *s, unsigned where, const char *text, size_t n,
                   serve_error *e);
void api_body_free(api_body *b);

/* Of a wire function's status, with b->err. */
bool api_body_ok(api_body *b, weir_status s);
/* 400 about a field, whose name begins the line. */
bool api_body_fail(api_body *b, const char *code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool api_no_memory(serve_error *e);

/* Fields by the table, with its ranges; outputs stay as they are where there is no such field. */
bool api_body_flag(api_body *b, wire_id id, bool *out);
bool api_body_count(api_body *b, wire_id id, int *out);
bool api_body_text(api_body *b, wire_id id, const char **out, size_t *n); /* borrowed */
bool api_body_has(const api_body *b, wire_id id);

/* An unknown name is put among those that were ignored; one that looks like a mistake is refused. */
bool api_body_ignore(api_body *b, const char *prefix, const char *name);

/* ---- fields that other servers have ---- */

typedef enum api_other { API_UNKNOWN, API_NEUTRAL, API_REFUSED, API_NO_MEMORY } api_other;
/* Neutral: its value asks for nothing, or its nature does. *accepted: the values of a refused one. */
api_other api_other_field(unsigned where, const char *name, const json_t *value, const json_t *whole,
                          const char **accepted);
/* The known name within two letters of this one; NULL: none. */
const char *api_near_field(unsigned where, const char *name);

#endif /* WEIR_HOST_SERVE_API_BODY_H */
