#include "host/cli/io/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/io/message.h"

static bool out_bad;

static void out_failure(void) {
    if (!out_bad) cli_fail(CLI_FAILED, "cannot write to standard output: %s", strerror(errno));
    out_bad = true;
}

void cli_out(const char *bytes, size_t n) {
    if (!out_bad && n > 0 && fwrite(bytes, 1, n, stdout) != n) out_failure();
}

void cli_outs(const char *s) { cli_out(s, strlen(s)); }

void cli_outf(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (!out_bad && vfprintf(stdout, fmt, args) < 0) out_failure();
    va_end(args);
}

void cli_out_flush(void) {
    if (!out_bad && fflush(stdout) != 0) out_failure();
}

bool cli_out_failed(void) { return out_bad; }

int cli_out_end(void) {
    cli_out_flush();
    return out_bad ? CLI_FAILED : CLI_OK;
}

int cli_json_write(json_t *value, wire_buf *b) {
    wire_buf line = {0}, *to = b ? b : &line;
    const bool ok = wire_write(value, to) && wire_buf_puts(to, "\n");
    if (ok && !b) cli_out(line.data, line.len);
    wire_buf_free(&line);
    return ok ? CLI_OK : cli_fail(CLI_FAILED, "out of memory for an answer");
}
