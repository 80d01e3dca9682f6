#include "host/serve/http/conn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINGER_SECONDS = 2 };

/* ---- states -------------------------------------------------------------------------------------------- */

static void leave_idle(http_conn *c) {
    if (c->in_idle) TAILQ_REMOVE(&c->server->idle, c, idle);
    c->in_idle = false;
}

static void set_state(http_conn *c, enum http_conn_state state) {
    if (state != HTTP_CONN_IDLE) leave_idle(c);
    c->state = state;
    c->since = weir_seconds();
}

/* Bytes of out, in the server's sum. */
static void count(http_conn *c) {
    const size_t n = evbuffer_get_length(c->out);
    c->server->buffered += n - c->counted;
    c->counted = n;
}

void http_conn_put(http_conn *c, const char *bytes, size_t n) {
    if (evbuffer_get_length(c->out) == 0) c->progress = weir_seconds();
    if (evbuffer_add(c->out, bytes, n) != 0) c->broken = true;
    count(c);
    if (evbuffer_get_length(c->out) > c->server->opt.max_buffered) c->full = true;
}

void http_conn_wake(http_conn *c) {
    if (c->in_turn)
        c->again = true;
    else
        event_active(c->read, EV_TIMEOUT, 1);
}

void http_conn_answered(http_conn *c, bool close) {
    if (close || c->overflow)
        set_state(c, HTTP_CONN_LAST);
    else if (c->state == HTTP_CONN_ANSWER)
        set_state(c, HTTP_CONN_IDLE);
    else
        c->discard = true; /* refused at its head */
    http_conn_wake(c);
}

/* The peer left, or is given up. */
static void lost(http_conn *c) {
    const http_calls *calls = &c->server->calls;
    if (c->x.active) {
        c->x.active = false;
        if (calls->gone) calls->gone(calls->ud, &c->x);
    }
    http_exchange_done(&c->x, 499);
    c->dead = true;
}

/* ---- what comes ---------------------------------------------------------------------------------------- */

/* An answer that is not the route's: what follows is never read as a request. */
static void refuse(http_conn *c, const serve_error *e) {
    if (!c->x.open) http_exchange_init(c);
    http_refuse(&c->x, e, true);
}

static void no_memory(http_conn *c) {
    serve_error e;
    serve_fail(&e, 500, "internal_error", NULL, "out of memory");
    refuse(c, &e);
}

static void head_read(http_conn *c) {
    c->used = true;
    c->discard = false;
    set_state(c, HTTP_CONN_BODY);
    http_exchange_init(c);
    if (http_admit(c) && c->gate.expect) {
        static const char go[] = "HTTP/1.1 100 Continue\r\n\r\n";
        http_conn_put(c, go, sizeof go - 1);
    }
}

static void body_read(http_conn *c) {
    http_server *s = c->server;
    if (c->discard) return;
    if (s->bodies + c->gate.n_span > s->opt.max_bodies) {
        serve_error e;
        serve_fail(&e, 503, "queue_full", NULL, "the bodies of waiting requests fill the memory set aside");
        e.retry_after = 1;
        refuse(c, &e);
    } else if (wire_buf_add(&c->x.body, c->gate.span, c->gate.n_span)) {
        s->bodies += c->gate.n_span;
    } else {
        no_memory(c);
    }
}

static void request_read(http_conn *c) {
    if (c->discard) {
        c->discard = false;
        set_state(c, HTTP_CONN_IDLE);
        return;
    }
    set_state(c, HTTP_CONN_ANSWER);
    c->x.active = true;
    c->x.route->serve(c->server->calls.ud, &c->x);
}

/* Whether a request may be read: one at a time, and none while the answers before it wait for their peer. */
static bool hungry(const http_conn *c) {
    return c->state <= HTTP_CONN_BODY && !c->broken && !c->dead &&
           evbuffer_get_length(c->out) <= c->server->opt.max_buffered;
}

/* Reads requests until one is being answered or the bytes are used up; returns how many were. */
static size_t consume(http_conn *c, const char *bytes, size_t n) {
    size_t at = 0;
    while (hungry(c)) {
        size_t used = 0;
        const http_edge edge = http_gate_feed(&c->gate, bytes + at, n - at, &used);
        at += used;
        switch (edge) {
        case HTTP_HEAD: head_read(c); break;
        case HTTP_BODY: body_read(c); break;
        case HTTP_END: request_read(c); break;
        case HTTP_REFUSED: refuse(c, &c->gate.error); break;
        case HTTP_MORE:
            if (c->state == HTTP_CONN_IDLE && !http_gate_idle(&c->gate)) set_state(c, HTTP_CONN_HEAD);
            return at;
        }
    }
    return at;
}

static void consume_kept(http_conn *c) {
    if (c->in.len == 0 || !hungry(c)) return;
    const size_t used = consume(c, c->in.data, c->in.len);
    c->in.len -= used;
    memmove(c->in.data, c->in.data + used, c->in.len);
    if (c->in.len == 0) wire_buf_free(&c->in);
}

/* Keeps bytes that may not be read yet. While an answer is made reading must go on, or a peer that left would
 * not be seen: its FIN comes after all it sent. So of a peer that sends a lot ahead nothing more is kept, and
 * the connection closes after the answer. */
static void keep(http_conn *c, const char *bytes, size_t n) {
    if (c->state == HTTP_CONN_ANSWER && c->in.len + n > HTTP_READ_BYTES) c->overflow = true;
    if (c->overflow)
        wire_buf_free(&c->in);
    else if (!wire_buf_add(&c->in, bytes, n))
        c->broken = true;
}

/* Also requests that came and waited, once the one before them was answered. */
static void came(http_conn *c, const char *bytes, size_t n) {
    consume_kept(c);
    const size_t used = c->in.len ? 0 : consume(c, bytes, n);
    if (used < n && c->state < HTTP_CONN_LAST) keep(c, bytes + used, n - used);
}

static void receive(http_conn *c) {
    http_server *s = c->server;
    if (c->eof || c->dead) return;
    const long n = http_io_read(&c->io, s->scratch, HTTP_READ_BYTES);
    if (n == HTTP_IO_EOF)
        c->eof = true;
    else if (n == HTTP_IO_FAILED)
        c->broken = true;
    else if (n > 0 && c->state < HTTP_CONN_LAST)
        came(c, s->scratch, (size_t)n);
}

/* ---- what goes ----------------------------------------------------------------------------------------- */

static void send_waiting(http_conn *c) {
    while (evbuffer_get_length(c->out) > 0) {
        const long n = http_io_write(&c->io, c->out);
        if (n == HTTP_IO_FAILED || n == HTTP_IO_EOF) c->broken = true;
        if (n <= 0) break;
        c->progress = weir_seconds();
    }
    count(c);
    if (!c->full || c->counted > c->server->opt.max_buffered / 2) return;
    c->full = false;
    const http_calls *calls = &c->server->calls;
    if (c->x.active && calls->drained) calls->drained(calls->ud, &c->x);
    c->again = true; /* requests may wait, too */
}

/* What follows from what came and went. */
static void settle(http_conn *c) {
    if (c->dead) return;
    const bool sent = evbuffer_get_length(c->out) == 0;
    if (c->broken || (c->eof && c->state == HTTP_CONN_ANSWER))
        lost(c);
    else if (c->eof && sent)
        lost(c);
    else if (c->eof && c->state < HTTP_CONN_LAST)
        set_state(c, HTTP_CONN_LAST);
    else if (c->state == HTTP_CONN_LAST && sent) {
        http_io_shut(&c->io);
        wire_buf_free(&c->in);
        set_state(c, HTTP_CONN_LINGER);
    } else if (c->state == HTTP_CONN_IDLE && sent && c->server->draining && !c->in.len) {
        c->dead = true;
    }
}

/* ---- events -------------------------------------------------------------------------------------------- */

/* When this connection is given up or refused for its slowness; INFINITY: it waits for us. */
static double deadline(const http_conn *c) {
    const http_options *o = &c->server->opt;
    double at = INFINITY;
    switch (c->state) {
    case HTTP_CONN_IDLE: at = c->since + (c->used ? o->idle_seconds : o->head_seconds); break;
    case HTTP_CONN_HEAD: at = c->since + o->head_seconds; break;
    case HTTP_CONN_BODY: at = c->since + o->body_seconds + (double)c->x.body.len / (64 << 10); break;
    case HTTP_CONN_LINGER: return c->since + LINGER_SECONDS;
    default: break;
    }
    return c->counted ? fmin(at, c->progress + o->stall_seconds) : at;
}

static void expire(http_conn *c) {
    serve_error e;
    const bool stalled = c->counted && weir_seconds() >= c->progress + c->server->opt.stall_seconds;
    if (stalled || c->discard || (c->state != HTTP_CONN_HEAD && c->state != HTTP_CONN_BODY)) {
        lost(c);
        return;
    }
    const bool head = c->state == HTTP_CONN_HEAD;
    serve_fail(&e, 408, "request_timeout", NULL, "the request's %s took longer than it may",
               head ? "head" : "body");
    refuse(c, &e);
}

static void set_timer(http_conn *c) {
    const double at = deadline(c);
    if (at >= c->armed) return; /* it fires early, and looks again */
    const double left = fmax(0, at - weir_seconds());
    const struct timeval tv = {.tv_sec = (time_t)left, .tv_usec = (suseconds_t)((left - floor(left)) * 1e6)};
    if (event_add(c->timer, &tv) == 0)
        c->armed = at;
    else
        c->broken = true;
}

static void switch_event(http_conn *c, struct event *ev, bool *is, bool on) {
    if (*is == on) return;
    if ((on ? event_add(ev, NULL) : event_del(ev)) != 0)
        c->broken = true;
    else
        *is = on;
}

static void enter_idle(http_conn *c) {
    if (c->in_idle || c->state != HTTP_CONN_IDLE || c->counted || c->in.len) return;
    TAILQ_INSERT_TAIL(&c->server->idle, c, idle);
    c->in_idle = true;
    http_gate_reset(&c->gate); /* an idle connection holds no head */
}

static void conn_free(http_conn *c) {
    http_server *s = c->server;
    TAILQ_REMOVE(&s->conns, c, all);
    leave_idle(c);
    s->n_conn--;
    s->n_surplus -= c->surplus;
    s->buffered -= c->counted;
    if (c->read) event_free(c->read);
    if (c->write) event_free(c->write);
    if (c->timer) event_free(c->timer);
    if (c->out) evbuffer_free(c->out);
    http_io_close(&c->io);
    http_exchange_free(&c->x);
    http_gate_reset(&c->gate);
    wire_buf_free(&c->in);
    weir_free(c);
    http_listen_resume(s);
}

static void set_events(http_conn *c) {
    enter_idle(c);
    switch_event(c, c->read, &c->reading,
                 !c->eof && (c->in.len < HTTP_READ_BYTES || c->state == HTTP_CONN_ANSWER));
    switch_event(c, c->write, &c->writing, c->counted > 0 || c->io.read_wants_out);
    set_timer(c);
    if (c->reading && http_io_pending(&c->io)) event_active(c->read, EV_READ, 1);
}

/* `what`: EV_READ, EV_WRITE, EV_TIMEOUT; 0: only what was asked for. */
static void turn(http_conn *c, short what) {
    c->in_turn = true;
    if ((what & EV_READ) || c->io.read_wants_out) receive(c);
    bool can_send = !c->writing || (what & EV_WRITE);
    do {
        c->again = false;
        came(c, "", 0);
        if (can_send && !c->broken && !c->dead) send_waiting(c);
        if (evbuffer_get_length(c->out)) can_send = false;
        settle(c);
    } while (c->again && !c->dead);
    if (!c->dead) set_events(c);
    if (c->broken && !c->dead) lost(c);
    c->in_turn = false;
    if (c->dead) conn_free(c);
}

void http_conn_end(http_conn *c) {
    c->in_turn = true;
    lost(c);
    conn_free(c);
}

static void on_read(evutil_socket_t fd, short what, void *ud) {
    (void)fd;
    turn(ud, what);
}

static void on_write(evutil_socket_t fd, short what, void *ud) {
    (void)fd;
    turn(ud, what);
}

static void on_timer(evutil_socket_t fd, short what, void *ud) {
    (void)fd, (void)what;
    http_conn *c = ud;
    c->armed = INFINITY;
    c->in_turn = true;
    if (weir_seconds() >= deadline(c)) expire(c);
    turn(c, 0);
}

void http_conn_new(http_server *s, int fd, const char *peer, bool surplus) {
    http_conn *c = weir_calloc(1, sizeof *c);
    if (!c) {
        (void)close(fd);
        return;
    }
    c->server = s;
    c->armed = INFINITY;
    c->surplus = surplus;
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    http_gate_init(&c->gate, s->opt.max_body);
    c->x.conn = c;
    TAILQ_INSERT_TAIL(&s->conns, c, all);
    s->n_conn++;
    s->n_surplus += surplus;
    const bool open = http_io_open(&c->io, fd, s->tls);
    c->out = evbuffer_new();
    c->read = event_new(s->base, fd, EV_READ | EV_PERSIST, on_read, c);
    c->write = event_new(s->base, fd, EV_WRITE | EV_PERSIST, on_write, c);
    c->timer = evtimer_new(s->base, on_timer, c);
    set_state(c, HTTP_CONN_IDLE);
    if (open && c->out && c->read && c->write && c->timer)
        turn(c, 0);
    else
        conn_free(c);
}
