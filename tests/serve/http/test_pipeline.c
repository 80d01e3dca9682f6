#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/wire/buf.h"
#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"
#include "tests/support/compare.h"

static size_t below(uint64_t *rng, size_t n) { return (size_t)(rng_u64(rng) % n); }

/* Requests of which some are answered at once, some later, some as streams. */
static void put_request(uint64_t *rng, wire_buf *b, char *want, size_t cap) {
    static const char *const paths[] = {"/echo", "/later", "/drip"};
    const size_t kind = below(rng, 4), number = below(rng, 5);
    char body[64], request[400];
    if (kind == 3) {
        cr_assert(wire_buf_puts(b, GET("/health")));
        snprintf(want, cap, "ok");
        return;
    }
    snprintf(body, sizeof body, "%zu", number);
    snprintf(want, cap, "%s", body);
    if (kind == 2) {
        *want = '\0';
        for (size_t i = number, at = 0; i-- > 0;)
            at += (size_t)snprintf(want + at, cap - at, "data: %zu\n\n", i);
    }
    const bool chunked = below(rng, 2);
    snprintf(request, sizeof request,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s", paths[kind],
             chunked ? "Transfer-Encoding: chunked\r\n\r\n1\r\n" : "Content-Length: 1\r\n\r\n");
    cr_assert(wire_buf_puts(b, request) && wire_buf_puts(b, body));
    if (chunked) cr_assert(wire_buf_puts(b, "\r\n0\r\n\r\n"));
}

Test(http_pipeline, answers_come_in_order) {
    enum { MOST = 40 };
    host *h = host_start(NULL, NULL);
    uint64_t rng = 41;
    static char want[MOST][200];
    for (int round = 0; round < 60; round++) {
        const size_t n = 1 + below(&rng, MOST);
        wire_buf b = {0};
        for (size_t i = 0; i < n; i++) put_request(&rng, &b, want[i], sizeof want[i]);
        const int fd = client_open(h->port);
        for (size_t at = 0, take; at < b.len; at += take) {
            take = 1 + below(&rng, below(&rng, 2) ? 30 : 3000);
            if (take > b.len - at) take = b.len - at;
            client_send(fd, b.data + at, take);
        }
        for (size_t i = 0; i < n; i++) answer_expect(client_read(fd), 200, want[i]);
        wire_buf_free(&b);
        close(fd);
    }
    host_stop(h);
}

/* While one answer is silent the peer sends far more than is kept for it. Its leaving is seen nonetheless. */
Test(http_pipeline, a_peer_that_sends_too_much_is_seen_to_leave) {
    host *h = host_start(NULL, NULL);
    static const char fill[1000] = {[0 ... 999] = 'x'};
    for (int i = 0; i < 6; i++) {
        const int fd = client_open(h->port);
        const struct linger reset = {.l_onoff = 1};
        client_puts(fd, "POST /silent HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n");
        host_wait(&h->n_silent, i + 1);
        while (send(fd, fill, sizeof fill, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {}
        cr_assert_eq(atomic_load(&h->gone), i);
        if (i % 3 == 1) shutdown(fd, SHUT_WR);
        if (i % 3 == 2) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i % 3 != 1) close(fd);
        host_wait(&h->gone, i + 1);
        if (i % 3 == 1) close(fd);
    }
    host_stop(h);
}

/* Requests without end, of which no answer is read: the server stops reading. */
Test(http_pipeline, a_peer_that_reads_nothing_is_not_read_either) {
    host *h = host_start(NULL, NULL);
    const int fd = client_open(h->port);
    const char request[] = GET("/health");
    long refused = 0;
    while (refused < 2000) {
        if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            refused = 0;
        else
            usleep(100), refused++;
    }
    const int served = atomic_load(&h->served);
    usleep(50000);
    cr_assert_eq(atomic_load(&h->served), served);
    close(fd);
    host_stop(h);
}
