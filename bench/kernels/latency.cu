extern "C" {
#include "bench/kernels/latency.h"
}
#include "kernels/accept/sweep/team.cuh"

enum { THREADS = 256, WARP = 32, CLUSTER_MOST = 16, CLUSTER_PORTABLE = 8, READS = 8 };
#define PROBE static __global__ __launch_bounds__(THREADS) void

/* Every kernel lets the next one start early and waits for the one before, as the engine's do. */
static __device__ __forceinline__ void begin() {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
}

static __device__ __forceinline__ bool first_thread() { return blockIdx.x == 0 && threadIdx.x == 0; }

/* Not atomic: only barriers keep two blocks from losing one of two additions. */
static __device__ __forceinline__ void tell(uint32_t *tally, bool mine) {
    volatile uint32_t *word = tally;
    if (tally && mine && threadIdx.x == 0) *word = *word + 1;
}

PROBE empty_kernel(uint32_t *tally) {
    begin();
    tell(tally, blockIdx.x == 0);
}

PROBE team_kernel(uint32_t *barrier, int32_t steps, uint32_t *tally) {
    begin();
    weir_env t = {};
    t.barrier = barrier;
    t.rank = static_cast<int32_t>(blockIdx.x);
    t.size = static_cast<int32_t>(gridDim.x);
    for (int32_t i = 0; i < steps; i++) {
        tell(tally, i % t.size == t.rank);
        team_wait(&t);
    }
}

#ifdef __CUDACC__
PROBE cluster_kernel(int32_t steps, int32_t size, uint32_t *tally) {
#if __CUDA_ARCH__ >= 900
    begin();
    for (int32_t i = 0; i < steps; i++) {
        tell(tally, i % size == static_cast<int32_t>(blockIdx.x));
        __cluster_barrier_arrive();
        __cluster_barrier_wait();
    }
#endif
}
#endif

PROBE flag_kernel(const uint32_t *flag, int32_t steps, bool acquire, uint32_t *out) {
    begin();
    uint32_t sum = 0;
    for (int32_t i = 0; i < steps; i++) {
        const uint32_t *at = flag + (sum & 0x80000000u); /* never set, which the compiler cannot know */
        sum += acquire ? ptx::ld_acquire_sys(at) : *static_cast<const volatile uint32_t *>(at);
    }
    out[0] = sum;
}

PROBE fence_kernel(uint32_t *word, int32_t steps) {
    begin();
    for (int32_t i = 0; i < steps; i++) {
        *static_cast<volatile uint32_t *>(word) = static_cast<uint32_t>(i) + 1;
        ptx::fence_sys();
    }
}

PROBE chase_kernel(const uint32_t *words, int64_t n_word, int32_t steps, uint32_t *out) {
    begin();
    int64_t at = out[1];
    for (int32_t i = 0; i < steps; i++) {
        at += KB_CHASE_STRIDE + static_cast<const volatile uint32_t *>(words)[at];
        while (at >= n_word) at -= n_word;
    }
    out[0] = static_cast<uint32_t>(at);
    out[1] = static_cast<uint32_t>(at);
}

/* Several loads of a thread are under way at once. */
PROBE read_kernel(const uint32_t *words, int64_t n_word, int32_t steps, uint32_t *tally) {
    begin();
    const int64_t stride = 4 * static_cast<int64_t>(gridDim.x) * THREADS;
    const int64_t first = 4 * (static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x);
    uint32_t sum = 0;
    for (int32_t i = 0; i < steps; i++) {
        for (int64_t at = first; at < n_word; at += READS * stride) {
            uint4 v[READS];
#pragma unroll
            for (int k = 0; k < READS; k++)
                v[k] = at + k * stride < n_word ? ptx::load_stream16(words + at + k * stride) : uint4{};
#pragma unroll
            for (int k = 0; k < READS; k++) sum += v[k].x + v[k].y + v[k].z + v[k].w;
        }
    }
    if (tally) atomicAdd(tally, sum);
}

PROBE fma_kernel(float a, float b, int32_t steps, uint32_t *out) {
    begin();
    float x = a;
#pragma unroll 16
    for (int32_t i = 0; i < steps; i++) x = fmaf(x, a, b);
    if (first_thread()) memcpy(out, &x, sizeof x);
}

/* handle: of the loop; 0 outside of one. */
PROBE turn_kernel(uint32_t *left, uint32_t turns, uint64_t handle) {
    begin();
    if (!handle) return;
    const bool more = *left + 1 < turns;
    *left = more ? *left + 1 : 0;
    ptx::set_conditional(handle, more);
}

/* ---- launches ------------------------------------------------------------------------------------------ */

static weir_status launched(weir_backend *be, const char *what) {
    return weir__cuda_launched(be, what, "a probe");
}

#ifdef __CUDACC__
/* As many clusters as fill the device once; within a multiprocessor's reach, so sizes are 16 at most. */
static weir_status launch_cluster(weir_cuda *cu, const kb_latency *a) {
    if (cu->cc < 90 || a->n_block < 1 || a->n_block > CLUSTER_MOST) return WEIR_ENOTSUP;
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attr = {};
    attr.id = cudaLaunchAttributeClusterDimension;
    attr.val.clusterDim.x = static_cast<unsigned>(a->n_block);
    attr.val.clusterDim.y = attr.val.clusterDim.z = 1;
    config.gridDim = dim3(static_cast<unsigned>(cu->sm_count / a->n_block * a->n_block));
    config.blockDim = dim3(THREADS);
    config.stream = cu->stream;
    config.attrs = &attr;
    config.numAttrs = 1;
    if (a->n_block > CLUSTER_PORTABLE) {
        const cudaError_t e =
            cudaFuncSetAttribute(cluster_kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
        WEIR_CUDA_TRY(&cu->base, e, "clusters of %d", a->n_block);
    }
    (void)cudaLaunchKernelEx(&config, cluster_kernel, a->steps, a->n_block, a->tally);
    return launched(&cu->base, "cluster barriers");
}
#else
static weir_status launch_cluster(weir_cuda *cu, const kb_latency *a) {
    (void)cu, (void)a;
    return WEIR_ENOTSUP;
}
#endif

static void launch_empty(const weir_cuda *cu, const kb_latency *a, unsigned n) {
    if (a->how == KB_PDL)
        K_LAUNCH_PDL(empty_kernel, n, THREADS, 0, cu->stream)(a->tally);
    else if (a->how == KB_COOPERATIVE)
        K_LAUNCH_TEAM(empty_kernel, n, THREADS, 0, cu->stream)(a->tally);
    else
        K_LAUNCH(empty_kernel, n, THREADS, 0, cu->stream)(a->tally);
}

extern "C" weir_status kb_latency_launch(weir_backend *be, const kb_latency *a) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "probe"));
    const unsigned n = static_cast<unsigned>(a->n_block > 0 ? a->n_block : TEAM_PER_SM * cu->sm_count);
    switch (a->probe) {
    case KB_EMPTY: launch_empty(cu, a, n); return launched(be, "empty kernel");
    case KB_TEAM_BARRIER:
        K_LAUNCH_TEAM(team_kernel, n, THREADS, 0, cu->stream)(cu->counters, a->steps, a->tally);
        return launched(be, "team barriers");
    case KB_CLUSTER: return launch_cluster(cu, a);
    case KB_FLAG:
    case KB_FLAG_ACQUIRE:
        K_LAUNCH(flag_kernel, 1, 1, 0, cu->stream)
        (a->words, a->steps, a->probe == KB_FLAG_ACQUIRE, a->out);
        return launched(be, "flag");
    case KB_FENCE:
        K_LAUNCH(fence_kernel, 1, 1, 0, cu->stream)(a->words, a->steps);
        return launched(be, "fence");
    case KB_CHASE:
        K_LAUNCH(chase_kernel, 1, 1, 0, cu->stream)(a->words, a->n_word, a->steps, a->out);
        return launched(be, "chase");
    case KB_READ:
        K_LAUNCH(read_kernel, n, THREADS, 0, cu->stream)(a->words, a->n_word, a->steps, a->tally);
        return launched(be, "read");
    case KB_FMA:
        K_LAUNCH(fma_kernel, 1, WARP, 0, cu->stream)(0.999f, 0.5f, a->steps, a->out);
        return launched(be, "multiply-adds");
    }
    return WEIR_EINVAL;
}

extern "C" weir_status kb_latency_turn(weir_backend *be, uint32_t *left, int32_t turns) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "turn"));
    K_LAUNCH_PDL(turn_kernel, 1, 1, 0, cu->stream)(left, static_cast<uint32_t>(turns), cu->conditional);
    return launched(be, "turn of a loop");
}
