#ifndef WEIR_HOST_SERVE_HTTP_HTTP_H
#define WEIR_HOST_SERVE_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/serve/error.h"

/* HTTP/1.0 and 1.1, in the clear or over TLS, on one loop thread: the one that calls http_server_run. Every
 * call is that thread's, but for http_post and http_server_stop, which any thread may make. Heads pass a gate
 * before anything is made of them; what it or a limit refuses is answered here, as are unknown paths, wrong
 * methods and types, keys that do not fit, and hosts and origins that are not allowed. */
typedef struct http_server http_server;
typedef struct http_exchange http_exchange; /* one request and its answer */

enum { HTTP_GET = 1, HTTP_POST = 2 }; /* HEAD goes with GET; OPTIONS is answered here */

typedef struct http_route {
    const char *path; /* "/v1/completions"; one that ends in / and `below` is a prefix */
    bool below;
    unsigned methods;
    bool open;           /* needs no key */
    const char *instead; /* this path is not served: 404 with this sentence; NULL = it is */
    void (*serve)(void *ud,
                  http_exchange *x); /* ends in http_reply, http_fail or a stream, at once or later */
} http_route;

typedef struct http_calls {
    void *ud; /* also of a route's serve */
    /* The peer has left, was too slow, or the server closes, before the answer was complete. No call may use
     * x after it. */
    void (*gone)(void *ud, http_exchange *x);
    /* The peer of a stream that had more than max_buffered waiting has taken it. */
    void (*drained)(void *ud, http_exchange *x);
    /* Every exchange that had a route, once it is over: within http_reply, http_fail, http_stream_end and
     * http_hang_up, after gone, and for what is refused here, such as a wrong key. Status 499 where the peer
     * left first. */
    void (*done)(void *ud, const http_exchange *x, int status, double seconds);
} http_calls;

typedef struct http_keys http_keys; /* who may ask; none: everybody */

typedef struct http_options {
    const char *host;                 /* an address or a name; a path that ends in .sock: a UNIX socket */
    int port;                         /* 0: any that is free */
    const char *cert_file, *key_file; /* PEM; both or neither */
    const char *const *allowed_hosts; /* beside the loopback's names, where `host` is a loopback address */
    size_t n_allowed_host;
    const char *const *cors_origins; /* "*" allows all; credentials are never allowed */
    size_t n_cors_origin;
    size_t max_body;      /* bytes; 0 = 8 MiB */
    size_t max_bodies;    /* bytes of all bodies that are held; past it 503; 0 = 64 × max_body */
    size_t max_buffered;  /* bytes of a connection that wait for its peer; 0 = 64 KiB */
    int max_connections;  /* 0 = 4096; past it the connection that has been idle longest closes, else 503 */
    double head_seconds;  /* to read a head; 0 = 10 */
    double body_seconds;  /* to read a body, and a second more each 64 KiB; 0 = 30 */
    double idle_seconds;  /* between two requests; 0 = 75 */
    double stall_seconds; /* a peer that takes nothing of its answer for so long is dropped; 0 = 60 */
} http_options;

/* Binds and listens; nothing is answered before http_server_run. What opt, routes, keys (NULL allowed) and
 * calls point to is borrowed until the server is closed. Makes the whole process ignore SIGPIPE, which writes
 * of libevent and OpenSSL may raise. */
weir_status http_server_open(http_server **out, const http_options *opt, const http_route *routes,
                             size_t n_route, const http_keys *keys, const http_calls *calls, weir_err *err);
void http_server_run(http_server *s); /* until http_server_stop */
void http_server_stop(http_server *s);
void http_server_close(http_server *s); /* NULL allowed; after run has returned */
int http_server_port(const http_server *s);
/* No new connections; open ones close after their answer. Told by every answer: Connection: close. */
void http_server_drain(http_server *s);

/* Runs fn on the loop thread, in order of the calls. False: out of memory. */
bool http_post(http_server *s, void (*fn)(void *ud), void *ud);
/* Calls fn on the loop thread once or more after each http_waker_wake, which any thread may make and which
 * never fails. NULL: out of memory. */
typedef struct http_waker http_waker;
http_waker *http_waker_open(http_server *s, void (*fn)(void *ud), void *ud);
void http_waker_wake(http_waker *w);
void http_waker_close(http_waker *w); /* before the server is closed; nobody wakes it any more */
/* fn every so many seconds, until the server is closed. False: out of memory. */
bool http_every(http_server *s, double seconds, void (*fn)(void *ud), void *ud);
/* fn on the loop thread when the process gets this signal. */
bool http_on_signal(http_server *s, int signal, void (*fn)(void *ud, int signal), void *ud);

typedef struct http_counts {
    int connections;
    size_t buffered; /* bytes that wait for their peers */
} http_counts;
http_counts http_server_counts(const http_server *s);

/* ---- an exchange --------------------------------------------------------------------------------------- */

/* Borrowed until it is over. */
const http_route *http_route_of(const http_exchange *x);
unsigned http_method(const http_exchange *x);                      /* HTTP_GET for HEAD too */
const char *http_path(const http_exchange *x);                     /* without the query; not decoded */
const char *http_header(const http_exchange *x, const char *name); /* NULL: none */
const char *http_body(const http_exchange *x, size_t *n);
void http_drop_body(
    http_exchange *x); /* once it was read, so that it takes no memory while the answer is made */
const char *http_id(const http_exchange *x);   /* X-Request-Id: the peer's, or made */
const char *http_peer(const http_exchange *x); /* its address, "unix" */
uint64_t http_client(const http_exchange *x);  /* which key: the same number for the same key; 0 = none */
double http_began(const http_exchange *x);     /* weir_seconds() when its head was whole */
void http_set_ud(http_exchange *x, void *ud);
void *http_ud(const http_exchange *x);

void http_add_header(http_exchange *x, const char *name, const char *value); /* before the answer begins */
void http_reply(http_exchange *x, int status, const char *type, const char *body, size_t n);
void http_fail(http_exchange *x, const serve_error *e);

/* Calls on an exchange never call `gone` or `drained`; those come from the loop, later. */

/* An answer in parts, with Cache-Control: no-store and X-Accel-Buffering: no; chunked, or for HTTP/1.0 until
 * the connection closes. The head goes out with the first part; before it, http_reply and http_fail may still
 * be the answer. After http_stream_end, and after gone, x is over. */
void http_stream_begin(http_exchange *x, const char *type);
bool http_stream_begun(const http_exchange *x);
void http_stream_write(http_exchange *x, const char *bytes, size_t n);
size_t http_stream_waiting(const http_exchange *x); /* bytes that the peer has not taken */
void http_stream_end(http_exchange *x);
void http_hang_up(http_exchange *x); /* closes the connection; no call of gone */

/* ---- keys ---------------------------------------------------------------------------------------------- */

/* Keys of n lists (separated by commas) and of a file (one on each line). Neither: everybody may ask. An
 * empty file or list is EINVAL. */
weir_status http_keys_open(http_keys **out, const char *const *lists, size_t n, const char *file,
                           weir_err *err);
weir_status http_keys_reload(http_keys *k, weir_err *err); /* reads the file again; on failure all stays */
void http_keys_close(http_keys *k);
bool http_keys_any(const http_keys *k);

#endif /* WEIR_HOST_SERVE_HTTP_HTTP_H */
