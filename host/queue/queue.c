/* Requests over one engine: who waits, whose prompt runs next, who is stepped. Knows weir.h alone.
 *
 * The lock guards lists and states. A round runs models without it: the thread that finds work and no other
 * stepping becomes the stepping thread for one round. What a round's callbacks bring is kept in `fresh` of
 * each request, which only that thread touches, and is handed over under the lock when the round ends. A
 * request that has ended holds no slot, so that any thread may free it while others are stepped: only a step
 * ends one, or what broke the engine, after which nothing is stepped. */
#include "host/queue/queue.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* Prompts that take turns: a short one waits for three slices of others at most per slice. */
enum { PREFILLS = 4 };

/* Called from inside a step. No token after one that was lost. */
bool weir__queue_on_token(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)s;
    weir_request *r = ud;
    if (!r->starved) r->starved = !weir__queue_add_token(&r->fresh, ev);
    return !r->starved;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

void weir__queue_free_request(weir_request *r) {
    weir_session_free(r->session);
    weir__queue_free_tokens(&r->fresh);
    weir__queue_free_tokens(&r->ready);
    weir__queue_free_tokens(&r->taken);
    weir_free(r);
}

/* Has an event for its caller, who has done with the one before. */
static bool has_event(const weir_request *r) {
    return !r->orphan && !r->held && (r->ready.n > 0 || (r->state == WEIR_REQUEST_ENDED && !r->reported));
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

static void unlink_event(weir_queue *q, weir_request *r) {
    if (!r->notified) return;
    r->notified = false;
    weir_request *before = NULL, *e = q->first_event;
    while (e != r) before = e, e = e->next_event;
    if (before)
        before->next_event = r->next_event;
    else
        q->first_event = r->next_event;
    if (q->last_event == r) q->last_event = before;
}

static void remove_request(weir_queue *q, weir_request *r) {
    weir_request **at = &q->first;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    unlink_event(q, r);
    weir__queue_free_request(r);
}

/* Every change of a request's state, from and to "not in the queue" (-1): what is counted by state. */
void weir__queue_count_state(weir_queue *q, const weir_request *r, int from, int to) {
    if (from >= 0) q->n_in[from]--;
    if (to >= 0) q->n_in[to]++;
    if (from == WEIR_REQUEST_WAITING) q->waiting_tokens -= r->n_token;
    if (to == WEIR_REQUEST_WAITING) q->waiting_tokens += r->n_token;
}

static void set_state(weir_queue *q, weir_request *r, weir_request_state to) {
    weir__queue_count_state(q, r, (int)r->state, (int)to);
    r->state = to;
}

static void set_failure(weir_request *r, weir_status status, const char *why) {
    r->status = status;
    (void)weir_fail(&r->err, status, "%s", why && why[0] ? why : weir_status_str(status));
}

/* Trouble of its own: the next step ends it and takes its slot back. */
static void fail_request(weir_request *r, weir_status status, const char *why) {
    if (r->status == WEIR_OK) set_failure(r, status, why);
    r->cancelled = true;
    weir_session_cancel(r->session);
}

/* How long requests hold their slots, the latest ones above all. */
static void book_hold(weir_queue *q, double seconds) {
    q->hold_seconds = q->hold_seconds > 0.0 ? 0.9 * q->hold_seconds + 0.1 * seconds : seconds;
}

/* What failed first is what the caller hears of. */
static void end_request(weir_queue *q, weir_request *r, weir_status status, const char *why) {
    if (r->state == WEIR_REQUEST_ENDED) return;
    if (r->begun > 0.0) book_hold(q, weir_seconds() - r->begun);
    set_state(q, r, WEIR_REQUEST_ENDED);
    if (r->status == WEIR_OK && status != WEIR_OK) set_failure(r, status, why);
    q->n_unfinished--;
    if (r->orphan)
        remove_request(q, r);
    else
        notify(q, r);
}

/* Nothing can be stepped any more: every unfinished request ends with the reason. */
static void break_down(weir_queue *q, weir_status status, const weir_err *err) {
    q->broken = status;
    (void)weir_fail(&q->broken_err, status, "%s", err->text[0] ? err->text : weir_status_str(status));
    for (weir_request *r = q->first, *next; r; r = next) {
        next = r->next;
        end_request(q, r, status, q->broken_err.text);
    }
}

/* Whoever waits while there are unfinished requests waits for a round, whose end wakes them: no need here. */
void weir_queue_cancel(weir_request *r) {
    weir_queue *q = r->q;
    pthread_mutex_lock(&q->lock);
    r->cancelled = true;
    weir_session_cancel(r->session);
    pthread_mutex_unlock(&q->lock);
}

void weir_request_free(weir_request *r) {
    if (!r) return;
    weir_queue *q = r->q;
    pthread_mutex_lock(&q->lock);
    if (r->state == WEIR_REQUEST_ENDED) {
        remove_request(q, r);
    } else { /* the stepping thread may be at it */
        unlink_event(q, r);
        r->orphan = r->cancelled = true;
        weir_session_cancel(r->session);
    }
    pthread_mutex_unlock(&q->lock);
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
        set_state(q, r, WEIR_REQUEST_PROMPT);
        r->begun = weir_seconds();
        r->turn = ++q->last_turn;
        taken++, prefills++;
    }
}

/* Whose prompt runs now: each in turn. */
static weir_request *next_prompt(weir_queue *q) {
    weir_request *first = NULL, *after = NULL;
    for (weir_request *r = q->first; r; r = r->next) {
        if (r->state != WEIR_REQUEST_PROMPT || r->cancelled) continue;
        if (!first) first = r;
        if (!after && r->turn > q->turn) after = r;
    }
    weir_request *r = after ? after : first;
    if (r) q->turn = r->turn;
    return r;
}

/* Positions of a slice that takes so long. */
static int64_t slice_of(const weir_queue *q, double seconds) {
    if (q->position_seconds <= 0.0) return 1; /* the backend's chunk: nothing was measured yet */
    const double n = seconds / q->position_seconds;
    return n < 1.0 ? 1 : n < 1e6 ? (int64_t)n : 1000000;
}

/* One slice, without the lock. */
static weir_status run_slice(weir_queue *q, weir_request *r, double seconds, weir_err *err) {
    int64_t before = 0, left = 0;
    weir_status st = weir_session_prefill(r->session, 0, &before, err);
    const double t0 = weir_seconds();
    if (st == WEIR_OK && before > 0) st = weir_session_prefill(r->session, slice_of(q, seconds), &left, err);
    if (st != WEIR_OK) return st;
    const double spent = weir_seconds() - t0;
    const int64_t done = before - left;
    if (before > 0 && done <= 0)
        return weir_fail(err, WEIR_EINVAL, "a slice of a prompt was run and nothing of it is done");
    if (done > 0 && weir_session_state(r->session) == WEIR_RUNNING) { /* one that was given up ran nothing */
        const double each = spent / (double)done;
        q->position_seconds = q->position_seconds > 0.0 ? 0.5 * (q->position_seconds + each) : each;
    }
    r->prompt_done = left == 0;
    return WEIR_OK;
}

/* Sessions to step: those whose prompts are done, and those that are to end. The lists have room for those
 * that hold a slot and for as many that wait for one and are cancelled; the rest of these end a round
 * later. */
static int gather(weir_queue *q, bool *somebody_waits) {
    int n = 0, without_slot = 0;
    *somebody_waits = false;
    for (weir_request *r = q->first; r; r = r->next) {
        if (r->state == WEIR_REQUEST_ENDED) continue;
        if (r->state != WEIR_REQUEST_RUNNING && !r->cancelled) {
            *somebody_waits = true;
            continue;
        }
        if (r->state == WEIR_REQUEST_WAITING && without_slot++ >= q->facts.n_parallel) continue;
        q->listed[n] = r;
        q->list[n++] = r->session;
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
        const bool moved = r->fresh.n == 0 || weir__queue_move_tokens(&r->ready, &r->fresh);
        const bool runs =
            weir_session_state(r->session) == WEIR_RUNNING; /* then the next round tries again */
        if (r->starved || (!moved && !runs))
            fail_request(r, WEIR_ENOMEM, "out of memory for the tokens of an answer");
        if (runs) {
            notify(q, r);
            continue;
        }
        weir_session_view v;
        weir_session_get(r->session, &v);
        end_request(q, r, v.failure ? WEIR_ELOGITS : WEIR_OK, v.failure);
    }
}

/* Slices of prompts, each in turn, for as long as those who are being answered may wait: short prompts all
 * join the same step. With the lock, but not while one runs. */
static void run_prompts(weir_queue *q) {
    const double until = weir_seconds() + q->options.stall_seconds;
    for (weir_request *r; q->broken == WEIR_OK && (admit(q), r = next_prompt(q));) {
        weir_err err = {{0}};
        const double left = until - weir_seconds();
        pthread_mutex_unlock(&q->lock);
        const weir_status st = run_slice(q, r, left, &err);
        pthread_mutex_lock(&q->lock);
        if (st == WEIR_OK && r->prompt_done) set_state(q, r, WEIR_REQUEST_RUNNING);
        if (st == WEIR_ECUDA)
            break_down(q, st, &err);
        else if (st != WEIR_OK)
            fail_request(r, st, err.text);
        if (weir_seconds() >= until) return;
    }
}

/* With the lock, but not while prompts run and sessions step. */
static void run_round(weir_queue *q) {
    weir_err err = {{0}};
    run_prompts(q);
    bool waits;
    const int n = gather(q, &waits);
    if (n == 0) return;
    pthread_mutex_unlock(&q->lock);
    const weir_status st = weir_step(q->e, q->list, n, blocks_of(q, waits), &err);
    pthread_mutex_lock(&q->lock);
    harvest(q, n);
    /* ELOGITS ends the sessions that it is about; after anything else no further step can be trusted */
    if (st != WEIR_OK && st != WEIR_ELOGITS) break_down(q, st, &err);
}

/* ---- events -------------------------------------------------------------------------------------------- */

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

static bool take_event(weir_queue *q, weir_queue_event *ev) {
    weir_request *r = q->first_event;
    if (!r) return false;
    q->first_event = r->next_event;
    if (!q->first_event) q->last_event = NULL;
    r->notified = false;
    *ev = (weir_queue_event){.request = r, .ud = r->ud};
    if (r->ready.n > 0) {
        take_tokens(r, ev);
        r->held = true;
        r->holder = pthread_self();
        return true;
    }
    ev->kind = WEIR_QUEUE_END;
    ev->status = r->status;
    ev->err = r->err;
    ev->queue_seconds = (r->begun > 0.0 ? r->begun : weir_seconds()) - r->came;
    r->reported = true;
    weir_session_get(r->session, &ev->view);
    return true;
}

/* This thread has done with the tokens of its last event: others may have what follows them. */
static void let_go(weir_queue *q) {
    for (weir_request *r = q->first; r; r = r->next) {
        if (!r->held || !pthread_equal(r->holder, pthread_self())) continue;
        r->held = false;
        notify(q, r);
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

static struct timespec deadline(double seconds) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const double whole = floor(seconds);
    t.tv_sec += (time_t)whole;
    t.tv_nsec += (long)((seconds - whole) * 1e9);
    if (t.tv_nsec >= 1000000000L) t.tv_sec++, t.tv_nsec -= 1000000000L;
    return t;
}

/* Rounds and waits until there is an event, or no reason to go on. */
static void find_event(weir_queue *q, double wait_seconds, weir_queue_event *ev) {
    const bool forever = wait_seconds >= 1e9;
    bool expired = !(wait_seconds > 0.0); /* NaN: at once */
    const struct timespec until = deadline(forever || expired ? 0.0 : wait_seconds);
    *ev = (weir_queue_event){.kind = WEIR_QUEUE_IDLE};
    while (!take_event(q, ev)) {
        if (q->n_wake > 0 || (expired && q->n_unfinished == 0)) break;
        if (q->n_unfinished > 0 && !q->stepping) {
            q->stepping = true;
            q->round_began = weir_seconds();
            run_round(q);
            q->stepping = false;
            q->round_began = 0.0;
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

/* ---- open and close ------------------------------------------------------------------------------------ */

/* Waiting uses a monotonic clock. */
static bool make_condition(pthread_cond_t *c) {
    pthread_condattr_t how;
    if (pthread_condattr_init(&how) != 0) return false;
    const bool ok = pthread_condattr_setclock(&how, CLOCK_MONOTONIC) == 0 && pthread_cond_init(c, &how) == 0;
    pthread_condattr_destroy(&how);
    return ok;
}

static void free_queue(weir_queue *q) {
    weir_free(q->list);
    weir_free(q->listed);
    weir_free(q);
}

static weir_queue *new_queue(weir_engine *e, const weir_queue_options *opt) {
    weir_queue *q = weir_calloc(1, sizeof *q);
    if (!q) return NULL;
    q->e = e;
    if (opt) q->options = *opt;
    if (!(q->options.stall_seconds > 0.0)) q->options.stall_seconds = 0.020;
    weir_engine_get_facts(e, &q->facts);
    const size_t n = 2 * (size_t)q->facts.n_parallel;
    q->list = weir_calloc(n, sizeof(weir_session *));
    q->listed = weir_calloc(n, sizeof(weir_request *));
    if (q->list && q->listed) return q;
    free_queue(q);
    return NULL;
}

weir_status weir_queue_open(weir_queue **out, weir_engine *e, const weir_queue_options *opt, weir_err *err) {
    weir_queue *q = new_queue(e, opt);
    if (!q) return weir_fail(err, WEIR_ENOMEM, "out of memory for a queue");
    if (pthread_mutex_init(&q->lock, NULL) != 0) {
        free_queue(q);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a lock");
    }
    if (!make_condition(&q->changed)) {
        pthread_mutex_destroy(&q->lock);
        free_queue(q);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for a condition");
    }
    *out = q;
    return WEIR_OK;
}

void weir_queue_close(weir_queue *q) {
    if (!q) return;
    for (weir_request *r = q->first, *next; r; r = next) {
        next = r->next;
        weir__queue_free_request(r);
    }
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free_queue(q);
}

void weir_queue_get_facts(weir_queue *q, weir_queue_facts *out) {
    pthread_mutex_lock(&q->lock);
    *out = (weir_queue_facts){.waiting = q->n_in[WEIR_REQUEST_WAITING],
                              .prompts = q->n_in[WEIR_REQUEST_PROMPT],
                              .running = q->n_in[WEIR_REQUEST_RUNNING],
                              .waiting_tokens = q->waiting_tokens,
                              .expected_wait_seconds = weir__queue_expected_wait(q),
                              .round_began = q->round_began};
    pthread_mutex_unlock(&q->lock);
}
