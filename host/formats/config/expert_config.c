/* Mixtures of experts in config.json: Mixtral's fields, those of Qwen2-MoE and Qwen3-MoE, and gpt-oss's. */
#include "host/formats/config/config.h"

/* Far above any model. */
enum { MAX_FF = 1 << 20 };

/* num_experts_per_tok of the field that says how many there are. */
static weir_status parse_counts(const json_t *root, const char *of_all, const char *label,
                                weir_expert_config *e, weir_err *err) {
    WEIR_TRY(weir__get_int(root, of_all, 1, WEIR_EXPERTS, &e->n, label, err));
    const int32_t most = e->n < WEIR_EXPERTS_USED ? e->n : WEIR_EXPERTS_USED;
    WEIR_TRY(weir__get_int(root, "num_experts_per_tok", 1, most, &e->n_used, label, err));
    if (e->n_used <= most) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "%s: %s = %d, expected at least the %d of num_experts_per_tok",
                     weir__label(label), of_all, e->n, e->n_used);
}

/* The last of every decoder_sparse_step layers has experts, unless mlp_only_layers has its number. */
static weir_status parse_layers(const json_t *root, const char *label, weir_decoder_config *c,
                                weir_err *err) {
    int32_t step = 1;
    WEIR_TRY(weir__get_int(root, "decoder_sparse_step", 1, INT32_MAX, &step, label, err));
    for (int32_t i = 0; i < c->n_layer; i++) c->dense[i] = (i + 1) % step != 0;
    if (!weir__is_set(root, "mlp_only_layers")) return WEIR_OK;
    const json_t *list = json_object_get(root, "mlp_only_layers");
    if (!json_is_array(list))
        return weir__fail_field(err, WEIR_EFORMAT, label, "mlp_only_layers", list, "expected a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v))
            return weir__fail_field(err, WEIR_EFORMAT, label, "mlp_only_layers", v,
                                    "expected numbers of layers");
        const json_int_t layer = json_integer_value(v);
        if (layer >= 0 && layer < c->n_layer) c->dense[layer] = true; /* transformers looks no number up */
    }
    return WEIR_OK;
}

/* gpt-oss: what the clamped unit is clamped to, and what must be as the family has it. */
static weir_status parse_unit(const json_t *root, const char *label, weir_expert_config *e, weir_err *err) {
    int32_t again = e->n_used;
    double limit = (double)e->limit;
    bool bias = true;
    WEIR_TRY(weir__get_int(root, "experts_per_token", 1, INT32_MAX, &again, label, err));
    WEIR_TRY(weir__get_real(root, "swiglu_limit", 1e-3, 1e9, &limit, label, err));
    WEIR_TRY(weir__get_bool(root, "attention_bias", &bias, label, err));
    e->limit = (float)limit;
    if (!bias)
        return weir__fail_neutral("attention_bias", json_object_get(root, "attention_bias"), label, err);
    if (again == e->n_used) return WEIR_OK;
    return weir__fail_field(err, WEIR_ENOTSUP, label, "experts_per_token",
                            json_object_get(root, "experts_per_token"), "contradicts num_experts_per_tok");
}

weir_status weir__experts_parse(const family_row *f, const json_t *root, const char *label,
                                weir_decoder_config *c, weir_err *err) {
    weir_expert_config *e = &c->experts;
    if (weir__family_has(f, FAMILY_LOCAL_EXPERTS)) {
        e->ff_dim = c->ff_dim;
        WEIR_TRY(parse_counts(root, "num_local_experts", label, e, err));
        return weir__family_has(f, FAMILY_SINKS) ? parse_unit(root, label, e, err) : WEIR_OK;
    }
    if (!weir__family_has(f, FAMILY_EXPERTS)) return WEIR_OK;
    WEIR_TRY(parse_counts(root, "num_experts", label, e, err));
    WEIR_TRY(weir__get_int(root, "moe_intermediate_size", 1, MAX_FF, &e->ff_dim, label, err));
    WEIR_TRY(weir__get_bool(root, "norm_topk_prob", &e->normed, label, err));
    if (weir__family_has(f, FAMILY_SHARED_EXPERT)) {
        WEIR_TRY(
            weir__get_int(root, "shared_expert_intermediate_size", 1, MAX_FF, &e->shared_ff, label, err));
        WEIR_TRY(weir__get_bool(root, "qkv_bias", &c->qkv_bias, label, err));
    }
    return parse_layers(root, label, c, err);
}
