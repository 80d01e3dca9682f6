/* Takes the place of latency.cu in a build without CUDA, which has no device to probe. */
#include "bench/kernels/latency.h"

weir_status kb_latency_launch(weir_backend *be, const kb_latency *a) {
    (void)be, (void)a;
    return WEIR_ENOTSUP;
}

weir_status kb_latency_turn(weir_backend *be, uint32_t *left, int32_t turns) {
    (void)be, (void)left, (void)turns;
    return WEIR_ENOTSUP;
}
