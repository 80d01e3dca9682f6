#ifndef WEIR_HOST_SERVE_WATCH_LINE_H
#define WEIR_HOST_SERVE_WATCH_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "host/wire/buf.h"

/* One exchange, as the request log tells it. Neither texts nor keys are here, so none can be logged. */
typedef struct watch_request {
    const char *id, *peer; /* of the peer's choosing: escaped */
    const char *route;     /* of the route table, never the path that was asked for; NULL: unknown */
    int status;
    double seconds;
    int n_choice;                        /* 0: no answer was begun, and the rest is not written */
    double queue_seconds, first_seconds; /* NaN: it never came to that */
    int64_t prompt, cached, output, drafted, accepted; /* tokens, of all choices */
    const char *rule;                                  /* its name; NULL: none */
    const char *end; /* "stop", "cancelled", the code of an error; NULL: none */
} watch_request;

enum { WATCH_LINE_MAX = 4096 }; /* bytes of a line with its end; fields are cut so that they fit */

/* "2026-11-29T02:40:06.123Z" into out. */
void watch_line_time(struct timespec now, char out[32]);

/* The line with its end: fields between spaces, or one JSON object. Bytes of id and peer other than visible
 * ASCII are escaped in both, so that a log on a terminal stays one. The number of bytes in line. */
size_t watch_line_text(const watch_request *r, struct timespec now, char line[WATCH_LINE_MAX]);
size_t watch_line_json(const watch_request *r, struct timespec now, char line[WATCH_LINE_MAX]);

#endif /* WEIR_HOST_SERVE_WATCH_LINE_H */
