#ifndef WEIR_HOST_JINJA_JINJA_H
#define WEIR_HOST_JINJA_JINJA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "kernels/base/status.h"

/* Jinja as chat templates use it: a template is parsed once and rendered with a tree of values. The text that
 * comes out is that of Python's jinja2 in the environment that transformers makes for chat templates;
 * README.md lists what is not supported. Every byte of the result is marked with its writer: the template, or
 * its input. */

/* A parsed template: read-only, calls from several threads are safe. */
typedef struct weir_jinja weir_jinja;

/* source: any bytes. EFORMAT: a syntax error; ENOTSUP: a statement, filter or test that is left out; both
 * as "line N: …"; ENOMEM. */
weir_status weir__jinja_parse(weir_jinja **out, const char *source, size_t bytes, weir_err *err);
void weir__jinja_free(weir_jinja *t); /* NULL allowed */

/* ---- values that a template is given ---------------------------------------------------------------- */

typedef enum weir_jinja_kind {
    WEIR_JINJA_NONE = 0,
    WEIR_JINJA_BOOL,
    WEIR_JINJA_INT,
    WEIR_JINJA_FLOAT,
    WEIR_JINJA_STRING,
    WEIR_JINJA_LIST,
    WEIR_JINJA_DICT,
} weir_jinja_kind;

typedef struct weir_jinja_input {
    const char *key; /* of a dict's item, or the name of a variable */
    weir_jinja_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const char *text; /* any bytes */
            size_t bytes;
            bool trusted; /* counts as written by the template (the text of its bos_token, say) */
        } string;
        struct {
            const struct weir_jinja_input *at;
            size_t n;
        } items; /* LIST, DICT */
    } as;
} weir_jinja_input;

/* ---- rendering -------------------------------------------------------------------------------------- */

/* Zero in a field: the default. */
typedef struct weir_jinja_options {
    const struct tm *now; /* for strftime_now; NULL: the clock, local time */
    size_t max_steps;     /* of the evaluator; 20 million, plus one per byte of input */
    size_t max_bytes;     /* of memory; 256 MiB, and 64 a byte of input */
    size_t max_output;    /* bytes; 16 MiB, and 4 a byte of input */
    int max_depth;        /* of nested expressions, blocks and calls; 600 */
} weir_jinja_options;

/* Consecutive bytes of one writer. */
typedef struct weir_jinja_span {
    const char *text; /* not zero-terminated */
    size_t bytes;
    bool of_template; /* written by the template; false: taken or derived from what it was given */
} weir_jinja_span;

typedef struct weir_jinja_text {
    char *text; /* all of it, zero-terminated */
    size_t bytes;
    weir_jinja_span *spans; /* in order, none empty, neighbours of different writers */
    size_t n;
} weir_jinja_text;

/* EINVAL: the template raised an error, in its own words or Python's, as "line N: …"; ENOTSUP: it used
 * what is left out, or went over a bound; ENOMEM. */
weir_status weir__jinja_render(const weir_jinja *t, const weir_jinja_input *variables, size_t n,
                               const weir_jinja_options *options, weir_jinja_text *out, weir_err *err);
void weir__jinja_text_free(weir_jinja_text *text); /* zeroed struct allowed */

#endif /* WEIR_HOST_JINJA_JINJA_H */
