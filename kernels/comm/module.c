#include "kernels/comm/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the program, without a slash at its end; "." if it cannot be found out. */
static void program_folder(char out[PATH_MAX]) {
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    else
        memcpy(out, ".", 2);
}

static void *open_library(weir_err *err) {
    char folder[PATH_MAX], path[2][PATH_MAX + 32];
    const char *asked = getenv("WEIR_MPI_MODULE");
    program_folder(folder);
    (void)snprintf(path[0], sizeof path[0], "%s/weir-mpi.so", folder);
    (void)snprintf(path[1], sizeof path[1], "%s/../lib/weir/weir-mpi.so", folder);
    const char *const at[] = {asked ? asked : path[0], asked ? asked : path[1]};
    for (int i = 0; i < 2; i++) {
        if (access(at[i], R_OK) != 0) continue;
        void *library =
            dlopen(at[i], RTLD_NOW | RTLD_GLOBAL); /* Open MPI's own modules look its symbols up */
        if (!library) (void)weir_fail(err, WEIR_ENOTSUP, "%s", dlerror());
        return library;
    }
    (void)weir_fail(err, WEIR_ENOTSUP, "no %s: weir was built without MPI (Debian: libopenmpi-dev)", at[0]);
    return NULL;
}

weir_status weir__comm_mpi_open(weir_comm **out, double seconds, weir_err *err) {
    void *library = open_library(err);
    if (!library) return WEIR_ENOTSUP;
    const weir_comm_module *m = dlsym(library, WEIR_COMM_MODULE_SYMBOL);
    if (m && m->version == WEIR_COMM_MODULE_VERSION) return m->open(out, seconds, err);
    return weir_fail(err, WEIR_ENOTSUP, "the MPI module is not this program's: version %d, expected %d",
                     m ? m->version : 0, WEIR_COMM_MODULE_VERSION);
}
