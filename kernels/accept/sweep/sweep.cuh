#ifndef WEIR_KERNELS_ACCEPT_SWEEP_SWEEP_CUH
#define WEIR_KERNELS_ACCEPT_SWEEP_SWEEP_CUH

/* Passes of a team over a vocabulary; what sweep.c and lanes_impl.h are on the CPU, with the same bits. Ids
 * past the end count as logits of -inf, of weight +0, which changes no sum. */
#include "kernels/accept/sweep/point.h"
#include "kernels/accept/sweep/team.cuh"

/* Logits in flight per lane: a warp reads 32 neighbours at a time. A race has no order: warps take 128 ids,
 * four per lane, which use one counter of the generator. */
enum { TEAM_ROW_SPAN = 8, TEAM_PAIR_SPAN = 4, TEAM_RACE_SPAN = 4 * 32 };

/* Addresses of rows come from memory: the compiler does not see that they are of global memory, and would
 * load from any. */
template <class T> TEAM_FN const T *team_global(const T *row) {
#ifdef __CUDACC__
    __builtin_assume(__isGlobal(row));
#endif
    return row;
}

template <int SPAN> TEAM_FN void team_load(const float *row, int32_t at, int32_t n_vocab, float (&l)[SPAN]) {
    const float *logits = team_global(row) + at + team_lane();
    if (at + 32 * SPAN <= n_vocab) {
#pragma unroll
        for (int k = 0; k < SPAN; k++) l[k] = logits[32 * k];
        return;
    }
#pragma unroll
    for (int k = 0; k < SPAN; k++) l[k] = at + 32 * k + team_lane() < n_vocab ? logits[32 * k] : -INFINITY;
}

TEAM_FN int32_t team_chunk_end(int32_t c, int32_t n_vocab) {
    const int32_t end = (c + 1) * WEIR_CHUNK;
    return end < n_vocab ? end : n_vocab;
}

template <int N> TEAM_FN void team_store_sums(const weir_env *t, int32_t c, float (&sum)[N]) {
    for (int i = 0; i < N; i++) sum[i] = k_warp_sum(sum[i]);
    if (team_lane() == 0)
        for (int i = 0; i < N; i++) team_buffer(t)[c * N + i] = sum[i];
}

/* ---- one row ------------------------------------------------------------------------------------------- */

/* e and d e of one id; d is kept finite, so that a weight of zero gives zero. */
TEAM_FN void team_row_term(float d, float w, float *sum, float *dot) {
    *sum += w;
    *dot += (d > -128.0f ? d : -128.0f) * w;
}

template <bool PLAIN>
TEAM_FN void team_row_pass(const weir_env *t, const weir_row_view &r, int32_t n_vocab, float *out) {
    constexpr int N = PLAIN ? 2 : 4;
    float *weights = PLAIN ? team_kept(t) : nullptr;
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t)) {
        float sum[N] = {};
        for (int32_t at = c * WEIR_CHUNK; at < team_chunk_end(c, n_vocab); at += 32 * TEAM_ROW_SPAN) {
            float l[TEAM_ROW_SPAN];
            team_load(r.logits, at, n_vocab, l);
#pragma unroll
            for (int k = 0; k < TEAM_ROW_SPAN; k++) {
                const float d = l[k] - r.max, w = wf_exp(d);
                team_row_term(d, w, &sum[0], &sum[1]);
                if (weights) weights[at - c * WEIR_CHUNK + 32 * k] = w;
                if constexpr (!PLAIN) {
                    const int32_t v = at + 32 * k + team_lane();
                    const bool kept = !r.cut || l[k] > r.thr || (l[k] == r.thr && v <= r.tie);
                    const float dt = d * r.inv_temp;
                    team_row_term(dt, kept ? wf_exp(dt) : 0.0f, &sum[2], &sum[3]);
                }
            }
        }
        team_store_sums(t, c, sum);
    }
    t->weighed = weights ? r.logits : nullptr;
    float total[N];
    team_merge(t, total);
    for (int i = 0; i < 4; i++) out[i] = total[i % N];
}

TEAM_CALL void weir__row_sums(const weir_env *t, const weir_row_view *view, int32_t n_vocab, float out[4]) {
    const weir_row_view r = *view;
    if (r.plain)
        team_row_pass<true>(t, r, n_vocab, out);
    else
        team_row_pass<false>(t, r, n_vocab, out);
}

/* ---- a pair of rows ------------------------------------------------------------------------------------ */

/* How the membership distribution of a pair is computed: m is q or p, or e^(l - max) scale if those are not
 * raw. */
struct team_member {
    bool of_p, apart;
    float max, scale;
};

TEAM_FN team_member team_member_of(const weir_qp &r) {
    team_member m;
    m.of_p = r.member_p;
    m.apart = r.floor < INFINITY && r.member_raw && !(r.member_p ? r.p.plain : r.q.plain);
    m.max = r.member_p ? r.p.max : r.q.max;
    m.scale = r.member_p ? r.p.inv_sum : r.q.inv_sum;
    return m;
}

TEAM_FN float team_member_at(const team_member &m, float lq, float lp, float q, float p) {
    if (m.apart) return wf_exp((m.of_p ? lp : lq) - m.max) * m.scale;
    return m.of_p ? p : q;
}

template <int KIND, bool CACTUS>
TEAM_FN void team_pair_pass(const weir_env *t, const weir_qp *pair, int32_t n_vocab) {
    weir_qp r = *pair;
    r.cactus = CACTUS;
    const team_member m = team_member_of(r);
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t)) {
        float sum[2] = {};
        for (int32_t at = c * WEIR_CHUNK; at < team_chunk_end(c, n_vocab); at += 32 * TEAM_PAIR_SPAN) {
            float lq[TEAM_PAIR_SPAN], lp[TEAM_PAIR_SPAN];
            team_load(r.q.logits, at, n_vocab, lq);
            team_load(r.p.logits, at, n_vocab, lp);
#pragma unroll
            for (int k = 0; k < TEAM_PAIR_SPAN; k++) {
                const int32_t v = at + 32 * k + team_lane();
                const float q = weir__prob_of(&r.q, lq[k], v, false),
                            p = weir__prob_of(&r.p, lp[k], v, false);
                float t0, t1;
                weir__terms(static_cast<weir_sum_kind>(KIND), &r, q, p, team_member_at(m, lq[k], lp[k], q, p),
                            &t0, &t1);
                sum[0] += t0;
                sum[1] += v == r.skip ? 0.0f : t1;
            }
        }
        team_store_sums(t, c, sum);
    }
}

/* Two rows at temperature 1 with nothing cut, which is what most sessions ask for: processed probabilities
 * are the raw ones, so that no token is dropped and no member is apart. KEPT: p's weights are those of the
 * row pass before. TEAM_SUM_EXACT: WEIR_SUM_MASS of the exact form, whose products with 0, 1 and -1 are
 * exact. */
enum { TEAM_SUM_EXACT = WEIR_SUM_BLOCK + 1 };

TEAM_FN bool team_is_exact(const weir_qp &r) {
    const weir_rule_coef &c = r.coef[0];
    return !(r.floor < INFINITY) && c.num_q == 0.0f && c.num_p == 1.0f && c.res_q == -1.0f && c.res_p == 1.0f;
}

template <int KIND, bool KEPT>
TEAM_FN void team_plain_pass(const weir_env *t, const weir_qp *pair, int32_t n_vocab) {
    weir_qp r = *pair;
    r.cactus = false;
    const float *kept = KEPT ? team_kept(t) : nullptr;
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t)) {
        float sum[2] = {};
        for (int32_t at = c * WEIR_CHUNK; at < team_chunk_end(c, n_vocab); at += 32 * TEAM_PAIR_SPAN) {
            float lq[TEAM_PAIR_SPAN], lp[TEAM_PAIR_SPAN];
            team_load(r.q.logits, at, n_vocab, lq);
            if constexpr (!KEPT) team_load(r.p.logits, at, n_vocab, lp);
#pragma unroll
            for (int k = 0; k < TEAM_PAIR_SPAN; k++) {
                const float w = KEPT ? kept[at - c * WEIR_CHUNK + 32 * k] : wf_exp(lp[k] - r.p.max);
                const float q = wf_exp(lq[k] - r.q.max) * r.q.inv_psum, p = w * r.p.inv_psum;
                float t0, t1;
                if constexpr (KIND == TEAM_SUM_EXACT) {
                    t0 = weir__positive(q - p);
                    t1 = weir__positive(p - q);
                } else {
                    weir__terms(static_cast<weir_sum_kind>(KIND), &r, q, p, r.member_p ? p : q, &t0, &t1);
                }
                sum[0] += t0;
                sum[1] += t1;
            }
        }
        team_store_sums(t, c, sum);
    }
}

template <int KIND> TEAM_FN void team_plain_pair(const weir_env *t, const weir_qp *r, int32_t n_vocab) {
    if (t->weighed == r->p.logits)
        team_plain_pass<KIND, true>(t, r, n_vocab);
    else
        team_plain_pass<KIND, false>(t, r, n_vocab);
}

/* The same sums in fewer instructions; false: the rows, or what is asked of them, are not so plain. */
TEAM_FN bool team_plain_sums(const weir_env *t, const weir_qp *r, weir_sum_kind kind, int32_t n_vocab) {
    if (!r->q.plain || !r->p.plain || r->cactus) return false;
    if (kind == WEIR_SUM_ETA)
        team_plain_pair<WEIR_SUM_ETA>(t, r, n_vocab);
    else if (kind != WEIR_SUM_MASS)
        return false;
    else if (team_is_exact(*r))
        team_plain_pair<TEAM_SUM_EXACT>(t, r, n_vocab);
    else
        team_plain_pair<WEIR_SUM_MASS>(t, r, n_vocab);
    return true;
}

TEAM_FN void team_pair_sums(const weir_env *t, const weir_qp *r, weir_sum_kind kind, int32_t n_vocab) {
    if (team_plain_sums(t, r, kind, n_vocab)) return;
    switch (kind) {
    case WEIR_SUM_MASS:
        if (r->cactus)
            team_pair_pass<WEIR_SUM_MASS, true>(t, r, n_vocab);
        else
            team_pair_pass<WEIR_SUM_MASS, false>(t, r, n_vocab);
        break;
    case WEIR_SUM_ETA: team_pair_pass<WEIR_SUM_ETA, false>(t, r, n_vocab); break;
    case WEIR_SUM_JS: team_pair_pass<WEIR_SUM_JS, false>(t, r, n_vocab); break;
    case WEIR_SUM_TILT: team_pair_pass<WEIR_SUM_TILT, false>(t, r, n_vocab); break;
    case WEIR_SUM_BLOCK: team_pair_pass<WEIR_SUM_BLOCK, false>(t, r, n_vocab); break;
    }
}

TEAM_CALL void weir__qp_sums(const weir_env *t, const weir_qp *r, weir_sum_kind kind, int32_t n_vocab,
                             bool point, float out[2]) {
    if (point) {
        weir__point_sums(r, kind, out);
        return;
    }
    team_pair_sums(t, r, kind, n_vocab);
    float total[2];
    team_merge(t, total);
    out[0] = total[0];
    out[1] = total[1];
}

/* ---- the race ------------------------------------------------------------------------------------------ */

/* Arrival and id as one number: the smallest wins, the lowest id among equals. */
TEAM_FN uint64_t team_arrival(int32_t bits, int32_t id) {
    return static_cast<uint64_t>(static_cast<uint32_t>(bits)) << 32 | static_cast<uint32_t>(id);
}

/* Ids v0 … v0 + 3; v0 is a multiple of 4. */
TEAM_FN void team_load_four(const float *row, int32_t v0, int32_t n_vocab, float (&l)[4]) {
    const float *logits = team_global(row);
    if (v0 + 4 <= n_vocab && reinterpret_cast<uintptr_t>(logits) % 16 == 0) {
        const float4 x = *reinterpret_cast<const float4 *>(logits + v0);
        l[0] = x.x, l[1] = x.y, l[2] = x.z, l[3] = x.w;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) l[k] = v0 + k < n_vocab ? logits[v0 + k] : -INFINITY;
}

/* Weights of four neighbours, and their exponentials from one counter if any of them has weight. */
template <int KIND>
TEAM_FN uint64_t team_race_four(const weir_race &race, const weir_qp &r, const team_member &m, int32_t v0,
                                int32_t n_vocab, uint64_t best) {
    float w[4], lq[4], lp[4];
    bool any = false;
    if constexpr (KIND != WEIR_WEIGHT_P) team_load_four(r.q.logits, v0, n_vocab, lq);
    if constexpr (KIND != WEIR_WEIGHT_Q) team_load_four(r.p.logits, v0, n_vocab, lp);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const int32_t v = v0 + k;
        float q = 0.0f, p = 0.0f, at = 0.0f;
        if constexpr (KIND != WEIR_WEIGHT_P) q = weir__prob_of(&r.q, lq[k], v, false);
        if constexpr (KIND != WEIR_WEIGHT_Q) p = weir__prob_of(&r.p, lp[k], v, false);
        if constexpr (KIND != WEIR_WEIGHT_Q && KIND != WEIR_WEIGHT_P)
            at = team_member_at(m, lq[k], lp[k], q, p);
        w[k] = weir__weight(static_cast<weir_weight_kind>(KIND), &r, q, p, at);
        if (KIND == WEIR_WEIGHT_RES && v == r.skip) w[k] = 0.0f;
        any = any || w[k] > 0.0f;
    }
    if (!any) return best;
    uint32_t c[4] = {static_cast<uint32_t>(v0) / 4u, static_cast<uint32_t>(race.position),
                     static_cast<uint32_t>(race.purpose), static_cast<uint32_t>(race.block_row)};
    wf_philox(c, race.key);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (!(w[k] > 0.0f)) continue;
        const uint64_t key = team_arrival(weir__arrival(wf_exponential(c[k]), w[k]), v0 + k);
        best = key < best ? key : best;
    }
    return best;
}

template <int KIND>
TEAM_FN uint64_t team_race_pass(const weir_env *t, const weir_race &race, int32_t n_vocab) {
    weir_qp r = *race.pair;
    r.cactus = false; /* cactus draws only from its residual, which is linear */
    const team_member m = team_member_of(r);
    uint64_t best = UINT64_MAX;
    for (int32_t at = TEAM_RACE_SPAN * team_first(t); at < n_vocab; at += TEAM_RACE_SPAN * team_stride(t))
        best = team_race_four<KIND>(race, r, m, at + 4 * team_lane(), n_vocab, best);
    return best;
}

TEAM_CALL int32_t weir__race(const weir_env *t, const weir_race *asked, int32_t n_vocab, bool point) {
    if (point) return weir__race_point(asked);
    const weir_race race = *asked;
    uint64_t best[1] = {UINT64_MAX};
    switch (race.kind) {
    case WEIR_WEIGHT_Q: best[0] = team_race_pass<WEIR_WEIGHT_Q>(t, race, n_vocab); break;
    case WEIR_WEIGHT_P: best[0] = team_race_pass<WEIR_WEIGHT_P>(t, race, n_vocab); break;
    case WEIR_WEIGHT_RES: best[0] = team_race_pass<WEIR_WEIGHT_RES>(t, race, n_vocab); break;
    case WEIR_WEIGHT_PI: best[0] = team_race_pass<WEIR_WEIGHT_PI>(t, race, n_vocab); break;
    case WEIR_WEIGHT_BLOCK: best[0] = team_race_pass<WEIR_WEIGHT_BLOCK>(t, race, n_vocab); break;
    }
    team_least(t, TEAM_RACE_SPAN * team_first(t) < n_vocab, best);
    return best[0] == UINT64_MAX ? -1 : static_cast<int32_t>(static_cast<uint32_t>(best[0]));
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_SWEEP_CUH */
