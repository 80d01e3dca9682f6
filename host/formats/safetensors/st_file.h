#ifndef WEIR_HOST_FORMATS_SAFETENSORS_ST_FILE_H
#define WEIR_HOST_FORMATS_SAFETENSORS_ST_FILE_H

#include "host/formats/entry.h"

/* One safetensors file: its bytes and its tensors. Internal to host/formats; safetensors.h is the door. */

typedef struct st_tensor {
    weir_entry e;
    size_t begin, end; /* into the data part */
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

#endif /* WEIR_HOST_FORMATS_SAFETENSORS_ST_FILE_H */
