#ifndef WEIR_HOST_SERVE_HTTP_CONN_H
#define WEIR_HOST_SERVE_HTTP_CONN_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <sys/queue.h>

#include "host/serve/http/gate.h"
#include "host/serve/http/http.h"
#include "host/serve/http/io.h"

/* What the files of this room share: a server, its connections, and the one exchange that each has at a time.
 *
 * All work on a connection is done in its turn (conn.c): what came is read, requests are served, what
 * waits is sent, timers are set, and a connection that ended is freed there, and nowhere else. Calls of an
 * exchange only change buffers and ask for a turn, so they never call back (but for `done`), and x stays
 * valid while they run. */

typedef struct http_conn http_conn;

struct http_exchange {
    http_conn *conn;
    const http_route *route;
    unsigned method;
    bool active;   /* the route's code has it */
    bool head;     /* HEAD: no body goes out */
    bool begun;    /* a stream */
    bool head_out; /* of a stream */
    bool open;     /* `done` has not been called */
    bool chunked;
    bool close; /* the connection ends with this answer */
    int status; /* of a stream */
    uint64_t client;
    double began;
    const char *origin; /* for Access-Control-Allow-Origin; NULL: none */
    char id[129];
    wire_buf body, headers;
    char type[64]; /* of a stream */
    void *ud;
};

enum http_conn_state {
    HTTP_CONN_IDLE,   /* between two requests, or before the first */
    HTTP_CONN_HEAD,   /* a head has begun */
    HTTP_CONN_BODY,   /* a head is whole */
    HTTP_CONN_ANSWER, /* the route's code has the exchange */
    HTTP_CONN_LAST,   /* what waits is sent, then the connection closes */
    HTTP_CONN_LINGER, /* all is sent; what still comes is thrown away, for a reset would eat our answer */
};

struct http_conn {
    TAILQ_ENTRY(http_conn) all, idle;
    http_server *server;
    http_io io;
    struct event *read, *write, *timer;
    struct evbuffer *out;
    size_t counted; /* bytes of out in the server's sum */
    http_gate gate;
    wire_buf in; /* came, and waits until the exchange before it is over */
    enum http_conn_state state;
    bool in_idle;  /* in the server's list */
    bool used;     /* had a request */
    bool surplus;  /* over max_connections: gets a 503 */
    bool discard;  /* the request was refused at its head; its body is skipped */
    bool full;     /* more than max_buffered waited; `drained` will be called */
    bool overflow; /* too much came ahead; the connection closes after this answer */
    bool in_turn, again;
    bool eof, broken, dead;
    bool reading, writing; /* events that are on */
    double since;          /* the state began */
    double progress;       /* the peer last took something */
    double armed;          /* the timer's time; INFINITY: off */
    char peer[64];
    http_exchange x;
};

TAILQ_HEAD(http_conns, http_conn);

typedef struct http_posts http_posts;
typedef struct http_watch http_watch;
typedef struct http_listeners http_listeners;

enum { HTTP_READ_BYTES = 64 << 10, HTTP_SURPLUS = 64 };

struct http_server {
    http_options opt;
    http_calls calls;
    const http_route *routes;
    size_t n_route;
    const http_keys *keys;
    bool loopback; /* every listener's address is */
    bool draining;
    struct event_base *base;
    http_tls *tls;
    http_listeners *listeners; /* NULL once it drains */
    int port;
    struct http_conns conns, idle; /* idle: the longest first */
    int n_conn, n_surplus;
    size_t buffered, bodies;
    uint64_t id_prefix, n_id;
    int64_t date_second;
    char date[40];
    char *scratch; /* HTTP_READ_BYTES */
    http_posts *posts;
    http_watch *watches;
};

/* server.c */
const char *http_date(http_server *s);

/* listen.c: sockets that accept */
weir_status http_listen_open(http_server *s, weir_err *err);
bool http_listen_start(http_server *s);  /* false: out of memory */
void http_listen_resume(http_server *s); /* a descriptor came free */
void http_listen_close(http_server *s);

/* posts.c: what other threads ask of the loop, timers, signals */
bool http_posts_open(http_server *s); /* false: out of memory or of descriptors */
void http_posts_close(http_server *s);

/* conn.c */
/* Owns fd; closes it if there is no memory. */
void http_conn_new(http_server *s, int fd, const char *peer, bool surplus);
void http_conn_wake(http_conn *c); /* a turn, once the running callback is over */
void http_conn_end(http_conn *c);  /* at once: gone, done, free. Outside of any turn */
/* The exchange's bytes are all in `out`. */
void http_conn_answered(http_conn *c, bool close);
void http_conn_put(http_conn *c, const char *bytes, size_t n);

/* admit.c: whether a request may be served, as far as its head says. False: x was answered. */
bool http_admit(http_conn *c);

/* exchange.c */
void http_exchange_init(http_conn *c);
void http_exchange_free(http_exchange *x);
void http_exchange_done(http_exchange *x, int status);
/* The whole answer; `close`: after it. */
void http_answer(http_exchange *x, int status, const char *type, const char *body, size_t n, bool close);
void http_refuse(http_exchange *x, const serve_error *e, bool close);

/* keys.c */
bool http_keys_fit(const http_keys *k, const char *authorization, const char *x_api_key, uint64_t *client);

#endif /* WEIR_HOST_SERVE_HTTP_CONN_H */
