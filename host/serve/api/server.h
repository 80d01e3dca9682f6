#ifndef WEIR_HOST_SERVE_API_SERVER_H
#define WEIR_HOST_SERVE_API_SERVER_H

#include <stdint.h>

#include "host/weir.h"

/* What is served: fixed before the server listens, read by every thread. */

typedef struct api_profile {
    const char *name;
    weir_session_options o;
} api_profile;

typedef struct api_server {
    const weir_engine *engine;
    weir_engine_facts facts;
    const char *const *names; /* the pair's, the first one is its own */
    int n_name;
    weir_session_options defaults; /* of the flags */
    const api_profile *profiles;
    int n_profile;
    bool strict_fields, slots, metrics;
    int64_t created;      /* Unix time */
    char fingerprint[80]; /* version and both checkpoints */
} api_server;

#endif /* WEIR_HOST_SERVE_API_SERVER_H */
