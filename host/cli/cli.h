#ifndef WEIR_HOST_CLI_CLI_H
#define WEIR_HOST_CLI_CLI_H

#include "host/cli/io/message.h"
#include "host/cli/io/out.h"
#include "host/cli/options/options.h"
#include "host/cli/options/setup.h"
#include "host/weir.h"

/* The commands, and what all of them include. Each returns the program's exit code. */
int cli_generate(const cli_args *a);
int cli_chat(const cli_args *a);
int cli_score(const cli_args *a);
int cli_rule(const cli_args *a);
int cli_record(const cli_args *a);
int cli_replay(const cli_args *a);
int cli_tokenize(const cli_args *a);
int cli_detokenize(const cli_args *a);
int cli_info(const cli_args *a);
int cli_bench(const cli_args *a);
int cli_tune(const cli_args *a);
int cli_serve(const cli_args *a);

#endif /* WEIR_HOST_CLI_CLI_H */
