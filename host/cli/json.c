#include "host/cli/json.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"
#include "host/cli/io.h"

/* ---- reading ------------------------------------------------------------------------------------------- */

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

/* JSON's numbers end nowhere; the parser's integers end at 2^63 - 1, its reals at DBL_MAX, and it refuses the
 * text beyond. What lies beyond becomes a real for it; a field that needs to know what was written finds it
 * in the text again. */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool starts_number(char c) { return c == '-' || is_digit(c); }

/* The end of the string, number or other byte at text[at]. */
static size_t token_end(const char *text, size_t n, size_t at) {
    size_t end = at + 1;
    if (text[at] == '"') {
        while (end < n && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
        return end < n ? end + 1 : n;
    }
    if (!starts_number(text[at])) return end;
    while (end < n && text[end] && strchr("+-.0123456789eE", text[end])) end++;
    return end;
}

/* [-]digits without a leading zero: an integer of JSON. */
static bool is_whole(const char *text, size_t n) {
    const size_t sign = n > 0 && text[0] == '-';
    for (size_t i = sign; i < n; i++)
        if (!is_digit(text[i])) return false;
    return n > sign && (text[sign] != '0' || n == sign + 1);
}

static bool past_int64(const char *text, size_t n) {
    static const char most[2][20] = {"9223372036854775807", "9223372036854775808"};
    const size_t sign = n > 0 && text[0] == '-', digits = n - sign;
    return is_whole(text, n) && (digits > 19 || (digits == 19 && memcmp(text + sign, most[sign], 19) > 0));
}

/* Only what could be: 309 digits, or an exponent that is not negative. */
static bool past_double(const char *text, size_t n, cli_buf *copy) {
    const char *e = memchr(text, 'e', n), *big = memchr(text, 'E', n);
    if (!e || (big && big < e)) e = big;
    if (e ? e + 1 == text + n || e[1] == '-' : n < 309) return false;
    const size_t sign = text[0] == '-';
    if (n > sign + 1 && text[sign] == '0' && is_digit(text[sign + 1])) return false; /* no number at all */
    copy->len = 0;
    char *end = NULL;
    return cli_buf_add(copy, text, n) && isinf(strtod(copy->data, &end)) && end == copy->data + n;
}

/* The text with such numbers written so that the parser takes them; false: out of memory. Empty where there
 * are none. */
static bool within_reach(const char *text, size_t n, cli_buf *out) {
    cli_buf copy = {0};
    size_t done = 0;
    bool ok = true;
    for (size_t at = 0, end; at < n && ok; at = end) {
        end = token_end(text, n, at);
        if (!starts_number(text[at])) continue;
        const bool huge = past_double(text + at, end - at, &copy);
        if (!huge && !past_int64(text + at, end - at)) continue;
        ok = cli_buf_add(out, text + done, (huge ? at : end) - done) &&
             cli_buf_puts(out, !huge             ? "e0"
                               : text[at] == '-' ? "-1.7976931348623157e308"
                                                 : "1.7976931348623157e308");
        done = end;
    }
    if (ok && done > 0) ok = cli_buf_add(out, text + done, n - done);
    cli_buf_free(&copy);
    return ok;
}

static size_t past_blanks(const char *text, size_t n, size_t at) {
    while (at < n && text[at] && strchr(" \t\r\n", text[at])) at++;
    return at;
}

/* The value of a key of the line's object as it is written; NULL where the key is written with escapes. */
static const char *written(const cli_line *l, const char *key, size_t *n) {
    const size_t len = strlen(key);
    int depth = 0;
    for (size_t at = 0, end; at < l->bytes; at = end) {
        end = token_end(l->text, l->bytes, at);
        const char c = l->text[at];
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (depth != 1 || c != '"' || end - at != len + 2 || memcmp(l->text + at + 1, key, len) != 0)
            continue;
        const size_t colon = past_blanks(l->text, l->bytes, end);
        if (colon >= l->bytes || l->text[colon] != ':') continue;
        const size_t value = past_blanks(l->text, l->bytes, colon + 1);
        if (value >= l->bytes) return NULL;
        *n = token_end(l->text, l->bytes, value) - value;
        return l->text + value;
    }
    return NULL;
}

int cli_line_parse(cli_line *l, const char *name, long number, const char *text, size_t n) {
    json_error_t e;
    cli_buf reach = {0};
    *l = (cli_line){.name = name, .number = number, .text = text, .bytes = n};
    if (!within_reach(text, n, &reach)) {
        cli_buf_free(&reach);
        return cli_fail(CLI_FAILED, "%s:%ld: out of memory for %zu bytes", name, number, n);
    }
    l->object = json_loadb(reach.len ? reach.data : text, reach.len ? reach.len : n,
                           JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    cli_buf_free(&reach);
    if (!l->object) {
        char key[48];
        last_key(text, e.position > 0 && (size_t)e.position <= n ? (size_t)e.position : n, key, sizeof key);
        return cli_fail(CLI_FAILED, "%s:%ld: %s%s%snot JSON: %.200s (byte %d)", name, number,
                        key[0] ? "\"" : "", key, key[0] ? "\": " : "", e.text, e.position);
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
    size_t n = 0;
    const char *text = json_is_real(v) && l->text ? written(l, key, &n) : NULL;
    if (text && is_whole(text, n)) {
        return cli_line_fail(l, key, "%.*s is out of range, expected %lld to %lld", n < 40 ? (int)n : 40,
                             text, (long long)lo, (long long)hi);
    }
    if (!json_is_integer(v)) return cli_line_fail(l, key, "expected a whole number, got %s", type_name(v));
    json_int_t x = json_integer_value(v);
    if (x < lo || x > hi) {
        return cli_line_fail(l, key, "%lld is out of range, expected %lld to %lld", (long long)x,
                             (long long)lo, (long long)hi);
    }
    *out = x;
    if (seen) *seen = true;
    return CLI_OK;
}

int cli_line_uint(const cli_line *l, const char *key, uint64_t *out, bool *seen) {
    json_t *v = json_object_get(l->object, key);
    if (!v) return CLI_OK;
    size_t n = 0;
    const char *text = json_is_number(v) ? written(l, key, &n) : NULL;
    if (!text || !is_whole(text, n))
        return cli_line_fail(l, key, "expected a whole number, got %s", type_name(v));
    char digits[24]; /* of 2^64 - 1 and one more */
    snprintf(digits, sizeof digits, "%.*s", n < 21 ? (int)n : 21, text);
    errno = 0;
    const unsigned long long x = strtoull(digits, NULL, 10);
    if (text[0] == '-' || errno == ERANGE)
        return cli_line_fail(l, key, "%.*s is out of range, expected 0 to 18446744073709551615",
                             n < 40 ? (int)n : 40, text);
    *out = x;
    if (seen) *seen = true;
    return CLI_OK;
}

int cli_line_float(const cli_line *l, const char *key, float *out, bool *seen) {
    double x = 0;
    bool found = false;
    int rc = cli_line_number(l, key, &x, &found);
    if (rc || !found) return rc;
    if (fabs(x) > (double)FLT_MAX)
        return cli_line_fail(l, key, "%.6g is out of range, expected %s", x, CLI_FLOAT_RANGE);
    *out = (float)x;
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

/* ---- writing ------------------------------------------------------------------------------------------- */

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
