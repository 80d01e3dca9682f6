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

enum k_launch_how { K_PLAIN, K_PDL, K_TEAM };

/* Compute capability of the current device as 10 major + minor; queried once per device. */
inline int k_cc() {
    static std::atomic<int> known[64];
    int device = 0;
    if (cudaGetDevice(&device) != cudaSuccess || device < 0 || device >= 64) return 0;
    int cc = known[device].load(std::memory_order_relaxed);
    if (cc == 0) {
        int major = 0, minor = 0;
        if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess)
            return 0;
        if (cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess)
            return 0;
        cc = 10 * major + minor;
        known[device].store(cc, std::memory_order_relaxed);
    }
    return cc;
}

template <class... P> struct k_launch {
    void (*kernel)(P...);
    dim3 grid, block;
    size_t smem;
    cudaStream_t stream;
    k_launch_how how;

    /* A failure stays in cudaPeekAtLastError, where weir__cuda_launched finds it. */
    void operator()(P... args) const {
        cudaLaunchConfig_t config = {};
        cudaLaunchAttribute attr = {};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = smem;
        config.stream = stream;
        if (how == K_TEAM) {
            attr.id = cudaLaunchAttributeCooperative;
            attr.val.cooperative = 1;
        } else if (how == K_PDL && k_cc() >= 90) {
            attr.id = cudaLaunchAttributeProgrammaticStreamSerialization;
            attr.val.programmaticStreamSerializationAllowed = 1;
        }
        config.attrs = &attr;
        config.numAttrs = attr.id == 0 ? 0 : 1;
        (void)cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    }
};

template <class... P>
k_launch<P...> k_bind(k_launch_how how, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem,
                      cudaStream_t stream) {
    return {kernel, grid, block, smem, stream, how};
}

/* K_LAUNCH(kernel, grid, block, smem, stream)(args...). A kernel with a comma in its template arguments
 * stands in parentheses. _PDL: programmatic dependent launch if the device has it (sm_90): the kernel may
 *       start before those queued ahead of it have ended, and must call ptx::grid_wait() before it reads what
 *       they wrote and before it writes anything.
 * _TEAM: cooperative: all blocks are resident at once, so they may wait for each other. */
#define K_LAUNCH(kernel, ...) K_LAUNCH_HOW(K_PLAIN, kernel, __VA_ARGS__)
#define K_LAUNCH_PDL(kernel, ...) K_LAUNCH_HOW(K_PDL, kernel, __VA_ARGS__)
#define K_LAUNCH_TEAM(kernel, ...) K_LAUNCH_HOW(K_TEAM, kernel, __VA_ARGS__)
#ifdef __CUDACC__
#define K_LAUNCH_HOW(how, kernel, ...) k_bind(how, kernel, __VA_ARGS__)
#else
#define K_LAUNCH_HOW(how, kernel, ...) \
    (runner::name_launch(#kernel, __FILE__, __LINE__), k_bind(how, kernel, __VA_ARGS__))
#endif

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
