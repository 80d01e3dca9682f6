#include "host/serve/run/mailbox.h"

static void wake(void *ud) { serve_mailbox_open_all(ud); }

bool serve_mailbox_init(serve_mailbox *m, http_server *http) {
    *m = (serve_mailbox){0};
    if (pthread_mutex_init(&m->lock, NULL) != 0) return false;
    m->waker = http_waker_open(http, wake, m);
    if (!m->waker) pthread_mutex_destroy(&m->lock);
    return m->waker != NULL;
}

void serve_mailbox_end(serve_mailbox *m) {
    if (!m->waker) return;
    http_waker_close(m->waker);
    pthread_mutex_destroy(&m->lock);
    m->waker = NULL;
}

void serve_mailbox_send(serve_mailbox *m, serve_letter *l) {
    l->next = NULL;
    pthread_mutex_lock(&m->lock);
    const bool empty = !m->first;
    if (empty)
        m->first = l;
    else
        m->last->next = l;
    m->last = l;
    pthread_mutex_unlock(&m->lock);
    if (empty) http_waker_wake(m->waker);
}

void serve_mailbox_open_all(serve_mailbox *m) {
    pthread_mutex_lock(&m->lock);
    serve_letter *l = m->first;
    m->first = m->last = NULL;
    pthread_mutex_unlock(&m->lock);
    while (l) {
        serve_letter *next = l->next;
        l->open(l);
        l = next;
    }
}
