#include "tests/support/safetensors_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/files.h"

static void *grown(void *p, size_t *cap, size_t wanted) {
    if (wanted <= *cap) return p;
    *cap = 2 * wanted + 1024;
    p = realloc(p, *cap);
    if (!p) abort();
    return p;
}

__attribute__((format(printf, 2, 3))) static void say(st_blob *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    b->header = grown(b->header, &b->header_cap, b->n_header + (size_t)n + 16); /* its end and padding too */
    va_start(args, fmt);
    vsnprintf(b->header + b->n_header, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n_header += (size_t)n;
}

uint8_t *st_put(st_blob *b, const char *name, const char *type, const int64_t *shape, int n_dim,
                const void *data, size_t bytes) {
    say(b, "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[", b->n_header ? ',' : '{', name, type);
    for (int i = 0; i < n_dim; i++) say(b, "%s%ld", i ? "," : "", (long)shape[i]);
    say(b, "],\"data_offsets\":[%zu,%zu]}", b->n_data, b->n_data + bytes);
    b->data = grown(b->data, &b->data_cap, b->n_data + bytes);
    uint8_t *at = b->data + b->n_data;
    if (data && bytes > 0) memcpy(at, data, bytes);
    b->n_data += bytes;
    return at;
}

void st_metadata(st_blob *b, const char *key, const char *value) {
    say(b, "{\"__metadata__\":{\"%s\":\"%s\"}", key, value);
}

uint8_t *st_bytes(st_blob *b, size_t *n) {
    say(b, "%s}", b->n_header ? "" : "{");
    while (b->n_header % 8) b->header[b->n_header++] = ' ';
    uint8_t *file = malloc(8 + b->n_header + b->n_data);
    if (!file) abort();
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)b->n_header >> (8 * i));
    memcpy(file + 8, b->header, b->n_header);
    if (b->n_data > 0) memcpy(file + 8 + b->n_header, b->data, b->n_data);
    *n = 8 + b->n_header + b->n_data;
    free(b->header), free(b->data);
    *b = (st_blob){0};
    return file;
}

void st_write(st_blob *b, const char *dir, const char *name) {
    size_t n;
    uint8_t *file = st_bytes(b, &n);
    files_write(dir, name, file, n);
    free(file);
}
