#include "host/pair/place.h"

#include "kernels/comm/comm.h"

#include <stdio.h>
#include <string.h>

static const double DEFAULT_SECONDS = 30.0;

static weir_status check_size(const char *what, int n, weir_err *err) {
    if (weir__comm_is_size(n)) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "%s %d is not one of 1, 2, 4, 8", what, n);
}

static weir_status check_comm(const char *comm, weir_err *err) {
    static const char *const kinds[] = {"auto", "local", "mpi", "nccl"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!comm || strcmp(comm, kinds[i]) == 0) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "comm %s is not one of auto, local, mpi, nccl", comm);
}

weir_status weir__ranks_resolve(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    weir_pair *p = &e->pair;
    p->n_rank = o->tp ? o->tp : 1;
    p->draft_auto = o->draft_tp == 0 && p->has_draft && p->n_rank > 1;
    const int not_named = p->draft_auto ? 1 : p->n_rank; /* whole layers take the most */
    p->draft_rank = o->draft_tp ? o->draft_tp : not_named;
    (void)snprintf(p->draft_reason, sizeof p->draft_reason, "measured when the engine opens");
    p->n_near = p->n_rank; /* until a job says otherwise */
    p->comm_seconds = o->comm_timeout > 0.0 ? o->comm_timeout : DEFAULT_SECONDS;
    WEIR_TRY(check_size("tensor-parallel size", p->n_rank, err));
    WEIR_TRY(check_comm(o->comm, err));
    p->by_nccl = o->comm && strcmp(o->comm, "nccl") == 0;
    p->processes = o->comm && strcmp(o->comm, "mpi") == 0 && !o->dry_run;
    if (!(o->comm_timeout >= 0.0) || o->comm_timeout > 86400.0)
        return weir_fail(err, WEIR_EINVAL, "deadline of an exchange %g is outside [0, 86400] s",
                         o->comm_timeout);
    if (p->draft_rank == 1 || p->draft_rank == p->n_rank) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL,
                     "tensor-parallel size of the drafter %d is neither 1 nor the verifier's %d",
                     p->draft_rank, p->n_rank);
}

weir_place weir__ranks_place(const weir_engine *e, int side, int rank) {
    return (weir_place){.device = e->pair.be->device,
                        .whole_body = side == WEIR_DRAFTER && e->pair.draft_rank == 1 && e->pair.n_rank > 1,
                        .rank = rank,
                        .n_rank = e->pair.n_rank};
}
