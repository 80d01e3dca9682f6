#ifndef WEIR_HOST_CLI_OPTIONS_SETUP_H
#define WEIR_HOST_CLI_OPTIONS_SETUP_H

#include "host/cli/options/options.h"
#include "host/weir.h"

/* From options to the engine's structs: checks and defaults that involve more than one option. */

/* Opens the engine that the options ask for. dry: no weights are loaded. 0 or an exit code after a
 * message. */
int cli_open(const cli_args *a, bool dry, weir_engine **out);
weir_draft_kind cli_draft_kind(const cli_args *a); /* as -md names it */
/* A command needs the drafter's distribution to do what `what` says. 0 or CLI_USAGE after a message. */
int cli_need_q(const weir_draft_info *draft, const char *what);

/* The queue that a command sends its requests to. Nobody watches several answers at once: prompts are run
 * whole. 0 or CLI_FAILED after a message. */
int cli_queue_open(weir_engine *e, weir_queue **out);

/* One request, to its end or the first failure. on_tokens, if any, gets its tokens as they come; a signal, or
 * output that fails, cancels it. *ev: its last event, with a view that is valid until weir_request_free(*r),
 * which is the caller's in every case. */
weir_status cli_answer(weir_queue *q, const weir_session_options *o, const int32_t *ids, size_t n,
                       void (*on_tokens)(void *ud, const weir_queue_event *ev), void *ud, weir_request **r,
                       weir_queue_event *ev);

/* The law of the options; alpha and beta absent: the rule's own. 0 or CLI_USAGE after a message. */
int cli_law(const cli_args *a, weir_law *out);

/* Session options of the flags (stop strings borrowed from a). 0 or CLI_USAGE after a message. */
int cli_session(const cli_args *a, weir_session_options *out);

/* Gamma of a command that cannot choose it block by block: 5 unless a number is given. 0 or CLI_USAGE after a
 * message. */
int cli_fixed_gamma(const cli_args *a, int *gamma);

/* The context may be the checkpoint's choice, so that an answer's limit meets it only once the engine is
 * open: one that was not asked for is lowered. 0 or CLI_USAGE after a message. */
int cli_fit_context(const cli_args *a, const weir_engine_facts *f, weir_session_options *o);

/* "cpu (avx512, 2 threads)", "cuda:0 (NVIDIA H200, sm_90, 139.8 GiB)": what ran. */
void cli_device_text(const weir_engine_facts *f, char *buf, size_t cap);

/* The line that says what ran. */
void cli_note_setting(const weir_engine_facts *f, const weir_session_options *o);

#endif /* WEIR_HOST_CLI_OPTIONS_SETUP_H */
