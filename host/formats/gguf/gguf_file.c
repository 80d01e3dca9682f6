/* One GGUF file: header, tensors, open and close. The layout is that of ggml/docs/gguf.md; the list of
 * malformed files follows llama.cpp's tests/test-gguf.cpp. */
#include "host/formats/gguf/gguf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "host/formats/map.h"
#include "kernels/base/mem.h"

enum { DEFAULT_ALIGNMENT = 32, MAX_ALIGNMENT = 1 << 20, MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };

/* ---- types of tensors ---------------------------------------------------------------------------------- */

/* By GGML's number (ggml.h, enum ggml_type); gaps are types that were removed. Sizes as in ggml-common.h. */
static const gguf_type TYPES[] = {
    [0] = {"F32", 1, 4, WEIR_DTYPE_F32},
    [1] = {"F16", 1, 2, WEIR_DTYPE_F16},
    [2] = {"Q4_0", 32, 18, WEIR_DTYPE_Q4_0},
    [3] = {"Q4_1", 32, 20, WEIR_DTYPE_Q4_1},
    [6] = {"Q5_0", 32, 22, WEIR_DTYPE_Q5_0},
    [7] = {"Q5_1", 32, 24, WEIR_DTYPE_Q5_1},
    [8] = {"Q8_0", 32, 34, WEIR_DTYPE_Q8_0},
    [9] = {"Q8_1", 32, 36, -1},
    [10] = {"Q2_K", 256, 84, WEIR_DTYPE_Q2_K},
    [11] = {"Q3_K", 256, 110, WEIR_DTYPE_Q3_K},
    [12] = {"Q4_K", 256, 144, WEIR_DTYPE_Q4_K},
    [13] = {"Q5_K", 256, 176, WEIR_DTYPE_Q5_K},
    [14] = {"Q6_K", 256, 210, WEIR_DTYPE_Q6_K},
    [15] = {"Q8_K", 256, 292, -1},
    [16] = {"IQ2_XXS", 256, 66, -1},
    [17] = {"IQ2_XS", 256, 74, -1},
    [18] = {"IQ3_XXS", 256, 98, -1},
    [19] = {"IQ1_S", 256, 50, -1},
    [20] = {"IQ4_NL", 32, 18, WEIR_DTYPE_IQ4_NL},
    [21] = {"IQ3_S", 256, 110, -1},
    [22] = {"IQ2_S", 256, 82, -1},
    [23] = {"IQ4_XS", 256, 136, WEIR_DTYPE_IQ4_XS},
    [24] = {"I8", 1, 1, -1},
    [25] = {"I16", 1, 2, -1},
    [26] = {"I32", 1, 4, -1},
    [27] = {"I64", 1, 8, -1},
    [28] = {"F64", 1, 8, -1},
    [29] = {"IQ1_M", 256, 56, -1},
    [30] = {"BF16", 1, 2, WEIR_DTYPE_BF16},
    [34] = {"TQ1_0", 256, 54, -1},
    [35] = {"TQ2_0", 256, 66, -1},
    [39] = {"MXFP4", 32, 17, WEIR_DTYPE_MXFP4},
    [40] = {"NVFP4", 64, 36, -1},
    [41] = {"Q1_0", 128, 18, -1},
};

const gguf_type *weir__gguf_type(int64_t number) {
    if (number < 0 || number >= (int64_t)(sizeof TYPES / sizeof *TYPES) || !TYPES[number].name) return NULL;
    return &TYPES[number];
}

const char *weir__gguf_types(char text[GGUF_TYPES_TEXT]) {
    enum { N = sizeof TYPES / sizeof *TYPES };
    size_t at = 0;
    int last = N - 1;
    while (!TYPES[last].name || TYPES[last].dtype < 0) last--;
    for (int i = 0; i <= last && at < GGUF_TYPES_TEXT; i++) {
        if (!TYPES[i].name || TYPES[i].dtype < 0) continue;
        at += (size_t)snprintf(text + at, GGUF_TYPES_TEXT - at, "%s%s",
                               i == 0      ? ""
                               : i == last ? " or "
                                           : ", ",
                               TYPES[i].name);
    }
    return text;
}

/* ---- one tensor ---------------------------------------------------------------------------------------- */

#define FAIL_TENSOR(c, t, ...) weir__fail_tensor((c)->err, (c)->g->label, (t)->e.name, __VA_ARGS__)

static weir_status parse_name(gguf_cursor *c, gguf_tensor *t) {
    uint64_t n;
    const uint8_t *text;
    WEIR_TRY(weir__gguf_u64(c, &n));
    if (n == 0 || n > GGUF_NAME_BYTES)
        return weir_fail(c->err, WEIR_EFORMAT,
                         "%s: tensor %llu of %llu has a name of %llu bytes, expected 1 to %d",
                         weir__label(c->g->label), (unsigned long long)c->i + 1, (unsigned long long)c->n,
                         (unsigned long long)n, GGUF_NAME_BYTES);
    WEIR_TRY(weir__gguf_take(c, n, &text));
    char *name = c->g->name + c->i * (GGUF_NAME_BYTES + 1);
    memcpy(name, text, (size_t)n);
    name[n] = '\0';
    t->e.name = name;
    if (memchr(text, 0, (size_t)n)) return FAIL_TENSOR(c, t, "a zero byte in its name");
    return WEIR_OK;
}

/* The file has the contiguous dimension first. */
static weir_status parse_shape(gguf_cursor *c, gguf_tensor *t, uint64_t *n_elem) {
    uint32_t n_dim;
    WEIR_TRY(weir__gguf_u32(c, &n_dim));
    if (n_dim == 0 || n_dim > 4) return FAIL_TENSOR(c, t, "%u dimensions, expected 1 to 4", n_dim);
    uint64_t n = 1, d;
    for (uint32_t i = 0; i < n_dim; i++) {
        WEIR_TRY(weir__gguf_u64(c, &d));
        if (d == 0 || d > INT64_MAX)
            return FAIL_TENSOR(c, t, "shape[%u] = %lld, expected 1 or more", i, (long long)d);
        if (__builtin_mul_overflow(n, d, &n) || n > INT64_MAX)
            return FAIL_TENSOR(c, t, "shape overflows 63 bits at dimension %u", i);
        t->e.shape[n_dim - 1 - i] = (int64_t)d;
    }
    t->e.n_dim = (int)n_dim;
    *n_elem = n;
    return WEIR_OK;
}

static weir_status parse_tensor(gguf_cursor *c, gguf_tensor *t, uint64_t alignment) {
    uint64_t n_elem = 0, bytes, offset;
    uint32_t number;
    WEIR_TRY(parse_name(c, t));
    WEIR_TRY(parse_shape(c, t, &n_elem));
    WEIR_TRY(weir__gguf_u32(c, &number));
    const gguf_type *type = weir__gguf_type(number);
    if (!type) return FAIL_TENSOR(c, t, "unknown type %d", (int)number);
    const int64_t row = t->e.shape[t->e.n_dim - 1];
    if (row % type->block != 0)
        return FAIL_TENSOR(c, t, "rows of %lld elements are not whole blocks of %d, as %s has them",
                           (long long)row, type->block, type->name);
    if (__builtin_mul_overflow(n_elem / (uint64_t)type->block, (uint64_t)type->bytes, &bytes) ||
        bytes > INT64_MAX)
        return FAIL_TENSOR(c, t, "size in bytes overflows 63 bits");
    WEIR_TRY(weir__gguf_u64(c, &offset));
    if (offset % alignment != 0)
        return FAIL_TENSOR(c, t, "data at %llu, expected a multiple of %llu", (unsigned long long)offset,
                           (unsigned long long)alignment);
    t->e.type = type->name;
    t->e.dtype = type->dtype;
    t->e.bytes = (size_t)bytes;
    t->offset = (size_t)offset;
    return WEIR_OK;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b) {
    const gguf_tensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return strcmp(x->e.name, y->e.name);
}

/* Each inside the data, none overlapping another. Gaps are padding, and allowed. */
static weir_status place_tensors(gguf_cursor *c, uint64_t alignment) {
    weir_gguf *g = c->g;
    size_t pad = (size_t)((alignment - c->at % alignment) % alignment);
    if (pad > g->n_bytes - c->at)
        return weir_fail(c->err, WEIR_EFORMAT, "%s: truncated: data begins at %zu, the file ends at %zu",
                         weir__label(g->label), c->at + pad, g->n_bytes);
    const uint8_t *data = g->bytes + c->at + pad;
    size_t n_data = g->n_bytes - c->at - pad, end = 0;
    qsort(g->tensor, g->n_tensor, sizeof *g->tensor, by_offset);
    for (size_t i = 0; i < g->n_tensor; i++) {
        gguf_tensor *t = &g->tensor[i];
        if (t->offset > n_data || t->e.bytes > n_data - t->offset)
            return FAIL_TENSOR(c, t, "truncated: %zu bytes of data at %zu, the file has %zu bytes of data",
                               t->e.bytes, t->offset, n_data);
        if (t->offset < end)
            return FAIL_TENSOR(c, t, "data at %zu overlaps the tensor before it, which ends at %zu",
                               t->offset, end);
        t->e.data = data + t->offset;
        end = t->offset + t->e.bytes;
    }
    return WEIR_OK;
}

weir_status weir__gguf_sort_tensors(weir_gguf *g, weir_err *err) {
    qsort(g->tensor, g->n_tensor, sizeof *g->tensor, weir__entry_by_name);
    for (size_t i = 1; i < g->n_tensor; i++)
        if (weir__entry_by_name(&g->tensor[i - 1], &g->tensor[i]) == 0)
            return weir__fail_tensor(err, g->label, g->tensor[i].e.name, "is there twice");
    return WEIR_OK;
}

weir_status weir__gguf_parse_tensors(gguf_cursor *c, uint64_t n, uint64_t alignment) {
    weir_gguf *g = c->g;
    WEIR_TRY(weir__gguf_check_count(c, n, MIN_TENSOR, "tensors"));
    if (n == 0) return WEIR_OK;
    g->tensor = weir_calloc((size_t)n, sizeof *g->tensor);
    g->name = weir_alloc((size_t)n, GGUF_NAME_BYTES + 1);
    if (!g->tensor || !g->name)
        return weir_fail(c->err, WEIR_ENOMEM, "%s: no memory for the list of %llu tensors",
                         weir__label(g->label), (unsigned long long)n);
    c->part = "tensor";
    c->n = n;
    for (c->i = 0; c->i < n; c->i++) WEIR_TRY(parse_tensor(c, &g->tensor[c->i], alignment));
    g->n_tensor = (size_t)n;
    WEIR_TRY(place_tensors(c, alignment));
    return weir__gguf_sort_tensors(g, c->err);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static weir_status parse_version(gguf_cursor *c) {
    const char *label = weir__label(c->g->label);
    const uint8_t *magic;
    uint32_t version;
    WEIR_TRY(weir__gguf_take(c, 4, &magic));
    if (memcmp(magic, "GGUF", 4) != 0)
        return weir_fail(
            c->err, WEIR_EFORMAT,
            "%s: begins with %02x %02x %02x %02x, not with GGUF; a model is a GGUF file or a directory",
            label, magic[0], magic[1], magic[2], magic[3]);
    WEIR_TRY(weir__gguf_u32(c, &version));
    if (version != 0 && (version & 0xffff) == 0)
        return weir_fail(c->err, WEIR_ENOTSUP, "%s: a big-endian GGUF file, expected a little-endian one",
                         label);
    if (version == 0) return weir_fail(c->err, WEIR_EFORMAT, "%s: GGUF version 0, expected 2 or 3", label);
    if (version != 2 && version != 3)
        return weir_fail(c->err, WEIR_ENOTSUP, "%s: GGUF version %u is not supported, expected 2 or 3", label,
                         version);
    return WEIR_OK;
}

static weir_status read_alignment(gguf_cursor *c, uint64_t *out) {
    const gguf_pair *p = weir__gguf_pair(c->g, "general.alignment");
    *out = DEFAULT_ALIGNMENT;
    if (!p) return WEIR_OK;
    const char *label = weir__label(c->g->label);
    if (p->array || p->kind != GGUF_U32)
        return weir_fail(c->err, WEIR_EFORMAT, "%s: general.alignment is not an unsigned number of 32 bits",
                         label);
    uint64_t n = weir__gguf_load(p->at, 4);
    if (n == 0 || n > MAX_ALIGNMENT || (n & (n - 1)) != 0)
        return weir_fail(c->err, WEIR_EFORMAT,
                         "%s: general.alignment = %llu, expected a power of two up to %d", label,
                         (unsigned long long)n, MAX_ALIGNMENT);
    *out = n;
    return WEIR_OK;
}

static weir_status parse_file(weir_gguf *g, weir_err *err) {
    gguf_cursor c = {.g = g, .err = err};
    uint64_t n_tensor, n_pair, alignment;
    WEIR_TRY(parse_version(&c));
    WEIR_TRY(weir__gguf_u64(&c, &n_tensor));
    WEIR_TRY(weir__gguf_u64(&c, &n_pair));
    WEIR_TRY(weir__gguf_parse_pairs(&c, n_pair));
    WEIR_TRY(read_alignment(&c, &alignment));
    return weir__gguf_parse_tensors(&c, n_tensor, alignment);
}

/* Takes over the map, if it is one. */
static weir_status open_bytes(weir_gguf **out, const uint8_t *bytes, size_t n, bool mapped, const char *label,
                              weir_err *err) {
    weir_gguf *g = weir_calloc(1, sizeof *g);
    char *name = weir_strdup(label);
    if (!g || !name) {
        weir_free(g);
        weir_free(name);
        if (mapped) weir__map_free(bytes, n);
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for its name", weir__label(label));
    }
    *g = (weir_gguf){.label = name, .bytes = bytes, .n_bytes = n, .mapped = mapped};
    weir_status s = parse_file(g, err);
    if (s != WEIR_OK) {
        weir__gguf_close(g);
        return s;
    }
    *out = g;
    return WEIR_OK;
}

weir_status weir__gguf_open_file(weir_gguf **out, const char *path, weir_err *err) {
    const uint8_t *bytes;
    size_t n;
    WEIR_TRY(weir__map_file(path, &bytes, &n, err));
    return open_bytes(out, bytes, n, true, path, err);
}

weir_status weir__gguf_open_bytes(weir_gguf **out, const void *bytes, size_t n, const char *label,
                                  weir_err *err) {
    return open_bytes(out, bytes ? bytes : (const uint8_t *)"", bytes ? n : 0, false, label, err);
}

void weir__gguf_close(weir_gguf *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_rest; i++) weir__gguf_close(g->rest[i]);
    weir_free(g->rest);
    for (size_t i = 0; i < g->n_pair; i++) weir_free(g->pair[i].string);
    weir_free(g->pair);
    weir_free(g->tensor);
    weir_free(g->name);
    if (g->mapped) weir__map_free(g->bytes, g->n_bytes);
    weir_free(g->label);
    weir_free(g);
}
