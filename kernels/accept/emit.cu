#include "kernels/accept/cuda.h"
#include "kernels/accept/examine.cuh"

static __global__ TEAM_KERNEL void emit_kernel(weir_emit_args a, team_space space) {
    K_SHARED(shared, team_shared);
    const weir_env t = team_begin(&shared, nullptr, space, a.n_session, a.n_vocab);
    if (t.index >= t.n_team) return;
    for (int32_t i = t.index; i < a.n_session; i += t.n_team) {
        const weir_closing c = weir__close(&t, &a.session[i], a.n_vocab);
        if (team_writes(&t)) weir__store_closing(&a.session[i], &c);
    }
}

extern "C" weir_status weir__emit_cuda(weir_backend *be, weir_emit_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__emit_check(a));
    if (a->n_session == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<emit_kernel>(be, a->n_session, a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(emit_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "emit", "n_session %d n_vocab %d", a->n_session, a->n_vocab);
}

static __global__ TEAM_KERNEL void gate_kernel(weir_gate_args a, team_space space) {
    K_SHARED(shared, team_shared);
    const weir_env t = team_begin(&shared, nullptr, space, a.n_session, a.n_vocab);
    if (t.index >= t.n_team) return;
    for (int32_t i = t.index; i < a.n_session; i += t.n_team) {
        weir_gate_session *s = &a.session[i];
        bool deferred = false;
        const weir_status status = weir__gate_of(&t, s, a.n_vocab, &deferred);
        if (!team_writes(&t)) continue;
        s->status = status;
        if (status == WEIR_OK) s->deferred = deferred;
    }
}

extern "C" weir_status weir__gate_cuda(weir_backend *be, weir_gate_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__gate_check(a));
    if (a->n_session == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<gate_kernel>(be, a->n_session, a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(gate_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "gate", "n_session %d n_vocab %d", a->n_session, a->n_vocab);
}
