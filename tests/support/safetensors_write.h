#ifndef WEIR_TESTS_SUPPORT_SAFETENSORS_WRITE_H
#define WEIR_TESTS_SUPPORT_SAFETENSORS_WRITE_H

#include <stddef.h>
#include <stdint.h>

/* A safetensors file, tensor by tensor. Aborts on failure: scaffolding. Zeroed at first. */
typedef struct st_blob {
    char header[1 << 16];
    size_t n_header;
    uint8_t *data;
    size_t n, cap;
} st_blob;

void st_put(st_blob *b, const char *name, const char *type, const int64_t *shape, int n_dim, const void *data,
            size_t bytes);

/* The whole file, malloc'ed; the blob is empty again. */
uint8_t *st_bytes(st_blob *b, size_t *n);

#endif
