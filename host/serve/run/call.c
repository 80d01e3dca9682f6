#include <string.h>

#include "host/serve/api/calls.h"
#include "host/serve/run/record.h"

/* Calls that a worker answers from the body alone. */

typedef bool (*answer_fn)(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e);

typedef struct call {
    serve_item item;
    serve_task task;
    serve *s;
    http_exchange *x; /* NULL once the peer has gone */
    answer_fn answer;
    wire_buf out;
    serve_error error;
    bool ok, read, over;
    size_t n;
    char body[];
} call;

static void free_if_done(call *c) {
    if (!c->read || !c->over) return;
    wire_buf_free(&c->out);
    weir_free(c);
}

static void peer_gone(serve_item *i) { ((call *)i)->x = NULL; }

static void call_done(serve_item *i, const http_exchange *x, int status, double seconds) {
    call *c = (call *)i;
    serve_record_exchange(c->s, NULL, x, status, seconds);
    c->over = true;
    free_if_done(c);
}

static void run(serve_task *t) {
    call *c = (call *)((char *)t - offsetof(call, task));
    c->ok = c->answer(&c->s->api, c->body, c->n, &c->out, &c->error);
}

static void answered(serve_letter *l) {
    call *c = (call *)((char *)l - offsetof(call, task));
    http_exchange *x = c->x;
    if (x && c->ok) http_reply(x, 200, "application/json", c->out.data, c->out.len);
    if (x && !c->ok) http_fail(x, &c->error);
    c->read = true;
    free_if_done(c);
}

void serve_begin_call(serve *s, http_exchange *x, answer_fn answer);
void serve_begin_call(serve *s, http_exchange *x, answer_fn answer) {
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
    c->task = (serve_task){.letter = {.open = answered}, .run = run};
    c->s = s;
    c->x = x;
    c->answer = answer;
    c->n = n;
    if (n > 0) memcpy(c->body, body, n);
    http_drop_body(x);
    http_set_ud(x, c);
    serve_workers_add(s->workers, &c->task);
}

#if 0
void serve_tokenize(void *ud, http_exchange *x) { begin(ud, x, api_tokenize); }
void serve_detokenize(void *ud, http_exchange *x) { begin(ud, x, api_detokenize); }
void serve_apply_template(void *ud, http_exchange *x) { begin(ud, x, api_apply_template); }
void serve_rule(void *ud, http_exchange *x) { begin(ud, x, api_rule); }
#endif
