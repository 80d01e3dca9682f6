/* config.json of a T5Gemma, as transformers 4.57's T5GemmaConfig reads it: two stacks, each in an object of
 * its own with the fields of a decoder, and what both share. */
#include <stdio.h>
#include <string.h>

#include "host/formats/config/config.h"

enum { MAX_VOCAB = 1 << 26 };

/* Outside the stacks. Other keys are judged as everywhere. */
static weir_status check_fields(json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    static const weir_field own[] = {{"model_type", WEIR_NEUTRAL_ANY},
                                     {"architectures", WEIR_NEUTRAL_ANY},
                                     {"encoder", WEIR_NEUTRAL_ANY},
                                     {"decoder", WEIR_NEUTRAL_ANY},
                                     {"vocab_size", WEIR_NEUTRAL_ANY},
                                     {"tie_word_embeddings", WEIR_NEUTRAL_ANY},
                                     {"bos_token_id", WEIR_NEUTRAL_ANY},
                                     {"eos_token_id", WEIR_NEUTRAL_ANY},
                                     {"pad_token_id", WEIR_NEUTRAL_ANY},
                                     {"is_encoder_decoder", WEIR_NEUTRAL_TRUE},
                                     /* training */
                                     {"dropout_rate", WEIR_NEUTRAL_ANY},
                                     {"classifier_dropout_rate", WEIR_NEUTRAL_ANY},
                                     {"attention_dropout", WEIR_NEUTRAL_ANY},
                                     {"initializer_range", WEIR_NEUTRAL_ANY},
                                     {NULL, WEIR_NEUTRAL_ANY}};
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (key[0] == '_' || weir__is_wish(out->kind, key)) continue;
        WEIR_TRY(weir__check_field(own, key, value, label, out, err));
    }
    return WEIR_OK;
}

/* One stack into out->decoder, with the label "FILE: encoder". The vocabulary is that outside the stacks:
 * transformers puts it in both, whatever they say. */
static weir_status parse_stack(const family_row *f, const json_t *root, const char *name, int32_t rows,
                               const char *label, weir_checkpoint *out, weir_err *err) {
    static const char want[] = "t5_gemma_module";
    family_row of_rows = *f;
    char own[256];
    const char *type = want;
    int32_t stated = rows;
    json_t *stack = json_object_get(root, name);
    snprintf(own, sizeof own, "%s: %s", weir__label(label), name);
    if (!json_is_object(stack))
        return weir_fail(err, WEIR_EFORMAT, "%s: %s: expected an object", weir__label(label), name);
    WEIR_TRY(weir__get_string(stack, "model_type", &type, own, err));
    if (strcmp(type, want) != 0)
        return weir_fail(err, WEIR_ENOTSUP, "%s: model_type = \"%.40s\": not supported, expected %s", own,
                         type, want);
    WEIR_TRY(weir__get_int(stack, "vocab_size", 1, MAX_VOCAB, &stated, own, err));
    if (stated != rows)
        return weir_fail(err, WEIR_ENOTSUP, "%s: vocab_size = %d contradicts %d outside", own, stated, rows);
    of_rows.decoder.config.n_vocab_rows = rows;
    return weir__decoder_parse_stack(&of_rows, stack, own, out, err);
}

/* What cross attention reads is the encoder's width. */
static weir_status check_cross(const json_t *root, const char *label, const weir_checkpoint *out,
                               weir_err *err) {
    const json_t *stack = json_object_get(root, "decoder");
    int32_t width = out->encoder.dim;
    if (!weir__is_set(stack, "cross_attention_hidden_size")) return WEIR_OK;
    WEIR_TRY(weir__get_int(stack, "cross_attention_hidden_size", 1, INT32_MAX, &width, label, err));
    if (width == out->encoder.dim) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT,
                     "%s: decoder: cross_attention_hidden_size = %d contradicts the encoder's hidden_size = "
                     "%d",
                     weir__label(label), width, out->encoder.dim);
}

/* The decoder starts with decoder_start_token_id, else with bos_token_id. */
static weir_status parse_ids(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err) {
    WEIR_TRY(weir__decoder_parse_ids(root, label, out, err));
    WEIR_TRY(weir__get_id(root, "decoder_start_token_id", out, &out->start_id, label, err));
    if (out->start_id < 0) out->start_id = out->bos_id;
    if (out->start_id >= 0) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "%s: neither decoder_start_token_id nor bos_token_id is set",
                     weir__label(label));
}

weir_status weir__t5gemma_parse(const family_row *f, json_t *root, const char *label, weir_checkpoint *out,
                                weir_err *err) {
    int32_t rows = f->decoder.config.n_vocab_rows;
    const char *act = f->decoder.act;
    bool tied = true;
    out->kind = f->kind;
    WEIR_TRY(weir__check_architecture(f->architecture, root, label, err));
    WEIR_TRY(check_fields(root, label, out, err));
    WEIR_TRY(weir__get_int(root, "vocab_size", 1, MAX_VOCAB, &rows, label, err));
    WEIR_TRY(weir__get_bool(root, "tie_word_embeddings", &tied, label, err));
    WEIR_TRY(parse_stack(f, root, "encoder", rows, label, out, err));
    out->encoder = out->decoder;
    WEIR_TRY(parse_stack(f, root, "decoder", rows, label, out, err));
    WEIR_TRY(check_cross(root, label, out, err));
    if (!tied && out->decoder.tied) /* which it is unless it says otherwise */
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: tie_word_embeddings = false contradicts the decoder's: transformers would tie "
                         "the head to the encoder's embedding",
                         weir__label(label));
    out->decoder.tied = tied;
    WEIR_TRY(parse_ids(root, label, out, err));
    WEIR_TRY(weir__get_string(json_object_get(root, "decoder"), "hidden_activation", &act, label, err));
    snprintf(out->family, sizeof out->family, "%s (%.20s, %s head)", f->model_type, act,
             tied ? "tied" : "untied");
    return WEIR_OK;
}
