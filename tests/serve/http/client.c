#include "tests/serve/http/client.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int client_open(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "%s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

void client_send(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        const ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        bytes += k;
        n -= (size_t)k;
    }
}

void client_puts(int fd, const char *text) { client_send(fd, text, strlen(text)); }

static bool get(int fd, char *c) { return recv(fd, c, 1, 0) == 1; }

/* A line without its CR LF; false: the connection closed first. */
static bool line(int fd, char *out, size_t cap) {
    size_t n = 0;
    char c;
    while (get(fd, &c)) {
        if (c == '\n') {
            cr_assert(n > 0 && out[n - 1] == '\r', "a line of an answer ends in LF alone");
            out[n - 1] = '\0';
            return true;
        }
        cr_assert_lt(n + 1, cap);
        out[n++] = c;
    }
    return false;
}

static bool take(int fd, answer *a, size_t n) {
    if (a->n + n + 1 > a->cap) {
        a->cap = 2 * (a->n + n + 1); /* an answer may come in a hundred thousand parts */
        a->body = realloc(a->body, a->cap);
    }
    while (n > 0) {
        const ssize_t k = recv(fd, a->body + a->n, n, 0);
        if (k <= 0) return false;
        a->n += (size_t)k;
        n -= (size_t)k;
    }
    a->body[a->n] = '\0';
    return true;
}

static bool read_chunks(int fd, answer *a) {
    char size[32];
    for (;;) {
        if (!line(fd, size, sizeof size)) return false;
        char *end;
        const size_t n = strtoul(size, &end, 16);
        cr_assert(end != size && *end == '\0', "chunk size '%s'", size);
        if (n > 0 && !take(fd, a, n)) return false;
        if (!line(fd, size, sizeof size)) return false;
        cr_assert_str_eq(size, "");
        if (n == 0) return true;
    }
}

static void read_to_end(int fd, answer *a) {
    while (take(fd, a, 1)) {}
    a->body[a->n] = '\0';
}

const char *answer_field(const answer *a, const char *name, char *out, size_t cap) {
    const size_t n = strlen(name);
    for (const char *p = strchr(a->head, '\n'); p; p = strchr(p, '\n')) {
        p++;
        if (strncasecmp(p, name, n) != 0 || p[n] != ':') continue;
        snprintf(out, cap, "%.*s", (int)strcspn(p + n + 2, "\n"), p + n + 2);
        return out;
    }
    return NULL;
}

static bool read_head(int fd, answer *a) {
    char text[2048];
    size_t at = 0;
    if (!line(fd, text, sizeof text)) return false;
    cr_assert_eq(sscanf(text, "HTTP/1.1 %d", &a->status), 1, "%s", text);
    do {
        cr_assert_lt(at + strlen(text) + 2, sizeof a->head);
        at += (size_t)snprintf(a->head + at, sizeof a->head - at, "%s\n", text);
        if (!line(fd, text, sizeof text)) {
            a->status = 0;
            return false;
        }
    } while (text[0]);
    return true;
}

static answer read_answer(int fd, bool head_only) {
    answer a = {0};
    char value[256];
    do a.status = 0;
    while (read_head(fd, &a) && a.status == 100);
    a.body = calloc(1, 1);
    if (!a.status) return a;
    const char *connection = answer_field(&a, "Connection", value, sizeof value);
    a.closes = connection && strcmp(connection, "close") == 0;
    const bool chunked = answer_field(&a, "Transfer-Encoding", value, sizeof value) != NULL;
    const char *length = answer_field(&a, "Content-Length", value, sizeof value);
    cr_assert(!chunked || !length);
    if (head_only || a.status == 204 || a.status == 304)
        a.whole = true;
    else if (chunked)
        a.whole = read_chunks(fd, &a);
    else if (length)
        a.whole = take(fd, &a, strtoul(length, NULL, 10));
    else
        read_to_end(fd, &a);
    return a;
}

answer client_read(int fd) { return read_answer(fd, false); }

answer client_ask(int fd, const char *request) {
    client_puts(fd, request);
    return read_answer(fd, strncmp(request, "HEAD ", 5) == 0);
}

answer client_post(int fd, const char *path, const char *body) {
    char head[512];
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
             "%zu\r\n\r\n",
             path, strlen(body));
    client_puts(fd, head);
    client_puts(fd, body);
    return client_read(fd);
}

static void expect_error(const answer *a, const char *part) {
    static const char *const keys[] = {"\"message\"", "\"type\"", "\"param\"", "\"code\""};
    char type[64];
    cr_assert_str_eq(answer_field(a, "Content-Type", type, sizeof type), "application/json");
    cr_assert(strncmp(a->body, "{\"error\": {", 11) == 0, "%s", a->body);
    for (int i = 0; i < 4; i++) cr_assert(strstr(a->body, keys[i]), "%s", a->body);
    if (part) cr_assert(strstr(a->body, part), "%s lacks %s", a->body, part);
}

void answer_expect(answer a, int status, const char *body) {
    cr_assert_eq(a.status, status, "status %d, not %d: %s", a.status, status, a.body);
    cr_assert(a.whole);
    if (status >= 400)
        expect_error(&a, body);
    else if (body)
        cr_assert_str_eq(a.body, body);
    free(a.body);
}

bool client_at_end(int fd) {
    char c;
    return recv(fd, &c, 1, 0) <= 0;
}
