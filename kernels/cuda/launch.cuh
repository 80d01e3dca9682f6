#ifndef WEIR_KERNELS_CUDA_LAUNCH_CUH
#define WEIR_KERNELS_CUDA_LAUNCH_CUH

/* Launches of kernels, and the ways that they may take. Included by util.cuh. */

enum k_launch_how { K_PLAIN, K_PDL, K_TEAM, K_TEAM_AFTER };

/* What a device, its driver or a user may refuse. Without a way there is always another one that gives the
 * same bits; docs/gpu.md. They are given up in this order. */
enum {
    K_BRANCH = 1,      /* conditional IF nodes in graphs */
    K_EARLY = 2,       /* programmatic launches: a kernel begins before the one ahead has ended */
    K_COOPERATIVE = 4, /* cooperative launches of teams */
    K_WHILE = 8,       /* conditional WHILE nodes */
    K_GRAPH = 16,      /* graphs at all */
    K_ALL_WAYS = 31
};

struct k_ways {
    uint32_t on;    /* that may be taken */
    uint32_t taken; /* that were, since whoever asks cleared it */
    bool recording; /* whoever records handles a refused launch */
    bool carveout;  /* kernels ask for the most shared memory that an SM can have */
};

/* Those of the backend that this thread has entered last; NULL: all, and nobody notes what was taken. */
inline thread_local k_ways *k_ways_here = nullptr;

/* Whether CUDA has refused a call without harm: it may be made in another way. A team that is too large
 * is not one of them: launched plainly, its blocks would wait for ever. */
inline bool k_refused(cudaError_t e) {
    switch (e) {
    case cudaErrorInvalidValue:
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidConfiguration:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorNotPermitted:
    case cudaErrorNotSupported:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit: return true;
    default: return false;
    }
}

enum { K_DEVICES = 64 }; /* whose answers about a kernel are kept */

/* The device that is current here, below K_DEVICES; -1: another one. */
inline int k_device() {
    int device = -1;
    if (cudaGetDevice(&device) != cudaSuccess || device >= K_DEVICES) return -1;
    return device;
}

/* What kernel K's code on the current device was compiled for, as 10 major + minor: of PTX that the driver
 * has translated the PTX's, which is what its #if have seen (NVIDIA/cccl issue 9134). 0: not known. The first
 * time it also asks for the kernel's share of shared memory. */
template <auto K> int k_code(bool carveout) {
    static std::atomic<int> known[K_DEVICES];
    const int device = k_device();
    int code = device < 0 ? 0 : known[device].load(std::memory_order_relaxed);
    if (code != 0) return code;
    cudaFuncAttributes a = {};
    if (cudaFuncGetAttributes(&a, K) != cudaSuccess ||
        (carveout && cudaFuncSetAttribute(K, cudaFuncAttributePreferredSharedMemoryCarveout,
                                          cudaSharedmemCarveoutMaxShared) != cudaSuccess))
        cudaGetLastError(); /* or it would be found after the launch */
    code = a.ptxVersion;
    if (device >= 0) known[device].store(code, std::memory_order_relaxed);
    return code;
}

/* Blocks of K that an SM of the current device holds at once, without dynamic shared memory. */
template <auto K> cudaError_t k_resident(int threads, int *blocks) {
    static std::atomic<int> known[K_DEVICES];
    const int device = k_device();
    *blocks = device < 0 ? 0 : known[device].load(std::memory_order_relaxed);
    if (*blocks > 0) return cudaSuccess;
    const cudaError_t e = cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, K, threads, 0);
    if (e == cudaSuccess && device >= 0) known[device].store(*blocks, std::memory_order_relaxed);
    return e;
}

inline bool k_is_team(k_launch_how how) { return how == K_TEAM || how == K_TEAM_AFTER; }

/* The way that a launch takes out of those that are on; 0: a plain one. */
inline uint32_t k_way_of(k_launch_how how, uint32_t on, int code) {
    if (k_is_team(how) && (on & K_COOPERATIVE)) return K_COOPERATIVE;
    if (how == K_PLAIN || how == K_TEAM_AFTER || code < 90) return 0;
    return on & K_EARLY;
}

template <auto K> struct k_launch;
template <class... P, void (*K)(P...)> struct k_launch<K> {
    k_launch_how how;
    dim3 grid, block;
    size_t smem;
    cudaStream_t stream;

    cudaError_t start(uint32_t way, P... args) const {
        cudaLaunchConfig_t config = {};
        cudaLaunchAttribute attr = {};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = smem;
        config.stream = stream;
        if (way == K_COOPERATIVE) {
            attr.id = cudaLaunchAttributeCooperative;
            attr.val.cooperative = 1;
        } else if (way == K_EARLY) {
            attr.id = cudaLaunchAttributeProgrammaticStreamSerialization;
            attr.val.programmaticStreamSerializationAllowed = 1;
        }
        config.attrs = &attr;
        config.numAttrs = way == 0 ? 0 : 1;
        return cudaLaunchKernelEx(&config, K, static_cast<P>(args)...);
    }

    /* A failure stays in cudaPeekAtLastError, where weir__cuda_launched finds it; a way that is refused is
     * given up first. */
    void operator()(P... args) const {
        k_ways all = {K_ALL_WAYS, 0, false, false};
        k_ways *w = k_ways_here ? k_ways_here : &all;
        const int code = k_code<K>(w->carveout);
        for (;;) {
            const uint32_t way = k_way_of(how, w->on, code);
            w->taken |= way;
            const cudaError_t e = start(way, args...);
            if (way == 0 || !k_refused(e) || w->recording) return;
            cudaGetLastError();
            w->on &= ~way;
        }
    }
};

template <auto K>
k_launch<K> k_bind(k_launch_how how, dim3 grid, dim3 block, size_t smem, cudaStream_t stream) {
    return {how, grid, block, smem, stream};
}

/* K_LAUNCH(kernel, grid, block, smem, stream)(args...). A kernel with a comma in its template arguments
 * stands in parentheses.
 * _PDL: programmatic dependent launch if the kernel's code can wait for it (sm_90): the kernel may start
 *       before those queued ahead of it have ended, and must call ptx::grid_wait() before it reads what they
 *       wrote and before it writes anything.
 * _TEAM: all blocks are resident at once, so they may wait for each other: cooperative, or else as _PDL; then
 *       the caller has seen to it that the grid fits (k_resident), and nothing else may be on the device. The
 *       kernel calls ptx::grid_wait() too.
 * _TEAM_AFTER: the same, but never before those ahead have ended. */
#define K_LAUNCH(kernel, ...) K_LAUNCH_HOW(K_PLAIN, kernel, __VA_ARGS__)
#define K_LAUNCH_PDL(kernel, ...) K_LAUNCH_HOW(K_PDL, kernel, __VA_ARGS__)
#define K_LAUNCH_TEAM(kernel, ...) K_LAUNCH_HOW(K_TEAM, kernel, __VA_ARGS__)
#define K_LAUNCH_TEAM_AFTER(kernel, ...) K_LAUNCH_HOW(K_TEAM_AFTER, kernel, __VA_ARGS__)
#ifdef __CUDACC__
#define K_LAUNCH_HOW(how, kernel, ...) k_bind<kernel>(how, __VA_ARGS__)
#else
#define K_LAUNCH_HOW(how, kernel, ...) \
    (runner::name_launch(#kernel, __FILE__, __LINE__, k_is_team(how)), k_bind<kernel>(how, __VA_ARGS__))
#endif

#endif /* WEIR_KERNELS_CUDA_LAUNCH_CUH */
