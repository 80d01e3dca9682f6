/* What callers get, and how they wait for it. */
#include "host/queue/queue.h"

#include <math.h>
#include <time.h>

static void take_tokens(weir_request *r, weir_queue_event *ev) {
    weir_queue_tokens *t = &r->taken;
    t->n = t->text_len = 0;
    (void)weir__queue_move_tokens(t, &r->ready); /* into an empty one: nothing is allocated */
    for (size_t i = 0, at = 0; i < t->n; at += t->token[i++].bytes)
        t->token[i].text = t->text ? t->text + at : "";
    ev->kind = WEIR_QUEUE_TOKENS;
    ev->tokens = t->token;
    ev->n_token = t->n;
}

static void take_end(weir_request *r, weir_queue_event *ev) {
    ev->kind = WEIR_QUEUE_END;
    ev->status = r->status;
    ev->err = r->err;
    r->reported = true;
    weir_session_get(r->session, &ev->view);
    ev->deadline = r->late && r->status == WEIR_OK;
    ev->queue_seconds = (r->begun > 0.0 ? r->begun : r->q->now()) - r->came;
}

static bool take_event(weir_queue *q, weir_queue_event *ev) {
    if (weir__node_alone(&q->events)) return false;
    weir_request *r = WEIR_NODE_OF(q->events.next, weir_request, in_events);
    weir__node_remove(&r->in_events);
    r->notified = false;
    *ev = (weir_queue_event){.request = r, .ud = r->ud};
    if (r->ready.n == 0) {
        take_end(r, ev);
        return true;
    }
    take_tokens(r, ev);
    r->held = true;
    r->holder = pthread_self();
    weir__node_insert(&r->in_held, &q->held);
    return true;
}

/* This thread has done with the tokens of its last event: others may have what follows them. Of each thread
 * one request is held. */
static void let_go(weir_queue *q) {
    for (weir_node *n = q->held.next, *next; n != &q->held; n = next) {
        next = n->next;
        weir_request *r = WEIR_NODE_OF(n, weir_request, in_held);
        if (!pthread_equal(r->holder, pthread_self())) continue;
        r->held = false;
        weir__node_remove(n);
        weir__request_notify(r);
        if (r->notified) pthread_cond_broadcast(&q->changed);
    }
}

/* Until something changes or the time has come. */
static void wait_for_change(weir_queue *q, const struct timespec *until, bool *expired) {
    if (!until)
        pthread_cond_wait(&q->changed, &q->lock);
    else
        *expired = pthread_cond_timedwait(&q->changed, &q->lock, until) != 0;
}

static struct timespec time_in(double seconds) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const double whole = floor(seconds);
    t.tv_sec += (time_t)whole;
    t.tv_nsec += (long)((seconds - whole) * 1e9);
    if (t.tv_nsec >= 1000000000L) t.tv_sec++, t.tv_nsec -= 1000000000L;
    return t;
}

/* Rounds and waits until there is an event, or no reason to go on. Nobody sleeps while a request is
 * unfinished, unless another thread steps: so deadlines need no alarm. */
static void find_event(weir_queue *q, double wait_seconds, weir_queue_event *ev) {
    const bool forever = wait_seconds >= 1e9;
    bool expired = !(wait_seconds > 0.0); /* NaN: at once */
    const struct timespec until = time_in(forever || expired ? 0.0 : wait_seconds);
    *ev = (weir_queue_event){.kind = WEIR_QUEUE_IDLE};
    while (!take_event(q, ev)) {
        if (q->n_wake > 0 || (expired && q->n_unfinished == 0)) break;
        if (q->n_unfinished > 0 && !q->stepping) {
            q->stepping = true;
            weir__queue_round(q);
            q->stepping = false;
            pthread_cond_broadcast(&q->changed);
        } else {
            wait_for_change(q, forever || q->stepping ? NULL : &until, &expired);
        }
    }
    if (q->n_wake > 0) q->n_wake--;
}

void weir_queue_next(weir_queue *q, double wait_seconds, weir_queue_event *ev) {
    pthread_mutex_lock(&q->lock);
    let_go(q);
    if (ev) find_event(q, wait_seconds, ev);
    pthread_mutex_unlock(&q->lock);
}

void weir_queue_wake(weir_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->n_wake++;
    if (q->stepping) weir_engine_yield(q->e);
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}
