#ifndef WEIR_TESTS_SERVE_RUN_RUNNING_H
#define WEIR_TESTS_SERVE_RUN_RUNNING_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "host/serve/serve.h"
#include "tests/serve/http/client.h"

/* A whole server in this process, with the demo pair: two slots, one worker thread of the models, metrics,
 * no log. A test may hold up the models at a block edge. */
typedef struct running {
    serve_options o;            /* of the next start */
    weir_engine_options engine; /* as above */
    void (*opened)(weir_engine *e);
    pthread_t thread;
    weir_status status; /* of serve_run, once it has returned, as is: */
    weir_err err;
    atomic_int port, ready, returned;
    atomic_bool hold_open; /* the models are not opened before this is false */
    atomic_bool refuse_open;
    atomic_bool hold_steps; /* whoever runs a model stops at its next chunk or block edge */
    atomic_int held;        /* how often one did */
} running;

/* Static storage, zeroed, with what a test wants to change: before running_start. */
void running_init(running *r);
void running_start(running *r); /* returns when it listens */
void running_wait_ready(running *r);
weir_status running_stop(running *r); /* by SIGTERM; what serve_run returned */
weir_status running_join(running *r); /* when it ends by itself */

int running_connect(running *r);
answer running_get(running *r, const char *path); /* on a connection of its own */
answer running_post(running *r, const char *path, const char *body);
/* Sends a request and returns its socket, before any answer. */
int running_send(running *r, const char *path, const char *body);
int running_send_as(running *r, const char *key, const char *path, const char *body); /* NULL: no key */
void running_wait_held(running *r);                  /* until a step is held up */
double running_metric(running *r, const char *line); /* the value after this beginning of a line; 0: none */
void running_wait_metric(running *r, const char *line, double at_least);
void running_wait_requests(running *r, int n); /* that run or wait: all of them are there */

/* The answer's JSON; checks the status, and frees the answer. */
json_t *running_json(answer a, int status);
/* Its text: of choices[0], or of all chunks of a stream. Freed by the caller, like the above. */
char *running_text(answer a);

#endif
