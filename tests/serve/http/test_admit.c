#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"

/* Asks on a connection of its own. */
static answer ask(const host *h, const char *request) {
    const int fd = client_open(h->port);
    const answer a = client_ask(fd, request);
    close(fd);
    return a;
}

static void expect(const host *h, const char *request, int status, const char *part) {
    answer_expect(ask(h, request), status, part);
}

/* A field of the answer; "" = none. */
static void expect_field(answer a, const char *name, const char *value) {
    char text[256];
    const char *found = answer_field(&a, name, text, sizeof text);
    cr_assert_str_eq(found ? found : "", value, "%s of\n%s", name, a.head);
    free(a.body);
}

#define L "\r\nHost: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"

Test(http_admit, knows_its_paths) {
    host *h = host_start(NULL, NULL);
    expect(h, GET("/health"), 200, "ok");
    expect(h, GET("/health?x=y"), 200, "ok");
    expect(h, GET("/files/a/b%2Fc"), 200, "/files/a/b%2Fc");
    expect(h, GET("/files/"), 200, "/files/");
    expect(h, GET("/files"), 404, "\"code\": \"not_found\"");
    expect(h, GET("/helth"), 404, "no such path: /helth; the nearest is /health");
    expect(h, GET("/health/"), 404, "the nearest is /health");
    expect(h, GET("/nope"), 404, "no such path: /nope\"");
    expect(h, GET("//health"), 404, NULL);
    expect(h, GET("/old"), 404, "use /echo");
    expect(h, "POST /old HTTP/1.1" L "\r\n", 404, "use /echo");
    expect(h, "GET http://localhost/health HTTP/1.1" L "\r\n", 200, "ok");
    host_stop(h);
}

Test(http_admit, knows_methods_and_types) {
    host *h = host_start(NULL, NULL);
    expect(h, "POST /health HTTP/1.1" L JSON "Content-Length: 2\r\n\r\n{}", 405, "use GET, HEAD");
    expect_field(ask(h, "DELETE /health HTTP/1.1" L "\r\n"), "Allow", "GET, HEAD, OPTIONS");
    expect_field(ask(h, GET("/echo")), "Allow", "POST, OPTIONS");
    expect_field(ask(h, "HEAD /echo HTTP/1.1" L "\r\n"), "Allow", "POST, OPTIONS");
    expect(h, "get /health HTTP/1.1" L "\r\n", 405, NULL);
    expect(h, "POST /echo HTTP/1.1" L "Content-Length: 2\r\n\r\n{}", 415,
           "send -H 'Content-Type: application");
    expect(h,
           "POST /echo HTTP/1.1" L
           "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n{}",
           415, "x-www-form-urlencoded");
    expect(h, "POST /echo HTTP/1.1" L "Content-Type: application/jsonx\r\nContent-Length: 2\r\n\r\n{}", 415,
           NULL);
    expect(h,
           "POST /echo HTTP/1.1" L
           "Content-Type: Application/JSON;charset=utf-8\r\nContent-Length: 2\r\n\r\n{}",
           200, "{}");
    expect(h, "POST /echo HTTP/1.1" L JSON "\r\n", 200, "");
    cr_assert_eq(atomic_load(&h->served), 2);
    cr_assert_eq(atomic_load(&h->done), 10); /* refusals of a route are reported, too */
    host_stop(h);
}

Test(http_admit, answers_head_and_options) {
    host *h = host_start(NULL, NULL);
    const int fd = client_open(h->port);
    answer a = client_ask(fd, "HEAD /health HTTP/1.1" L "\r\n");
    cr_assert_eq(a.n, 0);
    expect_field(a, "Content-Length", "2");
    expect_field(client_ask(fd, "OPTIONS /echo HTTP/1.1" L "\r\n"), "Allow", "POST, OPTIONS");
    expect_field(client_ask(fd, "OPTIONS * HTTP/1.1" L "\r\n"), "Allow", "GET, HEAD, POST, OPTIONS");
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    close(fd);
    host_stop(h);
}

Test(http_admit, asks_for_keys) {
    host *h = host_start(NULL, "sesame, two");
    expect(h, GET("/health"), 200, "ok");
    expect(h, GET("/head"), 401, "invalid_api_key");
    expect(h, GET("/nothing"), 401, "invalid_api_key");
    expect_field(ask(h, GET("/head")), "WWW-Authenticate", "Bearer realm=\"weir\"");
    expect(h, "GET /head HTTP/1.1" L "Authorization: Bearer sesame\r\n\r\n", 200, NULL);
    expect(h, "GET /head HTTP/1.1" L "Authorization: bearer  two\r\n\r\n", 200, NULL);
    expect(h, "GET /head HTTP/1.1" L "X-Api-Key: two\r\n\r\n", 200, NULL);
    expect(h, "GET /head HTTP/1.1" L "Authorization: Basic x\r\nX-Api-Key: two\r\n\r\n", 200, NULL);
    expect(h, "GET /nothing HTTP/1.1" L "X-Api-Key: two\r\n\r\n", 404, NULL);
    static const char *const wrong[] = {"sesam", "sesame2", "sesame,", "sesame, two", "two ", "", "SESAME"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char request[200];
        snprintf(request, sizeof request, "GET /head HTTP/1.1" L "Authorization: Bearer %s\r\n\r\n",
                 wrong[i]);
        expect(h, request, strcmp(wrong[i], "two ") == 0 ? 200 : 401, NULL); /* blanks end a field's value */
    }
    host_stop(h);
}

/* A wrong key is refused before the body is read. After Expect the connection closes; a short body is
 * skipped, and the connection lives on. */
Test(http_admit, refuses_before_the_body) {
    host *h = host_start(NULL, "sesame");
    int fd = client_open(h->port);
    answer_expect(
        client_ask(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"),
        401, NULL);
    cr_assert(client_at_end(fd));
    close(fd);
    fd = client_open(h->port);
    answer_expect(client_ask(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 34\r\n\r\n"), 401, NULL);
    client_puts(fd, GET("/none")); /* 34 bytes of it belong to the body */
    client_puts(fd, "\r\n");
    answer_expect(client_read(fd), 400, NULL);
    close(fd);
    fd = client_open(h->port);
    answer_expect(client_ask(fd, "POST /echo HTTP/1.1" L JSON "Content-Length: 2\r\n\r\n{}"), 401, NULL);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    close(fd);
    host_stop(h);
}

Test(http_admit, checks_hosts_on_the_loopback) {
    static const char *const allowed[] = {"weir.lan", "b:9"};
    host *h = host_start(&(http_options){.allowed_hosts = allowed, .n_allowed_host = 2}, NULL);
    static const char *const good[] = {"localhost", "LocalHost:80", "127.0.0.1:8080", "127.9.9.9",
                                       "[::1]:1",   "weir.lan",     "WEIR.lan:8",     "b:9"};
    static const char *const bad[] = {"evil.com",  "localhost.evil.com", "127.0.0.1.evil.com", "[::2]",
                                      "b:8",       "localhostx:80",      "1127.0.0.1",         "0.0.0.0",
                                      "127.0.0.1x"};
    char request[200];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        expect(h, request, 200, "ok");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        expect(h, request, 403, "host_not_allowed");
    }
    expect(h, "OPTIONS /health HTTP/1.1\r\nHost: evil.com\r\n\r\n", 403, "host_not_allowed");
    host_stop(h);
    h = host_start(&(http_options){.host = "0.0.0.0"}, NULL);
    expect(h, "GET /health HTTP/1.1\r\nHost: any.name\r\n\r\n", 200, "ok");
    host_stop(h);
}

#define ORIGIN(o) "Origin: " o "\r\n"
#define PREFLIGHT \
    "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-stainless-os, authorization\r\n"

Test(http_admit, checks_origins) {
    static const char *const origins[] = {"https://chat.example"};
    host *h = host_start(&(http_options){.cors_origins = origins, .n_cors_origin = 1}, "sesame");
    expect(h, "GET /health HTTP/1.1" L ORIGIN("https://evil.example") "\r\n", 403, "origin_not_allowed");
    expect(h, "GET /health HTTP/1.1" L ORIGIN("null") "\r\n", 403, "origin_not_allowed");
    expect(h, "OPTIONS /echo HTTP/1.1" L ORIGIN("https://evil.example") PREFLIGHT "\r\n", 403, NULL);
    expect(h, "GET /health HTTP/1.1" L ORIGIN("http://localhost") "\r\n", 200, "ok");
    expect_field(ask(h, "GET /health HTTP/1.1" L ORIGIN("http://localhost") "\r\n"),
                 "Access-Control-Allow-Origin", "");
    expect(h, "GET /health HTTP/1.1\r\nHost: localhost:81\r\n" ORIGIN("http://localhost:82") "\r\n", 403,
           NULL);
    static const char allowed[] = "GET /health HTTP/1.1" L ORIGIN("https://chat.example") "\r\n";
    expect_field(ask(h, allowed), "Access-Control-Allow-Origin", "https://chat.example");
    expect_field(ask(h, allowed), "Vary", "Origin");
    expect_field(ask(h, allowed), "Access-Control-Allow-Credentials", "");
    static const char preflight[] =
        "OPTIONS /echo HTTP/1.1" L ORIGIN("https://chat.example") PREFLIGHT "\r\n";
    expect(h, preflight, 204, "");
    expect_field(ask(h, preflight), "Access-Control-Allow-Headers", "x-stainless-os, authorization");
    expect_field(ask(h, preflight), "Access-Control-Allow-Methods", "POST, OPTIONS");
    expect_field(ask(h, "GET /head HTTP/1.1" L ORIGIN("https://chat.example") "\r\n"),
                 "Access-Control-Allow-Origin", "https://chat.example"); /* a page may read its 401 */
    host_stop(h);
    static const char *const all[] = {"*"};
    h = host_start(&(http_options){.cors_origins = all, .n_cors_origin = 1}, NULL);
    expect_field(ask(h, "GET /health HTTP/1.1" L ORIGIN("https://evil.example") "\r\n"),
                 "Access-Control-Allow-Origin", "*");
    host_stop(h);
}

Test(http_admit, names_requests) {
    host *h = host_start(NULL, NULL);
    char first[64], second[64], longest[129], request[400];
    answer a = ask(h, "GET /head HTTP/1.1" L "X-Request-Id: mine-1\r\nX-Test: t\r\n\r\n");
    cr_assert_str_eq(a.body, "t|mine-1|127.0.0.1");
    cr_assert(strstr(a.head, "\nX-Answer: a  b\n"), "%s", a.head); /* a value cannot begin a field */
    cr_assert(strstr(a.head, "\nServer: weir\n") && strstr(a.head, "\nDate: ") && strstr(a.head, " GMT\n"));
    expect_field(a, "X-Request-Id", "mine-1");
    memset(longest, 'x', 128);
    longest[128] = '\0';
    snprintf(request, sizeof request, "GET /head HTTP/1.1" L "X-Request-Id: %s\r\n\r\n", longest);
    expect_field(ask(h, request), "X-Request-Id", longest);
    static const char *const made[] = {"", "X-Request-Id: a b\r\n", "X-Request-Id: \xc3\xa9\r\n",
                                       "X-Request-Id:\r\n"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(request, sizeof request, "GET /health HTTP/1.1" L "%s\r\n", made[i]);
        answer b = ask(h, request), c = ask(h, request);
        answer_field(&b, "X-Request-Id", first, sizeof first);
        answer_field(&c, "X-Request-Id", second, sizeof second);
        cr_assert(strlen(first) == 24 && strspn(first, "0123456789abcdef") == 24, "%s", first);
        cr_assert_str_neq(first, second);
        free(b.body);
        free(c.body);
    }
    snprintf(request, sizeof request, "GET /head HTTP/1.1" L "X-Request-Id: y%s\r\n\r\n", longest);
    a = ask(h, request);
    answer_field(&a, "X-Request-Id", first, sizeof first);
    cr_assert_eq(strlen(first), 24);
    free(a.body);
    host_stop(h);
}
