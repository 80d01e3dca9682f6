#include "host/serve/watch/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    RING_BYTES = 1 << 20,
    POLL_MS = 50,
    GIVE_UP_MS = 1000, /* how long close waits for a reader that takes nothing */
};

struct watch_log {
    char *path; /* NULL: standard error */
    bool json;
    char *ring;
    size_t cap;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t first, n; /* bytes that wait, whole lines; under the lock, like: */
    bool closing, reopen;
    _Atomic uint64_t dropped;
    /* the thread's */
    int fd;
    bool mid_line; /* the file ends in part of a line */
    bool stuck;    /* nobody took anything while the log was being closed: the rest is dropped */
    uint64_t told; /* dropped lines that the log has told of */
};

/* ---- ring ---------------------------------------------------------------------------------------------- */

static bool ring_add(watch_log *l, const char *line, size_t n) {
    if (n > l->cap - l->n) return false;
    const size_t at = (l->first + l->n) % l->cap;
    const size_t head = n < l->cap - at ? n : l->cap - at;
    memcpy(l->ring + at, line, head);
    memcpy(l->ring, line + head, n - head);
    l->n += n;
    return true;
}

/* The next whole lines that fit: one always does. */
static size_t ring_take(watch_log *l, char out[WATCH_LINE_MAX]) {
    size_t n = l->n < WATCH_LINE_MAX ? l->n : WATCH_LINE_MAX;
    for (size_t i = 0; i < n; i++) out[i] = l->ring[(l->first + i) % l->cap];
    while (n > 0 && out[n - 1] != '\n') n--;
    l->first = (l->first + n) % l->cap;
    l->n -= n;
    return n;
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

/* O_NONBLOCK: a FIFO that nobody reads is an error, not a wait. */
static int open_file(const char *path) {
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static bool closing(watch_log *l) {
    pthread_mutex_lock(&l->lock);
    const bool yes = l->closing;
    pthread_mutex_unlock(&l->lock);
    return yes;
}

/* Waits until a write of WATCH_LINE_MAX bytes, which is PIPE_BUF, will not block; while the log is being
 * closed not for ever. */
static bool writable(watch_log *l) {
    for (int waited = 0; waited < GIVE_UP_MS && !l->stuck;) {
        struct pollfd p = {.fd = l->fd, .events = POLLOUT};
        const int r = poll(&p, 1, POLL_MS);
        if (r > 0 || (r < 0 && errno != EINTR)) return r > 0;
        if (closing(l)) waited += POLL_MS;
    }
    l->stuck = true;
    return false;
}

static bool write_all(watch_log *l, const char *bytes, size_t n) {
    while (n > 0) {
        if (!writable(l)) return false;
        const ssize_t done = write(l->fd, bytes, n);
        if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (done <= 0) return false;
        l->mid_line = bytes[done - 1] != '\n';
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

static size_t count_lines(const char *bytes, size_t n) {
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) lines += bytes[i] == '\n';
    return lines;
}

/* What a failed write has left of a line is ended first, so that it spoils no other. */
static bool write_lines(watch_log *l, const char *bytes, size_t n) {
    if (l->mid_line && !write_all(l, "\n", 1)) return false;
    return write_all(l, bytes, n);
}

/* A line about the log itself; text needs no escapes. */
static bool write_note(watch_log *l, const char *text) {
    char line[256], time[32];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    watch_line_time(now, time);
    const int n = snprintf(line, sizeof line, l->json ? "{\"time\":\"%s\",\"log\":\"%s\"}\n" : "%s log: %s\n",
                           time, text);
    return write_lines(l, line, (size_t)n);
}

static void tell_dropped(watch_log *l) {
    const uint64_t dropped = atomic_load(&l->dropped);
    if (dropped == l->told) return;
    char text[64];
    snprintf(text, sizeof text, "%llu lines dropped", (unsigned long long)(dropped - l->told));
    if (write_note(l, text)) l->told = dropped;
}

/* If the name cannot be opened, the old file serves on. */
static void reopen(watch_log *l) {
    if (!l->path) return;
    const int fd = open_file(l->path);
    if (fd < 0) {
        char text[128];
        snprintf(text, sizeof text, "cannot be reopened: %s", strerror(errno));
        (void)write_note(l, text);
        return;
    }
    close(l->fd);
    l->fd = fd;
    l->mid_line = false;
}

static void *run(void *ud) {
    watch_log *l = ud;
    char lines[WATCH_LINE_MAX];
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (l->n == 0 && !l->closing && !l->reopen) pthread_cond_wait(&l->changed, &l->lock);
        if (l->n == 0 && !l->reopen) break;
        const bool again = l->reopen;
        l->reopen = false;
        const size_t n = ring_take(l, lines);
        pthread_mutex_unlock(&l->lock);
        if (again) reopen(l);
        if (n > 0 && write_lines(l, lines, n))
            tell_dropped(l);
        else
            atomic_fetch_add(&l->dropped, count_lines(lines, n));
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static void release(watch_log *l) {
    if (l->fd >= 0 && l->path) close(l->fd);
    weir_free(l->path);
    weir_free(l->ring);
    weir_free(l);
}

/* Signals are other threads' business. */
static int start(watch_log *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

weir_status watch_log_open(watch_log **out, const watch_log_options *opt, weir_err *err) {
    watch_log *l = weir_calloc(1, sizeof *l);
    if (!l) return weir_fail(err, WEIR_ENOMEM, "log: out of memory");
    l->fd = STDERR_FILENO;
    l->json = opt->json;
    l->cap = opt->ring_bytes ? opt->ring_bytes : RING_BYTES;
    if (l->cap < WATCH_LINE_MAX) l->cap = WATCH_LINE_MAX; /* any line fits into an empty ring */
    l->ring = weir_alloc(l->cap, 1);
    l->path = opt->path ? weir_strdup(opt->path) : NULL;
    if (!l->ring || (opt->path && !l->path)) {
        l->fd = -1;
        release(l);
        return weir_fail(err, WEIR_ENOMEM, "log: out of memory");
    }
    if (l->path && (l->fd = open_file(l->path)) < 0) {
        const int why = errno;
        release(l);
        return weir_fail(err, WEIR_EIO, "log file %s: %s", opt->path, strerror(why));
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    if (start(l) != 0) {
        release(l);
        return weir_fail(err, WEIR_ENOMEM, "log: cannot start its thread");
    }
    *out = l;
    return WEIR_OK;
}

void watch_log_close(watch_log *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    release(l);
}

/* ---- for other threads --------------------------------------------------------------------------------- */

static bool is_probe(const char *route) {
    return route && (strcmp(route, "/health") == 0 || strcmp(route, "/metrics") == 0);
}

void watch_log_request(watch_log *l, const watch_request *r) {
    if (!l || is_probe(r->route)) return;
    char line[WATCH_LINE_MAX];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const size_t n = l->json ? watch_line_json(r, now, line) : watch_line_text(r, now, line);
    pthread_mutex_lock(&l->lock);
    const bool fits = ring_add(l, line, n);
    if (fits) pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (!fits) atomic_fetch_add(&l->dropped, 1);
}

void watch_log_reopen(watch_log *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->reopen = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

uint64_t watch_log_dropped(const watch_log *l) { return l ? atomic_load(&l->dropped) : 0; }
