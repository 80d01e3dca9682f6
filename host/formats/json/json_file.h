#ifndef WEIR_HOST_FORMATS_JSON_JSON_FILE_H
#define WEIR_HOST_FORMATS_JSON_JSON_FILE_H

#include <jansson.h>

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Small files read whole, and JSON objects out of them, with errors of one line that name the file. Internal
 * to host/formats: front ends never see a jansson type. */

/* The last 200 bytes of a path or label, so that a long one leaves room for the reason. */
const char *weir__label(const char *path);

/* dir/name in a weir_alloc buffer. ENOMEM. */
weir_status weir__path_join(char **out, const char *dir, const char *name, weir_err *err);

/* An ordinary file opened for reading; *bytes is its size. EIO with errno's text, or that it is not a
 * file. */
weir_status weir__file_open(const char *path, int *fd, size_t *bytes, weir_err *err);

/* The whole file in a weir_alloc buffer of *bytes (not zero-terminated). EIO, EFORMAT if larger than max,
 * ENOMEM. */
weir_status weir__file_read(const char *path, size_t max, char **text, size_t *bytes, weir_err *err);

/* Parses one JSON object as Python's and Rust's readers do: the last value of a key that comes twice counts,
 * numbers may have any size (json_lenient.c), escaped zero characters become WEIR_JSON_ZERO. The caller drops
 * the reference with json_decref. EFORMAT with line and column, ENOMEM. */
weir_status weir__json_object(const char *text, size_t bytes, const char *label, json_t **out, weir_err *err);

/* The same for headers whose format is defined to the byte: duplicate keys, numbers past 64 bits and escaped
 * zero bytes are errors. */
weir_status weir__json_strict(const char *text, size_t bytes, const char *label, json_t **out, weir_err *err);

/* U+10FFFF, a noncharacter. */
#define WEIR_JSON_ZERO "\xf4\x8f\xbf\xbf"

/* The text as jansson takes it, by weir_alloc; NULL where it already is so. ENOMEM. */
weir_status weir__json_lenient(const char *text, size_t bytes, char **out, size_t *n_out);

/* weir__file_read and weir__json_object. */
weir_status weir__json_file(const char *path, size_t max, json_t **out, weir_err *err);

#endif /* WEIR_HOST_FORMATS_JSON_JSON_FILE_H */
