#ifndef WEIR_HOST_SERVE_WATCH_LOG_H
#define WEIR_HOST_SERVE_WATCH_LOG_H

#include "host/serve/watch/line.h"
#include "host/weir.h"

/* The request log: a line for each exchange that has ended, written by a thread of its own from a ring. Who
 * adds a line never waits for a disk or a terminal. When the ring is full, or the line cannot be written, it
 * is dropped and counted, and the log says how many were once it can. */
typedef struct watch_log watch_log;

typedef struct watch_log_options {
    const char *path;  /* appended to; NULL = standard error */
    bool json;         /* JSON Lines */
    size_t ring_bytes; /* a multiple of a page is not needed; 0 = 1 MiB */
} watch_log_options;

weir_status watch_log_open(watch_log **out, const watch_log_options *opt, weir_err *err);
/* Writes what waits, as long as that makes progress, then ends the thread. NULL allowed. */
void watch_log_close(watch_log *l);

/* Any thread. /health and /metrics are left out: probes would be most of the log. l NULL: nothing. */
void watch_log_request(watch_log *l, const watch_request *r);
void watch_log_reopen(watch_log *l); /* by name, after a rotation; any thread, NULL allowed */
uint64_t watch_log_dropped(const watch_log *l);

#endif /* WEIR_HOST_SERVE_WATCH_LOG_H */
