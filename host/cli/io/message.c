#include "host/cli/io/message.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "host/weir.h"

static bool quiet;

void cli_quiet(void) { quiet = true; }

/* One write per line, so that lines of several programs on one terminal do not mix. */
static void print_line(const char *before, const char *fmt, va_list args) {
    char line[1400];
    int n = snprintf(line, sizeof line - 1, "weir: %s", before);
    int m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, args);
    size_t len = m < 0 ? (size_t)n : strlen(line);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f) line[i] = '?';
    }
    line[len] = '\n';
    fwrite(line, 1, len + 1, stderr);
}

int cli_fail(int rc, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    print_line("", fmt, args);
    va_end(args);
    return rc;
}

void cli_warn(const char *fmt, ...) {
    va_list args;
    if (quiet) return;
    va_start(args, fmt);
    print_line("warning: ", fmt, args);
    va_end(args);
}

void cli_note(const char *fmt, ...) {
    va_list args;
    if (quiet) return;
    va_start(args, fmt);
    print_line("", fmt, args);
    va_end(args);
}

void *cli_alloc(size_t n, size_t size) {
    void *p = weir_alloc(n, size);
    if (!p) cli_fail(CLI_FAILED, "out of memory (%zu x %zu bytes)", n, size);
    return p;
}
