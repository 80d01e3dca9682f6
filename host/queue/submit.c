/* From jobs to requests that wait: checks, bounds. */
#include "host/queue/queue.h"

#include <math.h>

weir_queue_job weir_queue_job_default(void) {
    return (weir_queue_job){.options = weir_session_options_default(),
                            .until = (double)INFINITY,
                            .answer_seconds = (double)INFINITY};
}

static weir_status check_job(const weir_queue_job *j, weir_err *err) {
    if (j->priority < WEIR_PRIORITY_MIN || j->priority > WEIR_PRIORITY_MAX)
        return weir_fail(err, WEIR_EINVAL, "priority %d is outside [%d, %d]", j->priority, WEIR_PRIORITY_MIN,
                         WEIR_PRIORITY_MAX);
    if (isnan(j->until) || isnan(j->answer_seconds))
        return weir_fail(err, WEIR_EINVAL, "a deadline is not a number");
    return WEIR_OK;
}

/* Called from inside a step. No token after one that was lost. */
static bool on_token(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)s;
    weir_request *r = ud;
    if (!r->starved) r->starved = !weir__queue_add_token(&r->fresh, ev);
    return !r->starved;
}

static weir_request *blank_request(weir_queue *q, const weir_queue_job *j) {
    weir_request *r = weir_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->q = q;
    r->ud = j->ud;
    r->n_token = j->n_prompt + j->n_completion;
    r->n_left = j->completion ? 0 : j->options.max_tokens;
    r->wait.priority = j->priority;
    r->due = j->until;
    r->due_place = WEIR_HEAP_OUT;
    r->answer_seconds = j->answer_seconds;
    weir__node_init(&r->in_all);
    weir__node_init(&r->in_events);
    weir__node_init(&r->in_held);
    weir__node_init(&r->in_leaving);
    return r;
}

static weir_status new_request(weir_queue *q, const weir_queue_job *j, weir_node *coming, weir_err *err) {
    WEIR_TRY(check_job(j, err));
    weir_request *r = blank_request(q, j);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for a request");
    weir__node_insert(&r->in_all, coming);
    if (j->completion)
        return weir_score_begin(q->e, j->prompt, j->n_prompt, j->completion, j->n_completion,
                                j->options.n_top, j->options.cache_salt, &r->scoring, err);
    return weir_session_create(q->e, &j->options, j->prompt, j->n_prompt, on_token, r, &r->session, err);
}

/* Requests of all jobs, linked by `in_all`; on failure some of them. */
static weir_status new_requests(weir_queue *q, const weir_queue_job *jobs, int n, weir_node *coming,
                                weir_err *err) {
    for (int i = 0; i < n; i++) {
        weir_err why = {{0}};
        const weir_status st = new_request(q, &jobs[i], coming, &why);
        if (st == WEIR_OK) continue;
        if (n == 1) return weir_fail(err, st, "%s", why.text);
        return weir_fail(err, st, "request %d of %d: %s", i + 1, n, why.text);
    }
    return WEIR_OK;
}

static size_t tokens_of(const weir_queue_job *jobs, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++) sum += jobs[i].n_prompt + jobs[i].n_completion;
    return sum;
}

/* For a slot, as the requests before held theirs. */
double weir__queue_expected_wait(const weir_queue *q) {
    const int before = q->n_in[WEIR_REQUEST_WAITING] + q->n_active + 1 - q->facts.n_parallel;
    return before > 0 ? q->hold_seconds * before / q->facts.n_parallel : 0.0;
}

/* Room for n more, which is then theirs. */
static weir_status take_room(weir_queue *q, int n, size_t n_token, weir_err *err) {
    const weir_queue_options *o = &q->options;
    if (q->broken != WEIR_OK) return weir_fail(err, q->broken, "%s", q->broken_err.text);
    if (o->max_requests > 0 && n > o->max_requests)
        return weir_fail(err, WEIR_EINVAL, "%d requests at once; the queue holds %d", n, o->max_requests);
    if (o->max_requests > 0 && q->n_unfinished + q->n_coming > o->max_requests - n)
        return weir_fail(err, WEIR_EBUSY, "%d requests wait or run; the queue holds %d",
                         q->n_unfinished + q->n_coming, o->max_requests);
    const size_t waiting = q->waiting_tokens + q->coming_tokens;
    if (o->max_tokens > 0 && waiting > 0 && (waiting > o->max_tokens || n_token > o->max_tokens - waiting))
        return weir_fail(err, WEIR_EBUSY,
                         "prompts of %zu tokens wait, and %zu more came; the queue holds %zu", waiting,
                         n_token, o->max_tokens);
    q->n_coming += n;
    q->coming_tokens += n_token;
    return WEIR_OK;
}

static void leave_all(weir_queue *q, weir_node *coming) {
    for (weir_node *at = coming->next; at != coming; at = at->next) {
        weir_request *r = WEIR_NODE_OF(at, weir_request, in_all);
        if (r->wait.client) weir__order_leave(&q->order, &r->wait);
    }
}

/* Memory that n more need while they wait, so that nothing can fail afterwards. */
static weir_status enter_all(weir_queue *q, const weir_queue_job *jobs, int n, weir_node *coming,
                             weir_err *err) {
    const size_t all = (size_t)q->n_unfinished + (size_t)n;
    bool ok = weir__heap_reserve(&q->due, all);
    for (weir_node *at = coming->next; ok && at != coming; at = at->next) {
        weir_request *r = WEIR_NODE_OF(at, weir_request, in_all);
        ok = weir__order_enter(&q->order, &r->wait, (jobs++)->client, all);
    }
    if (ok) return WEIR_OK;
    leave_all(q, coming);
    return weir_fail(err, WEIR_ENOMEM, "out of memory for requests that wait");
}

static weir_status take_all(weir_queue *q, const weir_queue_job *jobs, int n, weir_node *coming,
                            weir_request **out, weir_err *err) {
    if (q->broken != WEIR_OK) return weir_fail(err, q->broken, "%s", q->broken_err.text);
    WEIR_TRY(enter_all(q, jobs, n, coming, err));
    for (int i = 0; i < n; i++) {
        out[i] = WEIR_NODE_OF(coming->next, weir_request, in_all);
        weir__request_wait(out[i]);
    }
    if (q->stepping) weir_engine_yield(q->e);
    pthread_cond_broadcast(&q->changed);
    return WEIR_OK;
}

weir_status weir_queue_submit(weir_queue *q, const weir_queue_job *jobs, int n, weir_request **out,
                              weir_err *err) {
    if (n < 1) return weir_fail(err, WEIR_EINVAL, "%d requests; expected at least one", n);
    const size_t n_token = tokens_of(jobs, n);
    weir_node coming;
    weir__node_init(&coming);
    pthread_mutex_lock(&q->lock);
    weir_status st = take_room(q, n, n_token, err);
    pthread_mutex_unlock(&q->lock);
    if (st != WEIR_OK) return st;
    st = new_requests(q, jobs, n, &coming, err);
    pthread_mutex_lock(&q->lock);
    q->n_coming -= n;
    q->coming_tokens -= n_token;
    if (st == WEIR_OK) st = take_all(q, jobs, n, &coming, out, err);
    pthread_mutex_unlock(&q->lock);
    while (!weir__node_alone(&coming)) weir__request_discard(WEIR_NODE_OF(coming.next, weir_request, in_all));
    return st;
}
