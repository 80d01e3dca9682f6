#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/loop/cuda.h"
#include "kernels/loop/lookup.h"

enum { LOOKUP_THREADS = 256, LOOKUP_WARPS = LOOKUP_THREADS / 32 };

/* A block scans. */
struct weir_scan_env {
    weir_match *best; /* shared, (LOOKUP_WARPS) */
};

static __device__ __forceinline__ weir_match weir__scan(const weir_scan_env *env, const int32_t *history,
                                                        int32_t n, int32_t from, int32_t longest) {
    const int32_t thread = static_cast<int32_t>(threadIdx.x);
    weir_match m = weir__match_scan(history, n, from, longest, thread, LOOKUP_THREADS);
#pragma unroll
    for (int d = 16; d > 0; d /= 2) m = weir__match_best(m, ptx::shfl_xor(m, d));
    if (thread % 32 == 0) env->best[thread / 32] = m;
    __syncthreads();
    m = env->best[0];
    for (int32_t k = 1; k < LOOKUP_WARPS; k++) m = weir__match_best(m, env->best[k]);
    return m; /* the next scan writes them again, after the barrier of an append */
}

static __device__ __forceinline__ void weir__scan_append(const weir_scan_env *env, int32_t *at,
                                                         int32_t token) {
    (void)env;
    if (threadIdx.x == 0) *at = token;
    __syncthreads();
}

#include "kernels/loop/lookup_impl.h"

/* A block a seat. */
static __global__ void __launch_bounds__(LOOKUP_THREADS) lookup_kernel(weir_loop l) {
    K_SHARED(best, weir_match[LOOKUP_WARPS]);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int32_t i = static_cast<int32_t>(blockIdx.x), j = static_cast<int32_t>(threadIdx.x);
    weir_seat s = l.seat[i];
    weir__seat_begin_lookup(&s);
    const weir_scan_env env = {best};
    int32_t token[WEIR_GAMMA_MAX + 1];
    const int32_t n = weir__lookup_tokens(&env, &l, &s, token);
    __syncthreads(); /* all have read the seat */
    if (j < n) weir__lookup_put(&l, i, &s, j, token[j]);
    if (j > 0) return;
    weir__lookup_close(&s, n);
    l.seat[i] = s;
}

extern "C" weir_status weir__loop_lookup_cuda(weir_backend *be, weir_loop_lookup *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_lookup_check(a));
    const weir_loop *l = a->loop;
    K_LAUNCH_PDL(lookup_kernel, static_cast<unsigned>(l->n_seat), LOOKUP_THREADS, 0,
                 weir__cuda_of(be)->stream)
    (*l);
    return weir__cuda_launched(be, "loop_lookup", "n_seat %d gamma %d", l->n_seat, l->gamma);
}
