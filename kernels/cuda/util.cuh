#ifndef WEIR_KERNELS_CUDA_UTIL_CUH
#define WEIR_KERNELS_CUDA_UTIL_CUH

/* First include of every .cu: the runtime, the C contracts, and the constructs that plain C++ cannot parse,
 * as macros. The same text is compiled by nvcc for devices and by g++ for the CPU runner of tests/runner,
 * whose header comes first by -include. */
#include <cuda_runtime.h>

#include <atomic>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "kernels/backend.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
}

/* K_SHARED(tile, float[32][33]): static shared memory, 16-byte aligned (ldmatrix, cp.async).
 * K_DYN_SHARED(float, buf): the launch's dynamic shared memory as float *buf, 128-byte aligned
 * (whole lines). */
#ifdef __CUDACC__
#define K_SHARED(name, ...)                                                                \
    using name##_type = __VA_ARGS__;                                                       \
    constexpr size_t name##_align = alignof(name##_type) < 16 ? 16 : alignof(name##_type); \
    __shared__ alignas(name##_align) name##_type name
#define K_DYN_SHARED(T, name)                                   \
    extern __shared__ __align__(128) unsigned char k_dyn_raw[]; \
    T *name = reinterpret_cast<T *>(k_dyn_raw)
#else
#define K_SHARED(name, ...)          \
    using name##_type = __VA_ARGS__; \
    name##_type &name = runner::shared_block<name##_type>([] {}, #name)
#define K_DYN_SHARED(T, name) T *name = static_cast<T *>(runner::shared_dynamic())
#endif

#include "kernels/cuda/launch.cuh"

/* Over the 32 lanes of a warp, which all call; every lane gets the result. Lanes 16, 8, 4, 2 and 1 apart are
 * combined, in this order: one order of sums for all ops. */
template <class T> __device__ __forceinline__ T k_warp_sum(T x) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

__device__ __forceinline__ float k_warp_max(float x) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

inline bool k_aligned16(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

/* p[at … at + 3], zeros from `end` on. `at` is a multiple of 4; vector: p is aligned to 16 bytes. */
__device__ __forceinline__ float4 k_load4(const float *p, int64_t at, int64_t end, bool vector) {
    if (vector && at + 4 <= end) return *reinterpret_cast<const float4 *>(p + at);
    float4 v;
    v.x = at < end ? p[at] : 0.0f;
    v.y = at + 1 < end ? p[at + 1] : 0.0f;
    v.z = at + 2 < end ? p[at + 2] : 0.0f;
    v.w = at + 3 < end ? p[at + 3] : 0.0f;
    return v;
}

#endif /* WEIR_KERNELS_CUDA_UTIL_CUH */
