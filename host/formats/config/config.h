#ifndef WEIR_HOST_FORMATS_CONFIG_CONFIG_H
#define WEIR_HOST_FORMATS_CONFIG_CONFIG_H

#include "host/formats/facts.h"
#include "host/formats/families.h"
#include "host/formats/json/json_file.h"

/* ---- the files, in the order in which they are read --------------------------------------------------- */

/* config.json of any family; out->kind says which. ENOTSUP for another model_type. */
weir_status weir__config_parse(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                               weir_err *err);
/* The same of a T5 alone. */
weir_status weir__t5_config_parse(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                  weir_err *err);

/* generation_config.json (after it: its ids win) and tokenizer_config.json. label names them in messages. */
weir_status weir__generation_config_parse(const char *json, size_t bytes, const char *label,
                                          weir_checkpoint *out, weir_err *err);
weir_status weir__tokenizer_config_parse(const char *json, size_t bytes, const char *label,
                                         weir_checkpoint *out, weir_err *err);
/* special_tokens_map.json, after it. */
weir_status weir__special_tokens_parse(const char *json, size_t bytes, const char *label,
                                       weir_checkpoint *out, weir_err *err);
/* tokenizer.json, after these, where asks_post_processor is set: add_bos is whether a TemplateProcessing
 * begins a single text with bos_id. */
weir_status weir__post_processor_parse(const char *json, size_t bytes, const char *label,
                                       weir_checkpoint *out, weir_err *err);

/* ---- what their readers share ------------------------------------------------------------------------- */

/* Internal to host/formats. A key is honoured, or known not to change the result, or known to change it. The
 * last kind is refused unless its value is neutral. An unknown key is noted, and refused if out->strict. */

/* What a value must be for a key to change nothing. null always is. */
typedef enum weir_neutral {
    WEIR_NEUTRAL_ANY,  /* any value: the key never changes what we compute */
    WEIR_NEUTRAL_NULL, /* only absent or null */
    WEIR_NEUTRAL_OFF,  /* false, 0, an empty list, object or string */
    WEIR_NEUTRAL_TRUE,
    WEIR_NEUTRAL_ONE,
    WEIR_NEUTRAL_NOTED, /* OFF; with another value the key is noted as unknown */
} weir_neutral;

typedef struct weir_field {
    const char *name;
    weir_neutral neutral;
} weir_field;

/* Tables end with {NULL}: what old checkpoints keep in config.json, and what transformers' PretrainedConfig
 * has for every model. */
extern const weir_field weir__generation_fields[];
extern const weir_field weir__common_fields[];
/* variants.c: a field by which derivatives of the families change the computation; false: it is not one. */
bool weir__variant_field(const char *key, weir_neutral *out);

/* f8_config.c: a quantization_config of 8-bit floats, by its method; and what it says, into out->f8_block.
 * null says nothing. ENOTSUP by the field that changes what the weights mean. */
bool weir__is_f8_config(const char *key, const json_t *value);
weir_status weir__f8_config(const json_t *value, const char *label, weir_checkpoint *out, weir_err *err);
/* What compressed-tensors' says outside the groups of weights, whatever their form. */
weir_status weir__compressed_check(const json_t *o, const char *label, weir_err *err);
/* int4_config.c: the same of 4-bit codes (GPTQ, AWQ, pack-quantized), into out->int4. */
bool weir__is_int4_config(const char *key, const json_t *value);
weir_status weir__int4_config(const json_t *value, const char *label, weir_checkpoint *out, weir_err *err);
bool weir__is_mxfp4_config(const char *key, const json_t *value); /* gpt-oss: experts in MXFP4 */

/* A key of config.json that is not honoured, or of generation_config.json: by the tables `first` (NULL: none)
 * and those above. ENOTSUP by name. */
weir_status weir__check_field(const weir_field *first, const char *key, const json_t *value,
                              const char *label, weir_checkpoint *out, weir_err *err);
/* A generation field that callers set for each request, in models of that kind. */
bool weir__is_wish(weir_family_kind kind, const char *key);
weir_status weir__fail_neutral(const char *key, const json_t *value, const char *label, weir_err *err);

/* An unknown field or tensor: noted in out, or refused if out->strict. */
weir_status weir__note_field(const char *key, const json_t *value, const char *label, weir_checkpoint *out,
                             weir_err *err);
weir_status weir__note_tensor(const char *name, weir_checkpoint *out, weir_err *err);

/* "FILE: KEY = VALUE: WHY", the value as JSON, cut short. */
weir_status weir__fail_field(weir_err *err, weir_status s, const char *label, const char *key,
                             const json_t *value, const char *why);

bool weir__is_set(const json_t *o, const char *key); /* there and not null */

/* Typed reads of one key. Absent leaves *out as it is; EFORMAT on another type or out of [lo, hi]. */
weir_status weir__get_int(const json_t *o, const char *key, int64_t lo, int64_t hi, int32_t *out,
                          const char *label, weir_err *err);
weir_status weir__get_bool(const json_t *o, const char *key, bool *out, const char *label, weir_err *err);
/* Integer or real; null is as absent. */
weir_status weir__get_real(const json_t *o, const char *key, double lo, double hi, double *out,
                           const char *label, weir_err *err);
weir_status weir__get_string(const json_t *o, const char *key, const char **out, const char *label,
                             weir_err *err);

/* A token id, or null for none (-1). Decoder files of 2023 write -1 for none too. */
weir_status weir__get_id(const json_t *o, const char *key, const weir_checkpoint *ck, int32_t *out,
                         const char *label, weir_err *err);
/* pad_token_id. All but T5 do not use it: any value is allowed, and one outside the vocabulary means none. */
weir_status weir__get_pad(const json_t *o, weir_checkpoint *ck, const char *label, weir_err *err);
/* tokenizer_config.c: replaces the chat template; and the same with the template in an object, if it has
 * one. */
weir_status weir__set_template(const char *text, size_t bytes, const char *label, weir_checkpoint *out,
                               weir_err *err);
weir_status weir__take_template(const json_t *root, const char *label, weir_checkpoint *out, weir_err *err);
/* special_tokens.c: names of tokens by role in an object; and the names that a tokenizer's class gives to
 * roles which the object does not mention (NULL: none). */
weir_status weir__take_special_tokens(const json_t *root, const char *label, weir_checkpoint *out,
                                      weir_err *err);
weir_status weir__default_special_tokens(const json_t *root, const char *const names[WEIR_SPECIAL_N],
                                         const char *label, weir_checkpoint *out, weir_err *err);
/* An activation by the name that transformers gives it; false: unknown. */
bool weir__parse_act(const char *name, weir_act *out);

/* expert_config.c: experts, and which layers have none; c has its other sizes. */
weir_status weir__experts_parse(const family_row *f, const json_t *root, const char *label,
                                weir_decoder_config *c, weir_err *err);

/* eos_token_id: an id or a list of at most 8; none as in weir__get_id. */
weir_status weir__get_eos(const json_t *o, weir_checkpoint *out, const char *label, weir_err *err);

/* decoder_config.c: a model of a family of decoders, or a stack of one, which may be a part of the file, into
 * out->decoder, with its ids; ids outside the part, which win; and whether the file's architectures, if any,
 * have this one. */
weir_status weir__decoder_parse_stack(const family_row *f, json_t *root, const char *label,
                                      weir_checkpoint *out, weir_err *err);
weir_status weir__decoder_parse_ids(const json_t *root, const char *label, weir_checkpoint *out,
                                    weir_err *err);
weir_status weir__check_architecture(const char *want, const json_t *root, const char *label, weir_err *err);

/* What a rotary embedding has from outside its object. */
typedef struct weir_rope_base {
    double theta;           /* where the object has no rope_theta */
    int32_t n_ctx;          /* max_position_embeddings */
    int32_t n_ctx_original; /* of longrope, where the object does not say it */
    int32_t n_dim;          /* as in weir_rope_config */
    bool longrope;          /* the family may have it, and may turn a part of a head */
} weir_rope_base;

/* rope_config.c: the rotary embedding of a `rope_scaling` (or `rope_parameters`) object; NULL or null: the
 * plain one. Longrope's divisors go to ck, whose decoder has head_dim. Keys of no effect are noted there. */
weir_status weir__rope_parse(const json_t *rope, const weir_rope_base *base, const char *label,
                             weir_checkpoint *ck, weir_rope_config *out, weir_err *err);

#endif /* WEIR_HOST_FORMATS_CONFIG_CONFIG_H */
