#ifndef WEIR_KERNELS_ATTENTION_CPU_H
#define WEIR_KERNELS_ATTENTION_CPU_H

#include "kernels/backend.h"

/* _cpu: portable truth, sums in double, one thread, no scratch. Contracts: the headers of the argument
 * blocks. */
weir_status weir__kv_append_cpu(weir_backend *be, weir_kv_append *a); /* copies only: serves every ISA */
weir_status weir__attention_cpu(weir_backend *be, weir_attention *a);

#if defined(__x86_64__)
/* The same contracts in vectors, with the pool's threads and the backend's scratch. A machine without the
 * instructions must not call them. */
weir_status weir__attention_avx2(weir_backend *be, weir_attention *a);
weir_status weir__attention_avx512(weir_backend *be, weir_attention *a);
#endif

#endif /* WEIR_KERNELS_ATTENTION_CPU_H */
