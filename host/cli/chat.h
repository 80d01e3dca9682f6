#ifndef WEIR_HOST_CLI_CHAT_H
#define WEIR_HOST_CLI_CHAT_H

#include "host/cli/cli.h"
#include "host/cli/io.h"
#include "host/cli/marks.h"
#include "host/cli/totals.h"

/* A conversation at the terminal: chat.c reads and answers, chat_command.c has the lines that begin with
 * /. */
typedef struct chat {
    cli_args args;          /* the settings that hold now: commands change them as flags would */
    char *owned[OPT_COUNT]; /* texts of values that commands gave; weir_free() */
    weir_engine *engine;
    weir_engine_facts facts;
    weir_session_options o; /* made of args */
    cli_reader reader;
    bool interactive; /* standard input is a terminal: a prompt is shown, mistakes do not count in the
                                 end */
    char *system;     /* NULL: none; weir_free() */
    wire_buf *turns;  /* (n_turn) user and assistant in turn */
    size_t n_turn, turn_cap;
    cli_marks marks;
    cli_totals last, all;
    bool over;
    int rc;
} chat;

/* line begins with / and is zero-terminated. What goes wrong is one line, and the conversation goes on.
 * CLI_OK or not. */
int chat_command(chat *c, const char *line);

/* A system message, NULL or "" for none; refused, after a message, where the template has no place for it. */
int chat_set_system(chat *c, const char *text);

void chat_forget(chat *c); /* all turns */

#endif /* WEIR_HOST_CLI_CHAT_H */
