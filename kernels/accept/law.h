#ifndef WEIR_KERNELS_ACCEPT_LAW_H
#define WEIR_KERNELS_ACCEPT_LAW_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

enum { WEIR_GAMMA_MAX = 16 }; /* drafted tokens of a block, at most */

/* The deferral rules. Formulas, ranges and sources: rules.c, one entry per rule. Where a rule decides:
 *   GATE   once per row (r is one bit): pi = (1 - r) q + r p
 *   TOKEN  once per token: pi(v) = q(v) (1 - r(v)) + eta p(v), eta = sum_u r(u) q(u)
 *   OWN    a num and a res of its own; keep and eta do not exist */
typedef enum weir_rule_kind { WEIR_KIND_GATE, WEIR_KIND_TOKEN, WEIR_KIND_OWN } weir_rule_kind;

/* X(id, kind, q_only, pi_exists, one_hot, weighs), the next to last three as in weir_rule_info. weighs: what
 * the rule decides, or its pi, takes the masses R and sum res of a row (policy_impl.h), so that they are
 * known whether asked for or not. */
#define WEIR_RULE_MAP(X)                                 \
    X(EXACT, GATE, false, true, true, false)             \
    X(CHOW, GATE, true, true, false, false)              \
    X(CHOW_LOG, GATE, true, true, false, false)          \
    X(DIFF, GATE, false, true, false, false)             \
    X(OPT, GATE, false, true, false, true)               \
    X(OPT_LOG, GATE, false, true, false, true)           \
    X(TOKEN_V1, TOKEN, false, true, false, false)        \
    X(TOKEN_V2, TOKEN, false, true, true, false)         \
    X(TOKEN_V3, TOKEN, false, true, true, false)         \
    X(LOSSY, OWN, false, true, true, true)               \
    X(BILD, GATE, false, true, true, false)              \
    X(TOKEN_V3_EXACT_TAIL, OWN, false, true, true, true) \
    X(ENSEMBLE, OWN, false, true, false, false)          \
    X(TYPICAL, OWN, false, true, true, true)             \
    X(CACTUS, OWN, false, false, true, false)            \
    X(FUZZY, GATE, false, true, true, false)

/* WEIR_RULE_EXACT = 0, WEIR_RULE_CHOW, ... */
#define WEIR_RULE_ENUMERATOR(id, kind, q_only, pi_exists, one_hot, weighs) WEIR_RULE_##id,
typedef enum weir_rule { WEIR_RULE_MAP(WEIR_RULE_ENUMERATOR) WEIR_RULE_COUNT } weir_rule;
#undef WEIR_RULE_ENUMERATOR

/* Facts of a rule for option parsing, help texts and refusals. Ranges are closed unless stated otherwise. */
typedef struct weir_rule_info {
    const char *name;  /* "token-v3" */
    const char *alias; /* the official notebook's spelling ("cascade_tokenV3"), or NULL */
    weir_rule_kind kind;
    const char *defers;         /* one-line formula for --help */
    float alpha_min, alpha_max; /* accepted values; +-INFINITY if open */
    bool alpha_max_open;        /* true: alpha_max itself is refused (lossy: [0, 1)) */
    float alpha_default;
    float beta_default; /* NAN if the rule has no second knob */
    bool q_only;        /* decides from the drafter's row alone (chow, chow-log) */
    bool pi_exists;     /* false: the law depends on the drafted token (cactus) */
    bool one_hot;       /* has a meaning where q is one token for certain (prompt lookup): it decides by p at
                           that token. The others compare q's confidence, which is always 1 then */
} weir_rule_info;

const weir_rule_info *weir_rule_facts(weir_rule rule); /* NULL for an unknown value */
int weir_rule_parse(const char *name);                 /* names and aliases; -1 unknown */

/* One session's law, as the accept path reads it. */
typedef struct weir_law {
    int32_t rule;        /* weir_rule */
    float alpha, beta;   /* beta = NAN under lossy: found per row ("auto") */
    float temp;          /* 0 … 2; 0 = one-hot at the argmax */
    int32_t top_k;       /* 0 = off */
    float top_p;         /* (0, 1]; 1 = off */
    float min_p;         /* [0, 1]; 0 = off */
    bool gate_scaled;    /* maxima, entropies, membership from the processed distributions */
    bool bonus_pi;       /* bonus drawn from pi (needs the drafter's row) instead of p */
    bool block_verify;   /* arXiv 2403.10444 */
    bool measure_reject; /* R of every examined row is wanted, which takes a pass over both rows. false: it is
                            NaN, except where it costs nothing: temperature 0, and rules that weigh. Changes
                            no token */
    int32_t exact_first; /* tokens with output index below this use rule exact */
    uint32_t key[2];     /* Philox key of the session */
} weir_law;

weir_law weir_law_default(void); /* exact, temp 1, no truncation, raw gate, bonus pi, no R, key 0 */

/* EINVAL with the field, its value and the range; ENOTSUP for block_verify with a rule without pi. */
weir_status weir_law_check(const weir_law *law, weir_err *err);

#endif /* WEIR_KERNELS_ACCEPT_LAW_H */
