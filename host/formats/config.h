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

/* Looks key up in a table: true if it is there and *ok says whether the value is neutral. */
bool weir__field_check(const weir_field *table, const char *key, const json_t *value, bool *ok);

/* "FILE: KEY = VALUE: WHY", the value as JSON, cut short. */
weir_status weir__fail_field(weir_err *err, weir_status s, const char *label, const char *key,
                             const json_t *value, const char *why);

/* Typed reads of one key. Absent leaves *out as it is; EFORMAT on another type or out of [lo, hi]. */
weir_status weir__get_int(const json_t *o, const char *key, int64_t lo, int64_t hi, int32_t *out,
                          const char *label, weir_err *err);
weir_status weir__get_bool(const json_t *o, const char *key, bool *out, const char *label, weir_err *err);
weir_status weir__get_string(const json_t *o, const char *key, const char **out, const char *label,
                             weir_err *err);

/* A token id, or null for none (-1). */
weir_status weir__get_id(const json_t *o, const char *key, int32_t n_vocab, int32_t *out, const char *label,
                         weir_err *err);
/* An id or a list of at most 8; null for none. */
weir_status weir__get_eos(const json_t *o, weir_checkpoint *out, const char *label, weir_err *err);

#endif /* WEIR_HOST_FORMATS_CONFIG_H */
