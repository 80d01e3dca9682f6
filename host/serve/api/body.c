#include "host/serve/api/body.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/wire/json.h"

/* No request has more fields than the tables; names beyond are not worth looking at one by one. */
enum { MAX_DEPTH = 64, MAX_FIELDS = 200 };

bool api_no_memory(serve_error *e) { return serve_fail(e, 500, "internal_error", NULL, "out of memory"); }

bool api_body_ok(api_body *b, weir_status s) {
    if (s == WEIR_OK) return true;
    if (b->in.failed && (s == WEIR_EINVAL || s == WEIR_ENOTSUP))
        return serve_fail(b->e, 400, "invalid_value", b->in.failed, "%s", b->err.text);
    return serve_fail_status(b->e, s, &b->err);
}

bool api_body_fail(api_body *b, const char *code, const char *field, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return serve_fail(b->e, 400, code, field, "\"%.100s\": %s", field, text);
}

/* ---- names --------------------------------------------------------------------------------------------- */

bool api_body_ignore(api_body *b, const char *prefix, const char *name) {
    char whole[140];
    snprintf(whole, sizeof whole, "%s%.100s", prefix, name);
    if (b->server->strict_fields)
        return api_body_fail(b, "unknown_parameter", whole, "unknown field (the server is strict)");
    if (b->n_ignored++ >= API_MAX_IGNORED) return true;
    if (!b->ignored) b->ignored = json_array();
    if (json_array_append_new(b->ignored, wire_text(whole, strlen(whole))) != 0) return api_no_memory(b->e);
    return true;
}

static bool check_unknown(api_body *b, const char *name) {
    static const unsigned asks[] = {WIRE_CHAT, WIRE_COMPLETIONS};
    static const char *const paths[] = {"/v1/chat/completions", "/v1/completions"};
    for (int i = 0; i < 2; i++)
        if ((b->where & WIRE_ASK) && wire_find(asks[i], name))
            return api_body_fail(b, "unknown_parameter", name, "a field of %s", paths[i]);
    const char *near = api_near_field(b->where, name);
    if (near)
        return api_body_fail(b, "unknown_parameter", name, "unknown field; the nearest is \"%s\"", near);
    return api_body_ignore(b, "", name);
}

/* The same setting under two of its names. */
static bool check_once(api_body *b, const wire_field *f, const char *name, const json_t *value) {
    const char *key = wire_key(&b->in, f, b->where);
    if (strcmp(key, name) == 0 || json_equal(value, json_object_get(b->in.json, key))) return true;
    return api_body_fail(b, "invalid_value", name, "\"%s\" says something else, expected one of the two",
                         key);
}

static bool check_name(api_body *b, const char *name, const json_t *value) {
    const wire_field *f = wire_find(b->where, name);
    if (f) return check_once(b, f, name, value);
    const char *accepted = NULL;
    switch (api_other_field(b->where, name, value, b->in.json, &accepted)) {
    case API_NEUTRAL: return true;
    case API_REFUSED:
        return api_body_fail(b, "unsupported_parameter", name, "not supported, expected %s", accepted);
    case API_NO_MEMORY: return api_no_memory(b->e);
    default: return check_unknown(b, name);
    }
}

bool api_body_parse(api_body *b, const api_server *s, unsigned where, const char *text, size_t n,
                    serve_error *e) {
    *b = (api_body){.server = s, .where = where, .e = e};
    if (wire_text_deeper(text, n, MAX_DEPTH))
        return serve_fail(e, 400, "invalid_json", NULL, "nested deeper than %d levels", MAX_DEPTH);
    const weir_status st = wire_object_parse(&b->in, text, n, &b->err);
    if (st == WEIR_EFORMAT) return serve_fail(e, 400, "invalid_json", NULL, "%s", b->err.text);
    if (st != WEIR_OK) return api_body_ok(b, st);
    if (json_object_size(b->in.json) > MAX_FIELDS)
        return serve_fail(e, 400, "invalid_value", NULL, "%zu fields, expected at most %d",
                          json_object_size(b->in.json), MAX_FIELDS);
    wire_object_drop_nulls(&b->in);
    return true;
}

bool api_body_open(api_body *b, const api_server *s, unsigned where, const char *text, size_t n,
                   serve_error *e) {
    if (!api_body_parse(b, s, where, text, n, e)) return false;
    const char *key;
    json_t *value;
    json_object_foreach(b->in.json, key, value) {
        if (!check_name(b, key, value)) return false;
    }
    return true;
}

void api_body_free(api_body *b) {
    wire_object_free(&b->in);
    json_decref(b->ignored);
    b->ignored = NULL;
}

/* ---- fields -------------------------------------------------------------------------------------------- */

static const char *key_of(const api_body *b, wire_id id) {
    return wire_key(&b->in, &wire_fields[id], b->where);
}

bool api_body_has(const api_body *b, wire_id id) { return wire_object_has(&b->in, key_of(b, id)); }

bool api_body_flag(api_body *b, wire_id id, bool *out) {
    return api_body_ok(b, wire_read_bool(&b->in, key_of(b, id), out, NULL, &b->err));
}

bool api_body_count(api_body *b, wire_id id, int *out) {
    const wire_range r = wire_range_of(&wire_fields[id], b->where);
    int64_t x = *out;
    const weir_status st =
        wire_read_int(&b->in, key_of(b, id), (int64_t)r.lo, (int64_t)r.hi, &x, NULL, &b->err);
    if (st == WEIR_OK) *out = (int)x;
    return api_body_ok(b, st);
}

bool api_body_text(api_body *b, wire_id id, const char **out, size_t *n) {
    return api_body_ok(b, wire_read_text(&b->in, key_of(b, id), out, n, NULL, &b->err));
}
