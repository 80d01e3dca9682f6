#include "tests/serve/run/running.h"
#include "tests/support/costs.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL); }

/* Asked at block edges and between chunks: the place where a test can stop the models. */
static bool hold(void *ud) {
    running *r = ud;
    if (!atomic_load(&r->hold_steps)) return false;
    atomic_fetch_add(&r->held, 1);
    while (atomic_load(&r->hold_steps)) nap();
    return false;
}

static bool open_engine(void *ud, weir_engine **out) {
    running *r = ud;
    weir_err err = {""};
    while (atomic_load(&r->hold_open)) nap();
    if (atomic_load(&r->refuse_open)) return false;
    if (weir_engine_open(out, &r->engine, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    if (r->opened) r->opened(*out);
    return true;
}

static void listening(void *ud, const char *url) {
    running *r = ud;
    atomic_store(&r->port, (int)strtol(strrchr(url, ':') + 1, NULL, 10));
}

static void ready(void *ud, const weir_engine *e) {
    (void)e;
    atomic_store(&((running *)ud)->ready, 1);
}

static void warn(void *ud, const char *line) {
    (void)ud;
    fprintf(stderr, "%s\n", line);
}

void running_init(running *r) {
    static const char *const names[] = {"demo"};
    weir_session_options defaults = weir_session_options_default();
    defaults.max_tokens = 512;
    r->engine = weir_engine_options_default();
    r->engine.costs = TEST_COSTS;
    r->engine.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    r->engine.model_draft = WEIR_SOURCE_DIR "/models/demo/drafter";
    r->engine.device = "cpu";
    r->engine.chat_template = "plain";
    r->engine.n_thread = 1;
    r->engine.n_parallel = 2;
    r->engine.prefix_cache = true;
    r->engine.interrupt = (weir_interrupt){hold, r};
    r->o = (serve_options){.http = {.host = "127.0.0.1"},
                           .open_engine = open_engine,
                           .ud = r,
                           .api = {.names = names, .n_name = 1, .defaults = defaults, .metrics = true},
                           .stall_seconds = 0.02,
                           .shutdown_seconds = 600.0,
                           .buffer_bytes = (size_t)64 << 20,
                           .n_worker = 2,
                           .metrics = true,
                           .slots = true,
                           .page = true,
                           .log_off = true,
                           .listening = listening,
                           .ready = ready,
                           .warn = warn};
}

static void *run(void *ud) {
    running *r = ud;
    r->status = serve_run(&r->o, &r->err);
    atomic_store(&r->returned, 1);
    return NULL;
}

void running_start(running *r) {
    atomic_store(&r->port, 0);
    atomic_store(&r->ready, 0);
    atomic_store(&r->returned, 0);
    cr_assert_eq(pthread_create(&r->thread, NULL, run, r), 0);
    while (!atomic_load(&r->port) && !atomic_load(&r->returned)) nap();
}

void running_wait_ready(running *r) {
    while (!atomic_load(&r->ready)) {
        cr_assert(!atomic_load(&r->returned), "it ended: %s", r->err.text);
        nap();
    }
}

weir_status running_join(running *r) {
    pthread_join(r->thread, NULL);
    return r->status;
}

weir_status running_stop(running *r) {
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    return running_join(r);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

int running_connect(running *r) { return client_open(atomic_load(&r->port)); }

answer running_get(running *r, const char *path) {
    char head[256];
    const int fd = running_connect(r);
    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    const answer a = client_ask(fd, head);
    close(fd);
    return a;
}

int running_send_as(running *r, const char *key, const char *path, const char *body) {
    char head[512];
    const int fd = running_connect(r);
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s%s%s"
             "Content-Length: %zu\r\nConnection: close\r\n\r\n",
             path, key ? "Authorization: Bearer " : "", key ? key : "", key ? "\r\n" : "", strlen(body));
    client_puts(fd, head);
    client_puts(fd, body);
    return fd;
}

int running_send(running *r, const char *path, const char *body) {
    return running_send_as(r, NULL, path, body);
}

answer running_post(running *r, const char *path, const char *body) {
    const int fd = running_send(r, path, body);
    const answer a = client_read(fd);
    close(fd);
    return a;
}

void running_wait_held(running *r) {
    const int before = atomic_load(&r->held);
    while (atomic_load(&r->held) == before) nap();
}

double running_metric(running *r, const char *line) {
    answer a = running_get(r, "/metrics");
    cr_assert_eq(a.status, 200, "%s", a.body);
    const char *at = strstr(a.body, line);
    const char *value = at ? strchr(at, ' ') : NULL;
    const double x = value ? strtod(value, NULL) : 0.0;
    free(a.body);
    return x;
}

void running_wait_metric(running *r, const char *line, double at_least) {
    while (running_metric(r, line) < at_least) nap();
}

void running_wait_requests(running *r, int n) {
    while (running_metric(r, "weir:num_requests_running{") + running_metric(r, "weir:num_requests_waiting{") <
           n)
        nap();
}

json_t *running_json(answer a, int status) {
    json_error_t why;
    cr_assert_eq(a.status, status, "%d: %s", a.status, a.body);
    json_t *v = json_loads(a.body, 0, &why);
    cr_assert(v, "%s: %s", why.text, a.body);
    free(a.body);
    return v;
}

static void add_text(char **text, const json_t *v) {
    const json_t *choice = json_array_get(json_object_get(v, "choices"), 0);
    const json_t *delta = json_object_get(choice, "delta");
    const char *more = json_string_value(json_object_get(delta ? delta : choice, delta ? "content" : "text"));
    const char *whole = json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    more = whole ? whole : more;
    if (!more) return;
    const size_t old = strlen(*text), n = strlen(more);
    *text = realloc(*text, old + n + 1);
    memcpy(*text + old, more, n + 1);
}

char *running_text(answer a) {
    char *text = calloc(1, 1), *rest = NULL;
    cr_assert(a.status == 200 && a.whole, "%d: %s", a.status, a.body);
    if (a.body[0] == '{') {
        json_t *v = running_json(a, 200);
        add_text(&text, v);
        json_decref(v);
        return text;
    }
    bool done = false;
    for (char *line = strtok_r(a.body, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strcmp(line, "data: [DONE]") == 0) done = true;
        if (strncmp(line, "data: {", 7) != 0) continue;
        json_t *v = json_loads(line + 6, 0, NULL);
        cr_assert(v && !json_object_get(v, "error"), "%s", line);
        add_text(&text, v);
        json_decref(v);
    }
    cr_assert(done, "no [DONE]");
    free(a.body);
    return text;
}
