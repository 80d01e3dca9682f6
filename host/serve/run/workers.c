#include "host/serve/run/workers.h"

struct serve_workers {
    serve_mailbox *box;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    serve_task *first, *last;
    bool closing;
    int n;
    pthread_t thread[];
};

static serve_task *take(serve_workers *w) {
    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->closing) pthread_cond_wait(&w->changed, &w->lock);
    serve_task *t = w->first;
    if (t) w->first = t->next;
    pthread_mutex_unlock(&w->lock);
    return t;
}

static void *work(void *ud) {
    serve_workers *w = ud;
    for (serve_task *t; (t = take(w));) {
        t->run(t);
        serve_mailbox_send(w->box, &t->letter);
    }
    return NULL;
}

serve_workers *serve_workers_open(serve_mailbox *box, int n) {
    serve_workers *w = weir_calloc(1, sizeof *w + (size_t)n * sizeof *w->thread);
    if (!w) return NULL;
    w->box = box;
    if (pthread_mutex_init(&w->lock, NULL) != 0) {
        weir_free(w);
        return NULL;
    }
    if (pthread_cond_init(&w->changed, NULL) != 0) {
        pthread_mutex_destroy(&w->lock);
        weir_free(w);
        return NULL;
    }
    while (w->n < n && pthread_create(&w->thread[w->n], NULL, work, w) == 0) w->n++;
    if (w->n > 0) return w;
    serve_workers_close(w);
    return NULL;
}

void serve_workers_add(serve_workers *w, serve_task *t) {
    t->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->first)
        w->last->next = t;
    else
        w->first = t;
    w->last = t;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void serve_workers_close(serve_workers *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n; i++) pthread_join(w->thread[i], NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    weir_free(w);
}
