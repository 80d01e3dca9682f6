/* Which backend an engine runs on. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "host/pair/device.h"

/* The devices of "cuda" (0, 1, …), "cuda:N" or "cuda:N,M,…", up to `most`: their number, 0 for anything
 * else. */
static int cuda_list(const char *device, int most, int *index) {
    int n = 0;
    if (strncmp(device, "cuda", 4) != 0) return 0;
    if (!device[4]) {
        for (; n < most; n++) index[n] = n;
        return n;
    }
    for (const char *at = device + 4; *at; n++) {
        const char separator = n == 0 ? ':' : ',';
        if (at[0] != separator || at[1] < '0' || at[1] > '9' || n == most) return 0;
        char *end;
        errno = 0;
        const long value = strtol(at + 1, &end, 10);
        if (errno != 0 || value > INT_MAX) return 0;
        index[n] = (int)value;
        at = end;
    }
    return n;
}

weir_status weir__device_check(const char *device, weir_err *err) {
    int index[WEIR_MAX_RANKS];
    if (!device || strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0 ||
        cuda_list(device, WEIR_MAX_RANKS, index) > 0)
        return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "device %s is not one of cpu, cuda[:N[,N...]], auto", device);
}

/* A device that is lost ends its group: the others may wait for it inside a kernel. */
weir_status weir__engine_lost(const weir_engine *e, weir_status s, weir_err *err) {
    weir_backend *be = e->pair.be;
    if (s == WEIR_ECOMM) return weir__comm_failure(be->comm, err);
    if (be->comm) weir__comm_abort(be->comm, s, be->err.text);
    return weir__backend_failure(be, err);
}

/* The device that this process opens, of `there`: by its rank among those of its machine, whose launcher may
 * show it one alone. */
static bool own_device(weir_pair *p, int there) {
    if (there < p->n_near && there != 1) return false;
    p->device_here = there == 1 ? 0 : p->rank % p->n_near;
    return true;
}

/* A device for each rank. */
static weir_status choose_devices(weir_engine *e, const char *device, weir_err *err) {
    weir_pair *p = &e->pair;
    const bool named = device[4] == ':';
    const int n = cuda_list(device, WEIR_MAX_RANKS, p->device_of);
    if (named && n != p->n_rank)
        return weir_fail(err, WEIR_EINVAL, "device %s names %d for %d ranks (-tp)", device, n, p->n_rank);
    p->device_here = p->device_of[p->rank];
    if (named || p->n_rank == 1) return WEIR_OK;
    weir_err why = {""};
    const int there = weir__backend_cuda_count(&why);
    if (there == 0 || (p->processes ? own_device(p, there) : there >= p->n_rank)) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP,
                     "-tp %d takes as many CUDA devices, and this machine has %d (cuda:0,0 puts two ranks on "
                     "one; --device cpu)",
                     p->n_rank, there);
}

static weir_status open_cuda(weir_engine *e, const char *device, weir_err *err) {
    WEIR_TRY(choose_devices(e, device, err));
    WEIR_TRY(weir__backend_cuda_open(&e->pair.be, e->pair.device_here, err));
    if (e->pair.n_rank > 1)
        e->pair.be->minmaxes = false; /* no rank sees all logits before they are collected */
    return WEIR_OK;
}

weir_status weir__device_open(weir_engine *e, const weir_engine_options *o, int n_thread, weir_isa isa,
                              weir_err *err) {
    const char *device = o->device ? o->device : "auto";
    /* A kernel that is loaded at its first launch may wait for the device, where a peer waits for it. */
    if (e->pair.n_rank > 1) (void)setenv("CUDA_MODULE_LOADING", "EAGER", 0);
    if (strncmp(device, "cuda", 4) == 0) return open_cuda(e, device, err);
    if (strcmp(device, "auto") == 0 && weir__backend_cuda_count(&e->pair.device_note) > 0)
        return open_cuda(e, "cuda", err);
    if (e->pair.by_nccl)
        return weir_fail(err, WEIR_EINVAL, "comm nccl is for CUDA devices, and the ranks are on the CPU");
    return weir__backend_cpu_open(&e->pair.be, n_thread, isa, err);
}
