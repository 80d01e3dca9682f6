#ifndef WEIR_KERNELS_ACCEPT_GATE_Q_H
#define WEIR_KERNELS_ACCEPT_GATE_Q_H

#include "kernels/accept/stats.h"
#include "kernels/math/fmath.h"

/* What rules ask of a row's statistics alone, one source for every backend: so the block loop knows which
 * rows a rule that sees q only will defer before the verifier has run. scaled: of the processed distribution,
 * else of the raw softmax. */

WF_FN float weir__stats_max_prob(const weir_row_stats *s, bool scaled) {
    return 1.0f / (scaled ? s->psum : s->sum);
}

WF_FN float weir__stats_entropy(const weir_row_stats *s, bool scaled) {
    return scaled ? wf_log(s->psum) - s->pdot / s->psum : wf_log(s->sum) - s->dot / s->sum;
}

/* r of chow and chow-log. */
WF_FN bool weir__gate_by_q(const weir_law *law, const weir_row_stats *q) {
    if (law->rule == WEIR_RULE_CHOW) return weir__stats_max_prob(q, law->gate_scaled) < 1.0f - law->alpha;
    return weir__stats_entropy(q, law->gate_scaled) > law->alpha;
}

#endif /* WEIR_KERNELS_ACCEPT_GATE_Q_H */
