/* weir-load: closed-loop clients of a completions server, for figures of bench/serve/.
 *
 *   weir-load HOST PORT PATH BODIES.jsonl CLIENTS REQUESTS [HEALTH-PATH]
 *
 * Each client sends the next body once its last answer is whole, until REQUESTS were sent in all. Beside them one
 * connection asks HEALTH-PATH a hundred times a second. Prints one JSON object: seconds, requests, failures,
 * tokens (of usage), tokens/s, and in ms the median and 99th percentile of first bytes, gaps between parts of one
 * answer and health. One thread: at 30,000 parts a second it takes a third of a core. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BODY = 1 << 20, WINDOW = 1 << 16 };

typedef struct series {
    double *at;
    size_t n, cap;
} series;

typedef struct client {
    int fd; /* -1: not connected */
    bool busy, health;
    double sent, last; /* of its request, and of the bytes that came last */
    size_t body;       /* which is being sent */
    size_t out_at;
    char *out;
    size_t out_n;
    char tail[WINDOW + 1]; /* of the answer, from its head on; the middle of a long one is dropped */
    size_t n;
    bool head_done, chunked, failed, keep;
    size_t left; /* of a body with a length */
} client;

static struct sockaddr_in address;
static char *host, *path, *health_path;
static char **bodies;
static size_t n_body, next_request, n_request, n_done, n_failed;
static long long n_token;
static series first_byte, gap, health;
static int epoll_fd;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void add(series *s, double x) {
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->at = realloc(s->at, s->cap * sizeof *s->at);
        if (!s->at) die("series");
    }
    s->at[s->n++] = x;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(series *s, double q) {
    if (s->n == 0) return 0;
    qsort(s->at, s->n, sizeof *s->at, by_size);
    return s->at[(size_t)(q * (double)(s->n - 1))];
}

static void open_client(client *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    const int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        die("connect");
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) die("epoll_ctl");
}

static void close_client(client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static void push(client *c) {
    while (c->out_at < c->out_n) {
        const ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
        if (n < 0) return;
        c->out_at += (size_t)n;
    }
}

static void begin(client *c) {
    if (c->health) {
        c->out_n = (size_t)snprintf(c->out, MOST_BODY + 512, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                                    health_path, host);
    } else {
        if (next_request == n_request) return;
        const char *body = bodies[next_request++ % n_body];
        c->out_n = (size_t)snprintf(c->out, MOST_BODY + 512,
                                    "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                                    "Content-Length: %zu\r\n\r\n%s",
                                    path, host, strlen(body), body);
    }
    c->out_at = c->n = c->left = 0;
    c->head_done = c->chunked = c->failed = false;
    c->keep = c->busy = true;
    c->sent = now();
    c->last = 0;
    if (c->fd < 0) open_client(c);
    push(c);
}

/* The answer is whole, or will not become so. */
static void end(client *c, bool ok) {
    c->busy = false;
    if (c->health) {
        if (ok) add(&health, now() - c->sent);
        if (!ok || !c->keep) close_client(c);
        return;
    }
    n_done++;
    const char *used = NULL;
    for (const char *p = c->tail; (p = strstr(p, "\"completion_tokens\"")); p++) used = p;
    if (used) n_token += atoll(strchr(used, ':') + 1);
    if (!ok || c->failed || !used) n_failed++;
    if (!ok || !c->keep) close_client(c);
    begin(c);
}

static void read_head(client *c) {
    char *stop = strstr(c->tail, "\r\n\r\n");
    if (!stop) return;
    *stop = '\0';
    c->head_done = true;
    c->failed = strncmp(c->tail, "HTTP/1.1 200", 12) != 0;
    c->chunked = strcasestr(c->tail, "transfer-encoding: chunked") != NULL;
    c->keep = strcasestr(c->tail, "connection: close") == NULL;
    const char *length = strcasestr(c->tail, "content-length:");
    const size_t rest = c->n - (size_t)(stop + 4 - c->tail);
    c->left = length ? (size_t)atoll(length + 15) : 0;
    memmove(c->tail, stop + 4, rest + 1);
    c->n = rest;
    c->left -= !c->chunked && c->left >= rest ? rest : 0;
}

static bool whole(const client *c) {
    if (!c->head_done) return false;
    return c->chunked ? c->n >= 5 && memcmp(c->tail + c->n - 5, "0\r\n\r\n", 5) == 0 : c->left == 0;
}

static void take(client *c, const char *bytes, size_t n) {
    const double t = now();
    if (!c->health) {
        if (c->last == 0)
            add(&first_byte, t - c->sent);
        else
            add(&gap, t - c->last);
    }
    c->last = t;
    if (c->n + n > WINDOW) { /* usage comes last: the second half is kept */
        memmove(c->tail, c->tail + c->n - WINDOW / 4, WINDOW / 4);
        c->n = WINDOW / 4;
    }
    memcpy(c->tail + c->n, bytes, n);
    c->n += n;
    c->tail[c->n] = '\0';
    if (!c->head_done)
        read_head(c);
    else if (!c->chunked)
        c->left -= n <= c->left ? n : c->left;
}

static void pull(client *c) {
    char bytes[WINDOW / 2];
    while (c->fd >= 0 && c->busy) {
        const ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            end(c, c->head_done && !c->chunked && c->left == 0 && !c->keep);
            return;
        }
        take(c, bytes, (size_t)n);
        if (whole(c)) end(c, true);
    }
}

static void read_bodies(const char *file) {
    FILE *f = fopen(file, "r");
    if (!f) die(file);
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        if (strlen(line) > MOST_BODY) die("a body is too long");
        bodies = realloc(bodies, (n_body + 1) * sizeof *bodies);
        if (!bodies || !(bodies[n_body++] = strdup(line))) die("bodies");
    }
    fclose(f);
    if (n_body == 0) die("no bodies");
}

static client *new_client(bool probes) {
    client *c = calloc(1, sizeof *c);
    if (!c || !(c->out = malloc(MOST_BODY + 512))) die("client");
    c->fd = -1;
    c->health = probes;
    return c;
}

static void print(double seconds) {
    printf(
        "{\"seconds\": %.3f, \"requests\": %zu, \"failures\": %zu, \"tokens\": %lld, \"tokens_per_second\": "
        "%.1f",
        seconds, n_done, n_failed, n_token, (double)n_token / seconds);
    struct {
        const char *name;
        series *s;
    } of[] = {{"first_byte", &first_byte}, {"gap", &gap}, {"health", &health}};
    for (int i = 0; i < 3; i++)
        printf(", \"%s_ms_p50\": %.3f, \"%s_ms_p99\": %.3f", of[i].name, 1e3 * quantile(of[i].s, 0.5),
               of[i].name, 1e3 * quantile(of[i].s, 0.99));
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: weir-load HOST PORT PATH BODIES.jsonl CLIENTS REQUESTS [HEALTH-PATH]\n");
        return 2;
    }
    host = argv[1];
    path = argv[3];
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)(int)atoll(argv[2]))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die(host);
    read_bodies(argv[4]);
    const int n_client = (int)atoll(argv[5]);
    n_request = (size_t)atoll(argv[6]);
    health_path = argc > 7 ? argv[7] : NULL;
    struct rlimit most = {0};
    if (getrlimit(RLIMIT_NOFILE, &most) == 0)
        most.rlim_cur = most.rlim_max, (void)setrlimit(RLIMIT_NOFILE, &most);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) die("epoll");

    const double t0 = now();
    client *probe = health_path ? new_client(true) : NULL;
    for (int i = 0; i < n_client; i++) begin(new_client(false));
    double asked = 0;
    while (n_done < n_request) {
        if (probe && !probe->busy && now() - asked >= 0.01) {
            asked = now();
            begin(probe);
        }
        struct epoll_event ev[256];
        const int n = epoll_wait(epoll_fd, ev, 256, probe ? 5 : 1000);
        for (int i = 0; i < n; i++) {
            client *c = ev[i].data.ptr;
            if (c->fd < 0) continue;
            if (c->busy) push(c);
            pull(c);
        }
    }
    print(now() - t0);
    return 0;
}
