#ifndef WEIR_HOST_PAIR_PLACE_H
#define WEIR_HOST_PAIR_PLACE_H

#include "host/state.h"

/* The options' numbers of ranks, checked: of the engine, and for the drafter's layers. */
weir_status weir__ranks_resolve(weir_engine *e, const weir_engine_options *o, weir_err *err);
weir_place weir__ranks_place(const weir_engine *e, int side, int rank); /* of a model */

#endif /* WEIR_HOST_PAIR_PLACE_H */
