#include "host/cli/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io.h"

/* ---- reading --------------------------------------------------------------------------------------------- */

/* The last key that stands before byte `end`: where the parser stopped, for its message. */
static void last_key(const char *text, size_t end, char *key, size_t cap) {
    key[0] = '\0';
    size_t close = end;
    for (size_t i = 0; i < end; i++) {
        if (text[i] != '"') continue;
        size_t open = i + 1;
        for (i = open; i < end && text[i] != '"'; i++)
            if (text[i] == '\\') i++;
        close = i;
        size_t after = close + 1;
        while (after < end && (text[after] == ' ' || text[after] == '\t')) after++;
        if (close < end && after < end && text[after] == ':')
            snprintf(key, cap, "%.*s", (int)(close - open < 40 ? close - open : 40), text + open);
    }
}

int cli_line_parse(cli_line *l, const char *name, long number, const char *text, size_t n) {
    json_error_t e;
    *l = (cli_line){.name = name, .number = number};
    l->object = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!l->object) {
        char key[48];
        last_key(text, e.position > 0 && (size_t)e.position <= n ? (size_t)e.position : n, key, sizeof key);
        return cli_fail(CLI_FAILED, "%s:%ld: %s%s%snot JSON: %.200s (byte %d)", name, number, key[0] ? "\"" : "", key,
                        key[0] ? "\": " : "", e.text, e.position);
    }
    if (json_is_object(l->object)) return CLI_OK;
    cli_line_free(l);
    return cli_fail(CLI_FAILED, "%s:%ld: expected a JSON object", name, number);
}

void cli_line_free(cli_line *l) {
    json_decref(l->object);
    l->object = NULL;
}

int cli_line_fail(const cli_line *l, const char *key, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return cli_fail(CLI_FAILED, "%s:%ld: \"%s\": %s", l->name, l->number, key, text);
}

static const char *type_name(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    default: return "null";
    }
}

int cli_line_known(const cli_line *l, const char *const *known, int n) {
    const char *key;
    json_t *value;
    json_object_foreach(l->object, key, value) {
        int i = 0;
        while (i < n && strcmp(known[i], key) != 0) i++;
        if (i == n) return cli_line_fail(l, key, "unknown field");
    }
    return CLI_OK;
}

int cli_line_int(const cli_line *l, const char *key, int64_t lo, int64_t hi, int64_t *out, bool *seen) {
    json_t *v = json_object_get(l->object, key);
    if (!v) return CLI_OK;
    if (!json_is_integer(v)) return cli_line_fail(l, key, "expected a whole number, got %s", type_name(v));
    json_int_t x = json_integer_value(v);
    if (x < lo || x > hi) {
        return cli_line_fail(l, key, "%lld is out of range, expected %lld to %lld", (long long)x, (long long)lo,
                             (long long)hi);
    }
    *out = x;
    if (seen) *seen = true;
    return CLI_OK;
}

int cli_line_number(const cli_line *l, const char *key, double *out, bool *seen) {
    json_t *v = json_object_get(l->object, key);
    if (!v) return CLI_OK;
    if (!json_is_number(v)) return cli_line_fail(l, key, "expected a number, got %s", type_name(v));
    *out = json_number_value(v);
    if (seen) *seen = true;
    return CLI_OK;
}

int cli_line_bool(const cli_line *l, const char *key, bool *out, bool *seen) {
    json_t *v = json_object_get(l->object, key);
    if (!v) return CLI_OK;
    if (!json_is_boolean(v)) return cli_line_fail(l, key, "expected true or false, got %s", type_name(v));
    *out = json_is_true(v);
    if (seen) *seen = true;
    return CLI_OK;
}

int cli_line_text(const cli_line *l, const char *key, const char **out, size_t *n, bool *seen) {
    json_t *v = json_object_get(l->object, key);
    if (!v) return CLI_OK;
    if (!json_is_string(v)) return cli_line_fail(l, key, "expected a string, got %s", type_name(v));
    *out = json_string_value(v);
    *n = json_string_length(v);
    if (seen) *seen = true;
    return CLI_OK;
}

/* The list of a field, or NULL: absent (*rc CLI_OK) or of another type (*rc CLI_FAILED). */
static json_t *list_of(const cli_line *l, const char *key, int *rc) {
    json_t *v = json_object_get(l->object, key);
    *rc = CLI_OK;
    if (v && !json_is_array(v)) *rc = cli_line_fail(l, key, "expected a list, got %s", type_name(v));
    return v && json_is_array(v) ? v : NULL;
}

int cli_line_ids(const cli_line *l, const char *key, int32_t **out, size_t *n, bool *seen) {
    int rc;
    json_t *list = list_of(l, key, &rc);
    if (!list) return rc;
    size_t len = json_array_size(list);
    int32_t *ids = cli_alloc(len, sizeof *ids);
    if (!ids) return CLI_FAILED;
    for (size_t i = 0; i < len; i++) {
        json_t *v = json_array_get(list, i);
        json_int_t x = json_is_integer(v) ? json_integer_value(v) : -1;
        if (x < 0 || x > INT32_MAX) {
            weir_free(ids);
            return cli_line_fail(l, key, "entry %zu: expected a token id, got %s", i,
                                 json_is_integer(v) ? "one out of range" : type_name(v));
        }
        ids[i] = (int32_t)x;
    }
    *out = ids;
    *n = len;
    if (seen) *seen = true;
    return CLI_OK;
}

int cli_line_floats(const cli_line *l, const char *key, float **out, size_t *n, bool *seen) {
    int rc;
    json_t *list = list_of(l, key, &rc);
    if (!list) return rc;
    size_t len = json_array_size(list);
    float *x = cli_alloc(len, sizeof *x);
    if (!x) return CLI_FAILED;
    for (size_t i = 0; i < len; i++) {
        json_t *v = json_array_get(list, i);
        x[i] = (float)json_number_value(v);
        if (!json_is_number(v) || !isfinite(x[i])) {
            weir_free(x);
            return cli_line_fail(l, key, "entry %zu: expected a finite number, got %s", i,
                                 json_is_number(v) ? "one beyond 32-bit floats" : type_name(v));
        }
    }
    *out = x;
    *n = len;
    if (seen) *seen = true;
    return CLI_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

/* A value that could not be made leaves a hole; the object is then not printed at all. */
static bool hole;

json_t *cli_json_real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *cli_json_knob(float x) {
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)x);
    return cli_json_real(strtod(text, NULL));
}

json_t *cli_json_text(const char *bytes, size_t n) {
    cli_buf b = {0};
    json_t *v = cli_buf_add_utf8(&b, bytes, n) ? json_stringn(b.data, b.len) : NULL;
    cli_buf_free(&b);
    return v;
}

void cli_json_set(json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0) hole = true;
}

void cli_json_device(json_t *object, const weir_engine_facts *f) {
    cli_json_set(object, "device", json_string(f->device));
    cli_json_set(object, "about", cli_json_text(f->about, strlen(f->about)));
    cli_json_set(object, "isa", f->isa ? json_string(f->isa) : json_null());
    cli_json_set(object, "threads", f->isa ? json_integer(f->n_thread) : json_null());
}

void cli_json_add(json_t *array, json_t *value) {
    if (json_array_append_new(array, value) != 0) hole = true;
}

json_t *cli_json_floats(const float *x, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) cli_json_add(list, cli_json_real((double)x[i]));
    return list;
}

json_t *cli_json_ids(const int32_t *ids, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) cli_json_add(list, json_integer(ids[i]));
    return list;
}

static int write_part(const char *bytes, size_t n, void *ud) {
    if (ud) return cli_buf_add(ud, bytes, n) ? 0 : -1;
    cli_out(bytes, n);
    return 0;
}

int cli_json_write(json_t *value, cli_buf *b) {
    bool ok = value && !hole && json_dump_callback(value, write_part, b, JSON_REAL_PRECISION(9)) == 0 &&
              write_part("\n", 1, b) == 0;
    hole = false;
    json_decref(value);
    return ok ? CLI_OK : cli_fail(CLI_FAILED, "out of memory for an answer");
}
