#include "tests/support/gguf_write.h"

#include <stdlib.h>
#include <string.h>

gguf_blob gguf_begin(uint32_t version) {
    gguf_blob b = {.alignment = 32};
    gguf_raw(&b, "GGUF", 4);
    gguf_raw_int(&b, version, 4);
    gguf_raw_int(&b, 0, 8);
    gguf_raw_int(&b, 0, 8);
    return b;
}

void gguf_free(gguf_blob *b) {
    free(b->p);
    free(b->data);
    *b = (gguf_blob){0};
}

void gguf_raw(gguf_blob *b, const void *bytes, size_t n) {
    if (n > b->cap - b->n) {
        b->cap = 2 * (b->n + n) + 256;
        b->p = realloc(b->p, b->cap);
        if (!b->p) abort();
    }
    if (n) memcpy(b->p + b->n, bytes, n);
    b->n += n;
}

void gguf_raw_int(gguf_blob *b, uint64_t v, int n_byte) {
    uint8_t le[8];
    for (int i = 0; i < n_byte; i++) le[i] = (uint8_t)(v >> (8 * i));
    gguf_raw(b, le, (size_t)n_byte);
}

void gguf_raw_text(gguf_blob *b, const char *text) {
    gguf_raw_int(b, strlen(text), 8);
    gguf_raw(b, text, strlen(text));
}

static int kind_bytes(uint32_t kind) {
    static const int bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return bytes[kind];
}

void gguf_key(gguf_blob *b, const char *key, uint32_t kind) {
    gguf_raw_text(b, key);
    gguf_raw_int(b, kind, 4);
    b->n_pair++;
}

void gguf_int(gguf_blob *b, const char *key, uint32_t kind, uint64_t v) {
    gguf_key(b, key, kind);
    gguf_raw_int(b, v, kind_bytes(kind));
}

void gguf_u32(gguf_blob *b, const char *key, uint32_t v) { gguf_int(b, key, KV_U32, v); }

void gguf_f32(gguf_blob *b, const char *key, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    gguf_int(b, key, KV_F32, bits);
}

void gguf_f64(gguf_blob *b, const char *key, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    gguf_int(b, key, KV_F64, bits);
}

void gguf_bool(gguf_blob *b, const char *key, bool v) { gguf_int(b, key, KV_BOOL, v); }

void gguf_text(gguf_blob *b, const char *key, const char *text) {
    gguf_key(b, key, KV_STRING);
    gguf_raw_text(b, text);
}

void gguf_ints(gguf_blob *b, const char *key, uint32_t kind, const uint64_t *v, size_t n) {
    gguf_key(b, key, KV_ARRAY);
    gguf_raw_int(b, kind, 4);
    gguf_raw_int(b, n, 8);
    for (size_t i = 0; i < n; i++) gguf_raw_int(b, v[i], kind_bytes(kind));
}

void gguf_texts(gguf_blob *b, const char *key, const char *const *text, size_t n) {
    gguf_key(b, key, KV_ARRAY);
    gguf_raw_int(b, KV_STRING, 4);
    gguf_raw_int(b, n, 8);
    for (size_t i = 0; i < n; i++) gguf_raw_text(b, text[i]);
}

void gguf_tensor_at(gguf_blob *b, const char *name, uint32_t type, int n_dim, const int64_t *shape,
                    uint64_t offset) {
    if (b->n_tensor == 0) b->pairs_end = b->n;
    gguf_raw_text(b, name);
    gguf_raw_int(b, (uint32_t)n_dim, 4);
    for (int i = 0; i < n_dim; i++) gguf_raw_int(b, (uint64_t)shape[i], 8);
    gguf_raw_int(b, type, 4);
    gguf_raw_int(b, offset, 8);
    b->n_tensor++;
}

void gguf_tensor(gguf_blob *b, const char *name, uint32_t type, int n_dim, const int64_t *shape,
                 const void *data, size_t bytes) {
    size_t at = (b->n_data + b->alignment - 1) / b->alignment * b->alignment;
    b->data = realloc(b->data, at + bytes + 1);
    if (!b->data) abort();
    memset(b->data + b->n_data, 0, at - b->n_data);
    for (size_t i = 0; i < bytes; i++) b->data[at + i] = data ? ((const uint8_t *)data)[i] : (uint8_t)i;
    b->n_data = at + bytes;
    gguf_tensor_at(b, name, type, n_dim, shape, at);
}

void gguf_poke(gguf_blob *b, size_t at, uint64_t v, int n_byte) {
    for (int i = 0; i < n_byte; i++) b->p[at + (size_t)i] = (uint8_t)(v >> (8 * i));
}

void gguf_finish(gguf_blob *b) {
    gguf_poke(b, 8, b->n_tensor, 8);
    gguf_poke(b, 16, b->n_pair, 8);
    if (b->n_tensor == 0) return;
    while (b->n % b->alignment != 0) gguf_raw_int(b, 0, 1);
    gguf_raw(b, b->data, b->n_data);
}
