#ifndef WEIR_HOST_CLI_JSON_H
#define WEIR_HOST_CLI_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/cli/io.h"
#include "host/weir.h"

/* JSON lines in and out. Reading: one object a line, every failure one message with the place and the field.
 * Writing: numbers that do not exist are null, text is valid UTF-8, reals carry nine digits (every float
 * comes back as it was). */

typedef struct cli_line {
    json_t *object;
    const char *name; /* of the input, borrowed */
    long number;      /* of the line, from 1 */
    const char *text; /* as it was read, borrowed; NULL of an object inside a line */
    size_t bytes;
} cli_line;

/* 0, or CLI_FAILED after a message. */
int cli_line_parse(cli_line *l, const char *name, long number, const char *text, size_t n);
void cli_line_free(cli_line *l);

/* CLI_FAILED after a message that names the place and the field. */
int cli_line_fail(const cli_line *l, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Refuses fields that are not in known (n names). */
int cli_line_known(const cli_line *l, const char *const *known, int n);

/* Each gives CLI_OK and leaves *out alone when the field is absent; *seen (NULL allowed) is set when
 * present. */
int cli_line_int(const cli_line *l, const char *key, int64_t lo, int64_t hi, int64_t *out, bool *seen);
int cli_line_uint(const cli_line *l, const char *key, uint64_t *out, bool *seen); /* 0 … 2^64 - 1 */
int cli_line_float(const cli_line *l, const char *key, float *out, bool *seen); /* finite as a 32-bit float */
int cli_line_number(const cli_line *l, const char *key, double *out, bool *seen);
int cli_line_bool(const cli_line *l, const char *key, bool *out, bool *seen);
/* borrowed from l */
int cli_line_text(const cli_line *l, const char *key, const char **out, size_t *n, bool *seen);
/* Allocated with cli_alloc: weir_free() by the caller. */
int cli_line_ids(const cli_line *l, const char *key, int32_t **out, size_t *n, bool *seen);
int cli_line_floats(const cli_line *l, const char *key, float **out, size_t *n, bool *seen);

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Values; NULL on no memory, which cli_json_set and cli_json_add remember until the next cli_json_write. */
json_t *cli_json_real(double x);
json_t *cli_json_knob(float x); /* a setting: 0.3f is written 0.3, as the user did */
json_t *cli_json_text(const char *bytes, size_t n);
json_t *cli_json_floats(const float *x, size_t n);
json_t *cli_json_ids(const int32_t *ids, size_t n);
void cli_json_set(json_t *object, const char *key, json_t *value); /* takes the value */
void cli_json_device(json_t *object, const weir_engine_facts *f);  /* device, about, isa, threads */
void cli_json_add(json_t *array, json_t *value);

/* One line; takes the value. CLI_OK or CLI_FAILED after a message. To standard output, or onto b where
 * given. */
int cli_json_write(json_t *value, cli_buf *b);

#endif /* WEIR_HOST_CLI_JSON_H */
