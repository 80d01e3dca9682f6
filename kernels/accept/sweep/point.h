#ifndef WEIR_KERNELS_ACCEPT_SWEEP_POINT_H
#define WEIR_KERNELS_ACCEPT_SWEEP_POINT_H

#include <float.h>

#include "kernels/accept/sweep/order.h"
#include "kernels/accept/sweep/qp.h"
#include "kernels/math/philox.h"

/* Internal to the accept path, one source for every backend: functions that need only single tokens of a
 * pair. */

/* Everything about one token of a pair. */
typedef struct weir_point {
    float q, p, num, res, pi;
    bool keep;
} weir_point;

WEIR_STEP_FN weir_row_view weir__row_view(const float *logits, const weir_row_stats *s, const weir_law *law) {
    weir_row_view r;
    r.logits = logits;
    r.max = s->max;
    r.inv_sum = 1.0f / s->sum;
    r.inv_psum = 1.0f / s->psum;
    r.thr = s->thr;
    r.tie = s->tie;
    r.argmax = s->argmax;
    /* finite, so that 0 times it is 0; at temperature 0 only logits equal to the maximum are kept */
    const float inv = law->temp > 0.0f ? 1.0f / law->temp : 1.0f;
    r.inv_temp = inv < FLT_MAX ? inv : FLT_MAX;
    r.cut = s->thr > -INFINITY;
    r.plain = !r.cut && r.inv_temp == 1.0f;
    return r;
}

WEIR_STEP_FN weir_point weir__point(const weir_qp *r, int32_t v) {
    weir_point t;
    t.q = weir__prob(&r->q, v, false);
    t.p = weir__prob(&r->p, v, false);
    t.keep = r->floor < INFINITY && weir__prob(r->member_p ? &r->p : &r->q, v, r->member_raw) >= r->floor;
    const weir_rule_coef *k = &r->coef[t.keep];
    t.num = weir__num(r, k->num_q, k->num_p, t.q, t.p);
    t.res = v == r->skip ? 0.0f : weir__res(k->res_q, k->res_p, t.q, t.p);
    t.pi = weir__pi(r, t.q, t.num, t.res);
    return t;
}

/* ---- temperature 0: both rows have one positive token each --------------------------------------------- */

/* Those tokens in rising order; returns how many. */
WEIR_STEP_FN int weir__support(const weir_qp *r, int32_t id[2]) {
    const int32_t a = r->q.argmax, b = r->p.argmax;
    id[0] = a < b ? a : b;
    id[1] = a < b ? b : a;
    return a == b ? 1 : 2;
}

WEIR_STEP_FN void weir__point_sums(const weir_qp *r, weir_sum_kind kind, float out[2]) {
    int32_t id[2];
    const int n = weir__support(r, id);
    out[0] = out[1] = 0.0f;
    for (int i = 0; i < n; i++) {
        const weir_point t = weir__point(r, id[i]);
        float t0, t1;
        weir__terms(kind, r, t.q, t.p, t.keep ? r->floor : -INFINITY, &t0, &t1);
        out[0] += t0;
        out[1] += id[i] == r->skip ? 0.0f : t1;
    }
}

/* Bits of the arrival time E / w, which are ordered as it is; WEIR_KEY_INF: never. A weight so small that E /
 * w overflows arrives last, not never. */
WF_FN int32_t weir__arrival(float e, float w) {
    const int32_t t = wf_bits(e / w);
    return t - (int32_t)((t == WEIR_KEY_INF) & (w > 0.0f));
}

/* Weight of token v; with _Q and _P that row of the pair is enough. */
WEIR_STEP_FN float weir__race_weight(const weir_race *r, int32_t v) {
    if (r->kind == WEIR_WEIGHT_Q) return weir__prob(&r->pair->q, v, false);
    if (r->kind == WEIR_WEIGHT_P) return weir__prob(&r->pair->p, v, false);
    if (r->kind == WEIR_WEIGHT_RES && v == r->pair->skip) return 0.0f;
    const weir_point t = weir__point(r->pair, v);
    return weir__weight(r->kind, r->pair, t.q, t.p, t.keep ? r->pair->floor : -INFINITY);
}

/* Arrival of token v of weight w. */
WEIR_STEP_FN int32_t weir__race_arrival(const weir_race *r, int32_t v, float w) {
    uint32_t c[4] = {(uint32_t)v / 4u, (uint32_t)r->position, (uint32_t)r->purpose, (uint32_t)r->block_row};
    wf_philox(c, r->key);
    return weir__arrival(wf_exponential(c[v % 4]), w);
}

WEIR_STEP_FN int32_t weir__race_point(const weir_race *r) {
    int32_t id[2], best_bits = WEIR_KEY_INF, best = -1;
    const int n = weir__support(r->pair, id);
    for (int i = 0; i < n; i++) {
        const float w = weir__race_weight(r, id[i]);
        if (!(w > 0.0f)) continue;
        const int32_t bits = weir__race_arrival(r, id[i], w);
        if (bits < best_bits) {
            best_bits = bits;
            best = id[i];
        }
    }
    return best;
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_POINT_H */
