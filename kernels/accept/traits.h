#ifndef WEIR_KERNELS_ACCEPT_TRAITS_H
#define WEIR_KERNELS_ACCEPT_TRAITS_H

#include "kernels/accept/law.h"
#include "kernels/math/fmath.h"

/* The facts of rules.c that the accept step itself asks for, where a device can read them.
 * tests/kernels/accept/test_rules.c holds the two together. */

WF_FN bool weir__rule_known(int32_t rule) { return rule >= 0 && rule < WEIR_RULE_COUNT; }

WF_FN weir_rule_kind weir__rule_kind(weir_rule rule) {
    switch (rule) {
    case WEIR_RULE_TOKEN_V1:
    case WEIR_RULE_TOKEN_V2:
    case WEIR_RULE_TOKEN_V3: return WEIR_KIND_TOKEN;
    case WEIR_RULE_LOSSY:
    case WEIR_RULE_TOKEN_V3_EXACT_TAIL:
    case WEIR_RULE_ENSEMBLE:
    case WEIR_RULE_TYPICAL:
    case WEIR_RULE_CACTUS: return WEIR_KIND_OWN;
    default: return WEIR_KIND_GATE;
    }
}

WF_FN bool weir__rule_q_only(weir_rule rule) { return rule == WEIR_RULE_CHOW || rule == WEIR_RULE_CHOW_LOG; }
WF_FN bool weir__rule_has_pi(weir_rule rule) { return rule != WEIR_RULE_CACTUS; }

#endif /* WEIR_KERNELS_ACCEPT_TRAITS_H */
