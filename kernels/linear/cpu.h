#ifndef WEIR_KERNELS_LINEAR_CPU_H
#define WEIR_KERNELS_LINEAR_CPU_H

#include "kernels/attention/cpu.h"

/* _cpu: the portable truth; sums in double, one thread, no scratch. Contracts: the headers of the argument
 * structs. */
weir_status weir__linear_cpu(weir_backend *be, weir_linear *a);

/* A product of groups (linear.h) by `one`, a build's product: group by group. */
weir_status weir__linear_each_group(weir_backend *be, const weir_linear *a,
                                    weir_status (*one)(weir_backend *be, weir_linear *a));

#if defined(__x86_64__)
/* The same contracts with vector instructions, the pool's threads and the backend's scratch. Must not be
 * called on a machine without the instructions. */
weir_status weir__linear_avx2(weir_backend *be, weir_linear *a);
weir_status weir__linear_avx512(weir_backend *be, weir_linear *a);
weir_status weir__linear_avx512bf16(weir_backend *be, weir_linear *a);
weir_status weir__linear_amx(weir_backend *be, weir_linear *a);
#endif

/* What a product does once y is there; its last step in every build. */
static inline weir_status weir__linear_keep(weir_backend *be, const weir_linear *a) {
    if (!a->append) return WEIR_OK;
    weir_kv_append append = *a->append;
    return weir__kv_append_cpu(be, &append);
}

#endif /* WEIR_KERNELS_LINEAR_CPU_H */
