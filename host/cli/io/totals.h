#ifndef WEIR_HOST_CLI_IO_TOTALS_H
#define WEIR_HOST_CLI_IO_TOTALS_H

#include "host/weir.h"

/* Sums over the answers of a run, as a summary for people to read. */
typedef struct cli_totals {
    weir_session_stats sum;
    int64_t answers, stopped, at_limit, cancelled;
    int gamma;       /* largest that was asked for as a number */
    bool chosen;     /* gamma auto among them */
    int64_t settled; /* answers that came to be without drafts */
    double seconds;  /* wall clock of the run */
} cli_totals;

void cli_totals_add(cli_totals *t, const weir_session_options *o, const weir_session_view *v);
void cli_totals_print(const cli_totals *t); /* to standard error */

#endif /* WEIR_HOST_CLI_IO_TOTALS_H */
