#ifndef WEIR_HOST_CLI_ANSWER_H
#define WEIR_HOST_CLI_ANSWER_H

#include "host/cli/cli.h"
#include "host/cli/json.h"

/* What a session did, as a JSON object and as a summary for the eye. */

/* text: false where the checkpoint has no tokenizer (text is then null). */
json_t *cli_answer_json(int64_t index, const weir_session_options *o, const weir_session_view *v, bool text);

/* Sums over the answers of a run. */
typedef struct cli_totals {
    weir_session_stats sum;
    int64_t answers, stopped, at_limit, cancelled;
    int gamma;      /* largest */
    double seconds; /* wall clock of the run */
} cli_totals;

void cli_totals_add(cli_totals *t, const weir_session_options *o, const weir_session_view *v);
void cli_totals_print(const cli_totals *t); /* to standard error */

#endif /* WEIR_HOST_CLI_ANSWER_H */
