#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"

Test(http_socket, keeps_a_connection_alive) {
    host *h = host_start(NULL, NULL);
    const int fd = client_open(h->port);
    for (int i = 0; i < 100; i++) {
        answer_expect(client_ask(fd, GET("/health")), 200, "ok");
        answer_expect(client_post(fd, "/echo", "{\"a\":1}"), 200, "{\"a\":1}");
        answer_expect(client_post(fd, "/later", "{}"), 200, "{}");
    }
    cr_assert_eq(atomic_load(&h->served), 300);
    cr_assert_eq(atomic_load(&h->done), 300);
    cr_assert_eq(atomic_load(&h->gone), 0);
    close(fd);
    host_stop(h);
}

Test(http_socket, streams_in_parts) {
    host *h = host_start(NULL, NULL);
    const int fd = client_open(h->port);
    answer_expect(client_post(fd, "/drip", "3"), 200, "data: 2\n\ndata: 1\n\ndata: 0\n\n");
    answer_expect(client_post(fd, "/drip", "0"), 200, "");
    answer a = client_post(fd, "/flood", "3000000");
    cr_assert_eq(a.n, 3000000);
    char value[64];
    cr_assert_str_eq(answer_field(&a, "Cache-Control", value, sizeof value), "no-store");
    cr_assert_str_eq(answer_field(&a, "X-Accel-Buffering", value, sizeof value), "no");
    cr_assert_str_eq(answer_field(&a, "Content-Type", value, sizeof value), "text/event-stream");
    answer_expect(a, 200, NULL);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    close(fd);
    host_stop(h);
}

Test(http_socket, sees_a_peer_leave_while_its_stream_is_silent) {
    host *h = host_start(NULL, NULL);
    for (int i = 0; i < 20; i++) {
        const int fd = client_open(h->port);
        client_puts(fd, "POST /silent HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n");
        host_wait(&h->n_silent, i + 1);
        const struct linger reset = {.l_onoff = 1};
        if (i % 3 == 1) shutdown(fd, SHUT_WR);
        if (i % 3 == 2) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i % 3 != 1) close(fd);
        host_wait(&h->gone, i + 1);
        cr_assert_eq(atomic_load(&h->status), 499);
        if (i % 3 == 1) close(fd);
    }
    host_stop(h);
}
