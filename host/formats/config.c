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

weir_status weir__get_string(const json_t *o, const char *key, const char **out, const char *label,
                             weir_err *err) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return WEIR_OK;
    if (!json_is_string(v)) return weir__fail_field(err, WEIR_EFORMAT, label, key, v, "expected a string");
    *out = json_string_value(v);
    return WEIR_OK;
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
        WEIR_TRY(weir__get_id(o, "eos_token_id", out->t5.n_vocab_rows, &id, label, err));
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
            json_integer_value(id) >= out->t5.n_vocab_rows)
            return weir__fail_field(err, WEIR_EFORMAT, label, "eos_token_id", id,
                                    "expected ids inside the vocabulary");
        out->eos[i] = (int32_t)json_integer_value(id);
    }
    out->n_eos = (int32_t)n;
    return WEIR_OK;
}
