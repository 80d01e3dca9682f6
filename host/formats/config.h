#ifndef WEIR_HOST_FORMATS_CONFIG_H
#define WEIR_HOST_FORMATS_CONFIG_H

#include "host/formats/checkpoint.h"
#include "host/formats/json_file.h"

/* Shared by the readers of config.json, generation_config.json and tokenizer_config.json; internal to host/formats.
 * Every reader knows each key it may meet; a key that nobody knows is refused, since it may change the result. */

/* What a value must be for a key to change nothing. null is neutral for all but ANY_TRUE. */
typedef enum weir_neutral {
    WEIR_NEUTRAL_ANY,   /* any value: the key never changes what we compute */
    WEIR_NEUTRAL_NULL,  /* only absent or null */
    WEIR_NEUTRAL_EMPTY, /* an empty list, object or string */
    WEIR_NEUTRAL_FALSE,
    WEIR_NEUTRAL_ZERO,
    WEIR_NEUTRAL_ONE,
} weir_neutral;

typedef struct weir_field {
    const char *name;
    weir_neutral neutral;
} weir_field;

/* The generation fields, which old checkpoints keep in config.json: name-sorted by nobody, ended by {NULL}. */
extern const weir_field weir__generation_fields[];

/* Fields of transformers' PretrainedConfig, which any config.json may have: training, bookkeeping, other tasks' heads, other
 * frameworks; and those that are neutral with one value only. */
extern const weir_field weir__common_fields[];

/* Looks key up in a table: true if it is there and *ok says whether the value is neutral. */
bool weir__field_check(const weir_field *table, const char *key, const json_t *value, bool *ok);

/* A key that no family's own table knows: fine if it is a common or a generation field with a neutral value, else refused by
 * name. */
weir_status weir__check_common(const char *key, const json_t *value, const char *label, weir_err *err);
weir_status weir__fail_neutral(const char *key, const json_t *value, const char *label, weir_err *err);

/* "FILE: KEY = VALUE: WHY", the value as JSON, cut short. */
weir_status weir__fail_field(weir_err *err, weir_status s, const char *label, const char *key,
                             const json_t *value, const char *why);

bool weir__is_set(const json_t *o, const char *key); /* there and not null */

/* Typed reads of one key. Absent leaves *out as it is; EFORMAT on another type or out of [lo, hi]. */
weir_status weir__get_int(const json_t *o, const char *key, int64_t lo, int64_t hi, int32_t *out,
                          const char *label, weir_err *err);
weir_status weir__get_bool(const json_t *o, const char *key, bool *out, const char *label, weir_err *err);
/* Integer or real; null is as absent. */
weir_status weir__get_real(const json_t *o, const char *key, double lo, double hi, double *out, const char *label,
                           weir_err *err);
weir_status weir__get_string(const json_t *o, const char *key, const char **out, const char *label,
                             weir_err *err);

/* A token id, or null for none (-1). */
weir_status weir__get_id(const json_t *o, const char *key, int32_t n_vocab, int32_t *out, const char *label,
                         weir_err *err);
/* An activation by the name that transformers gives it; false: unknown. */
bool weir__parse_act(const char *name, weir_act *out);

/* An id or a list of at most 8; null for none. */
weir_status weir__get_eos(const json_t *o, weir_checkpoint *out, const char *label, weir_err *err);

/* rope_config.c: the rotary embedding of a `rope_scaling` (or `rope_parameters`) object; NULL or null: the plain one. theta:
 * the base where the object has no rope_theta; n_ctx: max_position_embeddings. Every key is honoured or refused by name. */
weir_status weir__rope_parse(const json_t *rope, double theta, int32_t n_ctx, const char *label,
                             weir_rope_config *out, weir_err *err);

#endif /* WEIR_HOST_FORMATS_CONFIG_H */
