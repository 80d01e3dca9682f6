#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/serve/http/conn.h"

enum { MAX_SOCKETS = 8, BACKLOG = 1024, ACCEPTS = 64, PAUSE_MS = 100 };

struct http_listeners {
    int n, fd[MAX_SOCKETS];
    struct event *event[MAX_SOCKETS];
    struct event *again; /* accepts on, after a pause */
    bool paused;
    int port;
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* of a UNIX socket; "" = none */
    dev_t device;                                         /* which file that is: another server's is kept */
    ino_t inode;
};

/* ---- binding ------------------------------------------------------------------------------------------- */

static weir_status bind_fail(weir_err *err, const char *what) {
    return weir_fail(err, WEIR_EIO, "cannot listen on %s: %s", what, strerror(errno));
}

/* A socket that listens, or -1 with errno. */
static int listening(int family, const struct sockaddr *address, socklen_t n) {
    const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, address, n) == 0 && listen(fd, BACKLOG) == 0) return fd;
    const int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

/* A socket file that nobody listens on is left from a server that was killed. */
static void remove_stale(const struct sockaddr_un *address) {
    struct stat st;
    if (stat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) return;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED)
        (void)unlink(address->sun_path);
    (void)close(fd);
}

static weir_status open_unix(http_listeners *l, const char *path, weir_err *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof address.sun_path)
        return weir_fail(err, WEIR_EINVAL, "the path of a socket has at most %zu bytes: %s",
                         sizeof address.sun_path - 1, path);
    memcpy(address.sun_path, path, strlen(path));
    remove_stale(&address);
    l->fd[0] = listening(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
    if (l->fd[0] < 0) return bind_fail(err, path);
    l->n = 1;
    memcpy(l->path, address.sun_path, sizeof l->path);
    if (stat(path, &st) == 0) {
        l->device = st.st_dev;
        l->inode = st.st_ino;
    }
    return WEIR_OK;
}

static in_port_t *port_of(struct sockaddr *a) {
    return a->sa_family == AF_INET ? &((struct sockaddr_in *)a)->sin_port
                                   : &((struct sockaddr_in6 *)a)->sin6_port;
}

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* One address of the host. All are bound to one port. */
static bool open_address(http_server *s, struct sockaddr *a, socklen_t n) {
    http_listeners *l = s->listeners;
    *port_of(a) = htons((in_port_t)l->port);
    const int fd = listening(a->sa_family, a, n);
    if (fd < 0) return false;
    if (!is_loopback(a)) s->loopback = false;
    l->fd[l->n++] = fd;
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &size) == 0)
        l->port = s->port = ntohs(*port_of((struct sockaddr *)&bound));
    return true;
}

static weir_status open_tcp(http_server *s, const char *host, weir_err *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *all = NULL;
    const int failed = getaddrinfo(host, NULL, &hints, &all);
    if (failed)
        return weir_fail(err, WEIR_EINVAL, "no address of the host %s: %s", host, gai_strerror(failed));
    s->loopback = true;
    int why = 0;
    bool lacks =
        true; /* what failed, failed because this machine lacks the address, as a name may have some */
    for (struct addrinfo *a = all; a && lacks && s->listeners->n < MAX_SOCKETS; a = a->ai_next) {
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
        if (open_address(s, a->ai_addr, a->ai_addrlen)) continue;
        why = errno;
        lacks = why == EADDRNOTAVAIL || why == EAFNOSUPPORT;
    }
    freeaddrinfo(all);
    if (s->listeners->n && lacks) return WEIR_OK;
    char what[300];
    snprintf(what, sizeof what, "%s port %d", host, s->listeners->port);
    errno = why ? why : EADDRNOTAVAIL;
    return bind_fail(err, what);
}

/* ---- accepting ----------------------------------------------------------------------------------------- */

static void pause_accept(http_server *s) {
    http_listeners *l = s->listeners;
    const struct timeval tv = {.tv_usec = PAUSE_MS * 1000};
    if (event_add(l->again, &tv) != 0) return; /* no memory: the loop asks again */
    for (int i = 0; i < l->n; i++) (void)event_del(l->event[i]);
    l->paused = true;
}

void http_listen_resume(http_server *s) {
    http_listeners *l = s->listeners;
    if (!l || !l->paused) return;
    (void)event_del(l->again);
    l->paused = false;
    for (int i = 0; i < l->n; i++)
        if (event_add(l->event[i], NULL) != 0) l->paused = true;
    if (l->paused) pause_accept(s);
}

static void on_again(evutil_socket_t fd, short what, void *ud) {
    (void)fd, (void)what;
    http_listen_resume(ud);
}

/* Makes room: the connection that has been idle longest goes. False: none is idle. */
static bool shed(http_server *s) {
    http_conn *c = TAILQ_FIRST(&s->idle);
    if (!c) return false;
    http_conn_end(c);
    return true;
}

static void greet(http_server *s, int fd, const struct sockaddr_storage *from) {
    char peer[64] = "unix";
    const int on = 1;
    bool surplus = false;
    if (from->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)from)->sin_addr, peer, sizeof peer);
    if (from->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)from)->sin6_addr, peer, sizeof peer);
    if (from->ss_family != AF_UNIX) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (s->n_conn - s->n_surplus >= s->opt.max_connections && !shed(s)) surplus = true;
    if (surplus && s->n_surplus >= HTTP_SURPLUS)
        (void)close(fd);
    else
        http_conn_new(s, fd, peer, surplus);
}

/* accept() says that this connection failed, not that the next one would. */
static bool passes(int why) {
    return why == EINTR || why == ECONNABORTED || why == EPROTO || why == ENETDOWN || why == EHOSTDOWN ||
           why == EHOSTUNREACH || why == ENETUNREACH || why == ENOPROTOOPT || why == EOPNOTSUPP ||
           why == EPERM;
}

/* accept4 may want a descriptor before it looks whether anybody waits. */
static bool somebody_waits(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void on_accept(evutil_socket_t fd, short what, void *ud) {
    (void)what;
    http_server *s = ud;
    for (int i = 0; i < ACCEPTS && !s->draining; i++) {
        struct sockaddr_storage from = {.ss_family = AF_UNIX};
        socklen_t n = sizeof from;
        const int peer = accept4((int)fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (peer >= 0) {
            greet(s, peer, &from);
        } else if (!passes(errno)) {
            const bool full = errno == EMFILE || errno == ENFILE;
            if (!somebody_waits((int)fd)) return;
            if (full && shed(s)) continue;
            pause_accept(s); /* out of descriptors or memory: the event would fire for ever */
            return;
        }
    }
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

weir_status http_listen_open(http_server *s, weir_err *err) {
    http_listeners *l = s->listeners = weir_calloc(1, sizeof *l);
    if (!l) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    const char *host = s->opt.host ? s->opt.host : "127.0.0.1";
    const size_t n = strlen(host);
    l->port = s->opt.port;
    if (n > 5 && strcmp(host + n - 5, ".sock") == 0) return open_unix(l, host, err);
    if (l->port < 0 || l->port > 65535)
        return weir_fail(err, WEIR_EINVAL, "port %d: 0 … 65535 was expected", l->port);
    return open_tcp(s, host, err);
}

bool http_listen_start(http_server *s) {
    http_listeners *l = s->listeners;
    l->again = evtimer_new(s->base, on_again, s);
    bool ok = l->again != NULL;
    for (int i = 0; i < l->n; i++) {
        l->event[i] = event_new(s->base, l->fd[i], EV_READ | EV_PERSIST, on_accept, s);
        ok = ok && l->event[i] && event_add(l->event[i], NULL) == 0;
    }
    return ok;
}

void http_listen_close(http_server *s) {
    http_listeners *l = s->listeners;
    struct stat st;
    if (!l) return;
    for (int i = 0; i < l->n; i++) {
        if (l->event[i]) event_free(l->event[i]);
        (void)close(l->fd[i]);
    }
    if (l->again) event_free(l->again);
    if (l->path[0] && stat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        (void)unlink(l->path);
    weir_free(l);
    s->listeners = NULL;
}
