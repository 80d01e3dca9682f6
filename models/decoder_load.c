/* A decoder's tensors by their Hugging Face names. */
#include <stdio.h>

#include "models/decoder.h"

/* ---- rotation ------------------------------------------------------------------------------------------ */

/* GGUF files of Llama 3 hold the stretch itself: what each frequency is divided by. */
static weir_status rope_factors(const weights *w, const char *name, int32_t n, float *inv_freq) {
    weir_tensor t;
    WEIR_TRY(weir__want_vector(w, name, n, &t));
    for (int32_t i = 0; inv_freq && i < n; i++) {
        const float f = weir_tensor_get(&t, 0, i);
        if (!(f > 0.0f))
            return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: factor %g, want one above 0", name, (double)f);
        inv_freq[i] /= f;
    }
    return WEIR_OK;
}

/* No frequency exceeds one radian per position: positions stay below 2^20, as far as the kernels' sine and
 * cosine are good (kernels/math/sincos.h). */
static weir_status check_angles(const weights *w, const float *inv_freq, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (inv_freq[i] > 0.0f && inv_freq[i] <= 1.0f) continue;
        return weir_fail(w->err, WEIR_EFORMAT,
                         "rotary embedding: pair %d turns by %g a position, want above 0 and at most 1",
                         (int)i, (double)inv_freq[i]);
    }
    return WEIR_OK;
}

static weir_status load_rope(decoder_model *m, weights *w) {
    static const char name[] = "rope_freqs.weight";
    weir_tensor t;
    const bool given = w->src && w->src->find(w->src->ud, name, &t);
    for (int i = 0; i < 2; i++) {
        weir_rope_config r = i ? m->c.rope_sliding : m->c.rope;
        const int32_t n = weir__rope_dims(&r, m->c.head_dim);
        float *to = weir__next_vector(w, n / 2, &m->inv_freq[i]);
        if (i == 0 && given && r.kind == WEIR_ROPE_LLAMA3)
            r.kind = WEIR_ROPE_DEFAULT; /* the same, written down */
        if (to) m->rope_scale[i] = weir__rope_table(&r, n, to);
        if (i == 0 && given) WEIR_TRY(rope_factors(w, name, n / 2, to));
        if (to) WEIR_TRY(check_angles(w, to, n / 2));
    }
    return WEIR_OK;
}

/* ---- layers -------------------------------------------------------------------------------------------- */

static weir_status load_norms(const decoder_model *m, weights *w, const char *prefix, decoder_layer *l) {
    const int64_t dim = m->c.dim;
    WEIR_TRY(weir__load_norm(w, prefix, "input_layernorm", dim, &l->att_norm));
    if (!m->c.post_norms) /* a name of its time */
        return weir__load_norm(w, prefix, "post_attention_layernorm", dim, &l->ff_norm);
    WEIR_TRY(weir__load_norm(w, prefix, "post_attention_layernorm", dim, &l->att_post));
    WEIR_TRY(weir__load_norm(w, prefix, "pre_feedforward_layernorm", dim, &l->ff_norm));
    return weir__load_norm(w, prefix, "post_feedforward_layernorm", dim, &l->ff_post);
}

static weir_status load_attention(const decoder_model *m, weights *w, const char *prefix, decoder_layer *l) {
    const weir_decoder_config *c = &m->c;
    const int64_t inner = weir__inner(&m->base.shape), inner_kv = weir__inner_kv(&m->base.shape);
    const matrix_list qkv = {.prefix = prefix,
                             .what = {"q_proj", "k_proj", "v_proj"},
                             .n = 3,
                             .use = WEIR_USE_ROWS,
                             .rows = {inner, inner_kv, inner_kv},
                             .cols = c->dim};
    if (c->qk_norm) WEIR_TRY(weir__load_norm(w, prefix, "q_norm", c->head_dim, &l->q_norm));
    if (c->qk_norm) WEIR_TRY(weir__load_norm(w, prefix, "k_norm", c->head_dim, &l->k_norm));
    if (c->qkv_bias) WEIR_TRY(weir__load_bias(w, &qkv, &l->bias));
    WEIR_TRY(weir__load_stacked(w, &qkv, l->qkv, &l->n_qkv));
    return weir__load_matrix(w, prefix, "o_proj", c->dim, inner, WEIR_USE_ROWS, &l->o);
}

static weir_status load_feed_forward(const decoder_model *m, weights *w, const char *prefix,
                                     decoder_layer *l) {
    const weir_decoder_config *c = &m->c;
    const matrix_list in = {.prefix = prefix,
                            .what = {"gate_proj", "up_proj"},
                            .n = 2,
                            .use = WEIR_USE_ROWS,
                            .rows = {c->ff_dim, c->ff_dim},
                            .cols = c->dim};
    WEIR_TRY(weir__load_gated(w, &in, l->gate_up, &l->n_gate_up));
    return weir__load_matrix(w, prefix, "down_proj", c->dim, c->ff_dim, WEIR_USE_ROWS, &l->down);
}

static weir_status load_layer(const decoder_model *m, weights *w, int i, decoder_layer *l) {
    char prefix[WEIR__PREFIX_CAP];
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.", i);
    WEIR_TRY(load_norms(m, w, prefix, l));
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.self_attn.", i);
    WEIR_TRY(load_attention(m, w, prefix, l));
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.mlp.", i);
    return load_feed_forward(m, w, prefix, l);
}

/* ---- the model ----------------------------------------------------------------------------------------- */

static weir_status load_embedding(decoder_model *m, weights *w) {
    const int64_t rows = m->c.n_vocab_rows, dim = m->c.dim;
    WEIR_TRY(weir__load_matrix(w, "", "model.embed_tokens", rows, dim,
                               m->c.tied ? WEIR_USE_ROWS : WEIR_USE_PREFILL, &m->embed));
    m->head = &m->embed;
    if (m->c.tied) return WEIR_OK; /* an lm_head in the file is not used then, as transformers does */
    m->head = &m->untied_head;
    return weir__load_matrix(w, "", "lm_head", rows, dim, WEIR_USE_ROWS, &m->untied_head);
}

weir_status weir__decoder_load(weir_model *base, weights *w) {
    decoder_model *m = (decoder_model *)base;
    weir_model_facts *f = &base->facts;
    f->n_layer_self = m->c.n_layer;
    f->window = m->c.window;
    w->norm_plus = m->c.norm_one_plus ? 1.0f : 0.0f;
    WEIR_TRY(load_embedding(m, w));
    for (int i = 0; i < m->c.n_layer; i++) {
        decoder_layer measured = {0}, *l = m->layer ? &m->layer[i] : &measured;
        WEIR_TRY(load_layer(m, w, i, l));
        if (i == 0) f->dtype = l->gate_up[0].dtype; /* of the bulk */
        l->in_group = m->c.sliding[i] ? f->n_layer_slide : i - f->n_layer_slide;
        f->n_layer_slide += m->c.sliding[i];
    }
    WEIR_TRY(weir__load_norm(w, "", "model.norm", m->c.dim, &m->norm));
    return load_rope(m, w);
}
