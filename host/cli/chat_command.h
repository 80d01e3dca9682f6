#ifndef WEIR_HOST_CLI_CHAT_COMMAND_H
#define WEIR_HOST_CLI_CHAT_COMMAND_H

#include "host/cli/chat_turns.h"

/* line begins with / and is zero-terminated. What goes wrong is one line, and the conversation goes on.
 * CLI_OK or not. */
int chat_command(chat *c, const char *line);

#endif /* WEIR_HOST_CLI_CHAT_COMMAND_H */
