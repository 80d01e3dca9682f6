#ifndef WEIR_HOST_SERVE_WATCH_KINDS_H
#define WEIR_HOST_SERVE_WATCH_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* vLLM's finished_reason: "stop", "length", "abort", "error" */
typedef enum watch_finish {
    WATCH_FINISH_STOP,
    WATCH_FINISH_LENGTH,
    WATCH_FINISH_ABORT, /* the client left, or the server closed */
    WATCH_FINISH_ERROR,
    WATCH_N_FINISH
} watch_finish;

typedef enum watch_phase { WATCH_QUEUED, WATCH_PREFILL, WATCH_RUNNING, WATCH_N_PHASE } watch_phase;

/* What is known elsewhere and asked for at each scrape. */
typedef struct watch_gauges {
    int running, waiting, connections;
    double kv_usage[2]; /* share of the pages in use, 0 … 1: [0] verifier, [1] drafter; NaN = no such model */
    size_t buffered;    /* bytes that wait for their peers */
    uint64_t preemptions;               /* requests suspended so far */
    int ranks;                          /* that share the models: 1, 2, 4, 8 */
    bool ranks_ended;                   /* their group has failed */
    uint64_t rank_exchanges, rank_sent; /* so far: exchanges, bytes from rank 0 to each of the others */
    uint64_t log_dropped;               /* lines so far */
} watch_gauges;

#endif /* WEIR_HOST_SERVE_WATCH_KINDS_H */
