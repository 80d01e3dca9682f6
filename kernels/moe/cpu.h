#ifndef WEIR_KERNELS_MOE_CPU_H
#define WEIR_KERNELS_MOE_CPU_H

#include "kernels/backend.h"

/* The portable truth; sums in double, one thread, no scratch. Contracts: the headers of the argument
 * structs. */
weir_status weir__route_cpu(weir_backend *be, weir_route *a);
weir_status weir__glu_cpu(weir_backend *be, weir_glu *a);
weir_status weir__combine_cpu(weir_backend *be, weir_combine *a);

#if defined(__x86_64__)
/* The same contracts with vector instructions and the pool's threads. Must not be called on a machine without
 * the instructions. */
weir_status weir__glu_avx2(weir_backend *be, weir_glu *a);
weir_status weir__glu_avx512(weir_backend *be, weir_glu *a);
#endif

#endif /* WEIR_KERNELS_MOE_CPU_H */
