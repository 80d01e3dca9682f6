#ifndef WEIR_HOST_SERVE_ERROR_H
#define WEIR_HOST_SERVE_ERROR_H

#include <stdbool.h>

#include "host/weir.h"
#include "host/wire/buf.h"

/* Why a request is refused, as its client reads it. */
typedef struct serve_error {
    int status;       /* of HTTP: 400 … 599; 0 = no error */
    const char *code; /* a word: "context_length_exceeded"; static */
    char param[64];   /* the field it is about; "" = none */
    weir_err message; /* one line */
    int retry_after;  /* seconds, for the header Retry-After; 0 = none */
} serve_error;

/* Fills e; param NULL = none. Returns false, so that `return serve_fail(e, …)` ends a function that says
 * whether it went well. */
bool serve_fail(serve_error *e, int status, const char *code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* A failure of the engine: 400 with the code of what the user can mend (context_length_exceeded for
 * WEIR_ETOOLONG, else invalid_request), 503 queue_full for WEIR_EPAGES, 500 internal_error for the
 * rest. */
bool serve_fail_status(serve_error *e, weir_status s, const weir_err *err);

/* {"error":{"message","type","param","code"}} onto b. False: out of memory. */
bool serve_error_write(const serve_error *e, wire_buf *b);

#endif /* WEIR_HOST_SERVE_ERROR_H */
