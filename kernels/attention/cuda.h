#ifndef WEIR_KERNELS_ATTENTION_CUDA_H
#define WEIR_KERNELS_ATTENTION_CUDA_H

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called only through the backend's table, which makes the device current. Contracts: the headers of the
 * argument structs. All arrays are in device memory. */
weir_status weir__kv_append_cuda(weir_backend *be, weir_kv_append *a);
weir_status weir__attention_cuda(weir_backend *be, weir_attention *a);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_ATTENTION_CUDA_H */
