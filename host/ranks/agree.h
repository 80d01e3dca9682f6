#ifndef WEIR_HOST_RANKS_AGREE_H
#define WEIR_HOST_RANKS_AGREE_H

#include "host/state.h"
#include "kernels/comm/comm.h"

/* Every rank says whether it could load, and why not: the first failure, with its rank, for all. Ranks may
 * read from disks of their own, so this waits for an hour at least. */
weir_status weir__ranks_agree_status(weir_comm *c, weir_status mine, const weir_err *why, weir_err *err);

/* Ranks that were opened apart: the same, of what was done up to the plan (a failure's words are in err), and
 * then that program, instruction set, options and checkpoints are alike. EMISMATCH names the first that is
 * not. */
weir_status weir__ranks_agree_plan(const weir_engine *e, weir_comm *c, weir_status mine, weir_err *err);

#endif /* WEIR_HOST_RANKS_AGREE_H */
