#ifndef WEIR_KERNELS_LINEAR_CUBLASLT_CUH
#define WEIR_KERNELS_LINEAR_CUBLASLT_CUH

/* cuBLASLt for prompts, loaded at run time (kernels/cuda/cuda.cuh): opening and closing it, and the one
 * product that linear needs.
 *
 * y[r][n] = sum_k x[r][k] w[n][k]      x (chunk, k), w (n, k) of one dtype; y f32 (chunk, ldy); all dense but
 * y, 256-byte aligned, k elements a multiple of 16 bytes
 *
 * The shape is always the whole chunk, and each (n, k, dtype, chunk) keeps the algorithm chosen first.
 * Algorithms whose order of sums varies are excluded (split sums go through the workspace), so a row's bits
 * do not depend on the other rows. */
#include "kernels/cuda/cuda.cuh"

struct weir_lt_product {
    const void *x, *w;
    float *y;
    int64_t n, k, ldy, chunk;
    weir_dtype dtype; /* BF16 or F32 */
};

weir_status weir__cublaslt_product(weir_cuda *cu, const weir_lt_product *p);

#endif /* WEIR_KERNELS_LINEAR_CUBLASLT_CUH */
