#ifndef WEIR_TESTS_RANKS_GROUP_H
#define WEIR_TESTS_RANKS_GROUP_H

#include "kernels/comm/comm.h"

/* A group of ranks in threads. fn runs on each with its handle; the group is closed when all have returned.
 * */
typedef void (*group_fn)(void *arg, weir_comm *c);
void group_run(int n_rank, double seconds, group_fn fn, void *arg); /* asserts that it opens */

#endif
