#include "host/cli/io/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/cli/io/message.h"
#include "host/cli/io/terminal.h"

int cli_reader_open(cli_reader *r, const char *path) {
    *r = (cli_reader){.fd = STDIN_FILENO, .name = "stdin"};
    if (path && strcmp(path, "-") != 0) {
        r->name = path;
        r->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0) return cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    struct stat st;
    int failure = fstat(r->fd, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (!failure) return CLI_OK;
    cli_fail(CLI_FAILED, "%s: %s", r->name, strerror(failure));
    cli_reader_close(r);
    return CLI_FAILED;
}

void cli_reader_close(cli_reader *r) {
    if (r->fd > STDIN_FILENO) close(r->fd);
    r->fd = -1;
    wire_buf_free(&r->pending);
}

/* One read. LINE means "some bytes came". */
static cli_read fill(cli_reader *r, bool wait) {
    char chunk[1 << 16];
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    if (!wait && poll(&p, 1, 0) == 0) return CLI_READ_LATER;
    ssize_t got = read(r->fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) return terminal_signal() ? CLI_READ_STOPPED : CLI_READ_LINE;
    if (got < 0) {
        cli_fail(CLI_FAILED, "cannot read %s: %s", r->name, strerror(errno));
        return CLI_READ_FAILED;
    }
    if (got == 0) {
        r->at_end = true;
        return CLI_READ_LINE;
    }
    if (r->start > 0) {
        memmove(r->pending.data, r->pending.data + r->start, r->pending.len - r->start);
        r->pending.len -= r->start;
        r->start = 0;
    }
    if (!wire_buf_add(&r->pending, chunk, (size_t)got)) {
        cli_fail(CLI_FAILED, "%s: out of memory after %zu bytes of line %ld", r->name, r->pending.len,
                 r->line + 1);
        return CLI_READ_FAILED;
    }
    return CLI_READ_LINE;
}

cli_read cli_reader_next(cli_reader *r, bool wait, const char **line, size_t *n) {
    for (;;) {
        if (terminal_signal()) return CLI_READ_STOPPED;
        size_t left = r->pending.len - r->start;
        char *from = r->pending.data ? r->pending.data + r->start : NULL;
        char *end = left > r->scanned ? memchr(from + r->scanned, '\n', left - r->scanned) : NULL;
        if (!end && r->at_end && left == 0) return CLI_READ_END;
        if (end || r->at_end) {
            size_t len = end ? (size_t)(end - from) : left;
            r->start += len + (end ? 1 : 0);
            r->scanned = 0;
            r->line++;
            /* Files written elsewhere end their lines with CR LF. */
            if (len > 0 && from[len - 1] == '\r') len--;
            *line = from;
            *n = len;
            return CLI_READ_LINE;
        }
        r->scanned = left;
        cli_read got = fill(r, wait);
        if (got != CLI_READ_LINE) return got;
    }
}

cli_read cli_reader_rest(cli_reader *r, const char **text, size_t *n) {
    while (!r->at_end) {
        if (terminal_signal()) return CLI_READ_STOPPED;
        cli_read got = fill(r, true);
        if (got != CLI_READ_LINE) return got;
    }
    *text = r->pending.data ? r->pending.data + r->start : "";
    *n = r->pending.len - r->start;
    r->start = r->pending.len;
    return CLI_READ_LINE;
}

long cli_reader_count(const cli_reader *r) {
    struct stat st;
    if (fstat(r->fd, &st) != 0 || !S_ISREG(st.st_mode)) return -1;
    off_t at = lseek(r->fd, 0, SEEK_CUR);
    if (at < 0) return -1;
    char chunk[1 << 16];
    long lines = 0;
    bool open_line = false;
    ssize_t got;
    while ((got = pread(r->fd, chunk, sizeof chunk, at)) > 0) {
        for (ssize_t i = 0; i < got; i++) lines += chunk[i] == '\n';
        open_line = chunk[got - 1] != '\n';
        at += got;
    }
    return got < 0 ? -1 : lines + open_line;
}

int cli_reader_fail(const cli_reader *r, weir_status s, const weir_err *err) {
    return cli_fail(CLI_FAILED, "%.250s:%ld: %s", r->name, r->line,
                    err->text[0] ? err->text : weir_status_str(s));
}
