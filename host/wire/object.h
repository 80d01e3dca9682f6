#ifndef WEIR_HOST_WIRE_OBJECT_H
#define WEIR_HOST_WIRE_OBJECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/weir.h"

/* One JSON object that somebody sent: a line of input, the body of a request. A failure is one line in
 * err: the field in quotes where there is one, what is wrong, what was expected. It does not say where the
 * object came from: the caller knows. */
typedef struct wire_object {
    json_t *json;
    const char *text; /* as it was written, borrowed; NULL of an object inside another one */
    size_t bytes;
    const char *failed; /* the field that the last failure is about, borrowed; NULL = none */
} wire_object;

/* Once, before there are threads: the JSON library calls a text malformed when it has no memory for it; from
 * then on that is ENOMEM. */
void wire_watch_json_memory(void);

/* EFORMAT: not JSON, or no object; ENOMEM. Keys are unique, text may hold NUL bytes. */
weir_status wire_object_parse(wire_object *o, const char *text, size_t n, weir_err *err);
void wire_object_free(wire_object *o); /* not of an inner object: its json is the outer one's */

/* EINVAL with a line about this field. */
weir_status wire_object_fail(wire_object *o, const char *key, weir_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

bool wire_object_has(const wire_object *o, const char *key);
void wire_object_drop_nulls(wire_object *o); /* fields that are null are then absent */
/* Whether a text has brackets nested deeper than this; for a look before a parser's recursion. */
bool wire_text_deeper(const char *text, size_t n, int depth);

/* Fields. Each gives OK and leaves the output alone when the field is absent; *seen (NULL allowed) is set
 * when it is present. null is a value like others, of the wrong type. */
weir_status wire_read_int(wire_object *o, const char *key, int64_t lo, int64_t hi, int64_t *out, bool *seen,
                          weir_err *err);
weir_status wire_read_uint(wire_object *o, const char *key, uint64_t *out, bool *seen, weir_err *err);
weir_status wire_read_number(wire_object *o, const char *key, double *out, bool *seen, weir_err *err);
weir_status wire_read_bool(wire_object *o, const char *key, bool *out, bool *seen, weir_err *err);
/* borrowed from the object, zero-terminated, maybe with NUL bytes inside */
weir_status wire_read_text(wire_object *o, const char *key, const char **out, size_t *n, bool *seen,
                           weir_err *err);
/* owned by the caller: weir_free() */
weir_status wire_read_ids(wire_object *o, const char *key, int32_t **out, size_t *n, bool *seen,
                          weir_err *err);
weir_status wire_read_floats(wire_object *o, const char *key, float **out, size_t *n, bool *seen,
                             weir_err *err);

/* A number's range. Numbers end up in 32-bit floats or integers: one that would become infinite there, or
 * an excluded end of the range, is outside. */
bool wire_in_range(double lo, double hi, bool lo_open, double x);
/* "0 to 2", "above 0 to 1", "at least 1", "" where any number is fine; written to buf. */
void wire_range_text(double lo, double hi, bool lo_open, char *buf, size_t cap);
/* The same for a message: always both ends. */
void wire_range_expected(double lo, double hi, bool lo_open, char *buf, size_t cap);

#endif /* WEIR_HOST_WIRE_OBJECT_H */
