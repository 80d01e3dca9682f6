#ifndef WEIR_HOST_CLI_OPTIONS_SETUP_H
#define WEIR_HOST_CLI_OPTIONS_SETUP_H

#include "host/cli/options/options.h"
#include "host/weir.h"

/* From options to the engine's structs: checks and defaults that involve more than one option. */

/* Opens the engine that the options ask for. dry: no weights are loaded. 0 or an exit code after a
 * message. */
int cli_open(const cli_args *a, bool dry, weir_engine **out);

/* The law of the options; alpha and beta absent: the rule's own. 0 or CLI_USAGE after a message. */
int cli_law(const cli_args *a, weir_law *out);

/* Session options of the flags (stop strings borrowed from a). 0 or CLI_USAGE after a message. */
int cli_session(const cli_args *a, weir_session_options *out);

/* The context may be the checkpoint's choice, so that an answer's limit meets it only once the engine is
 * open: one that was not asked for is lowered. 0 or CLI_USAGE after a message. */
int cli_fit_context(const cli_args *a, const weir_engine_facts *f, weir_session_options *o);

/* "cpu (avx512, 2 threads)", "cuda:0 (NVIDIA H200, sm_90, 139.8 GiB)": what ran. */
void cli_device_text(const weir_engine_facts *f, char *buf, size_t cap);

/* The line that says what ran. */
void cli_note_setting(const weir_engine_facts *f, const weir_session_options *o);

#endif /* WEIR_HOST_CLI_OPTIONS_SETUP_H */
