/* Takes the place of the CUDA backend in a build without it. */
#include "kernels/backend.h"

weir_status weir__backend_cuda_open(weir_backend **out, int index, weir_err *err) {
    (void)out;
    return weir_fail(err, WEIR_ENOTSUP, "device cuda:%d: this build has no CUDA backend; use cpu or auto",
                     index);
}

int weir__backend_cuda_count(weir_err *why) {
    if (why) why->text[0] = '\0';
    return 0;
}
