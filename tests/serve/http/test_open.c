#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/serve/http/client.h"
#include "tests/serve/http/host.h"
#include "tests/support/files.h"

/* ---- UNIX sockets -------------------------------------------------------------------------------------- */

static void socket_path(char *out, size_t n) {
    snprintf(out, n, "/tmp/weir-http-%d.sock", (int)getpid());
    unlink(out);
}

static int connect_unix(const char *path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static weir_status open_server(http_server **s, const http_options *opt, weir_err *err) {
    return http_server_open(s, opt, NULL, 0, NULL, &(http_calls){0}, err);
}

Test(http_open, listens_on_a_unix_socket) {
    char path[64];
    socket_path(path, sizeof path);
    host *h = host_start(&(http_options){.host = path}, NULL);
    const int fd = connect_unix(path);
    answer a = client_ask(fd, "GET /head HTTP/1.1\r\nHost: any.name\r\nX-Request-Id: i\r\n\r\n");
    answer_expect(a, 200, "-|i|unix");
    close(fd);
    /* A second server does not take it away; once the first is gone, its file is, too. */
    http_server *s;
    weir_err err = {""};
    cr_assert_eq(open_server(&s, &(http_options){.host = path}, &err), WEIR_EIO);
    cr_assert(strstr(err.text, path), "%s", err.text);
    close(connect_unix(path));
    host_stop(h);
    cr_assert_neq(access(path, F_OK), 0);
}

Test(http_open, a_stale_socket_is_replaced_but_no_other_file) {
    char path[64];
    socket_path(path, sizeof path);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    host *h = host_start(&(http_options){.host = path}, NULL);
    close(connect_unix(path));
    host_stop(h);
    FILE *f = fopen(path, "w");
    fputs("mine", f);
    fclose(f);
    http_server *s;
    weir_err err = {""};
    cr_assert_eq(open_server(&s, &(http_options){.host = path}, &err), WEIR_EIO);
    struct stat st;
    cr_assert(stat(path, &st) == 0 && st.st_size == 4);
    unlink(path);
}

/* ---- what cannot be opened ----------------------------------------------------------------------------- */

Test(http_open, says_what_is_wrong) {
    char taken[32];
    host *h = host_start(NULL, NULL);
    snprintf(taken, sizeof taken, "port %d", h->port);
    char long_path[200];
    memset(long_path, 'x', sizeof long_path);
    snprintf(long_path + 190, 10, ".sock");
    const struct {
        http_options opt;
        const char *part;
    } all[] = {
        {{.host = "127.0.0.1", .port = h->port}, taken},
        {{.host = "127.0.0.1", .port = -1}, "port -1"},
        {{.host = "127.0.0.1", .port = 65536}, "port 65536"},
        {{.host = "no such host"}, "no such host"},
        {{.host = "192.0.2.1"}, "192.0.2.1"},
        {{.host = long_path}, "at most 107 bytes"},
        {{.host = "/nowhere/x.sock"}, "/nowhere/x.sock: No such file"},
        {{.cert_file = "a"}, "both files"},
        {{.key_file = "a"}, "both files"},
        {{.cert_file = "/nowhere/c.pem", .key_file = "/nowhere/k.pem"}, "/nowhere/c.pem"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        http_server *s = (http_server *)h;
        weir_err err = {""};
        cr_assert_neq(open_server(&s, &all[i].opt, &err), WEIR_OK);
        cr_assert_null(s);
        cr_assert(strstr(err.text, all[i].part) && !strchr(err.text, '\n'), "%s", err.text);
    }
    host_stop(h);
}

Test(http_open, binds_all_addresses_of_a_name) {
    host *h = host_start(&(http_options){.host = "localhost"}, NULL);
    const int fd = client_open(h->port);
    answer_expect(client_ask(fd, GET("/health")), 200, "ok");
    close(fd);
    host_stop(h);
}

/* ---- timers and signals -------------------------------------------------------------------------------- */

static void tick(void *ud) { atomic_fetch_add((atomic_int *)ud, 1); }

static void on_signal(void *ud, int number) {
    atomic_fetch_add((atomic_int *)ud, number == SIGHUP ? 1 : 100);
}

typedef struct watched {
    host *h;
    atomic_int ticks, signals;
} watched;

static void watch(void *ud) {
    watched *w = ud;
    cr_assert(http_every(w->h->server, 0.001, tick, &w->ticks));
    cr_assert(http_on_signal(w->h->server, SIGHUP, on_signal, &w->signals));
}

Test(http_open, has_timers_and_signals) {
    watched w = {.h = host_start(NULL, NULL)};
    host_run(w.h, watch, &w);
    host_wait(&w.ticks, 10);
    for (int i = 1; i <= 5; i++) {
        kill(getpid(), SIGHUP);
        host_wait(&w.signals, i);
    }
    host_stop(w.h);
    cr_assert_eq(atomic_load(&w.signals), 5);
}

/* ---- posts --------------------------------------------------------------------------------------------- */

enum { POSTERS = 4, POSTS = 5000 };

typedef struct poster {
    host *h;
    pthread_t thread;
    int next; /* the loop's: posts of one thread come in its order */
    atomic_int *ran;
} poster;

typedef struct numbered {
    poster *from;
    int number;
} numbered;

static void run_post(void *ud) {
    numbered *n = ud;
    cr_assert_eq(n->number, n->from->next++);
    atomic_fetch_add(n->from->ran, 1);
    free(n);
}

static void *post_many(void *ud) {
    poster *p = ud;
    for (int i = 0; i < POSTS; i++) {
        numbered *n = malloc(sizeof *n);
        *n = (numbered){p, i};
        cr_assert(http_post(p->h->server, run_post, n));
    }
    return NULL;
}

Test(http_open, runs_posts_of_all_threads_in_order) {
    host *h = host_start(NULL, NULL);
    atomic_int ran = 0;
    poster all[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        all[i] = (poster){.h = h, .ran = &ran};
        cr_assert_eq(pthread_create(&all[i].thread, NULL, post_many, &all[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) pthread_join(all[i].thread, NULL);
    host_wait(&ran, POSTERS * POSTS);
    host_stop(h);
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

Test(http_open, reads_keys) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/weir-keys-%d", (int)getpid());
    http_keys *k;
    weir_err err = {""};
    const char *lists[] = {"a,b", " c "};
    cr_assert_eq(http_keys_open(&k, NULL, 0, NULL, &err), WEIR_OK);
    cr_assert_not(http_keys_any(k));
    http_keys_close(k);
    write_file(path, "one\n\n  two \r\n");
    cr_assert_eq(http_keys_open(&k, lists, 2, path, &err), WEIR_OK, "%s", err.text);
    cr_assert(http_keys_any(k));
    write_file(path, "\n \n");
    cr_assert_eq(http_keys_reload(k, &err), WEIR_EINVAL);
    cr_assert(strstr(err.text, "no key") && strstr(err.text, path), "%s", err.text);
    cr_assert(http_keys_any(k));
    write_file(path, "three\n");
    cr_assert_eq(http_keys_reload(k, &err), WEIR_OK);
    unlink(path);
    cr_assert_eq(http_keys_reload(k, &err), WEIR_EIO);
    http_keys_close(k);
    static const char *const bad[] = {"", ",", " , ", "a b", "caf\xc3\xa9", "a\tb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(http_keys_open(&k, &bad[i], 1, NULL, &err), WEIR_EINVAL, "'%s'", bad[i]);
        cr_assert_null(k);
    }
    cr_assert_eq(http_keys_open(&k, NULL, 0, path, &err), WEIR_EIO);
}
