#include "kernels/accept/cuda.h"
#include "kernels/accept/stats/stats.cuh"

static __global__ TEAM_KERNEL void row_stats_kernel(weir_row_stats_args a, team_space space) {
    K_SHARED(shared, team_shared);
    K_SHARED(search, team_search_shared);
    const weir_env t = team_begin(&shared, &search, space, a.n_row, a.n_vocab);
    if (t.index >= t.n_team) return;
    const int64_t n_minmax = team_spans(a.n_vocab);
    for (int64_t r = t.index; r < a.n_row; r += t.n_team) {
        const int32_t law = a.law_of[r];
        weir_row_stats s = weir__unusable_row();
        if (law >= 0)
            s = team_row_stats(&t, a.logits + r * a.ld, a.n_vocab, &a.law[law],
                               a.minmax ? a.minmax + r * n_minmax : nullptr);
        if (team_writes(&t)) a.out[r] = s;
    }
}

extern "C" weir_status weir__row_stats_cuda(weir_backend *be, weir_row_stats_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__row_stats_check(a));
    if (a->n_row == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<row_stats_kernel>(be, a->n_row, a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(row_stats_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "row_stats", "n_row %lld n_vocab %d", static_cast<long long>(a->n_row),
                               a->n_vocab);
}

static __global__ TEAM_KERNEL void draw_kernel(weir_draw_args a, team_space space) {
    K_SHARED(shared, team_shared);
    const weir_env t = team_begin(&shared, nullptr, space, a.n_row, a.n_vocab);
    if (t.index >= t.n_team) return;
    for (int64_t r = t.index; r < a.n_row; r += t.n_team) {
        const int32_t law = a.law_of[r];
        int32_t token = -1;
        float logp = NAN;
        if (law >= 0)
            token = team_draw(&t, a.logits + r * a.ld, a.n_vocab, &a.law[law], &a.stats[r], a.position[r],
                              a.purpose, a.block_row ? a.block_row[r] : 0, &logp);
        if (!team_writes(&t)) continue;
        a.token[r] = token;
        a.logp[r] = logp;
    }
}

extern "C" weir_status weir__draw_cuda(weir_backend *be, weir_draw_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__draw_check(a));
    if (a->n_row == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<draw_kernel>(be, a->n_row, a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(draw_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "draw", "n_row %lld n_vocab %d", static_cast<long long>(a->n_row),
                               a->n_vocab);
}
