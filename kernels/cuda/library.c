#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <string.h>

enum { MOST_NAMES = 32 };

/* dlsym returns an object pointer; C has no cast from that to a function pointer. */
static weir_library_fn function_at(void *address) {
    weir_library_fn f;
    memcpy(&f, &address, sizeof f);
    return f;
}

weir_status weir__library_open(void **out, const char *soname, const char *const *name, int n,
                               weir_library_fn *fn, weir_err *why) {
    if (!out || !soname || n < 0 || n > MOST_NAMES) {
        return weir_fail(why, WEIR_EINVAL, "library: %d names, expected 0 to %d", n, MOST_NAMES);
    }
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
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
