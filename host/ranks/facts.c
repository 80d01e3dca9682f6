#include "host/ranks/ranks.h"

void weir_engine_ranks(const weir_engine *e, weir_ranks_facts *out) {
    weir_comm *c = e->pair.be ? e->pair.be->comm : NULL;
    *out = (weir_ranks_facts){.n_rank = e->pair.n_rank};
    if (!c) return;
    weir__comm_counts(c, &out->exchanges, &out->bytes);
    out->ended = weir__comm_ended(c);
    if (out->ended) (void)weir__comm_failure(c, &out->why);
}
