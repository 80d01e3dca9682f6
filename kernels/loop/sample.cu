#include "kernels/accept/stats/stats.cuh"
#include "kernels/loop/cuda.h"
#include "kernels/loop/seat.h"

/* A team a seat: statistics of its row, and a draw from it where the row is for a draft. */
static __global__ TEAM_KERNEL void sample_kernel(weir_loop l, int32_t step, const weir_minmax *minmax,
                                                 team_space space) {
    K_SHARED(shared, team_shared);
    K_SHARED(search, team_search_shared);
    K_SHARED(stats, weir_row_stats);
    ptx::grid_launch_dependents();
    const weir_env t = team_begin(&shared, &search, space, l.n_seat, l.n_vocab);
    if (t.index >= t.n_team) return;
    const int64_t n_minmax = team_spans(l.n_vocab);
    for (int32_t i = t.index; i < l.n_seat; i += t.n_team) {
        const weir_seat *s = &l.seat[i];
        int32_t *draft = weir__seat_draft(&l, i);
        if (!weir__seat_steps(s, step, draft)) continue;
        const float *logits = weir__seat_q_row(&l, i, step);
        const weir_row_stats found =
            team_row_stats(&t, logits, l.n_vocab, &s->law, minmax ? minmax + i * n_minmax : nullptr);
        if (team_writes(&t)) weir__seat_q_stats(&l, i)[step] = found;
        if (!weir__seat_drafts(s, step)) continue;
        if (threadIdx.x == 0)
            stats = found; /* the seat before is done with it: its draw comes before the
                                                barriers above */
        __syncthreads();
        float logp;
        const int32_t token = team_draw(&t, logits, l.n_vocab, &s->law, &stats, s->n + step,
                                        WEIR_PURPOSE_DRAFT, s->law.block_verify ? step : 0, &logp);
        if (team_writes(&t)) draft[step] = token < 0 ? 0 : token;
    }
}

extern "C" weir_status weir__loop_sample_cuda(weir_backend *be, weir_loop_sample *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_sample_check(a));
    const weir_loop *l = a->loop;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<sample_kernel>(be, l->n_seat, l->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(sample_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)
    (*l, a->step, a->minmax, space);
    return weir__cuda_launched(be, "loop_sample", "step %d n_seat %d n_vocab %d", a->step, l->n_seat,
                               l->n_vocab);
}
