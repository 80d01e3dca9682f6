/* Kernels and host code that the runner, or a sanitizer, has to stop. */
#include <cstdlib>

#include "tests/runner/cases.cuh"

namespace {

constexpr unsigned ALL = 0xffffffffu;

__global__ void deadlock(int *) {
    if (threadIdx.x == 40) __syncwarp(3u << 8); /* lane 9 never comes: it waits for the block */
    __syncthreads();
}
__global__ void divergent_barrier(int *) {
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
__global__ void outside_mask(int *out) { out[threadIdx.x] = __shfl_sync(0xffffu, 1, 0); }
__global__ void exited_lane(int *out) {
    if (threadIdx.x == 5) return;
    for (int i = 0; i < 100; i++) out[threadIdx.x] = __shfl_sync(ALL, i, 0);
}
__global__ void warp_mismatch(int *out) {
    if (threadIdx.x < 16) {
        out[threadIdx.x] = __shfl_xor_sync(ALL, 1, 1);
    } else {
        __syncwarp();
    }
}
__global__ void endless_spin(uint32_t *flag) {
    while (ptx::ld_acquire(flag) != 1) ptx::spin();
}
__global__ void block_spin(uint32_t *flag) {
    K_SHARED(go, uint32_t);
    do {
        if (threadIdx.x == 0) {
            go = ptx::ld_acquire(flag);
            ptx::spin();
        }
        __syncthreads();
    } while (go != 1);
}
__global__ void copy_not_waited_for(const int *in, int *out) {
    K_SHARED(a, int[32][4]);
    ptx::cp_async16(a[threadIdx.x], in + 4 * threadIdx.x);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    out[threadIdx.x] = a[threadIdx.x][0];
    ptx::cp_async_wait<0>();
}
__global__ void exit_with_copies(const int *in) {
    K_SHARED(a, int[4]);
    ptx::cp_async16(a, in);
    ptx::cp_async_commit();
}
__global__ void misaligned(const int *in) {
    K_SHARED(a, int[8]);
    ptx::cp_async16(a, in + 1);
}
__global__ void no_grid_wait(int *x) { x[threadIdx.x] = 1; }
__global__ void shared_overrun(int n) {
    K_SHARED(a, int[10]);
    K_SHARED(b, int[10]);
    b[0] = 1;
    int *p = a;
    p[n] = b[0];
}
__global__ void dynamic_overrun(int n) {
    K_DYN_SHARED(int, a);
    a[n] = 1;
}
__global__ void device_overrun(int *x, int n) { x[n] = 1; }
__global__ void device_overread(const int *x, int n, int *out) { *out = x[n]; }
__global__ void stack(int n, int *out) {
    volatile int room[4096];
    room[n % 4096] = n;
    K_SHARED(sum, int);
    if (n > 0) {
        void (*again)(int, int *) = stack;
        again(n - 1, out);
    }
    sum = room[n % 4096];
    *out = sum;
}
__global__ void trap() { __trap(); }

__global__ void missing_barrier(int *out) {
    K_SHARED(a, int[64]);
    a[threadIdx.x] = 1;
    out[threadIdx.x] = a[(threadIdx.x + 1) % 64];
}
__global__ void early_copy(const int *in, int *out) {
    K_SHARED(a, int[64][4]);
    const int t = threadIdx.x;
    int sum = 0;
    for (int s = 0; s < 3; s++) {
        ptx::cp_async16(a[t], in + 4 * t); /* while others still read it */
        ptx::cp_async_commit();
        ptx::cp_async_wait<0>();
        __syncthreads();
        sum += a[(t + 1) % 64][0];
    }
    out[t] = sum;
}
__global__ void shuffle_order(int *out) {
    K_SHARED(a, int);
    const int t = threadIdx.x;
    if (t == 0) a = 5;
    const int b = __shfl_sync(ALL, t, 0);
    out[t] = a + b;
}
__global__ void between_blocks(int *sum) {
    if (threadIdx.x == blockIdx.x) *sum += 1;
}
__global__ void write_late(int *x) { x[threadIdx.x] = 3; }
__global__ void read_before_grid_wait(const int *x, int *out) {
    const int early = x[(threadIdx.x + 1) % 32];
    ptx::grid_wait();
    out[threadIdx.x] = early;
}
__global__ void let_go_before_grid_wait(int *y) {
    ptx::grid_launch_dependents();
    ptx::grid_wait();
    y[threadIdx.x] = 1;
}
__global__ void write_before_grid_wait(int *x) {
    x[(threadIdx.x + 1) % 32] = 4;
    ptx::grid_wait();
}
/* Waits for its team with plain loads and stores in the place of add_release. */
__global__ void unordered_team(int *cell, uint32_t *arrived) {
    cell[blockIdx.x] = 1;
    __atomic_fetch_add(arrived, 1u, __ATOMIC_RELAXED);
    while (__atomic_load_n(arrived, __ATOMIC_RELAXED) < gridDim.x) ptx::spin();
    cell[2 + blockIdx.x] = cell[1 - blockIdx.x];
}
/* The last block adds up what the others left; the count comes before the block's other threads have
 * written. */
__global__ void counted_too_early(int *part, uint32_t *done, int *sum) {
    K_SHARED(last, bool);
    const int t = threadIdx.x;
    part[blockIdx.x * blockDim.x + t] = t;
    if (t == 0) last = __atomic_fetch_add(done, 1u, __ATOMIC_ACQ_REL) + 1 == gridDim.x;
    __syncthreads();
    if (last) sum[t] = part[t] + part[blockDim.x + t];
}
__global__ void again_and_again() {}

} // namespace

#define ARRAYS(n)                   \
    device_array<int> x(n), out(n); \
    cudaMemset(x.p, 0, (n) * sizeof(int))

void wrong_deadlock(void) { K_LAUNCH(deadlock, 1, 64, 0, nullptr)(nullptr); }
void wrong_divergent_barrier(void) { K_LAUNCH(divergent_barrier, 1, 32, 0, nullptr)(nullptr); }
void wrong_lane_outside_its_mask(void) {
    ARRAYS(32);
    K_LAUNCH(outside_mask, 1, 32, 0, nullptr)(out.p);
}
void wrong_exited_lane(void) {
    ARRAYS(32);
    K_LAUNCH(exited_lane, 1, 32, 0, nullptr)(out.p);
}
void wrong_warp_mismatch(void) {
    ARRAYS(32);
    K_LAUNCH(warp_mismatch, 1, 32, 0, nullptr)(out.p);
}
void wrong_endless_spin(void) {
    ARRAYS(1);
    K_LAUNCH(endless_spin, 1, 32, 0, nullptr)(reinterpret_cast<uint32_t *>(x.p));
}
void wrong_endless_block_spin(void) {
    ARRAYS(1);
    K_LAUNCH(block_spin, 1, 32, 0, nullptr)(reinterpret_cast<uint32_t *>(x.p));
}
/* 1 if the kernel saw what was not there yet. */
int sees_copy_not_waited_for(void) {
    ARRAYS(128);
    int host[128];
    K_LAUNCH(copy_not_waited_for, 1, 32, 0, nullptr)(x.p, out.p);
    out.get(host);
    return host[0] == -1;
}
void wrong_exit_with_copies(void) {
    ARRAYS(4);
    K_LAUNCH(exit_with_copies, 1, 1, 0, nullptr)(x.p);
}
void wrong_alignment(void) {
    ARRAYS(8);
    K_LAUNCH(misaligned, 1, 1, 0, nullptr)(x.p);
}
void wrong_no_grid_wait(void) {
    ARRAYS(32);
    K_LAUNCH_PDL(no_grid_wait, 1, 32, 0, nullptr)(x.p);
}
void wrong_shared_overrun(void) { K_LAUNCH(shared_overrun, 1, 1, 0, nullptr)(10); }
void wrong_dynamic_overrun(void) { K_LAUNCH(dynamic_overrun, 1, 1, 40, nullptr)(10); }
void wrong_device_overrun(void) {
    ARRAYS(10);
    K_LAUNCH(device_overrun, 1, 1, 0, nullptr)(x.p, 10);
}
void wrong_device_overread(void) {
    ARRAYS(10);
    K_LAUNCH(device_overread, 1, 1, 0, nullptr)(x.p, 10, out.p);
}
void wrong_freed(void) {
    device_array<int> kept(1);
    int *p = nullptr;
    cudaMalloc(&p, 40);
    cudaFree(p);
    K_LAUNCH(device_overrun, 1, 1, 0, nullptr)(p, 0);
}
void wrong_host_read(void) {
    ARRAYS(10);
    fprintf(stderr, "%d\n", *const_cast<volatile int *>(x.p));
}
void wrong_stack(void) {
    ARRAYS(1);
    K_LAUNCH(stack, 1, 1, 0, nullptr)(1000, out.p);
}
void wrong_trap(void) { K_LAUNCH(trap, 1, 1, 0, nullptr)(); }

void race_missing_barrier(void) {
    ARRAYS(64);
    K_LAUNCH(missing_barrier, 1, 64, 0, nullptr)(out.p);
}
void race_early_copy(void) {
    ARRAYS(256);
    K_LAUNCH(early_copy, 1, 64, 0, nullptr)(x.p, out.p);
}
void race_shuffle_orders_nothing(void) {
    ARRAYS(32);
    K_LAUNCH(shuffle_order, 1, 32, 0, nullptr)(out.p);
}
void race_between_blocks(void) {
    ARRAYS(1);
    K_LAUNCH(between_blocks, 2, 32, 0, nullptr)(x.p);
}
void race_before_grid_wait(void) {
    ARRAYS(32);
    K_LAUNCH(write_late, 1, 32, 0, nullptr)(x.p);
    K_LAUNCH_PDL(read_before_grid_wait, 1, 32, 0, nullptr)(x.p, out.p);
}
void race_host_does_not_wait(void) {
    int *host = nullptr;
    cudaHostAlloc(reinterpret_cast<void **>(&host), 128, cudaHostAllocMapped);
    K_LAUNCH(write_late, 1, 32, 0, nullptr)(host);
    fprintf(stderr, "%d\n", host[3]);
    cudaFreeHost(host);
}
void race_write_before_grid_wait(void) {
    ARRAYS(32);
    K_LAUNCH(write_late, 1, 32, 0, nullptr)(x.p);
    K_LAUNCH_PDL(write_before_grid_wait, 1, 32, 0, nullptr)(x.p);
}
/* The kernel between has let the last one begin while the first may still write. */
void race_let_go_before_grid_wait(void) {
    ARRAYS(32);
    device_array<int> y(32);
    K_LAUNCH(write_late, 1, 32, 0, nullptr)(x.p);
    K_LAUNCH_PDL(let_go_before_grid_wait, 1, 32, 0, nullptr)(y.p);
    K_LAUNCH_PDL(read_before_grid_wait, 1, 32, 0, nullptr)(x.p, out.p);
}
void race_pinned_source_reused(void) {
    ARRAYS(32);
    int *host = nullptr;
    cudaHostAlloc(reinterpret_cast<void **>(&host), 128, cudaHostAllocDefault);
    memset(host, 0, 128);
    cudaMemcpyAsync(x.p, host, 128, cudaMemcpyHostToDevice, nullptr);
    host[3] = 1; /* the copy may still have to read it */
    cudaFreeHost(host);
}
void race_team_barrier_without_release(void) {
    ARRAYS(4);
    K_LAUNCH_TEAM(unordered_team, 2, 1, 0, nullptr)(out.p, reinterpret_cast<uint32_t *>(x.p));
}
void race_counted_before_it_is_written(void) {
    ARRAYS(128);
    device_array<uint32_t> done(1);
    cudaMemset(done.p, 0, 4);
    K_LAUNCH(counted_too_early, 2, 64, 0, nullptr)(x.p, done.p, out.p);
}
void wrong_endless_while(void) {
    cudaStream_t stream;
    cudaGraph_t graph, body;
    cudaGraphExec_t exec;
    cudaGraphNode_t node;
    cudaGraphNodeParams params = {};
    params.type = cudaGraphNodeTypeConditional;
    params.conditional.type = cudaGraphCondTypeWhile;
    params.conditional.size = 1;
    cudaStreamCreate(&stream);
    cudaGraphCreate(&graph, 0);
    cudaGraphConditionalHandleCreate(&params.conditional.handle, graph, 1, cudaGraphCondAssignDefault);
    cudaGraphAddNode(&node, graph, nullptr, nullptr, 0, &params);
    body = params.conditional.phGraph_out[0];
    cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal);
    K_LAUNCH(again_and_again, 1, 1, 0, stream)();
    cudaStreamEndCapture(stream, &body);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphLaunch(exec, stream);
}
