/* A group's beginning and end: threads of this process, or processes that each open an engine. */
#include <string.h>

#include "host/ranks/agree.h"
#include "host/ranks/draft.h"
#include "host/ranks/lead.h"
#include "host/ranks/ranks.h"
#include "kernels/base/mem.h"
#include "kernels/comm/module.h"

static struct weir_ranks *new_ranks(weir_engine *e) {
    struct weir_ranks *r = weir_calloc(1, sizeof *r);
    if (r) r->e = e, e->pair.ranks = r;
    return r;
}

/* ---- members ------------------------------------------------------------------------------------------- */

static ranks_member member_of(const weir_engine *e, weir_comm *c) {
    const weir_backend *be = e->pair.be;
    return (ranks_member){
        .e = e, .comm = c, .isa = be->isa, .n_thread = be->device ? 1 : weir__pool_size(be->pool)};
}

/* The engine of this rank, whose plan it makes; all NULL: rank 0's is another thread's to change. */
typedef struct ranks_own {
    weir_engine *e;
    const weir_engine_options *o;
} ranks_own;

/* The place of the drafter's layers, chosen on all ranks together. mine: what went wrong before, and why. */
static weir_status choose_place(const weir_engine *e, weir_comm *c, weir_backend *be, ranks_own own,
                                weir_status mine, weir_err *why, weir_err *err) {
    ranks_figures f = {0};
    if (mine == WEIR_OK && own.e) mine = weir__draft_sizes(own.e, &f, why);
    WEIR_TRY(weir__ranks_agree_status(c, mine, why, err));
    WEIR_TRY(weir__draft_measure(e, be, &f, err));
    mine = own.e ? weir__draft_settle(own.e, own.o, &f, why) : WEIR_OK;
    mine = weir__ranks_agree_plan(e, c, mine, why);
    return mine == WEIR_OK ? mine : weir_fail(err, mine, "%s", why->text);
}

static weir_status open_member(ranks_member *m, ranks_own own, weir_err *err) {
    weir_err why = {""};
    weir_status mine = weir__member_join(m, &why);
    if (m->e->pair.draft_auto) WEIR_TRY(choose_place(m->e, m->comm, m->be, own, mine, &why, err));
    if (mine == WEIR_OK) mine = weir__member_open(m, &why);
    return weir__ranks_agree_status(m->comm, mine, &why, err);
}

static void *member_main(void *arg) {
    ranks_member *m = arg;
    if (open_member(m, (ranks_own){NULL, NULL}, NULL) == WEIR_OK) weir__member_serve(m);
    weir__member_close(m);
    return NULL;
}

static weir_status start_members(struct weir_ranks *r) {
    for (int i = 1; i < r->e->pair.n_rank; i++) {
        lead_thread *t = &r->member[i];
        t->started = pthread_create(&t->thread, NULL, member_main, &t->member) == 0;
        if (t->started) continue;
        weir__comm_abort(r->comm, WEIR_ENOMEM, "cannot start a thread");
        return WEIR_ENOMEM;
    }
    return WEIR_OK;
}

/* This process is a member: its own engine has what it needs of rank 0's. */
static weir_status open_follower(struct weir_ranks *r, const weir_engine_options *o, weir_err *err) {
    ranks_member *m = &r->member[0].member;
    *m = member_of(r->e, r->comm);
    return open_member(m, (ranks_own){r->e, o}, err);
}

/* ---- processes ----------------------------------------------------------------------------------------- */

weir_status weir__ranks_join(weir_engine *e, weir_err *err) {
    struct weir_ranks *r = new_ranks(e);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for the ranks");
    WEIR_TRY(weir__comm_mpi_open(&r->comm, e->pair.comm_seconds, err));
    e->pair.rank = r->comm->rank;
    e->pair.n_near = r->comm->n_near;
    if (r->comm->n_rank == e->pair.n_rank) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "-tp %d, but the MPI job has %d processes", e->pair.n_rank,
                     r->comm->n_rank);
}

weir_status weir__ranks_joined(weir_engine *e, weir_status mine, weir_err *err) {
    weir_err why = {""};
    if (mine != WEIR_OK && err) why = *err;
    mine = weir__ranks_agree_plan(e, e->pair.ranks->comm, mine, &why);
    return mine == WEIR_OK ? mine : weir_fail(err, mine, "%s", why.text);
}

weir_status weir_follow(weir_engine *e, weir_err *err) {
    struct weir_ranks *r = e->pair.ranks;
    if (!r || e->pair.rank == 0) return weir_fail(err, WEIR_EINVAL, "rank 0 does not follow");
    return weir__member_serve(&r->member[0].member) ? WEIR_OK : weir__comm_failure(r->comm, err);
}

/* ---- rank 0 -------------------------------------------------------------------------------------------- */

static weir_status open_threads(weir_engine *e, weir_err *err) {
    weir_comm *comm[WEIR_RANKS];
    const int each = e->pair.be->device ? 1 : weir__pool_size(e->pair.be->pool);
    struct weir_ranks *r = new_ranks(e);
    if (!r) return weir_fail(err, WEIR_ENOMEM, "out of memory for the ranks");
    const weir_status s = weir__comm_local_open(comm, e->pair.n_rank, e->pair.comm_seconds,
                                                weir__pool_cores() >= e->pair.n_rank * each);
    if (s != WEIR_OK) return weir_fail(err, s, "%s for the ranks", weir_status_str(s));
    for (int i = 0; i < e->pair.n_rank && e->pair.by_nccl; i++) comm[i]->data = WEIR_DATA_NCCL;
    r->comm = comm[0];
    for (int i = 1; i < e->pair.n_rank; i++) r->member[i].member = member_of(e, comm[i]);
    return start_members(r) == WEIR_OK ? WEIR_OK : weir__comm_failure(r->comm, err);
}

weir_status weir__ranks_open(weir_engine *e, const weir_engine_options *o, weir_err *err) {
    weir_backend *be = e->pair.be;
    weir_err why = {""};
    if (e->pair.ranks && e->pair.ranks->comm->rank > 0) return open_follower(e->pair.ranks, o, err);
    if (!e->pair.ranks) WEIR_TRY(open_threads(e, err)); /* else the members are other processes */
    const weir_status s = be->exchange->join(be, e->pair.ranks->comm, e->pair.exchange_floats, err);
    if (s == WEIR_ECOMM) return weir__comm_failure(e->pair.ranks->comm, err);
    if (s != WEIR_OK || !e->pair.draft_auto) return s;
    return choose_place(e, e->pair.ranks->comm, be, (ranks_own){e, o}, WEIR_OK, &why, err);
}

weir_status weir__ranks_loaded(weir_engine *e, weir_status mine, weir_err *err) {
    struct weir_ranks *r = e->pair.ranks;
    weir_err why = {""};
    if (mine == WEIR_OK && (mine = weir__lead_models(r)) != WEIR_OK)
        (void)weir_fail(&why, mine, "%s for the ranks", weir_status_str(mine));
    else if (mine != WEIR_OK && err)
        why = *err;
    return weir__ranks_agree_status(r->comm, mine, &why, err);
}

weir_status weir__ranks_exchange(weir_engine *e, size_t bytes, int times) {
    return weir__lead_exchange(e->pair.ranks, bytes, times);
}

void weir__ranks_close(weir_engine *e) {
    struct weir_ranks *r = e->pair.ranks;
    if (!r) return;
    if (r->comm && e->pair.rank == 0) weir__lead_close(r); /* members that still open find the group ended */
    weir__member_close(&r->member[0].member);              /* of a process that follows */
    if (e->pair.be && e->pair.be->comm) e->pair.be->exchange->leave(e->pair.be);
    for (int i = 1; i < WEIR_RANKS; i++)
        if (r->member[i].started) pthread_join(r->member[i].thread, NULL);
    for (int i = 1; i < WEIR_RANKS; i++) weir__comm_close(r->member[i].member.comm);
    weir__comm_close(r->comm);
    weir__lead_free(r);
    weir_free(r);
    e->pair.ranks = NULL;
}
