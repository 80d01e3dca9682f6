#ifndef WEIR_HOST_FORMATS_GGUF_GGUF_FILE_H
#define WEIR_HOST_FORMATS_GGUF_GGUF_FILE_H

#include "host/formats/gguf/gguf.h"

/* A GGUF file after its check: pairs and tensors, each sorted by name. Internal to this folder; others use
 * gguf.h. */

/* Numbers of the format: ggml/docs/gguf.md. */
typedef enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_KIND_COUNT,
} gguf_kind;

enum {
    GGUF_NAME_BYTES = 64, /* the longest name of a tensor */
    GGUF_MAX_COUNT =
        1 << 20, /* of keys and of tensors: far above any model, and a list of them stays below 200 MB */
};

typedef struct gguf_pair {
    const char *key; /* in the file, not zero-terminated */
    uint32_t key_bytes;
    gguf_kind kind; /* of the value, or of an array's elements */
    bool array;
    size_t n;          /* elements; 1 unless an array */
    const uint8_t *at; /* numbers: the first; a string: its text, of `bytes` */
    size_t bytes;
    size_t *string;    /* (n) arrays of strings: where the length of each is in the file; owned */
    size_t begin, end; /* of type and value in the file */
} gguf_pair;

typedef struct gguf_tensor {
    weir_entry e;
    size_t offset; /* from the start of the data */
} gguf_tensor;

struct weir_gguf {
    char *label;
    weir_gguf **rest; /* (n_rest) parts 2 and on of a split file, whose tensors are in `tensor`; owned */
    size_t n_rest;
    const uint8_t *bytes;
    size_t n_bytes;
    bool mapped;
    gguf_pair *pair; /* (n_pair) sorted by key */
    size_t n_pair;
    gguf_tensor *tensor; /* (n_tensor) sorted by name */
    char *name;          /* (n_tensor, GGUF_NAME_BYTES + 1) theirs */
    size_t n_tensor;
};

/* A type of GGML: the elements and bytes of a block, and the dtype, or -1 if it is only listed. */
typedef struct gguf_type {
    const char *name; /* NULL: no such type */
    int32_t block, bytes;
    int dtype;
} gguf_type;

const gguf_type *weir__gguf_type(int64_t number); /* NULL if unknown */
/* "F32, F16, … or MXFP4": those that a model takes. */
enum { GGUF_TYPES_TEXT = 160 };
const char *weir__gguf_types(char text[GGUF_TYPES_TEXT]);

/* One file, mapped; of a split file this part alone. */
weir_status weir__gguf_open_file(weir_gguf **out, const char *path, weir_err *err);

/* Which part of how many a file says that it is, from 0; 0 of 1 unless split. EFORMAT. */
weir_status weir__gguf_place(const weir_gguf *g, int64_t *no, int64_t *count, weir_err *err);

/* A reader that moves through the file. Every refusal reads "FILE: PART i of n …". */
typedef struct gguf_cursor {
    weir_gguf *g;
    size_t at;
    const char *part; /* "key", "tensor"; NULL: the header */
    uint64_t i, n;
    weir_err *err;
} gguf_cursor;

/* Whether n things of at least min_bytes each fit in the rest of the file. EFORMAT names `what`. */
weir_status weir__gguf_check_count(const gguf_cursor *c, uint64_t n, size_t min_bytes, const char *what);
weir_status weir__gguf_take(gguf_cursor *c, uint64_t n, const uint8_t **out); /* EFORMAT: past the end */
weir_status weir__gguf_u32(gguf_cursor *c, uint32_t *out);
weir_status weir__gguf_u64(gguf_cursor *c, uint64_t *out);

/* The pairs at the cursor, n of them, checked and sorted. On failure what was built is in g. */
weir_status weir__gguf_parse_pairs(gguf_cursor *c, uint64_t n);
/* The descriptions of tensors, and the data after them. */
weir_status weir__gguf_parse_tensors(gguf_cursor *c, uint64_t n, uint64_t alignment);

const gguf_pair *weir__gguf_pair(const weir_gguf *g, const char *key); /* NULL if absent */
/* The pair of g with another file's key; NULL if absent. */
const gguf_pair *weir__gguf_same_key(const weir_gguf *g, const gguf_pair *other);
/* Sorts the tensors by name. EFORMAT: a name that is there twice. */
weir_status weir__gguf_sort_tensors(weir_gguf *g, weir_err *err);

/* Numbers as the file has them: little endian, at any address. */
static inline uint64_t weir__gguf_load(const uint8_t *p, int n_byte) {
    uint64_t v = 0;
    for (int i = n_byte - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

#endif /* WEIR_HOST_FORMATS_GGUF_GGUF_FILE_H */
