/* A request's life: where it is in its queue, and how it ends. */
#include "host/queue/queue.h"

void weir__request_discard(weir_request *r) {
    weir__node_remove(&r->in_all);
    weir__node_remove(&r->in_events);
    weir__node_remove(&r->in_held);
    weir_session_free(r->session);
    weir_score_end(r->scoring);
    weir__queue_free_tokens(&r->fresh);
    weir__queue_free_tokens(&r->ready);
    weir__queue_free_tokens(&r->taken);
    weir_free(r);
}

/* ---- states -------------------------------------------------------------------------------------------- */

static void set_state(weir_request *r, weir_request_state to) {
    weir_queue *q = r->q;
    q->n_in[r->state]--;
    q->n_in[to]++;
    if (r->state == WEIR_REQUEST_WAITING) q->waiting_tokens -= r->n_token;
    r->state = to;
}

static void set_due(weir_request *r, double due) {
    r->due = due;
    if (r->due_place != WEIR_HEAP_OUT)
        weir__heap_move(&r->q->due, r);
    else if (due < 1e300)
        weir__heap_add(&r->q->due, r);
}

static void clear_due(weir_request *r) {
    if (r->due_place != WEIR_HEAP_OUT) weir__heap_remove(&r->q->due, r);
}

void weir__request_wait(weir_request *r) {
    weir_queue *q = r->q;
    r->came = q->now();
    r->wait.number = ++q->last_number;
    r->state = WEIR_REQUEST_WAITING;
    q->n_in[r->state]++;
    q->n_unfinished++;
    q->waiting_tokens += r->n_token;
    weir__node_remove(&r->in_all);
    weir__node_insert(&r->in_all, &q->all);
    weir__order_add(&q->order, &r->wait);
    set_due(r, r->due);
}

void weir__request_begin(weir_request *r) {
    weir_queue *q = r->q;
    weir__order_remove(&q->order, &r->wait);
    weir__order_serve(&q->order, r->wait.client, r->n_token);
    set_state(r, WEIR_REQUEST_PROMPT);
    r->turn = ++q->last_turn;
    if (r->begun == 0.0) r->begun = q->now();
    r->seat = q->n_active;
    q->active[q->n_active++] = r;
}

void weir__request_run(weir_request *r) { set_state(r, WEIR_REQUEST_RUNNING); }

void weir__request_answered(weir_request *r, size_t n_token) {
    weir__order_serve(&r->q->order, r->wait.client, n_token);
    r->n_written += (int64_t)n_token;
    r->n_left -= (int64_t)n_token;
    if (r->answered || n_token == 0) return;
    r->answered = true;
    const double due = r->q->now() + r->answer_seconds;
    if (due < r->due) set_due(r, due);
}

/* Out of wherever it is. */
static void leave(weir_request *r) {
    weir_queue *q = r->q;
    if (r->state == WEIR_REQUEST_WAITING) weir__order_remove(&q->order, &r->wait);
    if (r->state == WEIR_REQUEST_LEAVING) weir__node_remove(&r->in_leaving);
    if (r->state != WEIR_REQUEST_PROMPT && r->state != WEIR_REQUEST_RUNNING) return;
    weir_request *last = q->active[--q->n_active];
    last->seat = r->seat;
    q->active[r->seat] = last;
}

void weir__request_suspend(weir_request *r) {
    weir_queue *q = r->q;
    weir_session_suspend(r->session);
    leave(r);
    set_state(r, WEIR_REQUEST_WAITING);
    q->waiting_tokens += r->n_token;
    r->prompt_done = false;
    r->n_suspended++;
    q->suspended_total++;
    weir__order_add(&q->order, &r->wait);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static bool has_event(const weir_request *r) {
    return !r->orphan && !r->held && (r->ready.n > 0 || (r->state == WEIR_REQUEST_ENDED && !r->reported));
}

void weir__request_notify(weir_request *r) {
    if (r->notified || !has_event(r)) return;
    r->notified = true;
    weir__node_insert(&r->in_events, &r->q->events);
}

static void set_failure(weir_request *r, weir_status status, const char *why) {
    r->status = status;
    (void)weir_fail(&r->err, status, "%s", why && why[0] ? why : weir_status_str(status));
}

void weir__request_cancel(weir_request *r) {
    r->cancelled = true;
    if (r->session) weir_session_cancel(r->session);
    if (r->state != WEIR_REQUEST_WAITING) return;
    if (!r->session) {
        weir__request_end(r, WEIR_OK, NULL); /* a scoring that waits has no slot and nothing to tell */
        return;
    }
    leave(r);
    set_state(r, WEIR_REQUEST_LEAVING);
    weir__node_insert(&r->in_leaving, &r->q->leaving);
}

void weir__request_fail(weir_request *r, weir_status status, const char *why) {
    if (r->status == WEIR_OK) set_failure(r, status, why);
    weir__request_cancel(r);
}

/* How long requests hold their slots, the latest ones above all. */
static void book_hold(weir_queue *q, double seconds) {
    q->hold_seconds = q->hold_seconds > 0.0 ? 0.9 * q->hold_seconds + 0.1 * seconds : seconds;
}

/* What failed first is what the caller hears of. */
void weir__request_end(weir_request *r, weir_status status, const char *why) {
    weir_queue *q = r->q;
    if (r->state == WEIR_REQUEST_ENDED) return;
    if (r->begun > 0.0) book_hold(q, q->now() - r->begun);
    leave(r);
    set_state(r, WEIR_REQUEST_ENDED);
    clear_due(r);
    weir__order_leave(&q->order, &r->wait);
    if (r->status == WEIR_OK && status != WEIR_OK) set_failure(r, status, why);
    q->n_unfinished--;
    if (r->orphan)
        weir__request_discard(r);
    else
        weir__request_notify(r);
}

/* Nothing can be stepped any more: every unfinished request ends with the reason. */
void weir__queue_break(weir_queue *q, weir_status status, const weir_err *err) {
    q->broken = status;
    (void)weir_fail(&q->broken_err, status, "%s", err->text[0] ? err->text : weir_status_str(status));
    for (weir_node *n = q->all.next, *next; n != &q->all; n = next) {
        next = n->next;
        weir__request_end(WEIR_NODE_OF(n, weir_request, in_all), status, q->broken_err.text);
    }
}

void weir__queue_expire(weir_queue *q) {
    weir_request *r = weir__heap_first(&q->due);
    if (!r) return;
    for (const double now = q->now(); r && r->due <= now; r = weir__heap_first(&q->due)) {
        clear_due(r);
        r->late = !r->cancelled;
        weir__request_cancel(r);
    }
}

/* ---- by any thread ------------------------------------------------------------------------------------- */

/* Whoever waits while there are unfinished requests waits for a round, whose end wakes them: no need here. */
void weir_queue_cancel(weir_request *r) {
    weir_queue *q = r->q;
    pthread_mutex_lock(&q->lock);
    weir__request_cancel(r);
    pthread_mutex_unlock(&q->lock);
}

void weir_request_free(weir_request *r) {
    if (!r) return;
    weir_queue *q = r->q;
    pthread_mutex_lock(&q->lock);
    if (r->state == WEIR_REQUEST_ENDED) {
        weir__request_discard(r);
    } else { /* the stepping thread may be at it */
        r->notified = false;
        weir__node_remove(&r->in_events);
        r->orphan = true;
        weir__request_cancel(r);
    }
    pthread_mutex_unlock(&q->lock);
}
