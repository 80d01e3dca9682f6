#include <criterion/criterion.h>
#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"
#include "tests/support/alloc.h"

/* One allocation fails, of this project or of libevent, each in turn: a request then gets its answer, an
 * error, or the end of its connection; never a piece of an answer that looks whole; and the server goes
 * on. */

#define JSON_POST(path) "POST " path " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

static atomic_long asked, failing; /* of libevent; 0 = none fails */

static bool fails(void) { return atomic_fetch_add(&asked, 1) + 1 == atomic_load(&failing); }
static void *event_malloc(size_t n) { return fails() ? NULL : malloc(n); }
static void *event_realloc(void *p, size_t n) { return fails() ? NULL : realloc(p, n); }

/* Whole and right, or an error, or the end. Returns whether the connection can be used on. */
static bool check(int fd, const char *request, const char *body) {
    answer a = client_ask(fd, request);
    const bool alive = a.status && a.whole && !a.closes;
    cr_assert(a.status == 0 || a.status == 200 || a.status >= 500, "status %d", a.status);
    if (a.status == 200 && a.whole) cr_assert_str_eq(a.body, body);
    if (a.status >= 500) cr_assert(!a.whole || strstr(a.body, "internal_error"), "%s", a.body);
    free(a.body);
    return alive;
}

static void ask_all(int port) {
    static const struct {
        const char *request, *body;
    } all[] = {
        {GET("/health"), "ok"},
        {JSON_POST("/echo") "Content-Length: 2\r\n\r\n{}", "{}"},
        {JSON_POST("/later") "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "{}"},
        {JSON_POST("/drip") "Content-Length: 1\r\n\r\n2", "data: 1\n\ndata: 0\n\n"},
        {GET("/files/x"), "/files/x"},
    };
    int fd = client_open(port);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (check(fd, all[i].request, all[i].body)) continue;
        close(fd);
        fd = client_open(port);
    }
    close(fd);
}

static void ask_well(int port) {
    const int fd = client_open(port);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    close(fd);
}

Test(http_memory, requests_outlive_a_failing_allocation) {
    event_set_mem_functions(event_malloc, event_realloc, free);
    alloc_install(0);
    host *h = host_start(NULL, NULL);
    ask_all(h->port);
    for (int whose = 0; whose < 2; whose++) {
        long n = 1, count = 1;
        for (; n <= count; n++) {
            const long before = whose ? atomic_load(&asked) : alloc_count();
            if (whose)
                atomic_store(&failing, before + n);
            else
                alloc_fail_only(before + n - 1);
            ask_all(h->port);
            count = (whose ? atomic_load(&asked) : alloc_count()) - before;
            atomic_store(&failing, 0);
            alloc_fail_only(LONG_MAX - 1);
            ask_well(h->port);
        }
        cr_assert_gt(n, 10, "too few allocations: %ld", n);
    }
    host_stop(h);
    cr_assert_eq(alloc_live(), 0);
    alloc_uninstall();
}

static void serve_nothing(void *ud, http_exchange *x) { (void)ud, http_reply(x, 200, NULL, "", 0); }

/* Opening fails with a line, or goes well. */
Test(http_memory, opening_outlives_a_failing_allocation) {
    event_set_mem_functions(event_malloc, event_realloc, free);
    const http_route route = {.path = "/", .methods = HTTP_GET, .serve = serve_nothing};
    for (int whose = 0; whose < 2; whose++) {
        int failed = 0;
        for (long n = 1, left = 1; left > 0; n++) {
            http_server *s;
            http_keys *k = NULL;
            weir_err err = {""};
            const char *keys = "a,b";
            alloc_install(0);
            const long before = atomic_load(&asked);
            if (whose)
                atomic_store(&failing, before + n);
            else
                alloc_fail_only(n - 1);
            weir_status st = http_keys_open(&k, &keys, 1, NULL, &err);
            if (st == WEIR_OK)
                st = http_server_open(&s, &(http_options){.host = "127.0.0.1"}, &route, 1, k,
                                      &(http_calls){0}, &err);
            left = (whose ? atomic_load(&asked) - before : alloc_count()) >= n;
            cr_assert(st == WEIR_OK ? !err.text[0] : st == WEIR_ENOMEM && err.text[0], "%d %s", st, err.text);
            failed += st != WEIR_OK;
            if (st == WEIR_OK) http_server_close(s);
            http_keys_close(k);
            atomic_store(&failing, 0);
            cr_assert_eq(alloc_live(), 0);
            alloc_uninstall();
        }
        cr_assert_gt(failed, 3);
    }
}
