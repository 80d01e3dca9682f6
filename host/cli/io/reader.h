#ifndef WEIR_HOST_CLI_IO_READER_H
#define WEIR_HOST_CLI_IO_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "host/weir.h"
#include "host/wire/buf.h"

/* Lines in, without a limit on their length and with NUL bytes kept. */

typedef struct cli_reader {
    int fd;
    const char *name; /* for messages: "stdin" or the path */
    long line;        /* number of the line last returned, from 1 */
    wire_buf pending;
    size_t start;   /* of the first byte not yet returned */
    size_t scanned; /* bytes after start known to hold no newline */
    bool at_end;
} cli_reader;

typedef enum cli_read {
    CLI_READ_LINE,
    CLI_READ_LATER,
    CLI_READ_END,
    CLI_READ_STOPPED,
    CLI_READ_FAILED
} cli_read;

/* path NULL or "-": standard input. 0, or CLI_FAILED after a message (a directory is one). */
int cli_reader_open(cli_reader *r, const char *path);
void cli_reader_close(cli_reader *r);

/* The next line without its newline; a last line may lack one. Borrowed until the next call. wait false:
 * LATER when no whole line is there yet. STOPPED: a signal came. FAILED: after a message. */
cli_read cli_reader_next(cli_reader *r, bool wait, const char **line, size_t *n);

/* All that is left, as one text. */
cli_read cli_reader_rest(cli_reader *r, const char **text, size_t *n);

/* Lines of the rest of a regular file, without moving in it; -1 when it cannot be known. */
long cli_reader_count(const cli_reader *r);

/* "weir: FILE:LINE: …" about the line last returned; the status's words where err has none. CLI_FAILED. */
int cli_reader_fail(const cli_reader *r, weir_status s, const weir_err *err);

#endif /* WEIR_HOST_CLI_IO_READER_H */
