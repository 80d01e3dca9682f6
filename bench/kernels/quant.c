/* Products with quantised weights over the matrices of Qwen2.5 0.5B and 1.5B, and large ones of Gemma 2 2B
 * and Llama 3 8B: one row, the rows of a verify pass, a prompt; and how long packing them takes. */
#include <math.h>
#include <string.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"
#include "kernels/weight/pack.h"
#include "kernels/weight/quant.h"

/* Outputs that are compared with the truth: a strip at the start and one at the end. */
enum { STRIP = 32, MAX_ROW = 128, MAX_COPY = 256 };

/* Inputs are rounded to 1/127 of the largest of 32, about 2.3 deviations of them: 2^-7.6 of the norm where
 * nothing else is rounded, twice that for activations whose slope passes 1 and for each factor of a gated
 * product. Devices round less. */
static const double TOLERANCE = 0x1p-6;

typedef struct matrix {
    const char *name;
    weir_dtype dtype;
    int64_t n, k;
    bool gated, norm;
    weir_epilogue epilogue;
} matrix;

static const matrix matrices[] = {
    {.name = "0.5B gate up",
     .dtype = WEIR_DTYPE_Q5_0,
     .n = 4864,
     .k = 896,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "0.5B down", .dtype = WEIR_DTYPE_Q6_K, .n = 896, .k = 4864, .epilogue = WEIR_EPI_ADD},
    {.name = "0.5B down", .dtype = WEIR_DTYPE_Q4_K, .n = 896, .k = 4864, .epilogue = WEIR_EPI_ADD},
    {.name = "0.5B head", .dtype = WEIR_DTYPE_Q8_0, .n = 151936, .k = 896, .norm = true},
    {.name = "1.5B q", .dtype = WEIR_DTYPE_Q4_K, .n = 1536, .k = 1536, .norm = true},
    {.name = "1.5B gate up",
     .dtype = WEIR_DTYPE_Q4_K,
     .n = 8960,
     .k = 1536,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "1.5B down", .dtype = WEIR_DTYPE_Q4_K, .n = 1536, .k = 8960, .epilogue = WEIR_EPI_ADD},
    {.name = "1.5B down", .dtype = WEIR_DTYPE_Q6_K, .n = 1536, .k = 8960, .epilogue = WEIR_EPI_ADD},
    {.name = "1.5B head", .dtype = WEIR_DTYPE_Q6_K, .n = 151936, .k = 1536, .norm = true},
    {.name = "Gemma 2B gate up",
     .dtype = WEIR_DTYPE_Q4_K,
     .n = 9216,
     .k = 2304,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_GELU_TANH},
    {.name = "Gemma 2B down", .dtype = WEIR_DTYPE_Q6_K, .n = 2304, .k = 9216},
    {.name = "Llama 8B gate up",
     .dtype = WEIR_DTYPE_Q4_K,
     .n = 14336,
     .k = 4096,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "Llama 8B down", .dtype = WEIR_DTYPE_Q6_K, .n = 4096, .k = 14336, .epilogue = WEIR_EPI_ADD},
    {.name = "square", .dtype = WEIR_DTYPE_Q4_0, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q4_1, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q5_1, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q5_K, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q4_K, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_IQ4_NL, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_IQ4_XS, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_MXFP4, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_INT4, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_INT4_128, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q2_K, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q3_K, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_Q8_0, .n = 4096, .k = 4096},
    {.name = "square", .dtype = WEIR_DTYPE_FP8, .n = 4096, .k = 4096},
};

static const matrix tiny[] = {
    {.name = "tiny", .dtype = WEIR_DTYPE_Q8_0, .n = 96, .k = 64},
    {.name = "tiny gated",
     .dtype = WEIR_DTYPE_Q5_0,
     .n = 80,
     .k = 96,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "tiny k", .dtype = WEIR_DTYPE_Q4_K, .n = 64, .k = 256, .epilogue = WEIR_EPI_ADD},
    {.name = "tiny k", .dtype = WEIR_DTYPE_Q6_K, .n = 64, .k = 256, .norm = true},
    {.name = "tiny values", .dtype = WEIR_DTYPE_MXFP4, .n = 64, .k = 96},
    {.name = "tiny values", .dtype = WEIR_DTYPE_IQ4_XS, .n = 64, .k = 256},
    {.name = "tiny zeros", .dtype = WEIR_DTYPE_INT4, .n = 64, .k = 96},
    {.name = "tiny zeros", .dtype = WEIR_DTYPE_INT4_128, .n = 64, .k = 128},
    {.name = "tiny halves", .dtype = WEIR_DTYPE_Q2_K, .n = 64, .k = 256},
    {.name = "tiny halves", .dtype = WEIR_DTYPE_Q3_K, .n = 64, .k = 256},
    {.name = "tiny floats", .dtype = WEIR_DTYPE_FP8, .n = 64, .k = 192},
};

static const int row_counts[] = {1, 2, 4, 6, 8, 16, 128}, tiny_counts[] = {1, 6, 9};
enum { N_COUNT = sizeof row_counts / sizeof *row_counts, N_TINY = sizeof tiny_counts / sizeof *tiny_counts };

typedef struct product {
    const matrix *m;
    int64_t n_out; /* rows of the file: twice n where gated */
    size_t bytes;  /* packed */
    unsigned char *file;
    float *x, *norm; /* host */
    float *dev_x, *dev_norm, *dev_y;
    weir_weight w[MAX_COPY];
    int n_copy;
} product;

typedef struct call {
    product *p;
    int64_t n_row;
} call;

/* Random bytes are random codes; scales become numbers between 2^-9 and 2^-7, of either sign. */
static void random_blocks(kb *k, const matrix *m, unsigned char *file, size_t bytes) {
    const size_t size = (size_t)weir_dtype_block_bytes(m->dtype);
    const weir_quant_scales at = weir__quant_scales_of(m->dtype);
    kb_random_bf16(k, (uint16_t *)(void *)file, bytes / 2);
    /* bf16 leaves some bits alone */
    for (size_t i = 0; i + 1 < bytes; i += 2) file[i + 1] ^= (unsigned char)(file[i] * 37u);
    for (size_t b = 0; b + size <= bytes; b += size) {
        const int f16[2] = {at.d, at.min};
        for (int i = 0; i < 2; i++) {
            unsigned char *top = file + b + f16[i] + 1;
            if (f16[i] >= 0) *top = (unsigned char)((*top & 0x83u) | 0x18u);
        }
        if (m->dtype == WEIR_DTYPE_MXFP4) file[b] = 119u + file[b] % 4u;
        if (m->dtype == WEIR_DTYPE_INT4 || m->dtype == WEIR_DTYPE_INT4_128)
            file[b + 3] = (unsigned char)((file[b + 3] & 0x80u) | 0x3bu);
        if (m->dtype == WEIR_DTYPE_FP8) memcpy(file + b, &(float){0x1p-14f}, sizeof(float));
    }
}

static weir_tensor part_of(const product *p, bool up, int64_t n0, int64_t n) {
    const int64_t row_bytes = weir_dtype_row_bytes(p->m->dtype, p->m->k);
    return (weir_tensor){.data = p->file + ((up ? p->m->n : 0) + n0) * row_bytes,
                         .dtype = p->m->dtype,
                         .rows = n,
                         .cols = p->m->k};
}

static weir_status pack(weir_backend *be, const product *p, int64_t n0, int64_t n, weir_weight *w) {
    const weir_tensor part[2] = {part_of(p, false, n0, n), part_of(p, true, n0, n)};
    return weir__weight_pack(be, part, p->m->gated ? 2 : 1, p->m->gated, WEIR_USE_ROWS, w);
}

static weir_linear arguments(const product *p, const weir_weight *w, int64_t n_row) {
    return (weir_linear){.x = p->dev_x,
                         .ldx = p->m->k,
                         .norm = p->dev_norm,
                         .eps = 1e-6f,
                         .w = w,
                         .y = p->dev_y,
                         .ldy = p->m->n,
                         .n_row = n_row,
                         .epilogue = p->m->epilogue,
                         .scale = 1.0f,
                         .rows = n_row <= 16};
}

static weir_status run(kb *k, void *ctx, int i) {
    const call *c = ctx;
    weir_linear a = arguments(c->p, &c->p->w[i % c->p->n_copy], c->n_row);
    return k->be->op.linear(k->be, &a);
}

static weir_status run_pack(kb *k, void *ctx, int i) {
    const call *c = ctx;
    weir_weight w;
    (void)i;
    WEIR_TRY(pack(k->be, c->p, 0, c->p->m->n, &w));
    weir__weight_free(k->be, &w);
    return WEIR_OK;
}

/* ---- set up -------------------------------------------------------------------------------------------- */

static weir_status copy_weights(kb *k, product *p) {
    WEIR_TRY(pack(k->be, p, 0, p->m->n, &p->w[0]));
    p->n_copy = 1;
    for (int want = kb_copies(k, (double)p->bytes); p->n_copy < want; p->n_copy++) {
        weir_weight *w = &p->w[p->n_copy];
        *w = p->w[0];
        w->data = weir__backend_alloc(k->be, p->bytes);
        if (!w->data) return WEIR_EDEVMEM;
        WEIR_TRY(k->be->stream->copy(k->be, w->data, p->w[0].data, p->bytes));
    }
    return WEIR_OK;
}

static weir_status set_up(kb *k, product *p) {
    const matrix *m = p->m;
    const size_t n_x = (size_t)(MAX_ROW * m->k), n_y = (size_t)(MAX_ROW * m->n);
    p->n_out = m->n * (m->gated ? 2 : 1);
    p->bytes = weir__weight_bytes(weir__layout_of(k->be->device, m->dtype, WEIR_USE_ROWS), m->dtype, m->n,
                                  m->k, m->gated);
    const size_t file_bytes = (size_t)(p->n_out * weir_dtype_row_bytes(m->dtype, m->k));
    p->file = weir_alloc(file_bytes, 1);
    p->x = weir_alloc(n_x, sizeof *p->x);
    p->norm = weir_alloc((size_t)m->k, sizeof *p->norm);
    if (!p->file || !p->x || !p->norm) return WEIR_ENOMEM;
    random_blocks(k, m, p->file, file_bytes);
    kb_random_f32(k, p->x, n_x, 1.0f);
    kb_random_f32(k, p->norm, (size_t)m->k, 0.5f);
    p->dev_x = kb_to_device(k, p->x, n_x * sizeof *p->x);
    p->dev_y = weir__backend_alloc(k->be, n_y * sizeof *p->dev_y);
    if (m->norm) p->dev_norm = kb_to_device(k, p->norm, (size_t)m->k * sizeof *p->norm);
    if (!p->dev_x || !p->dev_y || (m->norm && !p->dev_norm)) return WEIR_EDEVMEM;
    return copy_weights(k, p);
}

static void clean_up(kb *k, product *p) {
    for (int i = 0; i < p->n_copy; i++) weir__weight_free(k->be, &p->w[i]);
    weir__backend_free(k->be, p->dev_x);
    weir__backend_free(k->be, p->dev_norm);
    weir__backend_free(k->be, p->dev_y);
    weir_free(p->file);
    weir_free(p->x);
    weir_free(p->norm);
}

/* ---- truth --------------------------------------------------------------------------------------------- */

/* The portable op on STRIP outputs from n0 on, into want (n_row, STRIP). y starts from zeros. */
static weir_status truth_strip(kb *k, const product *p, int64_t n0, int64_t n, int64_t n_row, float *want) {
    weir_weight w;
    WEIR_TRY(pack(k->truth, p, n0, n, &w));
    for (int64_t i = 0; i < n_row * STRIP; i++) want[i] = 0.0f;
    weir_linear a = {.x = p->x,
                     .ldx = p->m->k,
                     .norm = p->m->norm ? p->norm : NULL,
                     .eps = 1e-6f,
                     .w = &w,
                     .y = want,
                     .ldy = STRIP,
                     .n_row = n_row,
                     .epilogue = p->m->epilogue,
                     .scale = 1.0f,
                     .rows = true};
    const weir_status s = k->truth->op.linear(k->truth, &a);
    weir__weight_free(k->truth, &w);
    return s;
}

/* The larger error of the strips of one product of n_row rows; at most the last 8 rows are compared. */
static weir_status check(kb *k, product *p, int64_t n_row, double *error) {
    const int64_t n = p->m->n, start[2] = {0, n - STRIP}, r0 = n_row > 8 ? n_row - 8 : 0, rows = n_row - r0;
    float *y = weir_alloc((size_t)(n_row * n), sizeof *y),
          *want = weir_alloc((size_t)(2 * rows * STRIP), sizeof *want);
    weir_status s = y && want ? WEIR_OK : WEIR_ENOMEM;
    weir_linear a = arguments(p, &p->w[p->n_copy - 1], n_row);
    if (s == WEIR_OK) s = weir__backend_zero(k->be, p->dev_y, (size_t)(n_row * n) * sizeof *y);
    if (s == WEIR_OK) s = k->be->op.linear(k->be, &a);
    if (s == WEIR_OK) s = weir__backend_download(k->be, y, p->dev_y, (size_t)(n_row * n) * sizeof *y);
    *error = 0;
    float *const x = p->x;
    p->x += r0 * p->m->k;
    for (int i = 0; s == WEIR_OK && i < 2; i++) {
        s = truth_strip(k, p, start[i], STRIP, rows, want);
        float *got = want + rows * STRIP;
        for (int64_t r = 0; r < rows; r++)
            memcpy(got + r * STRIP, y + (r0 + r) * n + start[i], STRIP * sizeof *got);
        *error = fmax(*error, kb_error(got, want, (size_t)(rows * STRIP)));
    }
    p->x = x;
    weir_free(y);
    weir_free(want);
    return s;
}

/* ---- one matrix ---------------------------------------------------------------------------------------- */

static void time_matrix(kb *k, const matrix *m) {
    product *p = weir_calloc(1, sizeof *p);
    kb_case c[N_COUNT + 1] = {{.inner = 0}};
    call with[N_COUNT + 1];
    int counts[N_COUNT];
    const int n = kb_rows(k, k->tiny ? tiny_counts : row_counts, k->tiny ? N_TINY : N_COUNT, counts);
    weir_status s = p ? WEIR_OK : WEIR_ENOMEM;
    if (p) {
        p->m = m;
        s = set_up(k, p);
    }
    for (int i = 0; s == WEIR_OK && i < n; i++) {
        with[i] = (call){p, counts[i]};
        c[i] = (kb_case){.op = "linear",
                         .run = run,
                         .ctx = &with[i],
                         .tolerance = TOLERANCE * (m->gated ? 2 : 1),
                         .inner = kb_inner(k, p->n_copy) / (counts[i] > 16 ? 8 : 1),
                         .bytes = (double)p->bytes + 4.0 * (double)(counts[i] * (m->n + m->k))};
        if (c[i].inner < 1) c[i].inner = 1;
        (void)snprintf(c[i].shape, sizeof c[i].shape, "%s: n %ld k %ld %s M %d%s", m->name, (long)m->n,
                       (long)m->k, weir_dtype_name(m->dtype), counts[i], m->gated ? " gated" : "");
        s = check(k, p, counts[i], &c[i].error);
    }
    if (s == WEIR_OK && !k->be->device) { /* a device's is its copy engine's */
        with[n] = (call){p, 0};
        c[n] = (kb_case){
            .op = "pack", .run = run_pack, .ctx = &with[n], .inner = 1, .bytes = 2.0 * (double)p->bytes};
        (void)snprintf(c[n].shape, sizeof c[n].shape, "%s: n %ld k %ld %s", m->name, (long)m->n, (long)m->k,
                       weir_dtype_name(m->dtype));
    }
    if (s == WEIR_OK)
        kb_measure(k, c, n + (k->be->device ? 0 : 1));
    else
        kb_give_up(k, "linear", m->name, s);
    if (p) clean_up(k, p);
    weir_free(p);
}

void kb_quant(kb *k) {
    const matrix *m = k->tiny ? tiny : matrices;
    const size_t n = k->tiny ? sizeof tiny / sizeof *tiny : sizeof matrices / sizeof *matrices;
    for (size_t i = 0; i < n; i++) time_matrix(k, &m[i]);
}
