#ifndef WEIR_HOST_SERVE_RUN_MAILBOX_H
#define WEIR_HOST_SERVE_RUN_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "host/serve/http/http.h"

/* What other threads have for the loop thread. A letter is a member of what it is about, so that sending one
 * needs no memory and cannot fail. */
typedef struct serve_letter serve_letter;
struct serve_letter {
    serve_letter *next;
    void (*open)(serve_letter *l); /* on the loop thread; may free what it is a member of */
};

typedef struct serve_mailbox {
    pthread_mutex_t lock;
    serve_letter *first, *last;
    http_waker *waker;
} serve_mailbox;

bool serve_mailbox_init(serve_mailbox *m, http_server *http);
void serve_mailbox_send(serve_mailbox *m, serve_letter *l); /* in order; any thread */
void serve_mailbox_open_all(serve_mailbox *m);              /* the loop thread */
void serve_mailbox_end(serve_mailbox *m);

#endif /* WEIR_HOST_SERVE_RUN_MAILBOX_H */
