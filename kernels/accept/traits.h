#ifndef WEIR_KERNELS_ACCEPT_TRAITS_H
#define WEIR_KERNELS_ACCEPT_TRAITS_H

#include "kernels/accept/law.h"
#include "kernels/math/fmath.h"

/* Facts of WEIR_RULE_MAP that the accept step asks for, where a device can read them: sets of rules, one bit
 * per rule. */
enum {
#define WEIR_RULE_IF_TOKEN(id, kind, q_only, pi_exists, one_hot, weighs) \
    | (WEIR_KIND_##kind == WEIR_KIND_TOKEN) << WEIR_RULE_##id
#define WEIR_RULE_IF_OWN(id, kind, q_only, pi_exists, one_hot, weighs) \
    | (WEIR_KIND_##kind == WEIR_KIND_OWN) << WEIR_RULE_##id
#define WEIR_RULE_IF_Q_ONLY(id, kind, q_only, pi_exists, one_hot, weighs) | (q_only) << WEIR_RULE_##id
#define WEIR_RULE_IF_PI(id, kind, q_only, pi_exists, one_hot, weighs) | (pi_exists) << WEIR_RULE_##id
#define WEIR_RULE_IF_ONE_HOT(id, kind, q_only, pi_exists, one_hot, weighs) | (one_hot) << WEIR_RULE_##id
#define WEIR_RULE_IF_WEIGHS(id, kind, q_only, pi_exists, one_hot, weighs) | (weighs) << WEIR_RULE_##id
    WEIR_RULES_TOKEN = 0 WEIR_RULE_MAP(WEIR_RULE_IF_TOKEN),
    WEIR_RULES_OWN = 0 WEIR_RULE_MAP(WEIR_RULE_IF_OWN),
    WEIR_RULES_Q_ONLY = 0 WEIR_RULE_MAP(WEIR_RULE_IF_Q_ONLY),
    WEIR_RULES_WITH_PI = 0 WEIR_RULE_MAP(WEIR_RULE_IF_PI),
    WEIR_RULES_ONE_HOT = 0 WEIR_RULE_MAP(WEIR_RULE_IF_ONE_HOT),
    WEIR_RULES_THAT_WEIGH = 0 WEIR_RULE_MAP(WEIR_RULE_IF_WEIGHS),
#undef WEIR_RULE_IF_TOKEN
#undef WEIR_RULE_IF_OWN
#undef WEIR_RULE_IF_Q_ONLY
#undef WEIR_RULE_IF_PI
#undef WEIR_RULE_IF_ONE_HOT
#undef WEIR_RULE_IF_WEIGHS
};

/* Also for constant expressions; the rule must be known. */
#define WEIR_RULE_IN(set, rule) ((((set) >> (rule)) & 1) != 0)
#define WEIR_RULE_KIND(rule)                                \
    (WEIR_RULE_IN(WEIR_RULES_TOKEN, rule) ? WEIR_KIND_TOKEN \
     : WEIR_RULE_IN(WEIR_RULES_OWN, rule) ? WEIR_KIND_OWN   \
                                          : WEIR_KIND_GATE)

WF_FN bool weir__rule_known(int32_t rule) { return rule >= 0 && rule < WEIR_RULE_COUNT; }
WF_FN weir_rule_kind weir__rule_kind(weir_rule rule) { return WEIR_RULE_KIND(rule); }
WF_FN bool weir__rule_q_only(weir_rule rule) { return WEIR_RULE_IN(WEIR_RULES_Q_ONLY, rule); }
WF_FN bool weir__rule_weighs(weir_rule rule) { return WEIR_RULE_IN(WEIR_RULES_THAT_WEIGH, rule); }
WF_FN bool weir__rule_has_pi(weir_rule rule) { return WEIR_RULE_IN(WEIR_RULES_WITH_PI, rule); }

#endif /* WEIR_KERNELS_ACCEPT_TRAITS_H */
