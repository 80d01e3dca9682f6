/* Memory of the CUDA backend, copies to and from it, and the state of the stream. */
#include "kernels/comm/peers.cuh"
#include "kernels/cuda/stream.cuh"

#include <time.h>

/* ---- memory -------------------------------------------------------------------------------------------- */

/* A lack of memory is for the caller to handle and breaks nothing; any other failure breaks the stream. */
static bool got_memory(weir_cuda *cu, cudaError_t e, const char *what, size_t bytes) {
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* or the next launch would find it */
        return false;
    }
    return weir__cuda_check(&cu->base, e, "%s of %zu bytes", what, bytes) == WEIR_OK;
}

void *weir__cuda_alloc(weir_backend *be, size_t bytes) {
    weir_cuda *cu = weir__cuda_of(be);
    if (weir__cuda_enter_now(cu, "alloc") != WEIR_OK) return NULL;
    void *p = NULL;
    return got_memory(cu, cudaMalloc(&p, bytes ? bytes : 1), "allocation", bytes) ? p : NULL;
}

void weir__cuda_free(weir_backend *be, void *p) {
    weir_cuda *cu = weir__cuda_of(be);
    if (!p || cu->stuck) return; /* it would wait for ever */
    cudaSetDevice(cu->device);
    const cudaError_t e = cudaFree(p); /* also with a broken stream; its own failure is then no news */
    weir__cuda_check(be, e, "free");
}

void *weir__cuda_alloc_mapped(weir_backend *be, size_t bytes, void **device) {
    weir_cuda *cu = weir__cuda_of(be);
    if (weir__cuda_enter_now(cu, "alloc mapped") != WEIR_OK) return NULL;
    void *host = NULL, *seen = NULL;
    const size_t room = bytes ? bytes : 1;
    const cudaError_t e = cudaHostAlloc(&host, room, cudaHostAllocMapped | cudaHostAllocPortable);
    if (!got_memory(cu, e, "mapped allocation", bytes)) return NULL;
    if (weir__cuda_check(be, cudaHostGetDevicePointer(&seen, host, 0), "mapped allocation's address") !=
        WEIR_OK) {
        cudaFreeHost(host);
        return NULL;
    }
    memset(host, 0, room);
    *device = seen;
    return host;
}

void weir__cuda_free_mapped(weir_backend *be, void *host) {
    if (!host || weir__cuda_of(be)->stuck) return;
    cudaSetDevice(weir__cuda_of(be)->device);
    const cudaError_t e = cudaFreeHost(host);
    weir__cuda_check(be, e, "free of mapped memory");
}

/* The old scratch may still be in use by queued ops: cudaFree waits for them. A graph would keep its
 * address. */
weir_status weir__cuda_reserve(weir_backend *be, size_t floats) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter_now(cu, "reserve"));
    if (floats <= be->scratch_floats) return WEIR_OK;
    if (cu->n_graph > 0) return WEIR_EINVAL;
    if (floats > SIZE_MAX / sizeof(float)) return WEIR_EDEVMEM;
    float *p = static_cast<float *>(weir__cuda_alloc(be, floats * sizeof(float)));
    if (!p) return cu->broken ? WEIR_ECUDA : WEIR_EDEVMEM;
    weir__cuda_free(be, be->scratch);
    be->scratch = p;
    be->scratch_floats = floats;
    return WEIR_OK;
}

/* ---- uploads ------------------------------------------------------------------------------------------- */

weir_status weir__cuda_stage_open(weir_cuda *cu) {
    weir_cuda_stage *s = &cu->stage;
    void *p = NULL;
    const size_t bytes = (size_t)WEIR_STAGE_PARTS * WEIR_STAGE_BYTES;
    const cudaError_t e = cudaHostAlloc(&p, bytes, cudaHostAllocDefault);
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return WEIR_ENOMEM;
    }
    WEIR_CUDA_TRY(&cu->base, e, "staging memory of %zu bytes", bytes);
    s->memory = static_cast<char *>(p);
    for (int i = 0; i < WEIR_STAGE_PARTS; i++) {
        WEIR_CUDA_TRY(&cu->base, cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming),
                      "staging event");
    }
    return WEIR_OK;
}

void weir__cuda_stage_close(weir_cuda *cu) {
    weir_cuda_stage *s = &cu->stage;
    for (int i = 0; i < WEIR_STAGE_PARTS; i++) {
        if (s->done[i]) cudaEventDestroy(s->done[i]);
    }
    if (s->memory) cudaFreeHost(s->memory);
    *s = weir_cuda_stage{};
}

/* Advances to the next part once the copies out of it are done. Waiting for an event that was never recorded
 * returns at once. */
static weir_status next_part(weir_cuda *cu) {
    weir_cuda_stage *s = &cu->stage;
    WEIR_CUDA_TRY(&cu->base, cudaEventRecord(s->done[s->part], cu->stream), "upload");
    s->part = (s->part + 1) % WEIR_STAGE_PARTS;
    s->used = 0;
    WEIR_CUDA_TRY(&cu->base, cudaEventSynchronize(s->done[s->part]), "upload");
    return WEIR_OK;
}

weir_status weir__cuda_upload(weir_backend *be, void *dst, const void *src, size_t bytes) {
    weir_cuda *cu = weir__cuda_of(be);
    weir_cuda_stage *s = &cu->stage;
    WEIR_TRY(weir__cuda_enter_now(cu, "upload"));
    char *to = static_cast<char *>(dst);
    const char *from = static_cast<const char *>(src);
    while (bytes > 0) {
        if (s->used == WEIR_STAGE_BYTES) WEIR_TRY(next_part(cu));
        const size_t room = WEIR_STAGE_BYTES - s->used, n = bytes < room ? bytes : room;
        char *staged = s->memory + (size_t)s->part * WEIR_STAGE_BYTES + s->used;
        memcpy(staged, from, n);
        s->used += n;
        WEIR_CUDA_TRY(be, cudaMemcpyAsync(to, staged, n, cudaMemcpyHostToDevice, cu->stream),
                      "upload of %zu bytes", n);
        to += n;
        from += n;
        bytes -= n;
    }
    return WEIR_OK;
}

/* ---- the other copies, and the stream ------------------------------------------------------------------ */

/* Spins for a while, since an exchange takes less than a nap, then naps. */
static void rest(int turn) {
    const struct timespec nap = {0, 20 * 1000};
    if (turn > 1000) nanosleep(&nap, NULL);
}

/* Of a group, a rank may wait inside a kernel for one that never comes. Such waits have a deadline, and give
 * up as soon as the group has ended; a kernel that stays all the same is left alone. */
static weir_status drain_peers(weir_cuda *cu, const char *what) {
    const double patience = cu->base.comm->seconds + 2.0;
    double ended = 0.0;
    for (int turn = 0; !cu->stuck; turn++) {
        const cudaError_t e = cudaStreamQuery(cu->stream);
        if (e != cudaErrorNotReady) {
            WEIR_TRY(weir__cuda_check(&cu->base, e, "%s", what));
            return weir__cuda_peers_check(cu, false);
        }
        cudaGetLastError(); /* not an error, but kept like one */
        if (weir__cuda_peers_check(cu, true) != WEIR_OK) {
            if (ended == 0.0) ended = weir_seconds();
            cu->stuck = weir_seconds() > ended + patience;
        }
        rest(turn);
    }
    return WEIR_ECOMM;
}

weir_status weir__cuda_drain(weir_cuda *cu, const char *what) {
    if ((cu->peers || cu->nccl) && cu->base.comm) return drain_peers(cu, what);
    if (cu->stuck) return WEIR_ECUDA;
    return weir__cuda_check(&cu->base, cudaStreamSynchronize(cu->stream), "%s", what);
}

weir_status weir__cuda_download(weir_backend *be, void *dst, const void *src, size_t bytes) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter_now(cu, "download"));
    if (bytes > 0) {
        WEIR_CUDA_TRY(be, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, cu->stream),
                      "download of %zu bytes", bytes);
    }
    return weir__cuda_drain(cu, "download");
}

/* Default: mapped memory counts as backend memory. */
weir_status weir__cuda_copy(weir_backend *be, void *dst, const void *src, size_t bytes) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "copy"));
    if (bytes == 0) return WEIR_OK;
    return weir__cuda_check(be, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, cu->stream),
                            "copy of %zu bytes", bytes);
}

weir_status weir__cuda_zero(weir_backend *be, void *p, size_t bytes) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "zero"));
    if (bytes == 0) return WEIR_OK;
    return weir__cuda_check(be, cudaMemsetAsync(p, 0, bytes, cu->stream), "zero of %zu bytes", bytes);
}

weir_status weir__cuda_wait(weir_backend *be) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter_now(cu, "wait"));
    return weir__cuda_drain(cu, "wait");
}

void weir__cuda_abandon(weir_backend *be, const char *why) {
    weir_cuda *cu = weir__cuda_of(be);
    cu->stuck = true;
    if (cu->broken) return;
    cu->broken = true;
    weir_fail(&be->err, WEIR_ECUDA, "%s: %s", cu->name, why);
}

weir_status weir__cuda_poll(weir_backend *be, bool *busy) {
    weir_cuda *cu = weir__cuda_of(be);
    *busy = false;
    WEIR_TRY(weir__cuda_enter_now(cu, "poll"));
    const cudaError_t e = cudaStreamQuery(cu->stream);
    if (e == cudaErrorNotReady) {
        cudaGetLastError(); /* not an error, but kept like one */
        *busy = true;
        return weir__cuda_peers_check(cu, true);
    }
    WEIR_TRY(weir__cuda_check(be, e, "poll"));
    return weir__cuda_peers_check(cu, false);
}
