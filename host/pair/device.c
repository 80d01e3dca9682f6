/* Which backend an engine runs on. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "host/pair/device.h"

/* N of "cuda" or "cuda:N"; -1 for anything else. */
static int cuda_index(const char *device) {
    if (strcmp(device, "cuda") == 0) return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] < '0' || device[5] > '9') return -1;
    char *end;
    errno = 0;
    const long n = strtol(device + 5, &end, 10);
    return errno != 0 || *end || n > INT_MAX ? -1 : (int)n;
}

weir_status weir__device_check(const char *device, weir_err *err) {
    if (!device || strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0 || cuda_index(device) >= 0)
        return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "device %s is not one of cpu, cuda[:N], auto", device);
}

weir_status weir__engine_lost(const weir_engine *e, weir_status s, weir_err *err) {
    return s == WEIR_ECOMM ? weir__comm_failure(e->pair.be->comm, err)
                           : weir__backend_failure(e->pair.be, err);
}

static weir_status open_backend(weir_engine *e, const weir_engine_options *o, int n_thread, weir_isa isa,
                                weir_err *err) {
    const char *device = o->device ? o->device : "auto";
    const int index = cuda_index(device);
    if (index >= 0) return weir__backend_cuda_open(&e->pair.be, index, err);
    if (strcmp(device, "auto") == 0 && weir__backend_cuda_count(&e->pair.device_note) > 0)
        return weir__backend_cuda_open(&e->pair.be, 0, err);
    return weir__backend_cpu_open(&e->pair.be, n_thread, isa, err);
}

weir_status weir__device_open(weir_engine *e, const weir_engine_options *o, int n_thread, weir_isa isa,
                              weir_err *err) {
    WEIR_TRY(open_backend(e, o, n_thread, isa, err));
    if (e->pair.n_rank == 1 || e->pair.be->exchange) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "%s serves one rank: -tp %d needs --device cpu", e->pair.be->name,
                     e->pair.n_rank);
}
