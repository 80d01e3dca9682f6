#include "kernels/accept/cuda.h"
#include "kernels/accept/stats/stats.cuh"

/* The next entry of a row: the smallest of the keys that are larger than the one before. */
TEAM_FN uint64_t next_key(const weir_env *t, const float *logits, int32_t n_vocab, bool any,
                          uint64_t before) {
    uint64_t least[1] = {UINT64_MAX};
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t))
        for (int32_t at = c * WEIR_CHUNK; at < team_chunk_end(c, n_vocab); at += 32 * TEAM_ROW_SPAN) {
            float l[TEAM_ROW_SPAN];
            team_load(logits, at, n_vocab, l);
#pragma unroll
            for (int k = 0; k < TEAM_ROW_SPAN; k++) {
                const int32_t v = at + 32 * k + team_lane();
                const uint64_t key = team_high_key(weir__order_key(l[k] + 0.0f), v);
                if (v < n_vocab && (!any || key > before) && key < least[0]) least[0] = key;
            }
        }
    team_least(t, team_first(t) < t->n_chunk, least);
    return least[0];
}

/* A team a row, a pass an entry: rows are few, and stay in the second level of caches. */
static __global__ TEAM_KERNEL void top_kernel(weir_top_args a, team_space space) {
    K_SHARED(shared, team_shared);
    const weir_env t = team_begin(&shared, nullptr, space, a.n_row, a.n_vocab);
    if (t.index >= t.n_team) return;
    for (int64_t r = t.index; r < a.n_row; r += t.n_team) {
        const int32_t row = a.row[r];
        const bool usable = !isnan(a.stats[row].max);
        uint64_t key = 0;
        for (int32_t i = 0; i < a.n_top; i++) {
            const bool there = usable && i < a.n_vocab;
            weir_top_entry e = {-1, NAN};
            if (there) {
                key = next_key(&t, a.logits + row * a.ld, a.n_vocab, i > 0, key);
                e.id = static_cast<int32_t>(static_cast<uint32_t>(key));
                e.logit =
                    weir__order_value(static_cast<int32_t>(~static_cast<uint32_t>(key >> 32) ^ 0x80000000u));
            }
            if (team_writes(&t)) a.out[r * a.n_top + i] = e;
        }
    }
}

extern "C" weir_status weir__top_cuda(weir_backend *be, weir_top_args *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__top_check(a));
    if (a->n_row == 0) return WEIR_OK;
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<top_kernel>(be, a->n_row, a->n_vocab, &n_block, &space));
    K_LAUNCH_TEAM(top_kernel, n_block, TEAM_THREADS, 0, weir__cuda_of(be)->stream)(*a, space);
    return weir__cuda_launched(be, "top", "n_row %lld n_vocab %d n_top %d", static_cast<long long>(a->n_row),
                               a->n_vocab, a->n_top);
}
