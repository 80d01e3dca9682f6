#ifndef WEIR_HOST_SERVE_WATCH_METRICS_H
#define WEIR_HOST_SERVE_WATCH_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/serve/watch/kinds.h"
#include "host/weir.h"
#include "host/wire/buf.h"

/* What the server counts, as Prometheus reads it (text format 0.0.4). Names and buckets are vLLM's where vLLM
 * has the metric. Updates are atomic additions: any thread, no lock, no memory. Labels have values from fixed
 * tables only, so a request can add neither text nor series. */
typedef struct watch_metrics watch_metrics;

#define WATCH_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef struct watch_metrics_options {
    const char *prefix;       /* "weir", "vllm": a name of Prometheus without a colon; NULL = "weir" */
    const char *model_name;   /* label of every sample, as in vLLM; any text */
    const char *device;       /* label of build_info */
    const char *const *paths; /* of the routes; they and their strings outlive the metrics */
    size_t n_path;
    int max_draft; /* positions that are shown, 0 … WEIR_GAMMA_MAX */
    void (*gauges)(void *ud,
                   watch_gauges *out); /* called by watch_metrics_write, on its thread; NULL: zeros */
    void *ud;
} watch_metrics_options;

/* EINVAL: a prefix that is no name. */
weir_status watch_metrics_open(watch_metrics **out, const watch_metrics_options *opt, weir_err *err);
void watch_metrics_close(watch_metrics *m); /* NULL allowed */

/* All of it onto b. False: out of memory, and part of it may be there. */
bool watch_metrics_write(const watch_metrics *m, wire_buf *b);

/* ---- updates ------------------------------------------------------------------------------------------- */

/* A choice that has ended: one session. Seconds are NaN where it never came to that. */
typedef struct watch_choice {
    watch_finish finish;
    watch_phase phase; /* of an aborted one: where it was */
    weir_rule rule;
    bool eos;               /* end-of-text ended it: counts as a token, as in usage */
    bool reads_prompt;      /* its prompt is counted; false for further choices of the same prompt */
    int64_t cached;         /* of its prompt's tokens: what the verifier took from the prefix cache */
    bool cache_asked;       /* the prefix cache was looked up */
    double queue_seconds;   /* submit to first slice */
    double prefill_seconds; /* first slice to first token */
    double first_seconds;   /* arrival to first token */
    double seconds;         /* arrival to end */
    weir_session_stats stats;
} watch_choice;

void watch_choice_ended(watch_metrics *m, const watch_choice *c);

/* n tokens of one session came, `seconds` after its last ones; NaN: they are its first. A block's tokens come
 * together: each counts with its share, so that sum / count is the time per token. */
void watch_tokens(watch_metrics *m, int n, double seconds);
void watch_step(watch_metrics *m, double seconds); /* one weir_step */

/* An exchange is over. path: of the route table, anything else counts as "other". */
void watch_http_ended(watch_metrics *m, const char *path, int status);
/* A request was not taken: code of its serve_error. */
void watch_rejected(watch_metrics *m, const char *code);
void watch_unknown_fields(watch_metrics *m, int n);

#endif /* WEIR_HOST_SERVE_WATCH_METRICS_H */
