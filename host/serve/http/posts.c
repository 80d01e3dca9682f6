#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/serve/http/conn.h"

typedef struct post {
    struct post *next;
    void (*fn)(void *ud);
    void *ud;
    bool kept;   /* a waker's, which owns it */
    bool queued; /* of these: under the mutex */
} post;

struct http_waker {
    post post;
    http_server *server;
};

struct http_posts {
    pthread_mutex_t mutex;
    post *first, **last; /* under the mutex */
    atomic_bool stop;
    int fd; /* an eventfd: readable when there is something to do */
    struct event *event;
};

/* A timer or a signal. */
struct http_watch {
    struct http_watch *next;
    struct event *event;
    int signal;
    void (*tick)(void *ud);
    void (*on_signal)(void *ud, int signal);
    void *ud;
};

/* ---- posts --------------------------------------------------------------------------------------------- */

static void ring(http_posts *p) {
    const uint64_t one = 1;
    while (write(p->fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

static post *take_all(http_posts *p) {
    pthread_mutex_lock(&p->mutex);
    post *first = p->first;
    p->first = NULL;
    p->last = &p->first;
    pthread_mutex_unlock(&p->mutex);
    return first;
}

/* Woken from now on, a waker is queued again. */
static void forget(http_posts *p, post *item) {
    pthread_mutex_lock(&p->mutex);
    item->queued = false;
    pthread_mutex_unlock(&p->mutex);
}

static void on_ring(evutil_socket_t fd, short what, void *ud) {
    (void)what;
    http_server *s = ud;
    uint64_t rings;
    while (read((int)fd, &rings, sizeof rings) < 0 && errno == EINTR) {}
    for (post *p = take_all(s->posts), *next; p; p = next) {
        next = p->next;
        const bool kept = p->kept;
        if (kept) forget(s->posts, p);
        p->fn(p->ud);
        if (!kept) weir_free(p);
    }
    if (atomic_load(&s->posts->stop)) event_base_loopbreak(s->base);
}

static void add(http_posts *p, post *item) {
    pthread_mutex_lock(&p->mutex);
    const bool first = !p->first, add = !item->queued;
    if (add) {
        item->queued = true;
        item->next = NULL;
        *p->last = item;
        p->last = &item->next;
    }
    pthread_mutex_unlock(&p->mutex);
    if (first && add) ring(p);
}

bool http_post(http_server *s, void (*fn)(void *ud), void *ud) {
    post *item = weir_alloc(1, sizeof *item);
    if (!item) return false;
    *item = (post){.fn = fn, .ud = ud};
    add(s->posts, item);
    return true;
}

http_waker *http_waker_open(http_server *s, void (*fn)(void *ud), void *ud) {
    http_waker *w = weir_alloc(1, sizeof *w);
    if (w) *w = (http_waker){.post = {.fn = fn, .ud = ud, .kept = true}, .server = s};
    return w;
}

void http_waker_wake(http_waker *w) { add(w->server->posts, &w->post); }

void http_waker_close(http_waker *w) {
    if (!w) return;
    http_posts *p = w->server->posts;
    pthread_mutex_lock(&p->mutex);
    for (post **at = &p->first; *at; at = &(*at)->next) {
        if (*at != &w->post) continue;
        *at = w->post.next;
        if (!*at) p->last = at;
        break;
    }
    pthread_mutex_unlock(&p->mutex);
    weir_free(w);
}

void http_server_stop(http_server *s) {
    atomic_store(&s->posts->stop, true);
    ring(s->posts);
}

bool http_posts_open(http_server *s) {
    http_posts *p = weir_calloc(1, sizeof *p);
    if (!p) return false;
    p->last = &p->first;
    pthread_mutex_init(&p->mutex, NULL);
    s->posts = p;
    p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->fd < 0) return false;
    p->event = event_new(s->base, p->fd, EV_READ | EV_PERSIST, on_ring, s);
    return p->event && event_add(p->event, NULL) == 0;
}

void http_posts_close(http_server *s) {
    while (s->watches) {
        http_watch *w = s->watches;
        s->watches = w->next;
        event_free(w->event);
        weir_free(w);
    }
    http_posts *p = s->posts;
    if (!p) return;
    for (post *item = take_all(p), *next; item; item = next) {
        next = item->next;
        if (!item->kept) weir_free(item);
    }
    if (p->event) event_free(p->event);
    if (p->fd >= 0) (void)close(p->fd);
    pthread_mutex_destroy(&p->mutex);
    weir_free(p);
    s->posts = NULL;
}

/* ---- timers and signals -------------------------------------------------------------------------------- */

static void on_watch(evutil_socket_t fd, short what, void *ud) {
    (void)fd, (void)what;
    const http_watch *w = ud;
    if (w->tick)
        w->tick(w->ud);
    else
        w->on_signal(w->ud, w->signal);
}

/* Takes over w's contents; tv NULL: a signal. */
static bool watch(http_server *s, const http_watch *like, const struct timeval *tv) {
    http_watch *w = weir_alloc(1, sizeof *w);
    if (!w) return false;
    *w = *like;
    w->event =
        tv ? event_new(s->base, -1, EV_PERSIST, on_watch, w) : evsignal_new(s->base, w->signal, on_watch, w);
    if (!w->event || event_add(w->event, tv) != 0) {
        if (w->event) event_free(w->event);
        weir_free(w);
        return false;
    }
    w->next = s->watches;
    s->watches = w;
    return true;
}

bool http_every(http_server *s, double seconds, void (*fn)(void *ud), void *ud) {
    const time_t whole = (time_t)seconds;
    const struct timeval tv = {.tv_sec = whole, .tv_usec = (suseconds_t)((seconds - (double)whole) * 1e6)};
    return watch(s, &(http_watch){.tick = fn, .ud = ud}, &tv);
}

bool http_on_signal(http_server *s, int signal, void (*fn)(void *ud, int signal), void *ud) {
    return watch(s, &(http_watch){.signal = signal, .on_signal = fn, .ud = ud}, NULL);
}
