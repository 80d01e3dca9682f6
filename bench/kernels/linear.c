/* Products of decode and verify rows over matrices of 4 to 262 MB, and those of T5 and of decoder-only shapes
 * with their epilogues. */
#include <math.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"
#include "kernels/weight/pack.h"

/* Outputs that are compared with the truth: strips at the start, in the middle and at the end. */
enum { STRIP = 64, N_STRIP = 3, MAX_ROW = 16, MAX_COPY = 256 };

/* Inputs are rounded to bf16, at random half an ulp of 2^-8 each: 2^-9 of the norm, twice that for
 * activations whose slope passes 1, and for each factor of a gated product. */
static const double TOLERANCE = 0x1p-8;

typedef struct matrix {
    const char *name;
    int64_t n, k;
    bool gated, norm, head;
    weir_epilogue epilogue;
    float softcap;
} matrix;

static const matrix matrices[] = {
    {.name = "4 MB", .n = 2048, .k = 1024},
    {.name = "8 MB", .n = 2048, .k = 2048},
    {.name = "17 MB", .n = 4096, .k = 2048},
    {.name = "34 MB", .n = 4096, .k = 4096},
    {.name = "50 MB", .n = 6144, .k = 4096},
    {.name = "105 MB", .n = 12800, .k = 4096},
    {.name = "262 MB", .n = 32000, .k = 4096},
    {.name = "large qkv", .n = 3072, .k = 1024, .norm = true},
    {.name = "large wi", .n = 2816, .k = 1024, .gated = true, .norm = true, .epilogue = WEIR_EPI_GELU_TANH},
    {.name = "large wo", .n = 1024, .k = 2816, .epilogue = WEIR_EPI_ADD},
    {.name = "XL wi", .n = 5120, .k = 2048, .gated = true, .norm = true, .epilogue = WEIR_EPI_GELU_TANH},
    {.name = "XL wo", .n = 2048, .k = 5120, .epilogue = WEIR_EPI_ADD},
    {.name = "small head", .n = 32128, .k = 512, .norm = true, .head = true},
    {.name = "XL head", .n = 32128, .k = 2048, .norm = true, .head = true},
    {.name = "Gemma 2B qkv", .n = 4096, .k = 2304, .norm = true},
    {.name = "Gemma 2B gate up",
     .n = 9216,
     .k = 2304,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_GELU_TANH},
    {.name = "Gemma 2B down", .n = 2304, .k = 9216},
    {.name = "Gemma 2B head", .n = 256000, .k = 2304, .norm = true, .head = true, .softcap = 30.0f},
    {.name = "Gemma 27B qkv", .n = 8192, .k = 4608, .norm = true},
    {.name = "Gemma 27B gate up",
     .n = 36864,
     .k = 4608,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_GELU_TANH},
    {.name = "Gemma 27B down", .n = 4608, .k = 36864},
    {.name = "Llama 8B gate up",
     .n = 14336,
     .k = 4096,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "Llama 8B down", .n = 4096, .k = 14336, .epilogue = WEIR_EPI_ADD},
    {.name = "Qwen 0.5B gate up",
     .n = 4864,
     .k = 896,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "Qwen 0.5B down", .n = 896, .k = 4864, .epilogue = WEIR_EPI_ADD},
    {.name = "Qwen 32B gate up",
     .n = 27648,
     .k = 5120,
     .gated = true,
     .norm = true,
     .epilogue = WEIR_EPI_SILU},
    {.name = "Qwen 32B down", .n = 5120, .k = 27648, .epilogue = WEIR_EPI_ADD},
};

static const matrix tiny[] = {
    {.name = "tiny", .n = 96, .k = 64},
    {.name = "tiny wi", .n = 80, .k = 48, .gated = true, .norm = true, .epilogue = WEIR_EPI_GELU_TANH},
    {.name = "tiny wo", .n = 64, .k = 96, .epilogue = WEIR_EPI_ADD},
    {.name = "tiny head", .n = 128, .k = 64, .norm = true, .head = true},
    {.name = "tiny gate up", .n = 64, .k = 96, .gated = true, .norm = true, .epilogue = WEIR_EPI_SILU},
    {.name = "tiny capped head", .n = 96, .k = 48, .norm = true, .head = true, .softcap = 2.0f},
};

static const int row_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 16}, tiny_counts[] = {1, 6, 16};
enum { N_COUNT = sizeof row_counts / sizeof *row_counts, N_TINY = sizeof tiny_counts / sizeof *tiny_counts };

typedef struct product {
    const matrix *m;
    int64_t n_out;   /* file rows: twice n where gated */
    uint16_t *file;  /* (n_out, k) */
    float *x, *norm; /* host */
    float *dev_x, *dev_norm, *dev_y;
    weir_minmax *dev_minmax;
    weir_weight w[MAX_COPY];
    int n_copy;
} product;

typedef struct call {
    product *p;
    int64_t n_row;
} call;

static weir_linear arguments(const product *p, const weir_weight *w, int64_t n_row) {
    weir_linear a = {.x = p->dev_x,
                     .ldx = p->m->k,
                     .norm = p->dev_norm,
                     .eps = 1e-6f,
                     .w = w,
                     .y = p->dev_y,
                     .ldy = p->m->n,
                     .n_row = n_row,
                     .epilogue = p->m->epilogue,
                     .scale = 1.0f,
                     .softcap = p->m->softcap,
                     .rows = true};
    if (p->dev_minmax) a.minmax = p->dev_minmax, a.minmax_n = (int32_t)p->m->n;
    return a;
}

static weir_status run(kb *k, void *ctx, int i) {
    const call *c = ctx;
    weir_linear a = arguments(c->p, &c->p->w[i % c->p->n_copy], c->n_row);
    return k->be->op.linear(k->be, &a);
}

/* ---- set up -------------------------------------------------------------------------------------------- */

static weir_status copy_weights(kb *k, product *p) {
    const weir_tensor part[2] = {
        {.data = p->file, .dtype = WEIR_DTYPE_BF16, .rows = p->m->n, .cols = p->m->k},
        {.data = p->file + p->m->n * p->m->k, .dtype = WEIR_DTYPE_BF16, .rows = p->m->n, .cols = p->m->k}};
    WEIR_TRY(weir__weight_pack(k->be, part, p->m->gated ? 2 : 1, p->m->gated, WEIR_USE_ROWS, &p->w[0]));
    p->n_copy = 1;
    const size_t bytes = weir__weight_bytes(p->w[0].layout, p->w[0].dtype, p->m->n, p->m->k, p->m->gated);
    for (int want = kb_copies(k, (double)bytes); p->n_copy < want; p->n_copy++) {
        weir_weight *w = &p->w[p->n_copy];
        *w = p->w[0];
        w->data = weir__backend_alloc(k->be, bytes);
        if (!w->data) return WEIR_EDEVMEM;
        WEIR_TRY(k->be->stream->copy(k->be, w->data, p->w[0].data, bytes));
    }
    return WEIR_OK;
}

static weir_status set_up(kb *k, product *p) {
    const size_t n_x = (size_t)(MAX_ROW * p->m->k), n_y = (size_t)(MAX_ROW * p->m->n);
    p->n_out = p->m->n * (p->m->gated ? 2 : 1);
    p->file = weir_alloc((size_t)(p->n_out * p->m->k), sizeof *p->file);
    p->x = weir_alloc(n_x, sizeof *p->x);
    p->norm = weir_alloc((size_t)p->m->k, sizeof *p->norm);
    if (!p->file || !p->x || !p->norm) return WEIR_ENOMEM;
    kb_random_bf16(k, p->file, (size_t)(p->n_out * p->m->k));
    kb_random_f32(k, p->x, n_x, 1.0f);
    kb_random_f32(k, p->norm, (size_t)p->m->k, 0.5f);
    p->dev_x = kb_to_device(k, p->x, n_x * sizeof *p->x);
    p->dev_y = weir__backend_alloc(k->be, n_y * sizeof *p->dev_y);
    if (p->m->norm) p->dev_norm = kb_to_device(k, p->norm, (size_t)p->m->k * sizeof *p->norm);
    if (p->m->head && k->be->minmaxes)
        p->dev_minmax = weir__backend_alloc(k->be, (size_t)(MAX_ROW * weir__minmax_count(p->m->n)) *
                                                       sizeof *p->dev_minmax);
    if (!p->dev_x || !p->dev_y || (p->m->norm && !p->dev_norm)) return WEIR_EDEVMEM;
    return copy_weights(k, p);
}

static void clean_up(kb *k, product *p) {
    for (int i = 0; i < p->n_copy; i++) weir__weight_free(k->be, &p->w[i]);
    weir__backend_free(k->be, p->dev_x);
    weir__backend_free(k->be, p->dev_norm);
    weir__backend_free(k->be, p->dev_y);
    weir__backend_free(k->be, p->dev_minmax);
    weir_free(p->file);
    weir_free(p->x);
    weir_free(p->norm);
}

/* ---- truth --------------------------------------------------------------------------------------------- */

/* The portable op on STRIP outputs from n0 on, into want (n_row, STRIP). y starts from zeros. */
static weir_status truth_strip(kb *k, const product *p, int64_t n0, int64_t n, int64_t n_row, float *want) {
    const matrix *m = p->m;
    const weir_tensor part[2] = {
        {.data = p->file + n0 * m->k, .dtype = WEIR_DTYPE_BF16, .rows = n, .cols = m->k},
        {.data = p->file + (m->n + n0) * m->k, .dtype = WEIR_DTYPE_BF16, .rows = n, .cols = m->k}};
    weir_weight w;
    WEIR_TRY(weir__weight_pack(k->truth, part, m->gated ? 2 : 1, m->gated, WEIR_USE_ROWS, &w));
    for (int64_t i = 0; i < n_row * STRIP; i++) want[i] = 0.0f;
    weir_linear a = {.x = p->x,
                     .ldx = m->k,
                     .norm = m->norm ? p->norm : NULL,
                     .eps = 1e-6f,
                     .w = &w,
                     .y = want,
                     .ldy = STRIP,
                     .n_row = n_row,
                     .epilogue = m->epilogue,
                     .scale = 1.0f,
                     .softcap = m->softcap,
                     .rows = true};
    const weir_status s = k->truth->op.linear(k->truth, &a);
    weir__weight_free(k->truth, &w);
    return s;
}

/* The largest error of the strips of one product of n_row rows. */
static weir_status check(kb *k, const product *p, int64_t n_row, double *error) {
    const int64_t n = p->m->n, width = n < STRIP ? n : STRIP;
    const int64_t start[N_STRIP] = {0, (n - width) / 2, n - width};
    float *y = weir_alloc((size_t)(n_row * n), sizeof *y),
          *want = weir_alloc((size_t)(2 * n_row * STRIP), sizeof *want);
    weir_status s = y && want ? WEIR_OK : WEIR_ENOMEM;
    weir_linear a = arguments(p, &p->w[p->n_copy - 1], n_row);
    if (s == WEIR_OK) s = weir__backend_zero(k->be, p->dev_y, (size_t)(n_row * n) * sizeof *y);
    if (s == WEIR_OK) s = k->be->op.linear(k->be, &a);
    if (s == WEIR_OK) s = weir__backend_download(k->be, y, p->dev_y, (size_t)(n_row * n) * sizeof *y);
    *error = 0;
    for (int i = 0; s == WEIR_OK && i < N_STRIP; i++) {
        s = truth_strip(k, p, start[i], width, n_row, want);
        float *got = want + n_row * STRIP;
        for (int64_t r = 0; r < n_row; r++)
            for (int64_t j = 0; j < STRIP; j++)
                got[r * STRIP + j] = j < width ? y[r * n + start[i] + j] : 0.0f;
        *error = fmax(*error, kb_error(got, want, (size_t)(n_row * STRIP)));
    }
    weir_free(y);
    weir_free(want);
    return s;
}

/* A large one takes so long that few of it hide what starting a graph costs. */
static int calls_of(const kb *k, const product *p) {
    const int64_t large = (int64_t)64 << 20, n = p->n_out * p->m->k; /* values: 128 MB */
    return n < large ? kb_inner(k, p->n_copy) : p->n_copy < 4 ? 4 : p->n_copy;
}

/* ---- one matrix ---------------------------------------------------------------------------------------- */

static void time_matrix(kb *k, const matrix *m) {
    product *p = weir_calloc(1, sizeof *p);
    kb_case c[N_COUNT] = {{.inner = 0}};
    call with[N_COUNT];
    int counts[N_COUNT];
    const int n = kb_rows(k, k->tiny ? tiny_counts : row_counts, k->tiny ? N_TINY : N_COUNT, counts);
    weir_status s = p ? WEIR_OK : WEIR_ENOMEM;
    if (p) {
        p->m = m;
        s = set_up(k, p);
    }
    for (int i = 0; s == WEIR_OK && i < n; i++) {
        with[i] = (call){p, counts[i]};
        c[i] =
            (kb_case){.op = "linear",
                      .run = run,
                      .ctx = &with[i],
                      .tolerance = TOLERANCE * (m->gated ? 2 : 1),
                      .inner = calls_of(k, p),
                      .bytes = 2.0 * (double)(p->n_out * m->k) + 4.0 * (double)(counts[i] * (m->n + m->k))};
        (void)snprintf(c[i].shape, sizeof c[i].shape, "%s: n %ld k %ld bf16 M %d%s%s%s", m->name, (long)m->n,
                       (long)m->k, counts[i], m->gated ? " gated" : "", p->dev_minmax ? " minmaxes" : "",
                       m->softcap > 0 ? " softcap" : "");
        s = check(k, p, counts[i], &c[i].error);
    }
    if (s == WEIR_OK)
        kb_measure(k, c, n);
    else
        kb_give_up(k, "linear", m->name, s);
    if (p) clean_up(k, p);
    weir_free(p);
}

void kb_linear(kb *k) {
    const matrix *m = k->tiny ? tiny : matrices;
    const size_t n = k->tiny ? sizeof tiny / sizeof *tiny : sizeof matrices / sizeof *matrices;
    for (size_t i = 0; i < n; i++) time_matrix(k, &m[i]);
}
