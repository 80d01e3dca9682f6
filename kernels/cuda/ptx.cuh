#ifndef WEIR_KERNELS_CUDA_PTX_CUH
#define WEIR_KERNELS_CUDA_PTX_CUH

/* All inline PTX. Each wrapper has a device body and a body for the CPU runner (tests/runner); pointers are
 * generic. On sm_80 grid_wait and grid_launch_dependents do nothing: K_LAUNCH_PDL launches plainly there. */
#include "kernels/cuda/util.cuh"

#ifdef __CUDACC__
#define PTX_FN __device__ __forceinline__
#define PTX_AT
#define PTX_ONLY_AT
#else
#define PTX_FN inline
#define PTX_AT , runner::site at = {__builtin_FILE(), __builtin_LINE()}
#define PTX_ONLY_AT runner::site at = {__builtin_FILE(), __builtin_LINE()}
#endif

namespace ptx {

#ifdef __CUDACC__
PTX_FN uint32_t shared_address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
#endif

/* ---- warps ---- */

/* Shuffles of a T of 32-bit words over a whole warp: one word after another on a device, one meeting of the
 * lanes in the runner, where meetings are what a kernel's time goes into. */
template <typename T, int N> struct many { T v[N]; };
template <typename T, int N> PTX_FN many<T, N> many_of(const T (&v)[N]) {
    many<T, N> r;
#pragma unroll
    for (int i = 0; i < N; i++) r.v[i] = v[i];
    return r;
}
#ifdef __CUDACC__
template <typename T, typename F> PTX_FN T by_words(const T &v, const F &shuffle) {
    static_assert(sizeof(T) % 4 == 0, "whole words");
    uint32_t word[sizeof(T) / 4];
    memcpy(word, &v, sizeof v);
#pragma unroll
    for (uint32_t &w : word) w = shuffle(w);
    T r;
    memcpy(&r, word, sizeof r);
    return r;
}
template <typename T> PTX_FN T shfl_xor(const T &v, int bits) {
    return by_words(v, [bits](uint32_t w) { return __shfl_xor_sync(0xffffffffu, w, bits); });
}
template <typename T> PTX_FN T shfl_down(const T &v, int by) {
    return by_words(v, [by](uint32_t w) { return __shfl_down_sync(0xffffffffu, w, by); });
}
template <typename T> PTX_FN T shfl(const T &v, int lane) {
    return by_words(v, [lane](uint32_t w) { return __shfl_sync(0xffffffffu, w, lane); });
}
#else
template <typename T> PTX_FN T shfl_xor(const T &v, int bits PTX_AT) {
    return __shfl_xor_sync(0xffffffffu, v, bits, 32, at);
}
template <typename T> PTX_FN T shfl_down(const T &v, int by PTX_AT) {
    return __shfl_down_sync(0xffffffffu, v, static_cast<unsigned>(by), 32, at);
}
template <typename T> PTX_FN T shfl(const T &v, int lane PTX_AT) {
    return __shfl_sync(0xffffffffu, v, lane, 32, at);
}
#endif

/* A step of N sums over a warp: a lane keeps the half of v that is its own, the upper one if it has the bit
 * D, and adds the same of the lane D apart. */
template <int D, int N> PTX_FN void add_halves(const float (&v)[N], float (&half)[N / 2]) {
    const bool upper = threadIdx.x & D;
    many<float, N / 2> given;
#pragma unroll
    for (int i = 0; i < N / 2; i++) given.v[i] = upper ? v[i] : v[i + N / 2];
    given = shfl_xor(given, D);
#pragma unroll
    for (int i = 0; i < N / 2; i++) half[i] = (upper ? v[i + N / 2] : v[i]) + given.v[i];
}

/* ---- numbers ---- */

/* Rounds to nearest even; a NaN stays a NaN. Plain integer arithmetic, the same bits everywhere. */
__host__ __device__ static inline uint16_t bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(u >> 16 | 0x40u);
    return static_cast<uint16_t>((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* lo in the low half. */
PTX_FN uint32_t bf16x2(float lo, float hi) {
#ifdef __CUDACC__
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
#else
    return static_cast<uint32_t>(bf16(hi)) << 16 | bf16(lo);
#endif
}

__host__ __device__ static inline float f32_of_bf16(uint16_t b) {
    const uint32_t u = static_cast<uint32_t>(b) << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

PTX_FN float f32_of_f16(uint16_t h) {
#ifdef __CUDACC__
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
#else
    return runner::f32_of_f16(h);
#endif
}

/* The same number, of which the compiler knows nothing: what is computed from it stays where it is written,
 * and does not take registers outside of a loop. */
PTX_FN int opaque(int x) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(x));
#endif
    return x;
}

template <class T> PTX_FN const T *opaque(const T *p) {
#ifdef __CUDACC__
    asm volatile("" : "+l"(p));
#endif
    return p;
}

/* ---- tensor cores; every lane of the warp calls ---- */

/* d += a b, m16n8k16, bf16 in, f32 accumulate. Lane 4 g + t: a holds rows g, g + 8 and columns 2t, 2t + 1, 2t
 * + 8, 2t + 9 as (g, 2t) (g + 8, 2t) (g, 2t + 8) (g + 8, 2t + 8); b rows 2t, 2t + 8 of column g; d (g, 2t)
 * (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1). */
PTX_FN void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] PTX_AT) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,"
        "%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    runner::mma_bf16(d, a, b, at);
#endif
}

/* d += a b, m16n8k32, signed bytes in, exact sums in 32 bits. Lane 4 g + t: a holds rows g, g + 8 and
 * columns 4t … 4t + 3, 16 + 4t … as (g, 4t) (g + 8, 4t) (g, 16 + 4t) (g + 8, 16 + 4t); b rows 4t …,
 * 16 + 4t … of column g; d as mma_bf16. */
PTX_FN void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] PTX_AT) {
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    runner::mma_s8(d, a, b, at);
#endif
}

/* The same of 16 columns of a and rows of b, m16n8k16: its first two words and its first. */
PTX_FN void mma_s8(int32_t (&d)[4], const uint32_t (&a)[2], uint32_t b PTX_AT) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
#else
    const uint32_t wide_a[4] = {a[0], a[1], 0, 0}, wide_b[2] = {b, 0};
    runner::mma_s8(d, wide_a, wide_b, at);
#endif
}

/* Four 8 x 8 matrices of 16-bit elements; lane 8 j + i gives row i of matrix j (16 bytes of shared memory,
 * aligned). */
PTX_FN void ldmatrix_x4(uint32_t (&r)[4], const void *row PTX_AT) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    runner::ldmatrix_x4(r, runner::load16(row, "ldmatrix", at), false, at);
#endif
}

PTX_FN void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row PTX_AT) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    runner::ldmatrix_x4(r, runner::load16(row, "ldmatrix", at), true, at);
#endif
}

/* ---- memory ---- */

/* A word whose load stays where it is written: the compiler moves a load that only one branch needs into the
 * branch, where it is one round trip to memory later. Not for memory that this kernel writes. */
template <class T> PTX_FN T load_here(const T *p) {
    static_assert(sizeof(T) == 4, "a word");
#ifdef __CUDACC__
    uint32_t u;
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(u) : "l"(p));
    T x;
    memcpy(&x, &u, sizeof x);
    return x;
#else
    return *p;
#endif
}

/* For weights, which are read once: not worth a line of L1. Not for memory that this kernel writes. */
PTX_FN uint4 load_stream16(const void *p PTX_AT) {
#ifdef __CUDACC__
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
#else
    return runner::load16(p, "load_stream16", at);
#endif
}

/* The same for what another kernel writes while this one has begun already (K_LAUNCH_PDL): as any load, it
 * sees what was written before grid_wait. */
PTX_FN uint4 load_once16(const void *p PTX_AT) {
#ifdef __CUDACC__
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
#else
    return runner::load16(p, "load_once16", at);
#endif
}

/* Brings a line of 128 bytes into L2; nothing waits for it. */
PTX_FN void prefetch_l2(const void *p) {
#ifdef __CUDACC__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#else
    (void)p;
#endif
}

/* Copies 16 bytes to shared memory: visible to this thread after cp_async_wait, to others after a barrier
 * too. */
PTX_FN void cp_async16(void *smem, const void *gmem PTX_AT) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared_address(smem)), "l"(gmem)
                 : "memory");
#else
    runner::cp_async16(smem, gmem, 16, at);
#endif
}

/* The same for the first `bytes` (0 … 16), followed by zeros; with 0 nothing is read, but gmem must be a
 * valid address. */
PTX_FN void cp_async16_zfill(void *smem, const void *gmem, int bytes PTX_AT) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(smem)),
                 "l"(gmem), "r"(bytes)
                 : "memory");
#else
    runner::cp_async16(smem, gmem, bytes, at);
#endif
}

PTX_FN void cp_async_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    runner::cp_async_commit();
#endif
}

/* Waits until at most N of this thread's newest groups are still in flight. */
template <int N> PTX_FN void cp_async_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    runner::cp_async_wait(N);
#endif
}

/* ---- order between blocks, kernels and the host ---- */

PTX_FN uint32_t ld_acquire(const uint32_t *p PTX_AT) {
#ifdef __CUDACC__
    uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
#else
    runner::at_device_scope(p, at);
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

/* Acquire and release; returns the old value. */
PTX_FN uint32_t add_release(uint32_t *p, uint32_t v PTX_AT) {
#ifdef __CUDACC__
    uint32_t old;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(v) : "memory");
    return old;
#else
    runner::at_device_scope(p, at);
    runner::progress();
    return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);
#endif
}

PTX_FN uint32_t ld_acquire_sys(const uint32_t *p) {
#ifdef __CUDACC__
    uint32_t v;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

/* A word that another processor may write meanwhile, and nothing else that it wrote: what follows does not
 * wait for the answer, as it does after an acquire. */
PTX_FN uint32_t ld_relaxed_sys(const uint32_t *p) {
#ifdef __CUDACC__
    uint32_t v;
    asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_RELAXED);
#endif
}

PTX_FN void st_release_sys(uint32_t *p, uint32_t v) {
#ifdef __CUDACC__
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
    runner::progress();
#endif
}

/* Flags between devices: 64 bits, since 32 would wrap within hours. */
PTX_FN uint64_t ld_acquire_sys(const uint64_t *p PTX_AT) {
#ifdef __CUDACC__
    uint64_t v;
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
#else
    runner::at_system_scope(p, at);
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

PTX_FN void st_release_sys(uint64_t *p, uint64_t v PTX_AT) {
#ifdef __CUDACC__
    asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
#else
    runner::at_system_scope(p, at);
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
    runner::progress();
#endif
}

/* Nanoseconds since some time, of a clock that all blocks share; steps of up to a microsecond. */
PTX_FN uint64_t global_ns() {
#ifdef __CUDACC__
    uint64_t t;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(t));
    return t;
#else
    return runner::global_ns();
#endif
}

/* Everything this thread has written becomes visible to the host and to peers before what it writes next. */
PTX_FN void fence_sys() {
#ifdef __CUDACC__
    __threadfence_system();
#else
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Goes into the body of every waiting loop. */
PTX_FN void spin(PTX_ONLY_AT) {
#ifdef __CUDACC__
    __nanosleep(20);
#else
    runner::spin(at);
#endif
}

/* Waits until the kernels queued before this one have ended and their writes are visible (K_LAUNCH_PDL). */
PTX_FN void grid_wait() {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
#else
    runner::grid_wait();
#endif
}

/* The next kernel may start once every block has called this or ended: called first of all, so that its
 * launch and what it does before grid_wait (index arithmetic, loads of weights) are hidden by this kernel.
 * What the next kernel does after its wait needs it no later: it waits for the end of this one, which itself
 * ends after those before it have, because every kernel waits for them or is launched plainly. Called after
 * grid_wait, it lets the next kernel read, before its own wait, what kernels ahead of this one wrote
 * (weir_cuda_ahead). */
PTX_FN void grid_launch_dependents() {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
#else
    runner::grid_launch_dependents();
#endif
}

/* Sets whether the conditional node of a graph runs (again). */
PTX_FN void set_conditional(uint64_t handle, unsigned value) {
    cudaGraphSetConditional(static_cast<cudaGraphConditionalHandle>(handle), value);
}

} // namespace ptx

#endif /* WEIR_KERNELS_CUDA_PTX_CUH */
