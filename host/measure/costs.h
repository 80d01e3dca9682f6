#ifndef WEIR_HOST_MEASURE_COSTS_H
#define WEIR_HOST_MEASURE_COSTS_H

#include "host/state.h"

/* The table that gamma auto goes by (kernels/loop/gamma.h): read from a text or measured on the loaded pair.
 * It is of one session, whatever else an engine runs, so that tokens do not depend on neighbours. */

/* "D:V1,V2,..." as weir_engine_facts.costs. Numbers are rounded to 1/32; entries that are not given grow as
 * the last two. EINVAL: what is wrong with the text. */
weir_status weir__costs_parse(const char *text, weir_gamma_costs *out, weir_err *err);
/* So that it reads as the same table; n: drafts that entries are written for. */
void weir__costs_format(const weir_gamma_costs *c, int n, char *out, size_t cap);

/* Of a loaded engine with a drafter: sets its table, on the backend too, and the facts. given: the table
 * is there already; else measures, which takes a few blocks. Of a pair that gives no figures, since its
 * logits are unusable or it has no room for a block, the table is a guess. ECANCELED: interrupted; EINVAL;
 * what running a model may return. */
weir_status weir__costs_open(weir_engine *e, bool given, weir_err *err);

#endif /* WEIR_HOST_MEASURE_COSTS_H */
