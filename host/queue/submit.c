/* From jobs to requests that wait: checks, bounds. */
#include "host/queue/queue.h"

#include <math.h>

weir_queue_job weir_queue_job_default(void) {
    return (weir_queue_job){.options = weir_session_options_default(),
                            .until = (double)INFINITY,
                            .answer_seconds = (double)INFINITY};
}

static weir_status check_job(const weir_queue_job *j, weir_err *err) {
    if (j->completion) return weir_fail(err, WEIR_ENOTSUP, "scoring jobs are not supported");
    if (j->priority < WEIR_PRIORITY_MIN || j->priority > WEIR_PRIORITY_MAX)
        return weir_fail(err, WEIR_EINVAL, "priority %d is outside [%d, %d]", j->priority, WEIR_PRIORITY_MIN,
                         WEIR_PRIORITY_MAX);
    if (isnan(j->until) || isnan(j->answer_seconds))
        return weir_fail(err, WEIR_EINVAL, "a deadline is not a number");
    return WEIR_OK;
}

static weir_status new_request(weir_queue *q, const weir_queue_job *j, weir_request **out, weir_err *err) {
    WEIR_TRY(check_job(j, err));
    weir_request *r = weir_calloc(1, sizeof *r);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for a request");
    r->q = q;
    r->ud = j->ud;
    r->n_token = j->n_prompt;
    const weir_status st = weir_session_create(q->e, &j->options, j->prompt, j->n_prompt,
                                               weir__queue_on_token, r, &r->session, err);
    if (st == WEIR_OK)
        *out = r;
    else
        weir_free(r);
    return st;
}

/* Requests of all jobs, linked by `next`; on failure of those before it. */
static weir_status new_requests(weir_queue *q, const weir_queue_job *jobs, int n, weir_request **first,
                                weir_err *err) {
    weir_request **at = first;
    for (int i = 0; i < n; i++, at = &(*at)->next) {
        weir_err why = {{0}};
        const weir_status st = new_request(q, &jobs[i], at, &why);
        if (st == WEIR_OK) continue;
        if (n == 1) return weir_fail(err, st, "%s", why.text);
        return weir_fail(err, st, "request %d of %d: %s", i + 1, n, why.text);
    }
    return WEIR_OK;
}

static size_t tokens_of(const weir_queue_job *jobs, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++) sum += jobs[i].n_prompt;
    return sum;
}

/* For a slot, as the requests before held theirs. */
double weir__queue_expected_wait(const weir_queue *q) {
    const int taken = q->n_in[WEIR_REQUEST_PROMPT] + q->n_in[WEIR_REQUEST_RUNNING];
    const int before = q->n_in[WEIR_REQUEST_WAITING] + taken + 1 - q->facts.n_parallel;
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

static void link_requests(weir_queue *q, weir_request *first, weir_request **out) {
    const double now = weir_seconds();
    weir_request **at = &q->first;
    while (*at) at = &(*at)->next;
    *at = first;
    for (weir_request *r = first; r; r = r->next) {
        *out++ = r;
        r->came = now;
        weir__queue_count_state(q, r, -1, WEIR_REQUEST_WAITING);
        q->n_unfinished++;
    }
    if (q->stepping) weir_engine_yield(q->e);
    pthread_cond_broadcast(&q->changed);
}

weir_status weir_queue_submit(weir_queue *q, const weir_queue_job *jobs, int n, weir_request **out,
                              weir_err *err) {
    if (n < 1) return weir_fail(err, WEIR_EINVAL, "%d requests; expected at least one", n);
    const size_t n_token = tokens_of(jobs, n);
    weir_request *first = NULL;
    pthread_mutex_lock(&q->lock);
    weir_status st = take_room(q, n, n_token, err);
    pthread_mutex_unlock(&q->lock);
    if (st != WEIR_OK) return st;
    st = new_requests(q, jobs, n, &first, err);
    pthread_mutex_lock(&q->lock);
    q->n_coming -= n;
    q->coming_tokens -= n_token;
    if (st == WEIR_OK && q->broken != WEIR_OK) st = weir_fail(err, q->broken, "%s", q->broken_err.text);
    if (st == WEIR_OK) link_requests(q, first, out), first = NULL;
    pthread_mutex_unlock(&q->lock);
    for (weir_request *r = first, *next; r && st != WEIR_OK; r = next)
        next = r->next, weir__queue_free_request(r);
    return st;
}
