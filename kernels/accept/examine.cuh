#ifndef WEIR_KERNELS_ACCEPT_EXAMINE_CUH
#define WEIR_KERNELS_ACCEPT_EXAMINE_CUH

/* The accept step by teams. Results reach every thread; the caller stores them from the one thread that
 * team_writes selects, and must not overwrite what another block of the team may still read:
 *   weir__examine(team, args, session, j, &row, &note)   one team per row
 *   team_decide(team, args, session, notes)              after a kernel that stored all rows and notes;
 *                                                        weir__decided_blindly says if it may be too early
 *   weir__close(team, emit_session, n_vocab)             the closing token */
#include "kernels/accept/sweep/sweep.cuh" /* weir_env and its passes, which the shared source needs */

#include "kernels/accept/examine_impl.h"

/* Rows divided among the accept step's teams: sessions times the longest block. All threads of the block. */
TEAM_FN int32_t team_longest_block(team_shared *shared, const weir_accept_args &a) {
    if (threadIdx.x == 0) shared->most = 0;
    ptx::grid_wait(); /* as team_begin, which comes later */
    __syncthreads();
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < a.n_session; i += TEAM_THREADS) {
        const int32_t n = a.session[i].n_draft;
        if (n > 0) atomicMax(&shared->most, n < WEIR_GAMMA_MAX ? n : WEIR_GAMMA_MAX);
    }
    __syncthreads();
    return shared->most;
}

TEAM_CALL weir_decision team_decide(const weir_env *t, const weir_accept_args *a,
                                    const weir_accept_session *s, const weir_row_note *note) {
    bool over;
    weir_decision d = weir__undecided(s, &over);
    if (over) return d;
    if (!note) {
        d.status = WEIR_EINVAL;
        return d;
    }
    if (s->law->block_verify) {
        weir__decide_block(t, a, s, note, &d);
        return d;
    }
    while (weir__decide_row(s, &s->row[d.n_examined], &note[d.n_examined], &d)) continue;
    return d;
}

/* One thread. */
TEAM_FN void team_store_decision(weir_accept_session *s, const weir_decision &d, const weir_row_note *note) {
    s->status = d.status;
    s->n_examined = d.n_examined;
    s->n_accept = d.n_accept;
    s->block_p = d.block_p;
    s->verdict.known = false;
    if (d.status != WEIR_OK) return;
    if (d.rejected) s->verdict = note[d.n_accept].verdict;
    for (int32_t j = 0; j < d.n_accept; j++) s->row[j].accepted = true;
}

#endif /* WEIR_KERNELS_ACCEPT_EXAMINE_CUH */
