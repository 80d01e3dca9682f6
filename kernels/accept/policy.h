#ifndef WEIR_KERNELS_ACCEPT_POLICY_H
#define WEIR_KERNELS_ACCEPT_POLICY_H

#include "kernels/accept/accept.h"
#include "kernels/accept/sweep.h"

/* Internal to the accept path: a law applied to one position. */

typedef struct weir_position {
    const weir_law *law;
    const float *q_logits, *p_logits; /* q may be NULL where only p is asked for; p for q_only gates */
    const weir_row_stats *q_stats, *p_stats;
    int32_t n_vocab;
    int32_t position; /* output index, for exact_first */
    int32_t draft;    /* the drafted token (cactus), -1 none */
    const weir_verdict *verdict; /* known from the accept op, or NULL */
} weir_position;

typedef struct weir_policy {
    weir_pair pair;
    weir_rule rule;     /* after exact_first */
    weir_rule_kind kind;
    bool point;         /* temperature 0 */
    bool gate;          /* GATE: r of the row */
    bool has_keep, has_pi;
    float reject, mass; /* R = sum (q - num)+ and sum res */
    float eta, beta;    /* NaN where undefined */
} weir_policy;

/* EINVAL: a row that is asked for has no usable logits. */
weir_status weir__policy(const weir_env *env, const weir_position *at, weir_policy *out);

/* What weir__policy found out, for a later position.verdict of the same row. */
weir_verdict weir__verdict(const weir_policy *y);

/* r of a row for GATE rules, EINVAL for others. */
weir_status weir__gate(const weir_env *env, const weir_position *at, bool *deferred);

/* keep(v) as accept.h's weir_rule_row reports it. */
float weir__keep(const weir_policy *y, const weir_point *t);

/* r of a token: GATE the row's, TOKEN 1 - keep, OWN num < q. */
bool weir__deferred(const weir_policy *y, const weir_point *t);

#endif /* WEIR_KERNELS_ACCEPT_POLICY_H */
