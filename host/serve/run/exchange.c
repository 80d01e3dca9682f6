#include "host/serve/run/request.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/serve/run/record.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

static void free_news(serve_exchange *e, serve_choice *c) {
    for (serve_news *n = c->first, *next; n; n = next) {
        next = n->next;
        e->s->waiting -= n->bytes;
        weir_free(n);
    }
    c->first = c->last = NULL;
}

static void free_exchange(serve_exchange *e) {
    for (int i = 0; i < e->n_job; i++) {
        free_news(e, &e->choices[i]);
        weir_free(e->choices[i].scores);
        weir_free(e->choices[i].score_top);
    }
    api_answer_free(e->answer);
    if (e->has_ask) api_ask_free(&e->ask);
    weir_free(e->choices);
    weir_free(e->requests);
    weir_free(e->body);
    if (e->prev)
        e->prev->next = e->next;
    else
        e->s->first = e->next;
    if (e->next) e->next->prev = e->prev;
    e->s->n_exchange--;
    weir_free(e);
}

/* Nothing refers to it any more: no exchange, no worker, no request of the queue. */
static void free_if_done(serve_exchange *e) {
    const bool idle = e->over && e->read && (!e->submitted || e->n_arrived == e->n_job);
    if (idle && !e->held) free_exchange(e);
}

static void cancel_choices(serve_exchange *e) {
    for (int i = 0; e->submitted && i < e->n_job; i++)
        if (!e->choices[i].arrived) weir_queue_cancel(e->requests[i]);
}

/* The answer has been given, or nobody is there for it: what still runs is for nothing. */
static void let_go(serve_exchange *e) {
    e->x = NULL;
    cancel_choices(e);
    for (int i = 0; e->submitted && i < e->n_job; i++) free_news(e, &e->choices[i]);
}

static void peer_gone(serve_item *i) {
    serve_exchange *e = (serve_exchange *)i;
    e->end = "gone";
    let_go(e);
}

static void exchange_done(serve_item *i, const http_exchange *x, int status, double seconds) {
    serve_exchange *e = (serve_exchange *)i;
    serve_record_exchange(e->s, e, x, status, seconds);
    e->x = NULL;
    e->over = true;
    free_if_done(e);
}

/* ---- the answer ---------------------------------------------------------------------------------------- */

static void fail(serve_exchange *e, const serve_error *error) {
    http_exchange *x = e->x;
    e->end = error->code;
    serve_record_refusal(e->s, error);
    let_go(e);
    if (!http_stream_begun(x)) {
        http_fail(x, error);
        return;
    }
    wire_buf *out = &e->s->out;
    out->len = 0;
    if (api_answer_break(error, out)) {
        http_stream_write(x, out->data, out->len);
        http_stream_end(x);
    } else {
        http_hang_up(x);
    }
}

static void fail_memory(serve_exchange *e) {
    serve_error error;
    serve_fail(&error, 500, "internal_error", NULL, "out of memory for an answer");
    fail(e, &error);
}

/* Why a choice ended without an answer; false where it did not. */
static bool choice_failed(const serve_exchange *e, const serve_choice *c, serve_error *error) {
    const bool empty = c->how.stats.n_output == 0 && c->how.ended_by != WEIR_ENDED_EOS;
    if (c->starved) return !serve_fail(error, 500, "internal_error", NULL, "out of memory for an answer");
    if (c->status != WEIR_OK) return !serve_fail_status(error, c->status, &c->err);
    if (c->deadline && (empty || c->scoring))
        return !serve_fail(error, 504, "deadline_exceeded", NULL,
                           "the time for this request was over before its first token");
    if (c->how.finish == WEIR_FINISH_CANCELLED && !c->deadline) { /* but by a peer, who gets no answer */
        if (e->s->stage == SERVE_READY)                           /* a session that cannot keep its text */
            return !serve_fail(error, 500, "internal_error", NULL, "out of memory for an answer");
        return !serve_fail(error, 503, "server_shutdown", NULL, "the server ended this answer");
    }
    return false;
}

static void send(serve_exchange *e, wire_buf *out) {
    if (out->len == 0) return;
    if (!http_stream_begun(e->x)) http_stream_begin(e->x, "text/event-stream; charset=utf-8");
    http_stream_write(e->x, out->data, out->len);
    e->last_sent = weir_seconds();
    out->len = 0;
}

/* The scoring job of a choice's prompt; NULL: none. */
static serve_choice *scores_of(const serve_exchange *e, int choice) {
    const int at = e->n_choice + choice / e->ask.n;
    return at < e->n_job ? &e->choices[at] : NULL;
}

/* With echo the prompt comes first. False: out of memory; *wait: it has not been scored yet. */
static bool tell_prompt(serve_exchange *e, serve_choice *c, bool *wait) {
    *wait = false;
    if (!e->ask.echo || c->prompt_told) return true;
    const serve_choice *scored = scores_of(e, c->index);
    *wait = scored && !scored->arrived;
    if (*wait) return true;
    c->prompt_told = true;
    const api_scored it = {scored ? scored->scores : NULL, scored ? scored->score_top : NULL,
                           scored ? scored->n_score : 0};
    return api_answer_prompt(e->answer, c->index, e->ask.logprobs ? &it : NULL);
}

/* What a choice has, as far as its reader takes it. False: out of memory. */
static bool tell_choice(serve_exchange *e, serve_choice *c, wire_buf *out) {
    const size_t most = 64 << 10;
    bool wait = false;
    if (!tell_prompt(e, c, &wait)) return false;
    if (wait) return true;
    for (serve_news *n; (n = c->first);) {
        if (out && http_stream_waiting(e->x) + out->len >= most) return true;
        if (!api_answer_tokens(e->answer, c->index, n->tokens, n->n, out)) return false;
        c->first = n->next;
        if (!c->first) c->last = NULL;
        e->s->waiting -= n->bytes;
        weir_free(n);
    }
    if (!c->arrived || c->told) return true;
    c->told = true;
    return api_answer_end(e->answer, c->index, &c->how, out);
}

static bool all_told(const serve_exchange *e) {
    for (int i = 0; i < e->n_choice; i++)
        if (!e->choices[i].told) return false;
    return true;
}

static void finish(serve_exchange *e) {
    wire_buf *out = &e->s->out;
    http_exchange *x = e->x;
    e->end = weir_ended_name(e->choices[0].how.ended_by);
    if (!api_answer_finish(e->answer, out)) {
        fail_memory(e);
    } else if (e->ask.stream) {
        send(e, out);
        let_go(e);
        http_stream_end(x);
    } else {
        let_go(e);
        http_reply(x, 200, "application/json", out->data, out->len);
    }
}

/* Moves what has come into the answer, and the answer to its reader. */
static void move(serve_exchange *e) {
    if (!e->x || !e->submitted) return;
    wire_buf *out = &e->s->out;
    out->len = 0;
    for (int i = 0; i < e->n_job; i++) {
        serve_error error;
        if (e->choices[i].arrived && choice_failed(e, &e->choices[i], &error)) {
            fail(e, &error);
            return;
        }
    }
    for (int i = 0; i < e->n_choice; i++) {
        if (!tell_choice(e, &e->choices[i], e->ask.stream ? out : NULL)) {
            fail_memory(e);
            return;
        }
    }
    if (all_told(e))
        finish(e);
    else
        send(e, out);
}

/* The same; e may be gone after it. */
static void pump(serve_exchange *e) {
    e->held = true;
    move(e);
    e->held = false;
    free_if_done(e);
}

/* ---- letters ------------------------------------------------------------------------------------------- */

/* Readers that take nothing hold memory for all: the one that has waited longest goes. */
static void drop_slowest(serve *s) {
    serve_exchange *slowest = NULL;
    for (serve_exchange *e = s->first; e; e = e->next) {
        const bool waits =
            e->x && e->submitted && e->ask.stream && http_stream_begun(e->x) && http_stream_waiting(e->x) > 0;
        if (waits && (!slowest || e->last_sent < slowest->last_sent)) slowest = e;
    }
    if (!slowest) return;
    http_exchange *x = slowest->x;
    let_go(slowest);
    http_hang_up(x);
}

void serve_news_open(serve_letter *l) {
    serve_news *n = (serve_news *)l;
    serve_choice *c = n->choice;
    serve_exchange *e = c->of;
    serve_record_tokens(c, n->n);
    if (e->first_token == 0.0) e->first_token = c->first_token;
    if (e->read && !e->x) { /* nobody is there */
        weir_free(n);
        return;
    }
    n->next = NULL;
    if (c->last)
        c->last->next = n;
    else
        c->first = n;
    c->last = n;
    serve *s = e->s;
    s->waiting += n->bytes;
    pump(e);
    if (s->waiting > s->opt->buffer_bytes) drop_slowest(s);
}

void serve_end_open(serve_letter *l) {
    serve_choice *c = (serve_choice *)((char *)l - offsetof(serve_choice, end));
    serve_exchange *e = c->of;
    c->arrived = true;
    e->n_arrived++;
    weir_request_free(e->requests[c - e->choices]);
    serve_record_choice(c);
    const bool lost = c->status != WEIR_OK && c->status != WEIR_ELOGITS && c->status != WEIR_ENOMEM;
    if (lost) serve_go_down(e->s, c->status, &c->err);
    pump(e);
}

/* ---- the body, on a worker ----------------------------------------------------------------------------- */

static weir_queue_job job_of(const serve_exchange *e, int i) {
    const api_ask *a = &e->ask;
    const serve_choice *c = &e->choices[i];
    const api_prompt *p = &a->prompts[c->index / a->n];
    weir_queue_job job = weir_queue_job_default();
    job.options = e->run;
    job.options.cache_salt = a->cache_salt;
    job.prompt = p->ids;
    job.n_prompt = p->n;
    if (c->scoring) { /* a plain text is the completion of its first token */
        job.n_prompt = 1;
        job.completion = p->ids + 1;
        job.n_completion = p->n - 1;
    } else {
        job.options.choice = (uint32_t)(c->index % a->n);
    }
    job.priority = a->priority;
    job.answer_seconds = a->answer_seconds;
    job.ud = &e->choices[i].job;
    return job;
}

/* Under load a draft of many tokens takes time from others. At a temperature above 0 this draws other tokens,
 * so it is done only if the flag asks for it, and the answer reports it. */
static void fit_to_load(serve_exchange *e) {
    const int bound = e->s->opt->speculate_below;
    weir_queue_facts f;
    e->run = e->ask.o;
    if (bound <= 0 || e->run.method != WEIR_METHOD_SPECULATIVE || e->run.n_draft == 1) return;
    weir_queue_get_facts(e->s->queue, &f);
    e->slowed = f.waiting + f.prompts + f.running + e->n_choice > bound;
    if (e->slowed) e->run.n_draft = 1;
}

static void submit(serve_exchange *e) {
    fit_to_load(e);
    weir_queue_job *jobs = weir_calloc((size_t)e->n_job, sizeof *jobs);
    if (!jobs) {
        serve_fail(&e->error, 500, "internal_error", NULL, "out of memory for a request");
        return;
    }
    for (int i = 0; i < e->n_job; i++) jobs[i] = job_of(e, i);
    serve_submit(e->s, jobs, e->n_job, e->began, e->client, e->requests, &e->error);
    weir_free(jobs);
}

static bool make_choices(serve_exchange *e) {
    const api_ask *a = &e->ask;
    e->n_choice = a->n * a->n_prompt;
    const int n_score = a->echo && a->logprobs ? a->n_prompt : 0;
    const size_t n = (size_t)(e->n_choice + n_score);
    e->choices = weir_calloc(n, sizeof *e->choices);
    e->requests = weir_calloc(n, sizeof(weir_request *));
    e->answer = api_answer_begin(&e->s->api, a, e->id, (int64_t)time(NULL));
    if (!e->choices || !e->requests || !e->answer) return false;
    e->n_job = (int)n;
    for (int i = 0; i < e->n_job; i++) {
        const bool scoring = i >= e->n_choice;
        e->choices[i] = (serve_choice){.job = {.tokens = serve_choice_tokens, .end = serve_choice_end},
                                       .of = e,
                                       .scoring = scoring,
                                       .index = scoring ? (i - e->n_choice) * a->n : i};
    }
    return true;
}

static void read_body(serve_task *t) {
    serve_exchange *e = (serve_exchange *)((char *)t - offsetof(serve_exchange, task));
    if (!api_ask_read(&e->s->api, e->ask.chat, e->body, e->n_body, &e->ask, &e->error)) return;
    e->has_ask = true;
    if (make_choices(e))
        submit(e);
    else
        serve_fail(&e->error, 500, "internal_error", NULL, "out of memory for a request");
}

static void body_read(serve_letter *l) {
    serve_task *t = (serve_task *)l;
    serve_exchange *e = (serve_exchange *)((char *)t - offsetof(serve_exchange, task));
    weir_free(e->body);
    e->body = NULL;
    e->read = true;
    e->submitted = e->error.status == 0;
    e->held = true;
    if (!e->x)
        let_go(e);
    else if (!e->submitted)
        fail(e, &e->error);
    pump(e);
}

/* ---- routes -------------------------------------------------------------------------------------------- */

static void begin(serve *s, http_exchange *x, bool chat) {
    serve_error error;
    if (!serve_is_ready(s, &error)) {
        serve_record_refusal(s, &error);
        http_fail(x, &error);
        return;
    }
    serve_exchange *e = weir_calloc(1, sizeof *e);
    size_t n = 0;
    const char *body = http_body(x, &n);
    if (e) e->body = weir_alloc(n + 1, 1);
    if (!e || !e->body) {
        weir_free(e);
        serve_fail(&error, 500, "internal_error", NULL, "out of memory for a request");
        http_fail(x, &error);
        return;
    }
    if (n > 0) memcpy(e->body, body, n);
    http_drop_body(x);
    e->n_body = n;
    e->item = (serve_item){peer_gone, exchange_done};
    e->s = s;
    e->x = x;
    e->ask.chat = chat;
    e->began = http_began(x);
    e->client = http_client(x);
    e->last_sent = e->began;
    snprintf(e->id, sizeof e->id, "%s-%s", chat ? "chatcmpl" : "cmpl", http_id(x));
    e->next = s->first;
    if (s->first) s->first->prev = e;
    s->first = e;
    s->n_exchange++;
    http_set_ud(x, e);
    e->task = (serve_task){.letter = {.open = body_read}, .run = read_body};
    serve_workers_add(s->workers, &e->task);
}

void serve_completions(void *ud, http_exchange *x) { begin(ud, x, false); }
void serve_chat(void *ud, http_exchange *x) { begin(ud, x, true); }

void serve_exchange_drained(serve_item *i) {
    if (i->gone == peer_gone) pump((serve_exchange *)i);
}

/* A proxy or client that hears nothing for long gives up: silent streams get a comment. */
void serve_exchanges_tick(serve *s) {
    const double now = weir_seconds();
    for (serve_exchange *e = s->first; e; e = e->next) {
        if (!e->x || !e->submitted || !e->ask.stream || s->opt->ping_seconds <= 0.0) continue;
        if (now - e->last_sent < s->opt->ping_seconds || http_stream_waiting(e->x) > 0) continue;
        s->out.len = 0;
        if (wire_buf_puts(&s->out, ": ping\n\n")) send(e, &s->out);
    }
}

int serve_exchanges_slots(const serve *s, api_slot *out, int cap) {
    int n = 0;
    for (const serve_exchange *e = s->first; e; e = e->next) {
        for (int i = 0; e->submitted && i < e->n_choice && n < cap; i++) {
            const serve_choice *c = &e->choices[i];
            if (c->arrived || c->n_token == 0) continue;
            out[n++] = (api_slot){
                .o = &e->ask.o, .n_prompt = (int64_t)e->ask.prompts[i / e->ask.n].n, .n_output = c->n_token};
        }
    }
    return n;
}

void serve_exchanges_cancel(serve *s) {
    for (serve_exchange *e = s->first; e; e = e->next) cancel_choices(e);
}

void serve_exchanges_free(serve *s) {
    while (s->first) free_exchange(s->first);
}
