#ifndef WEIR_HOST_CLI_OPTIONS_SOURCE_H
#define WEIR_HOST_CLI_OPTIONS_SOURCE_H

#include "host/cli/io/reader.h"
#include "host/cli/options/options.h"
#include "host/weir.h"
#include "host/wire/request.h"

/* The places prompts come from. */

typedef struct cli_source {
    /* the caller's, before the first cli_source_next */
    const weir_engine *engine;
    weir_session_options defaults;
    /* set by cli_source_open */
    const cli_args *args;
    bool parse_special; /* control tokens in prompts: default of a line */
    enum { SOURCE_ONE, SOURCE_FILE, SOURCE_LINES, SOURCE_JSONL } kind;
    cli_reader reader; /* not for SOURCE_ONE */
    bool spent;        /* the one prompt was given */
    int64_t total;     /* prompts, -1 = unknown */
} cli_source;

/* Exactly one of -p, -f and --input, or none: lines of standard input. 0 or an exit code after a message. To
 * be called before the engine is opened, so that a missing file costs nothing. */
int cli_source_open(cli_source *s, const cli_args *a);
void cli_source_close(cli_source *s);

/* The next prompt, tokenised. Results as cli_reader_next; FAILED after a message, for a bad line too. wait
 * says that no answer is in flight: a signal may then end the program from inside a long text. */
cli_read cli_source_next(cli_source *s, bool wait, wire_request *out);

/* Runs fn over the lines of r that are not blank, until one fails, the output fails or a signal comes. Exit
 * code. */
typedef int (*cli_line_fn)(void *ud, const cli_reader *r, const char *text, size_t n);
int cli_each_line(cli_reader *r, void *ud, cli_line_fn fn);

/* What the input is called in messages. */
const char *cli_source_name(const cli_source *s);

/* The text that -p, -f, or a line gives, for commands that need no ids: see cli_reader. NULL-safe for
 * SOURCE_ONE. */
cli_read cli_source_text(cli_source *s, bool wait, const char **text, size_t *n);

/* ids of a text, in memory of cli_alloc. 0 or CLI_FAILED after a message that starts with `where`. */
int cli_tokenize_text(const weir_engine *e, const char *where, const char *text, size_t n, bool add_special,
                      bool parse_special, int32_t **ids, size_t *n_ids);

#endif /* WEIR_HOST_CLI_OPTIONS_SOURCE_H */
