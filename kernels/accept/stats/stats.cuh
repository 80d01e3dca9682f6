#ifndef WEIR_KERNELS_ACCEPT_STATS_STATS_CUH
#define WEIR_KERNELS_ACCEPT_STATS_STATS_CUH

/* Statistics of a row and a draw from it, by a team. Results reach every thread. */
#include "kernels/accept/sweep/truncate.cuh" /* weir_env and its passes, which the shared source needs */

#include "kernels/accept/stats/row_impl.h"

/* Smallest and largest order key of a row, and the lowest id of a largest logit. */
struct team_minmax {
    int32_t lo, hi, id;
};

/* Keys as numbers, of which the smallest is found. */
TEAM_FN uint64_t team_low_key(int32_t key) { return static_cast<uint32_t>(key) ^ 0x80000000u; }
TEAM_FN uint64_t team_high_key(int32_t key, int32_t id) {
    return static_cast<uint64_t>(~(static_cast<uint32_t>(key) ^ 0x80000000u)) << 32 |
           static_cast<uint32_t>(id);
}

TEAM_FN team_minmax team_minmax_of(const uint64_t (&least)[2]) {
    team_minmax e;
    e.lo = static_cast<int32_t>(static_cast<uint32_t>(least[0]) ^ 0x80000000u);
    e.hi = static_cast<int32_t>(~static_cast<uint32_t>(least[1] >> 32) ^ 0x80000000u);
    e.id = static_cast<int32_t>(static_cast<uint32_t>(least[1]));
    return e;
}

/* From the logits, in one pass. The two zeros count as equal, so id is the lowest of either. */
TEAM_FN team_minmax team_minmax_pass(const weir_env *t, const float *logits, int32_t n_vocab) {
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t))
        for (int32_t at = c * WEIR_CHUNK; at < team_chunk_end(c, n_vocab); at += 32 * TEAM_ROW_SPAN) {
            float l[TEAM_ROW_SPAN];
            team_load(logits, at, n_vocab, l);
#pragma unroll
            for (int k = 0; k < TEAM_ROW_SPAN; k++) {
                const int32_t v = at + 32 * k + team_lane();
                if (v >= n_vocab) continue;
                const int32_t key = weir__order_key(l[k] + 0.0f);
                const uint64_t low = team_low_key(key), high = team_high_key(key, v);
                least[0] = low < least[0] ? low : least[0];
                least[1] = high < least[1] ? high : least[1];
            }
        }
    team_least(t, team_first(t) < t->n_chunk, least);
    return team_minmax_of(least);
}

TEAM_FN int32_t team_spans(int32_t n_vocab) { return (n_vocab + WEIR_EXTENT_SPAN - 1) / WEIR_EXTENT_SPAN; }

/* From the spans that the product wrote: every block merges all of them, without a barrier of the team. A
 * thread has several loads in flight; past the end it takes the last span again. */
TEAM_FN team_minmax team_minmax_spans(const weir_env *t, const weir_minmax *row, int32_t n_vocab) {
    constexpr int BATCH = 4;
    const weir_minmax *minmax = team_global(row);
    const int32_t n = team_spans(n_vocab);
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < n; i += BATCH * TEAM_THREADS) {
        weir_minmax e[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++)
            e[k] = minmax[i + k * TEAM_THREADS < n ? i + k * TEAM_THREADS : n - 1];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const uint64_t low = team_low_key(e[k].lo), high = team_high_key(e[k].hi, e[k].id);
            least[0] = low < least[0] ? low : least[0];
            least[1] = high < least[1] ? high : least[1];
        }
    }
    team_block_least(t, static_cast<int32_t>(threadIdx.x) / 32 * 32 < n, least);
    return team_minmax_of(least);
}

/* minmax: the row's, (weir__minmax_count(n_vocab)), or NULL. */
TEAM_CALL weir_row_stats team_row_stats(const weir_env *t, const float *logits, int32_t n_vocab,
                                        const weir_law *law, const weir_minmax *minmax) {
    team_minmax e;
    if (minmax) e = team_minmax_spans(t, minmax, n_vocab);
    /* spans distinguish the zeros, but a -0 before the first +0 is as large */
    if (!minmax || e.hi == 0) e = team_minmax_pass(t, logits, n_vocab);
    if (!weir__usable_keys(e.lo, e.hi)) return weir__unusable_row();
    return weir__row_stats(t, logits, n_vocab, law, weir__order_value(e.hi) + 0.0f, e.id);
}

/* The token (-1 on an unusable row) and its log-probability. */
TEAM_CALL int32_t team_draw(const weir_env *t, const float *logits, int32_t n_vocab, const weir_law *law,
                            const weir_row_stats *s, int32_t position, int32_t purpose, int32_t block_row,
                            float *logp) {
    return weir__draw_row(t, logits, n_vocab, law, s, position, purpose, block_row, logp);
}

#endif /* WEIR_KERNELS_ACCEPT_STATS_STATS_CUH */
