#include "tests/serve/http/host.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- routes -------------------------------------------------------------------------------------------- */

static void text(http_exchange *x, const char *s) { http_reply(x, 200, "text/plain", s, strlen(s)); }

static void serve_health(void *ud, http_exchange *x) {
    atomic_fetch_add(&((host *)ud)->served, 1);
    text(x, "ok");
}

static void serve_echo(void *ud, http_exchange *x) {
    atomic_fetch_add(&((host *)ud)->served, 1);
    size_t n;
    const char *body = http_body(x, &n);
    http_reply(x, 200, "application/json", body, n);
}

static void serve_head(void *ud, http_exchange *x) {
    (void)ud;
    char line[600];
    const char *field = http_header(x, "x-test");
    snprintf(line, sizeof line, "%s|%s|%s", field ? field : "-", http_id(x), http_peer(x));
    http_add_header(x, "X-Answer", "a\r\nb");
    text(x, line);
}

static void serve_path(void *ud, http_exchange *x) {
    (void)ud;
    text(x, http_path(x));
}

/* What a route's code keeps of an exchange; freed when that is over. */
typedef struct work {
    host *h;
    http_exchange *x;
    size_t left;
    bool over;
} work;

static work *work_new(host *h, http_exchange *x) {
    work *w = calloc(1, sizeof *w);
    *w = (work){.h = h, .x = x};
    http_set_ud(x, w);
    return w;
}

/* Runs fn(w) in another turn of the loop. Without memory the exchange ends: with an error if nothing was sent. */
static void post(work *w, void (*fn)(void *ud)) {
    if (http_post(w->h->server, fn, w)) return;
    serve_error e;
    serve_fail(&e, 500, "internal_error", NULL, "out of memory");
    http_set_ud(w->x, NULL);
    http_fail(w->x, &e);
    http_hang_up(w->x); /* nothing, where the error went out */
    free(w);
}

static void reply_later(void *ud) {
    work *w = ud;
    if (!w->over) {
        http_set_ud(w->x, NULL);
        serve_echo(w->h, w->x);
    }
    free(w);
}

static void serve_later(void *ud, http_exchange *x) { post(work_new(ud, x), reply_later); }

static void serve_silent(void *ud, http_exchange *x) {
    host *h = ud;
    http_stream_begin(x, "text/event-stream");
    h->silent[atomic_load(&h->n_silent)] = x;
    atomic_fetch_add(&h->n_silent, 1);
}

static void flood(work *w) {
    static const char part[1000] = {[0 ... 999] = 'f'};
    while (w->left > 0 && http_stream_waiting(w->x) <= w->h->opt.max_buffered) {
        const size_t n = w->left < sizeof part ? w->left : sizeof part;
        http_stream_write(w->x, part, n);
        w->left -= n;
        const size_t waiting = http_stream_waiting(w->x);
        if (waiting > atomic_load(&w->h->most_waiting)) atomic_store(&w->h->most_waiting, waiting);
    }
    if (w->left > 0) return;
    http_set_ud(w->x, NULL);
    http_stream_end(w->x);
    free(w);
}

static size_t number(http_exchange *x) {
    size_t n;
    return strtoul(http_body(x, &n), NULL, 10);
}

static void serve_flood(void *ud, http_exchange *x) {
    work *w = work_new(ud, x);
    w->left = number(x);
    http_stream_begin(x, "text/event-stream");
    flood(w);
}

static void drip(void *ud) {
    work *w = ud;
    char part[32];
    if (w->over) {
        free(w);
    } else if (w->left-- == 0) {
        http_set_ud(w->x, NULL);
        http_stream_end(w->x);
        free(w);
    } else {
        http_stream_write(w->x, part, (size_t)snprintf(part, sizeof part, "data: %zu\n\n", w->left));
        post(w, drip);
    }
}

static void serve_drip(void *ud, http_exchange *x) {
    work *w = work_new(ud, x);
    w->left = number(x);
    http_stream_begin(x, "text/event-stream");
    post(w, drip);
}

static const http_route routes[] = {
    {.path = "/health", .methods = HTTP_GET, .open = true, .serve = serve_health},
    {.path = "/echo", .methods = HTTP_POST, .serve = serve_echo},
    {.path = "/head", .methods = HTTP_GET, .serve = serve_head},
    {.path = "/later", .methods = HTTP_POST, .serve = serve_later},
    {.path = "/silent", .methods = HTTP_POST, .serve = serve_silent},
    {.path = "/flood", .methods = HTTP_POST, .serve = serve_flood},
    {.path = "/drip", .methods = HTTP_POST, .serve = serve_drip},
    {.path = "/files/", .below = true, .methods = HTTP_GET, .serve = serve_path},
    {.path = "/old", .methods = HTTP_GET | HTTP_POST, .instead = "use /echo"},
};

/* ---- calls --------------------------------------------------------------------------------------------- */

static void on_gone(void *ud, http_exchange *x) {
    host *h = ud;
    work *w = http_ud(x);
    const int n = atomic_load(&h->n_silent);
    for (int i = 0; i < n; i++)
        if (h->silent[i] == x) h->silent[i] = NULL;
    if (w && strcmp(http_path(x), "/flood") == 0)
        free(w);
    else if (w)
        w->over = true;
    atomic_fetch_add(&h->gone, 1);
}

static void on_drained(void *ud, http_exchange *x) {
    host *h = ud;
    atomic_fetch_add(&h->drained, 1);
    if (strcmp(http_path(x), "/flood") == 0) flood(http_ud(x));
}

static void on_done(void *ud, const http_exchange *x, int status, double seconds) {
    host *h = ud;
    cr_assert(http_route_of(x) && seconds >= 0);
    atomic_store(&h->status, status);
    atomic_fetch_add(&h->done, 1);
}

static void *run(void *ud) {
    http_server_run(((host *)ud)->server);
    return NULL;
}

/* ---- the server ---------------------------------------------------------------------------------------- */

host *host_start(const http_options *opt, const char *keys) {
    host *h = calloc(1, sizeof *h);
    weir_err err = {""};
    if (opt) h->opt = *opt;
    if (!h->opt.host) h->opt.host = "127.0.0.1";
    if (!h->opt.max_buffered) h->opt.max_buffered = 64 << 10;
    if (keys) cr_assert_eq(http_keys_open(&h->keys, &keys, 1, NULL, &err), WEIR_OK, "%s", err.text);
    const http_calls calls = {.ud = h, .gone = on_gone, .drained = on_drained, .done = on_done};
    cr_assert_eq(
        http_server_open(&h->server, &h->opt, routes, sizeof routes / sizeof *routes, h->keys, &calls, &err),
        WEIR_OK, "%s", err.text);
    h->port = http_server_port(h->server);
    cr_assert_eq(pthread_create(&h->thread, NULL, run, h), 0);
    return h;
}

void host_stop(host *h) {
    http_server_stop(h->server);
    pthread_join(h->thread, NULL);
    http_server_close(h->server);
    http_keys_close(h->keys);
    free(h);
}

static void speak(void *ud) {
    host *h = ud;
    const int n = atomic_exchange(&h->n_silent, 0);
    for (int i = 0; i < n; i++) {
        if (!h->silent[i]) continue;
        http_stream_write(h->silent[i], "said", 4);
        http_stream_end(h->silent[i]);
    }
}

void host_speak(host *h) { host_run(h, speak, h); }

typedef struct call {
    void (*fn)(void *ud);
    void *ud;
    atomic_int over;
} call;

static void run_call(void *ud) {
    call *c = ud;
    c->fn(c->ud);
    atomic_store(&c->over, 1);
}

void host_run(host *h, void (*fn)(void *ud), void *ud) {
    call c = {.fn = fn, .ud = ud};
    cr_assert(http_post(h->server, run_call, &c));
    host_wait(&c.over, 1);
}

void host_wait(const atomic_int *what, int n) {
    while (atomic_load(what) < n) nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}
