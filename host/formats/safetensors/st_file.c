#include "host/formats/safetensors/st_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "host/formats/map.h"
#include "kernels/base/mem.h"

static const size_t MAX_HEADER = 100u * 1000 * 1000; /* the format's own limit */
enum { MAX_DIM = sizeof((weir_entry){0}.shape) / sizeof(int64_t) };

/* ---- dtypes -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned bits;
    int dtype; /* weir_dtype, or -1 */
} DTYPES[] = {
    {"F32", 32, WEIR_DTYPE_F32},
    {"BF16", 16, WEIR_DTYPE_BF16},
    {"F16", 16, WEIR_DTYPE_F16},
    {"F64", 64, -1},
    {"BOOL", 8, -1},
    {"U8", 8, -1},
    {"I8", 8, -1},
    {"I16", 16, -1},
    {"U16", 16, -1},
    {"I32", 32, -1},
    {"U32", 32, -1},
    {"I64", 64, -1},
    {"U64", 64, -1},
    {"C64", 64, -1},
    {"F8_E4M3", 8, -1},
    {"F8_E5M2", 8, -1},
    {"F8_E8M0", 8, -1},
    {"F6_E2M3", 6, -1},
    {"F6_E3M2", 6, -1},
    {"F4", 4, -1},
};

/* Index into DTYPES, or -1: listed, but its size cannot be checked. */
static int dtype_find(const char *name) {
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++)
        if (strcmp(DTYPES[i].name, name) == 0) return (int)i;
    return -1;
}

/* ---- one tensor's entry in the header ------------------------------------------------------------------ */

#define FAIL_TENSOR(f, name, ...) weir__fail_tensor(err, (f)->label, name, __VA_ARGS__)

/* A JSON integer in [0, INT64_MAX]; jansson has refused what does not fit 64 bits. */
static bool get_size(const json_t *v, int64_t *out) {
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = json_integer_value(v);
    return true;
}

static weir_status parse_shape(const st_file *f, st_tensor *t, const json_t *shape, uint64_t *n_elem,
                               weir_err *err) {
    if (!json_is_array(shape)) return FAIL_TENSOR(f, t->e.name, "shape is not a list");
    size_t n_dim = json_array_size(shape);
    if (n_dim > MAX_DIM)
        return FAIL_TENSOR(f, t->e.name, "%zu dimensions, expected at most %d", n_dim, MAX_DIM);

    uint64_t n = 1;
    for (size_t i = 0; i < n_dim; i++) {
        if (!get_size(json_array_get(shape, i), &t->e.shape[i]))
            return FAIL_TENSOR(f, t->e.name, "shape[%zu] is not a non-negative integer", i);
        if (__builtin_mul_overflow(n, (uint64_t)t->e.shape[i], &n) || n > INT64_MAX)
            return FAIL_TENSOR(f, t->e.name, "shape overflows 63 bits at dimension %zu", i);
    }
    t->e.n_dim = (int)n_dim;
    *n_elem = n;
    return WEIR_OK;
}

static weir_status parse_offsets(const st_file *f, st_tensor *t, const json_t *offsets, weir_err *err) {
    int64_t begin, end;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !get_size(json_array_get(offsets, 0), &begin) || !get_size(json_array_get(offsets, 1), &end))
        return FAIL_TENSOR(f, t->e.name, "data_offsets is not a pair of non-negative integers");
    if (begin > end)
        return FAIL_TENSOR(f, t->e.name, "data_offsets [%lld, %lld] run backwards", (long long)begin,
                           (long long)end);
    t->begin = (size_t)begin;
    t->end = (size_t)end;
    return WEIR_OK;
}

/* `data` bytes lie after the header. The dtype's text is copied to *text, which moves on, if we do not know
 * it. */
static weir_status parse_tensor(const st_file *f, st_tensor *t, json_t *entry, size_t data, char **text,
                                weir_err *err) {
    if (!json_is_object(entry)) return FAIL_TENSOR(f, t->e.name, "entry is not an object");
    const char *key;
    json_t *value;
    json_object_foreach(entry, key, value) {
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
            return FAIL_TENSOR(f, t->e.name, "unknown field %.60s", key);
    }
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype) return FAIL_TENSOR(f, t->e.name, "dtype is not a string");

    uint64_t n_elem = 0, bits;
    WEIR_TRY(parse_shape(f, t, json_object_get(entry, "shape"), &n_elem, err));
    WEIR_TRY(parse_offsets(f, t, json_object_get(entry, "data_offsets"), err));
    if (t->end > data)
        return FAIL_TENSOR(f, t->e.name, "data ends at %zu, the file has %zu bytes of data", t->end, data);

    const int known = dtype_find(dtype);
    t->e.dtype = known >= 0 ? DTYPES[known].dtype : -1;
    if (known >= 0) {
        t->e.type = DTYPES[known].name;
        if (__builtin_mul_overflow(n_elem, (uint64_t)DTYPES[known].bits, &bits) || bits % 8 != 0 ||
            bits / 8 != t->end - t->begin)
            return FAIL_TENSOR(f, t->e.name,
                               "%zu bytes of data do not fit dtype %s and its shape of %llu elements",
                               t->end - t->begin, t->e.type, (unsigned long long)n_elem);
    } else {
        size_t n = strlen(dtype) + 1;
        t->e.type = memcpy(*text, dtype, n);
        *text += n;
    }
    return WEIR_OK;
}

/* ---- one file ------------------------------------------------------------------------------------------ */

static int by_offset(const void *a, const void *b) {
    const st_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1; /* empty tensors first */
    return strcmp(x->e.name, y->e.name);
}

/* The data part is tiled exactly: no overlap, no gap, nothing before or after. */
static weir_status check_layout(st_file *f, size_t data, weir_err *err) {
    qsort(f->tensors, f->n_tensor, sizeof *f->tensors, by_offset);
    size_t at = 0;
    for (size_t i = 0; i < f->n_tensor; i++) {
        const st_tensor *t = &f->tensors[i];
        if (t->begin < at)
            return FAIL_TENSOR(f, t->e.name, "data at %zu overlaps the tensor before it, which ends at %zu",
                               t->begin, at);
        if (t->begin > at)
            return FAIL_TENSOR(f, t->e.name, "data at %zu leaves a gap after %zu", t->begin, at);
        at = t->end;
    }
    if (at != data)
        return weir_fail(err, WEIR_EFORMAT, "%s: tensors end at %zu, the file has %zu bytes of data",
                         weir__label(f->label), at, data);
    qsort(f->tensors, f->n_tensor, sizeof *f->tensors, weir__entry_by_name);
    return WEIR_OK;
}

static weir_status check_metadata(const st_file *f, json_t *meta, weir_err *err) {
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return weir_fail(err, WEIR_EFORMAT, "%s: __metadata__ is not an object", weir__label(f->label));
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return weir_fail(err, WEIR_EFORMAT, "%s: __metadata__: %.60s is not a string",
                             weir__label(f->label), key);
    }
    return WEIR_OK;
}

/* Allocates the tensor list and the block of their names. */
static weir_status alloc_tensors(st_file *f, json_t *root, weir_err *err) {
    size_t text = 0;
    const char *key;
    json_t *entry;
    json_object_foreach(root, key, entry) {
        text += strlen(key) + 1;
        text += json_string_length(json_object_get(entry, "dtype")) + 1;
    }
    size_t n = json_object_size(root);
    st_tensor *tensors = weir_calloc(n, sizeof *tensors);
    char *names = weir_alloc(text, 1);
    f->tensors = tensors;
    f->text = names;
    if (!tensors || !names)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for the list of %zu tensors", weir__label(f->label),
                         n);
    return WEIR_OK;
}

static weir_status parse_tensors(st_file *f, json_t *root, const uint8_t *data, size_t n_data,
                                 weir_err *err) {
    WEIR_TRY(alloc_tensors(f, root, err));
    char *text = f->text;
    const char *key;
    json_t *entry;
    json_object_foreach(root, key, entry) {
        if (strcmp(key, "__metadata__") == 0) {
            WEIR_TRY(check_metadata(f, entry, err));
            continue;
        }
        st_tensor *t = &f->tensors[f->n_tensor];
        size_t n = strlen(key) + 1;
        t->e.name = memcpy(text, key, n);
        text += n;
        WEIR_TRY(parse_tensor(f, t, entry, n_data, &text, err));
        t->e.data = data + t->begin;
        t->e.bytes = t->end - t->begin;
        f->n_tensor++;
    }
    return check_layout(f, n_data, err);
}

static weir_status parse_file(st_file *f, weir_err *err) {
    const char *label = weir__label(f->label);
    if (f->n_bytes < 8)
        return weir_fail(err, WEIR_EFORMAT, "%s: %zu bytes, too short for a safetensors header", label,
                         f->n_bytes);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | f->bytes[i];
    if (header > MAX_HEADER)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: header of %llu bytes, expected at most %zu (is it a safetensors file?)", label,
                         (unsigned long long)header, MAX_HEADER);
    if (header > f->n_bytes - 8)
        return weir_fail(err, WEIR_EFORMAT, "%s: truncated: header of %llu bytes in a file of %zu", label,
                         (unsigned long long)header, f->n_bytes);
    const char *json = (const char *)f->bytes + 8;
    if (header == 0 || json[0] != '{')
        return weir_fail(err, WEIR_EFORMAT, "%s: header does not start with '{'", label);

    json_t *root;
    WEIR_TRY(weir__json_strict(json, (size_t)header, f->label, &root, err));
    weir_status s = parse_tensors(f, root, f->bytes + 8 + header, f->n_bytes - 8 - (size_t)header, err);
    json_decref(root);
    return s;
}

void weir__st_file_close(st_file *f) {
    if (f->mapped) weir__map_free(f->bytes, f->n_bytes);
    weir_free(f->tensors);
    weir_free(f->text);
    weir_free(f->label);
    memset(f, 0, sizeof *f);
}

weir_status weir__st_file_from_bytes(st_file *f, const void *bytes, size_t n, const char *label,
                                     weir_err *err) {
    f->label = weir_strdup(label);
    if (!f->label) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for its name", weir__label(label));
    f->bytes = bytes;
    f->n_bytes = n;
    return parse_file(f, err);
}

weir_status weir__st_file_from_path(st_file *f, const char *path, weir_err *err) {
    WEIR_TRY(weir__map_file(path, &f->bytes, &f->n_bytes, err));
    f->mapped = true;
    return weir__st_file_from_bytes(f, f->bytes, f->n_bytes, path, err);
}
