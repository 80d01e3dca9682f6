#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAMES = 32 };

/* dlsym returns an object pointer; C has no cast from that to a function pointer. */
static weir_library_fn function_at(void *address) {
    weir_library_fn f;
    memcpy(&f, &address, sizeof f);
    return f;
}

/* Folders of CUDA's libraries that the loader does not search: those of toolkits, and those of wheels in a
 * virtual environment. */
static const struct {
    const char *variable, *folder; /* NULL: no variable's */
} places[] = {{"CUDA_HOME", "/lib64"},
              {"CUDA_PATH", "/lib64"},
              {NULL, "/usr/local/cuda/lib64"},
              {NULL, "/usr/local/cuda*/lib64"},
              {NULL, "/usr/local/cuda*/targets/*/lib"},
              {NULL, "/opt/cuda*/lib64"},
              {"VIRTUAL_ENV", "/lib/python3*/site-packages/nvidia/*/lib"}};

static void *open_first(const char *pattern) {
    glob_t found = {0};
    void *library = NULL;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && !library; i++)
            library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    return library;
}

/* The loader's first: LD_LIBRARY_PATH and /etc/ld.so.cache. */
static void *open_somewhere(const char *soname) {
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; i < sizeof places / sizeof *places && !library; i++) {
        char pattern[1024];
        const char *root = places[i].variable ? getenv(places[i].variable) : "";
        if (!root || (places[i].variable && !*root)) continue;
        const int n = snprintf(pattern, sizeof pattern, "%s%s/%s", root, places[i].folder, soname);
        if (n > 0 && (size_t)n < sizeof pattern) library = open_first(pattern);
    }
    return library;
}

void weir__library_where(weir_library_fn fn, char *folder, size_t cap) {
    Dl_info info;
    void *address;
    memcpy(&address, &fn, sizeof address);
    const bool known = dladdr(address, &info) != 0 && info.dli_fname;
    const char *end = known ? strrchr(info.dli_fname, '/') : NULL;
    snprintf(folder, cap, "%.*s", end ? (int)(end - info.dli_fname) : 0, known ? info.dli_fname : "");
}

weir_status weir__library_open(void **out, const char *soname, const char *const *name, int n,
                               weir_library_fn *fn, weir_err *why) {
    if (!out || !soname || n < 0 || n > MOST_NAMES) {
        return weir_fail(why, WEIR_EINVAL, "library: %d names, expected 0 to %d", n, MOST_NAMES);
    }
    void *library = open_somewhere(soname);
    if (!library) return weir_fail(why, WEIR_ENOTSUP, "no %s", soname);
    void *address[MOST_NAMES];
    for (int i = 0; i < n; i++) {
        address[i] = dlsym(library, name[i]);
        if (address[i]) continue;
        dlclose(library);
        return weir_fail(why, WEIR_ENOTSUP, "%s lacks %s", soname, name[i]);
    }
    for (int i = 0; i < n; i++) fn[i] = function_at(address[i]);
    *out = library;
    return WEIR_OK;
}

void weir__library_close(void *library) {
    if (library) dlclose(library);
}
