#include "tests/jinja/json_input.h"

#include <stdlib.h>
#include <string.h>

static weir_jinja_input *items(const json_t *v, size_t *n);

static weir_jinja_input one(const char *key, const json_t *v) {
    weir_jinja_input in = {.key = key};
    size_t n = 0;
    switch (json_typeof(v)) {
    case JSON_TRUE:
    case JSON_FALSE:
        in.kind = WEIR_JINJA_BOOL;
        in.as.boolean = json_is_true(v);
        break;
    case JSON_INTEGER:
        in.kind = WEIR_JINJA_INT;
        in.as.integer = json_integer_value(v);
        break;
    case JSON_REAL:
        in.kind = WEIR_JINJA_FLOAT;
        in.as.real = json_real_value(v);
        break;
    case JSON_STRING:
        in.kind = WEIR_JINJA_STRING;
        in.as.string.text = json_string_value(v);
        in.as.string.bytes = json_string_length(v);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        in.kind = json_is_array(v) ? WEIR_JINJA_LIST : WEIR_JINJA_DICT;
        in.as.items.at = items(v, &n);
        in.as.items.n = n;
        break;
    default: break;
    }
    return in;
}

static weir_jinja_input *items(const json_t *v, size_t *n) {
    const bool list = json_is_array(v);
    *n = list ? json_array_size(v) : json_object_size(v);
    weir_jinja_input *all = calloc(*n + 1, sizeof *all);
    size_t i = 0;
    if (!all) abort();
    if (list) {
        for (; i < *n; i++) all[i] = one(NULL, json_array_get(v, i));
        return all;
    }
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)v, key, item) all[i++] = one(key, item);
    return all;
}

weir_jinja_input *json_input(const json_t *object, size_t *n) { return items(object, n); }

void json_input_free(weir_jinja_input *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (in[i].kind != WEIR_JINJA_LIST && in[i].kind != WEIR_JINJA_DICT) continue;
        json_input_free((weir_jinja_input *)(uintptr_t)in[i].as.items.at, in[i].as.items.n);
    }
    free(in);
}
