/* Experts of rows: one warp a row chooses, then one block sorts the entries.
 *
 *   choose_kernel  lane l has experts l, l + 32, …; the best of all n_used times, each taken once
 *   sort_kernel    counts by expert in shared memory, their prefix sums, then one warp places 32 entries at a
 *                  time in rising order */
#include "kernels/cuda/util.cuh"
#include "kernels/cuda/ptx.cuh"

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "kernels/moe/choice.h"
#include "kernels/moe/cuda.h"
}

namespace {

enum { THREADS = 256, WARPS = THREADS / 32 };
constexpr unsigned ALL = 0xffffffffu;

struct candidate {
    int32_t key, id;
};

/* The larger key, then the lower id. */
PTX_FN candidate better(const candidate &a, const candidate &b) {
    return a.key > b.key || (a.key == b.key && a.id < b.id) ? a : b;
}

PTX_FN candidate warp_best(candidate c) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) c = better(c, ptx::shfl_xor(c, d));
    return c;
}

PTX_FN float logit_of(const weir_route &a, const float *logits, int32_t e) {
    return a.bias ? logits[e] + a.bias[e] : logits[e];
}

/* The chosen one of this step; taken: bit i, this lane's expert 32 i + lane has been chosen. */
PTX_FN int32_t choose_one(const weir_route &a, const float *logits, uint32_t *taken) {
    const int lane = threadIdx.x % 32;
    candidate mine = {INT32_MIN, INT32_MAX};
    for (int i = 0, e = lane; e < a.n_expert; i++, e += 32) {
        if (*taken >> i & 1) continue;
        mine = better({weir__expert_key(logit_of(a, logits, e)), e}, mine);
    }
    const int32_t best = warp_best(mine).id;
    if (best % 32 == lane) *taken |= 1u << best / 32;
    return best;
}

__global__ void __launch_bounds__(THREADS) choose_kernel(const weir_route a) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int lane = threadIdx.x % 32;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (row >= a.n_row) return;
    const int64_t at = row * a.n_used + lane;
    const bool mine = lane < a.n_used;
    if (a.slot && a.slot[row] < 0) {
        if (mine) a.expert[at] = -1, a.weight[at] = 0.0f;
        return;
    }
    const float *logits = a.logits + row * a.ld;
    uint32_t taken = 0;
    int32_t chosen = 0;
    float most = 0.0f;
    for (int j = 0; j < a.n_used; j++) {
        const int32_t best = choose_one(a, logits, &taken);
        if (j == 0) most = logit_of(a, logits, best);
        if (j == lane) chosen = best;
    }
    const float e = mine ? expf(logit_of(a, logits, chosen) - most) : 0.0f;
    float sum = e;
    if (a.over_all) {
        sum = 0.0f;
        for (int i = lane; i < a.n_expert; i += 32) sum += expf(logit_of(a, logits, i) - most);
    }
    sum = k_warp_sum(sum);
    if (mine) a.expert[at] = chosen, a.weight[at] = e / sum;
}

/* begin from counts; by one warp, whose lanes have as many experts each. */
PTX_FN void prefix_sums(const weir_route &a, int32_t *count) {
    const int lane = threadIdx.x, each = (a.n_expert + 31) / 32;
    const int first = lane * each, last = first + each < a.n_expert ? first + each : a.n_expert;
    int32_t own = 0;
    for (int e = first; e < last; e++) own += count[e];
    int32_t before = own;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int32_t o = __shfl_up_sync(ALL, before, d);
        if (lane >= d) before += o;
    }
    before -= own;
    for (int e = first; e < last; e++) {
        const int32_t n = count[e];
        a.begin[e] = count[e] = before;
        before += n;
    }
    if (lane == 31) a.begin[a.n_expert] = before;
}

/* 32 entries in a row, some of one expert: next[e] is its next free place. */
PTX_FN void place_entries(const weir_route &a, int32_t *next, int32_t from, int32_t n) {
    const int lane = threadIdx.x;
    const int32_t i = from + lane, e = i < n ? a.expert[i] : -1;
    const unsigned same = __match_any_sync(ALL, e), below = same & ((1u << lane) - 1);
    const int32_t place = e < 0 ? -1 : next[e] + __popc(below);
    __syncwarp();
    if (e >= 0 && below == 0) next[e] += __popc(same);
    __syncwarp();
    if (i >= n) return;
    a.place[i] = place;
    if (place >= 0) a.row[place] = i / a.n_used, a.owner[place] = e;
}

__global__ void __launch_bounds__(THREADS) sort_kernel(const weir_route a) {
    K_SHARED(count, int32_t[WEIR_EXPERTS]);
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int32_t n = static_cast<int32_t>(a.n_row) * a.n_used;
    for (int e = threadIdx.x; e < a.n_expert; e += THREADS) count[e] = 0;
    __syncthreads();
    for (int32_t i = threadIdx.x; i < n; i += THREADS) {
        a.row[i] = a.owner[i] = 0;
        if (a.expert[i] >= 0) atomicAdd(&count[a.expert[i]], 1);
    }
    __syncthreads();
    if (threadIdx.x >= 32) return;
    prefix_sums(a, count);
    __syncwarp();
    for (int32_t from = 0; from < n; from += 32) place_entries(a, count, from, n);
}

} // namespace

extern "C" weir_status weir__route_cuda(weir_backend *be, weir_route *a) {
    WEIR_TRY(weir__route_check(a));
    weir_cuda *cu = weir__cuda_of(be);
    if (a->n_row > 0) {
        const dim3 grid(static_cast<unsigned>((a->n_row + WARPS - 1) / WARPS));
        K_LAUNCH_PDL(choose_kernel, grid, dim3(THREADS), 0, cu->stream)(*a);
        WEIR_TRY(weir__cuda_launched(be, "route", "n_row %lld n_expert %d", (long long)a->n_row,
                                     (int)a->n_expert));
    }
    K_LAUNCH_PDL(sort_kernel, dim3(1), dim3(THREADS), 0, cu->stream)(*a);
    return weir__cuda_launched(be, "route, sort", "n_row %lld n_expert %d", (long long)a->n_row,
                               (int)a->n_expert);
}
