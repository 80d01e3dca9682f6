#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"

#define JSON_POST(path) "POST " path " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

/* As many descriptors as the machine allows; fewer than `need`: false. */
static bool descriptors(rlim_t need) {
    struct rlimit r;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = r.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur >= need;
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 8192; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void count(void *ud) {
    void **both = ud;
    *(http_counts *)both[1] = http_server_counts(((host *)both[0])->server);
}

static http_counts counts(host *h) {
    http_counts c;
    void *both[] = {h, &c};
    host_run(h, count, both);
    return c;
}

Test(http_load, a_thousand_streams_at_once) {
    enum { N = 1000 };
    if (!descriptors(2 * N + 100)) cr_skip("too few descriptors");
    const int before = open_descriptors();
    host *h = host_start(NULL, NULL);
    static int fd[N];
    for (int i = 0; i < N; i++) {
        fd[i] = client_open(h->port);
        client_puts(fd[i], JSON_POST("/silent") "\r\n");
    }
    host_wait(&h->n_silent, N);
    cr_assert_eq(counts(h).connections, N);
    const int more = client_open(h->port);
    answer_expect(client_ask(more, GET("/health")), 200, "ok");
    close(more);
    for (int i = 0; i < N; i += 2) close(fd[i]);
    host_wait(&h->gone, N / 2);
    host_speak(h);
    for (int i = 1; i < N; i += 2) {
        answer_expect(client_read(fd[i]), 200, "said");
        close(fd[i]);
    }
    host_wait(&h->done, N + 1);
    while (counts(h).connections > 0) {}
    host_stop(h);
    cr_assert_eq(open_descriptors(), before);
}

/* Peers come and go at any point of a request; afterwards all is as before. */
Test(http_load, disconnects_anywhere) {
    host *h = host_start(NULL, NULL);
    static const char request[] = JSON_POST("/drip") "Content-Length: 2\r\n\r\n40";
    const int before = open_descriptors();
    for (size_t i = 0; i < 2000; i++) {
        const int fd = client_open(h->port);
        const struct linger reset = {.l_onoff = 1};
        client_send(fd, request, i % sizeof request);
        if (i % 3 == 0) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    const int fd = client_open(h->port);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    close(fd);
    while (counts(h).connections > 0) {}
    cr_assert_eq(counts(h).buffered, 0);
    cr_assert_eq(open_descriptors(), before);
    host_stop(h);
}

Test(http_load, a_peer_that_reads_nothing_costs_bounded_memory) {
    enum { TOTAL = 40000000 };
    host *h = host_start(&(http_options){.max_buffered = 20000}, NULL);
    const int fd = client_open(h->port);
    char body[16];
    const int n = snprintf(body, sizeof body, "%d", TOTAL);
    char request[200];
    snprintf(request, sizeof request, JSON_POST("/flood") "Content-Length: %d\r\n\r\n%s", n, body);
    client_puts(fd, request);
    size_t last = 0;
    for (int same = 0; same < 20; same++) { /* until the sockets are full, too */
        const size_t waiting = counts(h).buffered;
        if (waiting != last || waiting <= 10000) same = 0; /* `drained` comes at half */
        last = waiting;
        usleep(5000);
    }
    answer a = client_read(fd);
    cr_assert_eq(a.n, TOTAL);
    answer_expect(a, 200, NULL);
    /* One part more than the bound, in its frame, and a head. */
    cr_assert_leq(atomic_load(&h->most_waiting), 20000 + 1000 + 400);
    cr_assert_gt(atomic_load(&h->drained), 100);
    close(fd);
    host_stop(h);
}

/* ---- descriptors ---------------------------------------------------------------------------------------- */

/* Takes all that are left but `but`. */
static int *exhaust(int but, int *n) {
    int *all = malloc(sizeof *all * 4096), fd;
    *n = 0;
    while (*n < 4096 && (fd = dup(0)) >= 0) all[(*n)++] = fd;
    cr_assert_eq(errno, EMFILE);
    for (; but > 0; but--) close(all[--*n]);
    return all;
}

static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

Test(http_load, waits_for_descriptors_without_spinning) {
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){256, 256}), 0);
    host *h = host_start(NULL, NULL);
    int busy = client_open(h->port), n;
    client_puts(busy, JSON_POST("/silent") "\r\n");
    host_wait(&h->n_silent, 1);
    int *all = exhaust(1, &n);
    const int fd = client_open(h->port); /* the kernel accepts it; the server has no descriptor for it */
    client_puts(fd, GET("/health"));
    const double began = cpu_seconds();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, 600), 0);
    cr_assert_lt(cpu_seconds() - began, 0.2);
    for (int i = 0; i < n; i++) close(all[i]);
    answer_expect(client_read(fd), 200, "ok");
    host_speak(h);
    answer_expect(client_read(busy), 200, "said");
    close(fd), close(busy);
    free(all);
    host_stop(h);
}

Test(http_load, an_idle_connection_gives_its_descriptor) {
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){256, 256}), 0);
    host *h = host_start(NULL, NULL);
    int idle = client_open(h->port), n;
    answer_expect(client_ask(idle, GET("/health")), 200, "ok");
    int *all = exhaust(1, &n);
    const int fd = client_open(h->port);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    cr_assert(client_at_end(idle));
    for (int i = 0; i < n; i++) close(all[i]);
    close(fd), close(idle);
    free(all);
    host_stop(h);
}
