#ifndef WEIR_HOST_SERVE_RUN_WORKERS_H
#define WEIR_HOST_SERVE_RUN_WORKERS_H

#include "host/serve/run/mailbox.h"

/* Threads for what grows with a body: parsing, templates, tokenising, creating sessions. A task is a member of
 * what it is about. */
typedef struct serve_task serve_task;
struct serve_task {
    serve_letter letter; /* its `open` is called on the loop thread once it has run */
    void (*run)(serve_task *t);
    serve_task *next;
};

typedef struct serve_workers serve_workers;

serve_workers *serve_workers_open(serve_mailbox *box, int n); /* NULL: no memory or no thread */
void serve_workers_add(serve_workers *w, serve_task *t);
void serve_workers_close(serve_workers *w); /* NULL allowed; runs what was added, then joins */

#endif /* WEIR_HOST_SERVE_RUN_WORKERS_H */
