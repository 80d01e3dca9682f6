#include "tests/cli/program.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/costs.h"

#define DEMO WEIR_SOURCE_DIR "/models/demo/"
const char program_weir[] = WEIR_PROGRAM, program_man_page[] = WEIR_MAN_PAGE;
enum { MAX_WORDS = 64, MAX_ENV = 400 };

extern char **environ;

/* A case is a process of its own and keeps what it read until it ends: leaks are looked for in the programs
 * it runs, which then end with another status than the case expects. */
const char *__asan_default_options(void);
__attribute__((no_sanitize("address"))) const char *__asan_default_options(void) { return "detect_leaks=0"; }

/* ---- files --------------------------------------------------------------------------------------------- */

static char own_path[80]; /* "": there is none */

const char *own_file(const char *name, const char *ending) {
    snprintf(own_path, sizeof own_path, "/tmp/weir-%s-%d.%s", name, (int)getpid(), ending);
    return own_path;
}

void own_file_remove(void) {
    if (own_path[0]) unlink(own_path);
}

/* ---- words and environment ----------------------------------------------------------------------------- */

static char *expand(const char *word, size_t n) {
    if (n == 2 && memcmp(word, "@V", 2) == 0) return strdup(DEMO "verifier");
    if (n == 2 && memcmp(word, "@D", 2) == 0) return strdup(DEMO "drafter");
    return strndup(word, n);
}

static int split(const char *line, char **words, int n) {
    for (const char *p = line; *p;) {
        p += strspn(p, " ");
        if (!*p) break;
        cr_assert(n < MAX_WORDS - 1);
        char stop = *p == '\'' ? '\'' : ' ';
        if (stop == '\'') p++;
        size_t len = 0;
        while (p[len] && p[len] != stop) len++;
        words[n++] = stop == '\'' ? strndup(p, len) : expand(p, len);
        p += len + (p[len] == '\'');
    }
    words[n] = NULL;
    return n;
}

static void make_env(const run_spec *spec, char **env) {
    int n = 0;
    for (char **e = environ; *e; e++) {
        if (strncmp(*e, "WEIR_", 5) == 0 || strncmp(*e, "NO_COLOR", 8) == 0 || strncmp(*e, "TERM=", 5) == 0)
            continue;
        cr_assert(n < MAX_ENV - 10);
        env[n++] = *e;
    }
    for (int i = 0; i < 6 && spec->env[i]; i++) env[n++] = strdup(spec->env[i]);
#ifdef __SANITIZE_THREAD__
    env[n++] = strdup("WEIR_RUNNER_SMS=1"); /* a card of two blocks: an answer in 27 s rather than 80 */
    env[n++] = strdup("WEIR_RUNNER_BLOCKS=2");
#endif
    env[n++] = strdup("WEIR_DEVICE=cpu"); /* what is expected are the CPU's bits; the first of a name
                                             counts */
    env[n++] = strdup("WEIR_COSTS=" TEST_COSTS);
    env[n] = NULL;
}

/* ---- pipes and terminals ------------------------------------------------------------------------------- */

typedef struct stream {
    int ours, theirs;
    char *data;
    size_t len, cap;
} stream;

static void open_pty(stream *s) {
    s->ours = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(s->ours >= 0 && grantpt(s->ours) == 0 && unlockpt(s->ours) == 0);
    s->theirs = open(ptsname(s->ours), O_RDWR | O_NOCTTY);
    cr_assert(s->theirs >= 0);
    fcntl(s->ours, F_SETFD, FD_CLOEXEC);
}

static void open_pipe(stream *s) {
    int fd[2];
    cr_assert(pipe2(fd, O_CLOEXEC) == 0);
    s->ours = fd[0];
    s->theirs = fd[1];
}

static void open_output(const run_spec *spec, stream *s) {
    *s = (stream){.ours = -1, .theirs = -1};
    if (spec->close_out) return;
    if (spec->out_path) {
        s->theirs = open(spec->out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        cr_assert(s->theirs >= 0, "%s: %s", spec->out_path, strerror(errno));
    } else if (spec->out_tty) {
        open_pty(s);
    } else {
        open_pipe(s);
        if (spec->broken_out) {
            close(s->ours);
            s->ours = -1;
        }
    }
}

/* What came, onto the stream's data; false at its end. (A terminal whose other side is closed gives EIO.) */
static bool take(stream *s) {
    if (s->cap - s->len < 4097) {
        s->cap = s->cap ? 2 * s->cap : 8192;
        s->data = realloc(s->data, s->cap);
        cr_assert(s->data != NULL);
    }
    ssize_t got = read(s->ours, s->data + s->len, 4096);
    if (got > 0) s->len += (size_t)got;
    s->data[s->len] = '\0';
    if (got > 0) return true;
    close(s->ours);
    s->ours = -1;
    return false;
}

static void feed(int *fd, const run_spec *spec, size_t len, size_t *fed) {
    if (*fed < len) {
        ssize_t n = write(*fd, spec->input + *fed, len - *fed);
        *fed = n > 0 ? *fed + (size_t)n : len; /* a program that does not read its input is no error */
    }
    if (*fed >= len && !spec->hold_input) {
        close(*fd);
        *fd = -1;
    }
}

static bool seen(const run_spec *spec, const stream *out, const stream *err) {
    return (out->data && strstr(out->data, spec->after)) || (err->data && strstr(err->data, spec->after));
}

static void pump(const run_spec *spec, pid_t pid, int in, stream *out, stream *err) {
    size_t len = spec->input ? (spec->input_len ? spec->input_len : strlen(spec->input)) : 0, fed = 0;
    bool signalled = spec->signal == 0;
    if (len == 0) feed(&in, spec, 0, &fed);
    while (out->ours >= 0 || err->ours >= 0) {
        struct pollfd p[3] = {{.fd = out->ours, .events = POLLIN},
                              {.fd = err->ours, .events = POLLIN},
                              {.fd = fed < len ? in : -1, .events = POLLOUT}};
        const bool timed = !signalled && spec->wait_ms > 0;
        const int got = poll(p, 3, timed ? spec->wait_ms : 60000);
        cr_assert(got > 0 || timed, "nothing for a minute: %s", spec->line);
        if (got == 0) {
            kill(pid, spec->signal);
            signalled = true;
            continue;
        }
        if (p[0].revents) take(out);
        if (p[1].revents) take(err);
        if (p[2].revents) feed(&in, spec, len, &fed);
        if (!signalled && seen(spec, out, err)) {
            /* A moment, so that the program is back where it waits. */
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
            kill(pid, spec->signal);
            signalled = true;
        }
    }
    if (in >= 0) close(in);
}

outcome run_spec_do(const run_spec *spec) {
    char *words[MAX_WORDS], *env[MAX_ENV];
    words[0] = strdup(spec->on_runner ? WEIR_RUNNER_PROGRAM : spec->fake ? WEIR_FAKE_PROGRAM : program_weir);
    split(spec->line, words, 1);
    make_env(spec, env);
    signal(SIGPIPE, SIG_IGN);

    stream in = {0}, out, err = {.ours = -1, .theirs = -1};
    if (spec->in_tty) {
        stream pty = {0};
        open_pty(&pty);
        in = (stream){.ours = pty.theirs, .theirs = pty.ours};
    } else {
        open_pipe(&in); /* its ends swapped: the program reads `ours` */
    }
    open_output(spec, &out);
    if (spec->err_tty)
        open_pty(&err);
    else
        open_pipe(&err);

    posix_spawn_file_actions_t acts;
    posix_spawn_file_actions_init(&acts);
    posix_spawn_file_actions_adddup2(&acts, in.ours, 0);
    if (spec->close_out)
        posix_spawn_file_actions_addclose(&acts, 1);
    else
        posix_spawn_file_actions_adddup2(&acts, out.theirs, 1);
    posix_spawn_file_actions_adddup2(&acts, err.theirs, 2);
    /* Criterion's processes ignore nothing, but a shell may have started us with signals ignored. */
    posix_spawnattr_t attr;
    posix_spawnattr_init(&attr);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    pid_t pid;
    int failed = posix_spawn(&pid, words[0], &acts, &attr, words, env);
    cr_assert(failed == 0, "%s: %s", words[0], strerror(failed));
    close(in.ours);
    if (out.theirs >= 0) close(out.theirs);
    close(err.theirs);

    pump(spec, pid, in.theirs, &out, &err);
    int status = 0;
    cr_assert(waitpid(pid, &status, 0) == pid);
    outcome o = {.rc = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status)};
    o.out = out.data ? out.data : strdup("");
    o.out_len = out.len;
    o.err = err.data ? err.data : strdup("");
    o.err_len = err.len;
    return o;
}

outcome run(const char *line) { return run_spec_do(&(run_spec){.line = line}); }

outcome run_with(const char *line, const char *input) {
    return run_spec_do(&(run_spec){.line = line, .input = input});
}

/* ---- what is expected ---------------------------------------------------------------------------------- */

void expect_success(const outcome *o) { cr_assert(o->rc == 0, "rc %d: %s", o->rc, o->err); }

void expect_failure(const outcome *o, int rc, const char *word, const char *word2) {
    cr_assert(o->rc == rc, "rc %d, want %d: %s", o->rc, rc, o->err);
    const char *line = NULL;
    int n = 0;
    for (char *p = o->err; *p; n++) {
        char *end = strchr(p, '\n');
        cr_assert(end != NULL, "no newline at the end: %s", o->err);
        line = p;
        p = end + 1;
    }
    cr_assert(n >= 1, "no message");
    /* The last line is the message; lines before it are the setting that ran. */
    cr_assert(strncmp(line, "weir: ", 6) == 0, "%s", o->err);
    cr_assert(!word || strstr(line, word), "\"%s\" is not in: %s", word, line);
    cr_assert(!word2 || strstr(line, word2), "\"%s\" is not in: %s", word2, line);
}

json_t *json_lines(const outcome *o) {
    json_t *list = json_array();
    const char *p = o->out;
    while (p < o->out + o->out_len) {
        const char *end = memchr(p, '\n', (size_t)(o->out + o->out_len - p));
        cr_assert(end != NULL, "a last line without its newline: %s", p);
        json_error_t e;
        json_t *v = json_loadb(p, (size_t)(end - p), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
        cr_assert(v != NULL, "%s in: %.*s", e.text, (int)(end - p), p);
        json_array_append_new(list, v);
        p = end + 1;
    }
    return list;
}

json_t *at(json_t *value, const char *path) {
    char key[64];
    while (value && *path) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        value = json_object_get(value, key);
        path += n + (path[n] == '.');
    }
    return value;
}
