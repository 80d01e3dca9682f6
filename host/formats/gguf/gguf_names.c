/* Tensors under two names: GGUF's, and Hugging Face's, which models ask for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/gguf/gguf_model.h"
#include "host/formats/json/json_file.h"

typedef struct tensor_name {
    const char *hf, *gguf;
    int32_t with, without; /* choices of the families that have it */
} tensor_name;

static const tensor_name TOP[] = {
    {"model.embed_tokens.weight", "token_embd.weight", FAMILY_ALL, 0},
    {"model.norm.weight", "output_norm.weight", FAMILY_ALL, 0},
    {"lm_head.weight", "output.weight", FAMILY_ALL, 0},
    {"rope_freqs.weight", "rope_freqs.weight", FAMILY_ROPE_FREQS,
     0}, /* GGUF's alone: what llama3 scaling divides frequencies by */
    {"rope_factors_short.weight", "rope_factors_short.weight", FAMILY_LONGROPE, 0},
    {"rope_factors_long.weight", "rope_factors_long.weight", FAMILY_LONGROPE, 0},
};

/* After "model.layers.N." and "blk.N.". With norms after sub-layers, "post_attention_layernorm" is the one
 * after attention; without, it is the one before the feed-forward. */
static const tensor_name LAYER[] = {
    {"input_layernorm.weight", "attn_norm.weight", FAMILY_ALL, FAMILY_ONLY_POST},
    {"post_attention_layernorm.weight", "ffn_norm.weight", FAMILY_ALL, FAMILY_POST_NORMS | FAMILY_SINKS},
    {"post_attention_layernorm.weight", "post_attention_norm.weight", FAMILY_POST_NORMS | FAMILY_SINKS, 0},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight", FAMILY_POST_NORMS, FAMILY_ONLY_POST},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight", FAMILY_POST_NORMS, 0},
    {"self_attn.qkv_proj.weight", "attn_qkv.weight", FAMILY_FUSED, 0},
    {"self_attn.q_proj.weight", "attn_q.weight", FAMILY_ALL, FAMILY_FUSED},
    {"self_attn.k_proj.weight", "attn_k.weight", FAMILY_ALL, FAMILY_FUSED},
    {"self_attn.v_proj.weight", "attn_v.weight", FAMILY_ALL, FAMILY_FUSED},
    {"self_attn.o_proj.weight", "attn_output.weight", FAMILY_ALL, 0},
    {"self_attn.q_proj.bias", "attn_q.bias", FAMILY_ALL, 0},
    {"self_attn.k_proj.bias", "attn_k.bias", FAMILY_ALL, 0},
    {"self_attn.v_proj.bias", "attn_v.bias", FAMILY_ALL, 0},
    {"self_attn.o_proj.bias", "attn_output.bias", FAMILY_SINKS, 0},
    {"self_attn.sinks", "attn_sinks.weight", FAMILY_SINKS, 0},
    {"self_attn.q_norm.weight", "attn_q_norm.weight", FAMILY_QK_NORM, 0},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", FAMILY_QK_NORM, 0},
    {"mlp.gate_up_proj.weight", "ffn_up.weight", FAMILY_FUSED, 0},
    {"mlp.gate_proj.weight", "ffn_gate.weight", FAMILY_ALL, FAMILY_FUSED | FAMILY_MIXES},
    {"mlp.up_proj.weight", "ffn_up.weight", FAMILY_ALL, FAMILY_FUSED | FAMILY_MIXES},
    {"mlp.down_proj.weight", "ffn_down.weight", FAMILY_ALL, FAMILY_MIXES},
    {"mlp.gate.weight", "ffn_gate_inp.weight", FAMILY_MIXES, FAMILY_SINKS},
    {"mlp.router.weight", "ffn_gate_inp.weight", FAMILY_SINKS, 0},
    {"mlp.router.bias", "ffn_gate_inp.bias", FAMILY_SINKS, 0},
    {"mlp.experts.gate_proj.bias", "ffn_gate_exps.bias", FAMILY_SINKS, 0},
    {"mlp.experts.up_proj.bias", "ffn_up_exps.bias", FAMILY_SINKS, 0},
    {"mlp.experts.down_proj.bias", "ffn_down_exps.bias", FAMILY_SINKS, 0},
    {"mlp.experts.gate_proj.weight", "ffn_gate_exps.weight", FAMILY_MIXES, 0},
    {"mlp.experts.up_proj.weight", "ffn_up_exps.weight", FAMILY_MIXES, 0},
    {"mlp.experts.down_proj.weight", "ffn_down_exps.weight", FAMILY_MIXES, 0},
    {"mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight", FAMILY_SHARED_EXPERT, 0},
    {"mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight", FAMILY_SHARED_EXPERT, 0},
    {"mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight", FAMILY_SHARED_EXPERT, 0},
    {"mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight", FAMILY_SHARED_EXPERT, 0},
};

#define REL_BIAS "attn_rel_b.weight"

static const tensor_name T5_TOP[] = {
    {"shared.weight", "token_embd.weight", FAMILY_ALL, 0},
    {"lm_head.weight", "output.weight", FAMILY_ALL, 0},
    {"encoder.final_layer_norm.weight", "enc.output_norm.weight", FAMILY_ALL, 0},
    {"decoder.final_layer_norm.weight", "dec.output_norm.weight", FAMILY_ALL, 0},
};

/* After "encoder.block.N.layer." and "enc.blk.N.", and the same of the decoder. Without a gate "wi" is the
 * only matrix that reads the layer's input. */
#define T5_SELF                                                                   \
    {"0.layer_norm.weight", "attn_norm.weight", FAMILY_ALL, 0},                   \
        {"0.SelfAttention.q.weight", "attn_q.weight", FAMILY_ALL, 0},             \
        {"0.SelfAttention.k.weight", "attn_k.weight", FAMILY_ALL, 0},             \
        {"0.SelfAttention.v.weight", "attn_v.weight", FAMILY_ALL, 0},             \
        {"0.SelfAttention.o.weight", "attn_o.weight", FAMILY_ALL, 0}, {           \
        "0.SelfAttention.relative_attention_bias.weight", REL_BIAS, FAMILY_ALL, 0 \
    }
#define T5_FEED_FORWARD(at)                                                   \
    {at ".layer_norm.weight", "ffn_norm.weight", FAMILY_ALL, 0},              \
        {at ".DenseReluDense.wi_0.weight", "ffn_gate.weight", FAMILY_ALL, 0}, \
        {at ".DenseReluDense.wi_1.weight", "ffn_up.weight", FAMILY_ALL, 0},   \
        {at ".DenseReluDense.wi.weight", "ffn_up.weight", FAMILY_ALL, 0}, {   \
        at ".DenseReluDense.wo.weight", "ffn_down.weight", FAMILY_ALL, 0      \
    }
static const tensor_name T5_ENCODER[] = {T5_SELF, T5_FEED_FORWARD("1")};
static const tensor_name T5_DECODER[] = {
    T5_SELF,
    {"1.layer_norm.weight", "cross_attn_norm.weight", FAMILY_ALL, 0},
    {"1.EncDecAttention.q.weight", "cross_attn_q.weight", FAMILY_ALL, 0},
    {"1.EncDecAttention.k.weight", "cross_attn_k.weight", FAMILY_ALL, 0},
    {"1.EncDecAttention.v.weight", "cross_attn_v.weight", FAMILY_ALL, 0},
    {"1.EncDecAttention.o.weight", "cross_attn_o.weight", FAMILY_ALL, 0},
    T5_FEED_FORWARD("2"),
};

/* What a kind of model has: tensors of its own, and stacks of layers. */
#define COUNTED(table) table, sizeof(table) / sizeof *(table)
static const struct {
    const tensor_name *top;
    size_t n_top;
    struct {
        const char *hf, *gguf;
        const tensor_name *layer;
        size_t n;
    } stack[2];
} KINDS[] = {
    [WEIR_FAMILY_T5] = {COUNTED(T5_TOP),
                        {{"encoder.block.", "enc.blk.", COUNTED(T5_ENCODER)},
                         {"decoder.block.", "dec.blk.", COUNTED(T5_DECODER)}}},
    [WEIR_FAMILY_DECODER] = {COUNTED(TOP), {{"model.layers.", "blk.", COUNTED(LAYER)}}},
};
enum { N_STACK = sizeof KINDS[0].stack / sizeof *KINDS[0].stack };

static bool has(const family_row *f, const tensor_name *t) {
    return weir__family_has(f, t->with) && !(f->features & t->without);
}

/* The N of "<prefix>N.", and what follows it; no sign, no leading zero. */
static bool parse_layer(const char *name, const char *prefix, int32_t *layer, const char **rest) {
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0) return false;
    const char *p = name + n;
    int32_t v = 0, digits = 0;
    for (; *p >= '0' && *p <= '9' && digits < 6; p++, digits++) v = 10 * v + (*p - '0');
    if (digits == 0 || *p != '.' || (digits > 1 && name[n] == '0')) return false;
    *layer = v;
    *rest = p + 1;
    return true;
}

/* ---- the source ---------------------------------------------------------------------------------------- */

/* GGUF's name of a Hugging Face name. */
static bool translate(const family_row *f, const char *name, char out[GGUF_NAME_BYTES + 1]) {
    const tensor_name *top = KINDS[f->kind].top;
    int32_t layer;
    const char *rest;
    for (size_t i = 0; i < KINDS[f->kind].n_top; i++) {
        if (!has(f, &top[i]) || strcmp(top[i].hf, name) != 0) continue;
        snprintf(out, GGUF_NAME_BYTES + 1, "%s", top[i].gguf);
        return true;
    }
    for (int s = 0; s < N_STACK && KINDS[f->kind].stack[s].hf; s++) {
        const tensor_name *part = KINDS[f->kind].stack[s].layer;
        if (!parse_layer(name, KINDS[f->kind].stack[s].hf, &layer, &rest)) continue;
        if (f->kind == WEIR_FAMILY_T5) rest += strncmp(rest, "layer.", 6) == 0 ? 6 : 0;
        for (size_t i = 0; i < KINDS[f->kind].stack[s].n; i++) {
            if (!has(f, &part[i]) || strcmp(part[i].hf, rest) != 0) continue;
            snprintf(out, GGUF_NAME_BYTES + 1, "%s%d.%s", KINDS[f->kind].stack[s].gguf, layer, part[i].gguf);
            return true;
        }
    }
    return false;
}

static bool source_find(void *ud, const char *name, weir_tensor *out) {
    const weir_gguf *g = ud;
    const family_row *f = weir__gguf_family(g);
    char own[GGUF_NAME_BYTES + 1];
    weir_entry e;
    return f && translate(f, name, own) && weir__gguf_find(g, own, &e) && weir__entry_tensor(&e, out);
}

static void source_release(void *ud, const char *name) {
    const weir_gguf *g = ud;
    const family_row *f = weir__gguf_family(g);
    char own[GGUF_NAME_BYTES + 1];
    if (f && translate(f, name, own)) weir__gguf_release(g, own);
}

weir_tensor_source weir__gguf_source(weir_gguf *g) {
    return (weir_tensor_source){.find = source_find, .release = source_release, .ud = g};
}

/* ---- what is there ------------------------------------------------------------------------------------- */

static int32_t layers_of(const weir_gguf_model *m, int stack) {
    if (m->kind == WEIR_FAMILY_DECODER) return m->config.n_layer;
    return stack == 0 ? m->t5.n_enc_layer : m->t5.n_dec_layer;
}

/* What only some models of a kind have. A T5's first layer has the bias of all: umT5's have one each. */
static bool is_choice_of_others(const weir_gguf_model *m, int32_t layer, const char *rest) {
    if (m->kind == WEIR_FAMILY_DECODER) return strstr(rest, ".bias") && !m->config.qkv_bias;
    return (layer > 0 && !m->t5.layer_bias && strcmp(rest, REL_BIAS) == 0) ||
           (!m->t5.gated && strcmp(rest, "ffn_gate.weight") == 0);
}

/* A tensor that the model will ask for. */
static bool is_asked(const family_row *f, const weir_gguf_model *m, const char *name) {
    const tensor_name *top = KINDS[m->kind].top;
    int32_t layer;
    const char *rest;
    for (size_t i = 0; i < KINDS[m->kind].n_top; i++)
        if (has(f, &top[i]) && strcmp(top[i].gguf, name) == 0) return true;
    for (int s = 0; s < N_STACK && KINDS[m->kind].stack[s].hf; s++) {
        const tensor_name *part = KINDS[m->kind].stack[s].layer;
        if (!parse_layer(name, KINDS[m->kind].stack[s].gguf, &layer, &rest) || layer >= layers_of(m, s))
            continue;
        if (is_choice_of_others(m, layer, rest)) return false;
        for (size_t i = 0; i < KINDS[m->kind].stack[s].n; i++)
            if (has(f, &part[i]) && strcmp(part[i].gguf, rest) == 0) return true;
    }
    return false;
}

/* What old converters wrote and no reader uses; the image encoder of a larger model. */
static bool is_idle(const char *name) {
    int32_t layer;
    const char *rest;
    if (strncmp(name, "v.", 2) == 0 || strncmp(name, "mm.", 3) == 0) return true;
    if (parse_layer(name, "dec.blk.", &layer, &rest)) return strcmp(rest, "cross_attn_rel_b.weight") == 0;
    return parse_layer(name, "blk.", &layer, &rest) && strcmp(rest, "attn_rot_embd.weight") == 0;
}

static weir_status check_tensor(const weir_gguf *g, const weir_entry *t, weir_err *err) {
    char list[GGUF_TYPES_TEXT];
    if (t->dtype < 0)
        return weir_fail(err, WEIR_ENOTSUP, "%s: tensor %s: type %s is not supported, expected %s",
                         weir__label(g->label), t->name, t->type, weir__gguf_types(list));
    return WEIR_OK;
}

/* The divisors of the frequencies: one per pair of elements, all positive. */
static weir_status check_factors(const weir_gguf *g, const weir_decoder_config *c, const char *name,
                                 weir_err *err) {
    weir_entry e;
    int32_t n = weir__rope_dims(&c->rope, c->head_dim) / 2;
    if (!weir__gguf_find(g, name, &e)) return WEIR_OK;
    if (e.dtype != WEIR_DTYPE_F32 || e.n_dim != 1 || e.shape[0] != n)
        return weir_fail(err, WEIR_EFORMAT, "%s: tensor %s: expected %d F32 numbers", weir__label(g->label),
                         name, n);
    for (int32_t i = 0; i < n; i++) {
        float v;
        memcpy(&v, (const uint8_t *)e.data + (size_t)i * sizeof v, sizeof v);
        if (!(v > 0) || !isfinite(v))
            return weir_fail(err, WEIR_EFORMAT, "%s: tensor %s: element %d is %g, expected a positive number",
                             weir__label(g->label), name, i, (double)v);
    }
    return WEIR_OK;
}

/* Blocks of version 1 had another layout. */
static weir_status check_quantization(const weir_gguf *g, weir_dtype dtype, weir_err *err) {
    int64_t v;
    if (weir_dtype_is_float(dtype) || !weir__gguf_int(g, "general.quantization_version", &v) || v == 2)
        return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP,
                     "%s: general.quantization_version = %lld is not supported, expected 2",
                     weir__label(g->label), (long long)v);
}

weir_status weir__gguf_check_tensors(const weir_gguf *g, const family_row *f, weir_gguf_model *m,
                                     weir_err *err) {
    weir_decoder_config *c = &m->config;
    size_t count[WEIR_DTYPE_COUNT] = {0};
    weir_entry e;
    *(m->kind == WEIR_FAMILY_T5 ? &m->t5.tied : &c->tied) = !weir__gguf_find(g, "output.weight", &e);
    c->qkv_bias = weir__family_has(f, FAMILY_SINKS) || weir__gguf_find(g, "blk.0.attn_q.bias", &e);
    m->t5.gated = weir__gguf_find(g, "enc.blk.0.ffn_gate.weight", &e);
    m->t5.layer_bias = weir__gguf_find(g, "enc.blk.1." REL_BIAS, &e) ||
                       weir__gguf_find(g, "dec.blk.1." REL_BIAS, &e); /* as in umT5; then all are needed */
    for (size_t i = 0; i < g->n_tensor; i++) {
        const weir_entry *t = &g->tensor[i].e;
        if (is_idle(t->name)) continue;
        if (!is_asked(f, m, t->name))
            return weir_fail(err, WEIR_ENOTSUP,
                             "%s: tensor %s is not one of a %s of %d layers, it may change the result",
                             weir__label(g->label), t->name, f->gguf, layers_of(m, 0));
        WEIR_TRY(check_tensor(g, t, err));
        if (t->n_dim >= 2) count[t->dtype]++;
    }
    for (int i = 0; i < WEIR_DTYPE_COUNT; i++)
        if (count[i] > count[m->dtype]) m->dtype = (weir_dtype)i;
    WEIR_TRY(check_quantization(g, m->dtype, err));
    if (m->kind == WEIR_FAMILY_T5) return WEIR_OK;
    WEIR_TRY(check_factors(g, c, "rope_freqs.weight", err));
    WEIR_TRY(check_factors(g, c, "rope_factors_short.weight", err));
    return check_factors(g, c, "rope_factors_long.weight", err);
}
