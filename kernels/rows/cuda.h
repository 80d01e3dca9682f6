#ifndef WEIR_KERNELS_ROWS_CUDA_H
#define WEIR_KERNELS_ROWS_CUDA_H

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called only through the backend's table, which makes the device current. Contracts: the headers of the
 * argument structs. All arrays are in device memory. */
weir_status weir__embed_cuda(weir_backend *be, weir_embed *a);
weir_status weir__bias_cuda(weir_backend *be, weir_bias *a);
weir_status weir__row_keys_cuda(weir_backend *be, weir_row_keys *a);
weir_status weir__gather_cuda(weir_backend *be, weir_gather *a);
weir_status weir__permute_cuda(weir_backend *be, weir_permute *a);
weir_status weir__rmsnorm_cuda(weir_backend *be, weir_rmsnorm *a);
weir_status weir__rope_cuda(weir_backend *be, weir_rope *a);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_ROWS_CUDA_H */
