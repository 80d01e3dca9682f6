#ifndef WEIR_HOST_FORMATS_MAP_H
#define WEIR_HOST_FORMATS_MAP_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* Files mapped read-only, for formats whose tensors are used in place. Internal to host/formats. */

/* A whole ordinary file. EIO with errno's text; EFORMAT: an empty file. */
weir_status weir__map_file(const char *path, const uint8_t **bytes, size_t *n, weir_err *err);
void weir__map_free(const uint8_t *bytes, size_t n);

/* Tells the kernel that a part of a mapped file is not needed again. Whole pages inside [data, data + n)
 * only: the neighbours may still be read, and would be read from disk again. */
void weir__map_release(const void *data, size_t n);

#endif /* WEIR_HOST_FORMATS_MAP_H */
