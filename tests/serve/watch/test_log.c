/* The request log's ring and thread: everything arrives in order, and nothing that goes wrong with the file
 * delays who adds a line. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/serve/watch/log.h"
#include "tests/support/alloc.h"
#include "tests/support/build.h"
#include "tests/support/files.h"

typedef struct place {
    char *dir, *path;
} place;

static place begin(void) {
    place p = {.dir = files_temp_dir()};
    p.path = files_path(p.dir, "log");
    return p;
}

static void end(place *p) {
    free(p->path);
    files_remove_dir(p->dir);
}

static watch_log *open_at(const char *path, bool json, size_t ring) {
    const watch_log_options o = {.path = path, .json = json, .ring_bytes = ring};
    watch_log *l = NULL;
    weir_err err;
    cr_assert(watch_log_open(&l, &o, &err) == WEIR_OK, "%s", err.text);
    return l;
}

static void add(watch_log *l, const char *id, const char *route) {
    watch_log_request(l, &(watch_request){.id = id, .peer = "unix", .route = route, .status = 200});
}

static void add_number(watch_log *l, long number) {
    char id[32];
    snprintf(id, sizeof id, "n%ld", number);
    add(l, id, "/v1/models");
}

static char *content(const char *path) {
    size_t n = 0;
    char *text = (char *)files_read(path, &n);
    return text ? text : strdup("");
}

/* Numbers of the lines in order, each line whole; how many. */
static size_t numbers_in(const char *text, long *out, size_t cap) {
    size_t n = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *id = strstr(line, "Z n");
        const char *stop = strchr(line, '\n');
        cr_assert(stop, "a line without an end");
        if (!id || id > stop) continue; /* of the log itself */
        cr_assert(id == line + 23 && strncmp(stop - 6, "ms=0.0", 6) == 0, "%.*s", (int)(stop - line), line);
        cr_assert(n < cap);
        out[n++] = strtol(id + 3, NULL, 10);
    }
    return n;
}

/* Waits until the file has this text. */
static void wait_for(const char *path, const char *part) {
    for (int i = 0; i < 20000; i++) {
        char *text = content(path);
        const bool there = strstr(text, part) != NULL;
        free(text);
        if (there) return;
        usleep(1000);
    }
    cr_assert(false, "%s: no %s", path, part);
}

Test(watch_log, in_order) {
    place p = begin();
    enum { N = 500 };
    static long got[N];
    files_write(p.dir, "log", "before\n", 7); /* appended to */
    watch_log *l = open_at(p.path, false, 0);
    for (long i = 0; i < N; i++) add_number(l, i);
    watch_log_close(l); /* writes all of it */
    char *text = content(p.path);
    cr_expect(strncmp(text, "before\n", 7) == 0);
    cr_expect(numbers_in(text, got, N) == N);
    for (long i = 0; i < N; i++) cr_assert(got[i] == i);
    free(text);
    end(&p);
}

Test(watch_log, json_lines) {
    place p = begin();
    watch_log *l = open_at(p.path, true, 0);
    add_number(l, 1);
    add_number(l, 2);
    watch_log_close(l);
    char *text = content(p.path);
    cr_expect(text[0] == '{' && strstr(text, "\"id\":\"n1\"") && strstr(text, "}\n{\"time\":"));
    free(text);
    end(&p);
}

Test(watch_log, probes_are_left_out) {
    place p = begin();
    watch_log *l = open_at(p.path, false, 0);
    add(l, "a", "/health");
    add(l, "b", "/metrics");
    add(l, "c", NULL);
    add(l, "d", "/healthy");
    watch_log_close(l);
    char *text = content(p.path);
    cr_expect(!strstr(text, " a ") && !strstr(text, " b ") && strstr(text, " c ") && strstr(text, " d "));
    free(text);
    end(&p);
}

Test(watch_log, none) {
    add(NULL, "a", NULL);
    watch_log_reopen(NULL);
    cr_expect(watch_log_dropped(NULL) == 0);
    watch_log_close(NULL);
}

/* ---- files that fail ----------------------------------------------------------------------------------- */

Test(watch_log, disk_full) {
    watch_log *l = open_at("/dev/full", false, 0);
    for (long i = 0; i < 20000; i++) add_number(l, i);
    while (watch_log_dropped(l) < 20000) usleep(1000);
    watch_log_close(l);
}

/* The disk fills up within a line, and has room again later: what was cut off spoils no other line. */
Test(watch_log, disk_full_for_a_while) {
    place p = begin();
    struct rlimit limit;
    cr_assert(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    const rlim_t all = limit.rlim_cur;
    watch_log *l = open_at(p.path, false, 0);
    limit.rlim_cur = 100;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (long i = 0; i < 3; i++) {
        add_number(l, i);
        usleep(10000); /* each its own write; if not, more is dropped */
    }
    while (watch_log_dropped(l) == 0) usleep(1000);
    limit.rlim_cur = all;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    add_number(l, 7);
    wait_for(p.path, " lines dropped\n");
    watch_log_close(l);
    char *text = content(p.path);
    const char *seven = strstr(text, "Z n7 ");
    cr_assert(seven && seven - text > 100);
    cr_expect(seven[-24] == '\n', "%s", text);
    cr_expect(text[100] == '\n' && text[99] != '\n', "%s", text);
    free(text);
    end(&p);
}

/* A pipe that nobody reads: what has no room is dropped at once, and close gives up after a while. Later the
 * log says how many lines it dropped. */
static void stalled(bool json) {
    int fd[2];
    char path[64], *text = malloc(1 << 22);
    cr_assert(pipe(fd) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd[1]);
    watch_log *l = open_at(path, json, 8192);
    for (long i = 0; i < 5000; i++) add_number(l, i);
    cr_expect(watch_log_dropped(l) > 0);
    size_t n = 0;
    bool told = false;
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    while (!told) { /* the reader wakes up */
        const ssize_t more = read(fd[0], text + n, (1 << 22) - 1 - n);
        if (more > 0)
            n += (size_t)more;
        else
            add_number(l, 5000), usleep(1000);
        text[n] = '\0';
        told = strstr(text, json ? "\"log\":\"" : " log: ") && strstr(text, " lines dropped");
    }
    cr_expect(strncmp(text + (json ? 0 : 25), json ? "{\"time\":\"" : "n0 ", json ? 9 : 3) == 0);
    watch_log_close(l);
    free(text);
    close(fd[0]);
    close(fd[1]);
}

Test(watch_log, stalled_reader) { stalled(false); }
Test(watch_log, stalled_reader_json) { stalled(true); }

/* Seconds that close takes with n lines left for a reader that takes none. */
static double seconds_of_close(long n) {
    int fd[2];
    char path[64];
    cr_assert(pipe(fd) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd[1]);
    watch_log *l = open_at(path, false, 0);
    for (long i = 0; i < n; i++) add_number(l, i);
    const double began = weir_seconds();
    watch_log_close(l);
    const double seconds = weir_seconds() - began;
    close(fd[0]);
    close(fd[1]);
    return seconds;
}

/* It waits for its reader once, not for every write that is left. */
Test(watch_log, close_does_not_wait_for_ever) {
    const double few = seconds_of_close(2000), many = seconds_of_close(15000);
    cr_expect(many < 10 * few, "%g and %g s", few, many);
}

/* The reader is gone: no signal ends the program. */
Test(watch_log, broken_pipe) {
    int fd[2];
    char path[64];
    cr_assert(pipe(fd) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd[1]);
    watch_log *l = open_at(path, false, 0);
    close(fd[0]);
    close(fd[1]);
    for (long i = 0; i < 100; i++) add_number(l, i);
    while (watch_log_dropped(l) < 100) usleep(1000);
    watch_log_close(l);
}

Test(watch_log, cannot_open) {
    place p = begin();
    char *none = files_path(p.dir, "no/such/log"), *fifo = files_path(p.dir, "fifo");
    cr_assert(mkfifo(fifo, 0600) == 0);
    const char *const bad[] = {none, p.dir, fifo}; /* of the last one nobody reads */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const watch_log_options o = {.path = bad[i]};
        watch_log *l = NULL;
        weir_err err;
        cr_expect(watch_log_open(&l, &o, &err) == WEIR_EIO && !l);
        cr_expect(err_is_line(&err, "log file "), "%s", err.text);
    }
    unlink(fifo);
    free(none);
    free(fifo);
    end(&p);
}

Test(watch_log, no_memory) {
    place p = begin();
    bool opened = false;
    for (long at = 1; !opened; at++) {
        alloc_install(at);
        const watch_log_options o = {.path = p.path};
        watch_log *l = NULL;
        weir_err err;
        opened = watch_log_open(&l, &o, &err) == WEIR_OK;
        if (!opened) cr_expect(err_is_line(&err, "memory"));
        add_number(l, 1); /* takes no memory */
        watch_log_close(l);
        cr_expect(alloc_live() == 0);
        alloc_uninstall();
        cr_assert(at < 10);
    }
    end(&p);
}

/* ---- rotation ------------------------------------------------------------------------------------------ */

Test(watch_log, rotation) {
    place p = begin();
    const int before = dup(STDERR_FILENO); /* the lowest number that is free */
    close(before);
    char *old = files_path(p.dir, "log.1");
    watch_log *l = open_at(p.path, false, 0);
    add(l, "first", NULL);
    wait_for(p.path, "first");
    cr_assert(rename(p.path, old) == 0);
    add(l, "second", NULL);
    wait_for(old, "second");
    watch_log_reopen(l);
    while (access(p.path, F_OK) != 0) usleep(1000);
    add(l, "third", NULL);
    watch_log_close(l);
    const int after = dup(STDERR_FILENO);
    cr_expect(after == before, "a file was left open");
    close(after);
    char *a = content(old), *b = content(p.path);
    cr_expect(!strstr(a, "third") && strstr(b, "third") && !strstr(b, "second"));
    free(a);
    free(b);
    free(old);
    end(&p);
}

/* If the name cannot be opened again, the old file serves on and has a line about it. */
Test(watch_log, rotation_fails) {
    place p = begin();
    char *old = files_path(p.dir, "log.1");
    watch_log *l = open_at(p.path, false, 0);
    cr_assert(rename(p.path, old) == 0 && mkdir(p.path, 0700) == 0);
    watch_log_reopen(l);
    wait_for(old, " log: cannot be reopened: ");
    add(l, "second", NULL);
    watch_log_close(l);
    char *a = content(old);
    cr_expect(strstr(a, " second "));
    free(a);
    cr_assert(rmdir(p.path) == 0);
    free(old);
    end(&p);
}

/* Standard error is not a file of ours: it stays open. */
Test(watch_log, standard_error) {
    place p = begin();
    const int saved = dup(STDERR_FILENO), file = open(p.path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    cr_assert(saved >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    watch_log *l = open_at(NULL, false, 0);
    add(l, "first", NULL);
    watch_log_reopen(l);
    add(l, "second", NULL);
    watch_log_close(l);
    cr_expect(fcntl(STDERR_FILENO, F_GETFD) >= 0);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    char *text = content(p.path);
    cr_expect(strstr(text, " first ") && strstr(text, " second "));
    free(text);
    end(&p);
}

/* ---- threads ------------------------------------------------------------------------------------------- */

enum { THREADS = 4, MOST = 4000 };

typedef struct writer {
    watch_log *l;
    long first, n;
} writer;

static void *write_some(void *ud) {
    const writer *w = ud;
    for (long i = 0; i < w->n; i++) {
        add_number(w->l, w->first + i);
        if (i % 64 == 0) watch_log_reopen(w->l);
    }
    return NULL;
}

/* Each line is in the file or counted as dropped, whole, those of a thread in its order. */
Test(watch_log, threads) {
    place p = begin();
    static long got[THREADS * MOST];
    const long each = build_is_sanitized() ? 400 : MOST;
    watch_log *l = open_at(p.path, false, 1 << 15);
    writer w[THREADS];
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] = (writer){l, i * each, each};
        cr_assert(pthread_create(&t[i], NULL, write_some, &w[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    const uint64_t dropped = watch_log_dropped(l);
    watch_log_close(l);
    char *text = content(p.path);
    const size_t n = numbers_in(text, got, THREADS * MOST);
    cr_expect(n + dropped == (size_t)(THREADS * each), "%zu and %llu", n, (unsigned long long)dropped);
    long last[THREADS];
    for (int i = 0; i < THREADS; i++) last[i] = -1;
    for (size_t i = 0; i < n; i++) {
        long *before = &last[got[i] / each];
        cr_assert(got[i] > *before);
        *before = got[i];
    }
    free(text);
    end(&p);
}
