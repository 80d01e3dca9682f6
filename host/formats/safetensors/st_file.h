#ifndef WEIR_HOST_FORMATS_SAFETENSORS_ST_FILE_H
#define WEIR_HOST_FORMATS_SAFETENSORS_ST_FILE_H

#include "kernels/base/status.h"
#include "kernels/base/types.h"

/* One safetensors file: its bytes and its tensors. Internal to host/formats; safetensors.h is the door. */

enum { ST_MAX_DIM = 8 };

typedef struct st_tensor {
    const char *name;  /* in st_file.text */
    const char *dtype; /* static, or in st_file.text for a type we do not know */
    const uint8_t *data;
    size_t begin, end; /* into the data part */
    int64_t shape[ST_MAX_DIM];
    int n_dim;
} st_tensor;

typedef struct st_file {
    char *label;
    const uint8_t *bytes;
    size_t n_bytes;
    bool mapped;
    st_tensor *tensors; /* (n_tensor) sorted by name */
    size_t n_tensor;
    char *text; /* names and unknown dtypes, one block */
} st_file;

/* Fill a zeroed st_file. On failure it is half-built: weir__st_file_close it all the same. `bytes` are
 * borrowed. */
weir_status weir__st_file_from_path(st_file *f, const char *path, weir_err *err);
weir_status weir__st_file_from_bytes(st_file *f, const void *bytes, size_t n, const char *label,
                                     weir_err *err);
void weir__st_file_close(st_file *f);

const st_tensor *weir__st_file_find(const st_file *f, const char *name); /* NULL if absent */

#endif /* WEIR_HOST_FORMATS_SAFETENSORS_ST_FILE_H */
