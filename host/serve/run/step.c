#include <string.h>

#include "host/serve/run/request.h"

/* The stepping thread: events of the queue become letters. Tokens are copied and nothing else is made of them
 * here, since every session waits for this thread. */

static serve_news *copy_tokens(const weir_queue_event *ev) {
    size_t n_top = 0, text = 0;
    for (size_t i = 0; i < ev->n_token; i++) {
        n_top += (size_t)ev->tokens[i].n_top;
        text += ev->tokens[i].bytes;
    }
    const size_t tokens = ev->n_token * sizeof(weir_token_event), tops = n_top * sizeof(weir_top);
    const size_t bytes = sizeof(serve_news) + tokens + tops + text;
    serve_news *n = weir_alloc(bytes, 1);
    if (!n) return NULL;
    *n = (serve_news){.bytes = bytes,
                      .n = ev->n_token,
                      .choice = (serve_choice *)ev->ud,
                      .letter = {.open = serve_news_open}};
    weir_top *top = (weir_top *)(void *)((char *)n->tokens + tokens);
    char *at = (char *)top + tops;
    for (size_t i = 0; i < n->n; i++) {
        weir_token_event *t = &n->tokens[i];
        *t = ev->tokens[i];
        if (t->n_top > 0) memcpy(top, t->top, (size_t)t->n_top * sizeof *top);
        if (t->bytes > 0) memcpy(at, t->text, t->bytes);
        t->top = top;
        t->text = at;
        top += t->n_top;
        at += t->bytes;
    }
    return n;
}

void serve_choice_tokens(serve *s, serve_job *j, const weir_queue_event *ev) {
    serve_choice *c = (serve_choice *)j;
    if (c->starved) return;
    serve_news *n = copy_tokens(ev);
    if (n) {
        serve_mailbox_send(&s->box, &n->letter);
    } else {
        c->starved = true;
        weir_queue_cancel(ev->request);
    }
}

static void *copy_of(const void *p, size_t n, size_t size) {
    void *q = p && n > 0 ? weir_alloc(n, size) : NULL;
    if (q) memcpy(q, p, n * size);
    return q;
}

static void take_scores(serve_choice *c, const weir_queue_event *ev) {
    const size_t n = ev->n_score, n_top = n * (size_t)c->of->ask.n_top;
    c->scores = copy_of(ev->scores, n, sizeof *c->scores);
    c->score_top = copy_of(ev->score_top, n_top, sizeof *c->score_top);
    c->n_score = n;
    c->starved = (n > 0 && !c->scores) || (ev->score_top && n_top > 0 && !c->score_top);
}

void serve_choice_end(serve *s, serve_job *j, const weir_queue_event *ev) {
    serve_choice *c = (serve_choice *)j;
    const weir_session_view *v = &ev->view;
    c->status = ev->status;
    c->err = ev->err;
    c->deadline = ev->deadline;
    c->how = (api_end){.finish = v->finish,
                       .ended_by = v->ended_by,
                       .costs = v->costs,
                       .stop = v->stop,
                       .eos = v->eos,
                       .eos_logprob = v->eos_logprob,
                       .eos_policy_logprob = v->eos_policy_logprob,
                       .deadline = ev->deadline,
                       .o = c->of->slowed ? &c->of->run : NULL,
                       .queue_seconds = ev->queue_seconds,
                       .n_cached = v->stats.n_prompt_cached[0],
                       .stats = v->stats};
    for (; c->how.n_eos_top < v->n_eos_top; c->how.n_eos_top++)
        c->how.eos_top[c->how.n_eos_top] = v->eos_top[c->how.n_eos_top];
    if (c->scoring && ev->status == WEIR_OK) take_scores(c, ev);
    c->end.open = serve_end_open;
    serve_mailbox_send(&s->box, &c->end);
}

void serve_submit(serve *s, weir_queue_job *jobs, int n, double began, uint64_t client, weir_request **out,
                  serve_error *e) {
    const double limit = s->opt->request_seconds;
    for (int i = 0; i < n; i++) {
        jobs[i].client = client;
        jobs[i].options.cache_salt ^= client; /* nobody learns from times what others ask */
        if (limit > 0.0) jobs[i].until = began + limit;
    }
    weir_err err = {{0}};
    const weir_status st = weir_queue_submit(s->queue, jobs, n, out, &err);
    if (st != WEIR_EBUSY) {
        if (st != WEIR_OK) serve_fail_status(e, st, &err);
        return;
    }
    weir_queue_facts f;
    weir_queue_get_facts(s->queue, &f);
    serve_fail(e, 503, "queue_full", NULL, "%s", err.text);
    const double wait = f.expected_wait_seconds;
    e->retry_after = !(wait > 1.0) ? 1 : wait < 60.0 ? (int)wait : 60;
}

void *serve_step(void *ud) {
    serve *s = ud;
    weir_queue_event ev;
    while (!atomic_load(&s->stop)) {
        weir_queue_next(s->queue, 1e9, &ev);
        serve_job *j = ev.ud;
        if (ev.kind == WEIR_QUEUE_TOKENS) j->tokens(s, j, &ev);
        if (ev.kind == WEIR_QUEUE_END) j->end(s, j, &ev);
    }
    weir_queue_next(s->queue, 0.0, NULL);
    return NULL;
}
