/* Attention of decode and verify rows over KV pages: heads of T5, and those of decoder-only models with their
 * caps and windows. */
#include <math.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"

enum { MAX_ROW = 6, BIAS_LEFT = 128 };

typedef struct heads {
    const char *name;
    int32_t n_head, n_head_kv, head_dim;
    bool bias;
    float softcap;
    int32_t window;
} heads;

static const heads all_heads[] = {
    {.name = "small", .n_head = 6, .n_head_kv = 6, .head_dim = 64, .bias = true},
    {.name = "large", .n_head = 16, .n_head_kv = 16, .head_dim = 64, .bias = true},
    {.name = "XL", .n_head = 32, .n_head_kv = 32, .head_dim = 64, .bias = true},
    {.name = "Gemma 2 2B", .n_head = 8, .n_head_kv = 4, .head_dim = 256, .softcap = 50.0f},
    {.name = "Gemma 2 9B", .n_head = 16, .n_head_kv = 8, .head_dim = 256, .softcap = 50.0f},
    {.name = "Gemma 2 27B", .n_head = 32, .n_head_kv = 16, .head_dim = 128, .softcap = 50.0f},
    {.name = "Gemma 3 1B", .n_head = 4, .n_head_kv = 1, .head_dim = 256, .window = 512},
    {.name = "Gemma 3 27B", .n_head = 32, .n_head_kv = 16, .head_dim = 128, .window = 1024},
    {.name = "Llama 8B", .n_head = 32, .n_head_kv = 8, .head_dim = 128},
    {.name = "Qwen 0.5B", .n_head = 14, .n_head_kv = 2, .head_dim = 64},
    {.name = "Qwen 32B", .n_head = 40, .n_head_kv = 8, .head_dim = 128},
};
static const heads tiny_heads[] = {
    {.name = "tiny", .n_head = 2, .n_head_kv = 1, .head_dim = 64, .bias = true},
    {.name = "tiny window", .n_head = 4, .n_head_kv = 2, .head_dim = 256, .softcap = 2.0f, .window = 40},
};

static const int64_t all_keys[] = {128, 1024, 8192};
static const int64_t tiny_keys[] = {70};
enum { SHORT_KEYS = 128 }; /* of encoders: no context of a decoder */

/* Weights and values pass through bf16 in tensor cores: 2^-9 each of the norm. */
static const double TOLERANCE = 0x1p-7;

typedef struct scene {
    const heads *h;
    int64_t n_keys, n_page;
    weir_kv_view kv, truth_kv; /* many layers; layer 0 alone */
    float *k, *v, *q, *bias;   /* host; k and v of all positions are exact in bf16 */
    float *dev_k, *dev_v, *dev_q, *dev_o, *dev_bias;
    int32_t *dev_slot, *dev_pos, *dev_n_key;
    int32_t *dev_fill_pos; /* (WEIR_PAGE) of the page that is written */
    int32_t slot[WEIR_PAGE], pos[MAX_ROW], n_key[MAX_ROW], table[8192 / WEIR_PAGE + 1];
    int32_t *dev_table;
} scene;

typedef struct call {
    scene *s;
    int64_t first, n_row; /* rows of the scene */
} call;

static float scale_of(const heads *h) { return 1.0f / sqrtf((float)h->head_dim); }

/* Positions that a row looks at; M rows look at M - 1 more together. */
static int64_t seen(const scene *s) {
    return s->h->window > 0 && s->h->window < s->n_keys ? s->h->window : s->n_keys;
}

/* M = 1 is the last row alone: it sees every key. */
static weir_attention arguments(const scene *s, const call *c) {
    const int64_t inner = (int64_t)s->h->n_head * s->h->head_dim;
    return (weir_attention){.kv = &s->kv,
                            .q = s->dev_q + c->first * inner,
                            .ldq = inner,
                            .o = s->dev_o,
                            .ldo = inner,
                            .slot = s->dev_slot,
                            .pos = s->dev_pos + c->first,
                            .n_key = s->dev_n_key + c->first,
                            .n_row = c->n_row,
                            .n_head = s->h->n_head,
                            .scale = scale_of(s->h),
                            .bias = s->dev_bias,
                            .bias_left = BIAS_LEFT,
                            .softcap = s->h->softcap,
                            .window = s->h->window,
                            .group = (int32_t)c->n_row};
}

static weir_status run(kb *k, void *ctx, int i) {
    call *c = ctx;
    weir_attention a = arguments(c->s, c);
    a.layer = i % c->s->kv.n_layer;
    return k->be->op.attention(k->be, &a);
}

/* ---- set up -------------------------------------------------------------------------------------------- */

static void round_to_bf16(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = weir_f32_from_bf16(weir_bf16_from_f32(x[i]));
}

static weir_status make_host(kb *k, scene *s) {
    const size_t kv = (size_t)(s->n_page * WEIR_PAGE * s->h->n_head_kv * s->h->head_dim);
    const size_t q = (size_t)(MAX_ROW * s->h->n_head * s->h->head_dim),
                 bias = (size_t)(s->h->n_head * (BIAS_LEFT + 1));
    s->k = weir_alloc(kv, sizeof *s->k);
    s->v = weir_alloc(kv, sizeof *s->v);
    s->q = weir_alloc(q, sizeof *s->q);
    s->bias = weir_alloc(bias, sizeof *s->bias);
    if (!s->k || !s->v || !s->q || !s->bias) return WEIR_ENOMEM;
    kb_random_f32(k, s->k, kv, 1.0f);
    kb_random_f32(k, s->v, kv, 1.0f);
    kb_random_f32(k, s->q, q, 1.0f);
    kb_random_f32(k, s->bias, bias, 1.0f);
    round_to_bf16(s->k, kv);
    round_to_bf16(s->v, kv);
    for (int i = 0; i < WEIR_PAGE; i++) s->slot[i] = 0;
    for (int i = 0; i < MAX_ROW; i++) {
        s->n_key[i] = (int32_t)(s->n_keys - MAX_ROW + 1 + i);
        s->pos[i] = s->n_key[i] - 1;
    }
    for (int64_t i = 0; i < s->n_page; i++) s->table[i] = (int32_t)i;
    return WEIR_OK;
}

static weir_status make_device(kb *k, scene *s) {
    const size_t kv = (size_t)(s->n_page * WEIR_PAGE * s->h->n_head_kv * s->h->head_dim) * sizeof(float);
    const size_t q = (size_t)(MAX_ROW * s->h->n_head * s->h->head_dim) * sizeof(float);
    const size_t rows = MAX_ROW * sizeof(int32_t);
    s->kv.pool = weir__backend_alloc(k->be, (size_t)(s->n_page * s->kv.page_elems) *
                                                (size_t)weir_dtype_bytes(s->kv.dtype));
    s->dev_k = kb_to_device(k, s->k, kv);
    s->dev_v = kb_to_device(k, s->v, kv);
    s->dev_q = kb_to_device(k, s->q, q);
    s->dev_o = weir__backend_alloc(k->be, q);
    s->dev_slot = kb_to_device(k, s->slot, sizeof s->slot);
    s->dev_pos = kb_to_device(k, s->pos, rows);
    s->dev_n_key = kb_to_device(k, s->n_key, rows);
    s->dev_fill_pos = weir__backend_alloc(k->be, WEIR_PAGE * sizeof(int32_t));
    s->dev_table = kb_to_device(k, s->table, (size_t)s->n_page * sizeof(int32_t));
    s->kv.table = s->dev_table;
    if (s->h->bias)
        s->dev_bias = kb_to_device(k, s->bias, (size_t)(s->h->n_head * (BIAS_LEFT + 1)) * sizeof(float));
    return s->kv.pool && s->dev_k && s->dev_v && s->dev_q && s->dev_o && s->dev_slot && s->dev_pos &&
                   s->dev_n_key && s->dev_fill_pos && s->dev_table && (!s->h->bias || s->dev_bias)
               ? WEIR_OK
               : WEIR_EDEVMEM;
}

/* Every layer has the same keys and values, page by page through the op. */
static weir_status fill(kb *k, scene *s) {
    const int64_t ld = (int64_t)s->h->n_head_kv * s->h->head_dim;
    for (int64_t page = 0; page < s->n_page; page++) {
        int32_t pos[WEIR_PAGE];
        for (int i = 0; i < WEIR_PAGE; i++) pos[i] = (int32_t)(page * WEIR_PAGE + i);
        WEIR_TRY(weir__backend_upload(k->be, s->dev_fill_pos, pos, sizeof pos));
        for (int32_t layer = 0; layer < s->kv.n_layer; layer++) {
            weir_kv_append a = {.kv = &s->kv,
                                .k = s->dev_k + page * WEIR_PAGE * ld,
                                .v = s->dev_v + page * WEIR_PAGE * ld,
                                .ld = ld,
                                .slot = s->dev_slot,
                                .pos = s->dev_fill_pos,
                                .n_row = WEIR_PAGE,
                                .layer = layer};
            WEIR_TRY(k->be->op.kv_append(k->be, &a));
        }
    }
    return WEIR_OK;
}

static weir_status set_up(kb *k, scene *s) {
    const double layer_bytes = (double)(s->n_page * WEIR_PAGE * s->h->n_head_kv * s->h->head_dim) * 2 * 2;
    s->kv = (weir_kv_view){.table_stride = s->n_page,
                           .n_layer = kb_copies(k, layer_bytes),
                           .n_head_kv = s->h->n_head_kv,
                           .head_dim = s->h->head_dim,
                           .dtype = k->be->device ? WEIR_DTYPE_BF16 : WEIR_DTYPE_F32};
    s->truth_kv = s->kv;
    s->truth_kv.n_layer = 1;
    s->truth_kv.dtype = WEIR_DTYPE_F32;
    s->kv.page_elems = weir__kv_page_elems(s->kv.n_layer, s->h->n_head_kv, s->h->head_dim);
    s->truth_kv.page_elems = weir__kv_page_elems(1, s->h->n_head_kv, s->h->head_dim);
    WEIR_TRY(make_host(k, s));
    WEIR_TRY(make_device(k, s));
    s->truth_kv.table = s->table;
    s->truth_kv.pool = weir_alloc((size_t)(s->n_page * s->truth_kv.page_elems), sizeof(float));
    if (!s->truth_kv.pool) return WEIR_ENOMEM;
    return fill(k, s);
}

static void clean_up(kb *k, scene *s) {
    void *dev[] = {s->kv.pool,  s->dev_k,   s->dev_v,     s->dev_q,        s->dev_o,    s->dev_bias,
                   s->dev_slot, s->dev_pos, s->dev_n_key, s->dev_fill_pos, s->dev_table};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) weir__backend_free(k->be, dev[i]);
    void *host[] = {s->truth_kv.pool, s->k, s->v, s->q, s->bias};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) weir_free(host[i]);
}

/* ---- truth --------------------------------------------------------------------------------------------- */

/* All rows by the portable op, o (MAX_ROW, n_head * head_dim). */
static weir_status truth(kb *k, scene *s, float *o) {
    const int64_t ld = (int64_t)s->h->n_head_kv * s->h->head_dim,
                  inner = (int64_t)s->h->n_head * s->h->head_dim;
    for (int64_t page = 0; page < s->n_page; page++) {
        int32_t pos[WEIR_PAGE];
        for (int i = 0; i < WEIR_PAGE; i++) pos[i] = (int32_t)(page * WEIR_PAGE + i);
        weir_kv_append f = {.kv = &s->truth_kv,
                            .k = s->k + page * WEIR_PAGE * ld,
                            .v = s->v + page * WEIR_PAGE * ld,
                            .ld = ld,
                            .slot = s->slot,
                            .pos = pos,
                            .n_row = WEIR_PAGE};
        WEIR_TRY(k->truth->op.kv_append(k->truth, &f));
    }
    weir_attention a = {.kv = &s->truth_kv,
                        .q = s->q,
                        .ldq = inner,
                        .o = o,
                        .ldo = inner,
                        .slot = s->slot,
                        .pos = s->pos,
                        .n_key = s->n_key,
                        .n_row = MAX_ROW,
                        .n_head = s->h->n_head,
                        .scale = scale_of(s->h),
                        .bias = s->h->bias ? s->bias : NULL,
                        .bias_left = BIAS_LEFT,
                        .softcap = s->h->softcap,
                        .window = s->h->window};
    return k->truth->op.attention(k->truth, &a);
}

static weir_status check(kb *k, const call *c, const float *want, float *got, double *error) {
    const size_t inner = (size_t)(c->s->h->n_head * c->s->h->head_dim), n = (size_t)c->n_row * inner;
    weir_attention a = arguments(c->s, c);
    a.layer = c->s->kv.n_layer - 1;
    WEIR_TRY(k->be->op.attention(k->be, &a));
    WEIR_TRY(weir__backend_download(k->be, got, c->s->dev_o, n * sizeof *got));
    *error = kb_error(got, want + (size_t)c->first * inner, n);
    return WEIR_OK;
}

/* ---- one shape ----------------------------------------------------------------------------------------- */

static weir_status make_cases(kb *k, scene *s, call *with, kb_case *c) {
    const size_t n = (size_t)(MAX_ROW * s->h->n_head * s->h->head_dim);
    float *want = weir_alloc(2 * n, sizeof *want);
    weir_status st = want ? truth(k, s, want) : WEIR_ENOMEM;
    for (int i = 0; st == WEIR_OK && i < 2; i++) {
        with[i] = i == 0 ? (call){s, MAX_ROW - 1, 1} : (call){s, 0, MAX_ROW};
        c[i] = (kb_case){.op = "attention",
                         .run = run,
                         .ctx = &with[i],
                         .tolerance = TOLERANCE,
                         .inner = kb_inner(k, s->kv.n_layer),
                         .bytes = (double)(seen(s) * s->h->n_head_kv * s->h->head_dim) * 2 *
                                  weir_dtype_bytes(s->kv.dtype)};
        char window[24] = "";
        if (s->h->window > 0) (void)snprintf(window, sizeof window, " window %d", s->h->window);
        (void)snprintf(c[i].shape, sizeof c[i].shape, "%s: heads %d/%d x %d keys %ld M %ld%s%s", s->h->name,
                       s->h->n_head, s->h->n_head_kv, s->h->head_dim, (long)s->n_keys, (long)with[i].n_row,
                       s->h->softcap > 0 ? " softcap" : "", window);
        st = check(k, &with[i], want, want + n, &c[i].error);
    }
    weir_free(want);
    return st;
}

static void time_shape(kb *k, const heads *h, int64_t n_keys) {
    scene *s = weir_calloc(1, sizeof *s);
    kb_case c[2] = {{.inner = 0}};
    call with[2];
    weir_status st = s ? WEIR_OK : WEIR_ENOMEM;
    if (s) {
        s->h = h;
        s->n_keys = n_keys;
        s->n_page = (n_keys + WEIR_PAGE - 1) / WEIR_PAGE;
        st = set_up(k, s);
    }
    if (st == WEIR_OK) st = make_cases(k, s, with, c);
    if (st == WEIR_OK)
        kb_measure(k, c, 2);
    else
        kb_give_up(k, "attention", h->name, st);
    if (s) clean_up(k, s);
    weir_free(s);
}

void kb_attention(kb *k) {
    const heads *h = k->tiny ? tiny_heads : all_heads;
    const size_t n_h =
        k->tiny ? sizeof tiny_heads / sizeof *tiny_heads : sizeof all_heads / sizeof *all_heads;
    const int64_t *keys = k->tiny ? tiny_keys : all_keys;
    const size_t n_keys = k->tiny ? 1 : sizeof all_keys / sizeof *all_keys;
    for (size_t i = 0; i < n_h; i++)
        for (size_t j = 0; j < n_keys; j++)
            if (h[i].bias || keys[j] != SHORT_KEYS) time_shape(k, &h[i], keys[j]);
}
