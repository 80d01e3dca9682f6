#ifndef WEIR_HOST_RANKS_RANKS_H
#define WEIR_HOST_RANKS_RANKS_H

#include "host/state.h"
#include "kernels/comm/comm.h"

/* An engine over several ranks. Rank 0 has the sessions, the page allocator, the rules and the draws; the
 * others, the members, have only models and pages of keys and values, each its share. Rank 0 tells them of
 * every call of a model (models/model.h: weir_model_lead), with the rows and what changed in the page
 * tables, and all make it together. So nothing that only rank 0 knows, such as text, stop strings, cancels
 * and clients, ever has to be agreed on. */

/* Ranks that are processes: each opens an engine with the same options. Join comes first, and says which rank
 * this is (pair.rank); joined, after the plan, is where all agree. Then open and loaded, as below; members
 * only open, and follow. */
weir_status weir__ranks_join(weir_engine *e, weir_err *err);
weir_status weir__ranks_joined(weir_engine *e, weir_status mine, weir_err *err);

/* Of a group only (pair.n_rank > 1). Open: before rank 0 opens its models; the members open theirs meanwhile.
 * Where the engine is to choose a place for the drafter's layers, it does so here, and makes the plan again.
 * Loaded: all have. Close: NULL allowed, after a failed open too; ends the members. */
weir_status weir__ranks_open(weir_engine *e, const weir_engine_options *o, weir_err *err);
weir_status weir__ranks_loaded(weir_engine *e, weir_status mine, weir_err *err);
void weir__ranks_close(weir_engine *e);

/* For timings: so many reductions of `bytes` (whole floats, up to 2^30) of each rank. */
weir_status weir__ranks_exchange(weir_engine *e, size_t bytes, int times);

#endif /* WEIR_HOST_RANKS_RANKS_H */
