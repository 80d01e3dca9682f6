#ifndef WEIR_HOST_SERVE_RUN_STATE_H
#define WEIR_HOST_SERVE_RUN_STATE_H

#include <stdatomic.h>

#include "host/serve/api/answer.h"
#include "host/serve/api/calls.h"
#include "host/serve/run/mailbox.h"
#include "host/serve/run/workers.h"
#include "host/serve/serve.h"
#include "host/serve/watch/log.h"
#include "host/serve/watch/metrics.h"

/* The inside of a running server.
 *
 * loop thread       sockets, exchanges, the JSON of answers; owns everything here that says nothing else
 * workers           bodies: parse, render, tokenise, submit; own an exchange's `ask` until their letter comes
 * stepping thread   weir_queue_next; copies tokens and ends into letters
 * loader            opens the engine, once */

typedef enum serve_stage { SERVE_LOADING, SERVE_READY, SERVE_DRAINING, SERVE_DOWN } serve_stage;

typedef struct serve_exchange serve_exchange;

enum { SERVE_MAX_ROUTES = 64 };

typedef struct serve {
    const serve_options *opt;
    http_server *http;
    http_keys *keys;
    serve_mailbox box;
    serve_workers *workers;
    api_server api; /* engine, facts, fingerprint: from SERVE_READY on */
    weir_engine *engine;
    weir_queue *queue;
    pthread_t stepper, loader;
    bool stepping; /* the thread was started; as is: */
    bool loading;
    serve_letter loaded;
    weir_err load_err;
    weir_status load_status;
    atomic_bool stop;
    serve_stage stage;
    double drain_until;
    weir_status failed; /* what brought the server down */
    weir_err failed_err;
    serve_exchange *first; /* exchanges that are not over or whose choices are not */
    int n_exchange;
    watch_log *log;         /* NULL: none is kept */
    watch_metrics *metrics; /* from SERVE_READY on */
    const char *paths[SERVE_MAX_ROUTES];
    size_t waiting; /* bytes of tokens that their readers have not taken */
    wire_buf out;   /* scratch of the loop thread */
} serve;

/* Why nothing can be asked at present: false and the error; true where it can. */
bool serve_is_ready(const serve *s, serve_error *e);
/* What /health says: status 200 is well. */
void serve_health(const serve *s, serve_error *e);
/* Ends the server, which then returns this. */
void serve_go_down(serve *s, weir_status why, const weir_err *err);

/* ---- what a job of the queue is for -------------------------------------------------------------------- */

/* What a job's `ud` points to: who receives its events, on the stepping thread. */
typedef struct serve_job {
    void (*tokens)(serve *s, struct serve_job *j, const weir_queue_event *ev); /* NULL: it has none */
    void (*end)(serve *s, struct serve_job *j, const weir_queue_event *ev);
} serve_job;

/* Jobs of a request that began then, into the queue: all or none. Any thread. e->status 0: done. */
void serve_submit(serve *s, weir_queue_job *jobs, int n, double began, uint64_t client, weir_request **out,
                  serve_error *e);

/* ---- what an exchange is about ------------------------------------------------------------------------- */

/* First member of what http_ud points to. */
typedef struct serve_item {
    void (*gone)(struct serve_item *i); /* the peer left first */
    void (*done)(struct serve_item *i, const http_exchange *x, int status, double seconds);
} serve_item;

/* exchange.c: completions and chat */
void serve_completions(void *ud, http_exchange *x);
void serve_chat(void *ud, http_exchange *x);
void serve_exchange_drained(serve_item *i);
/* Who has a slot, as far as the loop thread knows: how many, at most cap of them written. */
int serve_exchanges_slots(const serve *s, api_slot *out, int cap);
void serve_exchanges_tick(serve *s);   /* comments on silent streams */
void serve_exchanges_cancel(serve *s); /* the server ends: answers that run get server_shutdown */
void serve_exchanges_free(serve *s);   /* after the threads have ended and the HTTP server is closed */

/* call.c: what a worker answers from the body alone */
void serve_tokenize(void *ud, http_exchange *x);
void serve_detokenize(void *ud, http_exchange *x);
void serve_apply_template(void *ud, http_exchange *x);
void serve_rule(void *ud, http_exchange *x);
void serve_score(void *ud, http_exchange *x);

/* step.c */
void *serve_step(void *ud); /* the stepping thread; ud: the serve */

/* routes.c */
extern const http_route serve_routes[];
extern const size_t serve_n_route;
void serve_reply_buffer(http_exchange *x, const char *type, bool ok, const wire_buf *b);

#endif /* WEIR_HOST_SERVE_RUN_STATE_H */
