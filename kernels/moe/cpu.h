#ifndef WEIR_KERNELS_MOE_CPU_H
#define WEIR_KERNELS_MOE_CPU_H

#include "kernels/backend.h"

/* The portable truth; sums in double, one thread, no scratch. Contracts: the headers of the argument
 * structs. */
weir_status weir__route_cpu(weir_backend *be, weir_route *a);
weir_status weir__combine_cpu(weir_backend *be, weir_combine *a);

#endif /* WEIR_KERNELS_MOE_CPU_H */
