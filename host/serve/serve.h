#ifndef WEIR_HOST_SERVE_SERVE_H
#define WEIR_HOST_SERVE_SERVE_H

#include "host/serve/api/server.h"
#include "host/serve/http/http.h"

/* weir serve: a pair behind OpenAI's API. What the command line decides is here; serve_run does the rest. */
typedef struct serve_options {
    http_options http;
    const char *const *keys; /* (n_key) lists separated by commas */
    size_t n_key;
    const char *key_file;
    bool no_auth; /* allow everybody on an address that others can reach */

    /* Opens the engine, on a thread of its own while the server already answers "loading". False after a
     * message of its own. */
    bool (*open_engine)(void *ud, weir_engine **out);
    void *ud;
    api_server api; /* engine, facts and fingerprint are filled in once the engine is open */

    double stall_seconds;     /* --prefill-stall-ms */
    int max_requests;         /* waiting and running; 0 = no bound */
    size_t max_queued_tokens; /* of prompts that wait; 0 = no bound */
    double request_seconds;   /* over queue and answer; 0 = none */
    double ping_seconds;      /* of a stream's silence before a comment is sent; 0 = never */
    double shutdown_seconds;
    double watchdog_seconds; /* a round may take before /health says 503; 0 = for ever */
    size_t buffer_bytes;     /* of tokens that wait for their readers, all streams together */
    int n_worker;            /* threads that read bodies */
    int speculate_below;     /* with more requests gamma is 1; 0 = never */
    bool metrics, slots, page;
    const char *metrics_prefix;
    const char *log_file; /* NULL = standard error */
    bool log_off, log_json;
    /* Called once it listens and once it is ready to answer; url as a client writes it. */
    void (*listening)(void *ud, const char *url);
    void (*ready)(void *ud, const weir_engine *e);
    void (*warn)(void *ud, const char *line); /* something went wrong that nobody's request is about */
} serve_options;

/* Serves until a signal ends it. OK after a drain; else why it could not start, or went down. */
weir_status serve_run(const serve_options *opt, weir_err *err);

#endif /* WEIR_HOST_SERVE_SERVE_H */
