#ifndef WEIR_KERNELS_MOE_CHOICE_H
#define WEIR_KERNELS_MOE_CHOICE_H

#include "kernels/math/order.h"

/* What route's backends share: the order of experts. The larger key goes first; NaN of either sign is the
 * largest. -0 and 0 are one. */
WF_FN int32_t weir__expert_key(float logit) {
    return logit == logit ? weir__order_key(logit + 0.0f) : INT32_MAX;
}

#endif /* WEIR_KERNELS_MOE_CHOICE_H */
