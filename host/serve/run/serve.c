#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host/serve/run/record.h"
#include "host/serve/watch/notify.h"

/* A server from its first to its last moment. */

/* ---- how it is ----------------------------------------------------------------------------------------- */

bool serve_is_ready(const serve *s, serve_error *e) {
    switch (s->stage) {
    case SERVE_READY: return true;
    case SERVE_LOADING:
        serve_fail(e, 503, "loading", NULL, "the models are being loaded");
        e->retry_after = 1;
        return false;
    default:
        serve_fail(e, 503, "draining", NULL, "the server is shutting down");
        e->retry_after = 5;
        return false;
    }
}

void serve_health(const serve *s, serve_error *e) {
    if (!serve_is_ready(s, e)) return;
    weir_queue_facts f;
    weir_ranks_facts ranks;
    weir_queue_get_facts(s->queue, &f);
    weir_engine_ranks(s->engine, &ranks);
    const double limit = s->opt->watchdog_seconds;
    const double took = f.round_began > 0.0 ? weir_seconds() - f.round_began : 0.0;
    *e = (serve_error){.status = 200};
    if (limit > 0.0 && took > limit)
        serve_fail(e, 503, "stuck", NULL, "one step has taken %.0f s so far", took);
    if (ranks.ended) /* while nothing runs, nobody else finds out */
        serve_fail(e, 503, "ranks_ended", NULL, "the group of ranks has ended: %s", ranks.why.text);
}

void serve_go_down(serve *s, weir_status why, const weir_err *err) {
    if (s->failed != WEIR_OK) return;
    s->failed = why;
    (void)weir_fail(&s->failed_err, why, "%s", err->text);
    s->stage = SERVE_DOWN;
    s->drain_until = weir_seconds() + 1.0; /* those who wait get their errors */
    http_server_drain(s->http);
}

static void notify(const serve *s, const char *state) {
    weir_err err = {{0}};
    if (watch_notify(state, &err) != WEIR_OK) s->opt->warn(s->opt->ud, err.text);
}

/* ---- loading ------------------------------------------------------------------------------------------- */

static void stepped(void *ud, double seconds) {
    const serve *s = ud;
    watch_step(s->metrics, seconds);
}

static void *load(void *ud) {
    serve *s = ud;
    if (s->opt->open_engine(s->opt->ud, &s->engine)) {
        const weir_queue_options o = {.stall_seconds = s->opt->stall_seconds,
                                      .max_requests = s->opt->max_requests,
                                      .max_tokens = s->opt->max_queued_tokens,
                                      .on_step = stepped,
                                      .ud = s};
        s->load_status = weir_queue_open(&s->queue, s->engine, &o, &s->load_err);
    } else {
        s->load_status = WEIR_EINVAL; /* it has said why */
    }
    serve_mailbox_send(&s->box, &s->loaded);
    return NULL;
}

static void describe(serve *s) {
    api_server *a = &s->api;
    a->engine = s->engine;
    weir_engine_get_facts(s->engine, &a->facts);
    if (a->defaults.max_tokens > a->facts.ctx_size) a->defaults.max_tokens = a->facts.ctx_size;
    int n = snprintf(a->fingerprint, sizeof a->fingerprint, "weir-%s", WEIR_VERSION);
    for (int i = 0; i <= (int)a->facts.has_draft; i++)
        n += snprintf(a->fingerprint + n, sizeof a->fingerprint - (size_t)n, "-%016llx",
                      (unsigned long long)a->facts.fingerprint[i]);
    for (int i = 0; i < 2; i++)
        if (a->facts.quantized[i])
            n += snprintf(a->fingerprint + n, sizeof a->fingerprint - (size_t)n, "-%s%s", i ? "draft_" : "",
                          a->facts.quantized[i]);
    if (a->facts.draft == WEIR_DRAFT_LOOKUP)
        snprintf(a->fingerprint + n, sizeof a->fingerprint - (size_t)n, "-" WEIR_NGRAM "%d-%d",
                 a->facts.lookup_min, a->facts.lookup_max);
}

static void loaded(serve_letter *l) {
    serve *s = (serve *)((char *)l - offsetof(serve, loaded));
    weir_err err = s->load_err;
    weir_status st = s->load_status;
    if (atomic_load(&s->stop)) return; /* it came while all was closed: nobody would end what this starts */
    if (st == WEIR_OK) {
        describe(s);
        st = serve_records_open_metrics(s, &err);
    }
    if (st == WEIR_OK) {
        s->stepping = pthread_create(&s->stepper, NULL, serve_step, s) == 0;
        if (!s->stepping) st = weir_fail(&err, WEIR_ENOMEM, "no thread to step the models");
    }
    if (st != WEIR_OK) {
        s->failed = st;
        s->failed_err = err;
        http_server_stop(s->http);
    } else if (s->stage == SERVE_LOADING) {
        s->stage = SERVE_READY;
        s->opt->ready(s->opt->ud, s->engine);
        notify(s, "READY=1");
    }
}

/* ---- ending -------------------------------------------------------------------------------------------- */

static void begin_drain(void *ud, int signal) {
    serve *s = ud;
    (void)signal;
    if (s->stage == SERVE_DRAINING || s->stage == SERVE_DOWN) { /* the second one ends it at once */
        http_server_stop(s->http);
        return;
    }
    s->stage = SERVE_DRAINING;
    s->drain_until = weir_seconds() + s->opt->shutdown_seconds;
    http_server_drain(s->http);
    notify(s, "STOPPING=1");
}

static void reload(void *ud, int signal) {
    serve *s = ud;
    (void)signal;
    weir_err err = {{0}};
    watch_log_reopen(s->log);
    if (s->keys && http_keys_reload(s->keys, &err) != WEIR_OK) s->opt->warn(s->opt->ud, err.text);
}

/* Ten times a second. */
static void tick(void *ud) {
    serve *s = ud;
    serve_exchanges_tick(s);
    if (s->stage != SERVE_DRAINING && s->stage != SERVE_DOWN) return;
    if (s->n_exchange == 0 && http_server_counts(s->http).buffered == 0) {
        http_server_stop(s->http);
    } else if (weir_seconds() > s->drain_until) {
        serve_exchanges_cancel(s);
        if (weir_seconds() > s->drain_until + 5.0)
            http_server_stop(s->http); /* a step that does not return */
    }
}

/* ---- calls of the HTTP server -------------------------------------------------------------------------- */

static void on_gone(void *ud, http_exchange *x) {
    (void)ud;
    serve_item *i = http_ud(x);
    if (i) i->gone(i);
}

static void on_drained(void *ud, http_exchange *x) {
    (void)ud;
    serve_item *i = http_ud(x);
    if (i) serve_exchange_drained(i);
}

static void on_done(void *ud, const http_exchange *x, int status, double seconds) {
    serve_item *i = http_ud(x);
    if (i)
        i->done(i, x, status, seconds);
    else
        serve_record_exchange(ud, NULL, x, status, seconds);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool is_socket(const char *host) {
    const size_t n = strlen(host);
    return n > 5 && strcmp(host + n - 5, ".sock") == 0;
}

static weir_status open_keys(serve *s, weir_err *err) {
    const serve_options *o = s->opt;
    if (o->n_key > 0 || o->key_file) return http_keys_open(&s->keys, o->keys, o->n_key, o->key_file, err);
    if (o->no_auth || is_loopback(o->http.host) || is_socket(o->http.host)) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL,
                     "--host %.100s can be reached by others: give --api-key or --api-key-file, or --no-auth "
                     "to let everybody in",
                     o->http.host);
}

static weir_status open_http(serve *s, weir_err *err) {
    const http_calls calls = {.ud = s, .gone = on_gone, .drained = on_drained, .done = on_done};
    WEIR_TRY(open_keys(s, err));
    WEIR_TRY(serve_records_open_log(s, err));
    WEIR_TRY(http_server_open(&s->http, &s->opt->http, serve_routes, serve_n_route, s->keys, &calls, err));
    const bool ok = serve_mailbox_init(&s->box, s->http) &&
                    http_on_signal(s->http, SIGTERM, begin_drain, s) &&
                    http_on_signal(s->http, SIGINT, begin_drain, s) &&
                    http_on_signal(s->http, SIGHUP, reload, s) && http_every(s->http, 0.1, tick, s);
    if (!ok) return weir_fail(err, WEIR_ENOMEM, "out of memory for a server");
    s->workers = serve_workers_open(&s->box, s->opt->n_worker);
    if (!s->workers) return weir_fail(err, WEIR_ENOMEM, "no thread for a server");
    return WEIR_OK;
}

static void announce(const serve *s) {
    const http_options *o = &s->opt->http;
    char url[512];
    if (is_socket(o->host))
        snprintf(url, sizeof url, "unix:%s", o->host);
    else
        snprintf(url, sizeof url, "%s://%s%s%s:%d", o->cert_file ? "https" : "http",
                 strchr(o->host, ':') ? "[" : "", o->host, strchr(o->host, ':') ? "]" : "",
                 http_server_port(s->http));
    s->opt->listening(s->opt->ud, url);
}

/* Threads first, then the sockets, then what both had. */
static void close_all(serve *s) {
    atomic_store(&s->stop, true);
    if (s->loading) pthread_join(s->loader, NULL);
    serve_workers_close(s->workers);
    if (s->queue) weir_queue_wake(s->queue);
    if (s->stepping) pthread_join(s->stepper, NULL);
    if (s->box.waker) serve_mailbox_open_all(&s->box);
    serve_mailbox_end(&s->box);
    http_server_close(s->http);
    serve_exchanges_free(s);
    weir_queue_close(s->queue);
    weir_engine_close(s->engine);
    http_keys_close(s->keys);
    serve_records_close(s);
    wire_buf_free(&s->out);
}

weir_status serve_run(const serve_options *opt, weir_err *err) {
    serve s = {.opt = opt, .api = opt->api, .loaded = {.open = loaded}};
    weir_status st = open_http(&s, err);
    if (st == WEIR_OK) {
        s.loading = pthread_create(&s.loader, NULL, load, &s) == 0;
        if (!s.loading) st = weir_fail(err, WEIR_ENOMEM, "no thread to load the models");
    }
    if (st == WEIR_OK) {
        announce(&s);
        http_server_run(s.http);
        st = s.failed;
        if (st != WEIR_OK && err) *err = s.failed_err;
    }
    close_all(&s);
    return st;
}
