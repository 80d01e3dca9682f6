#ifndef WEIR_HOST_CLI_IO_OUT_H
#define WEIR_HOST_CLI_IO_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "host/wire/json.h"

/* Standard output, whose failures are seen. */

/* The first failure prints one line; later calls do nothing. cli_out_end flushes and gives CLI_OK or
 * CLI_FAILED. */
void cli_out(const char *bytes, size_t n);
void cli_outs(const char *s);
void cli_outf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_out_flush(void);
bool cli_out_failed(void);
int cli_out_end(void);

/* One line of JSON; takes the value. CLI_OK or CLI_FAILED after a message. To standard output, or onto b
 * where given. */
int cli_json_write(json_t *value, wire_buf *b);

#endif /* WEIR_HOST_CLI_IO_OUT_H */
