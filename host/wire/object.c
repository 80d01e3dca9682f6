#include "host/wire/object.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/buf.h"

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
static bool past_double(const char *text, size_t n, wire_buf *copy) {
    const char *e = memchr(text, 'e', n), *big = memchr(text, 'E', n);
    if (!e || (big && big < e)) e = big;
    if (e ? e + 1 == text + n || e[1] == '-' : n < 309) return false;
    const size_t sign = text[0] == '-';
    if (n > sign + 1 && text[sign] == '0' && is_digit(text[sign + 1])) return false; /* no number at all */
    copy->len = 0;
    char *end = NULL;
    return wire_buf_add(copy, text, n) && isinf(strtod(copy->data, &end)) && end == copy->data + n;
}

/* The text with such numbers written so that the parser takes them; false: out of memory. Empty where there
 * are none. */
static bool within_reach(const char *text, size_t n, wire_buf *out) {
    wire_buf copy = {0};
    size_t done = 0;
    bool ok = true;
    for (size_t at = 0, end; at < n && ok; at = end) {
        end = token_end(text, n, at);
        if (!starts_number(text[at])) continue;
        const bool huge = past_double(text + at, end - at, &copy);
        if (!huge && !past_int64(text + at, end - at)) continue;
        ok = wire_buf_add(out, text + done, (huge ? at : end) - done) &&
             wire_buf_puts(out, !huge             ? "e0"
                                : text[at] == '-' ? "-1.7976931348623157e308"
                                                  : "1.7976931348623157e308");
        done = end;
    }
    if (ok && done > 0) ok = wire_buf_add(out, text + done, n - done);
    wire_buf_free(&copy);
    return ok;
}

static size_t past_blanks(const char *text, size_t n, size_t at) {
    while (at < n && text[at] && strchr(" \t\r\n", text[at])) at++;
    return at;
}

/* The value of a key of the object as it is written; NULL where the key is written with escapes. */
static const char *written(const wire_object *o, const char *key, size_t *n) {
    const size_t len = strlen(key);
    int depth = 0;
    for (size_t at = 0, end; at < o->bytes; at = end) {
        end = token_end(o->text, o->bytes, at);
        const char c = o->text[at];
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (depth != 1 || c != '"' || end - at != len + 2 || memcmp(o->text + at + 1, key, len) != 0)
            continue;
        const size_t colon = past_blanks(o->text, o->bytes, end);
        if (colon >= o->bytes || o->text[colon] != ':') continue;
        const size_t value = past_blanks(o->text, o->bytes, colon + 1);
        if (value >= o->bytes) return NULL;
        *n = token_end(o->text, o->bytes, value) - value;
        return o->text + value;
    }
    return NULL;
}

static json_malloc_t json_memory;
static json_free_t json_release;
static _Thread_local bool no_json_memory; /* for the text that is being read */

static void *noting_memory(size_t n) {
    void *p = json_memory(n);
    if (!p) no_json_memory = true;
    return p;
}

void wire_watch_json_memory(void) {
    json_get_alloc_funcs(&json_memory, &json_release);
    json_set_alloc_funcs(noting_memory, json_release);
}

weir_status wire_object_parse(wire_object *o, const char *text, size_t n, weir_err *err) {
    json_error_t e;
    wire_buf reach = {0};
    *o = (wire_object){.text = text, .bytes = n};
    if (!within_reach(text, n, &reach)) {
        wire_buf_free(&reach);
        return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu bytes", n);
    }
    no_json_memory = false;
    o->json = json_loadb(reach.len ? reach.data : text, reach.len ? reach.len : n,
                         JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    wire_buf_free(&reach);
    if (!o->json && no_json_memory) return weir_fail(err, WEIR_ENOMEM, "out of memory for %zu bytes", n);
    if (!o->json) {
        char key[48];
        last_key(text, e.position > 0 && (size_t)e.position <= n ? (size_t)e.position : n, key, sizeof key);
        return weir_fail(err, WEIR_EFORMAT, "%s%s%snot JSON: %.200s (byte %d)", key[0] ? "\"" : "", key,
                         key[0] ? "\": " : "", e.text, e.position);
    }
    if (json_is_object(o->json)) return WEIR_OK;
    wire_object_free(o);
    return weir_fail(err, WEIR_EFORMAT, "expected a JSON object");
}

void wire_object_free(wire_object *o) {
    json_decref(o->json);
    o->json = NULL;
}

weir_status wire_object_fail(wire_object *o, const char *key, weir_err *err, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    o->failed = key;
    return weir_fail(err, WEIR_EINVAL, "\"%.100s\": %s", key, text);
}

bool wire_object_has(const wire_object *o, const char *key) { return json_object_get(o->json, key) != NULL; }

void wire_object_drop_nulls(wire_object *o) {
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(o->json, next, key, value) {
        if (json_is_null(value)) json_object_del(o->json, key);
    }
}

bool wire_text_deeper(const char *text, size_t n, int depth) {
    int open = 0;
    for (size_t at = 0; at < n && open <= depth; at = token_end(text, n, at))
        open += (text[at] == '{' || text[at] == '[') - (text[at] == '}' || text[at] == ']');
    return open > depth;
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

/* ---- ranges -------------------------------------------------------------------------------------------- */

bool wire_in_range(double lo, double hi, bool lo_open, double x) {
    const double stored = (double)(float)x;
    return isfinite(stored) && (lo_open ? x > lo && stored > lo : x >= lo) && x <= hi;
}

void wire_range_text(double lo, double hi, bool lo_open, char *buf, size_t cap) {
    buf[0] = '\0';
    if (isinf(lo)) return;
    if (isinf(hi) || hi >= 2147483647.0)
        snprintf(buf, cap, "%s%.15g", lo_open ? "above " : "at least ", lo);
    else
        snprintf(buf, cap, "%s%.15g to %.15g", lo_open ? "above " : "", lo, hi);
}

void wire_range_expected(double lo, double hi, bool lo_open, char *buf, size_t cap) {
    char ends[2][32];
    const double end[2] = {lo, hi};
    for (int i = 0; i < 2; i++) {
        if (isinf(end[i]))
            snprintf(ends[i], sizeof ends[i], "%.6g", end[i] < 0 ? (double)-FLT_MAX : (double)FLT_MAX);
        else
            snprintf(ends[i], sizeof ends[i], "%.15g", end[i]);
    }
    snprintf(buf, cap, "%s%s to %s", lo_open ? "above " : "", ends[0], ends[1]);
}

/* ---- fields -------------------------------------------------------------------------------------------- */

weir_status wire_read_int(wire_object *o, const char *key, int64_t lo, int64_t hi, int64_t *out, bool *seen,
                          weir_err *err) {
    const json_t *v = json_object_get(o->json, key);
    if (!v) return WEIR_OK;
    char range[80];
    snprintf(range, sizeof range, "%lld to %lld", (long long)lo, (long long)hi);
    size_t n = 0;
    const char *text = json_is_real(v) && o->text ? written(o, key, &n) : NULL;
    if (text && is_whole(text, n))
        return wire_object_fail(o, key, err, "%.*s is out of range, expected %s", n < 40 ? (int)n : 40, text,
                                range);
    if (!json_is_integer(v))
        return wire_object_fail(o, key, err, "expected a whole number, got %s", type_name(v));
    const json_int_t x = json_integer_value(v);
    if (x < lo || x > hi)
        return wire_object_fail(o, key, err, "%lld is out of range, expected %s", (long long)x, range);
    *out = x;
    if (seen) *seen = true;
    return WEIR_OK;
}

weir_status wire_read_uint(wire_object *o, const char *key, uint64_t *out, bool *seen, weir_err *err) {
    const json_t *v = json_object_get(o->json, key);
    if (!v) return WEIR_OK;
    size_t n = 0;
    const char *text = json_is_number(v) ? written(o, key, &n) : NULL;
    if (!text || !is_whole(text, n))
        return wire_object_fail(o, key, err, "expected a whole number, got %s", type_name(v));
    char digits[24]; /* of 2^64 - 1 and one more */
    snprintf(digits, sizeof digits, "%.*s", n < 21 ? (int)n : 21, text);
    errno = 0;
    const unsigned long long x = strtoull(digits, NULL, 10);
    if (text[0] == '-' || errno == ERANGE)
        return wire_object_fail(o, key, err, "%.*s is out of range, expected 0 to 18446744073709551615",
                                n < 40 ? (int)n : 40, text);
    *out = x;
    if (seen) *seen = true;
    return WEIR_OK;
}

weir_status wire_read_number(wire_object *o, const char *key, double *out, bool *seen, weir_err *err) {
    const json_t *v = json_object_get(o->json, key);
    if (!v) return WEIR_OK;
    if (!json_is_number(v)) return wire_object_fail(o, key, err, "expected a number, got %s", type_name(v));
    *out = json_number_value(v);
    if (seen) *seen = true;
    return WEIR_OK;
}

weir_status wire_read_bool(wire_object *o, const char *key, bool *out, bool *seen, weir_err *err) {
    const json_t *v = json_object_get(o->json, key);
    if (!v) return WEIR_OK;
    if (!json_is_boolean(v))
        return wire_object_fail(o, key, err, "expected true or false, got %s", type_name(v));
    *out = json_is_true(v);
    if (seen) *seen = true;
    return WEIR_OK;
}

weir_status wire_read_text(wire_object *o, const char *key, const char **out, size_t *n, bool *seen,
                           weir_err *err) {
    const json_t *v = json_object_get(o->json, key);
    if (!v) return WEIR_OK;
    if (!json_is_string(v)) return wire_object_fail(o, key, err, "expected a string, got %s", type_name(v));
    *out = json_string_value(v);
    *n = json_string_length(v);
    if (seen) *seen = true;
    return WEIR_OK;
}

/* The list of a field with room for its entries; *list NULL where it is absent. */
static weir_status list_of(wire_object *o, const char *key, size_t size, const json_t **list, void **room,
                           weir_err *err) {
    *list = json_object_get(o->json, key);
    if (!*list) return WEIR_OK;
    if (!json_is_array(*list))
        return wire_object_fail(o, key, err, "expected a list, got %s", type_name(*list));
    const size_t n = json_array_size(*list);
    *room = weir_alloc(n, size);
    return *room ? WEIR_OK : weir_fail(err, WEIR_ENOMEM, "out of memory for %zu entries of \"%s\"", n, key);
}

weir_status wire_read_ids(wire_object *o, const char *key, int32_t **out, size_t *n, bool *seen,
                          weir_err *err) {
    const json_t *list = NULL;
    void *room = NULL;
    WEIR_TRY(list_of(o, key, sizeof **out, &list, &room, err));
    if (!list) return WEIR_OK;
    int32_t *ids = room;
    const size_t len = json_array_size(list);
    for (size_t i = 0; i < len; i++) {
        const json_t *v = json_array_get(list, i);
        const json_int_t x = json_is_integer(v) ? json_integer_value(v) : -1;
        if (x < 0 || x > INT32_MAX) {
            weir_free(ids);
            return wire_object_fail(o, key, err, "entry %zu: expected a token id, got %s", i,
                                    json_is_integer(v) ? "one out of range" : type_name(v));
        }
        ids[i] = (int32_t)x;
    }
    *out = ids;
    *n = len;
    if (seen) *seen = true;
    return WEIR_OK;
}

weir_status wire_read_floats(wire_object *o, const char *key, float **out, size_t *n, bool *seen,
                             weir_err *err) {
    const json_t *list = NULL;
    void *room = NULL;
    WEIR_TRY(list_of(o, key, sizeof **out, &list, &room, err));
    if (!list) return WEIR_OK;
    float *x = room;
    const size_t len = json_array_size(list);
    for (size_t i = 0; i < len; i++) {
        const json_t *v = json_array_get(list, i);
        x[i] = (float)json_number_value(v);
        if (!json_is_number(v) || !isfinite(x[i])) {
            weir_free(x);
            return wire_object_fail(o, key, err, "entry %zu: expected a finite number, got %s", i,
                                    json_is_number(v) ? "one beyond 32-bit floats" : type_name(v));
        }
    }
    *out = x;
    *n = len;
    if (seen) *seen = true;
    return WEIR_OK;
}
