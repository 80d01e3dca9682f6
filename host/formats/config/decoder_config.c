/* config.json of a decoder-only model, as transformers 4.57's LlamaConfig, MistralConfig, MixtralConfig,
 * Phi3Config, Olmo2Config, GraniteConfig, SmolLM3Config, Qwen2Config, Qwen2MoeConfig, Qwen3Config,
 * Qwen3MoeConfig, GptOssConfig, Gemma2Config and Gemma3TextConfig read it: same names, defaults and
 * precedence. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/formats/config/config.h"

/* Bounds: far above any model, and low enough that rows x cols x 4 bytes stays inside int64. */
enum { MAX_DIM = 1 << 20, MAX_VOCAB = 1 << 26 };

/* ---- fields -------------------------------------------------------------------------------------------- */

/* Families of which choices honour a key; in the others only a neutral value will do. */
static const struct {
    const char *name;
    int32_t honoured;
    weir_neutral otherwise;
} FIELDS[] = {
    {"model_type", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"architectures", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"vocab_size", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"hidden_size", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"intermediate_size", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"num_hidden_layers", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"num_attention_heads", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"num_key_value_heads", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"head_dim", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"max_position_embeddings", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rms_norm_eps", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"tie_word_embeddings", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rope_theta", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rope_scaling", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rope_parameters", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rope_local_base_freq", FAMILY_LOCAL_THETA, WEIR_NEUTRAL_NULL},
    {"bos_token_id", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"eos_token_id", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"pad_token_id", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"hidden_act", FAMILY_ALL, WEIR_NEUTRAL_ANY}, /* Gemma's own name for it counts */
    {"hidden_activation", FAMILY_ACTIVATION, WEIR_NEUTRAL_NULL},
    {"sliding_window", FAMILY_WINDOW | FAMILY_EXPERTS, WEIR_NEUTRAL_NULL}, /* with experts: of no layer */
    {"use_sliding_window", FAMILY_MAY_SLIDE | FAMILY_NO_ROPE, WEIR_NEUTRAL_OFF},
    {"max_window_layers", FAMILY_MAY_SLIDE, WEIR_NEUTRAL_ANY},
    {"layer_types", FAMILY_LAYER_TYPES, WEIR_NEUTRAL_NULL},
    {"sliding_window_pattern", FAMILY_PERIOD_KEY, WEIR_NEUTRAL_NULL},
    {"query_pre_attn_scalar", FAMILY_QUERY_SCALAR, WEIR_NEUTRAL_NULL},
    {"attn_logit_softcapping", FAMILY_SCORE_CAP, WEIR_NEUTRAL_NULL},
    {"final_logit_softcapping", FAMILY_FINAL_CAP, WEIR_NEUTRAL_NULL},
    {"partial_rotary_factor", FAMILY_LONGROPE, WEIR_NEUTRAL_ONE},
    {"original_max_position_embeddings", FAMILY_LONGROPE, WEIR_NEUTRAL_NOTED},
    {"embedding_multiplier", FAMILY_MULTIPLIERS, WEIR_NEUTRAL_ONE},
    {"residual_multiplier", FAMILY_MULTIPLIERS, WEIR_NEUTRAL_ONE},
    {"logits_scaling", FAMILY_MULTIPLIERS, WEIR_NEUTRAL_ONE},
    {"attention_multiplier", FAMILY_MULTIPLIERS, WEIR_NEUTRAL_NULL},
    {"no_rope_layers", FAMILY_NO_ROPE, WEIR_NEUTRAL_OFF},
    {"no_rope_layer_interval", FAMILY_NO_ROPE, WEIR_NEUTRAL_OFF},
    {"num_local_experts", FAMILY_LOCAL_EXPERTS, WEIR_NEUTRAL_OFF},
    {"num_experts", FAMILY_EXPERTS, WEIR_NEUTRAL_OFF},
    {"num_experts_per_tok", FAMILY_MIXES, WEIR_NEUTRAL_OFF},
    {"experts_per_token", FAMILY_SINKS, WEIR_NEUTRAL_NOTED}, /* must agree with it */
    {"swiglu_limit", FAMILY_SINKS, WEIR_NEUTRAL_NULL},
    {"initial_context_length", FAMILY_SINKS, WEIR_NEUTRAL_NOTED}, /* rope_scaling says it */
    {"moe_intermediate_size", FAMILY_EXPERTS, WEIR_NEUTRAL_OFF},
    {"shared_expert_intermediate_size", FAMILY_SHARED_EXPERT, WEIR_NEUTRAL_OFF},
    {"norm_topk_prob", FAMILY_EXPERTS, WEIR_NEUTRAL_NOTED},
    {"decoder_sparse_step", FAMILY_EXPERTS, WEIR_NEUTRAL_NOTED},
    {"mlp_only_layers", FAMILY_EXPERTS, WEIR_NEUTRAL_OFF},
    /* never change what we compute */
    {"router_aux_loss_coef", FAMILY_MIXES, WEIR_NEUTRAL_NOTED}, /* of training */
    {"router_jitter_noise", FAMILY_MIXES, WEIR_NEUTRAL_NOTED},
    {"output_router_logits", FAMILY_MIXES, WEIR_NEUTRAL_NOTED},
    {"initializer_range", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"attention_dropout", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"resid_pdrop", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"embd_pdrop", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"pretraining_tp", FAMILY_ALL, WEIR_NEUTRAL_ANY}, /* how a product is cut, not what it is */
    {"is_decoder", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"is_llama_config", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"transformers.js_config", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    /* another computation unless neutral */
    /* would add one to o too; Qwen2 has biases whatever this says */
    {"attention_bias", FAMILY_QKV_BIAS, WEIR_NEUTRAL_OFF},
    {"mlp_bias", 0, WEIR_NEUTRAL_OFF},
    {"is_encoder_decoder", 0, WEIR_NEUTRAL_OFF},
    /* stacks of a T5Gemma */
    {"cross_attention_hidden_size", FAMILY_STACKS, WEIR_NEUTRAL_NULL},
    {"dropout_rate", FAMILY_STACKS, WEIR_NEUTRAL_NOTED},
    {"classifier_dropout_rate", FAMILY_STACKS, WEIR_NEUTRAL_NOTED},
    /* second names, see check_aliases */
    {"norm_eps", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"norm_epsilon", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"layer_norm_eps", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"layer_norm_epsilon", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"layernorm_epsilon", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rotary_emb_base", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rotary_embedding_base", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rotary_base", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rope_base", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"rope_freq_base", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    {"global_rope_theta", FAMILY_ALL, WEIR_NEUTRAL_ANY},
    /* what a variant may add, and the family has anyway */
    {"qkv_bias", FAMILY_QKV_BIAS, WEIR_NEUTRAL_OFF},
    {"use_qkv_bias", FAMILY_QKV_BIAS, WEIR_NEUTRAL_OFF},
    {"add_qkv_bias", FAMILY_QKV_BIAS, WEIR_NEUTRAL_OFF},
    {"no_bias", FAMILY_QKV_BIAS, WEIR_NEUTRAL_TRUE},
    {"use_qk_norm", FAMILY_QK_NORM, WEIR_NEUTRAL_OFF},
    {"qk_norm", FAMILY_QK_NORM, WEIR_NEUTRAL_OFF},
    {"use_post_norm", FAMILY_POST_NORMS, WEIR_NEUTRAL_OFF},
    {"scale_embedding", FAMILY_EMBED_SCALE, WEIR_NEUTRAL_OFF},
    {"sliding_window_size", FAMILY_WINDOW_SIZE, WEIR_NEUTRAL_OFF}, /* sliding_window counts */
};

static weir_status check_field(const family_row *f, const char *key, const json_t *value, const char *label,
                               weir_checkpoint *out, weir_err *err) {
    weir_field own[] = {{key, WEIR_NEUTRAL_ANY}, {NULL, WEIR_NEUTRAL_ANY}};
    if (weir__is_wish(WEIR_FAMILY_DECODER, key)) return WEIR_OK;
    if (weir__family_has(f, FAMILY_SINKS) && weir__is_mxfp4_config(key, value)) return WEIR_OK;
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        if (strcmp(FIELDS[i].name, key) != 0) continue;
        own[0].neutral = weir__family_has(f, FIELDS[i].honoured) ? WEIR_NEUTRAL_ANY : FIELDS[i].otherwise;
        return weir__check_field(own, key, value, label, out, err);
    }
    return weir__check_field(NULL, key, value, label, out, err);
}

static weir_status check_fields(const family_row *f, json_t *root, const char *label, weir_checkpoint *out,
                                weir_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (key[0] != '_') WEIR_TRY(check_field(f, key, value, label, out, err));
    }
    return WEIR_OK;
}

weir_status weir__check_architecture(const char *want, const json_t *root, const char *label, weir_err *err) {
    const json_t *v = json_object_get(root, "architectures");
    if (!v || json_is_null(v)) return WEIR_OK;
    if (!json_is_array(v))
        return weir__fail_field(err, WEIR_EFORMAT, label, "architectures", v, "expected a list");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *s = json_string_value(json_array_get(v, i));
        if (s && strcasecmp(s, want) == 0) return WEIR_OK; /* LLaMAForCausalLM, as the first files have it */
    }
    if (json_array_size(v) == 0) return WEIR_OK;
    char why[80];
    snprintf(why, sizeof why, "not supported, expected %s", want);
    return weir__fail_field(err, WEIR_ENOTSUP, label, "architectures", json_array_get(v, 0), why);
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* As get_int, with null as absent. */
static weir_status optional_int(const json_t *root, const char *key, int64_t lo, int64_t hi, int32_t *out,
                                const char *label, weir_err *err) {
    return weir__is_set(root, key) ? weir__get_int(root, key, lo, hi, out, label, err) : WEIR_OK;
}

static weir_status parse_heads(const family_row *f, const json_t *root, const char *label,
                               weir_decoder_config *c, weir_err *err) {
    WEIR_TRY(weir__get_int(root, "num_attention_heads", 1, MAX_DIM, &c->n_head, label, err));
    const json_t *kv = json_object_get(root, "num_key_value_heads");
    if (json_is_null(kv) || (!kv && f->decoder.config.n_head_kv == 0))
        c->n_head_kv = c->n_head;
    else
        WEIR_TRY(weir__get_int(root, "num_key_value_heads", 1, MAX_DIM, &c->n_head_kv, label, err));
    WEIR_TRY(optional_int(root, "head_dim", 1, MAX_DIM, &c->head_dim, label, err));
    if (c->head_dim == 0) c->head_dim = c->dim / c->n_head;
    if (c->head_dim < 2 || c->head_dim % 2 != 0)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: head_dim = %d, expected an even number: rotary embeddings turn pairs",
                         weir__label(label), c->head_dim);
    if (c->n_head % c->n_head_kv != 0)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: num_attention_heads = %d, expected a multiple of num_key_value_heads = %d",
                         weir__label(label), c->n_head, c->n_head_kv);
    if ((int64_t)c->n_head * c->head_dim > MAX_DIM)
        return weir_fail(err, WEIR_EFORMAT, "%s: num_attention_heads x head_dim = %lld, expected at most %d",
                         weir__label(label), (long long)c->n_head * c->head_dim, MAX_DIM);
    return WEIR_OK;
}

static weir_status parse_sizes(const family_row *f, const json_t *root, const char *label,
                               weir_decoder_config *c, weir_err *err) {
    double eps = f->decoder.config.eps > 0.0f ? (double)f->decoder.config.eps : 1e-6;
    WEIR_TRY(weir__get_int(root, "vocab_size", 1, MAX_VOCAB, &c->n_vocab_rows, label, err));
    WEIR_TRY(weir__get_int(root, "hidden_size", 1, MAX_DIM, &c->dim, label, err));
    WEIR_TRY(weir__get_int(root, "intermediate_size", 1, MAX_DIM, &c->ff_dim, label, err));
    WEIR_TRY(weir__get_int(root, "num_hidden_layers", 1, WEIR_DECODER_LAYERS, &c->n_layer, label, err));
    WEIR_TRY(weir__get_int(root, "max_position_embeddings", 1, INT32_MAX, &c->n_ctx_train, label, err));
    WEIR_TRY(weir__get_real(root, "rms_norm_eps", 1e-30, 1.0, &eps, label, err));
    WEIR_TRY(weir__get_bool(root, "tie_word_embeddings", &c->tied, label, err));
    c->eps = (float)eps;
    return parse_heads(f, root, label, c, err);
}

/* ---- layers -------------------------------------------------------------------------------------------- */

/* In the list 1 is a layer that turns, whatever the name says. */
static weir_status parse_no_rope(const family_row *f, const json_t *root, const char *label,
                                 weir_decoder_config *c, weir_err *err) {
    int32_t interval = f->decoder.no_rope_interval;
    const json_t *list = json_object_get(root, "no_rope_layers");
    const bool given = list && !json_is_null(list);
    if (!weir__family_has(f, FAMILY_NO_ROPE)) return WEIR_OK;
    if (given && (!json_is_array(list) || json_array_size(list) != (size_t)c->n_layer))
        return weir__fail_field(err, WEIR_EFORMAT, label, "no_rope_layers", list,
                                "expected a list of num_hidden_layers numbers, 0 or 1");
    WEIR_TRY(weir__get_int(root, "no_rope_layer_interval", 1, INT32_MAX, &interval, label, err));
    for (int32_t i = 0; i < c->n_layer; i++) {
        const json_t *v = given ? json_array_get(list, (size_t)i) : NULL;
        const bool number = json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1);
        if (given && !number)
            return weir__fail_field(err, WEIR_EFORMAT, label, "no_rope_layers", v, "expected 0 or 1");
        c->no_rope[i] = given ? json_integer_value(v) == 0 : (i + 1) % interval == 0;
    }
    return WEIR_OK;
}

static weir_status parse_layer_types(const json_t *v, const char *label, weir_decoder_config *c,
                                     weir_err *err) {
    if (!json_is_array(v) || json_array_size(v) != (size_t)c->n_layer)
        return weir__fail_field(err, WEIR_EFORMAT, label, "layer_types", v,
                                "expected a list of num_hidden_layers names");
    for (int32_t i = 0; i < c->n_layer; i++) {
        const char *name = json_string_value(json_array_get(v, (size_t)i));
        c->sliding[i] = name && strcmp(name, "sliding_attention") == 0;
        if (c->sliding[i] || (name && strcmp(name, "full_attention") == 0)) continue;
        return weir__fail_field(err, WEIR_ENOTSUP, label, "layer_types", json_array_get(v, (size_t)i),
                                "not supported, expected sliding_attention or full_attention");
    }
    return WEIR_OK;
}

static weir_status parse_windows(const family_row *f, const json_t *root, const char *label,
                                 weir_decoder_config *c, weir_err *err) {
    const bool may = weir__family_has(f, FAMILY_MAY_SLIDE), some = weir__family_has(f, FAMILY_NO_ROPE);
    int32_t period = f->decoder.period, first = may ? 28 : 0;
    bool use = !may && !some && weir__family_has(f, FAMILY_WINDOW);
    if (may || some) WEIR_TRY(weir__get_bool(root, "use_sliding_window", &use, label, err));
    if (may) WEIR_TRY(optional_int(root, "max_window_layers", 0, INT32_MAX, &first, label, err));
    WEIR_TRY(optional_int(root, "sliding_window_pattern", 1, INT32_MAX, &period, label, err));
    if (json_is_null(json_object_get(root, "sliding_window")) && json_object_get(root, "sliding_window"))
        c->window = 0;
    else
        WEIR_TRY(weir__get_int(root, "sliding_window", 1, INT32_MAX, &c->window, label, err));
    if (!use) c->window = 0;
    if (weir__is_set(root, "layer_types") && weir__family_has(f, FAMILY_LAYER_TYPES)) {
        WEIR_TRY(parse_layer_types(json_object_get(root, "layer_types"), label, c, err));
    } else {
        for (int32_t i = 0; i < c->n_layer; i++)
            c->sliding[i] =
                period > 0 ? (i + 1) % period != 0 : c->window > 0 && i >= first && (!some || c->no_rope[i]);
    }
    bool any = false;
    for (int32_t i = 0; i < c->n_layer; i++) any |= c->sliding[i];
    if (any && c->window == 0)
        return weir_fail(err, WEIR_EFORMAT, "%s: layers slide, but there is no sliding_window",
                         weir__label(label));
    if (!any) c->window = 0;
    return WEIR_OK;
}

/* ---- rotary embeddings --------------------------------------------------------------------------------- */

/* How many leading elements of a head turn; 0: all. In an object of rope_parameters too. */
static weir_status parse_partial(const family_row *f, const json_t *root, const json_t *rope,
                                 const char *label, const weir_decoder_config *c, int32_t *n_dim,
                                 weir_err *err) {
    double part = 1.0;
    *n_dim = 0;
    if (!weir__family_has(f, FAMILY_LONGROPE)) return WEIR_OK;
    WEIR_TRY(weir__get_real(root, "partial_rotary_factor", 1e-6, 1.0, &part, label, err));
    WEIR_TRY(weir__get_real(rope, "partial_rotary_factor", 1e-6, 1.0, &part, label, err));
    const int32_t n = (int32_t)(c->head_dim * part);
    if (n < 2 || n % 2 != 0)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: partial_rotary_factor = %g: %d of %d elements of a head turn, expected an even "
                         "number",
                         weir__label(label), part, n, c->head_dim);
    *n_dim = n == c->head_dim ? 0 : n;
    return WEIR_OK;
}

/* rope_parameters (transformers 5) holds what rope_scaling and the thetas say, in Gemma 3 one object a kind
 * of layer. */
static weir_status parse_ropes(const family_row *f, const json_t *root, const char *label,
                               weir_checkpoint *out, weir_err *err) {
    weir_decoder_config *c = &out->decoder;
    double theta = f->decoder.theta, sliding = f->decoder.theta_sliding;
    WEIR_TRY(weir__get_real(root, "rope_theta", 1.0, 1e12, &theta, label, err));
    if (weir__family_has(f, FAMILY_LOCAL_THETA))
        WEIR_TRY(weir__get_real(root, "rope_local_base_freq", 1.0, 1e12, &sliding, label, err));
    const json_t *scaling = json_object_get(root, "rope_scaling"),
                 *all = json_object_get(root, "rope_parameters");
    const bool both = weir__is_set(root, "rope_scaling") && weir__is_set(root, "rope_parameters");
    if (both && !json_equal(scaling, all))
        return weir__fail_field(err, WEIR_EFORMAT, label, "rope_parameters", all, "contradicts rope_scaling");
    const json_t *global = json_object_get(all, "full_attention"),
                 *local = json_object_get(all, "sliding_attention");
    const bool nested = global || local;
    if (nested && json_object_size(all) != (size_t)(global != NULL) + (local != NULL))
        return weir__fail_field(err, WEIR_ENOTSUP, label, "rope_parameters", all,
                                "expected full_attention and sliding_attention alone");
    if (!nested) global = weir__is_set(root, "rope_scaling") ? scaling : all;
    weir_rope_base base = {.theta = theta,
                           .n_ctx = c->n_ctx_train,
                           .n_ctx_original = f->decoder.config.rope.n_ctx_original,
                           .longrope = weir__family_has(f, FAMILY_LONGROPE)};
    WEIR_TRY(parse_partial(f, root, global, label, c, &base.n_dim, err));
    if (base.longrope)
        WEIR_TRY(optional_int(root, "original_max_position_embeddings", 2, INT32_MAX, &base.n_ctx_original,
                              label, err));
    if (f->decoder.config.rope.kind != WEIR_ROPE_DEFAULT && !scaling && !all)
        c->rope.theta = (float)theta; /* stretched, unless the file says otherwise */
    else
        WEIR_TRY(weir__rope_parse(global, &base, label, out, &c->rope, err));
    c->rope_sliding = c->rope;
    if (sliding > 0) base.theta = sliding;
    if (nested || sliding > 0) return weir__rope_parse(local, &base, label, out, &c->rope_sliding, err);
    return WEIR_OK;
}

/* ---- second names ------------------------------------------------------------------------------------ */

/* Names that other families have for what no tensor's shape would give away. transformers ignores them here,
 * the program that wrote the file may not: two that disagree are a mistake. */
static weir_status check_aliases(const json_t *root, const char *label, const weir_decoder_config *c,
                                 weir_err *err) {
    static const struct {
        const char *alias, *name;
    } names[] = {
        {"norm_eps", "rms_norm_eps"},
        {"norm_epsilon", "rms_norm_eps"},
        {"layer_norm_eps", "rms_norm_eps"},
        {"layer_norm_epsilon", "rms_norm_eps"},
        {"layernorm_epsilon", "rms_norm_eps"},
        {"rotary_emb_base", "rope_theta"},
        {"rotary_embedding_base", "rope_theta"},
        {"rotary_base", "rope_theta"},
        {"rope_base", "rope_theta"},
        {"rope_freq_base", "rope_theta"},
        {"global_rope_theta", "rope_theta"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *v = json_object_get(root, names[i].alias);
        const float value = strcmp(names[i].name, "rope_theta") == 0 ? c->rope.theta : c->eps;
        if (!v || json_is_null(v) || (json_is_number(v) && (float)json_number_value(v) == value)) continue;
        char why[80];
        snprintf(why, sizeof why, "contradicts %s = %g", names[i].name, (double)value);
        return weir__fail_field(err, WEIR_ENOTSUP, label, names[i].alias, v, why);
    }
    return WEIR_OK;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static weir_status parse_act(const family_row *f, const json_t *root, const char *label,
                             weir_decoder_config *c, const char **name, weir_err *err) {
    const char *key = weir__family_has(f, FAMILY_ACTIVATION) ? "hidden_activation" : "hidden_act";
    *name = f->decoder.act;
    WEIR_TRY(weir__get_string(root, key, name, label, err));
    if (weir__parse_act(*name, &c->act) && (c->act == WEIR_ACT_SILU || c->act == WEIR_ACT_GELU_TANH))
        return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "%s: activation \"%.40s\" is not supported", weir__label(label),
                     *name);
}

/* null switches a cap off; 0 would divide by it. */
static weir_status parse_cap(const json_t *root, const char *key, const char *label, float *out,
                             weir_err *err) {
    double cap = 0;
    const json_t *v = json_object_get(root, key);
    if (!v) return WEIR_OK;
    WEIR_TRY(weir__get_real(root, key, 1e-3, 1e9, &cap, label, err));
    *out = (float)cap;
    return WEIR_OK;
}

static weir_status parse_multipliers(const json_t *root, const char *label, weir_decoder_config *c,
                                     weir_err *err) {
    struct {
        const char *key;
        double value;
    } m[] = {{"embedding_multiplier", 1},
             {"attention_multiplier", 1},
             {"residual_multiplier", 1},
             {"logits_scaling", 1}};
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        WEIR_TRY(weir__get_real(root, m[i].key, 1e-9, 1e9, &m[i].value, label, err));
    c->embed_scale = (float)m[0].value;
    c->attention_scale = (float)m[1].value;
    c->residual_scale = (float)m[2].value;
    c->logit_scale = (float)(1.0 / m[3].value);
    return WEIR_OK;
}

static weir_status parse_scales(const family_row *f, const json_t *root, const char *label,
                                weir_decoder_config *c, weir_err *err) {
    double scalar = f->decoder.query_scalar > 0 ? f->decoder.query_scalar : (double)c->head_dim;
    c->embed_scale = weir__family_has(f, FAMILY_EMBED_SCALE) ? (float)sqrt((double)c->dim) : 1.0f;
    if (weir__family_has(f, FAMILY_QUERY_SCALAR))
        WEIR_TRY(weir__get_real(root, "query_pre_attn_scalar", 1e-3, 1e9, &scalar, label, err));
    if (weir__family_has(f, FAMILY_FINAL_CAP))
        WEIR_TRY(parse_cap(root, "final_logit_softcapping", label, &c->final_softcap, err));
    if (weir__family_has(f, FAMILY_SCORE_CAP))
        WEIR_TRY(parse_cap(root, "attn_logit_softcapping", label, &c->attention_softcap, err));
    c->attention_scale = (float)(1.0 / sqrt(scalar));
    return weir__family_has(f, FAMILY_MULTIPLIERS) ? parse_multipliers(root, label, c, err) : WEIR_OK;
}

/* An id that only a default names is none where the vocabulary is smaller (tests, cut models). */
static int32_t inside(int32_t id, int32_t rows) { return id < rows ? id : -1; }

static void default_ids(const family_row *f, weir_checkpoint *out) {
    const int32_t rows = out->decoder.n_vocab_rows;
    out->start_id = -1;
    out->bos_id = inside(f->decoder.bos, rows);
    out->pad_id = inside(f->decoder.pad, rows);
    out->eos[0] = inside(f->decoder.eos, rows);
    out->n_eos = out->eos[0] >= 0;
    out->add_bos = weir__family_has(f, FAMILY_ADDS_BOS);
}

weir_status weir__decoder_parse_ids(const json_t *root, const char *label, weir_checkpoint *out,
                                    weir_err *err) {
    if (json_object_get(root, "bos_token_id"))
        WEIR_TRY(weir__get_id(root, "bos_token_id", out, &out->bos_id, label, err));
    WEIR_TRY(weir__get_pad(root, out, label, err));
    return weir__get_eos(root, out, label, err);
}

weir_status weir__decoder_parse_stack(const family_row *f, json_t *root, const char *label,
                                      weir_checkpoint *out, weir_err *err) {
    weir_decoder_config *c = &out->decoder;
    const char *act = "";
    out->kind = f->kind;
    *c = f->decoder.config;
    weir__family_choose(f, c);
    c->qkv_bias = weir__family_has(f, FAMILY_QKV_BIAS);
    c->norm_one_plus = weir__family_has(f, FAMILY_ONE_PLUS);
    WEIR_TRY(check_fields(f, root, label, out, err));
    WEIR_TRY(parse_sizes(f, root, label, c, err));
    WEIR_TRY(weir__experts_parse(f, root, label, c, err));
    WEIR_TRY(parse_no_rope(f, root, label, c, err));
    WEIR_TRY(parse_windows(f, root, label, c, err));
    WEIR_TRY(parse_ropes(f, root, label, out, err));
    WEIR_TRY(check_aliases(root, label, c, err));
    WEIR_TRY(parse_act(f, root, label, c, &act, err));
    WEIR_TRY(parse_scales(f, root, label, c, err));
    default_ids(f, out);
    WEIR_TRY(weir__decoder_parse_ids(root, label, out, err));
    snprintf(out->family, sizeof out->family, "%s (%.20s, %s head)", f->model_type, act,
             c->tied ? "tied" : "untied");
    return WEIR_OK;
}

/* ---- the rows' parse ----------------------------------------------------------------------------------- */

weir_status weir__decoder_parse(const family_row *f, json_t *root, const char *label, weir_checkpoint *out,
                                weir_err *err) {
    WEIR_TRY(weir__check_architecture(f->architecture, root, label, err));
    return weir__decoder_parse_stack(f, root, label, out, err);
}

/* Ids outside text_config win. */
weir_status weir__gemma3_parse(const family_row *f, json_t *root, const char *label, weir_checkpoint *out,
                               weir_err *err) {
    static const char *const known[] = {"model_type",      "architectures",       "text_config",
                                        "vision_config",   "bos_token_id",        "eos_token_id",
                                        "pad_token_id",    "mm_tokens_per_image", "boi_token_index",
                                        "eoi_token_index", "image_token_index",   "initializer_range"};
    const char *key, *want = "gemma3_text", *type = want;
    json_t *value, *text = json_object_get(root, "text_config");
    json_object_foreach(root, key, value) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], key) != 0) i++;
        if (i == sizeof known / sizeof *known && key[0] != '_')
            WEIR_TRY(weir__check_field(NULL, key, value, label, out, err));
    }
    if (!json_is_object(text))
        return weir_fail(err, WEIR_EFORMAT, "%s: text_config: expected an object", weir__label(label));
    WEIR_TRY(weir__check_architecture(f->architecture, root, label, err));
    WEIR_TRY(weir__get_string(text, "model_type", &type, label, err));
    if (strcmp(type, want) != 0)
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: text_config's model_type = \"%.40s\": not supported, expected %s",
                         weir__label(label), type, want);
    WEIR_TRY(weir__decoder_parse_stack(weir__family_typed(want), text, label, out, err));
    return weir__decoder_parse_ids(root, label, out, err);
}
