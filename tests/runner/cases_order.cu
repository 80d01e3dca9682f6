/* Copies under way, blocks that wait for each other, launches that overlap, graphs: answers known. */
#include "tests/runner/cases.cuh"

namespace {

/* Each thread copies 16 bytes a stage, two stages ahead, and sums its neighbour's. */
enum { STAGES = 3, THREADS = 64, STEPS = 10 };

__global__ void copies(const int *in, int *out, int last_bytes) {
    K_SHARED(ring, int[STAGES][THREADS][4]);
    const int t = threadIdx.x;
    int sum = 0;
    for (int s = 0; s < STAGES - 1; s++) {
        ptx::cp_async16(ring[s][t], in + 4 * (s * THREADS + t));
        ptx::cp_async_commit();
    }
    for (int s = 0; s < STEPS; s++) {
        ptx::cp_async_wait<STAGES - 2>();
        __syncthreads();
        const int next = s + STAGES - 1;
        if (next < STEPS) {
            ptx::cp_async16_zfill(ring[next % STAGES][t], in + 4 * (next * THREADS + t),
                                  next == STEPS - 1 ? last_bytes : 16);
        }
        ptx::cp_async_commit();
        for (int i = 0; i < 4; i++) sum += ring[s % STAGES][(t + 1) % THREADS][i];
    }
    out[t] = sum;
}

__device__ void team_barrier(uint32_t *arrived, uint32_t round) {
    __syncthreads();
    if (threadIdx.x == 0) {
        ptx::add_release(arrived, 1);
        while (ptx::ld_acquire(arrived) < round * gridDim.x) ptx::spin();
    }
    __syncthreads();
}

/* Every block adds up what all blocks wrote in the round before. */
__global__ void team(int *cell, uint32_t *arrived, int rounds) {
    const int me = blockIdx.x, n = gridDim.x, t = threadIdx.x;
    for (int r = 0; r < rounds; r++) {
        const int *from = cell + (r + 1) % 2 * n;
        int sum = 0;
        for (int b = 0; b < n; b++) sum += r == 0 ? 1 : from[b];
        if (t == 0) cell[r % 2 * n + me] = sum;
        team_barrier(arrived, static_cast<uint32_t>(r + 1));
    }
}

__global__ void add_one(int *x) {
    ptx::grid_wait();
    x[blockIdx.x * blockDim.x + threadIdx.x] += 1;
    ptx::grid_launch_dependents();
}

/* Reads before it waits: right if the kernel ahead has waited before it let this one begin. */
__global__ void read_early(const int *x, int *out) {
    const int early = x[(threadIdx.x + 1) % 32];
    ptx::grid_wait();
    out[threadIdx.x] = early;
}
__global__ void wait_and_let_go(int *y) {
    ptx::grid_wait();
    ptx::grid_launch_dependents();
    y[threadIdx.x] = 1;
}

__global__ void set(int *x, int value) { x[blockIdx.x * blockDim.x + threadIdx.x] = value; }

__global__ void count_down(int *left, int *done, uint64_t handle) {
    *left -= 1;
    *done += 1;
    if (*left <= 0) ptx::set_conditional(handle, 0);
}

} // namespace

long right_copies(void) {
    device_array<int> in(4 * THREADS * STEPS), out(THREADS);
    int host[4 * THREADS * STEPS];
    for (int i = 0; i < 4 * THREADS * STEPS; i++) host[i] = i;
    in.put(host);
    K_LAUNCH(copies, 1, THREADS, 0, nullptr)(in.p, out.p, 8);
    return differing(out, [](size_t i) {
        const size_t n = (i + 1) % THREADS;
        size_t sum = 0;
        for (size_t s = 0; s < STEPS; s++) {
            for (size_t k = 0; k < (s == STEPS - 1 ? 2 : 4); k++) sum += 4 * (s * THREADS + n) + k;
        }
        return sum;
    });
}

long right_team_barrier(void) {
    enum { BLOCKS = 5, ROUNDS = 4 };
    device_array<int> cell(2 * BLOCKS);
    device_array<uint32_t> arrived(1);
    cudaMemset(arrived.p, 0, 4);
    K_LAUNCH_TEAM(team, BLOCKS, 40, 0, nullptr)(cell.p, arrived.p, ROUNDS);
    return differing(cell, [](size_t i) { return i < BLOCKS ? 125 : 625; });
}

long right_dependent_launch(void) {
    device_array<int> x(64);
    K_LAUNCH(set, 2, 32, 0, nullptr)(x.p, 5);
    for (int i = 0; i < 3; i++) K_LAUNCH_PDL(add_one, 2, 32, 0, nullptr)(x.p);
    return differing(x, [](size_t) { return 8; });
}

long right_early_read(void) {
    device_array<int> x(32), y(32), out(32);
    K_LAUNCH(set, 1, 32, 0, nullptr)(x.p, 6);
    K_LAUNCH_PDL(wait_and_let_go, 1, 32, 0, nullptr)(y.p);
    K_LAUNCH_PDL(read_early, 1, 32, 0, nullptr)(x.p, out.p);
    return differing(out, [](size_t) { return 6; });
}

long right_graph(void) {
    device_array<int> x(64);
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    K_LAUNCH(set, 2, 32, 0, stream)(x.p, 1);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    K_LAUNCH_PDL(add_one, 2, 32, 0, stream)(x.p);
    K_LAUNCH_PDL(add_one, 2, 32, 0, stream)(x.p);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    long wrong = differing(x, [](size_t) { return 1; }); /* recorded only */
    for (int i = 0; i < 3; i++) cudaGraphLaunch(exec, stream);
    wrong += differing(x, [](size_t) { return 7; });
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(stream);
    return wrong + runner_live_objects();
}

long right_while(void) {
    device_array<int> left(1), done(1);
    cudaStream_t stream;
    cudaGraph_t graph, body;
    cudaGraphExec_t exec;
    cudaGraphConditionalHandle handle;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaGraphCreate(&graph, 0);
    cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault);
    cudaGraphNodeParams params = {};
    params.type = cudaGraphNodeTypeConditional;
    params.conditional.handle = handle;
    params.conditional.type = cudaGraphCondTypeWhile;
    params.conditional.size = 1;
    cudaGraphNode_t node;
    cudaGraphAddNode(&node, graph, nullptr, nullptr, 0, &params);
    body = params.conditional.phGraph_out[0];
    cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal);
    K_LAUNCH(count_down, 1, 1, 0, stream)(left.p, done.p, handle);
    cudaStreamEndCapture(stream, &body);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaMemset(done.p, 0, sizeof(int));
    cudaDeviceSynchronize();
    long wrong = 0;
    const int rounds[] = {5, 1, 3};
    int all = 0;
    for (int n : rounds) {
        left.put(&n);
        cudaGraphLaunch(exec, stream);
        all += n;
        wrong += differing(left, [](size_t) { return 0; }) + differing(done, [&](size_t) { return all; });
    }
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    return wrong + runner_live_objects() + (runner_api_count("graph kernel") == 9 ? 0 : 1);
}
