#ifndef WEIR_KERNELS_ACCEPT_STATS_ROW_IMPL_H
#define WEIR_KERNELS_ACCEPT_STATS_ROW_IMPL_H

#include "kernels/accept/sweep/point.h"

/* Internal to the accept path: statistics of a row and a draw from it, except the passes over the vocabulary;
 * one source for every backend. As in policy_impl.h: the includer has declared weir_env, and also
 *   void weir__row_sums(const weir_env *env, const weir_row_view *r, int32_t n_vocab, float out[4]);
 *   void weir__truncate(const weir_env *env, const weir_law *law, const weir_row_view *r, int32_t n_vocab,
 *                       float *thr, int32_t *tie);
 *   int32_t weir__race(const weir_env *env, const weir_race *r, int32_t n_vocab, bool point); */

WEIR_STEP_FN weir_row_stats weir__unusable_row(void) {
    weir_row_stats s;
    s.max = s.sum = s.dot = s.thr = s.psum = s.pdot = NAN;
    s.argmax = s.tie = -1;
    return s;
}

/* Statistics of a usable row whose max and argmax are known. */
WEIR_STEP_FN weir_row_stats weir__row_stats(const weir_env *env, const float *logits, int32_t n_vocab,
                                            const weir_law *law, float max, int32_t argmax) {
    weir_row_stats s = weir__unusable_row();
    s.max = max;
    s.argmax = argmax;
    s.sum = s.psum = 1.0f;
    s.thr = -INFINITY;
    s.tie = INT32_MAX;
    weir_row_view view = weir__row_view(logits, &s, law);
    const bool point = !(law->temp > 0.0f);
    if (!point && (law->top_k > 0 || law->top_p < 1.0f || law->min_p > 0.0f)) {
        weir__truncate(env, law, &view, n_vocab, &s.thr, &s.tie);
        view = weir__row_view(logits, &s, law);
    }
    if (point) { /* only the raw sums */
        view.plain = true;
        view.cut = false;
    }
    float sum[4];
    weir__row_sums(env, &view, n_vocab, sum);
    s.sum = sum[0];
    s.dot = sum[1];
    s.psum = point ? 1.0f : sum[2];
    s.pdot = point ? 0.0f : sum[3];
    if (point) {
        s.thr = s.max;
        s.tie = s.argmax;
    }
    return s;
}

/* The token and its log-probability; -1 and NaN on an unusable row. */
WEIR_STEP_FN int32_t weir__draw_row(const weir_env *env, const float *logits, int32_t n_vocab,
                                    const weir_law *law, const weir_row_stats *s, int32_t position,
                                    int32_t purpose, int32_t block_row, float *logp) {
    *logp = NAN;
    if (isnan(s->max)) return -1;
    if (!(law->temp > 0.0f)) {
        *logp = 0.0f;
        return s->argmax;
    }
    weir_qp pair;
    memset(&pair, 0, sizeof pair);
    pair.q = weir__row_view(logits, s, law);
    pair.skip = -1;
    weir_race race;
    race.pair = &pair;
    race.kind = WEIR_WEIGHT_Q;
    race.key[0] = law->key[0];
    race.key[1] = law->key[1];
    race.position = position;
    race.purpose = purpose;
    race.block_row = block_row;
    const int32_t token = weir__race(env, &race, n_vocab, false);
    if (token >= 0) *logp = (logits[token] - s->max) * pair.q.inv_temp - wf_log(s->psum);
    return token;
}

#endif /* WEIR_KERNELS_ACCEPT_STATS_ROW_IMPL_H */
