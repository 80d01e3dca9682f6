#ifndef WEIR_TESTS_SUPPORT_GGUF_WRITE_H
#define WEIR_TESTS_SUPPORT_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A GGUF file in memory, valid unless told otherwise: pairs, then tensors, then gguf_finish. Bytes are `p`,
 * `n` of them. */
typedef struct gguf_blob {
    uint8_t *p;
    size_t n, cap;
    uint64_t n_pair, n_tensor;
    size_t pairs_end;   /* where in p the first tensor is described */
    uint64_t alignment; /* of the data; write the key general.alignment yourself */
    uint8_t *data;      /* of the tensors so far */
    size_t n_data;
} gguf_blob;

/* Numbers of the format. */
enum {
    KV_U8,
    KV_I8,
    KV_U16,
    KV_I16,
    KV_U32,
    KV_I32,
    KV_F32,
    KV_BOOL,
    KV_STRING,
    KV_ARRAY,
    KV_U64,
    KV_I64,
    KV_F64
};
enum {
    GGML_F32 = 0,
    GGML_F16 = 1,
    GGML_Q4_0 = 2,
    GGML_Q8_0 = 8,
    GGML_Q2_K = 10,
    GGML_Q3_K = 11,
    GGML_Q4_K = 12,
    GGML_Q6_K = 14,
    GGML_IQ2_XXS = 16,
    GGML_IQ4_NL = 20,
    GGML_IQ4_XS = 23,
    GGML_BF16 = 30,
    GGML_MXFP4 = 39,
};

gguf_blob gguf_begin(uint32_t version);
void gguf_free(gguf_blob *b);

/* Raw pieces, little endian. */
void gguf_raw(gguf_blob *b, const void *bytes, size_t n);
void gguf_raw_int(gguf_blob *b, uint64_t v, int n_byte);
void gguf_raw_text(gguf_blob *b, const char *text); /* its length, then its bytes */

/* Pairs. An integer of any kind is given by its bits. */
void gguf_key(gguf_blob *b, const char *key, uint32_t kind); /* the value is yours to write */
void gguf_int(gguf_blob *b, const char *key, uint32_t kind, uint64_t v);
void gguf_u32(gguf_blob *b, const char *key, uint32_t v);
void gguf_f32(gguf_blob *b, const char *key, float v);
void gguf_f64(gguf_blob *b, const char *key, double v);
void gguf_bool(gguf_blob *b, const char *key, bool v);
void gguf_text(gguf_blob *b, const char *key, const char *text);
void gguf_ints(gguf_blob *b, const char *key, uint32_t kind, const uint64_t *v, size_t n);
void gguf_texts(gguf_blob *b, const char *key, const char *const *text, size_t n);

/* A tensor of `bytes` bytes after those before it; from NULL they are 0, 1, 2, … */
void gguf_tensor(gguf_blob *b, const char *name, uint32_t type, int n_dim, const int64_t *shape,
                 const void *data, size_t bytes);
/* Its description alone. */
void gguf_tensor_at(gguf_blob *b, const char *name, uint32_t type, int n_dim, const int64_t *shape,
                    uint64_t offset);

/* Counts into the header, padding, data. Afterwards gguf_poke overwrites what it must. */
void gguf_finish(gguf_blob *b);
void gguf_poke(gguf_blob *b, size_t at, uint64_t v, int n_byte);

#endif
