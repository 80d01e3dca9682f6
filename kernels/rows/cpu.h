#ifndef WEIR_KERNELS_ROWS_CPU_H
#define WEIR_KERNELS_ROWS_CPU_H

#include "kernels/backend.h"

/* _cpu: the portable truth; sums in double, one thread (permute: the pool's, where rows are many), no
 * scratch. Contracts: the headers of the argument structs. */
weir_status weir__embed_cpu(weir_backend *be, weir_embed *a);
weir_status weir__bias_cpu(weir_backend *be, weir_bias *a);
weir_status weir__row_keys_cpu(weir_backend *be, weir_row_keys *a);
weir_status weir__gather_cpu(weir_backend *be, weir_gather *a);
weir_status weir__permute_cpu(weir_backend *be, weir_permute *a);
weir_status weir__rmsnorm_cpu(weir_backend *be, weir_rmsnorm *a);
weir_status weir__rope_cpu(weir_backend *be, weir_rope *a);

#if defined(__x86_64__)
/* The same contracts with vector instructions, the pool's threads and the backend's scratch. Must not be
 * called on a machine without the instructions. */
weir_status weir__rmsnorm_avx2(weir_backend *be, weir_rmsnorm *a);
weir_status weir__rmsnorm_avx512(weir_backend *be, weir_rmsnorm *a);
weir_status weir__rope_avx2(weir_backend *be, weir_rope *a);
weir_status weir__rope_avx512(weir_backend *be, weir_rope *a);
#endif

#endif /* WEIR_KERNELS_ROWS_CPU_H */
