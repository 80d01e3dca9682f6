/* The tensors of fake checkpoints, by the ends of their names. */
#include <string.h>

#include "models/decoder/decoder.h"
#include "models/encdec/t5.h"
#include "tests/models/fake.h"

static bool ends(const char *s, const char *tail) {
    const size_t a = strlen(s), b = strlen(tail);
    return a >= b && strcmp(s + a - b, tail) == 0;
}

static bool decoder_shape(const fake *k, const char *name, int64_t *rows, int64_t *cols) {
    const weir_decoder_config *c = &k->decoder;
    const int64_t inner = (int64_t)c->n_head * c->head_dim, inner_kv = (int64_t)c->n_head_kv * c->head_dim;
    const bool shared = strstr(name, "shared_expert.") != NULL, mixes = c->experts.n > 0;
    const int64_t ff = shared                      ? c->experts.shared_ff
                       : strstr(name, ".experts.") ? c->experts.ff_dim
                                                   : c->ff_dim;
    const struct {
        const char *tail;
        int64_t rows, cols;
        bool there;
    } kind[] = {
        {"mlp.gate.weight", c->experts.n, c->dim, mixes},
        {"shared_expert_gate.weight", 1, c->dim, mixes},
        {"model.embed_tokens.weight", c->n_vocab_rows, c->dim, true},
        {"lm_head.weight", c->n_vocab_rows, c->dim, !c->tied},
        {"model.norm.weight", 1, c->dim, true},
        {"pre_feedforward_layernorm.weight", 1, c->dim, c->post_norms && !c->no_pre_norms},
        {"feedforward_layernorm.weight", 1, c->dim, c->post_norms},
        {"input_layernorm.weight", 1, c->dim, !c->no_pre_norms},
        {"layernorm.weight", 1, c->dim, true},
        {"q_norm.weight", 1, c->qk_norm_whole ? inner : c->head_dim, c->qk_norm},
        {"k_norm.weight", 1, c->qk_norm_whole ? inner_kv : c->head_dim, c->qk_norm},
        {"qkv_proj.weight", inner + 2 * inner_kv, c->dim, c->fused},
        {"gate_up_proj.weight", 2 * c->ff_dim, c->dim, c->fused},
        {"q_proj.bias", 1, inner, c->qkv_bias},
        {"k_proj.bias", 1, inner_kv, c->qkv_bias},
        {"v_proj.bias", 1, inner_kv, c->qkv_bias},
        {"q_proj.weight", inner, c->dim, !c->fused},
        {"k_proj.weight", inner_kv, c->dim, !c->fused},
        {"v_proj.weight", inner_kv, c->dim, !c->fused},
        {"o_proj.weight", c->dim, inner, true},
        {"gate_proj.weight", ff, c->dim, !c->fused},
        {"up_proj.weight", ff, c->dim, !c->fused},
        {"down_proj.weight", c->dim, ff, true},
        {"rope_freqs.weight", 1, weir__rope_dims(&c->rope, c->head_dim) / 2, k->rope_freqs != NULL},
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        if (!ends(name, kind[i].tail)) continue;
        *rows = kind[i].rows, *cols = kind[i].cols;
        return kind[i].there;
    }
    return false;
}

static weir_status create_decoder(weir_model **out, weir_backend *be, const fake *k,
                                  const weir_tensor_source *src, weir_err *err) {
    return weir__decoder_create(out, be, &k->decoder, src, k->whole_body, FAKE_ROW, FAKE_PROMPT, err);
}

fake *fake_decoder(const weir_decoder_config *c, weir_dtype dtype) {
    static const fake_kind kind = {decoder_shape, create_decoder};
    fake *k = fake_make(&kind, dtype);
    k->decoder = *c;
    return k;
}

static bool t5_shape(const fake *k, const char *name, int64_t *rows, int64_t *cols) {
    const weir_t5_config *c = &k->t5;
    const int64_t inner = (int64_t)c->n_head * c->head_dim;
    const struct {
        const char *tail;
        int64_t rows, cols;
        bool there;
    } kind[] = {
        {"shared.weight", c->n_vocab_rows, c->dim, true},
        {"embed_tokens.weight", c->n_vocab_rows, c->dim, k->extra && strstr(k->extra, name)},
        {"lm_head.weight", c->n_vocab_rows, c->dim, !c->tied || (k->extra && strstr(k->extra, name))},
        {"layer_norm.weight", 1, c->dim, true},
        {"relative_attention_bias.weight", c->n_bucket, c->n_head,
         c->layer_bias || strstr(name, "block.0.layer.0") != NULL},
        {".q.weight", inner, c->dim, true},
        {".k.weight", inner, c->dim, true},
        {".v.weight", inner, c->dim, true},
        {".o.weight", c->dim, inner, true},
        {".wi.weight", c->ff_dim, c->dim, !c->gated},
        {".wi_0.weight", c->ff_dim, c->dim, c->gated},
        {".wi_1.weight", c->ff_dim, c->dim, c->gated},
        {".wo.weight", c->dim, c->ff_dim, true},
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        if (!ends(name, kind[i].tail)) continue;
        *rows = kind[i].rows, *cols = kind[i].cols;
        return kind[i].there;
    }
    return false;
}

static weir_status create_t5(weir_model **out, weir_backend *be, const fake *k, const weir_tensor_source *src,
                             weir_err *err) {
    return weir__t5_create(out, be, &k->t5, src, k->whole_body, FAKE_ROW, FAKE_PROMPT, err);
}

fake *fake_t5(const weir_t5_config *c, weir_dtype dtype) {
    static const fake_kind kind = {t5_shape, create_t5};
    fake *k = fake_make(&kind, dtype);
    k->t5 = *c;
    return k;
}

static bool t5gemma_shape(const fake *k, const char *name, int64_t *rows, int64_t *cols) {
    const weir_decoder_config *c = strstr(name, "encoder.") ? &k->encoder : &k->decoder;
    const int64_t inner = (int64_t)c->n_head * c->head_dim, inner_kv = (int64_t)c->n_head_kv * c->head_dim;
    const int64_t source = strstr(name, "cross_attn.") ? k->encoder.dim : c->dim;
    const struct {
        const char *tail;
        int64_t rows, cols;
        bool there;
    } kind[] = {
        {"embed_tokens.weight", c->n_vocab_rows, c->dim, true},
        {"lm_head.out_proj.weight", c->n_vocab_rows, c->dim, !c->tied},
        {"norm.weight", 1, c->dim, true},
        {"q_proj.weight", inner, c->dim, true},
        {"k_proj.weight", inner_kv, source, true},
        {"v_proj.weight", inner_kv, source, true},
        {"o_proj.weight", c->dim, inner, true},
        {"gate_proj.weight", c->ff_dim, c->dim, true},
        {"up_proj.weight", c->ff_dim, c->dim, true},
        {"down_proj.weight", c->dim, c->ff_dim, true},
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        if (!ends(name, kind[i].tail)) continue;
        *rows = kind[i].rows, *cols = kind[i].cols;
        return kind[i].there;
    }
    return false;
}

static weir_status create_t5gemma(weir_model **out, weir_backend *be, const fake *k,
                                  const weir_tensor_source *src, weir_err *err) {
    const weir_t5gemma_config both = {&k->encoder, &k->decoder};
    return weir__t5gemma_create(out, be, &both, src, k->whole_body, FAKE_ROW, FAKE_PROMPT, err);
}

fake *fake_t5gemma(const weir_decoder_config *enc, const weir_decoder_config *dec, weir_dtype dtype) {
    static const fake_kind kind = {t5gemma_shape, create_t5gemma};
    fake *k = fake_make(&kind, dtype);
    k->encoder = *enc;
    k->decoder = *dec;
    return k;
}
