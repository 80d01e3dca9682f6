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
    {"post_attention_layernorm.weight", "ffn_norm.weight", FAMILY_ALL, FAMILY_POST_NORMS},
    {"post_attention_layernorm.weight", "post_attention_norm.weight", FAMILY_POST_NORMS, 0},
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
    {"self_attn.q_norm.weight", "attn_q_norm.weight", FAMILY_QK_NORM, 0},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", FAMILY_QK_NORM, 0},
    {"mlp.gate_up_proj.weight", "ffn_up.weight", FAMILY_FUSED, 0},
    {"mlp.gate_proj.weight", "ffn_gate.weight", FAMILY_ALL, FAMILY_FUSED},
    {"mlp.up_proj.weight", "ffn_up.weight", FAMILY_ALL, FAMILY_FUSED},
    {"mlp.down_proj.weight", "ffn_down.weight", FAMILY_ALL, 0},
};

enum { N_TOP = sizeof TOP / sizeof *TOP, N_LAYER = sizeof LAYER / sizeof *LAYER };

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
    int32_t layer;
    const char *rest;
    for (int i = 0; i < N_TOP; i++) {
        if (!has(f, &TOP[i]) || strcmp(TOP[i].hf, name) != 0) continue;
        snprintf(out, GGUF_NAME_BYTES + 1, "%s", TOP[i].gguf);
        return true;
    }
    if (!parse_layer(name, "model.layers.", &layer, &rest)) return false;
    for (int i = 0; i < N_LAYER; i++) {
        if (!has(f, &LAYER[i]) || strcmp(LAYER[i].hf, rest) != 0) continue;
        snprintf(out, GGUF_NAME_BYTES + 1, "blk.%d.%s", layer, LAYER[i].gguf);
        return true;
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

/* A tensor that the model will ask for. */
static bool is_asked(const family_row *f, const weir_decoder_config *c, const char *name) {
    int32_t layer;
    const char *rest;
    for (int i = 0; i < N_TOP; i++)
        if (has(f, &TOP[i]) && strcmp(TOP[i].gguf, name) == 0) return true;
    if (!parse_layer(name, "blk.", &layer, &rest) || layer >= c->n_layer) return false;
    if (strstr(rest, ".bias") && !c->qkv_bias) return false;
    for (int i = 0; i < N_LAYER; i++)
        if (has(f, &LAYER[i]) && strcmp(LAYER[i].gguf, rest) == 0) return true;
    return false;
}

/* What old converters wrote and no reader uses; the image encoder of a larger model. */
static bool is_idle(const char *name) {
    int32_t layer;
    const char *rest;
    if (strncmp(name, "v.", 2) == 0 || strncmp(name, "mm.", 3) == 0) return true;
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
    int32_t n = (c->rope.n_dim ? c->rope.n_dim : c->head_dim) / 2;
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
    c->tied = !weir__gguf_find(g, "output.weight", &e);
    c->qkv_bias = weir__gguf_find(g, "blk.0.attn_q.bias", &e);
    for (size_t i = 0; i < g->n_tensor; i++) {
        const weir_entry *t = &g->tensor[i].e;
        if (is_idle(t->name)) continue;
        if (!is_asked(f, c, t->name))
            return weir_fail(err, WEIR_ENOTSUP,
                             "%s: tensor %s is not one of a %s of %d layers, it may change the result",
                             weir__label(g->label), t->name, f->gguf, c->n_layer);
        WEIR_TRY(check_tensor(g, t, err));
        if (t->n_dim >= 2) count[t->dtype]++;
    }
    for (int i = 0; i < WEIR_DTYPE_COUNT; i++)
        if (count[i] > count[m->dtype]) m->dtype = (weir_dtype)i;
    WEIR_TRY(check_quantization(g, m->dtype, err));
    WEIR_TRY(check_factors(g, c, "rope_freqs.weight", err));
    WEIR_TRY(check_factors(g, c, "rope_factors_short.weight", err));
    return check_factors(g, c, "rope_factors_long.weight", err);
}
