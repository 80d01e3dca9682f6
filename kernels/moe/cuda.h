#ifndef WEIR_KERNELS_MOE_CUDA_H
#define WEIR_KERNELS_MOE_CUDA_H

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called only through the backend's table, which makes the device current. Contracts: the headers of the
 * argument structs. All arrays are in device memory. */
weir_status weir__route_cuda(weir_backend *be, weir_route *a);
weir_status weir__glu_cuda(weir_backend *be, weir_glu *a);
weir_status weir__combine_cuda(weir_backend *be, weir_combine *a);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_MOE_CUDA_H */
