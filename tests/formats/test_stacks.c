/* Experts that a directory holds in one tensor: every element is where a model looks for it, and what does
 * not fit is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/stacks.h"
#include "kernels/base/mem.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"
#include "tests/support/safetensors_write.h"

enum { N = 3, FF = 70, DIM = 64, BLOCKS = DIM / 32 };

#define X "model.layers.0.mlp.experts."

static weir_safetensors *open_blob(st_blob *b, uint8_t **bytes) {
    weir_safetensors *s = NULL;
    weir_err err = {""};
    size_t n;
    *bytes = st_bytes(b, &n);
    cr_assert_eq(weir__safetensors_open_bytes(&s, *bytes, n, "m", &err), WEIR_OK, "%s", err.text);
    return s;
}

static weir_tensor stack_of(const weir_safetensors *s, const char *name, weir_dtype dtype, int64_t rows,
                            int64_t cols, void **data) {
    weir_tensor t;
    weir_err err = {""};
    cr_assert_eq(weir__stack_check(s, name, "m", &err), WEIR_OK, "%s", err.text);
    cr_assert(weir__stack_tensor(s, name, &t) && t.dtype == dtype && !t.data, "%s", name);
    cr_assert(t.n_outer == (cols > 1) && (cols == 1 || t.outer[0] == N), "%s", name);
    cr_assert(t.rows == (cols > 1 ? rows : N) && t.cols == (cols > 1 ? cols : rows), "%s", name);
    *data = weir__stack_elements(s, name);
    cr_assert(*data);
    t.data = *data, t.n_outer = 0, t.rows = cols > 1 ? N * rows : N;
    return t;
}

/* The number of an element of the file: exact in every type. */
static float number(int64_t i) { return (float)(i % 251) - 125.0f; }

static void put_floats(st_blob *b, const char *name, weir_dtype dtype, const int64_t *shape, int n_dim) {
    int64_t n = 1;
    for (int d = 0; d < n_dim; d++) n *= shape[d];
    const size_t bytes = (size_t)n * (size_t)weir_dtype_bytes(dtype);
    uint8_t *to = st_put(b, name, dtype == WEIR_DTYPE_F32 ? "F32" : "BF16", shape, n_dim, NULL, bytes);
    for (int64_t i = 0; i < n; i++) {
        const float f = number(i);
        const uint16_t half = weir_bf16_from_f32(f);
        memcpy(to + (size_t)i * (bytes / (size_t)n), dtype == WEIR_DTYPE_F32 ? (const void *)&f : &half,
               bytes / (size_t)n);
    }
}

static void check_floats(weir_dtype dtype) {
    static const struct {
        const char *name;
        int64_t rows, cols, all, part, parts;
    } t[] = {{X "gate_proj.weight", FF, DIM, 2 * FF, 0, 2}, {X "up_proj.weight", FF, DIM, 2 * FF, 1, 2},
             {X "down_proj.weight", DIM, FF, DIM, 0, 1},    {X "gate_proj.bias", FF, 1, 2 * FF, 0, 2},
             {X "up_proj.bias", FF, 1, 2 * FF, 1, 2},       {X "down_proj.bias", DIM, 1, DIM, 0, 1}};
    st_blob b = {0};
    uint8_t *bytes;
    put_floats(&b, X "gate_up_proj", dtype, (int64_t[]){N, DIM, 2 * FF}, 3);
    put_floats(&b, X "down_proj", dtype, (int64_t[]){N, FF, DIM}, 3);
    put_floats(&b, X "gate_up_proj_bias", dtype, (int64_t[]){N, 2 * FF}, 2);
    put_floats(&b, X "down_proj_bias", dtype, (int64_t[]){N, DIM}, 2);
    weir_safetensors *s = open_blob(&b, &bytes);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        void *data;
        const weir_tensor w = stack_of(s, t[i].name, dtype, t[i].rows, t[i].cols, &data);
        for (int64_t e = 0; e < N; e++)
            for (int64_t r = 0; r < t[i].rows; r++)
                for (int64_t c = 0; c < t[i].cols; c++) {
                    const float want = number((e * t[i].cols + c) * t[i].all + r * t[i].parts + t[i].part);
                    const float got =
                        t[i].cols > 1 ? weir_tensor_get(&w, e * t[i].rows + r, c) : weir_tensor_get(&w, e, r);
                    cr_assert_eq(got, want, "%s (%ld, %ld, %ld): %g, want %g", t[i].name, (long)e, (long)r,
                                 (long)c, (double)got, (double)want);
                }
        weir_free(data);
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(weir__stack_key(s, t[k].name), weir__stack_key(s, t[i].name));
    }
    weir__safetensors_close(s);
    free(bytes);
}

Test(stacks, floats_have_their_outputs_before_their_inputs) {
    check_floats(WEIR_DTYPE_F32);
    check_floats(WEIR_DTYPE_BF16);
}

/* E2M1 (OCP Microscaling Formats 1.0, section 5.3.3). */
static const float E2M1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

Test(stacks, blocks_are_the_elements_that_their_codes_mean) {
    const int64_t rows = 2 * FF, n = N * rows * BLOCKS;
    uint64_t rng = 5;
    uint8_t *codes = malloc((size_t)n * 16), *scales = malloc((size_t)n), *bytes;
    cr_assert(codes && scales);
    for (int64_t i = 0; i < 16 * n; i++) codes[i] = (uint8_t)(rng_u64(&rng) >> 56);
    for (int64_t i = 0; i < n; i++) scales[i] = (uint8_t)(120 + rng_u64(&rng) % 12);
    st_blob b = {0};
    st_put(&b, X "gate_up_proj_blocks", "U8", (int64_t[]){N, rows, BLOCKS, 16}, 4, codes, (size_t)n * 16);
    st_put(&b, X "gate_up_proj_scales", "U8", (int64_t[]){N, rows, BLOCKS}, 3, scales, (size_t)n);
    weir_safetensors *s = open_blob(&b, &bytes);
    for (int part = 0; part < 2; part++) {
        void *data;
        const weir_tensor w =
            stack_of(s, part ? X "up_proj.weight" : X "gate_proj.weight", WEIR_DTYPE_MXFP4, FF, DIM, &data);
        for (int64_t r = 0; r < N * FF; r++)
            for (int64_t c = 0; c < DIM; c++) {
                const int64_t block = (2 * r + part) * BLOCKS + c / 32;
                const uint8_t byte = codes[16 * block + c % 32 / 2];
                const float scale = scales[block] >= 127 ? (float)(1 << (scales[block] - 127))
                                                         : 1.0f / (float)(1 << (127 - scales[block]));
                const float want = scale * E2M1[c % 2 ? byte >> 4 : byte & 15];
                const float got = weir_tensor_get(&w, r, c);
                cr_assert_eq(got, want, "part %d (%ld, %ld): %g, want %g", part, (long)r, (long)c,
                             (double)got, (double)want);
            }
        weir_free(data);
    }
    weir__safetensors_close(s);
    free(codes), free(scales), free(bytes);
}

Test(stacks, names_are_those_of_models) {
    static const struct {
        const char *part, *want;
    } t[] = {{X "gate_up_proj_blocks", X "gate_proj.weight"},
             {X "gate_up_proj_scales", X "gate_proj.weight"},
             {X "gate_up_proj", X "gate_proj.weight"},
             {X "gate_up_proj_bias", X "gate_proj.bias"},
             {X "down_proj_scales", X "down_proj.weight"},
             {X "down_proj_bias", X "down_proj.bias"},
             {X "down_proj_bias_blocks", NULL},
             {X "up_proj", NULL},
             {X "0.down_proj.weight", NULL},
             {"model.layers.0.mlp.gate_up_proj", NULL}};
    char out[WEIR__ENTRY_NAME_CAP];
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const bool is = weir__stack_name(t[i].part, out);
        cr_assert_eq(is, t[i].want != NULL, "%s", t[i].part);
        cr_assert(!is || strcmp(out, t[i].want) == 0, "%s: %s", t[i].part, out);
    }
}

typedef struct part {
    const char *name, *type;
    int64_t shape[4];
    int n_dim;
} part;

static void refused(const part *p, int n, const char *name, const char *about) {
    st_blob b = {0};
    uint8_t *bytes;
    weir_err err = {""};
    weir_tensor t;
    for (int i = 0; i < n; i++) {
        int64_t bytes_of = strcmp(p[i].type, "U8") == 0 ? 1 : strcmp(p[i].type, "I64") == 0 ? 8 : 4;
        for (int d = 0; d < p[i].n_dim; d++) bytes_of *= p[i].shape[d];
        uint8_t *to = st_put(&b, p[i].name, p[i].type, p[i].shape, p[i].n_dim, NULL, (size_t)bytes_of);
        memset(to, 0, (size_t)bytes_of);
    }
    weir_safetensors *s = open_blob(&b, &bytes);
    cr_expect_eq(weir__stack_check(s, name, "m", &err), WEIR_EFORMAT);
    cr_expect(err_is_line(&err, about), "want \"%s\", got: %s", about, err.text);
    cr_expect(!weir__stack_tensor(s, name, &t) && !weir__stack_elements(s, name) &&
              !weir__stack_key(s, name));
    weir__safetensors_close(s);
    free(bytes);
}

Test(stacks, parts_that_do_not_fit_are_refused) {
    static const part codes = {X "gate_up_proj_blocks", "U8", {2, 6, 1, 16}, 4},
                      scales = {X "gate_up_proj_scales", "U8", {2, 6, 1}, 3},
                      plain = {X "gate_up_proj", "F32", {2, 32, 6}, 3};
    static const char gate[] = X "gate_proj.weight";
    refused(&codes, 1, gate, "gate_up_proj_blocks: no _scales beside it");
    refused(&scales, 1, gate, "gate_up_proj_scales: no _blocks beside it");
    refused((const part[]){codes, scales, plain}, 3, gate, "are in the file as blocks too");
    refused(&plain, 1, X "down_proj.weight", "tensor " X "down_proj.weight: missing");
    refused(&plain, 1, "model.norm.weight", "no experts' tensor");
    part p[2] = {codes, scales};
    p[0].shape[3] = 8;
    refused(p, 2, gate, "U8 in 4 dimensions, expected U8 in 4, the last of 16");
    p[0] = codes, p[0].type = "F32";
    refused(p, 2, gate, "F32 in 4 dimensions");
    p[0] = codes, p[1].shape[1] = 5;
    refused(p, 2, gate, "gate_up_proj_scales: U8 in 3 dimensions, expected U8 (2, 6, 1)");
    p[1] = scales, p[0].shape[1] = p[1].shape[1] = 7;
    refused(p, 2, gate, "7 outputs, expected as many of gate as of up");
    p[0] = plain, p[0].type = "I64";
    refused(p, 1, gate, "I64 in 3 dimensions, expected F32, F16 or BF16 in 3");
    p[0] = plain, p[0].n_dim = 2;
    refused(p, 1, gate, "F32 in 2 dimensions");
    p[0] = plain, p[0].shape[2] = 5;
    refused(p, 1, gate, "5 outputs, expected as many");
    p[0] = plain, p[0].shape[0] = 0, p[0].shape[1] = p[0].shape[2] = 1 << 30;
    refused(p, 1, gate, "gate_up_proj: no elements");
    p[0] = codes, p[1] = scales, p[0].shape[0] = p[1].shape[0] = p[0].shape[1] = p[1].shape[1] = 1 << 29;
    p[0].shape[2] = p[1].shape[2] = 0;
    refused(p, 2, gate, "gate_up_proj_blocks: no elements");
}
