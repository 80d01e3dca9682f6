#ifndef WEIR_TESTS_HOST_PAIRS_COUNTED_OPS_H
#define WEIR_TESTS_HOST_PAIRS_COUNTED_OPS_H

#include "host/state.h"

/* An engine whose ops are counted and fail on demand. */
extern weir_backend_ops real_op;
extern long ops_left; /* ops until one fails; below 0: none does */
extern long ops_run;  /* since a test set it to 0 */
extern weir_status ops_failure;
extern bool ops_recover; /* one op fails; else all that follow, too */

void count_ops(weir_engine *e);

#endif
