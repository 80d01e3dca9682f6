/* Two devices, each with a host thread: what they may rely on, and what has to be found. */
#include <pthread.h>

#include "tests/runner/cases.cuh"

namespace {

enum { ROUNDS = 20, N = 64 };

enum flaw { NONE, DEVICE_SCOPE, RELAXED, ONE_SET };

/* Rounds in which each device stores its numbers into the other's memory, raises a flag there, and adds up
 * what has come. */
__global__ void exchange(int *own, int *other, uint64_t *flag, uint64_t *flag_there, int mine, int *wrong,
                         flaw how) {
    for (int round = 1; round <= ROUNDS; round++) {
        const int set = how == ONE_SET ? 0 : round % 2 * N, t = static_cast<int>(threadIdx.x);
        other[set + t] = 1000 * round + 100 * mine + t;
        __syncthreads();
        if (t == 0) {
            const uint64_t number = static_cast<uint64_t>(round);
            if (how == RELAXED) {
                __atomic_store_n(flag_there, number, __ATOMIC_RELAXED);
                runner::progress();
            } else {
                ptx::st_release_sys(flag_there, number);
            }
            if (how == DEVICE_SCOPE) (void)ptx::ld_acquire(reinterpret_cast<uint32_t *>(flag));
            while (ptx::ld_acquire_sys(flag) < number) ptx::spin();
        }
        __syncthreads();
        if (own[set + t] != 1000 * round + 100 * (1 - mine) + t) atomicAdd(wrong, 1);
    }
}

struct seat {
    int me;
    bool peers;
    flaw how;
    int *data[2], *wrong;
    uint64_t *flag[2];
    cudaStream_t stream;
    long differing;
};

void *run_seat(void *arg) {
    seat *s = static_cast<seat *>(arg);
    cudaSetDevice(s->me);
    if (s->peers) cudaDeviceEnablePeerAccess(1 - s->me, 0);
    K_LAUNCH(exchange, 1, N, 0, s->stream)
    (s->data[s->me], s->data[1 - s->me], s->flag[s->me], s->flag[1 - s->me], s->me, s->wrong, s->how);
    cudaStreamSynchronize(s->stream);
    int wrong = -1;
    cudaMemcpy(&wrong, s->wrong, sizeof wrong, cudaMemcpyDeviceToHost);
    s->differing = wrong;
    return nullptr;
}

/* Numbers that differ on both devices. */
long run_pair(flaw how, bool peers) {
    seat s[2] = {};
    pthread_t thread[2];
    runner_devices(2);
    for (int r = 0; r < 2; r++) {
        s[r].me = r, s[r].peers = peers, s[r].how = how;
        cudaSetDevice(r);
        cudaMalloc(&s[r].data[r], 2 * N * sizeof(int));
        cudaMalloc(&s[r].flag[r], sizeof(uint64_t));
        cudaMalloc(&s[r].wrong, sizeof(int));
        cudaMemset(s[r].flag[r], 0, sizeof(uint64_t));
        cudaMemset(s[r].wrong, 0, sizeof(int));
        cudaDeviceSynchronize();
        cudaStreamCreateWithFlags(&s[r].stream, cudaStreamNonBlocking);
    }
    s[0].data[1] = s[1].data[1], s[1].data[0] = s[0].data[0];
    s[0].flag[1] = s[1].flag[1], s[1].flag[0] = s[0].flag[0];
    for (int r = 0; r < 2; r++) pthread_create(&thread[r], nullptr, run_seat, &s[r]);
    for (int r = 0; r < 2; r++) pthread_join(thread[r], nullptr);
    for (int r = 0; r < 2; r++) {
        cudaStreamDestroy(s[r].stream);
        cudaFree(s[r].data[r]), cudaFree(s[r].flag[r]), cudaFree(s[r].wrong);
    }
    return s[0].differing + s[1].differing;
}

} // namespace

long right_peers(void) {
    int can = 0;
    runner_devices(2);
    const long refused = cudaDeviceCanAccessPeer(&can, 0, 1) != cudaSuccess || !can ||
                         cudaDeviceEnablePeerAccess(0, 0) != cudaErrorInvalidDevice;
    return refused + run_pair(NONE, true);
}

void wrong_foreign_memory(void) { run_pair(NONE, false); }
void wrong_flag_of_one_device(void) { run_pair(DEVICE_SCOPE, true); }
void race_peers_without_release(void) { run_pair(RELAXED, true); }
long sees_peers_that_overwrite(void) { return run_pair(ONE_SET, true); }

/* Both are here, and neither raises the flag that the other waits for. */
void wrong_devices_that_wait_for_each_other(void) {
    seat s[2] = {};
    pthread_t thread[2];
    runner_devices(2);
    for (int r = 0; r < 2; r++) {
        s[r].me = r, s[r].peers = true;
        cudaSetDevice(r);
        for (int i = 0; i < 2; i++) {
            cudaMalloc(&s[r].data[i], 2 * N * sizeof(int));
            cudaMalloc(&s[r].flag[i], sizeof(uint64_t));
            cudaMemset(s[r].flag[i], 0, sizeof(uint64_t));
        }
        cudaMalloc(&s[r].wrong, sizeof(int));
        cudaDeviceSynchronize();
        cudaStreamCreateWithFlags(&s[r].stream, cudaStreamNonBlocking);
    }
    for (int r = 0; r < 2; r++) pthread_create(&thread[r], nullptr, run_seat, &s[r]);
    for (int r = 0; r < 2; r++) pthread_join(thread[r], nullptr);
}
