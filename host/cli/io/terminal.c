#include "host/cli/io/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/io/out.h"
#include "host/weir.h"

static volatile sig_atomic_t caught, blind;

static void on_signal(int number) {
    if (blind) _exit(128 + number);
    caught = number;
}

void terminal_begin_blind(void) {
    cli_out_flush();
    blind = 1;
}

void terminal_end_blind(void) { blind = 0; }

void terminal_catch_signals(void) {
    /* No SA_RESTART: a read that waits for input must return. */
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

int terminal_signal(void) { return caught; }

bool terminal_interrupted(void *unused) {
    (void)unused;
    return caught != 0;
}

void terminal_forget_signal(void) {
    caught = 0;
    terminal_catch_signals();
}

bool terminal_is(int fd) { return isatty(fd) == 1; }

bool terminal_colours(void) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return terminal_is(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

/* Green for the drafter's own words, blue for those both agreed on, red and magenta for the verifier's. */
static const struct {
    const char *colour, *mark;
} sources[] = {
    {"\033[32m", "k"}, {"\033[34m", "a"}, {"\033[31m", "r"},
    {"\033[35m", "b"}, {"\033[32m", "d"}, {"\033[31m", "v"},
};
enum { N_SOURCE = (int)(sizeof sources / sizeof sources[0]) };

const char *terminal_source_colour(int source) {
    return source >= 0 && source < N_SOURCE ? sources[source].colour : "";
}

const char *terminal_source_mark(int source) {
    return source >= 0 && source < N_SOURCE ? sources[source].mark : "?";
}

void terminal_legend(bool colours) {
    static const char *const meaning[N_SOURCE] = {"drafted, not deferred", "drafted, deferred, agreed",
                                                  "drawn after a refusal", "after a whole block",
                                                  "drafter alone",         "verifier alone"};
    fputs("sources:", stderr);
    for (int i = 0; i < N_SOURCE; i++) {
        if (colours) {
            fprintf(stderr, " %s%s\033[0m (%s)", sources[i].colour, weir_source_name(i), meaning[i]);
        } else {
            fprintf(stderr, " %s=%s (%s)", sources[i].mark, weir_source_name(i), meaning[i]);
        }
    }
    fputc('\n', stderr);
}

/* ---- progress ------------------------------------------------------------------------------------------ */

void terminal_bar_start(terminal_bar *b, bool wanted) {
    *b = (terminal_bar){.on = wanted && terminal_is(STDERR_FILENO) && !terminal_is(STDOUT_FILENO)};
    b->start = weir_seconds();
}

void terminal_bar_show(terminal_bar *b, int64_t done, int64_t total, int64_t tokens) {
    if (!b->on) return;
    double now = weir_seconds();
    if (b->drawn && now - b->last < 0.1) return;
    b->last = now;
    b->drawn = true;
    double seconds = now - b->start > 1e-9 ? now - b->start : 1e-9;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1] = "";
    if (total > 0) {
        int filled = (int)(WIDTH * (double)(done < total ? done : total) / (double)total);
        for (int i = 0; i < WIDTH; i++) bar[i] = i < filled ? '#' : '.';
        fprintf(stderr, "\r[%s] %lld/%lld  %.0f tokens/s", bar, (long long)done, (long long)total,
                (double)tokens / seconds);
        if (done > 0) fprintf(stderr, "  %.0f s left", seconds / (double)done * (double)(total - done));
    } else {
        fprintf(stderr, "\r%lld done  %.0f tokens/s", (long long)done, (double)tokens / seconds);
    }
    fputs("\033[K", stderr);
    fflush(stderr);
}

void terminal_bar_end(terminal_bar *b) {
    if (b->on && b->drawn) fputs("\r\033[K", stderr);
    b->on = false;
}
