#ifndef WEIR_KERNELS_ACCEPT_SWEEP_QP_H
#define WEIR_KERNELS_ACCEPT_SWEEP_QP_H

#include "kernels/accept/stats.h"
#include "kernels/math/fmath.h"

/* For functions of the shared source that need passes over the vocabulary: on a device these are device
 * functions only. */
#if defined(__CUDACC__)
#define WEIR_STEP_FN static inline __device__
#else
#define WEIR_STEP_FN static inline
#endif

/* Internal to the accept path: one row of each model as probabilities, and a rule reduced to numbers.
 *
 * Once a row's decisions are made, every rule but cactus is linear in q and p with two sets of coefficients,
 * chosen by one bit per token, keep(v) = (m(v) >= floor), m one of the four distributions:
 *   num(v) = num_q q(v) + num_p p(v)        res(v) = (res_q q(v) + res_p p(v))+
 *   pi(v)  = num(v), or min(q, num)(v) + mix res(v) with mix = R / sum res (`own`)
 * Cactus: num(v) = min(p + sqrt(delta2 p (1 - p)), 1), and res is 0 at the drafted token. */

/* A row of logits and what is needed to turn a logit into a probability. */
typedef struct weir_row_view {
    const float *logits;
    float max, inv_temp;
    float inv_sum, inv_psum; /* raw, processed */
    float thr;
    int32_t tie, argmax;
    bool cut;   /* thr and tie drop something */
    bool plain; /* processed = raw, bit for bit */
} weir_row_view;

typedef struct weir_rule_coef {
    float num_q, num_p, res_q, res_p;
} weir_rule_coef;

typedef struct weir_qp {
    weir_row_view q, p;
    weir_rule_coef coef[2];    /* [keep] */
    bool member_p, member_raw; /* which distribution m is; if floor = INFINITY, keep is 0 everywhere */
    float floor;
    bool own, cactus;
    float mix, delta2;
    int32_t skip;  /* cactus: the drafted token, -1 none */
    float block_p; /* block verification: the residual is (block_p pi - q)+ */
    float tilt;    /* lossy: s of sum over {s p > q} */
} weir_qp;

/* What a pass over the vocabulary adds up: two sums each. */
typedef enum weir_sum_kind {
    WEIR_SUM_MASS,  /* (q - num)+, res */
    WEIR_SUM_ETA,   /* q where keep = 0, p where keep = 1 */
    WEIR_SUM_JS,    /* terms of the Jensen-Shannon divergence in nats; 0 */
    WEIR_SUM_TILT,  /* q and p over {tilt p > q} */
    WEIR_SUM_BLOCK, /* (block_p pi - q)+; 0 */
} weir_sum_kind;

/* What a race draws from. */
typedef enum weir_weight_kind {
    WEIR_WEIGHT_Q,
    WEIR_WEIGHT_P,
    WEIR_WEIGHT_RES,
    WEIR_WEIGHT_PI,
    WEIR_WEIGHT_BLOCK
} weir_weight_kind;

/* One exponential race; `pair` gives the weights (WEIR_WEIGHT_Q and _P need only that row of it). */
typedef struct weir_race {
    const weir_qp *pair;
    weir_weight_kind kind;
    uint32_t key[2];
    int32_t position, purpose, block_row;
} weir_race;

/* The member's raw probabilities are asked for, and they are not its processed ones. */
WF_FN bool weir__needs_raw(const weir_qp *r) {
    return r->floor < INFINITY && r->member_raw && !(r->member_p ? r->p.plain : r->q.plain);
}

WF_FN float weir__positive(float x) { return x > 0.0f ? x : 0.0f; }

WF_FN float weir__num(const weir_qp *r, float keep_q, float keep_p, float q, float p) {
    if (!r->cactus) return fmaf(keep_q, q, keep_p * p);
    const float g = p + sqrtf(weir__positive(r->delta2 * p * (1.0f - p)));
    return g < 1.0f ? g : 1.0f;
}

WF_FN float weir__res(float res_q, float res_p, float q, float p) {
    return weir__positive(fmaf(res_q, q, res_p * p));
}

WF_FN float weir__pi(const weir_qp *r, float q, float num, float res) {
    if (!r->own) return num;
    return fmaf(r->mix, res, num < q ? num : q);
}

/* x log(x / m), 0 at x = 0. */
WF_FN float weir__js_term(float x, float m) {
    const float ratio = x > 0.0f ? x / m : 1.0f;
    return x * wf_log(ratio);
}

WF_FN float weir__js(float q, float p) {
    const float m = 0.5f * q + 0.5f * p;
    return 0.5f * weir__js_term(q, m) + 0.5f * weir__js_term(p, m);
}

WF_FN void weir__terms(weir_sum_kind kind, const weir_qp *r, float q, float p, float m, float *t0,
                       float *t1) {
    const bool keep = m >= r->floor;
    const float num_q = keep ? r->coef[1].num_q : r->coef[0].num_q;
    const float num_p = keep ? r->coef[1].num_p : r->coef[0].num_p;
    const float res_q = keep ? r->coef[1].res_q : r->coef[0].res_q;
    const float res_p = keep ? r->coef[1].res_p : r->coef[0].res_p;
    *t0 = *t1 = 0.0f;
    switch (kind) {
    case WEIR_SUM_MASS:
        *t0 = weir__positive(q - weir__num(r, num_q, num_p, q, p));
        *t1 = weir__res(res_q, res_p, q, p);
        break;
    case WEIR_SUM_ETA:
        *t0 = keep ? 0.0f : q;
        *t1 = keep ? p : 0.0f;
        break;
    case WEIR_SUM_JS: *t0 = weir__js(q, p); break;
    case WEIR_SUM_TILT: {
        const bool over = r->tilt * p > q;
        *t0 = over ? q : 0.0f;
        *t1 = over ? p : 0.0f;
        break;
    }
    case WEIR_SUM_BLOCK: {
        const float pi = weir__pi(r, q, weir__num(r, num_q, num_p, q, p), weir__res(res_q, res_p, q, p));
        *t0 = weir__positive(fmaf(r->block_p, pi, -q));
        break;
    }
    }
}

WF_FN float weir__weight(weir_weight_kind kind, const weir_qp *r, float q, float p, float m) {
    const bool keep = m >= r->floor;
    const float num_q = keep ? r->coef[1].num_q : r->coef[0].num_q;
    const float num_p = keep ? r->coef[1].num_p : r->coef[0].num_p;
    const float res_q = keep ? r->coef[1].res_q : r->coef[0].res_q;
    const float res_p = keep ? r->coef[1].res_p : r->coef[0].res_p;
    if (kind == WEIR_WEIGHT_Q) return q;
    if (kind == WEIR_WEIGHT_P) return p;
    const float res = weir__res(res_q, res_p, q, p);
    if (kind == WEIR_WEIGHT_RES) return res;
    const float pi = weir__pi(r, q, weir__num(r, num_q, num_p, q, p), res);
    return kind == WEIR_WEIGHT_PI ? pi : weir__positive(fmaf(r->block_p, pi, -q));
}

/* Probability of token v of logit l; raw = before temperature and truncation. */
WF_FN float weir__prob_of(const weir_row_view *r, float l, int32_t v, bool raw) {
    const float d = l - r->max;
    if (raw) return wf_exp(d) * r->inv_sum;
    const bool kept = !r->cut || l > r->thr || (l == r->thr && v <= r->tie);
    return kept ? wf_exp(d * r->inv_temp) * r->inv_psum : 0.0f;
}

WF_FN float weir__prob(const weir_row_view *r, int32_t v, bool raw) {
    return weir__prob_of(r, r->logits[v], v, raw);
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_QP_H */
