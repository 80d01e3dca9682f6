/* A T5's tensors by their Hugging Face names. */
#include <stdio.h>
#include <string.h>

#include "models/parts/head.h"
#include "models/encdec/t5.h"

/* A stack's weights serve prompts only (the encoder's) or rows too. */
static weir_use use_of(const char *stack) {
    return strcmp(stack, "encoder") == 0 ? WEIR_USE_PREFILL : WEIR_USE_ROWS;
}

/* Relative position bias of a layer: its own, or the one that *out has from the first. stack: "encoder" or
 * "decoder". */
static weir_status load_bias(const t5_model *t, weights *w, const char *stack, int layer, int32_t right,
                             const float **out) {
    if (layer > 0 && !t->c.layer_bias) return WEIR_OK;
    const weir_share own =
        use_of(stack) == WEIR_USE_ROWS ? t->m.base.shape.own : weir__share_whole(&t->m.base.shape);
    const weir_t5_config *c = &t->c;
    char name[WEIR__NAME_CAP];
    weir_tensor b;
    (void)snprintf(name, sizeof name, "%s.block.%d.layer.0.SelfAttention.relative_attention_bias.weight",
                   stack, layer);
    WEIR_TRY(weir__want(w, name, c->n_bucket, c->n_head, &b));
    const weir_tensor heads = weir_tensor_cols(&b, own.head, own.n_head);
    float *to = weir__next_vector(w, (int64_t)own.n_head * ((int64_t)c->max_distance + 1 + right), out);
    if (to) weir__t5_bias_table(&heads, c->max_distance, right, c->max_distance, to);
    w->n_param += b.rows * b.cols;
    return WEIR_OK;
}

static weir_status load_self(const model_shape *s, weights *w, const char *stack, int layer, attention *a) {
    char prefix[WEIR__PREFIX_CAP];
    const attention_names n = {.prefix = prefix, .q = "q", .k = "k", .v = "v", .o = "o"};
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.", stack, layer);
    WEIR_TRY(weir__load_norm(w, prefix, "layer_norm", s->dim, &a->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.0.SelfAttention.", stack, layer);
    return weir__attention_load(w, s, &n, use_of(stack), a);
}

static weir_status load_cross(const model_shape *s, weights *w, int layer, cross_attention *a) {
    char prefix[WEIR__PREFIX_CAP];
    const attention_names n = {.prefix = prefix, .q = "q", .k = "k", .v = "v", .o = "o"};
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.", layer);
    WEIR_TRY(weir__load_norm(w, prefix, "layer_norm", s->dim, &a->norm));
    (void)snprintf(prefix, sizeof prefix, "decoder.block.%d.layer.1.EncDecAttention.", layer);
    return weir__cross_load(w, s, &n, a);
}

/* sub: the sub-layer's index in its block, 1 in the encoder, 2 in the decoder. */
static weir_status load_ff(const model_shape *s, weights *w, const char *stack, int layer, int sub,
                           feed_forward *f) {
    char prefix[WEIR__PREFIX_CAP];
    const feed_forward_names n = {
        .prefix = prefix, .gate = s->gated ? "wi_0" : "wi", .up = s->gated ? "wi_1" : NULL, .down = "wo"};
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.", stack, layer, sub);
    WEIR_TRY(weir__load_norm(w, prefix, "layer_norm", s->dim, &f->norm));
    (void)snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.DenseReluDense.", stack, layer, sub);
    return weir__feed_forward_load(w, s, &n, use_of(stack), f);
}

static bool same_tensor(const weir_tensor *a, const weir_tensor *b) {
    return a->n_outer == 0 && b->n_outer == 0 && a->rows == b->rows && a->cols == b->cols &&
           a->dtype == b->dtype && a->data && b->data &&
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

static weir_status load_encoder(t5_model *t, weights *w) {
    const model_shape s = weir__encoder_shape(&t->m.base.shape);
    encdec_enc_layer measured = {0};
    attention_kind kind = t->enc_kind;
    for (int i = 0; i < t->m.n_enc; i++) {
        encdec_enc_layer *l = t->m.enc ? &t->m.enc[i] : &measured;
        WEIR_TRY(load_bias(t, w, "encoder", i, t->c.max_distance, &kind.bias));
        l->kind = kind;
        WEIR_TRY(load_self(&s, w, "encoder", i, &l->self));
        WEIR_TRY(load_ff(&s, w, "encoder", i, 1, &l->ff));
    }
    return weir__load_norm(w, "encoder.", "final_layer_norm", s.dim, &t->m.enc_norm);
}

static weir_status load_decoder(t5_model *t, weights *w) {
    const model_shape *s = &t->m.base.shape;
    encdec_dec_layer measured = {0};
    attention_kind kind = t->dec_kind;
    for (int i = 0; i < t->m.n_dec; i++) {
        encdec_dec_layer *l = t->m.dec ? &t->m.dec[i] : &measured;
        WEIR_TRY(load_bias(t, w, "decoder", i, 0, &kind.bias));
        l->kind = kind;
        WEIR_TRY(load_self(s, w, "decoder", i, &l->self));
        WEIR_TRY(load_cross(s, w, i, &l->cross));
        WEIR_TRY(load_ff(s, w, "decoder", i, 2, &l->ff));
    }
    return weir__load_norm(w, "decoder.", "final_layer_norm", s->dim, &t->m.base.head.norm);
}

weir_status weir__t5_load(weir_model *base, weights *w) {
    t5_model *t = (t5_model *)base;
    const char *embedding;
    weir__encdec_note(&t->m);
    WEIR_TRY(name_embedding(w, &embedding));
    WEIR_TRY(weir__head_load(w, &base->shape, embedding, t->c.tied ? NULL : "lm_head", &base->head));
    WEIR_TRY(load_encoder(t, w));
    WEIR_TRY(load_decoder(t, w));
    base->facts.dtype = base->head.out->dtype;
    return WEIR_OK;
}
