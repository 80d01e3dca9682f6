/* The order of ops of T5's encoder, and what a prompt leaves for the decoder. A prompt goes through in chunks of the
 * backend's size, counted from its position 0, so that its result depends on nothing else. */
#include "models/t5.h"

/* The rows of one chunk. */
typedef struct t5_chunk {
    int64_t begin, n;
} t5_chunk;

static t5_chunk chunk_at(const t5_model *m, int64_t begin, int64_t n) {
    const int64_t size = m->base.be->chunk;
    return (t5_chunk){begin, n - begin < size ? n - begin : size};
}

/* A prompt's rows on the backend; arrays (n). */
typedef struct t5_prompt {
    const int32_t *token, *slot, *n_key;
    int64_t n;
    weir_kv_view kv; /* the encoder's own keys and values */
} t5_prompt;

static weir_kv_view encoder_kv(const t5_model *m) {
    const model_shape *s = &m->base.shape;
    return (weir_kv_view){.pool = m->base.a.pool,
                          .table = m->base.a.iota,
                          .table_stride = (m->base.n_prompt + WEIR_PAGE - 1) / WEIR_PAGE,
                          .page_elems = weir_kv_page_elems(1, s->n_head_kv, s->head_dim),
                          .n_layer = 1,
                          .n_head_kv = s->n_head_kv,
                          .head_dim = s->head_dim,
                          .dtype = m->base.facts.kv_dtype};
}

static weir_status encoder_attend(t5_model *m, const t5_prompt *p, t5_chunk c) {
    const model_arena *a = &m->base.a;
    weir_attention at = {.kv = &p->kv,
                         .q = a->qkv + c.begin * 3 * weir__inner(&m->base.shape),
                         .ldq = 3 * weir__inner(&m->base.shape),
                         .o = a->att,
                         .ldo = weir__inner(&m->base.shape),
                         .slot = a->zero + c.begin,
                         .pos = a->iota + c.begin,
                         .n_key = p->n_key + c.begin,
                         .n_row = c.n,
                         .layer = 0,
                         .n_head = m->c.n_head,
                         .scale = 1.0f,
                         .bias = m->enc_bias,
                         .bias_left = m->c.max_distance,
                         .bias_right = m->c.max_distance,
                         .prefill = true};
    return m->base.be->op.attention(m->base.be, &at);
}

/* Every chunk's keys must be in the cache before any row attends: hence two loops over the chunks. */
static weir_status encoder_layer(t5_model *m, const t5_enc_layer *l, const t5_prompt *p) {
    const model_arena *a = &m->base.a;
    const int64_t dim = m->c.dim, inner = weir__inner(&m->base.shape), step = m->base.be->chunk;
    for (int64_t i = 0; i < p->n; i += step) {
        const t5_chunk c = chunk_at(m, i, p->n);
        WEIR_TRY(weir__t5_product(m, (t5_product){.x = a->x + i * dim, .ldx = dim, .norm = l->self.norm,
                                                  .w = &l->self.qkv, .y = a->qkv + i * 3 * inner,
                                                  .ldy = 3 * inner, .n_row = c.n}));
    }
    weir_kv_append ap = {.kv = &p->kv,
                         .k = a->qkv + inner,
                         .v = a->qkv + 2 * inner,
                         .ld = 3 * inner,
                         .slot = a->zero,
                         .pos = a->iota,
                         .n_row = p->n,
                         .layer = 0};
    WEIR_TRY(m->base.be->op.kv_append(m->base.be, &ap));
    for (int64_t i = 0; i < p->n; i += step) {
        const t5_chunk c = chunk_at(m, i, p->n);
        WEIR_TRY(encoder_attend(m, p, c));
        WEIR_TRY(weir__t5_product(m, (t5_product){.x = a->att, .ldx = inner, .w = &l->self.o, .y = a->x + i * dim,
                                                  .ldy = dim, .n_row = c.n, .epilogue = WEIR_EPI_ADD}));
        WEIR_TRY(weir__t5_feed_forward(m, &l->ff, a->x + i * dim, c.n, false));
    }
    return WEIR_OK;
}

/* K and V of the encoder's output for every decoder layer, into the slot's cross cache. */
static weir_status cross_append(t5_model *m, const weir_kv *kv, const t5_prompt *p) {
    const model_arena *a = &m->base.a;
    const int64_t dim = m->c.dim, inner = weir__inner(&m->base.shape);
    for (int64_t i = 0; i < p->n; i += m->base.be->chunk) {
        const t5_chunk c = chunk_at(m, i, p->n);
        for (int32_t l = 0; l < m->c.n_dec_layer; l++) {
            WEIR_TRY(weir__t5_product(m, (t5_product){.x = a->x + i * dim, .ldx = dim, .norm = m->enc_norm,
                                                      .w = &m->dec[l].cross.kv, .y = a->h, .ldy = 2 * inner,
                                                      .n_row = c.n}));
            weir_kv_append ap = {.kv = &kv->cross,
                                 .k = a->h,
                                 .v = a->h + inner,
                                 .ld = 2 * inner,
                                 .slot = p->slot + i,
                                 .pos = a->iota + i,
                                 .n_row = c.n,
                                 .layer = l};
            WEIR_TRY(m->base.be->op.kv_append(m->base.be, &ap));
        }
    }
    return WEIR_OK;
}

weir_status weir__t5_prefill(weir_model *base, const weir_kv *kv, int32_t slot, const int32_t *token, int64_t n) {
    t5_model *m = (t5_model *)base;
    WEIR_TRY(weir__put_prompt(base, slot, token, n));
    const t5_prompt p = {.token = weir__prompt_at(base, n, 0),
                         .slot = weir__prompt_at(base, n, 1),
                         .n_key = weir__prompt_at(base, n, 2),
                         .n = n,
                         .kv = encoder_kv(m)};
    weir_embed em = {.x = base->a.x, .table = &m->embed, .token = p.token, .n_row = n, .scale = 1.0f};
    WEIR_TRY(base->be->op.embed(base->be, &em));
    for (int32_t l = 0; l < m->c.n_enc_layer; l++) WEIR_TRY(encoder_layer(m, &m->enc[l], &p));
    return cross_append(m, kv, &p);
}
