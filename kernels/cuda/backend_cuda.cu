/* The CUDA backend: finding a device, opening it, the table of ops, and the first failure. */
#include "kernels/cuda/stream.cuh"

#include "kernels/accept/cuda.h"
#include "kernels/attention/cuda.h"
#include "kernels/comm/peers.cuh"
#include "kernels/linear/cuda.h"
#include "kernels/loop/cuda.h"
#include "kernels/moe/cuda.h"
#include "kernels/rows/cuda.h"

enum { OLDEST_CC = 80, OPEN_SCRATCH = 1 << 20 /* floats; larger models reserve more */ };

/* ---- failures ------------------------------------------------------------------------------------------ */

/* Keeps the first failure; later ones are its consequences. */
static weir_status broke(weir_cuda *cu, cudaError_t e, const char *what) {
    cudaGetLastError(); /* or a later, unrelated call would report it */
    if (cu->ways.recording && k_refused(e) && !cu->broken) {
        cu->refuses = true;
        return weir_fail(&cu->refusal, WEIR_ENOTSUP, "%s: %s", what, cudaGetErrorString(e));
    }
    if (!cu->broken) {
        cu->broken = true;
        weir_fail(&cu->base.err, WEIR_ECUDA, "%s: %s: %s", cu->name, what, cudaGetErrorString(e));
    }
    return e == cudaErrorMemoryAllocation ? WEIR_EDEVMEM : WEIR_ECUDA;
}

weir_status weir__cuda_check(weir_backend *be, cudaError_t e, const char *fmt, ...) {
    if (e == cudaSuccess) return WEIR_OK;
    char what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return broke(weir__cuda_of(be), e, what);
}

weir_status weir__cuda_launched(weir_backend *be, const char *op, const char *fmt, ...) {
    const cudaError_t e = cudaPeekAtLastError();
    weir_cuda *cu = weir__cuda_of(be);
    if (!cu->ways.recording && cu->ways.on != cu->told) { /* the launch gave one up */
        cu->refused |= cu->told & ~cu->ways.on;
        weir__cuda_ways_tell(cu);
    }
    if (e == cudaSuccess) return WEIR_OK;
    char shapes[192], what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(shapes, sizeof shapes, fmt, args);
    va_end(args);
    snprintf(what, sizeof what, "%s (%s), or what was queued before it", op, shapes);
    return broke(cu, e, what);
}

weir_status weir__cuda_enter(weir_cuda *cu, const char *what) {
    if (cu->broken) return WEIR_ECUDA;
    k_ways_here = &cu->ways;
    cu->ahead = cu->left;
    cu->left = {};
    return weir__cuda_check(&cu->base, cudaSetDevice(cu->device), "before %s", what);
}

weir_status weir__cuda_enter_now(weir_cuda *cu, const char *what) {
    WEIR_TRY(weir__cuda_enter(cu, what));
    return cu->ways.recording ? WEIR_EINVAL : WEIR_OK;
}

/* ---- ops: all of them, or this file does not compile --------------------------------------------------- */

#define GUARD(name, args)                                      \
    static weir_status run_##name(weir_backend *be, args *a) { \
        WEIR_TRY(weir__cuda_enter(weir__cuda_of(be), #name));  \
        return weir__##name##_cuda(be, a);                     \
    }
WEIR_OP_MAP(GUARD)
#undef GUARD

static void fill_ops(weir_backend_ops *op) {
#define ENTRY(name, args) op->name = run_##name;
    WEIR_OP_MAP(ENTRY)
#undef ENTRY
}

/* ---- devices ------------------------------------------------------------------------------------------- */

/* How many devices the driver shows. Without a driver the runtime leaves the count unchanged. */
static int devices_seen(weir_err *why) {
    int n = 0;
    const cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess && n > 0) return n;
    cudaGetLastError();
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    if (driver == 0) {
        weir_fail(why, WEIR_ENOTSUP, "no NVIDIA driver on this machine");
    } else if (e == cudaErrorInsufficientDriver) {
        weir_fail(why, WEIR_ENOTSUP, "the NVIDIA driver is for CUDA %d.%d, this build needs %d.%d",
                  driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    } else if (e == cudaSuccess || e == cudaErrorNoDevice) {
        weir_fail(why, WEIR_ENOTSUP, "no CUDA device on this machine (or none is visible)");
    } else {
        weir_fail(why, WEIR_ENOTSUP, "the CUDA driver does not start: %s", cudaGetErrorString(e));
    }
    return 0;
}

/* The properties of a device that can be opened; else the reason why it cannot. */
static weir_status usable(int index, cudaDeviceProp *prop, weir_err *why) {
    const cudaError_t e = cudaGetDeviceProperties(prop, index);
    if (e != cudaSuccess) {
        cudaGetLastError();
        return weir_fail(why, WEIR_ECUDA, "its properties cannot be read: %s", cudaGetErrorString(e));
    }
    if (10 * prop->major + prop->minor < OLDEST_CC) {
        return weir_fail(why, WEIR_ENOTSUP, "%s is sm_%d%d; sm_%d or newer is needed", prop->name,
                         prop->major, prop->minor, OLDEST_CC);
    }
    return WEIR_OK;
}

int weir__backend_cuda_count(weir_err *why) {
    const int seen = devices_seen(why);
    int n = 0;
    weir_err first = {};
    for (int i = 0; i < seen; i++) {
        cudaDeviceProp prop = {};
        weir_err reason = {};
        if (usable(i, &prop, &reason) == WEIR_OK) {
            n++;
        } else if (!first.text[0]) {
            first = reason;
        }
    }
    if (seen > 0 && n == 0) weir_fail(why, WEIR_ENOTSUP, "%s", first.text);
    return n;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

/* Frees whatever was opened, also with a broken stream: failures here are consequences. */
static void cuda_close(weir_backend *be) {
    weir_cuda *cu = weir__cuda_of(be);
    cudaSetDevice(cu->device);
    if (k_ways_here == &cu->ways) k_ways_here = nullptr;
    if (cu->stream) (void)weir__cuda_drain(cu, "closing");
    if (cu->stuck) return; /* whatever frees memory would wait for the kernel: the process is to end */
    weir__cuda_leave(&cu->base);
    weir__cuda_nccl_leave(&cu->base);
    weir__cublaslt_close(cu);
    weir__cuda_stamps_close(cu);
    weir__cuda_stage_close(cu);
    if (cu->counters) cudaFree(cu->counters);
    if (be->scratch) cudaFree(be->scratch);
    if (cu->stream) cudaStreamDestroy(cu->stream);
    cudaGetLastError();
    weir_free(cu);
}

static const weir_backend_stream cuda_stream = {
    weir__cuda_alloc,   weir__cuda_free,     weir__cuda_alloc_mapped, weir__cuda_free_mapped,
    weir__cuda_upload,  weir__cuda_download, weir__cuda_copy,         weir__cuda_zero,
    weir__cuda_wait,    weir__cuda_poll,     weir__cuda_reserve,      cuda_close,
    weir__cuda_capture, weir__cuda_branch,   weir__cuda_launch,       weir__cuda_graph_free,
    weir__cuda_stamp,   weir__cuda_elapsed,  weir__cuda_abandon,      weir__cuda_without_graphs,
};

/* Stream, memory and library of a chosen device. A failure is described in base.err, or by its status
 * alone. */
static weir_status open_stream(weir_cuda *cu, weir_err *no_lt) {
    weir_backend *be = &cu->base;
    WEIR_TRY(weir__cuda_enter(cu, "opening"));
    WEIR_CUDA_TRY(be, cudaStreamCreateWithFlags(&cu->stream, cudaStreamNonBlocking), "making a stream");
    WEIR_TRY(weir__cuda_stage_open(cu));
    const size_t bytes = WEIR_COUNT_ALL * sizeof *cu->counters;
    cu->counters = static_cast<uint32_t *>(weir__cuda_alloc(be, bytes));
    if (!cu->counters) return cu->broken ? WEIR_ECUDA : WEIR_EDEVMEM;
    cu->n_counter = WEIR_COUNT_ALL;
    WEIR_TRY(weir__cuda_zero(be, cu->counters, bytes));
    WEIR_TRY(weir__cuda_reserve(be, OPEN_SCRATCH));
    const weir_status s = weir__cublaslt_open(cu, no_lt);
    if (s != WEIR_OK && s != WEIR_ENOTSUP) return s;
    WEIR_TRY(weir__cuda_wait(be));
    WEIR_TRY(weir__cuda_ways_try(cu));
    size_t total = 0; /* read after the backend's own allocations: what a plan can use */
    return weir__cuda_check(be, cudaMemGetInfo(&be->memory_free, &total), "asking for free memory");
}

static void describe(weir_cuda *cu, const cudaDeviceProp *prop, const weir_err *no_lt) {
    const double gib = static_cast<double>(prop->totalGlobalMem) / (1024.0 * 1024.0 * 1024.0);
    snprintf(cu->device_about, sizeof cu->device_about, "%s, sm_%d, %.1f GiB", prop->name, cu->cc, gib);
    if (!cu->lt)
        snprintf(cu->lt_about, sizeof cu->lt_about, "; %.100s: prompts take weir's own products",
                 no_lt->text);
    weir__cuda_ways_tell(cu);
}

static weir_cuda *new_backend(int index, const cudaDeviceProp *prop) {
    weir_cuda *cu = static_cast<weir_cuda *>(weir_calloc(1, sizeof *cu));
    if (!cu) return NULL;
    snprintf(cu->name, sizeof cu->name, "cuda:%d", index);
    cu->device = index;
    cu->cc = 10 * prop->major + prop->minor;
    cu->sm_count = prop->multiProcessorCount;
    cu->smem_optin = prop->sharedMemPerBlockOptin;
    cu->base.name = cu->name;
    cu->base.about = cu->about[0];
    cu->base.stream = &cuda_stream;
    cu->base.exchange = &weir__exchange_cuda;
    cu->base.device = cu->base.minmaxes = true;
    cu->base.chunk = 256;
    fill_ops(&cu->base.op);
    return cu;
}

weir_status weir__backend_cuda_open(weir_backend **out, int index, weir_err *err) {
    if (!out) return weir_fail(err, WEIR_EINVAL, "device cuda:%d: no place for the result", index);
    weir_err why = {};
    const int seen = devices_seen(&why);
    if (seen == 0) return weir_fail(err, WEIR_ENOTSUP, "device cuda:%d: %s", index, why.text);
    if (index < 0 || index >= seen) {
        return weir_fail(err, WEIR_EINVAL, "device cuda:%d: this machine has %d, counted from 0", index,
                         seen);
    }
    cudaDeviceProp prop = {};
    const weir_status fit = usable(index, &prop, &why);
    if (fit != WEIR_OK) return weir_fail(err, fit, "device cuda:%d: %s", index, why.text);

    weir_cuda *cu = new_backend(index, &prop);
    if (!cu) return weir_fail(err, WEIR_ENOMEM, "device cuda:%d: out of host memory", index);
    weir_status s = weir__cuda_ways_read(cu, &cu->base.err);
    if (s == WEIR_OK) s = open_stream(cu, &why);
    if (s != WEIR_OK) {
        const char *text = cu->base.err.text[0] ? cu->base.err.text : weir_status_str(s);
        weir_fail(err, s, "device cuda:%d cannot be opened: %s", index, text);
        cuda_close(&cu->base);
        return s;
    }
    describe(cu, &prop, &why);
    *out = &cu->base;
    return WEIR_OK;
}
