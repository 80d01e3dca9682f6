#ifndef WEIR_HOST_RANKS_DRAFT_H
#define WEIR_HOST_RANKS_DRAFT_H

#include "host/state.h"

/* Where the drafter's layers are, if the engine is to choose (--draft-tp auto): a share of them on each rank,
 * or all of them on every rank. The first reads fewer bytes, the second has fewer exchanges. */

/* What that depends on, of a draft step. Bytes: of the rank that reads the most of them. */
typedef struct ranks_figures {
    double exchange_seconds; /* of one reduction of the drafter's row */
    double read_rate;        /* bytes a second that a rank reads while all do */
    double whole_bytes, share_bytes;
    int32_t n_exchange; /* exchanges of a step's layers where layers are shared out */
    bool can_share;
    bool ordered; /* if not, since matrices have their inputs in an order of their own (models/weights.h) */
} ranks_figures;

/* Whether they are to be shared out, with the reason as a line. Where a figure is no positive, finite number
 * they are whole. */
bool weir__draft_is_shared(const ranks_figures *f, char *text, size_t cap);

/* The parts of the figures that the checkpoints tell. Of one that cannot be read, why. */
weir_status weir__draft_sizes(weir_engine *e, ranks_figures *f, weir_err *err);
/* Measures the rest, on all ranks at once, before models are loaded; nothing, if rank 0's sizes say that they
 * cannot be shared out. Afterwards every rank has rank 0's figures, sizes included. */
weir_status weir__draft_measure(const weir_engine *e, weir_backend *be, ranks_figures *f, weir_err *err);
/* Chooses by them, and makes the plan for it. */
weir_status weir__draft_settle(weir_engine *e, const weir_engine_options *o, const ranks_figures *f,
                               weir_err *err);

#endif /* WEIR_HOST_RANKS_DRAFT_H */
