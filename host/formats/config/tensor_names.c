/* What the names of a directory's tensors say that its configuration does not. transformers leaves a tensor
 * that the model lacks out of the computation with a warning in its log; here one inside a layer is refused,
 * since whoever stored it meant it to count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/config/config.h"
#include "host/formats/safetensors/safetensors.h"

static bool ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static const char *skip(const char *s, const char *prefix) {
    const size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static bool has_any(const char *s, const char *const *parts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strstr(s, parts[i])) return true;
    return false;
}

/* ---- other programs' --------------------------------------------------------------------------------- */

static bool of_adapter(const char *name) {
    static const char *const parts[] = {
        ".lora_A",      ".lora_B",           ".lora_embedding_",  ".lora_magnitude_vector",
        ".base_layer.", "base_model.model.", ".modules_to_save.", ".ia3_l",
        ".oft_",        "prompt_embeddings"};
    return has_any(name, parts, sizeof parts / sizeof *parts);
}

static bool of_quantiser(const char *name) {
    static const char *const ends[] = {
        ".qweight",          ".qzeros",           ".g_idx",         ".scales",           ".weight_packed",
        ".weight_scale",     ".weight_scale_inv", ".weight.absmax", ".weight.quant_map", ".SCB",
        ".weight_zero_point"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return strstr(name, ".weight.quant_state.") != NULL;
}

bool weir__tensor_is_of_text(const char *name) {
    static const char *const parts[] = {"vision_tower.", "multi_modal_projector.", "vision_model.",
                                        "audio_tower."};
    return !has_any(name, parts, sizeof parts / sizeof *parts);
}

/* Tables that old versions stored beside the weights, and that every reader computes anew. */
static bool is_buffer(const char *name) {
    static const char *const ends[] = {"rotary_emb.inv_freq", "rotary_emb.cos_cached",
                                       "rotary_emb.sin_cached", ".masked_bias", "position_ids"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return false;
}

/* ---- the families' ----------------------------------------------------------------------------------- */

enum { EVERY = 1, BIAS = 2, QK_NORM = 4, POST = 8 };

static bool in_decoder_layer(const char *rest, const weir_decoder_config *d) {
    static const struct {
        const char *name;
        int where;
    } names[] = {
        {"input_layernorm.weight", EVERY},
        {"post_attention_layernorm.weight", EVERY},
        {"pre_feedforward_layernorm.weight", POST},
        {"post_feedforward_layernorm.weight", POST},
        {"self_attn.q_proj.weight", EVERY},
        {"self_attn.k_proj.weight", EVERY},
        {"self_attn.v_proj.weight", EVERY},
        {"self_attn.o_proj.weight", EVERY},
        {"self_attn.q_proj.bias", BIAS},
        {"self_attn.k_proj.bias", BIAS},
        {"self_attn.v_proj.bias", BIAS},
        {"self_attn.q_norm.weight", QK_NORM},
        {"self_attn.k_norm.weight", QK_NORM},
        {"mlp.gate_proj.weight", EVERY},
        {"mlp.up_proj.weight", EVERY},
        {"mlp.down_proj.weight", EVERY},
    };
    const int has =
        EVERY | (d->qkv_bias ? BIAS : 0) | (d->qk_norm ? QK_NORM : 0) | (d->post_norms ? POST : 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, rest) == 0) return names[i].where & has;
    return false;
}

/* The first block alone has a position bias that counts; old files store one of the cross-attention, too,
 * which no version uses. */
static bool in_t5_block(const char *rest, long block) {
    static const char *const names[] = {
        "layer_norm.weight",          "SelfAttention.q.weight",
        "SelfAttention.k.weight",     "SelfAttention.v.weight",
        "SelfAttention.o.weight",     "EncDecAttention.q.weight",
        "EncDecAttention.k.weight",   "EncDecAttention.v.weight",
        "EncDecAttention.o.weight",   "EncDecAttention.relative_attention_bias.weight",
        "DenseReluDense.wi.weight",   "DenseReluDense.wi_0.weight",
        "DenseReluDense.wi_1.weight", "DenseReluDense.wo.weight"};
    const char *part = skip(rest, "layer.");
    part = part ? strchr(part, '.') : NULL;
    if (!part) return false;
    if (block == 0 && strcmp(part + 1, "SelfAttention.relative_attention_bias.weight") == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], part + 1) == 0) return true;
    return false;
}

/* "N." at *s: N, and *s moves past it; -1 if it is no such thing. */
static long number_at(const char **s) {
    char *end;
    if (**s < '0' || **s > '9') return -1;
    const long n = strtol(*s, &end, 10);
    if (*end != '.') return -1;
    *s = end + 1;
    return n;
}

typedef enum verdict { KNOWN, STRANGE_IN_LAYER, STRANGE } verdict;

static verdict judge_decoder(const weir_checkpoint *c, const char *name) {
    const char *rest = skip(name, c->stem);
    if (ends_with(name, "lm_head.weight")) return KNOWN; /* a tied model's is left alone */
    if (!rest) return ends_with(name, "lm_head.bias") ? STRANGE_IN_LAYER : STRANGE;
    if (strcmp(rest, "embed_tokens.weight") == 0 || strcmp(rest, "norm.weight") == 0) return KNOWN;
    const char *layer = skip(rest, "layers.");
    const long i = layer ? number_at(&layer) : -1;
    if (i < 0 || i >= c->decoder.n_layer) return STRANGE;
    return in_decoder_layer(layer, &c->decoder) ? KNOWN : STRANGE_IN_LAYER;
}

static verdict judge_t5(const weir_checkpoint *c, const char *name) {
    static const char *const names[] = {"shared.weight",
                                        "lm_head.weight",
                                        "encoder.embed_tokens.weight",
                                        "decoder.embed_tokens.weight",
                                        "encoder.final_layer_norm.weight",
                                        "decoder.final_layer_norm.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return KNOWN;
    const char *encoder = skip(name, "encoder.block."),
               *rest = encoder ? encoder : skip(name, "decoder.block.");
    const long i = rest ? number_at(&rest) : -1;
    if (i < 0 || i >= (encoder ? c->t5.n_enc_layer : c->t5.n_dec_layer)) return STRANGE;
    return in_t5_block(rest, i) ? KNOWN : STRANGE_IN_LAYER;
}

static weir_status check_foreign(const weir_checkpoint *c, const char *name, weir_err *err) {
    if (of_adapter(name))
        return weir_fail(
            err, WEIR_ENOTSUP,
            "%s: tensor %.100s: an adapter's: merge it into its model first (peft: merge_and_unload)",
            weir__label(c->dir), name);
    if (of_quantiser(name))
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: tensor %.100s: the weights are quantised, expected F32, F16 or BF16 (or GGUF)",
                         weir__label(c->dir), name);
    return WEIR_OK;
}

static weir_status check_own(weir_checkpoint *c, const char *name, weir_err *err) {
    if (!weir__tensor_is_of_text(name) || is_buffer(name)) return WEIR_OK;
    const verdict v = c->kind == WEIR_FAMILY_DECODER ? judge_decoder(c, name) : judge_t5(c, name);
    if (v == STRANGE_IN_LAYER)
        return weir_fail(
            err, WEIR_ENOTSUP,
            "%s: tensor %.100s: not supported, %.*s has none of that name, it changes the result",
            weir__label(c->dir), name, (int)strcspn(c->family, " "), c->family);
    return v == STRANGE ? weir__note_tensor(name, c, err) : WEIR_OK;
}

/* Where a decoder's names begin: text models that come with others carry a word more. */
static weir_status find_stem(weir_checkpoint *c, weir_err *err) {
    static const char *const stems[] = {"model.", "language_model.model.", "model.language_model."};
    weir_st_entry e;
    char name[64];
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", stems[i]);
        if (!weir__safetensors_find(c->tensors, name, &e)) continue;
        snprintf(c->stem, sizeof c->stem, "%s", stems[i]);
        return WEIR_OK;
    }
    weir__safetensors_at(c->tensors, 0, &e);
    return weir_fail(err, WEIR_EFORMAT, "%s: no tensor model.embed_tokens.weight; the first is %.100s",
                     weir__label(c->dir), e.name);
}

weir_status weir__check_tensor_names(weir_checkpoint *c, weir_err *err) {
    const size_t n = weir__safetensors_count(c->tensors);
    weir_st_entry e;
    for (size_t i = 0; i < n; i++) {
        weir__safetensors_at(c->tensors, i, &e);
        WEIR_TRY(check_foreign(c, e.name, err));
    }
    if (c->kind == WEIR_FAMILY_DECODER && n > 0) WEIR_TRY(find_stem(c, err));
    for (size_t i = 0; i < n; i++) {
        weir__safetensors_at(c->tensors, i, &e);
        WEIR_TRY(check_own(c, e.name, err));
    }
    return WEIR_OK;
}
