#ifndef WEIR_TESTS_SUPPORT_SAFETENSORS_WRITE_H
#define WEIR_TESTS_SUPPORT_SAFETENSORS_WRITE_H

#include <stddef.h>
#include <stdint.h>

/* A safetensors file, tensor by tensor: from {0} on, then st_bytes or st_write. Aborts on failure:
 * scaffolding. */
typedef struct st_blob {
    char *header; /* JSON so far, without its closing brace */
    uint8_t *data;
    size_t n_header, header_cap, n_data, data_cap;
} st_blob;

/* A tensor of `bytes` bytes after those before it. data NULL: they are yours to write, into what comes
 * back until the next call. */
uint8_t *st_put(st_blob *b, const char *name, const char *type, const int64_t *shape, int n_dim,
                const void *data, size_t bytes);
/* A string under the key __metadata__; ahead of the tensors. */
void st_metadata(st_blob *b, const char *key, const char *value);
/* The whole file, malloc'ed; the blob is empty again. */
uint8_t *st_bytes(st_blob *b, size_t *n);
/* The same as dir/name. */
void st_write(st_blob *b, const char *dir, const char *name);

#endif
