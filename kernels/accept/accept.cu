#include "kernels/accept/cuda.h"
#include "kernels/accept/examine.cuh"

static __global__ TEAM_KERNEL void accept_rows_kernel(weir_accept_args a, team_space space) {
    K_SHARED(shared, team_shared);
    const int32_t longest = team_longest_block(&shared, a);
    const int64_t n_item = static_cast<int64_t>(a.n_session) * longest;
    const weir_env t = team_begin(&shared, nullptr, space, n_item, a.n_vocab);
    if (t.index >= t.n_team) return;
    for (int64_t item = t.index; item < n_item; item += t.n_team) {
        const weir_accept_session *s = &a.session[item / longest];
        const int32_t j = static_cast<int32_t>(item % longest);
        bool over;
        (void)weir__undecided(s, &over);
        if (over || j >= s->n_draft || !s->note) continue;
        weir_accept_row row;
        weir_row_note note;
        weir__examine(&t, &a, s, j, &row, &note);
        if (!team_writes(&t)) continue;
        s->row[j] = row;
        s->note[j] = note;
    }
}

/* A block's copy of the notes of a session, which it completes. */
struct session_notes {
    weir_row_note of[WEIR_GAMMA_MAX];
};

/* NULL: the session has none. */
static __device__ __forceinline__ const weir_row_note *fetch_notes(const weir_accept_session *s,
                                                                   session_notes *h) {
    if (!s->note) return nullptr;
    __syncthreads(); /* the session before has been decided */
    const int32_t j = static_cast<int32_t>(threadIdx.x);
    if (j < s->n_draft && j < WEIR_GAMMA_MAX) h->of[j] = s->note[j];
    __syncthreads();
    return h->of;
}

/* team_decide, and where that was blind, the mass of the row's residual first. */
static __device__ __forceinline__ weir_decision decide_session(const weir_env *t, const weir_accept_args *a,
                                                               const weir_accept_session *s,
                                                               const weir_row_note *note, session_notes *h) {
    weir_decision d = team_decide(t, a, s, note);
    while (weir__decided_blindly(&d, note)) {
        const int32_t j = d.n_accept;
        const float mass = weir__residual_mass(t, a, s, j, &note[j]);
        __syncthreads(); /* all have read the note */
        if (threadIdx.x == 0) h->of[j].verdict.mass = mass;
        __syncthreads();
        d = team_decide(t, a, s, note);
    }
    return d;
}

static __global__ TEAM_KERNEL void decide_kernel(weir_accept_args a, team_space space) {
    K_SHARED(shared, team_shared);
    K_SHARED(notes, session_notes);
    const weir_env t = team_begin(&shared, nullptr, space, a.n_session, a.n_vocab);
    if (t.index >= t.n_team) return;
    for (int32_t i = t.index; i < a.n_session; i += t.n_team) {
        weir_accept_session *s = &a.session[i];
        const weir_row_note *note = fetch_notes(s, &notes);
        const weir_decision d = decide_session(&t, &a, s, note, &notes);
        if (team_writes(&t)) team_store_decision(s, d, note);
    }
}

extern "C" weir_status weir__accept_rows_cuda(weir_backend *be, const weir_accept_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__accept_check(a));
    if (a->n_session == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<accept_rows_kernel>(be, static_cast<int64_t>(a->n_session) * WEIR_GAMMA_MAX,
                                           a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(accept_rows_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "accept rows", "n_session %d n_vocab %d", a->n_session, a->n_vocab);
}

extern "C" weir_status weir__accept_cuda(weir_backend *be, weir_accept_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__accept_rows_cuda(be, a));
    if (a->n_session == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<decide_kernel>(be, a->n_session, a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(decide_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "accept", "n_session %d n_vocab %d", a->n_session, a->n_vocab);
}
