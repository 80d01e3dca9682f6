#ifndef WEIR_HOST_FORMATS_JSON_FILE_H
#define WEIR_HOST_FORMATS_JSON_FILE_H

#include <jansson.h>

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Small files read whole, and JSON objects out of them, with errors of one line that name the file. Internal to
 * host/formats: front ends never see a jansson type. */

/* The last 200 bytes of a path or label, so that a long one leaves room for the reason. */
const char *weir__label(const char *path);

/* An ordinary file opened for reading; *bytes is its size. EIO with errno's text, or that it is not a file. */
weir_status weir__file_open(const char *path, int *fd, size_t *bytes, weir_err *err);

/* The whole file in a weir_alloc buffer of *bytes (not zero-terminated). EIO, EFORMAT if larger than max, ENOMEM. */
weir_status weir__file_read(const char *path, size_t max, char **text, size_t *bytes, weir_err *err);

/* Parses one JSON object; duplicate keys are an error, as are invalid UTF-8 and escaped zero bytes. The caller
 * drops the reference with json_decref. EFORMAT with line and column, ENOMEM. */
weir_status weir__json_object(const char *text, size_t bytes, const char *label, json_t **out, weir_err *err);

/* Both in one. */
weir_status weir__json_file(const char *path, size_t max, json_t **out, weir_err *err);

#endif /* WEIR_HOST_FORMATS_JSON_FILE_H */
