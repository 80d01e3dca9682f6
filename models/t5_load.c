/* A T5's tensors by their Hugging Face names. */
#include <stdio.h>
#include <string.h>

#include "models/t5.h"

/* Relative position bias. stack: "encoder" or "decoder". */
static weir_status load_bias(const t5_model *m, weights *w, const char *stack, int32_t right,
                             const float **out) {
    const weir_t5_config *c = &m->c;
    char name[WEIR__NAME_CAP];
    weir_tensor t;
    (void)snprintf(name, sizeof name, "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                   stack);
    WEIR_TRY(weir__want(w, name, c->n_bucket, c->n_head, &t));
    float *to = weir__next_vector(w, (int64_t)c->n_head * ((int64_t)c->max_distance + 1 + right), out);
    if (to) weir__t5_bias_table(&t, c->max_distance, right, c->max_distance, to);
    w->n_param += t.rows * t.cols;
    return WEIR_OK;
}

/* A stack's weights serve prompts only (the encoder's) or rows too. */
static weir_use use_of(const char *stack) {
    return strcmp(stack, "encoder") == 0 ? WEIR_USE_PREFILL : WEIR_USE_ROWS;
}

static weir_status load_self(const t5_model *m, weights *w, const char *stack, int layer, t5_self *s) {
    const int64_t dim = m->c.dim, inner = weir__inner(&m->base.shape);
    char prefix[WEIR__PREFIX_CAP];
    int n;
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.", stack, layer);
    WEIR_TRY(weir__load_norm(w, prefix, "layer_norm", dim, &s->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.SelfAttention.", stack, layer);
    const matrix_list qkv = {.prefix = prefix,
                             .what = {"q", "k", "v"},
                             .n = 3,
                             .rows = {inner, inner, inner},
                             .cols = dim,
                             .use = use_of(stack)};
    WEIR_TRY(weir__load_stacked(w, &qkv, &s->qkv, &n));
    return weir__load_matrix(w, prefix, "o", dim, inner, use_of(stack), &s->o);
}

static weir_status load_cross(const t5_model *m, weights *w, int layer, t5_cross *s) {
    const int64_t dim = m->c.dim, inner = weir__inner(&m->base.shape);
    char prefix[WEIR__PREFIX_CAP];
    int n;
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.", layer);
    WEIR_TRY(weir__load_norm(w, prefix, "layer_norm", dim, &s->norm));
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.EncDecAttention.", layer);
    const matrix_list kv = {.prefix = prefix,
                            .what = {"k", "v"},
                            .n = 2,
                            .rows = {inner, inner},
                            .cols = dim,
                            .use = WEIR_USE_PREFILL};
    WEIR_TRY(weir__load_matrix(w, prefix, "q", inner, dim, WEIR_USE_ROWS, &s->q));
    WEIR_TRY(weir__load_stacked(w, &kv, &s->kv, &n));
    return weir__load_matrix(w, prefix, "o", dim, inner, WEIR_USE_ROWS, &s->o);
}

/* sub: the sub-layer's index in its block, 1 in the encoder, 2 in the decoder. */
static weir_status load_ff(const t5_model *m, weights *w, const char *stack, int layer, int sub, t5_ff *f) {
    const weir_t5_config *c = &m->c;
    char prefix[WEIR__PREFIX_CAP];
    weir_weight wi[2];
    int n;
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.", stack, layer, sub);
    WEIR_TRY(weir__load_norm(w, prefix, "layer_norm", c->dim, &f->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.DenseReluDense.", stack, layer, sub);
    const matrix_list gated = {.prefix = prefix,
                               .what = {"wi_0", "wi_1"},
                               .n = 2,
                               .rows = {c->ff_dim, c->ff_dim},
                               .cols = c->dim,
                               .use = use_of(stack)};
    WEIR_TRY(c->gated ? weir__load_gated(w, &gated, wi, &n)
                      : weir__load_matrix(w, prefix, "wi", c->ff_dim, c->dim, use_of(stack), wi));
    f->wi = wi[0];
    return weir__load_matrix(w, prefix, "wo", c->dim, c->ff_dim, use_of(stack), &f->wo);
}

static bool same_tensor(const weir_tensor *a, const weir_tensor *b) {
    return a->rows == b->rows && a->cols == b->cols && a->dtype == b->dtype &&
           memcmp(a->data, b->data, (size_t)(a->rows * a->cols * weir_dtype_bytes(a->dtype))) == 0;
}

/* The one table of both stacks: "shared", or, in exports that dropped it, a stack's own copy. */
static weir_status name_embedding(const weights *w, const char **name) {
    const weir_tensor_source *src = w->src;
    weir_tensor shared, enc, dec;
    *name = "shared";
    if (!src || src->find(src->ud, "shared.weight", &shared)) return WEIR_OK;
    const bool has_enc = src->find(src->ud, "encoder.embed_tokens.weight", &enc);
    const bool has_dec = src->find(src->ud, "decoder.embed_tokens.weight", &dec);
    if (has_enc && has_dec && !same_tensor(&enc, &dec)) {
        return weir_fail(w->err, WEIR_EFORMAT,
                         "tensor shared.weight: missing, and encoder.embed_tokens.weight differs from "
                         "decoder.embed_tokens.weight; T5 has one embedding");
    }
    if (has_enc)
        *name = "encoder.embed_tokens";
    else if (has_dec)
        *name = "decoder.embed_tokens";
    return WEIR_OK;
}

static weir_status load_embedding(t5_model *m, weights *w) {
    const int64_t rows = m->c.n_vocab_rows, dim = m->c.dim;
    const char *name;
    WEIR_TRY(name_embedding(w, &name));
    WEIR_TRY(
        weir__load_matrix(w, "", name, rows, dim, m->c.tied ? WEIR_USE_ROWS : WEIR_USE_PREFILL, &m->embed));
    m->head = &m->embed;
    if (m->c.tied) return WEIR_OK; /* an lm_head in the file is not used then, as transformers does */
    m->head = &m->untied_head;
    return weir__load_matrix(w, "", "lm_head", rows, dim, WEIR_USE_ROWS, &m->untied_head);
}

static weir_status load_encoder(t5_model *m, weights *w) {
    t5_enc_layer measured = {0};
    WEIR_TRY(load_bias(m, w, "encoder", m->c.max_distance, &m->enc_bias));
    for (int i = 0; i < m->c.n_enc_layer; i++) {
        t5_enc_layer *l = m->enc ? &m->enc[i] : &measured;
        WEIR_TRY(load_self(m, w, "encoder", i, &l->self));
        WEIR_TRY(load_ff(m, w, "encoder", i, 1, &l->ff));
    }
    return weir__load_norm(w, "encoder.", "final_layer_norm", m->c.dim, &m->enc_norm);
}

static weir_status load_decoder(t5_model *m, weights *w) {
    t5_dec_layer measured = {0};
    WEIR_TRY(load_bias(m, w, "decoder", 0, &m->dec_bias));
    for (int i = 0; i < m->c.n_dec_layer; i++) {
        t5_dec_layer *l = m->dec ? &m->dec[i] : &measured;
        WEIR_TRY(load_self(m, w, "decoder", i, &l->self));
        WEIR_TRY(load_cross(m, w, i, &l->cross));
        WEIR_TRY(load_ff(m, w, "decoder", i, 2, &l->ff));
    }
    return weir__load_norm(w, "decoder.", "final_layer_norm", m->c.dim, &m->dec_norm);
}

weir_status weir__t5_load(weir_model *base, weights *w) {
    t5_model *m = (t5_model *)base;
    weir_model_facts *f = &base->facts;
    f->n_layer_self = f->n_layer_cross = m->c.n_dec_layer;
    w->one_dtype = true;
    WEIR_TRY(load_embedding(m, w));
    WEIR_TRY(load_encoder(m, w));
    WEIR_TRY(load_decoder(m, w));
    f->dtype = m->head->dtype;
    return WEIR_OK;
}
