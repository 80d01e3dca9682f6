#include "tests/support/safetensors_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void st_put(st_blob *b, const char *name, const char *type, const int64_t *shape, int n_dim, const void *data,
            size_t bytes) {
    char dims[96] = "";
    for (int i = 0; i < n_dim; i++)
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%ld", i ? "," : "", (long)shape[i]);
    const int n = snprintf(b->header + b->n_header, sizeof b->header - b->n_header,
                           "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                           b->n_header ? "," : "{", name, type, dims, b->n, b->n + bytes);
    b->n_header += (size_t)n;
    if (b->n_header + 2 > sizeof b->header) abort();
    if (b->n + bytes > b->cap) b->data = realloc(b->data, b->cap = 2 * (b->n + bytes));
    if (bytes > 0) memcpy(b->data + b->n, data, bytes);
    b->n += bytes;
}

uint8_t *st_bytes(st_blob *b, size_t *n) {
    const uint64_t n_header = b->n_header + 1;
    b->header[b->n_header] = '}';
    uint8_t *file = malloc(8 + n_header + b->n);
    if (!file) abort();
    memcpy(file, &n_header, 8);
    memcpy(file + 8, b->header, n_header);
    if (b->n > 0) memcpy(file + 8 + n_header, b->data, b->n);
    *n = 8 + n_header + b->n;
    free(b->data);
    memset(b, 0, sizeof *b);
    return file;
}
