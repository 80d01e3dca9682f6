#include "host/formats/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_off(const json_t *v) {
    return json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0.0) ||
           (json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

static bool is_neutral(weir_neutral kind, const json_t *v) {
    if (kind == WEIR_NEUTRAL_ANY || json_is_null(v)) return true;
    switch (kind) {
    case WEIR_NEUTRAL_OFF:
    case WEIR_NEUTRAL_NOTED: return is_off(v);
    case WEIR_NEUTRAL_TRUE: return json_is_true(v);
    case WEIR_NEUTRAL_ONE: return json_is_number(v) && json_number_value(v) == 1.0;
    default: return false;
    }
}

static const weir_field *find_field(const weir_field *table, const char *key) {
    for (; table && table->name; table++)
        if (strcmp(table->name, key) == 0) return table;
    return NULL;
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
    {"decoder_start_token_id", WEIR_NEUTRAL_ANY}, /* of encoder-decoders, which honour it */
    {"gradient_checkpointing", WEIR_NEUTRAL_ANY},
    {"use_return_dict", WEIR_NEUTRAL_ANY},
    {"keys_to_ignore_at_inference", WEIR_NEUTRAL_ANY},
    {"loss_type", WEIR_NEUTRAL_ANY},
    {"return_dict", WEIR_NEUTRAL_ANY},
    {"chunk_size_feed_forward", WEIR_NEUTRAL_ANY},
    {"attn_implementation", WEIR_NEUTRAL_ANY},
    /* another computation unless neutral */
    {"add_cross_attention", WEIR_NEUTRAL_OFF},
    {"tie_encoder_decoder", WEIR_NEUTRAL_OFF},
    {"cross_attention_hidden_size", WEIR_NEUTRAL_NULL},
    {"pruned_heads", WEIR_NEUTRAL_OFF},
    /* names custom code; transformers ignores it if it knows the model_type */
    {"auto_map", WEIR_NEUTRAL_NOTED},
    {NULL, WEIR_NEUTRAL_ANY},
};

/* ---- unknown fields ---------------------------------------------------------------------------------- */

/* As many whole characters of a name from a file as fit in a line. */
static int shown(const char *name) {
    enum { MOST = 60 };
    size_t n = strnlen(name, MOST + 1);
    if (n <= MOST) return (int)n;
    n = MOST;
    while (n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80) n--;
    return (int)n;
}

/* "config.json: a, b; generation_config.json: c": a place only where it differs from the one before. */
static void add_note(weir_checkpoint *out, const char *place, const char *name) {
    const size_t used = strlen(out->ignored), left = sizeof out->ignored - used;
    const bool same = strcmp(out->ignored_place, place) == 0;
    const size_t need = strlen(place) + (size_t)shown(name) + sizeof "; : " + sizeof " and 2147483647 more";
    if (out->n_ignored_more > 0 || need > left) {
        out->n_ignored_more++;
        return;
    }
    if (same)
        snprintf(out->ignored + used, left, ", %.*s", shown(name), name);
    else
        snprintf(out->ignored + used, left, "%s%s: %.*s", used > 0 ? "; " : "", place, shown(name), name);
    snprintf(out->ignored_place, sizeof out->ignored_place, "%s", place);
}

weir_status weir__note_field(const char *key, const json_t *value, const char *label, weir_checkpoint *out,
                             weir_err *err) {
    if (out->strict)
        return weir__fail_field(err, WEIR_ENOTSUP, label, key, value,
                                "unknown field, it may change the result");
    const char *base = strrchr(label, '/');
    char place[sizeof out->ignored_place];
    snprintf(place, sizeof place, "%s", base ? base + 1 : label);
    add_note(out, place, key);
    return WEIR_OK;
}

weir_status weir__note_tensor(const char *name, weir_checkpoint *out, weir_err *err) {
    if (out->strict)
        return weir_fail(err, WEIR_ENOTSUP, "%s: tensor %.100s: the model has none of that name",
                         weir__label(out->dir), name);
    add_note(out, "tensors", name);
    return WEIR_OK;
}

/* The method, and the bits where the object says them: bitsandbytes has a flag for each width. */
static weir_status fail_quantised(const char *key, const json_t *value, const char *label, weir_err *err) {
    const char *method = json_string_value(json_object_get(value, "quant_method"));
    const json_t *bits = json_object_get(value, "bits");
    char width[32] = "";
    if (json_is_integer(bits))
        snprintf(width, sizeof width, ", %lld bits", (long long)json_integer_value(bits));
    else if (json_is_true(json_object_get(value, "load_in_4bit")))
        snprintf(width, sizeof width, ", 4 bits");
    else if (json_is_true(json_object_get(value, "load_in_8bit")))
        snprintf(width, sizeof width, ", 8 bits");
    if (!method) method = json_object_get(value, "group_size") ? "MLX" : "an unnamed method";
    return weir_fail(err, WEIR_ENOTSUP,
                     "%s: %.40s: weights quantised by %.40s%s are not supported, expected F32, F16, "
                     "BF16, 8-bit floats, GPTQ or AWQ (or GGUF)",
                     weir__label(label), key, method, width);
}

static bool is_quantisation(const char *key) {
    static const char *const keys[] = {"quantization_config", "quantization", "quant_config",
                                       "quantize_config", "compression_config"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

weir_status weir__fail_neutral(const char *key, const json_t *value, const char *label, weir_err *err) {
    return weir__fail_field(err, WEIR_ENOTSUP, label, key, value, "not supported, it changes the result");
}

/* What the tables say about a key; false: unknown. */
static bool look_up(const weir_field *first, const char *key, weir_neutral *out) {
    const weir_field *const tables[] = {first, weir__common_fields, weir__generation_fields};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const weir_field *f = find_field(tables[i], key);
        if (!f) continue;
        *out = f->neutral;
        return true;
    }
    return weir__variant_field(key, out);
}

weir_status weir__check_field(const weir_field *first, const char *key, const json_t *value,
                              const char *label, weir_checkpoint *out, weir_err *err) {
    weir_neutral kind = WEIR_NEUTRAL_NOTED;
    if (is_quantisation(key)) {
        if (weir__is_int4_config(key, value)) return weir__int4_config(value, label, out, err);
        if (json_is_null(value) || weir__is_f8_config(key, value))
            return weir__f8_config(value, label, out, err);
        return fail_quantised(key, value, label, err);
    }
    const bool known = look_up(first, key, &kind);
    if (known && is_neutral(kind, value)) return WEIR_OK;
    return known && kind != WEIR_NEUTRAL_NOTED ? weir__fail_neutral(key, value, label, err)
                                               : weir__note_field(key, value, label, out, err);
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

weir_status weir__get_real(const json_t *o, const char *key, double lo, double hi, double *out,
                           const char *label, weir_err *err) {
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
        {"gelu_fast", WEIR_ACT_GELU_TANH}, /* the same formula, factored differently */
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

/* Decoders of 2023 say -1 for none. */
static bool is_none(const json_t *v, weir_family_kind kind) {
    return json_is_null(v) ||
           (kind == WEIR_FAMILY_DECODER && json_is_integer(v) && json_integer_value(v) == -1);
}

weir_status weir__get_id(const json_t *o, const char *key, const weir_checkpoint *ck, int32_t *out,
                         const char *label, weir_err *err) {
    if (!is_none(json_object_get(o, key), ck->kind))
        return weir__get_int(o, key, 0, weir__checkpoint_rows(ck) - 1, out, label, err);
    *out = -1;
    return WEIR_OK;
}

weir_status weir__get_pad(const json_t *o, weir_checkpoint *ck, const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, "pad_token_id");
    if (!v) return WEIR_OK;
    if (ck->kind == WEIR_FAMILY_T5) return weir__get_id(o, "pad_token_id", ck, &ck->pad_id, label, err);
    const bool inside =
        json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < weir__checkpoint_rows(ck);
    ck->pad_id = inside ? (int32_t)json_integer_value(v) : -1;
    return WEIR_OK;
}

weir_status weir__get_eos(const json_t *o, weir_checkpoint *out, const char *label, weir_err *err) {
    const json_t *v = json_object_get(o, "eos_token_id");
    enum { CAP = sizeof out->eos / sizeof *out->eos };
    if (!json_is_array(v)) {
        if (!v) return WEIR_OK;
        int32_t id = -1;
        WEIR_TRY(weir__get_id(o, "eos_token_id", out, &id, label, err));
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
            json_integer_value(id) >= weir__checkpoint_rows(out))
            return weir__fail_field(err, WEIR_EFORMAT, label, "eos_token_id", id,
                                    "expected ids inside the vocabulary");
        out->eos[i] = (int32_t)json_integer_value(id);
    }
    out->n_eos = (int32_t)n;
    return WEIR_OK;
}

/* ---- config.json --------------------------------------------------------------------------------------- */

/* Names what the file says it is, and the field at fault. */
static weir_status refuse_type(const json_t *root, const char *type, family_filter filter, const char *label,
                               weir_err *err) {
    const char *built = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    char list[160], what[96] = "";
    if (built) snprintf(what, sizeof what, "architectures = \"%.60s\", ", built);
    return weir_fail(err, WEIR_ENOTSUP, "%s: %smodel_type = \"%.40s\": not supported, expected %s",
                     weir__label(label), what, type, weir__family_list(filter, list));
}

static weir_status parse_root(json_t *root, family_filter filter, const char *label, weir_checkpoint *out,
                              weir_err *err) {
    const char *type = NULL;
    WEIR_TRY(weir__get_string(root, "model_type", &type, label, err));
    const family_row *f = weir__family_typed(type ? type : "t5");
    if (!f || (filter == FAMILY_T5 && f->kind != WEIR_FAMILY_T5))
        return refuse_type(root, type, filter, label, err);
    if (f->refused)
        return weir_fail(err, WEIR_ENOTSUP, "%s: model_type = \"%s\": not supported: %s", weir__label(label),
                         f->model_type, f->refused);
    return f->parse(f, root, label, out, err);
}

static weir_status parse_text(const char *json, size_t bytes, family_filter filter, const char *label,
                              weir_checkpoint *out, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    weir_checkpoint c = *out;
    const weir_status s = parse_root(root, filter, label, &c, err);
    json_decref(root);
    if (s == WEIR_OK) *out = c;
    return s;
}

weir_status weir__config_parse(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                               weir_err *err) {
    return parse_text(json, bytes, FAMILY_ANY, label, out, err);
}

weir_status weir__t5_config_parse(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                  weir_err *err) {
    return parse_text(json, bytes, FAMILY_T5, label, out, err);
}
