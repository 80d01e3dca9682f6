/* A decoder's tensors by their Hugging Face names. */
#include <stdio.h>

#include "models/decoder/decoder.h"
#include "models/parts/head.h"

/* ---- rotation ------------------------------------------------------------------------------------------ */

/* What each frequency is divided by: longrope's divisors, and the stretch that GGUF files of Llama 3 hold. */
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
                         "rotary embedding: pair %d turns by %g per position, want above 0 and at most 1",
                         (int)i, (double)inv_freq[i]);
    }
    return WEIR_OK;
}

/* The tensor of divisors that counts for a rotation; NULL: none. */
static const char *divisors_of(const weights *w, const weir_rope_config *r, int64_t n_prompt, bool global) {
    static const char given[] = "rope_freqs.weight";
    weir_tensor t;
    if (r->kind == WEIR_ROPE_LONGROPE)
        return n_prompt > r->n_ctx_original ? "rope_factors_long.weight" : "rope_factors_short.weight";
    return global && w->src && w->src->find(w->src->ud, given, &t) ? given : NULL;
}

weir_status weir__decoder_load_rope(weights *w, const weir_decoder_config *c, int64_t n_prompt,
                                    attention_kind kind[4]) {
    for (int i = 0; i < 2; i++) {
        weir_rope_config r = i ? c->rope_sliding : c->rope;
        const int32_t n = weir__rope_dims(&r, c->head_dim);
        const char *divisors = divisors_of(w, &r, n_prompt, i == 0);
        float *to = weir__next_vector(w, n / 2, &kind[i].inv_freq);
        if (divisors && r.kind == WEIR_ROPE_LLAMA3) r.kind = WEIR_ROPE_DEFAULT; /* the same, written down */
        if (to) kind[i].rope_scale = weir__rope_table(&r, n, to);
        if (divisors) WEIR_TRY(rope_factors(w, divisors, n / 2, to));
        if (to) WEIR_TRY(check_angles(w, to, n / 2));
        kind[2 + i] = kind[i];
        kind[2 + i].inv_freq = NULL, kind[2 + i].n_dim = 0;
    }
    return WEIR_OK;
}

/* ---- layers -------------------------------------------------------------------------------------------- */

/* Without norms after sub-layers, the one before the feed-forward is named for its place: after attention. */
static weir_status load_norms(const decoder_model *m, weights *w, const char *prefix, int i,
                              decoder_layer *l) {
    const model_shape *s = &m->base.shape;
    const bool before = !m->c.no_pre_norms;
    const float **own = weir__decoder_mixes(m, i) ? &l->experts.norm : &l->ff.norm;
    const float **after = s->post_norms ? &l->att.post : own;
    if (before) WEIR_TRY(weir__load_norm(w, prefix, "input_layernorm", s->dim, &l->att.norm));
    WEIR_TRY(weir__load_norm(w, prefix, "post_attention_layernorm", s->dim, after));
    if (!s->post_norms) return WEIR_OK;
    if (before) WEIR_TRY(weir__load_norm(w, prefix, "pre_feedforward_layernorm", s->dim, &l->ff.norm));
    return weir__load_norm(w, prefix, "post_feedforward_layernorm", s->dim, &l->ff.post);
}

static weir_status load_experts(const decoder_model *m, weights *w, int i, experts *e) {
    const bool sparse = m->c.experts.names == WEIR_EXPERTS_SPARSE;
    char prefix[WEIR__PREFIX_CAP];
    const expert_names n = {.prefix = prefix,
                            .gate = sparse ? "w1" : "gate_proj",
                            .up = sparse ? "w3" : "up_proj",
                            .down = sparse ? "w2" : "down_proj",
                            .router = m->c.experts.names == WEIR_EXPERTS_ROUTER ? "router" : "gate",
                            .stacked = m->c.experts.names >= WEIR_EXPERTS_STACKED};
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.%s.", i, sparse ? "block_sparse_moe" : "mlp");
    e->over_all = !m->c.experts.normed;
    e->limit = m->c.experts.limit;
    return weir__experts_load(w, &m->base.shape, &n, e);
}

static weir_status load_layer(const decoder_model *m, weights *w, int i, decoder_layer *l) {
    const model_shape *s = &m->base.shape;
    char prefix[WEIR__PREFIX_CAP];
    const attention_names att = {.prefix = prefix,
                                 .q = "q_proj",
                                 .k = "k_proj",
                                 .v = "v_proj",
                                 .o = "o_proj",
                                 .qkv = m->c.fused ? "qkv_proj" : NULL,
                                 .q_norm = m->c.qk_norm ? "q_norm" : NULL,
                                 .k_norm = m->c.qk_norm ? "k_norm" : NULL,
                                 .bias = m->c.qkv_bias,
                                 .o_bias = m->c.o_bias,
                                 .sinks = m->c.sinks ? "sinks" : NULL};
    const feed_forward_names ff = {.prefix = prefix,
                                   .gate = "gate_proj",
                                   .up = "up_proj",
                                   .gate_up = m->c.fused ? "gate_up_proj" : NULL,
                                   .down = "down_proj"};
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.", i);
    WEIR_TRY(load_norms(m, w, prefix, i, l));
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.self_attn.", i);
    WEIR_TRY(weir__attention_load(w, s, &att, WEIR_USE_ROWS, &l->att));
    if (weir__decoder_mixes(m, i)) return load_experts(m, w, i, &l->experts);
    (void)snprintf(prefix, sizeof prefix, "model.layers.%d.mlp.", i);
    return weir__feed_forward_load(w, s, &ff, WEIR_USE_ROWS, &l->ff);
}

/* ---- the model ----------------------------------------------------------------------------------------- */

weir_status weir__decoder_load(weir_model *base, weights *w) {
    decoder_model *m = (decoder_model *)base;
    weir_model_facts *f = &base->facts;
    f->n_layer_self = f->n_pass = m->c.n_layer;
    f->n_open = WEIR_PROMPTS_OPEN;
    f->window = m->c.window;
    w->norm_plus = m->c.norm_one_plus ? 1.0f : 0.0f;
    WEIR_TRY(
        weir__head_load(w, &base->shape, "model.embed_tokens", m->c.tied ? NULL : "lm_head", &base->head));
    for (int i = 0; i < m->c.n_layer; i++) {
        decoder_layer measured = {0}, *l = m->layer ? &m->layer[i] : &measured;
        WEIR_TRY(load_layer(m, w, i, l));
        if (i == 0)
            f->dtype = (weir__decoder_mixes(m, i) ? l->experts.in : l->ff.in)[0].dtype; /* the bulk's */
        l->in_group = m->c.sliding[i] ? f->n_layer_slide : i - f->n_layer_slide;
        f->n_layer_slide += m->c.sliding[i];
    }
    WEIR_TRY(weir__load_norm(w, "", "model.norm", m->c.dim, &base->head.norm));
    return weir__decoder_load_rope(w, &m->c, base->n_prompt, m->kind);
}
