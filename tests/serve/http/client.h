#ifndef WEIR_TESTS_SERVE_HTTP_CLIENT_H
#define WEIR_TESTS_SERVE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

/* A client that sends exactly the bytes it is given, and reads answers strictly. Sockets block. */
typedef struct answer {
    int status;      /* 0: the connection closed before a whole head */
    char head[4096]; /* without the empty line */
    char *body;      /* zero-terminated; free() */
    size_t n, cap;
    bool whole, closes; /* whole: as long as the head said */
} answer;

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

int client_open(int port);
void client_send(int fd, const char *bytes, size_t n); /* stops when the peer closes */
void client_puts(int fd, const char *text);
answer client_read(int fd);                     /* one answer, 100 Continue passed over */
answer client_ask(int fd, const char *request); /* puts, read */
/* "POST path" with a JSON body. */
answer client_post(int fd, const char *path, const char *body);
const char *answer_field(const answer *a, const char *name, char *out, size_t n); /* NULL: none */
/* Checks that it is whole, its status, and its body (NULL: any; for a status from 400 on a part of it), and
 * frees it. */
void answer_expect(answer a, int status, const char *body);
bool client_at_end(int fd); /* waits: the peer closed; false if bytes came */

#endif
