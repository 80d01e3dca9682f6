/* config.json of a T5, mT5 or umT5, as transformers' T5Config reads it: same names, defaults, precedence. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/formats/config/config.h"

/* Bounds: far above any model, and low enough that rows x cols x 4 bytes stays inside int64. */
enum {
    MAX_DIM = 1 << 20,
    MAX_LAYER = 4096,
    MAX_VOCAB = 1 << 26,
    MAX_BUCKET = 1 << 16,
    MAX_DISTANCE = 1 << 24,
};

static const char *const HONOURED[] = {
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_heads",
    "num_layers",
    "num_decoder_layers",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "layer_norm_epsilon",
    "feed_forward_proj",
    "dense_act_fn",
    "is_gated_act",
    "tie_word_embeddings",
    "decoder_start_token_id",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "model_type",
    "architectures",
    "is_encoder_decoder",
    /* second names of sizes: must agree with the first */
    "hidden_size",
    "head_dim",
    "num_attention_heads",
    "num_hidden_layers",
};

static const weir_field FIELDS[] = {
    /* training */
    {"dropout_rate", WEIR_NEUTRAL_ANY},
    {"classifier_dropout", WEIR_NEUTRAL_ANY},
    {"initializer_factor", WEIR_NEUTRAL_ANY},
    {"n_positions", WEIR_NEUTRAL_ANY}, /* relative positions have no limit */
    {"output_past", WEIR_NEUTRAL_ANY},
    /* another computation unless neutral */
    {"is_decoder", WEIR_NEUTRAL_OFF},
    {"scale_decoder_outputs", WEIR_NEUTRAL_OFF},
    {"encoder_attention_type", WEIR_NEUTRAL_NULL},   /* LongT5 */
    {"num_sparse_encoder_layers", WEIR_NEUTRAL_OFF}, /* Switch Transformers */
    {"num_sparse_decoder_layers", WEIR_NEUTRAL_OFF},
    {"rope_theta", WEIR_NEUTRAL_NULL}, /* T5 has position biases */
    {"rope_scaling", WEIR_NEUTRAL_NULL},
    {NULL, WEIR_NEUTRAL_ANY},
};

static bool is_honoured(const char *key) {
    for (size_t i = 0; i < sizeof HONOURED / sizeof *HONOURED; i++)
        if (strcmp(HONOURED[i], key) == 0) return true;
    return false;
}

static weir_status check_fields(json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (key[0] == '_' || is_honoured(key)) continue;
        WEIR_TRY(weir__check_field(FIELDS, key, value, label, out, err));
    }
    return WEIR_OK;
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

static bool known_architecture(const char *s) {
    const family_row *f = weir__family_built(s);
    return (f && f->kind == WEIR_FAMILY_T5) || strcmp(s, "T5WithLMHeadModel") == 0; /* its name before 2020 */
}

static weir_status check_architectures(const json_t *v, bool typed, const char *label, bool *found,
                                       weir_err *err) {
    *found = false;
    if (!v || json_is_null(v)) return WEIR_OK;
    if (!json_is_array(v))
        return weir__fail_field(err, WEIR_EFORMAT, label, "architectures", v, "expected a list");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *s = json_string_value(json_array_get(v, i));
        if (s && known_architecture(s)) *found = true;
    }
    if (*found || json_array_size(v) == 0) return WEIR_OK;
    return weir__fail_field(
        err, WEIR_ENOTSUP, label, "architectures", json_array_get(v, 0),
        typed ? "not supported, expected T5ForConditionalGeneration, or that of an MT5 or UMT5"
              : "not supported without a model_type, expected T5ForConditionalGeneration, or that of an MT5 "
                "or UMT5");
}

/* A file without a model_type is a T5 if its architectures say so. */
static weir_status check_family(const json_t *root, const char *label, weir_err *err) {
    bool named = false, encdec = true;
    const bool typed = weir__is_set(root, "model_type");
    WEIR_TRY(check_architectures(json_object_get(root, "architectures"), typed, label, &named, err));
    if (!typed && !named)
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: neither model_type nor architectures says what model this is",
                         weir__label(label));
    WEIR_TRY(weir__get_bool(root, "is_encoder_decoder", &encdec, label, err));
    if (encdec) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP, "%s: is_encoder_decoder = false: not supported", weir__label(label));
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* transformers lets the second name of a size win in silence; two that disagree are a mistake. */
static weir_status check_alias(const json_t *root, const char *alias, const char *name, int32_t value,
                               const char *label, weir_err *err) {
    int32_t other = value;
    WEIR_TRY(weir__get_int(root, alias, 1, MAX_VOCAB, &other, label, err));
    if (other != value)
        return weir_fail(err, WEIR_EFORMAT, "%s: %s = %d contradicts %s = %d", weir__label(label), alias,
                         other, name, value);
    return WEIR_OK;
}

static weir_status parse_sizes(const json_t *root, const char *label, weir_t5_config *c, weir_err *err) {
    WEIR_TRY(weir__get_int(root, "vocab_size", 1, MAX_VOCAB, &c->n_vocab_rows, label, err));
    WEIR_TRY(weir__get_int(root, "d_model", 1, MAX_DIM, &c->dim, label, err));
    WEIR_TRY(weir__get_int(root, "d_kv", 1, MAX_DIM, &c->head_dim, label, err));
    WEIR_TRY(weir__get_int(root, "d_ff", 1, MAX_DIM, &c->ff_dim, label, err));
    WEIR_TRY(weir__get_int(root, "num_heads", 1, MAX_DIM, &c->n_head, label, err));
    if ((int64_t)c->n_head * c->head_dim > MAX_DIM)
        return weir_fail(err, WEIR_EFORMAT, "%s: num_heads x d_kv = %lld, expected at most %d",
                         weir__label(label), (long long)c->n_head * c->head_dim, MAX_DIM);
    WEIR_TRY(weir__get_int(root, "num_layers", 1, MAX_LAYER, &c->n_enc_layer, label, err));
    c->n_dec_layer = c->n_enc_layer;
    if (!json_is_null(json_object_get(root, "num_decoder_layers")))
        WEIR_TRY(weir__get_int(root, "num_decoder_layers", 1, MAX_LAYER, &c->n_dec_layer, label, err));
    WEIR_TRY(check_alias(root, "hidden_size", "d_model", c->dim, label, err));
    WEIR_TRY(check_alias(root, "head_dim", "d_kv", c->head_dim, label, err));
    WEIR_TRY(check_alias(root, "num_attention_heads", "num_heads", c->n_head, label, err));
    return check_alias(root, "num_hidden_layers", "num_layers", c->n_enc_layer, label, err);
}

/* The encoder halves the buckets for the two directions and each half again for exact and logarithmic
 * distances, so that fewer than 4, or a distance inside the exact part, divides by zero. */
static weir_status parse_positions(const json_t *root, const char *label, weir_t5_config *c, weir_err *err) {
    WEIR_TRY(weir__get_int(root, "relative_attention_num_buckets", 4, MAX_BUCKET, &c->n_bucket, label, err));
    WEIR_TRY(weir__get_int(root, "relative_attention_max_distance", 1, MAX_DISTANCE, &c->max_distance, label,
                           err));
    if (c->max_distance <= c->n_bucket / 2)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: relative_attention_max_distance = %d, expected more than half of "
                         "relative_attention_num_buckets = %d",
                         weir__label(label), c->max_distance, c->n_bucket);
    return WEIR_OK;
}

static weir_status parse_eps(const json_t *root, const char *label, weir_t5_config *c, weir_err *err) {
    const json_t *v = json_object_get(root, "layer_norm_epsilon");
    if (!v) return WEIR_OK;
    double eps = json_number_value(v);
    if (!json_is_number(v) || !(eps >= 1e-30 && eps <= 1.0))
        return weir__fail_field(err, WEIR_EFORMAT, label, "layer_norm_epsilon", v,
                                "expected a number in (0, 1]");
    c->eps = (float)eps;
    return WEIR_OK;
}

/* ---- activation ---------------------------------------------------------------------------------------- */

/* feed_forward_proj is "ACT" or "gated-ACT", and "gated-gelu" means gelu_new for old files' sake.
 * dense_act_fn and is_gated_act are derived from it when a config is written, but those in a file win:
 * transformers sets them last. */
static weir_status parse_feed_forward(const json_t *root, const char *label, weir_checkpoint *out,
                                      const char **act_name, weir_err *err) {
    const char *proj = out->t5.gated ? "gated-gelu" : "relu";
    WEIR_TRY(weir__get_string(root, "feed_forward_proj", &proj, label, err));
    bool gated = strncmp(proj, "gated-", 6) == 0;
    const char *act = gated ? proj + 6 : proj;
    if (strchr(act, '-'))
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: feed_forward_proj = \"%.40s\": expected \"ACT\" or \"gated-ACT\"",
                         weir__label(label), proj);
    if (strcmp(proj, "gated-gelu") == 0) act = "gelu_new";
    WEIR_TRY(weir__get_string(root, "dense_act_fn", &act, label, err));
    WEIR_TRY(weir__get_bool(root, "is_gated_act", &gated, label, err));
    if (!weir__parse_act(act, &out->t5.act))
        return weir_fail(err, WEIR_ENOTSUP, "%s: activation \"%.40s\" is not supported", weir__label(label),
                         act);
    out->t5.gated = gated;
    *act_name = act;
    return WEIR_OK;
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

/* Without decoder_start_token_id transformers starts with bos_token_id; T5 has none, and its own shift uses
 * padding. */
static weir_status parse_ids(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    const int32_t rows = out->t5.n_vocab_rows;
    int32_t bos = -1;
    out->pad_id = 0;
    out->eos[0] = 1;
    out->n_eos = 1;
    out->start_id = -1;
    WEIR_TRY(weir__get_pad(root, out, label, err));
    WEIR_TRY(weir__get_id(root, "bos_token_id", out, &bos, label, err));
    WEIR_TRY(weir__get_eos(root, out, label, err));
    WEIR_TRY(weir__get_id(root, "decoder_start_token_id", out, &out->start_id, label, err));
    if (out->start_id < 0) out->start_id = bos >= 0 ? bos : out->pad_id;
    if (out->start_id < 0)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: none of decoder_start_token_id, bos_token_id, pad_token_id is set",
                         weir__label(label));
    if (out->n_eos == 1 && out->eos[0] >= rows)
        return weir_fail(err, WEIR_EFORMAT, "%s: eos_token_id = %d, outside the vocabulary of %d",
                         weir__label(label), out->eos[0], rows);
    return WEIR_OK;
}

weir_status weir__t5_parse(const family_row *f, json_t *root, const char *label, weir_checkpoint *out,
                           weir_err *err) {
    const char *act = "";
    out->kind = WEIR_FAMILY_T5;
    WEIR_TRY(check_family(root, label, err));
    WEIR_TRY(check_fields(root, label, out, err));
    out->t5 = f->t5;
    WEIR_TRY(parse_sizes(root, label, &out->t5, err));
    WEIR_TRY(parse_positions(root, label, &out->t5, err));
    WEIR_TRY(parse_eps(root, label, &out->t5, err));
    WEIR_TRY(parse_feed_forward(root, label, out, &act, err));
    WEIR_TRY(weir__get_bool(root, "tie_word_embeddings", &out->t5.tied, label, err));
    WEIR_TRY(parse_ids(root, label, out, err));
    snprintf(out->family, sizeof out->family, "%s (%s%.20s, %s head)", f->model_type,
             out->t5.gated ? "gated " : "", act, out->t5.tied ? "tied" : "untied");
    return WEIR_OK;
}
