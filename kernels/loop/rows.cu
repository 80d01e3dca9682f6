#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/loop/cuda.h"
#include "kernels/loop/seat.h"

enum { ROWS_THREADS = 128 };

static __device__ __forceinline__ void put_row(const weir_loop_rows &a, int64_t at, weir_seat_row r) {
    a.token[at] = r.token;
    a.pos[at] = r.pos;
    a.slot[at] = r.slot;
}

/* Seat i's n_draft and its rows of this drafter step; whether they are wanted. */
static __device__ __forceinline__ bool make_draft_rows(const weir_loop_rows &a, const weir_loop &l,
                                                       int32_t i) {
    weir_seat *s = &l.seat[i];
    const int32_t *draft = weir__seat_draft(&l, i);
    weir__seat_begin_step(&l, i, a.step);
    const bool steps = weir__seat_steps(s, a.step, draft);
    a.law_of[i] = steps ? i : -1;
    if (a.step > 0) {
        put_row(a, i, weir__seat_draft_row(s, a.step, 0, draft));
        return steps;
    }
    a.law[i] = s->law;
    put_row(a, 2 * i, weir__seat_draft_row(s, 0, 0, draft));
    put_row(a, 2 * i + 1, weir__seat_draft_row(s, 0, 1, draft));
    return steps;
}

/* One thread per seat. */
static __global__ void __launch_bounds__(ROWS_THREADS) draft_rows_kernel(weir_loop_rows a, weir_loop l) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int32_t i = static_cast<int32_t>(blockIdx.x) * ROWS_THREADS + static_cast<int32_t>(threadIdx.x);
    if (i < l.n_seat) make_draft_rows(a, l, i);
}

/* The same in one block, which also says whether the step runs at all. */
static __global__ void __launch_bounds__(ROWS_THREADS)
    test_rows_kernel(weir_loop_rows a, weir_loop l, uint64_t branch) {
    bool steps = false;
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < l.n_seat; i += ROWS_THREADS)
        steps |= make_draft_rows(a, l, i);
    const int any = __syncthreads_or(steps);
    if (threadIdx.x == 0) ptx::set_conditional(branch, any != 0);
}

/* A thread a verifier row; the first of a seat also makes its block for the accept step. */
static __global__ void __launch_bounds__(ROWS_THREADS) verify_rows_kernel(weir_loop_rows a, weir_loop l) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    const int32_t at = static_cast<int32_t>(blockIdx.x) * ROWS_THREADS + static_cast<int32_t>(threadIdx.x);
    const int32_t per_seat = l.gamma + 1, i = at / per_seat, j = at % per_seat;
    if (i >= l.n_seat) return;
    weir_seat *s = &l.seat[i];
    if (l.gamma == 0) s->n_draft = 0; /* no drafter step has said so */
    const weir_seat_row r = weir__seat_verify_row(s, j, weir__seat_draft(&l, i));
    put_row(a, at, r);
    a.law_of[at] = r.slot < 0 ? -1 : i;
    if (j > 0) return;
    a.law[i] = s->law;
    weir__seat_block(&l, i, s, &l.accept[i]);
}

extern "C" weir_status weir__loop_rows_cuda(weir_backend *be, weir_loop_rows *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_rows_check(a));
    const weir_loop *l = a->loop;
    const bool verify = a->step == WEIR_LOOP_VERIFY;
    const int64_t n = verify ? static_cast<int64_t>(l->n_seat) * (l->gamma + 1) : l->n_seat;
    const unsigned n_block = static_cast<unsigned>((n + ROWS_THREADS - 1) / ROWS_THREADS);
    cudaStream_t stream = weir__cuda_of(be)->stream;
    const uint64_t branch = weir__cuda_of(be)->branch;
    if (!verify && branch) {
        K_LAUNCH(test_rows_kernel, 1, ROWS_THREADS, 0, stream)(*a, *l, branch);
    } else if (verify && weir__cuda_of(be)->branched) { /* which is no kernel */
        K_LAUNCH(verify_rows_kernel, n_block, ROWS_THREADS, 0, stream)(*a, *l);
    } else if (verify) {
        K_LAUNCH_PDL(verify_rows_kernel, n_block, ROWS_THREADS, 0, stream)(*a, *l);
    } else {
        K_LAUNCH_PDL(draft_rows_kernel, n_block, ROWS_THREADS, 0, stream)(*a, *l);
    }
    return weir__cuda_launched(be, "loop_rows", "step %d n_seat %d gamma %d", a->step, l->n_seat, l->gamma);
}
