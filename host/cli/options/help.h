#ifndef WEIR_HOST_CLI_OPTIONS_HELP_H
#define WEIR_HOST_CLI_OPTIONS_HELP_H

#include "host/cli/options/options.h"
#include "host/weir.h"

/* To standard output. Exit codes. */
int cli_help(const cli_command *command); /* NULL: of the program */
int cli_man(void);                        /* roff on stdout */

/* Pieces of help that --help and the man page share; written to buf. */
void help_option_names(const cli_option *o, char *buf, int cap); /* "-m, --model DIR" */
void help_option_facts(const cli_option *o, char *buf, int cap); /* range, unit, default, environment */
/* Type, range, default and what it does; command: whose flags may be the default. */
void help_field_facts(const wire_field *f, cli_command command, char *buf, int cap);
void help_rule_facts(weir_rule rule, char *buf, int cap); /* formula, alpha, beta, other spelling */
extern const char help_templates[];                       /* what is common to all chat templates */

#endif /* WEIR_HOST_CLI_OPTIONS_HELP_H */
