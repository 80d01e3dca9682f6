/* Requests over one engine: who waits, whose prompt runs next, who is stepped. Knows weir.h alone.
 *
 * The lock guards lists and states. A round runs without it: the thread that finds work and nobody stepping
 * becomes the stepping thread for one round. What a round's callbacks bring lies in `fresh` of each request,
 * which only that thread touches, and is handed over under the lock when the round ends. */
#include "host/queue/queue.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

enum {
    PREFILLS = 4
}; /* prompts that take turns: a short one waits for three slices of others at most per slice */

/* ---- tokens on their way ------------------------------------------------------------------------------- */

static bool grow(void **p, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t more = *cap ? *cap : 16;
    while (more < need) more *= 2;
    void *q = weir_alloc(more, size);
    if (!q) return false;
    if (*p) memcpy(q, *p, *cap * size);
    weir_free(*p);
    *p = q;
    *cap = more;
    return true;
}

static bool add_token(weir_queue_tokens *t, const weir_token_event *ev) {
    if (!grow((void **)&t->token, &t->cap, t->n + 1, sizeof *t->token)) return false;
    if (!grow((void **)&t->text, &t->text_cap, t->text_len + ev->bytes + 1, 1)) return false;
    if (ev->bytes > 0) memcpy(t->text + t->text_len, ev->text, ev->bytes);
    t->text_len += ev->bytes;
    t->token[t->n++] = *ev;
    return true;
}

static void free_tokens(weir_queue_tokens *t) {
    weir_free(t->token);
    weir_free(t->text);
}

/* All of `from` after what `to` has; false: no memory, nothing moved. */
static bool move_tokens(weir_queue_tokens *to, weir_queue_tokens *from) {
    if (to->n == 0) {
        const weir_queue_tokens empty = *to;
        *to = *from;
        *from = empty;
    } else {
        if (!grow((void **)&to->token, &to->cap, to->n + from->n, sizeof *to->token)) return false;
        if (!grow((void **)&to->text, &to->text_cap, to->text_len + from->text_len + 1, 1)) return false;
        memcpy(to->token + to->n, from->token, from->n * sizeof *to->token);
        if (from->text_len > 0) memcpy(to->text + to->text_len, from->text, from->text_len);
        to->n += from->n;
        to->text_len += from->text_len;
    }
    from->n = from->text_len = 0;
    return true;
}

/* Called from inside a step. */
static bool on_token(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)s;
    weir_request *r = ud;
    return add_token(&r->fresh, ev);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void free_request(weir_request *r) {
    weir_session_free(r->session);
    free_tokens(&r->fresh);
    free_tokens(&r->ready);
    free_tokens(&r->taken);
    weir_free(r);
}

/* Has an event for its caller. */
static bool has_event(const weir_request *r) {
    return !r->orphan && (r->ready.n > 0 || (r->state == WEIR_REQUEST_ENDED && !r->reported));
}

static void notify(weir_queue *q, weir_request *r) {
    if (r->notified || !has_event(r)) return;
    r->notified = true;
    r->next_event = NULL;
    if (q->last_event)
        q->last_event->next_event = r;
    else
        q->first_event = r;
    q->last_event = r;
}

static void unlink_request(weir_queue *q, weir_request *r) {
    weir_request **at = &q->first;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    q->n_request--;
    if (!r->notified) return;
    weir_request *before = NULL, *e = q->first_event;
    while (e != r) before = e, e = e->next_event;
    if (before)
        before->next_event = r->next_event;
    else
        q->first_event = r->next_event;
    if (q->last_event == r) q->last_event = before;
}

static void end_request(weir_queue *q, weir_request *r, weir_status status, const char *why) {
    if (r->state == WEIR_REQUEST_ENDED) return;
    r->state = WEIR_REQUEST_ENDED;
    r->status = status;
    if (status != WEIR_OK)
        (void)weir_fail(&r->err, status, "%s", why && why[0] ? why : weir_status_str(status));
    q->n_unfinished--;
    if (r->orphan) {
        unlink_request(q, r);
        free_request(r);
        return;
    }
    notify(q, r);
}

/* Nothing can be stepped any more: every unfinished request ends with the reason. */
static void break_down(weir_queue *q, weir_status status, const weir_err *err) {
    q->broken = status;
    q->broken_err = *err;
    for (weir_request *r = q->first, *next; r; r = next) {
        next = r->next;
        end_request(q, r, status, err->text);
    }
}

static weir_request *new_request(weir_queue *q, const weir_session_options *opt, const int32_t *prompt,
                                 size_t n_prompt, void *ud, weir_status *st, weir_err *err) {
    weir_request *r = weir_calloc(1, sizeof *r);
    if (!r) {
        *st = weir_fail(err, WEIR_ENOMEM, "out of memory for a request");
        return NULL;
    }
    r->q = q;
    r->ud = ud;
    *st = weir_session_create(q->e, opt, prompt, n_prompt, on_token, r, &r->session, err);
    if (*st == WEIR_OK) return r;
    weir_free(r);
    return NULL;
}

weir_status weir_queue_submit(weir_queue *q, const weir_session_options *opt, const int32_t *prompt,
                              size_t n_prompt, void *ud, weir_request **out, weir_err *err) {
    weir_status st;
    weir_request *r = new_request(q, opt, prompt, n_prompt, ud, &st, err);
    if (!r) return st;
    pthread_mutex_lock(&q->lock);
    if (q->broken != WEIR_OK) {
        st = weir_fail(err, q->broken, "%s", q->broken_err.text);
    } else if (!grow((void **)&q->list, &q->list_cap, (size_t)q->n_request + 1, sizeof(weir_session *)) ||
               !grow((void **)&q->listed, &q->listed_cap, (size_t)q->n_request + 1, sizeof(weir_request *))) {
        st = weir_fail(err, WEIR_ENOMEM, "out of memory for a request");
    } else {
        weir_request **at = &q->first;
        while (*at) at = &(*at)->next;
        *at = r;
        q->n_request++;
        q->n_unfinished++;
        if (q->stepping) weir_engine_yield(q->e);
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    if (st != WEIR_OK)
        free_request(r);
    else
        *out = r;
    return st;
}

void weir_queue_cancel(weir_request *r) {
    weir_queue *q = r->q;
    pthread_mutex_lock(&q->lock);
    r->cancelled = true;
    weir_session_cancel(r->session);
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

void weir_request_free(weir_request *r) {
    if (!r) return;
    weir_queue *q = r->q;
    pthread_mutex_lock(&q->lock);
    const bool ended = r->state == WEIR_REQUEST_ENDED;
    if (ended) {
        unlink_request(q, r);
    } else { /* the stepping thread may be at it */
        r->orphan = r->cancelled = true;
        weir_session_cancel(r->session);
    }
    pthread_mutex_unlock(&q->lock);
    if (ended) free_request(r);
}

/* ---- a round ------------------------------------------------------------------------------------------- */

/* Waiting requests, in order of arrival, begin their prompts while slots are free. */
static void admit(weir_queue *q) {
    int taken = 0, prefills = 0;
    for (const weir_request *r = q->first; r; r = r->next) {
        taken += r->state == WEIR_REQUEST_PROMPT || r->state == WEIR_REQUEST_RUNNING;
        prefills += r->state == WEIR_REQUEST_PROMPT;
    }
    for (weir_request *r = q->first; r && taken < q->facts.n_parallel && prefills < PREFILLS; r = r->next) {
        if (r->state != WEIR_REQUEST_WAITING || r->cancelled) continue;
        r->state = WEIR_REQUEST_PROMPT;
        taken++, prefills++;
    }
}

/* Whose prompt runs now: each in turn. */
static weir_request *next_prompt(weir_queue *q) {
    weir_request *first = NULL, *after = NULL;
    for (weir_request *r = q->first; r; r = r->next) {
        if (r->state != WEIR_REQUEST_PROMPT) continue;
        if (!first) first = r;
        if (!after && r->turn > q->turn) after = r;
    }
    weir_request *r = after ? after : first;
    if (!r) return NULL;
    if (r->turn == 0) r->turn = ++q->last_turn;
    q->turn = r->turn;
    return r;
}

/* Positions of a slice, so that those who are being answered wait stall_seconds at most. */
static int64_t slice_of(const weir_queue *q) {
    if (q->position_seconds <= 0.0) return 1; /* the backend's chunk: nothing was measured yet */
    const double n = q->stall_seconds / q->position_seconds;
    return n < 1.0 ? 1 : n < 1e6 ? (int64_t)n : 1000000;
}

/* One slice, without the lock. */
static weir_status run_prompt(weir_queue *q, weir_request *r, weir_err *err) {
    int64_t before = 0, left = 0;
    weir_status st = weir_session_prefill(r->session, 0, &before, err);
    const double t0 = weir_seconds();
    if (st == WEIR_OK && before > 0) st = weir_session_prefill(r->session, slice_of(q), &left, err);
    if (st != WEIR_OK) return st;
    const double spent = weir_seconds() - t0;
    const int64_t done = before - left;
    if (before > 0 && done <= 0)
        return weir_fail(err, WEIR_EINVAL, "a slice of a prompt was run and nothing of it is done");
    if (done > 0) {
        const double each = spent / (double)done;
        q->position_seconds = q->position_seconds > 0.0 ? 0.5 * (q->position_seconds + each) : each;
    }
    r->prompt_done = left == 0;
    return WEIR_OK;
}

/* Sessions to step: those whose prompts are done, and those that are to end. */
static int gather(weir_queue *q, bool *somebody_waits) {
    int n = 0;
    *somebody_waits = false;
    for (weir_request *r = q->first; r; r = r->next) {
        if (r->state == WEIR_REQUEST_ENDED) continue;
        if (r->state == WEIR_REQUEST_RUNNING || r->cancelled) {
            q->listed[n] = r;
            q->list[n++] = r->session;
        } else {
            *somebody_waits = true;
        }
    }
    return n;
}

/* Blocks of a step. On a CPU a call costs nothing, and tokens are handed over after each; calls of a device
 * are dearer than its blocks, and a slot that falls free inside one stays empty until it returns. */
static int blocks_of(const weir_queue *q, bool somebody_waits) {
    if (q->facts.isa) return 1;
    return somebody_waits ? 4 : 8;
}

/* What a step left of its sessions. */
static void harvest(weir_queue *q, int n) {
    for (int i = 0; i < n; i++) {
        weir_request *r = q->listed[i];
        if (r->fresh.n > 0 && !move_tokens(&r->ready, &r->fresh)) weir_session_cancel(r->session);
        if (weir_session_state(r->session) == WEIR_RUNNING) {
            notify(q, r);
            continue;
        }
        weir_session_view v;
        weir_session_get(r->session, &v);
        end_request(q, r, v.failure ? WEIR_ELOGITS : WEIR_OK, v.failure);
    }
}

/* With the lock, but not while prompts run and sessions step. */
static void run_round(weir_queue *q) {
    weir_err err = {{0}};
    weir_status st = WEIR_OK;
    admit(q);
    weir_request *r = next_prompt(q);
    if (r) {
        pthread_mutex_unlock(&q->lock);
        st = run_prompt(q, r, &err);
        pthread_mutex_lock(&q->lock);
        if (st == WEIR_OK && r->prompt_done) r->state = WEIR_REQUEST_RUNNING;
        if (st == WEIR_ECUDA)
            break_down(q, st, &err);
        else if (st != WEIR_OK)
            end_request(q, r, st, err.text); /* its prompt's own trouble */
    }
    bool waits;
    const int n = gather(q, &waits);
    if (n == 0) return;
    pthread_mutex_unlock(&q->lock);
    st = weir_step(q->e, q->list, n, blocks_of(q, waits), &err);
    pthread_mutex_lock(&q->lock);
    harvest(q, n);
    /* ELOGITS ends the sessions that it is about; after anything else no further step can be trusted */
    if (st != WEIR_OK && st != WEIR_ELOGITS) break_down(q, st, &err);
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void take_tokens(weir_request *r, weir_queue_event *ev) {
    weir_queue_tokens *t = &r->taken;
    t->n = t->text_len = 0;
    (void)move_tokens(t, &r->ready); /* into an empty one: nothing is allocated */
    for (size_t i = 0, at = 0; i < t->n; at += t->token[i++].bytes)
        t->token[i].text = t->text ? t->text + at : "";
    ev->kind = WEIR_QUEUE_TOKENS;
    ev->tokens = t->token;
    ev->n_token = t->n;
}

static bool take_event(weir_queue *q, weir_queue_event *ev) {
    weir_request *r = q->first_event;
    if (!r) return false;
    q->first_event = r->next_event;
    if (!q->first_event) q->last_event = NULL;
    r->notified = false;
    *ev = (weir_queue_event){.request = r, .ud = r->ud};
    if (r->ready.n > 0) {
        take_tokens(r, ev);
        notify(q, r);
        return true;
    }
    ev->kind = WEIR_QUEUE_END;
    ev->status = r->status;
    ev->err = r->err;
    r->reported = true;
    weir_session_get(r->session, &ev->view);
    return true;
}

/* Until something changes or the time has come. */
static void wait_for_change(weir_queue *q, const struct timespec *until, bool *expired) {
    if (!until)
        pthread_cond_wait(&q->changed, &q->lock);
    else
        *expired = pthread_cond_timedwait(&q->changed, &q->lock, until) == ETIMEDOUT;
}

static struct timespec deadline(double seconds) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    const double whole = floor(seconds);
    t.tv_sec += (time_t)whole;
    t.tv_nsec += (long)((seconds - whole) * 1e9);
    if (t.tv_nsec >= 1000000000L) t.tv_sec++, t.tv_nsec -= 1000000000L;
    return t;
}

void weir_queue_next(weir_queue *q, double wait_seconds, weir_queue_event *ev) {
    const bool forever = !(wait_seconds < 1e9);
    const struct timespec until = deadline(forever || wait_seconds < 0 ? 0.0 : wait_seconds);
    bool expired = !(wait_seconds > 0.0);
    *ev = (weir_queue_event){.kind = WEIR_QUEUE_IDLE};
    pthread_mutex_lock(&q->lock);
    while (!take_event(q, ev)) {
        if (q->woken || (expired && q->n_unfinished == 0)) break;
        if (q->n_unfinished > 0 && !q->stepping) {
            q->stepping = true;
            run_round(q);
            q->stepping = false;
            pthread_cond_broadcast(&q->changed);
        } else {
            wait_for_change(q, forever || q->stepping ? NULL : &until, &expired);
        }
    }
    q->woken = false;
    pthread_mutex_unlock(&q->lock);
}

void weir_queue_wake(weir_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->woken = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

/* ---- open and close ------------------------------------------------------------------------------------ */

weir_status weir_queue_open(weir_queue **out, weir_engine *e, weir_err *err) {
    weir_queue *q = weir_calloc(1, sizeof *q);
    if (!q) return weir_fail(err, WEIR_ENOMEM, "out of memory for a queue");
    q->e = e;
    q->stall_seconds = 0.020; /* a reader does not see it, and a slice is a few chunks long */
    weir_engine_get_facts(e, &q->facts);
    if (pthread_mutex_init(&q->lock, NULL) != 0) {
        weir_free(q);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a lock");
    }
    if (pthread_cond_init(&q->changed, NULL) != 0) {
        pthread_mutex_destroy(&q->lock);
        weir_free(q);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a condition");
    }
    *out = q;
    return WEIR_OK;
}

void weir_queue_close(weir_queue *q) {
    if (!q) return;
    for (weir_request *r = q->first, *next; r; r = next) {
        next = r->next;
        free_request(r);
    }
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    weir_free(q->list);
    weir_free(q->listed);
    weir_free(q);
}
