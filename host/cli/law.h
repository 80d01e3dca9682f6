#ifndef WEIR_HOST_CLI_LAW_H
#define WEIR_HOST_CLI_LAW_H

#include "host/cli/json.h"

/* A law as fields of a JSON object: rule, alpha, beta, gate, bonus, exact_first, temperature, top_k, top_p,
 * min_p. */

/* A field that is one of two words. CLI_OK and *out alone when absent; CLI_FAILED after a message. */
int cli_line_word(const cli_line *l, const char *key, const char *zero, const char *one, bool *out);

json_t *cli_law_json(const weir_law *law);

/* All fields of cli_law_json over *law, then checked. */
int cli_law_read(const cli_line *l, weir_law *law);

#endif /* WEIR_HOST_CLI_LAW_H */
