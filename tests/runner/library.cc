/* Shared libraries as the runner has them: cuBLASLt is what blaslt.cc emulates, NCCL what nccl.cc does, and
 * no other one is there. */
#include "kernels/cuda/library.h"

#include <cstdio>
#include <cstring>

#include "tests/runner/api.h"
#include "tests/runner/control.h"
#include "tests/runner/include/cublasLt.h"

struct known {
    const char *name;
    weir_library_fn fn;
};

#define KNOWN(name) \
    { #name, reinterpret_cast < weir_library_fn>(name) }
static const known functions[] = {
    KNOWN(cublasLtCreate),
    KNOWN(cublasLtDestroy),
    KNOWN(cublasLtMatmulDescCreate),
    KNOWN(cublasLtMatmulDescDestroy),
    KNOWN(cublasLtMatmulDescSetAttribute),
    KNOWN(cublasLtMatrixLayoutCreate),
    KNOWN(cublasLtMatrixLayoutDestroy),
    KNOWN(cublasLtMatrixLayoutSetAttribute),
    KNOWN(cublasLtMatmulPreferenceCreate),
    KNOWN(cublasLtMatmulPreferenceDestroy),
    KNOWN(cublasLtMatmulPreferenceSetAttribute),
    KNOWN(cublasLtMatmulAlgoGetHeuristic),
    KNOWN(cublasLtMatmul),
    KNOWN(cublasLtGetStatusString),
    KNOWN(cublasLtGetVersion),
};

static int present = 1;
static char opened;

void runner_blaslt(int there) { present = there; }

weir_status weir__library_open(void **out, const char *soname, const char *const *name, int n,
                               weir_library_fn *fn, weir_err *why) {
    enum { MOST_NAMES = 32 };
    weir_library_fn found[MOST_NAMES];
    if (!out || !soname || n < 0 || n > MOST_NAMES) {
        return weir_fail(why, WEIR_EINVAL, "library: %d names, expected 0 to %d", n, MOST_NAMES);
    }
    const bool nccl = strcmp(soname, "libnccl.so.2") == 0;
    if (nccl ? !runner::nccl_function("ncclAllGather")
             : !present || strncmp(soname, "libcublasLt.so", 14) != 0)
        return weir_fail(why, WEIR_ENOTSUP, "no %s", soname);
    for (int i = 0; i < n; i++) {
        found[i] = nccl ? runner::nccl_function(name[i]) : nullptr;
        for (const known &k : functions) {
            if (strcmp(k.name, name[i]) == 0) found[i] = k.fn;
        }
        if (!found[i]) return weir_fail(why, WEIR_ENOTSUP, "%s lacks %s", soname, name[i]);
    }
    for (int i = 0; i < n; i++) fn[i] = found[i];
    *out = &opened;
    return WEIR_OK;
}

void weir__library_close(void *) {}

void weir__library_where(weir_library_fn, char *folder, size_t cap) { snprintf(folder, cap, "the runner"); }
