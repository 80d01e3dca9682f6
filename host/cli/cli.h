#ifndef WEIR_HOST_CLI_CLI_H
#define WEIR_HOST_CLI_CLI_H

#include "host/cli/options.h"
#include "host/weir.h"

/* What every command shares: exit codes, messages, the setting made of the options. */

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 }; /* 128 + signal after a signal */

/* One line "weir: …" on stderr; control characters of quoted input become '?'. Returns rc. */
int cli_fail(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with "warning: "; silent after cli_quiet. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line for the eye on stderr; silent after cli_quiet. */
void cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_quiet(void);

/* Commands. Each returns the program's exit code. */
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
int cli_help(const cli_command *command); /* NULL: of the program */
int cli_man(void);                        /* roff on stdout */

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

#endif /* WEIR_HOST_CLI_CLI_H */
