#ifndef WEIR_HOST_CLI_CHAT_TURNS_H
#define WEIR_HOST_CLI_CHAT_TURNS_H

#include "host/cli/cli.h"
#include "host/cli/io/marks.h"
#include "host/cli/io/reader.h"
#include "host/cli/io/totals.h"

/* The state of a conversation at the terminal. chat.c reads lines and answers; chat_command.c runs the
 * lines that begin with "/". */
typedef struct chat {
    cli_args args;          /* the settings that hold now: commands change them as flags would */
    char *owned[OPT_COUNT]; /* texts of values that commands gave; weir_free() */
    weir_engine *engine;
    weir_queue *queue;
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

/* A system message, NULL or "" for none; refused, after a message, where the template has no place for it. */
int chat_set_system(chat *c, const char *text);

bool chat_add_turn(chat *c, const char *text, size_t n); /* false: out of memory */
void chat_drop_turn(chat *c);                            /* the last one */
void chat_forget(chat *c);                               /* all turns */

/* The conversation as messages, in memory of cli_alloc, their texts borrowed; NULL after a message. */
weir_chat_message *chat_messages(const chat *c, size_t *n);

/* What err says, or the status's words where it says nothing. */
const char *chat_words(const weir_err *err, weir_status s);

#endif /* WEIR_HOST_CLI_CHAT_TURNS_H */
