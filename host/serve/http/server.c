#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "host/serve/http/conn.h"

static void set_defaults(http_options *o) {
    if (!o->max_body) o->max_body = 8 << 20;
    if (!o->max_bodies) o->max_bodies = 64 * o->max_body;
    if (!o->max_buffered) o->max_buffered = 64 << 10;
    if (!o->max_connections) o->max_connections = 4096;
    if (o->head_seconds <= 0) o->head_seconds = 10;
    if (o->body_seconds <= 0) o->body_seconds = 30;
    if (o->idle_seconds <= 0) o->idle_seconds = 75;
    if (o->stall_seconds <= 0) o->stall_seconds = 60;
}

/* Of one thread, without locks and within the descriptors' epoll. */
static struct event_base *base_new(void) {
    struct event_config *config = event_config_new();
    if (!config) return NULL;
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static weir_status setup(http_server *s, weir_err *err) {
    const http_options *o = &s->opt;
    if (!o->cert_file != !o->key_file)
        return weir_fail(err, WEIR_EINVAL, "TLS needs both files, of the certificate and of the key");
    if (o->cert_file) WEIR_TRY(http_tls_open(&s->tls, o->cert_file, o->key_file, err));
    WEIR_TRY(http_listen_open(s, err));
    if (getrandom(&s->id_prefix, sizeof s->id_prefix, 0) != sizeof s->id_prefix)
        s->id_prefix = (uint64_t)time(NULL); /* ids tell requests apart; they are no secret */
    s->base = base_new();
    s->scratch = weir_alloc(HTTP_READ_BYTES, 1);
    if (!s->base || !s->scratch || !http_posts_open(s) || !http_listen_start(s))
        return weir_fail(err, WEIR_ENOMEM, "out of memory or of descriptors");
    return WEIR_OK;
}

/* Only front ends print. */
static void say_nothing(int severity, const char *text) { (void)severity, (void)text; }

weir_status http_server_open(http_server **out, const http_options *opt, const http_route *routes,
                             size_t n_route, const http_keys *keys, const http_calls *calls, weir_err *err) {
    *out = NULL;
    http_server *s = weir_calloc(1, sizeof *s);
    if (!s) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    s->opt = *opt;
    set_defaults(&s->opt);
    s->routes = routes;
    s->n_route = n_route;
    s->keys = keys;
    s->calls = *calls;
    TAILQ_INIT(&s->conns);
    TAILQ_INIT(&s->idle);
    (void)signal(SIGPIPE, SIG_IGN);
    event_set_log_callback(say_nothing);
    const weir_status st = setup(s, err);
    if (st == WEIR_OK)
        *out = s;
    else
        http_server_close(s);
    return st;
}

void http_server_run(http_server *s) { (void)event_base_dispatch(s->base); }

void http_server_close(http_server *s) {
    if (!s) return;
    s->draining = true;
    while (!TAILQ_EMPTY(&s->conns)) http_conn_end(TAILQ_FIRST(&s->conns));
    http_listen_close(s);
    http_posts_close(s);
    if (s->base) event_base_free(s->base);
    http_tls_close(s->tls);
    weir_free(s->scratch);
    weir_free(s);
}

int http_server_port(const http_server *s) { return s->port; }

void http_server_drain(http_server *s) {
    if (s->draining) return;
    s->draining = true;
    http_listen_close(s);
    http_conn *c;
    TAILQ_FOREACH(c, &s->conns, all) http_conn_wake(c);
}

http_counts http_server_counts(const http_server *s) {
    return (http_counts){.connections = s->n_conn, .buffered = s->buffered};
}

/* RFC 9110's form, in English whatever the locale; made once a second. */
const char *http_date(http_server *s) {
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const time_t now = time(NULL);
    if (now == s->date_second) return s->date;
    struct tm t;
    if (!gmtime_r(&now, &t)) return s->date;
    snprintf(s->date, sizeof s->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * (t.tm_wday % 7),
             t.tm_mday % 100, months + 3 * (t.tm_mon % 12), (1900 + t.tm_year) % 10000, t.tm_hour % 100,
             t.tm_min % 100, t.tm_sec % 100);
    s->date_second = now;
    return s->date;
}
