#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"

#define L "\r\nHost: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"

static void sleep_ms(int ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL); }

/* ---- times --------------------------------------------------------------------------------------------- */

/* One byte at a time, again and again, until the server has said something. */
static void drip_until_answered(int fd, const char *bytes) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (size_t i = 0; poll(&p, 1, 0) == 0; i = (i + 1) % strlen(bytes)) {
        client_send(fd, bytes + i, 1);
        sleep_ms(2);
    }
}

Test(http_limits, slow_heads_and_bodies_are_refused) {
    host *h = host_start(&(http_options){.head_seconds = 0.1, .body_seconds = 0.1}, NULL);
    int fd = client_open(h->port);
    client_puts(fd, "GET /health HTTP/1.1\r\nX: ");
    drip_until_answered(fd, "x");
    answer_expect(client_read(fd), 408, "head took longer");
    close(fd);
    fd = client_open(h->port);
    client_puts(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 1000000\r\n\r\n");
    drip_until_answered(fd, "x");
    answer_expect(client_read(fd), 408, "body took longer");
    cr_assert_eq(atomic_load(&h->status), 408);
    close(fd);
    fd = client_open(h->port);
    client_puts(fd, "POST /echo HTTP/1.1" L JSON "Transfer-Encoding: chunked\r\n\r\n");
    drip_until_answered(fd, "1\r\nx\r\n");
    answer_expect(client_read(fd), 408, "body took longer");
    close(fd);
    fd = client_open(h->port); /* says nothing at all */
    cr_assert(client_at_end(fd));
    close(fd);
    cr_assert_eq(atomic_load(&h->served), 0);
    host_stop(h);
}

Test(http_limits, idle_connections_close) {
    host *h = host_start(&(http_options){.idle_seconds = 0.05}, NULL);
    const int fd = client_open(h->port);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    cr_assert(client_at_end(fd));
    close(fd);
    host_stop(h);
}

/* All limits are short, but the server itself takes its time. */
Test(http_limits, no_timer_runs_while_the_answer_is_made) {
    host *h = host_start(
        &(http_options){
            .head_seconds = 0.5, .body_seconds = 0.5, .idle_seconds = 0.02, .stall_seconds = 0.02},
        NULL);
    const int fd = client_open(h->port);
    client_puts(fd, "POST /silent HTTP/1.1" L JSON "\r\n");
    host_wait(&h->n_silent, 1);
    sleep_ms(700);
    host_speak(h);
    answer_expect(client_read(fd), 200, "said");
    cr_assert_eq(atomic_load(&h->gone), 0);
    close(fd);
    host_stop(h);
}

Test(http_limits, a_peer_that_takes_nothing_is_dropped) {
    host *h = host_start(&(http_options){.stall_seconds = 0.1}, NULL);
    const int fd = client_open(h->port);
    client_puts(fd, "POST /flood HTTP/1.1" L JSON "Content-Length: 9\r\n\r\n999999999");
    host_wait(&h->gone, 1);
    cr_assert_eq(atomic_load(&h->status), 499);
    close(fd);
    host_stop(h);
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

Test(http_limits, large_bodies_are_refused) {
    host *h = host_start(&(http_options){.max_body = 1000}, NULL);
    char body[1002];
    memset(body, 'x', sizeof body);
    body[1000] = '\0';
    int fd = client_open(h->port);
    answer_expect(client_post(fd, "/echo", body), 200, body);
    /* At the head, before a byte of the body. */
    answer_expect(client_ask(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 1001\r\n\r\n"), 413,
                  "larger than 1000");
    cr_assert(client_at_end(fd));
    close(fd);
    fd = client_open(h->port);
    client_puts(fd, "POST /echo HTTP/1.1" L JSON "Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
    client_send(fd, body, 1000);
    answer_expect(client_ask(fd, "\r\n1\r\n"), 413, NULL);
    close(fd);
    cr_assert_eq(atomic_load(&h->served), 1);
    host_stop(h);
}

/* A client that sends all of a large body before it reads gets the answer nonetheless: the server reads on for
 * a while. */
Test(http_limits, a_refusal_arrives_although_the_body_is_still_coming) {
    host *h = host_start(&(http_options){.max_body = 1000}, NULL);
    char *body = calloc(1, 8 << 20);
    for (int i = 0; i < 5; i++) {
        const int fd = client_open(h->port);
        client_puts(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 8388608\r\n\r\n");
        client_send(fd, body, 8 << 20);
        answer a = client_read(fd);
        cr_assert(a.closes);
        answer_expect(a, 413, NULL);
        close(fd);
    }
    free(body);
    host_stop(h);
}

Test(http_limits, all_bodies_together_are_bounded) {
    host *h = host_start(&(http_options){.max_body = 1000, .max_bodies = 1500}, NULL);
    char body[801];
    memset(body, 'x', sizeof body);
    body[800] = '\0';
    const int held = client_open(h->port), fd = client_open(h->port), again = client_open(h->port);
    client_puts(held, "POST /silent HTTP/1.1" L JSON "Content-Length: 800\r\n\r\n");
    client_puts(held, body);
    host_wait(&h->n_silent, 1);
    answer a = client_post(fd, "/echo", body);
    char after[16];
    cr_assert_str_eq(answer_field(&a, "Retry-After", after, sizeof after), "1");
    answer_expect(a, 503, "queue_full");
    host_speak(h);
    answer_expect(client_read(held), 200, "said");
    answer_expect(client_post(again, "/echo", body), 200, body);
    close(held), close(fd), close(again);
    host_stop(h);
}

Test(http_limits, continues_when_asked) {
    host *h = host_start(NULL, NULL);
    const int fd = client_open(h->port);
    char line[26] = "";
    client_puts(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    cr_assert_eq(recv(fd, line, 25, MSG_WAITALL), 25);
    cr_assert_str_eq(line, "HTTP/1.1 100 Continue\r\n\r\n");
    answer_expect(client_ask(fd, "{}"), 200, "{}");
    close(fd);
    host_stop(h);
}

/* ---- connections --------------------------------------------------------------------------------------- */

Test(http_limits, the_idlest_connection_makes_room) {
    host *h = host_start(&(http_options){.max_connections = 3}, NULL);
    int fd[4];
    for (int i = 0; i < 3; i++) {
        fd[i] = client_open(h->port);
        answer_expect(client_ask(fd[i], GET("/health")), 200, "ok");
    }
    answer_expect(client_ask(fd[0], GET("/health")), 200, "ok"); /* now the second is the idlest */
    fd[3] = client_open(h->port);
    answer_expect(client_ask(fd[3], GET("/health")), 200, "ok");
    cr_assert(client_at_end(fd[1]));
    answer_expect(client_ask(fd[0], GET("/health")), 200, "ok");
    answer_expect(client_ask(fd[2], GET("/health")), 200, "ok");
    for (int i = 0; i < 4; i++) close(fd[i]);
    host_stop(h);
}

Test(http_limits, too_many_busy_connections_are_503) {
    host *h = host_start(&(http_options){.max_connections = 3}, NULL);
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = client_open(h->port);
        client_puts(fd[i], "POST /silent HTTP/1.1" L JSON "\r\n");
    }
    host_wait(&h->n_silent, 3);
    for (int i = 0; i < 100; i++) {
        const int more = client_open(h->port);
        answer a = client_ask(more, GET("/health"));
        cr_assert(a.closes);
        answer_expect(a, 503, "too_many_connections");
        close(more);
    }
    host_speak(h);
    for (int i = 0; i < 3; i++) answer_expect(client_read(fd[i]), 200, "said");
    const int more = client_open(h->port);
    answer_expect(client_ask(more, GET("/health")), 200, "ok");
    close(more);
    for (int i = 0; i < 3; i++) close(fd[i]);
    host_stop(h);
}

static void drain(void *ud) { http_server_drain(((host *)ud)->server); }

Test(http_limits, draining_ends_what_runs) {
    host *h = host_start(NULL, NULL);
    const int idle = client_open(h->port), busy = client_open(h->port), begun = client_open(h->port);
    answer_expect(client_ask(idle, GET("/health")), 200, "ok");
    client_puts(busy, "POST /silent HTTP/1.1" L JSON "\r\n");
    client_puts(begun, "GET /health HTTP/1.1\r\n");
    host_wait(&h->n_silent, 1);
    host_run(h, drain, h);
    cr_assert(client_at_end(idle));
    host_speak(h);
    answer a = client_read(busy);
    cr_assert(a.closes);
    answer_expect(a, 200, "said");
    a = client_ask(begun, "Host: localhost\r\n\r\n");
    cr_assert(a.closes);
    answer_expect(a, 200, "ok");
    cr_assert(client_at_end(busy) && client_at_end(begun));
    close(idle), close(busy), close(begun);
    host_stop(h);
}

static void hang_up(void *ud) {
    host *h = ud;
    http_hang_up(h->silent[0]);
    atomic_store(&h->n_silent, 0);
}

Test(http_limits, a_route_may_hang_up) {
    host *h = host_start(NULL, NULL);
    const int fd = client_open(h->port);
    client_puts(fd, "POST /silent HTTP/1.1" L JSON "\r\n");
    host_wait(&h->n_silent, 1);
    host_run(h, hang_up, h);
    cr_assert(client_at_end(fd));
    cr_assert_eq(atomic_load(&h->gone), 0);
    cr_assert_eq(atomic_load(&h->done), 1);
    cr_assert_eq(atomic_load(&h->status), 499);
    close(fd);
    host_stop(h);
}

/* ---- HTTP/1.0, and closing ----------------------------------------------------------------------------- */

Test(http_limits, speaks_http_1_0) {
    host *h = host_start(NULL, NULL);
    int fd = client_open(h->port);
    answer a = client_ask(fd, "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    char value[32];
    cr_assert_str_eq(answer_field(&a, "Connection", value, sizeof value), "keep-alive");
    answer_expect(a, 200, "ok");
    answer_expect(client_ask(fd, "GET /health HTTP/1.0\r\n\r\n"), 200, "ok");
    cr_assert(client_at_end(fd));
    close(fd);
    fd = client_open(h->port);
    client_puts(fd, "POST /drip HTTP/1.0\r\n" JSON "Content-Length: 1\r\nConnection: keep-alive\r\n\r\n2");
    a = client_read(fd);
    cr_assert(a.closes && !answer_field(&a, "Transfer-Encoding", value, sizeof value));
    cr_assert_str_eq(a.body, "data: 1\n\ndata: 0\n\n");
    free(a.body);
    close(fd);
    host_stop(h);
}

Test(http_limits, what_follows_a_close_is_not_read) {
    host *h = host_start(NULL, NULL);
    static const char *const ends[] = {"GET /health HTTP/1.1" L "Connection: close\r\n\r\n",
                                       "GET /health HTTP/1.1" L "Host: b\r\n\r\n",
                                       "POST /echo HTTP/1.1" L "Content-Length: 70000\r\n\r\n"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const int fd = client_open(h->port), served = atomic_load(&h->served);
        char request[600];
        snprintf(request, sizeof request, "%s%s%s", GET("/health"), ends[i], GET("/health"));
        answer_expect(client_ask(fd, request), 200, "ok");
        answer a = client_read(fd);
        cr_assert(a.closes && a.whole);
        free(a.body);
        cr_assert(client_at_end(fd));
        cr_assert_eq(atomic_load(&h->served), served + 1 + (i == 0));
        close(fd);
    }
    host_stop(h);
}
