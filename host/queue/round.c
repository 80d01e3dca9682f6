/* A round: slices of prompts, then a step of those that are being answered. */
#include "host/queue/queue.h"

/* Prompts that take turns: a short one waits for three chunks of others at most per chunk. An encoder's are
 * whole. */
enum { PREFILLS = 4 };

/* ---- prompts ------------------------------------------------------------------------------------------- */

/* Those that wait begin their prompts, in order, while slots are free. */
static void admit(weir_queue *q) {
    while (q->n_active < q->facts.n_parallel && q->n_in[WEIR_REQUEST_PROMPT] < PREFILLS) {
        weir_waiting *w = weir__order_first(&q->order);
        if (!w) return;
        weir_request *r = WEIR_NODE_OF(w, weir_request, wait);
        if (!weir__queue_has_pages(r)) return;
        weir__request_begin(r);
    }
}

static bool reads(const weir_request *r) {
    return r->state == WEIR_REQUEST_PROMPT && !r->cancelled && (r->session || !r->prompt_done);
}

/* Whose prompt runs now: each in turn, but not within a part. */
static weir_request *next_prompt(weir_queue *q) {
    weir_request *first = NULL, *after = NULL;
    for (int i = 0; i < q->n_active; i++) {
        weir_request *r = q->active[i];
        if (!reads(r)) continue;
        if (r == q->in_part) return r;
        if (!first || r->turn < first->turn) first = r;
        if (r->turn > q->turn && (!after || r->turn < after->turn)) after = r;
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

static void average(double *mean, double x) { *mean = *mean > 0.0 ? 0.5 * (*mean + x) : x; }

/* One slice, without the lock. */
static weir_status run_slice(weir_queue *q, weir_request *r, double seconds, weir_err *err) {
    int64_t before = 0, left = 0;
    const int64_t slice = slice_of(q, seconds);
    weir_status st = weir_session_prefill(r->session, 0, &before, err);
    const double t0 = q->now();
    if (st == WEIR_OK && before > 0) st = weir_session_prefill(r->session, slice, &left, err);
    if (st != WEIR_OK) return st;
    const double spent = q->now() - t0;
    const int64_t done = before - left;
    r->n_idle = before > 0 && done <= 0 ? r->n_idle + 1 : 0; /* once, if who was ahead with its prompt left */
    if (r->n_idle > 3)
        return weir_fail(err, WEIR_EINVAL, "slices of a prompt were run and nothing of it is done");
    if (done > 0 && weir_session_state(r->session) == WEIR_RUNNING) { /* one that was given up ran nothing */
        average(&q->position_seconds, spent / (double)done);
        if (slice == 1) average(&q->least_seconds, spent);
    }
    r->prompt_done = left == 0;
    q->in_part = weir_session_in_part(r->session) ? r : NULL;
    return WEIR_OK;
}

/* The same of a text that is scored: rows of one call, which are few. */
static weir_status run_scoring(weir_queue *q, weir_request *r, double seconds, weir_err *err) {
    int64_t left = 0;
    const weir_status st = weir_score_step(r->scoring, slice_of(q, seconds), &left, err);
    r->prompt_done = st == WEIR_OK && left == 0;
    q->in_part = weir_score_in_part(r->scoring) ? r : NULL;
    return st;
}

/* Scorings that are done or were given up, which no step ends. Their slots are free then. */
static void end_scorings(weir_queue *q) {
    for (int i = q->n_active - 1; i >= 0; i--) {
        weir_request *r = q->active[i];
        if (r->session || !(r->cancelled || r->prompt_done)) continue;
        if (!r->prompt_done) {
            weir_score_end(r->scoring);
            r->scoring = NULL;
        }
        weir__request_end(r, WEIR_OK, NULL);
    }
}

/* Slices of prompts, each in turn, for as long as those who are being answered may wait: short prompts all
 * join the same step. */
static void run_prompts(weir_queue *q) {
    const double until = q->now() + q->options.stall_seconds;
    while (q->broken == WEIR_OK) {
        weir__queue_expire(q);
        end_scorings(q);
        admit(q);
        weir_request *r = next_prompt(q);
        if (!r) return;
        weir_err err = {{0}};
        const double left = until - q->now();
        pthread_mutex_unlock(&q->lock);
        const weir_status st = r->session ? run_slice(q, r, left, &err) : run_scoring(q, r, left, &err);
        pthread_mutex_lock(&q->lock);
        if (st == WEIR_OK && r->session && r->prompt_done) weir__request_run(r);
        if (st == WEIR_EPAGES) {
            if (!weir__queue_make_room(q, &err)) weir__queue_break(q, st, &err);
            return; /* a step may bring more */
        }
        if (weir__is_lost(st))
            weir__queue_break(q, st, &err);
        else if (st != WEIR_OK)
            weir__request_fail(r, st, err.text);
        if (q->now() + q->least_seconds >= until) return; /* another one would end too late */
    }
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static void list(weir_queue *q, int *n, weir_request *r) {
    q->listed[*n] = r;
    q->list[(*n)++] = r->session;
}

/* Sessions to step: those whose prompts are done, and those that are to end. */
static int gather(weir_queue *q) {
    int n = 0;
    for (int i = 0; i < q->n_active; i++) {
        weir_request *r = q->active[i];
        if (r->session && (r->state == WEIR_REQUEST_RUNNING || r->cancelled)) list(q, &n, r);
    }
    return n;
}

static int gather_leaving(weir_queue *q) {
    int n = 0;
    for (weir_node *at = q->leaving.next; at != &q->leaving && n < WEIR_QUEUE_LEAVING; at = at->next)
        list(q, &n, WEIR_NODE_OF(at, weir_request, in_leaving));
    return n;
}

/* Blocks of a step. On a CPU a call costs nothing, and tokens are handed over after each. A device's calls
 * are dearer than its blocks. But readers see tokens after a step, so it takes no longer than they notice;
 * and a slot that falls free inside one stays empty until it returns. Who comes ends it at a block edge. */
static int blocks_of(const weir_queue *q) {
    enum { MOST = 32, WHILE_SOMEBODY_WAITS = 4 };
    const double unnoticed = 0.05; /* seconds */
    if (q->facts.isa) return 1;
    const bool somebody_waits = q->n_in[WEIR_REQUEST_WAITING] + q->n_in[WEIR_REQUEST_PROMPT] > 0;
    const int most = somebody_waits || q->n_wake > 0 ? WHILE_SOMEBODY_WAITS : MOST;
    const double fit = q->block_seconds > 0.0 ? unnoticed / q->block_seconds : WHILE_SOMEBODY_WAITS;
    return fit < 1.0 ? 1 : fit < most ? (int)fit : most;
}

/* What a step left of a session. */
static void harvest(weir_request *r) {
    const size_t n = r->fresh.n;
    const bool moved = n == 0 || weir__queue_move_tokens(&r->ready, &r->fresh);
    const bool runs = weir_session_state(r->session) == WEIR_RUNNING; /* then the next round tries again */
    if (moved) weir__request_answered(r, n);
    if (r->starved || (!moved && !runs))
        weir__request_fail(r, WEIR_ENOMEM, "out of memory for the tokens of an answer");
    if (runs) {
        weir__request_notify(r);
        return;
    }
    weir_session_view v;
    weir_session_get(r->session, &v);
    weir__request_end(r, v.failure ? WEIR_ELOGITS : WEIR_OK, v.failure);
}

/* One step of those that are listed. EPAGES: nothing was decided. */
static weir_status step(weir_queue *q, int n, int blocks, weir_err *err) {
    if (n == 0) return WEIR_OK;
    pthread_mutex_unlock(&q->lock);
    const weir_status st = weir_step(q->e, q->list, n, blocks, err);
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < n; i++) harvest(q->listed[i]);
    /* ELOGITS ends the sessions that it is about; after anything else no further step can be trusted */
    if (st != WEIR_OK && st != WEIR_ELOGITS && st != WEIR_EPAGES) weir__queue_break(q, st, err);
    return st;
}

static void measure_step(weir_queue *q, double seconds, int blocks) {
    const double each = seconds / blocks; /* less than a block took, if the step ended early */
    average(&q->block_seconds, each);
    if (!q->options.on_step) return;
    pthread_mutex_unlock(&q->lock);
    q->options.on_step(q->options.ud, seconds);
    pthread_mutex_lock(&q->lock);
}

/* Those that are being answered; where pages are few, fewer of them, and each a block. */
static void step_running(weir_queue *q) {
    int blocks = blocks_of(q);
    for (weir_status st = WEIR_EPAGES; st == WEIR_EPAGES && q->broken == WEIR_OK;) {
        weir_err err = {{0}};
        const int n = gather(q);
        const double began = q->now();
        st = step(q, n, blocks, &err);
        if (n > 0 && st != WEIR_EPAGES) measure_step(q, q->now() - began, blocks);
        if (st == WEIR_EPAGES && blocks == 1 && !weir__queue_make_room(q, &err))
            weir__queue_break(q, st, &err);
        blocks = st == WEIR_EPAGES ? 1 : blocks;
    }
}

/* Who leaves has no slot: these steps run nothing. */
static void end_leaving(weir_queue *q) {
    for (int left = q->n_in[WEIR_REQUEST_LEAVING]; left > 0 && q->broken == WEIR_OK;
         left -= WEIR_QUEUE_LEAVING)
        (void)step(q, gather_leaving(q), 1, &(weir_err){{0}});
}

void weir__queue_round(weir_queue *q) {
    q->round_began = q->now();
    weir__order_advance(&q->order, q->round_began);
    run_prompts(q);
    weir__queue_expire(q);
    end_scorings(q);
    end_leaving(q);
    /* after the steps above, which take back that somebody asked this round to be short */
    step_running(q);
    q->round_began = 0.0;
}
