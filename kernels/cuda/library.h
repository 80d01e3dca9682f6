#ifndef WEIR_KERNELS_CUDA_LIBRARY_H
#define WEIR_KERNELS_CUDA_LIBRARY_H

#include "kernels/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A shared library that the backend can do without, found when the program runs. library.c is dlopen; the
 * runner of kernels has its own, which answers with what it emulates. */
typedef void (*weir_library_fn)(void);

/* Opens `soname` and fills fn[i] with the address of name[i]. ENOTSUP with the reason in why (which library,
 * which name) if anything is missing; then nothing stays open and fn is untouched. */
weir_status weir__library_open(void **out, const char *soname, const char *const *name, int n,
                               weir_library_fn *fn, weir_err *why);
void weir__library_close(void *library); /* NULL allowed */

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_CUDA_LIBRARY_H */
