/* T5Gemma's tensors by their Hugging Face names. */
#include <stdio.h>

#include "models/parts/head.h"
#include "models/encdec/t5gemma.h"

/* A stack while it is read: "encoder", whose weights serve prompts only, or "decoder". */
typedef struct stack {
    const char *name;
    const model_shape *shape;
    weir_use use;
} stack;

static void prefix_of(const stack *k, int layer, const char *part, char prefix[WEIR__PREFIX_CAP]) {
    (void)snprintf(prefix, WEIR__PREFIX_CAP, "model.%s.layers.%d.%s", k->name, layer, part);
}

/* The norms before and after a sub-layer. */
static weir_status load_norms(weights *w, const stack *k, int layer, const char *sub, const float **before,
                              const float **after) {
    char prefix[WEIR__PREFIX_CAP], name[48];
    prefix_of(k, layer, "", prefix);
    (void)snprintf(name, sizeof name, "pre_%s_layernorm", sub);
    WEIR_TRY(weir__load_norm(w, prefix, name, k->shape->dim, before));
    (void)snprintf(name, sizeof name, "post_%s_layernorm", sub);
    return weir__load_norm(w, prefix, name, k->shape->dim, after);
}

static weir_status load_self(weights *w, const stack *k, int layer, attention *a) {
    char prefix[WEIR__PREFIX_CAP];
    const attention_names n = {.prefix = prefix, .q = "q_proj", .k = "k_proj", .v = "v_proj", .o = "o_proj"};
    WEIR_TRY(load_norms(w, k, layer, "self_attn", &a->norm, &a->post));
    prefix_of(k, layer, "self_attn.", prefix);
    return weir__attention_load(w, k->shape, &n, k->use, a);
}

static weir_status load_cross(weights *w, const stack *k, int layer, cross_attention *a) {
    char prefix[WEIR__PREFIX_CAP];
    const attention_names n = {.prefix = prefix, .q = "q_proj", .k = "k_proj", .v = "v_proj", .o = "o_proj"};
    WEIR_TRY(load_norms(w, k, layer, "cross_attn", &a->norm, &a->post));
    prefix_of(k, layer, "cross_attn.", prefix);
    return weir__cross_load(w, k->shape, &n, a);
}

static weir_status load_ff(weights *w, const stack *k, int layer, feed_forward *f) {
    char prefix[WEIR__PREFIX_CAP];
    const feed_forward_names n = {
        .prefix = prefix, .gate = "gate_proj", .up = "up_proj", .down = "down_proj"};
    WEIR_TRY(load_norms(w, k, layer, "feedforward", &f->norm, &f->post));
    prefix_of(k, layer, "mlp.", prefix);
    return weir__feed_forward_load(w, k->shape, &n, k->use, f);
}

/* Frequencies come first: layers copy their kind. */
static weir_status load_encoder(t5gemma_model *t, weights *w) {
    const model_shape s = weir__encoder_shape(&t->m.base.shape);
    const stack k = {"encoder", &s, WEIR_USE_PREFILL};
    encdec_enc_layer measured = {0};
    WEIR_TRY(weir__embedding_load(w, &s, "model.encoder.embed_tokens", k.use, &t->m.enc_embed));
    WEIR_TRY(weir__decoder_load_rope(w, &t->enc, t->m.base.n_prompt, t->enc_kind));
    for (int i = 0; i < t->m.n_enc; i++) {
        encdec_enc_layer *l = t->m.enc ? &t->m.enc[i] : &measured;
        l->kind = t->enc_kind[t->enc.sliding[i]];
        WEIR_TRY(load_self(w, &k, i, &l->self));
        WEIR_TRY(load_ff(w, &k, i, &l->ff));
    }
    return weir__load_norm(w, "", "model.encoder.norm", s.dim, &t->m.enc_norm);
}

static weir_status load_decoder(t5gemma_model *t, weights *w) {
    const stack k = {"decoder", &t->m.base.shape, WEIR_USE_ROWS};
    encdec_dec_layer measured = {0};
    WEIR_TRY(weir__decoder_load_rope(w, &t->dec, t->m.base.n_prompt, t->dec_kind));
    for (int i = 0; i < t->m.n_dec; i++) {
        encdec_dec_layer *l = t->m.dec ? &t->m.dec[i] : &measured;
        l->kind = t->dec_kind[t->dec.sliding[i]];
        WEIR_TRY(load_self(w, &k, i, &l->self));
        WEIR_TRY(load_cross(w, &k, i, &l->cross));
        WEIR_TRY(load_ff(w, &k, i, &l->ff));
        if (i == 0) t->m.base.facts.dtype = l->ff.in[0].dtype; /* of the bulk */
    }
    return weir__load_norm(w, "", "model.decoder.norm", k.shape->dim, &t->m.base.head.norm);
}

weir_status weir__t5gemma_load(weir_model *base, weights *w) {
    t5gemma_model *t = (t5gemma_model *)base;
    weir__encdec_note(&t->m);
    w->norm_plus = t->dec.norm_one_plus ? 1.0f : 0.0f;
    WEIR_TRY(weir__head_load(w, &base->shape, "model.decoder.embed_tokens",
                             t->dec.tied ? NULL : "lm_head.out_proj", &base->head));
    WEIR_TRY(load_encoder(t, w));
    return load_decoder(t, w);
}
