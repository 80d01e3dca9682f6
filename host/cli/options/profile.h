#ifndef WEIR_HOST_CLI_OPTIONS_PROFILE_H
#define WEIR_HOST_CLI_OPTIONS_PROFILE_H

#include "host/cli/options/options.h"

/* A profile: one JSON object with "weir_profile": 1 and settings by the names of an input line's fields. It
 * stands below the command line and the environment and above the presets; a rule given there leaves the
 * profile's knobs out. What else a profile says ("about") is for its readers. 0, or CLI_FAILED after a
 * message that names the file and the field. */
int cli_profile_apply(cli_args *a, const char *path);

#endif /* WEIR_HOST_CLI_OPTIONS_PROFILE_H */
