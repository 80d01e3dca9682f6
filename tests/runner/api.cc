/* The runtime but for streams and graphs: devices, errors, memory, launches. */
#include "tests/runner/api.h"

#include <cstdio>
#include <cstdlib>

#include "tests/runner/control.h"

namespace runner {

/* ---- calls ---- */

struct counted {
    char name[64];
    long n;
};
enum { NAMES = 128 };
static counted counts[NAMES];

/* Without the library's functions, which ThreadSanitizer watches: devices that wait for each other call in
 * each other's midst. */
static bool is_called(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

long count_call(const char *name) {
    for (counted &c : counts) {
        for (size_t i = 0; !c.n && i + 1 < sizeof c.name && (i == 0 || name[i - 1]); i++) c.name[i] = name[i];
        if (is_called(c.name, name)) return ++c.n;
    }
    give_up("more than %d functions counted", NAMES);
}

/* Host code is ordered by its calls, as it would be by the runtime's own lock. */
static char all_calls;

call::call(const char *name) {
    turn_take();
    order_acquire(&all_calls);
    count_call(name);
}
call::~call() {
    order_release(&all_calls);
    turn_give();
}

/* ---- errors ---- */

static cudaError_t last;
enum { DEVICES = 8 };
static bool dead[DEVICES], noticed[DEVICES]; /* a kernel failed; and a call has found out */
static long malloc_left, host_alloc_left, launch_left;
static int devices = 1, cc = 90, code, dynamic_most = 227 << 10;
static long objects;
static unsigned refused[RUNNER_AT_LAUNCH + 1];
static int hanging; /* as runner_hang says */

bool broken() {
    const int here = chosen_device();
    noticed[here] = noticed[here] || dead[here];
    return noticed[here];
}

cudaError_t answer(cudaError_t e) {
    if (e != cudaSuccess) last = e;
    return e;
}

bool no_driver() { return devices < 0; }
void object_born() { objects++; }
void object_gone() { objects--; }

bool refuses(runner_when when, unsigned asks) { return (refused[when] & asks) != 0; }

bool hangs(bool at_graph) {
    if (at_graph && hanging == 2) hanging = 1;
    return hanging == 1;
}

/* Counts down to a failure that was asked for. */
static bool fails_now(long *left) { return *left > 0 && (*left == 1 || --*left == 0); }

static cudaError_t device_there(int device) {
    if (devices < 0) return cudaErrorInsufficientDriver;
    if (devices == 0) return cudaErrorNoDevice;
    return device >= 0 && device < devices ? cudaSuccess : cudaErrorInvalidDevice;
}

static void start() {
    static bool started;
    if (started) return;
    started = true;
    const long n = env_number("WEIR_RUNNER_DEVICES", devices);
    devices = static_cast<int>(n > DEVICES ? static_cast<long>(DEVICES) : n);
}

static int sm_count() {
    static long n;
    if (!n) n = env_number("WEIR_RUNNER_SMS", 4);
    return static_cast<int>(n);
}

/* ---- launches ---- */

enum {
    DYNAMIC = 48 << 10,
    DYNAMIC_MOST = 227 << 10, /* to begin with */
    PER_SM = 228 << 10,
    RESERVED = 1 << 10,
    THREADS_PER_SM = 2048
};

struct allowed {
    const void *kernel;
    size_t dynamic;
};
enum { KERNELS = 1024 };
static allowed raised[KERNELS];

static size_t dynamic_allowed(const void *kernel) {
    for (const allowed &a : raised) {
        if (a.kernel == kernel) return a.dynamic;
    }
    return DYNAMIC;
}

/* Blocks of an SM at once. The runner keeps every thread of a cooperative launch on a stack of its own, hence
 * few. */
static int occupancy(int threads, size_t dynamic) {
    static long most;
    if (!most) most = env_number("WEIR_RUNNER_BLOCKS", 2);
    if (threads < 1 || threads > MAX_THREADS || dynamic > static_cast<size_t>(dynamic_most)) return 0;
    const size_t by_memory = PER_SM / (dynamic + RESERVED),
                 by_threads = THREADS_PER_SM / static_cast<size_t>(threads);
    const size_t n = by_memory < by_threads ? by_memory : by_threads;
    return static_cast<int>(n < static_cast<size_t>(most) ? n : static_cast<size_t>(most));
}

static cudaError_t check_shape(const kernel_work &k, const void *kernel) {
    const dim3 g = k.grid, b = k.threads;
    const uint64_t threads = static_cast<uint64_t>(b.x) * b.y * b.z,
                   blocks = static_cast<uint64_t>(g.x) * g.y * g.z;
    if (threads < 1 || threads > MAX_THREADS || b.z > 64) return cudaErrorInvalidConfiguration;
    if (blocks < 1 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) return cudaErrorInvalidConfiguration;
    if (k.dynamic > dynamic_allowed(kernel)) return cudaErrorInvalidValue;
    if (k.together && blocks > static_cast<uint64_t>(occupancy(static_cast<int>(threads), k.dynamic)) *
                                   static_cast<uint64_t>(sm_count())) {
        return cudaErrorCooperativeLaunchTooLarge;
    }
    return cudaSuccess;
}

void run_kernel(const kernel_work &k) {
    if (stream_is_dead() || hangs()) return;
    if (fails_now(&launch_left)) {
        launch_left = 0;
        dead[at_work.device] = true;
        return;
    }
    launch l = {k.name,    k.file,    k.line,     k.grid,      k.threads,
                k.dynamic, k.dynamic, k.together, k.dependent, &k.body};
    stream_submit();
    device_enter();
    run(l);
    device_leave();
}

bool stream_is_dead() { return dead[at_work.device]; }

} // namespace runner

using namespace runner;

cudaError_t runner_launch(const cudaLaunchConfig_t *config, const void *kernel, std::function<void()> body) {
    const launch_name name = take_launch_name();
    RUNNER_CALL(cudaLaunchKernelExC);
    std::shared_ptr<kernel_work> k(new kernel_work{name.kernel, name.file, name.line, config->gridDim,
                                                   config->blockDim, config->dynamicSmemBytes, false, false,
                                                   std::move(body)});
    bool cooperative = false;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const cudaLaunchAttribute &a = config->attrs[i];
        if (a.id == cudaLaunchAttributeCooperative) cooperative = a.val.cooperative != 0;
        if (a.id == cudaLaunchAttributeProgrammaticStreamSerialization) {
            if (cc < 90) return answer(cudaErrorNotSupported);
            k->dependent = a.val.programmaticStreamSerializationAllowed != 0;
        }
    }
    k->together = cooperative || name.team;
    unsigned asks = 0;
    if (cooperative) asks |= RUNNER_COOPERATIVE;
    if (k->dependent) asks |= RUNNER_EARLY;
    cudaError_t e = check_shape(*k, kernel);
    if (e == cudaErrorCooperativeLaunchTooLarge && !cooperative)
        give_up("%s: a team of more blocks than are resident", name.kernel);
    if (e == cudaSuccess && refuses(RUNNER_AT_ONCE, asks)) e = cudaErrorNotSupported;
    if (e != cudaSuccess) {
        put_back(name);
        return answer(e);
    }
    if (config->stream && device_of_stream(config->stream) != chosen_device())
        return answer(cudaErrorInvalidResourceHandle);
    if (k->dependent) count_call("programmatic launch");
    if (cooperative) count_call("cooperative launch");
    return answer(submit(config->stream, work_of(std::move(k)), name.kernel,
                         asks)); /* the holder ends it after the stream's work */
}

cudaError_t runner_func_set(const void *kernel, cudaFuncAttribute attr, int value) {
    RUNNER_CALL(cudaFuncSetAttribute);
    if (attr == cudaFuncAttributePreferredSharedMemoryCarveout) {
        count_call("carve-out");
        return cudaSuccess;
    }
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > dynamic_most) {
        return answer(cudaErrorInvalidValue);
    }
    for (allowed &a : raised) {
        if (a.kernel && a.kernel != kernel) continue;
        a = allowed{kernel, static_cast<size_t>(value)};
        return cudaSuccess;
    }
    give_up("more than %d kernels with attributes", KERNELS);
}

cudaError_t runner_func_get(cudaFuncAttributes *attr) {
    RUNNER_CALL(cudaFuncGetAttributes);
    *attr = cudaFuncAttributes{};
    attr->ptxVersion = code ? code : cc;
    attr->binaryVersion = cc;
    return cudaSuccess;
}

cudaError_t runner_occupancy(int *blocks, int threads, size_t dynamic) {
    RUNNER_CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor);
    *blocks = occupancy(threads, dynamic);
    return cudaSuccess;
}

/* ---- devices ---- */

cudaError_t cudaGetDeviceCount(int *count) {
    RUNNER_CALL(cudaGetDeviceCount);
    start();
    if (devices <= 0) return answer(device_there(0)); /* and leaves the count as it was */
    *count = devices;
    return cudaSuccess;
}

static thread_local int chosen;

int runner::chosen_device() { return chosen; }

cudaError_t cudaGetDevice(int *device) {
    RUNNER_CALL(cudaGetDevice);
    *device = chosen;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    RUNNER_CALL(cudaSetDevice);
    start();
    const cudaError_t e = device_there(device);
    if (e == cudaSuccess) chosen = device;
    return answer(e);
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int device) {
    RUNNER_CALL(cudaDeviceGetAttribute);
    start();
    const cudaError_t e = device_there(device);
    if (e != cudaSuccess) return answer(e);
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock: *value = MAX_THREADS; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = DYNAMIC; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrClockRate: *value = 1000000; break;
    case cudaDevAttrMultiProcessorCount: *value = sm_count(); break;
    case cudaDevAttrCanMapHostMemory: *value = 1; break;
    case cudaDevAttrMemoryClockRate: *value = 1000000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = 64; break;
    case cudaDevAttrL2CacheSize: *value = 1 << 20; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = THREADS_PER_SM; break;
    case cudaDevAttrUnifiedAddressing: *value = 1; break;
    case cudaDevAttrComputeCapabilityMajor: *value = cc / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = cc % 10; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = PER_SM; break;
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = dynamic_most; break;
    default: return answer(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device) {
    RUNNER_CALL(cudaGetDeviceProperties);
    start();
    const cudaError_t e = device_there(device);
    if (e != cudaSuccess) return answer(e);
    *prop = cudaDeviceProp{};
    snprintf(prop->name, sizeof prop->name, "CPU runner");
    prop->totalGlobalMem = memory_total();
    prop->sharedMemPerBlock = DYNAMIC;
    prop->sharedMemPerMultiprocessor = PER_SM;
    prop->sharedMemPerBlockOptin = static_cast<size_t>(dynamic_most);
    prop->warpSize = 32;
    prop->maxThreadsPerBlock = MAX_THREADS;
    prop->maxThreadsPerMultiProcessor = THREADS_PER_SM;
    prop->major = cc / 10;
    prop->minor = cc % 10;
    prop->multiProcessorCount = sm_count();
    prop->l2CacheSize = 1 << 20;
    prop->canMapHostMemory = prop->unifiedAddressing = prop->cooperativeLaunch = 1;
    prop->memoryBusWidth = 64;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    call in_call("cudaDriverGetVersion");
    start();
    *version = devices < 0 ? 0 : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    call in_call("cudaRuntimeGetVersion");
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_, size_t *total) {
    RUNNER_CALL(cudaMemGetInfo);
    *total = memory_total();
    *free_ = memory_total() - memory_used(chosen);
    return cudaSuccess;
}

/* ---- peers ---- */

static bool peers_allowed = true;

static cudaError_t peer_there(int device, int peer) {
    start();
    const cudaError_t e = device_there(device);
    return e != cudaSuccess ? e : device_there(peer);
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    RUNNER_CALL(cudaDeviceCanAccessPeer);
    const cudaError_t e = peer_there(device, peer);
    if (e != cudaSuccess) return answer(e);
    *can = peers_allowed && device != peer;
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
    RUNNER_CALL(cudaDeviceEnablePeerAccess);
    const cudaError_t e = peer_there(chosen, peer);
    if (e != cudaSuccess) return answer(e);
    if (peer == chosen || flags != 0) return answer(cudaErrorInvalidDevice);
    if (!peers_allowed) return answer(cudaErrorPeerAccessUnsupported);
    return answer(peer_enable(chosen, peer) ? cudaSuccess : cudaErrorPeerAccessAlreadyEnabled);
}

/* ---- memory of other processes ---- */

cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *handle, void *p) {
    RUNNER_CALL(cudaIpcGetMemHandle);
    return answer(ipc_handle(handle, p) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaIpcOpenMemHandle(void **p, cudaIpcMemHandle_t handle, unsigned flags) {
    RUNNER_CALL(cudaIpcOpenMemHandle);
    if (any_capture()) return answer(refuse_capture("cudaIpcOpenMemHandle"));
    if (flags != cudaIpcMemLazyEnablePeerAccess) return answer(cudaErrorInvalidValue);
    *p = ipc_open(chosen, &handle);
    return answer(*p ? cudaSuccess : cudaErrorMapBufferObjectFailed);
}

cudaError_t cudaIpcCloseMemHandle(void *p) {
    call in_call("cudaIpcCloseMemHandle");
    host_waits_all();
    return answer(ipc_close(p) ? cudaSuccess : cudaErrorInvalidValue);
}

/* ---- errors ---- */

static cudaError_t last_error(bool clear) {
    const cudaError_t e = noticed[chosen_device()] ? cudaErrorIllegalAddress : last;
    if (clear) last = cudaSuccess;
    return e;
}

cudaError_t cudaGetLastError() {
    call in_call("cudaGetLastError");
    return last_error(true);
}

cudaError_t cudaPeekAtLastError() {
    call in_call("cudaPeekAtLastError");
    return last_error(false);
}

const char *cudaGetErrorString(cudaError_t e) {
    switch (e) {
#define TEXT(name, value, text) \
    case name: return text;
        RUNNER_ERRORS(TEXT)
#undef TEXT
    }
    return "unrecognized error code";
}

const char *cudaGetErrorName(cudaError_t e) {
    switch (e) {
#define NAME(name, value, text) \
    case name: return #name;
        RUNNER_ERRORS(NAME)
#undef NAME
    }
    return "unrecognized error code";
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **p, size_t bytes) {
    RUNNER_CALL(cudaMalloc);
    if (any_capture()) return answer(refuse_capture("cudaMalloc"));
    if (fails_now(&malloc_left)) return answer(cudaErrorMemoryAllocation);
    if (bytes == 0) {
        *p = nullptr;
        return cudaSuccess;
    }
    void *got = device_new(chosen, bytes);
    if (!got) return answer(cudaErrorMemoryAllocation);
    *p = got;
    return cudaSuccess;
}

/* Works on a broken device, too: tests count what is left. */
cudaError_t cudaFree(void *p) {
    call in_call("cudaFree");
    if (hangs()) give_up("cudaFree waits for a device that hangs");
    if (!p) return answer(broken() ? cudaErrorIllegalAddress : cudaSuccess);
    if (any_capture()) return answer(refuse_capture("cudaFree"));
    host_waits_all();
    if (!device_delete(p)) return answer(cudaErrorInvalidValue);
    return answer(broken() ? cudaErrorIllegalAddress : cudaSuccess);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
    RUNNER_CALL(cudaHostAlloc);
    if (any_capture()) return answer(refuse_capture("cudaHostAlloc"));
    if (fails_now(&host_alloc_left)) return answer(cudaErrorMemoryAllocation);
    void *got = pinned_new(bytes);
    if (!got) return answer(cudaErrorMemoryAllocation);
    object_born();
    *p = got;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void *p) {
    call in_call("cudaFreeHost");
    if (hangs()) give_up("cudaFreeHost waits for a device that hangs");
    if (!p) return cudaSuccess;
    if (any_capture()) return answer(refuse_capture("cudaFreeHost"));
    host_waits_all();
    if (!pinned_delete(p)) return answer(cudaErrorInvalidValue);
    object_gone();
    return answer(broken() ? cudaErrorIllegalAddress : cudaSuccess);
}

cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned) {
    RUNNER_CALL(cudaHostGetDevicePointer);
    if (!pinned_has(host, 0)) return answer(cudaErrorInvalidValue);
    *device = host;
    return cudaSuccess;
}

/* ---- control ---- */

long runner_api_count(const char *name) {
    for (const counted &c : counts) {
        if (is_called(c.name, name)) return c.n;
    }
    return 0;
}
void runner_api_reset(void) {
    for (counted &c : counts) c.n = 0, c.name[0] = '\0';
}
size_t runner_memory_used(int device) { return memory_used(device); }
long runner_live_blocks(void) { return device_blocks(); }
long runner_live_objects(void) { return objects; }
void runner_fail_malloc(long n) { malloc_left = n; }
void runner_fail_host_alloc(long n) { host_alloc_left = n; }
void runner_fail_launch(long n) { launch_left = n; }
void runner_refuse(runner_when when, unsigned asks) {
    for (unsigned &r : refused) r = when == RUNNER_NEVER ? 0 : r;
    refused[when] |= asks;
}
void runner_hang(int when) { hanging = when; }
void runner_code(int ptx_version) { code = ptx_version; }
void runner_mend(void) {
    for (int i = 0; i < DEVICES; i++) dead[i] = noticed[i] = false;
}
void runner_peers(int allowed) { peers_allowed = allowed != 0; }
void runner_compute_capability(int value) { cc = value; }
void runner_shared_memory(int bytes) { dynamic_most = bytes > 0 ? bytes : DYNAMIC_MOST; }
void runner_devices(int n) {
    start();
    devices = n;
    chosen = 0;
}
