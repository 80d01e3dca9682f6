#ifndef WEIR_KERNELS_CUDA_LIBRARY_H
#define WEIR_KERNELS_CUDA_LIBRARY_H

#include <stddef.h>

#include "kernels/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An optional shared library, loaded at run time. library.c uses dlopen; the runner of kernels has its own
 * version, which returns its emulations. */
typedef void (*weir_library_fn)(void);

/* Opens `soname`, from where docs/gpu.md says, and fills fn[i] with the address of name[i]. ENOTSUP with the
 * reason in why (which library, which name) if anything is missing; then nothing stays open and fn is
 * untouched. */
weir_status weir__library_open(void **out, const char *soname, const char *const *name, int n,
                               weir_library_fn *fn, weir_err *why);
void weir__library_close(void *library); /* NULL allowed */
/* The folder of the library that has this function; "": not known. */
void weir__library_where(weir_library_fn fn, char *folder, size_t cap);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_KERNELS_CUDA_LIBRARY_H */
