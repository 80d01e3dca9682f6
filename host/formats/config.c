#include "host/formats/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_neutral(weir_neutral kind, const json_t *v) {
    if (kind == WEIR_NEUTRAL_ANY || json_is_null(v)) return true;
    switch (kind) {
    case WEIR_NEUTRAL_EMPTY:
        return (json_is_array(v) && json_array_size(v) == 0) ||
               (json_is_object(v) && json_object_size(v) == 0) ||
               (json_is_string(v) && json_string_length(v) == 0);
    case WEIR_NEUTRAL_FALSE: return json_is_false(v);
    case WEIR_NEUTRAL_ZERO: return json_is_number(v) && json_number_value(v) == 0.0;
    case WEIR_NEUTRAL_ONE: return json_is_number(v) && json_number_value(v) == 1.0;
    default: return false;
    }
}

bool weir__field_check(const weir_field *table, const char *key, const json_t *value, bool *ok) {
    for (; table->name; table++) {
        if (strcmp(table->name, key) == 0) {
            *ok = is_neutral(table->neutral, value);
            return true;
        }
    }
    return false;
}

const weir_field weir__common_fields[] = {
    {"torch_dtype", WEIR_NEUTRAL_ANY}, /* the file's own dtype counts */
    {"dtype", WEIR_NEUTRAL_ANY},
    {"use_bfloat16", WEIR_NEUTRAL_ANY},
    {"tf_legacy_loss", WEIR_NEUTRAL_ANY},
    {"torchscript", WEIR_NEUTRAL_ANY},
    {"name_or_path", WEIR_NEUTRAL_ANY},
    {"tokenizer_class", WEIR_NEUTRAL_ANY},
    {"task_specific_params", WEIR_NEUTRAL_ANY}, /* applied by pipelines only, when asked to */
    {"prefix", WEIR_NEUTRAL_ANY},               /* likewise */
    {"finetuning_task", WEIR_NEUTRAL_ANY},
    {"problem_type", WEIR_NEUTRAL_ANY},
    {"id2label", WEIR_NEUTRAL_ANY},
    {"label2id", WEIR_NEUTRAL_ANY},
    {"num_labels", WEIR_NEUTRAL_ANY},
    {"sep_token_id", WEIR_NEUTRAL_ANY},
    {"return_dict", WEIR_NEUTRAL_ANY},
    {"chunk_size_feed_forward", WEIR_NEUTRAL_ANY},
    {"attn_implementation", WEIR_NEUTRAL_ANY},
    /* another computation unless neutral */
    {"add_cross_attention", WEIR_NEUTRAL_FALSE},
    {"tie_encoder_decoder", WEIR_NEUTRAL_FALSE},
    {"cross_attention_hidden_size", WEIR_NEUTRAL_NULL},
    {"pruned_heads", WEIR_NEUTRAL_EMPTY},
    {"quantization_config", WEIR_NEUTRAL_NULL},
    {"auto_map", WEIR_NEUTRAL_EMPTY}, /* the checkpoint brings its own code */
    {NULL, WEIR_NEUTRAL_ANY},
};

weir_status weir__fail_neutral(const char *key, const json_t *value, const char *label, weir_err *err) {
    return weir__fail_field(err, WEIR_ENOTSUP, label, key, value, "not supported, it changes the result");
}

weir_status weir__check_common(const char *key, const json_t *value, const char *label, weir_err *err) {
    bool ok;
    if (!weir__field_check(weir__common_fields, key, value, &ok) &&
        !weir__field_check(weir__generation_fields, key, value, &ok))
        return weir__fail_field(err, WEIR_ENOTSUP, label, key, value, "unknown field, it may change the result");
    return ok ? WEIR_OK : weir__fail_neutral(key, value, label, err);
}

weir_status weir__fail_field(weir_err *err, weir_status s, const char *label, const char *key,
                             const json_t *value, const char *why) {
    /* Only scalars are printed: a list may hold megabytes. */
    char text[48];
    if (json_is_string(value))
        snprintf(text, sizeof text, "\"%.40s\"", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, sizeof text, "%g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(text, sizeof text, "%s", json_is_true(value) ? "true" : "false");
    else if (json_is_array(value))
        snprintf(text, sizeof text, "[…]");
    else
        snprintf(text, sizeof text, "%s", json_is_object(value) ? "{…}" : "null");
    return weir_fail(err, s, "%s: %.60s = %s: %s", weir__label(label), key, text, why);
}

bool weir__is_set(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

weir_status weir__get_int(const json_t *o, const char *key, int64_t lo, int64_t hi, int32_t *out,
                          const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, key);
    if (!v) return WEIR_OK;
    if (!json_is_integer(v)) return weir__fail_field(err, WEIR_EFORMAT, label, key, v, "expected an integer");
    if (json_integer_value(v) < lo || json_integer_value(v) > hi) {
        char why[80];
        snprintf(why, sizeof why, "expected %lld to %lld", (long long)lo, (long long)hi);
        return weir__fail_field(err, WEIR_EFORMAT, label, key, v, why);
    }
    *out = (int32_t)json_integer_value(v);
    return WEIR_OK;
}

weir_status weir__get_bool(const json_t *o, const char *key, bool *out, const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, key);
    if (!v) return WEIR_OK;
    if (!json_is_boolean(v))
        return weir__fail_field(err, WEIR_EFORMAT, label, key, v, "expected true or false");
    *out = json_is_true(v);
    return WEIR_OK;
}

weir_status weir__get_real(const json_t *o, const char *key, double lo, double hi, double *out, const char *label,
                           weir_err *err) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return WEIR_OK;
    if (!json_is_number(v)) return weir__fail_field(err, WEIR_EFORMAT, label, key, v, "expected a number");
    const double x = json_number_value(v);
    if (!(x >= lo && x <= hi)) {
        char why[80];
        snprintf(why, sizeof why, "expected %g to %g", lo, hi);
        return weir__fail_field(err, WEIR_EFORMAT, label, key, v, why);
    }
    *out = x;
    return WEIR_OK;
}

weir_status weir__get_string(const json_t *o, const char *key, const char **out, const char *label,
                             weir_err *err) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return WEIR_OK;
    if (!json_is_string(v)) return weir__fail_field(err, WEIR_EFORMAT, label, key, v, "expected a string");
    *out = json_string_value(v);
    return WEIR_OK;
}

bool weir__parse_act(const char *name, weir_act *out) {
    static const struct {
        const char *name;
        weir_act act;
    } acts[] = {
        {"relu", WEIR_ACT_RELU},
        {"gelu", WEIR_ACT_GELU_ERF},
        {"gelu_python", WEIR_ACT_GELU_ERF},
        {"gelu_new", WEIR_ACT_GELU_TANH},
        {"gelu_fast", WEIR_ACT_GELU_TANH}, /* the same formula, factored otherwise */
        {"gelu_pytorch_tanh", WEIR_ACT_GELU_TANH},
        {"silu", WEIR_ACT_SILU},
        {"swish", WEIR_ACT_SILU},
    };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (strcmp(acts[i].name, name) == 0) {
            *out = acts[i].act;
            return true;
        }
    }
    return false;
}

weir_status weir__get_id(const json_t *o, const char *key, int32_t n_vocab, int32_t *out, const char *label,
                         weir_err *err) {
    if (json_is_null(json_object_get(o, key))) {
        *out = -1;
        return WEIR_OK;
    }
    return weir__get_int(o, key, 0, n_vocab - 1, out, label, err);
}

weir_status weir__get_eos(const json_t *o, weir_checkpoint *out, const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, "eos_token_id");
    enum { CAP = sizeof out->eos / sizeof *out->eos };
    if (!json_is_array(v)) {
        int32_t id = -2; /* neither an id nor null */
        WEIR_TRY(weir__get_id(o, "eos_token_id", weir_checkpoint_rows(out), &id, label, err));
        if (id == -2) return WEIR_OK;
        out->n_eos = id >= 0;
        out->eos[0] = id;
        return WEIR_OK;
    }
    size_t n = json_array_size(v);
    if (n > CAP)
        return weir__fail_field(err, WEIR_ENOTSUP, label, "eos_token_id", v, "expected at most 8 ids");
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= weir_checkpoint_rows(out))
            return weir__fail_field(err, WEIR_EFORMAT, label, "eos_token_id", id,
                                    "expected ids inside the vocabulary");
        out->eos[i] = (int32_t)json_integer_value(id);
    }
    out->n_eos = (int32_t)n;
    return WEIR_OK;
}
