#ifndef WEIR_KERNELS_ATTENTION_CPU_H
#define WEIR_KERNELS_ATTENTION_CPU_H

#include "kernels/backend.h"

/* _cpu: the portable truth; sums in double, one thread, no scratch. Contracts: the headers of the argument
 * structs. */
weir_status weir__kv_append_cpu(weir_backend *be, weir_kv_append *a); /* copies: one build for every ISA */
weir_status weir__attention_cpu(weir_backend *be, weir_attention *a);

#if defined(__x86_64__)
/* The same contracts with vector instructions, the pool's threads and the backend's scratch. Must not be
 * called on a machine without the instructions. */
weir_status weir__attention_avx2(weir_backend *be, weir_attention *a);
weir_status weir__attention_avx512(weir_backend *be, weir_attention *a);
#endif

#endif /* WEIR_KERNELS_ATTENTION_CPU_H */
