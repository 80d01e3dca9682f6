#ifndef WEIR_TESTS_SERVE_HTTP_HOST_H
#define WEIR_TESTS_SERVE_HTTP_HOST_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/serve/http/http.h"

/* A server on a thread of its own, with routes for tests:
 *   GET  /health   "ok", open
 *   POST /echo     the body
 *   GET  /head     the field X-Test of the request, the id and the peer
 *   POST /later    the body, from another turn of the loop
 *   POST /silent   nothing, until host_speak: a stream of one part
 *   POST /flood    a stream of as many bytes as the body's number says, in parts of 1,000; it stops while
 *                  more than max_buffered wait
 *   POST /drip     a stream of as many parts as the body's number says, one each turn of the loop
 *   GET  /files/   below: the path
 *   POST /old      not served: an `instead`
 * Counts are of calls. */
typedef struct host {
    http_server *server;
    http_options opt;
    http_keys *keys;
    pthread_t thread;
    int port;
    atomic_int served, gone, drained, done, status; /* status: the last one of done */
    atomic_size_t most_waiting;                     /* bytes of a flood that waited at most */
    atomic_int n_silent;
    http_exchange *silent[2048]; /* the loop's */
} host;

host *host_start(const http_options *opt, const char *keys); /* opt NULL: 127.0.0.1, any port */
void host_stop(host *h);
void host_speak(host *h);                               /* ends all silent streams with the part "said" */
void host_run(host *h, void (*fn)(void *ud), void *ud); /* on the loop; returns when it was run */

/* Waits until *what is at least n: as long as it takes, for the suite has a limit of its own. */
void host_wait(const atomic_int *what, int n);

#endif
