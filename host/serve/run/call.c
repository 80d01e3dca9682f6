#include <string.h>

#include "host/serve/api/calls.h"
#include "host/serve/run/record.h"

/* Calls that end in one object: what a worker answers from the body alone, and scores, which the queue works
 * out in between. */

typedef bool (*answer_fn)(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e);

typedef struct call {
    serve_item item;
    serve_job job;
    serve_task task;
    serve_letter end; /* of the scoring job */
    serve *s;
    http_exchange *x; /* NULL once answered, or the peer has gone */
    answer_fn answer; /* NULL: a score */
    wire_buf out;
    serve_error error; /* status 0: none */
    double began;
    uint64_t client;
    bool read; /* the worker has done with it */
    bool over; /* the exchange is */
    /* of a score */
    wire_pair pair;
    weir_request *request;
    bool submitted, arrived;
    float *logprobs; /* (completion) */
    weir_status status;
    weir_err err;
    bool deadline;
    size_t n;
    char body[];
} call;

static call *of_job(serve_job *j) { return (call *)((char *)j - offsetof(call, job)); }
static call *of_task(void *t) { return (call *)((char *)t - offsetof(call, task)); }

static void free_if_done(call *c) {
    if (!c->read || !c->over || (c->submitted && !c->arrived)) return;
    wire_buf_free(&c->out);
    wire_pair_free(&c->pair);
    weir_free(c->logprobs);
    weir_free(c);
}

static void peer_gone(serve_item *i) {
    call *c = (call *)i;
    c->x = NULL;
    if (c->read && c->submitted && !c->arrived) weir_queue_cancel(c->request);
}

static void call_done(serve_item *i, const http_exchange *x, int status, double seconds) {
    call *c = (call *)i;
    serve_record_exchange(c->s, NULL, x, status, seconds);
    c->x = NULL;
    c->over = true;
}

/* The end of it; c may be gone after it. */
static void finish(call *c) {
    http_exchange *x = c->x;
    if (x && c->error.status == 0)
        http_reply(x, 200, "application/json", c->out.data, c->out.len);
    else if (x)
        http_fail(x, &c->error);
    free_if_done(c);
}

/* ---- scores -------------------------------------------------------------------------------------------- */

static void score_end(serve *s, serve_job *j, const weir_queue_event *ev) {
    call *c = of_job(j);
    c->status = ev->status;
    c->err = ev->err;
    c->deadline = ev->deadline;
    if (ev->status == WEIR_OK && ev->n_score > 0) {
        c->logprobs = weir_alloc(ev->n_score, sizeof *c->logprobs);
        if (c->logprobs)
            memcpy(c->logprobs, ev->scores, ev->n_score * sizeof *c->logprobs);
        else
            c->status = WEIR_ENOMEM;
    }
    serve_mailbox_send(&s->box, &c->end);
}

static void write_score(call *c) {
    if (c->status != WEIR_OK)
        serve_fail_status(&c->error, c->status, &c->err);
    else if (c->deadline)
        serve_fail(&c->error, 504, "deadline_exceeded", NULL, "the time for this request was over");
    else if (!c->logprobs && c->pair.n[1] > 0)
        serve_fail(&c->error, 503, "server_shutdown", NULL, "the server ended this answer");
    else
        (void)api_score_write(&c->pair, c->logprobs, &c->out, &c->error);
}

static void score_ended(serve_letter *l) {
    call *c = (call *)((char *)l - offsetof(call, end));
    c->arrived = true;
    weir_request_free(c->request);
    if (!c->read) return; /* the worker's letter comes after this one, and goes on */
    write_score(c);
    finish(c);
}

static void submit_score(call *c) {
    if (!api_score_read(&c->s->api, c->body, c->n, &c->pair, &c->error) || c->pair.n[1] == 0) return;
    weir_queue_job job = weir_queue_job_default();
    job.prompt = c->pair.ids[0];
    job.n_prompt = c->pair.n[0];
    job.completion = c->pair.ids[1];
    job.n_completion = c->pair.n[1];
    job.ud = &c->job;
    serve_submit(c->s, &job, 1, c->began, c->client, &c->request, &c->error);
    c->submitted = c->error.status == 0;
}

/* ---- a call -------------------------------------------------------------------------------------------- */

static void run(serve_task *t) {
    call *c = of_task(t);
    if (c->answer)
        (void)c->answer(&c->s->api, c->body, c->n, &c->out, &c->error);
    else
        submit_score(c);
}

static void body_read(serve_letter *l) {
    call *c = of_task(l);
    c->read = true;
    if (c->submitted && !c->arrived) {
        if (!c->x) weir_queue_cancel(c->request);
        return;
    }
    if (!c->answer && c->error.status == 0) write_score(c);
    finish(c);
}

static void begin(serve *s, http_exchange *x, answer_fn answer) {
    serve_error error;
    size_t n = 0;
    const char *body = http_body(x, &n);
    call *c = NULL;
    if (serve_is_ready(s, &error)) {
        c = weir_calloc(1, sizeof *c + n + 1);
        if (!c) serve_fail(&error, 500, "internal_error", NULL, "out of memory for a request");
    }
    if (!c) {
        http_fail(x, &error);
        return;
    }
    c->item = (serve_item){peer_gone, call_done};
    c->job = (serve_job){.end = score_end};
    c->task = (serve_task){.letter = {.open = body_read}, .run = run};
    c->end = (serve_letter){.open = score_ended};
    c->s = s;
    c->x = x;
    c->answer = answer;
    c->began = http_began(x);
    c->client = http_client(x);
    c->n = n;
    if (n > 0) memcpy(c->body, body, n);
    http_drop_body(x);
    http_set_ud(x, c);
    serve_workers_add(s->workers, &c->task);
}

static bool rule(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e) {
    (void)s;
    return api_rule(body, n, out, e);
}

void serve_tokenize(void *ud, http_exchange *x) { begin(ud, x, api_tokenize); }
void serve_detokenize(void *ud, http_exchange *x) { begin(ud, x, api_detokenize); }
void serve_apply_template(void *ud, http_exchange *x) { begin(ud, x, api_apply_template); }
void serve_rule(void *ud, http_exchange *x) { begin(ud, x, rule); }
void serve_score(void *ud, http_exchange *x) { begin(ud, x, NULL); }
