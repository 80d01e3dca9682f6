/* Ops of a step that move little: embedding rows, RMSNorm on its own, rotary embedding, KV append. */
#include <math.h>
#include <string.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"
#include "kernels/weight/pack.h"

enum { MAX_ROW = 8 };

static weir_status finish(kb *k, kb_case *c, weir_status s) {
    if (s == WEIR_OK)
        kb_measure(k, c, 1);
    else
        kb_give_up(k, c->op, c->shape, s);
    return s;
}

/* ---- embed --------------------------------------------------------------------------------------------- */

typedef struct embed {
    weir_weight table;
    int32_t *dev_token;
    float *dev_x;
    int64_t n_vocab, dim, n_row;
    weir_use use; /* WEIR_USE_ROWS: a tied embedding has its head's layout */
    float scale;
} embed;

static weir_status run_embed(kb *k, void *ctx, int i) {
    embed *e = ctx;
    (void)i;
    weir_embed a = {
        .x = e->dev_x, .table = &e->table, .token = e->dev_token, .n_row = e->n_row, .scale = e->scale};
    return k->be->op.embed(k->be, &a);
}

static weir_status prepare_embed(kb *k, embed *e, uint16_t *file, float *got, double *error) {
    int32_t token[MAX_ROW];
    for (int i = 0; i < e->n_row; i++) token[i] = (int32_t)((7919 * (int64_t)i + 3) % e->n_vocab);
    kb_random_bf16(k, file, (size_t)(e->n_vocab * e->dim));
    const weir_tensor t = {.data = file, .dtype = WEIR_DTYPE_BF16, .rows = e->n_vocab, .cols = e->dim};
    WEIR_TRY(weir__weight_pack(k->be, &t, 1, false, e->use, &e->table));
    e->dev_token = kb_to_device(k, token, sizeof token);
    e->dev_x = weir__backend_alloc(k->be, (size_t)(e->n_row * e->dim) * sizeof *e->dev_x);
    if (!e->dev_token || !e->dev_x) return WEIR_EDEVMEM;
    WEIR_TRY(run_embed(k, e, 0));
    WEIR_TRY(weir__backend_download(k->be, got, e->dev_x, (size_t)(e->n_row * e->dim) * sizeof *got));
    *error = 0;
    for (int64_t i = 0; i < e->n_row * e->dim; i++)
        *error += got[i] != e->scale * weir_f32_from_bf16(file[token[i / e->dim] * e->dim + i % e->dim]);
    return WEIR_OK;
}

static void time_embed(kb *k, embed e) {
    kb_case c = {.op = "embed",
                 .run = run_embed,
                 .ctx = &e,
                 .inner = kb_inner(k, 0),
                 .bytes = (double)(e.n_row * e.dim) * (2 + 4)};
    (void)snprintf(c.shape, sizeof c.shape, "vocab %ld dim %ld bf16 rows %ld%s", (long)e.n_vocab, (long)e.dim,
                   (long)e.n_row, e.use == WEIR_USE_ROWS ? " tied" : "");
    uint16_t *file = weir_alloc((size_t)(e.n_vocab * e.dim), sizeof *file);
    float *got = weir_alloc((size_t)(e.n_row * e.dim), sizeof *got);
    weir_status s = file && got ? prepare_embed(k, &e, file, got, &c.error) : WEIR_ENOMEM;
    finish(k, &c, s);
    weir__weight_free(k->be, &e.table);
    weir__backend_free(k->be, e.dev_token);
    weir__backend_free(k->be, e.dev_x);
    weir_free(file);
    weir_free(got);
}

/* ---- rmsnorm ------------------------------------------------------------------------------------------- */

typedef struct norm {
    float *dev_x, *dev_w, *dev_y;
    int64_t dim, n_row;
    bool add;
} norm;

static weir_status run_norm(kb *k, void *ctx, int i) {
    const norm *n = ctx;
    (void)i;
    weir_rmsnorm a = {.y = n->dev_y,
                      .x = n->dev_x,
                      .w = n->dev_w,
                      .n_row = n->n_row,
                      .dim = n->dim,
                      .eps = 1e-6f,
                      .add = n->add};
    return k->be->op.rmsnorm(k->be, &a);
}

/* x: n_row rows of dim, then w, then the truth's and the device's y. */
static weir_status prepare_norm(kb *k, norm *n, float *x, double *error) {
    const size_t size = (size_t)(n->n_row * n->dim), dim = (size_t)n->dim;
    float *w = x + size, *want = w + dim, *got = want + size;
    kb_random_f32(k, x, size + dim, 1.0f);
    n->dev_x = kb_to_device(k, x, size * sizeof *x);
    n->dev_w = kb_to_device(k, w, dim * sizeof *w);
    n->dev_y = weir__backend_alloc(k->be, size * sizeof *got);
    if (!n->dev_x || !n->dev_w || !n->dev_y) return WEIR_EDEVMEM;
    weir_rmsnorm a = {
        .y = want, .x = x, .w = w, .n_row = n->n_row, .dim = n->dim, .eps = 1e-6f, .add = n->add};
    for (size_t i = 0; i < size; i++) want[i] = 0.0f;
    WEIR_TRY(weir__backend_zero(k->be, n->dev_y, size * sizeof *got));
    WEIR_TRY(k->truth->op.rmsnorm(k->truth, &a));
    WEIR_TRY(run_norm(k, n, 0));
    WEIR_TRY(weir__backend_download(k->be, got, n->dev_y, size * sizeof *got));
    *error = kb_error(got, want, size);
    return WEIR_OK;
}

/* y += norm(x) again and again stays finite: a sample adds some thousands of numbers of about 1. */
static void time_norm(kb *k, int64_t dim, bool add) {
    norm n = {.dim = dim, .n_row = 6, .add = add};
    const size_t size = (size_t)(n.n_row * n.dim);
    kb_case c = {.op = "rmsnorm",
                 .run = run_norm,
                 .ctx = &n,
                 .inner = kb_inner(k, 0),
                 .bytes = (double)((add ? 3 : 2) * size) * 4,
                 .tolerance = 0x1p-20 /* a tree of dim / 32 additions in f32 */};
    (void)snprintf(c.shape, sizeof c.shape, "dim %ld rows %ld%s", (long)n.dim, (long)n.n_row,
                   add ? " added" : "");
    float *x = weir_alloc(3 * size + (size_t)n.dim, sizeof *x);
    finish(k, &c, x ? prepare_norm(k, &n, x, &c.error) : WEIR_ENOMEM);
    weir__backend_free(k->be, n.dev_x);
    weir__backend_free(k->be, n.dev_w);
    weir__backend_free(k->be, n.dev_y);
    weir_free(x);
}

/* ---- rope ---------------------------------------------------------------------------------------------- */

typedef struct rope_shape {
    const char *name;
    int32_t n_head, n_head_kv, head_dim;
    bool norm, bias;
} rope_shape;

static const rope_shape rope_shapes[] = {
    {.name = "Gemma 2 2B", .n_head = 8, .n_head_kv = 4, .head_dim = 256},
    {.name = "Gemma 2 27B", .n_head = 32, .n_head_kv = 16, .head_dim = 128},
    {.name = "Gemma 3 1B", .n_head = 4, .n_head_kv = 1, .head_dim = 256, .norm = true},
    {.name = "Gemma 3 27B", .n_head = 32, .n_head_kv = 16, .head_dim = 128, .norm = true},
    {.name = "Llama 8B", .n_head = 32, .n_head_kv = 8, .head_dim = 128},
    {.name = "Qwen 0.5B", .n_head = 14, .n_head_kv = 2, .head_dim = 64, .bias = true},
    {.name = "Qwen 32B", .n_head = 40, .n_head_kv = 8, .head_dim = 128, .bias = true},
};
static const rope_shape tiny_rope_shapes[] = {
    {.name = "tiny", .n_head = 4, .n_head_kv = 2, .head_dim = 64},
    {.name = "tiny norm", .n_head = 2, .n_head_kv = 1, .head_dim = 256, .norm = true},
    {.name = "tiny bias", .n_head = 2, .n_head_kv = 1, .head_dim = 32, .bias = true},
};

typedef struct rope {
    const rope_shape *shape;
    int64_t width;                                 /* of q, k and v */
    float *dev_x, *dev_norm, *dev_bias, *dev_freq; /* (n_row, width), (head_dim), (width), (head_dim / 2) */
    int32_t *dev_slot, *dev_pos;
    int64_t n_row;
} rope;

/* Host or device pointers alike. */
static weir_rope rope_args(const rope *r, float *x, const float *weight, const float *bias, const float *freq,
                           const int32_t *slot, const int32_t *pos) {
    const rope_shape *s = r->shape;
    const int64_t k = (int64_t)s->n_head * s->head_dim, v = k + (int64_t)s->n_head_kv * s->head_dim;
    return (weir_rope){.q = x,
                       .k = x + k,
                       .v = x + v,
                       .ld = r->width,
                       .bias = s->bias ? bias : NULL,
                       .q_norm = s->norm ? weight : NULL,
                       .k_norm = s->norm ? weight : NULL,
                       .eps = 1e-6f,
                       .inv_freq = freq,
                       .scale = 1.0f,
                       .slot = slot,
                       .pos = pos,
                       .n_row = r->n_row,
                       .n_head = s->n_head,
                       .n_head_kv = s->n_head_kv,
                       .head_dim = s->head_dim,
                       .n_dim = s->head_dim};
}

/* Again and again in place: turning keeps the numbers where they are, norms too; biases add up to some
 * thousands. */
static weir_status run_rope(kb *k, void *ctx, int i) {
    const rope *r = ctx;
    (void)i;
    weir_rope a = rope_args(r, r->dev_x, r->dev_norm, r->dev_bias, r->dev_freq, r->dev_slot, r->dev_pos);
    return k->be->op.rope(k->be, &a);
}

/* x: n_row rows, then the device's; then norm, bias and freq. */
static weir_status prepare_rope(kb *k, rope *r, float *x, double *error) {
    const size_t size = (size_t)(r->n_row * r->width), head = (size_t)r->shape->head_dim,
                 width = (size_t)r->width;
    float *got = x + size, *weight = got + size, *bias = weight + head, *freq = bias + width;
    int32_t slot[MAX_ROW] = {0}, pos[MAX_ROW];
    kb_random_f32(k, x, size, 1.0f);
    kb_random_f32(k, weight, head, 1.0f);
    kb_random_f32(k, bias, width, 1.0f);
    for (size_t i = 0; i < head / 2; i++) freq[i] = powf(10000.0f, -2.0f * (float)i / (float)head);
    for (int i = 0; i < MAX_ROW; i++) pos[i] = 1000 + i;
    r->dev_x = kb_to_device(k, x, size * sizeof *x);
    r->dev_norm = kb_to_device(k, weight, head * sizeof *weight);
    r->dev_bias = kb_to_device(k, bias, width * sizeof *bias);
    r->dev_freq = kb_to_device(k, freq, head / 2 * sizeof *freq);
    r->dev_slot = kb_to_device(k, slot, sizeof slot);
    r->dev_pos = kb_to_device(k, pos, sizeof pos);
    if (!r->dev_x || !r->dev_norm || !r->dev_bias || !r->dev_freq || !r->dev_slot || !r->dev_pos)
        return WEIR_EDEVMEM;
    weir_rope a = rope_args(r, x, weight, bias, freq, slot, pos);
    WEIR_TRY(k->truth->op.rope(k->truth, &a));
    WEIR_TRY(run_rope(k, r, 0));
    WEIR_TRY(weir__backend_download(k->be, got, r->dev_x, size * sizeof *got));
    *error = kb_error(got, x, size);
    return WEIR_OK;
}

static void time_rope(kb *k, const rope_shape *s) {
    rope r = {.shape = s, .n_row = 6, .width = ((int64_t)s->n_head + 2 * s->n_head_kv) * s->head_dim};
    const size_t size = (size_t)(r.n_row * r.width);
    const int64_t turned = r.n_row * (s->n_head + (s->bias ? 2 : 1) * s->n_head_kv) * s->head_dim;
    kb_case c = {.op = "rope",
                 .run = run_rope,
                 .ctx = &r,
                 .inner = kb_inner(k, 0),
                 .bytes = (double)(2 * turned) * 4,
                 .tolerance = 0x1p-18 /* rope.h: 2^-24 (256 / 8 + 20) of two elements of a pair */};
    (void)snprintf(c.shape, sizeof c.shape, "%s: heads %d/%d x %d rows %ld%s%s", s->name, s->n_head,
                   s->n_head_kv, s->head_dim, (long)r.n_row, s->norm ? " norms" : "",
                   s->bias ? " biases" : "");
    float *x = weir_alloc(2 * size + (size_t)(2 * s->head_dim + r.width), sizeof *x);
    finish(k, &c, x ? prepare_rope(k, &r, x, &c.error) : WEIR_ENOMEM);
    void *dev[] = {r.dev_x, r.dev_norm, r.dev_bias, r.dev_freq, r.dev_slot, r.dev_pos};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) weir__backend_free(k->be, dev[i]);
    weir_free(x);
}

/* ---- kv append ----------------------------------------------------------------------------------------- */

typedef struct append {
    weir_kv_view kv;
    float *dev_k;
    int32_t *dev_slot, *dev_pos, *dev_table;
    int64_t n_row;
} append;

static weir_status run_append(kb *k, void *ctx, int i) {
    append *p = ctx;
    const int64_t ld = (int64_t)p->kv.n_head_kv * p->kv.head_dim;
    weir_kv_append a = {.kv = &p->kv,
                        .k = p->dev_k,
                        .v = p->dev_k + p->n_row * ld,
                        .ld = ld,
                        .slot = p->dev_slot,
                        .pos = p->dev_pos,
                        .n_row = p->n_row,
                        .layer = i % p->kv.n_layer};
    return k->be->op.kv_append(k->be, &a);
}

/* How many elements of the pages of layer 0 are not those of k and v, both exact in the pool's type. */
static weir_status check_append(kb *k, append *p, const float *rows, double *error) {
    const int64_t n = p->n_row * p->kv.n_head_kv * p->kv.head_dim, hd = p->kv.head_dim;
    const size_t size = (size_t)weir_dtype_bytes(p->kv.dtype);
    char *page = weir_alloc((size_t)p->kv.page_elems, size);
    weir_status s = page ? run_append(k, p, 0) : WEIR_ENOMEM;
    if (s == WEIR_OK) s = weir__backend_download(k->be, page, p->kv.pool, (size_t)p->kv.page_elems * size);
    *error = 0;
    for (int64_t i = 0; s == WEIR_OK && i < 2 * n; i++) {
        const bool is_v = i >= n;
        const int64_t r = i % n / (p->kv.n_head_kv * hd), head = i % n / hd % p->kv.n_head_kv, d = i % hd;
        const int64_t at =
            head * 2 * hd * WEIR_PAGE + (is_v ? hd * WEIR_PAGE + r * hd + d : d * WEIR_PAGE + r);
        float got;
        uint16_t half;
        memcpy(&half, page + at * (int64_t)size, sizeof half);
        if (p->kv.dtype == WEIR_DTYPE_F32)
            memcpy(&got, page + at * (int64_t)size, sizeof got);
        else
            got = weir_f32_from_bf16(half);
        *error += got != rows[i];
    }
    weir_free(page);
    return s;
}

static weir_status prepare_append(kb *k, append *p, float *rows, size_t n, double *error) {
    const int32_t slot[MAX_ROW] = {0}, table[1] = {0};
    int32_t pos[MAX_ROW];
    for (int i = 0; i < MAX_ROW; i++) pos[i] = i;
    kb_random_f32(k, rows, n, 1.0f);
    for (size_t i = 0; i < n; i++) rows[i] = weir_f32_from_bf16(weir_bf16_from_f32(rows[i]));
    const size_t bytes = (size_t)p->kv.page_elems * (size_t)weir_dtype_bytes(p->kv.dtype);
    p->kv.pool = weir__backend_alloc(k->be, bytes);
    p->dev_k = kb_to_device(k, rows, n * sizeof *rows);
    p->dev_slot = kb_to_device(k, slot, sizeof slot);
    p->dev_pos = kb_to_device(k, pos, sizeof pos);
    p->dev_table = kb_to_device(k, table, sizeof table);
    p->kv.table = p->dev_table;
    if (!p->kv.pool || !p->dev_k || !p->dev_slot || !p->dev_pos || !p->dev_table) return WEIR_EDEVMEM;
    WEIR_TRY(weir__backend_zero(k->be, p->kv.pool, bytes));
    return check_append(k, p, rows, error);
}

static void time_append(kb *k, int32_t n_layer, int32_t n_head_kv, int32_t head_dim) {
    append p = {.n_row = 6,
                .kv = {.table_stride = 1,
                       .n_layer = n_layer,
                       .n_head_kv = n_head_kv,
                       .head_dim = head_dim,
                       .dtype = k->be->device ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32}};
    p.kv.page_elems = weir__kv_page_elems(p.kv.n_layer, p.kv.n_head_kv, p.kv.head_dim);
    const size_t n = (size_t)(2 * p.n_row * p.kv.n_head_kv * p.kv.head_dim);
    kb_case c = {.op = "kv_append",
                 .run = run_append,
                 .ctx = &p,
                 .inner = kb_inner(k, 24),
                 .bytes = (double)n * (4 + weir_dtype_bytes(p.kv.dtype))};
    (void)snprintf(c.shape, sizeof c.shape, "heads %d x %d rows %ld", p.kv.n_head_kv, p.kv.head_dim,
                   (long)p.n_row);
    float *rows = weir_alloc(n, sizeof *rows);
    finish(k, &c, rows ? prepare_append(k, &p, rows, n, &c.error) : WEIR_ENOMEM);
    void *dev[] = {p.kv.pool, p.dev_k, p.dev_slot, p.dev_pos, p.dev_table};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) weir__backend_free(k->be, dev[i]);
    weir_free(rows);
}

void kb_small(kb *k) {
    time_embed(k, (embed){.n_vocab = k->tiny ? 100 : 32128,
                          .dim = k->tiny ? 64 : 2048,
                          .n_row = 6,
                          .use = WEIR_USE_PREFILL,
                          .scale = 1.0f});
    time_embed(k, (embed){.n_vocab = k->tiny ? 100 : 32000,
                          .dim = k->tiny ? 64 : 2304,
                          .n_row = 6,
                          .use = WEIR_USE_ROWS,
                          .scale = 48.0f});
    time_norm(k, k->tiny ? 96 : 2048, false);
    time_norm(k, k->tiny ? 96 : 2304, true);
    if (!k->tiny) time_norm(k, 4608, true);
    const rope_shape *s = k->tiny ? tiny_rope_shapes : rope_shapes;
    const size_t n = k->tiny ? sizeof tiny_rope_shapes / sizeof *s : sizeof rope_shapes / sizeof *s;
    for (size_t i = 0; i < n; i++) time_rope(k, &s[i]);
    time_append(k, k->tiny ? 2 : 24, k->tiny ? 2 : 32, 64);
    time_append(k, k->tiny ? 2 : 26, k->tiny ? 2 : 4, k->tiny ? 32 : 256);
    if (!k->tiny) time_append(k, 46, 16, 128);
}
