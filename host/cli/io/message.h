#ifndef WEIR_HOST_CLI_IO_MESSAGE_H
#define WEIR_HOST_CLI_IO_MESSAGE_H

#include <stddef.h>

/* Messages, each one line on standard error, and what every command ends with. */

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 }; /* 128 + signal after a signal */

/* One line "weir: …" on stderr; control characters of quoted input become '?'. Returns rc. */
int cli_fail(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with "warning: "; silent after cli_quiet. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line for information on stderr; silent after cli_quiet. */
void cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_quiet(void);

/* Checked: n * size that overflows, or no memory, is NULL after a message. weir_free(). */
void *cli_alloc(size_t n, size_t size);

#endif /* WEIR_HOST_CLI_IO_MESSAGE_H */
