#ifndef WEIR_HOST_CLI_OPTIONS_PROFILE_H
#define WEIR_HOST_CLI_OPTIONS_PROFILE_H

#include "host/cli/options/options.h"

/* A profile: one JSON object with "weir_profile": 1 and settings named like the fields of an input line.
 * The command line and the environment override it; it overrides the presets. If they set a rule, the
 * profile's knobs are left out. "about" is for people and is ignored. 0, or CLI_FAILED after a message
 * that names the file and the field. */
int cli_profile_apply(cli_args *a, const char *path);

#endif /* WEIR_HOST_CLI_OPTIONS_PROFILE_H */
