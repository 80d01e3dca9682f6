#include "host/formats/safetensors/stacks.h"

#include <stdio.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "host/formats/safetensors/int4.h"
#include "kernels/base/mem.h"

#define FAIL(e, ...) weir__fail_tensor(err, label, (e)->name, __VA_ARGS__)

enum { BLOCK = 32, BLOCK_BYTES = 17, CODE_BYTES = 16, TILE = 64 };

typedef struct stack_name {
    const char *model, *file;
    int part, parts; /* every parts-th output from `part` on */
    bool bias;
} stack_name;

static const stack_name NAMES[] = {
    {".experts.gate_proj.weight", ".experts.gate_up_proj", 0, 2, false},
    {".experts.up_proj.weight", ".experts.gate_up_proj", 1, 2, false},
    {".experts.down_proj.weight", ".experts.down_proj", 0, 1, false},
    {".experts.gate_proj.bias", ".experts.gate_up_proj_bias", 0, 2, true},
    {".experts.up_proj.bias", ".experts.gate_up_proj_bias", 1, 2, true},
    {".experts.down_proj.bias", ".experts.down_proj_bias", 0, 1, true},
};
enum { N_NAME = sizeof NAMES / sizeof *NAMES };

/* What may follow the file's name of a weight. */
static const char *const ENDS[] = {"", "_blocks", "_scales"};
enum { PLAIN, BLOCKS, SCALES, N_END };

/* ---- names --------------------------------------------------------------------------------------------- */

static bool find_end(const weir_safetensors *s, const stack_name *n, const char *name, int end,
                     weir_entry *out) {
    char file[WEIR__ENTRY_NAME_CAP], own[WEIR__ENTRY_NAME_CAP];
    snprintf(file, sizeof file, "%s%s", n->file, ENDS[end]);
    return (end == PLAIN || !n->bias) && weir__entry_renamed(name, n->model, file, own) &&
           weir__safetensors_find(s, own, out);
}

static const stack_name *named(const char *name) {
    char same[WEIR__ENTRY_NAME_CAP];
    for (int i = 0; i < N_NAME; i++)
        if (weir__entry_renamed(name, NAMES[i].model, NAMES[i].model, same)) return &NAMES[i];
    return NULL;
}

bool weir__stack_find(const weir_safetensors *s, const char *name, weir_entry *out) {
    const stack_name *n = named(name);
    for (int end = 0; n && end < N_END; end++)
        if (find_end(s, n, name, end, out)) return true;
    return false;
}

bool weir__stack_name(const char *part, char out[WEIR__ENTRY_NAME_CAP]) {
    for (int i = 0; i < N_NAME; i++)
        for (int end = 0; end < (NAMES[i].bias ? 1 : N_END); end++) {
            char file[WEIR__ENTRY_NAME_CAP];
            snprintf(file, sizeof file, "%s%s", NAMES[i].file, ENDS[end]);
            if (weir__entry_renamed(part, file, NAMES[i].model, out)) return true;
        }
    return false;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

typedef struct stack {
    const stack_name *n;
    weir_entry codes, scales; /* codes: of floats the elements */
    bool packed;
    int64_t count, rows, cols; /* rows: of one part */
} stack;

/* Without elements the other dimensions may be any numbers. */
static weir_status check_sizes(const stack *k, int64_t all, const char *label, weir_err *err) {
    if (k->codes.bytes == 0) return FAIL(&k->codes, "no elements");
    if (all % k->n->parts == 0) return WEIR_OK;
    return FAIL(&k->codes, "%lld outputs, expected as many of gate as of up", (long long)all);
}

static weir_status open_floats(stack *k, const char *label, weir_err *err) {
    const weir_entry *e = &k->codes;
    const int dims = k->n->bias ? 2 : 3;
    if (e->dtype < 0 || !weir_dtype_is_float((weir_dtype)e->dtype) || e->n_dim != dims)
        return FAIL(e, "%.10s in %d dimensions, expected F32, F16 or BF16 in %d", e->type, e->n_dim, dims);
    const int64_t all = e->shape[dims - 1];
    WEIR_TRY(check_sizes(k, all, label, err));
    k->count = e->shape[0], k->rows = all / k->n->parts, k->cols = k->n->bias ? 1 : e->shape[1];
    return WEIR_OK;
}

static weir_status open_blocks(stack *k, const char *label, weir_err *err) {
    const weir_entry *e = &k->codes, *s = &k->scales;
    if (strcmp(e->type, "U8") != 0 || e->n_dim != 4 || e->shape[3] != CODE_BYTES)
        return FAIL(e, "%.10s in %d dimensions, expected U8 in 4, the last of %d", e->type, e->n_dim,
                    CODE_BYTES);
    if (strcmp(s->type, "U8") != 0 || s->n_dim != 3 || memcmp(s->shape, e->shape, 3 * sizeof *s->shape) != 0)
        return FAIL(s, "%.10s in %d dimensions, expected U8 (%lld, %lld, %lld)", s->type, s->n_dim,
                    (long long)e->shape[0], (long long)e->shape[1], (long long)e->shape[2]);
    WEIR_TRY(check_sizes(k, e->shape[1], label, err));
    k->count = e->shape[0], k->rows = e->shape[1] / k->n->parts, k->cols = BLOCK * e->shape[2];
    return WEIR_OK;
}

static weir_status open_stack(const weir_safetensors *s, const char *name, stack *k, const char *label,
                              weir_err *err) {
    weir_entry plain;
    *k = (stack){.n = named(name)};
    if (!k->n) return weir__fail_tensor(err, label, name, "no experts' tensor");
    const bool floats = find_end(s, k->n, name, PLAIN, &plain),
               codes = find_end(s, k->n, name, BLOCKS, &k->codes),
               scales = find_end(s, k->n, name, SCALES, &k->scales);
    if (floats && (codes || scales)) return FAIL(&plain, "the same matrices are in the file as blocks too");
    if (codes && !scales) return FAIL(&k->codes, "no _scales beside it");
    if (scales && !codes) return FAIL(&k->scales, "no _blocks beside it");
    k->packed = codes;
    if (codes) return open_blocks(k, label, err);
    if (!floats) return weir__fail_tensor(err, label, name, "missing");
    k->codes = plain;
    return open_floats(k, label, err);
}

weir_status weir__stack_check(const weir_safetensors *s, const char *name, const char *label, weir_err *err) {
    stack k;
    return open_stack(s, name, &k, label, err);
}

bool weir__stack_tensor(const weir_safetensors *s, const char *name, weir_tensor *out) {
    stack k;
    if (open_stack(s, name, &k, "", NULL) != WEIR_OK) return false;
    const int64_t shape[3] = {k.count, k.rows, k.cols};
    *out = weir_tensor_of(NULL, k.packed ? WEIR_DTYPE_MXFP4 : (weir_dtype)k.codes.dtype, shape,
                          k.n->bias ? 2 : 3);
    return true;
}

/* Neighbours' bytes: no two elements of a file lie there twice. */
const void *weir__stack_key(const weir_safetensors *s, const char *name) {
    stack k;
    return open_stack(s, name, &k, "", NULL) == WEIR_OK ? (const char *)k.codes.data + k.n->part : NULL;
}

/* ---- elements ------------------------------------------------------------------------------------------ */

/* One expert's part, outputs before inputs; by tiles, so that lines of both sides are used whole. */
static void turn(const stack *k, const unsigned char *from, unsigned char *to, size_t bytes) {
    const int64_t all = k->rows * k->n->parts;
    for (int64_t r0 = 0; r0 < k->rows; r0 += TILE) {
        const int64_t r1 = k->rows - r0 < TILE ? k->rows : r0 + TILE;
        for (int64_t c0 = 0; c0 < k->cols; c0 += TILE) {
            const int64_t c1 = k->cols - c0 < TILE ? k->cols : c0 + TILE;
            for (int64_t r = r0; r < r1; r++)
                for (int64_t c = c0; c < c1; c++)
                    memcpy(to + (size_t)(r * k->cols + c) * bytes,
                           from + (size_t)(c * all + r * k->n->parts + k->n->part) * bytes, bytes);
        }
    }
}

static void *floats(const stack *k) {
    const size_t bytes = (size_t)weir_dtype_bytes((weir_dtype)k->codes.dtype),
                 one = (size_t)(k->rows * k->cols) * bytes;
    unsigned char *out = weir_alloc((size_t)k->count, one);
    for (int64_t e = 0; out && e < k->count; e++)
        turn(k, (const unsigned char *)k->codes.data + (size_t)(e * k->n->parts) * one, out + (size_t)e * one,
             bytes);
    return out;
}

static void *blocks(const stack *k) {
    const int64_t row_blocks = k->cols / BLOCK;
    const unsigned char *codes = k->codes.data, *scales = k->scales.data;
    unsigned char *out = weir_alloc((size_t)(k->count * k->rows), (size_t)row_blocks * BLOCK_BYTES),
                  *to = out;
    for (int64_t r = 0; out && r < k->count * k->rows; r++) {
        const int64_t from = (r * k->n->parts + k->n->part) * row_blocks;
        for (int64_t b = 0; b < row_blocks; b++, to += BLOCK_BYTES) {
            to[0] = scales[from + b];
            weir__int4_codes(codes + (from + b) * CODE_BYTES, to + 1);
        }
    }
    return out;
}

void *weir__stack_elements(const weir_safetensors *s, const char *name) {
    stack k;
    if (open_stack(s, name, &k, "", NULL) != WEIR_OK) return NULL;
    return k.packed ? blocks(&k) : floats(&k);
}

void weir__stack_release(const weir_safetensors *s, const char *name) {
    stack k;
    if (open_stack(s, name, &k, "", NULL) != WEIR_OK) return;
    weir__safetensors_release(s, k.codes.name);
    if (k.packed) weir__safetensors_release(s, k.scales.name);
}
