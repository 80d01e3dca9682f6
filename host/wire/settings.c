#include "host/wire/settings.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/json.h"
#include "host/wire/nearest.h"

_Static_assert(sizeof(int) == sizeof(int32_t) && sizeof(weir_method) == sizeof(int32_t),
               "members of 32 bits");

void *wire_place(const wire_field *f, weir_session_options *o) { return (char *)o + f->at; }

double wire_get(const wire_field *f, const weir_session_options *o) {
    const void *at = (const char *)o + f->at;
    switch (f->type) {
    case WIRE_BOOL:
    case WIRE_SWITCH: return *(const bool *)at;
    case WIRE_UINT: return (double)*(const uint64_t *)at;
    case WIRE_NUMBER: return (double)*(const float *)at;
    default: return *(const int32_t *)at;
    }
}

void wire_put(const wire_field *f, weir_session_options *o, double x) {
    void *at = wire_place(f, o);
    switch (f->type) {
    case WIRE_BOOL:
    case WIRE_SWITCH: *(bool *)at = x != 0; break;
    case WIRE_UINT: *(uint64_t *)at = (uint64_t)x; break;
    case WIRE_NUMBER: *(float *)at = (float)x; break;
    default: *(int32_t *)at = (int32_t)x;
    }
}

void wire_set_rule(weir_law *law, weir_rule rule) {
    const weir_rule_info *facts = weir_rule_facts(rule);
    law->rule = (int32_t)rule;
    law->alpha = facts->alpha_default;
    law->beta = facts->beta_default;
}

weir_rule wire_rule_of_method(weir_method m) {
    return m == WEIR_METHOD_TOKEN_CASCADE    ? WEIR_RULE_CHOW
           : m == WEIR_METHOD_ORACLE_CASCADE ? WEIR_RULE_DIFF
                                             : WEIR_RULE_EXACT;
}

void wire_set_method(weir_session_options *o, weir_method m) {
    const bool sequential = m == WEIR_METHOD_TOKEN_CASCADE || m == WEIR_METHOD_ORACLE_CASCADE;
    const bool threshold = m == WEIR_METHOD_SEQUENCE_CASCADE || o->method == WEIR_METHOD_SEQUENCE_CASCADE;
    if (m == o->method) return;
    o->method = m;
    if (sequential)
        wire_set_rule(&o->law, wire_rule_of_method(m));
    else if (threshold)
        wire_set_rule(&o->law, (weir_rule)o->law.rule);
}

bool wire_method_has_rule(weir_method m) {
    return m == WEIR_METHOD_SPECULATIVE || m == WEIR_METHOD_TOKEN_CASCADE || m == WEIR_METHOD_ORACLE_CASCADE;
}

bool wire_method_needs_draft(weir_method m) { return m != WEIR_METHOD_VERIFIER; }

/* ---- reading ------------------------------------------------------------------------------------------- */

weir_status wire_check_known(wire_object *in, unsigned where, weir_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(in->json, key, value) {
        if (!wire_find(where, key)) return wire_object_fail(in, key, err, "unknown field");
    }
    return WEIR_OK;
}

const char *wire_key(const wire_object *in, const wire_field *f, unsigned where) {
    const char *first = wire_name(f, where);
    if (!(where & WIRE_HTTP) || wire_object_has(in, first)) return first;
    for (int i = 0; i < 2 && f->also[i]; i++)
        if (wire_object_has(in, f->also[i])) return f->also[i];
    return first;
}

static weir_status read_rule(wire_object *in, const char *key, weir_law *law, weir_err *err) {
    const char *name = NULL;
    size_t n = 0;
    WEIR_TRY(wire_read_text(in, key, &name, &n, NULL, err));
    if (!name) return WEIR_OK;
    const int rule = strlen(name) == n ? weir_rule_parse(name) : -1;
    if (rule < 0) {
        wire_nearest near = {.word = name};
        wire_nearest_rule(&near);
        return wire_object_fail(in, key, err, "unknown rule %.40s%s", name, wire_nearest_hint(&near));
    }
    /* The knobs there were belong to the rule there was. */
    if (rule != law->rule) wire_set_rule(law, (weir_rule)rule);
    return WEIR_OK;
}

static weir_status read_word(wire_object *in, const wire_field *f, const char *key, weir_session_options *o,
                             weir_err *err) {
    const char *word = NULL;
    size_t n = 0;
    WEIR_TRY(wire_read_text(in, key, &word, &n, NULL, err));
    if (!word) return WEIR_OK;
    const int index = strlen(word) == n ? wire_word_index(f->words, word) : -1;
    char expected[200];
    wire_type_text(f, expected, sizeof expected);
    if (index < 0) return wire_object_fail(in, key, err, "expected %s", expected);
    if (f == &wire_fields[WIRE_METHOD])
        wire_set_method(o, (weir_method)index);
    else
        wire_put(f, o, index);
    return WEIR_OK;
}

static weir_status read_number(wire_object *in, const wire_field *f, const char *key, wire_range within,
                               weir_session_options *o, weir_err *err) {
    const json_t *v = json_object_get(in->json, key);
    if (f->words && json_is_string(v) && strcmp(json_string_value(v), f->words) == 0) {
        wire_put(f, o, (double)NAN);
        return WEIR_OK;
    }
    if (f->words && v && !json_is_number(v))
        return wire_object_fail(in, key, err, "expected a number or \"%s\"", f->words);
    double x = 0;
    bool seen = false;
    WEIR_TRY(wire_read_number(in, key, &x, &seen, err));
    if (!seen) return WEIR_OK;
    if (!wire_in_range(within.lo, within.hi, within.lo_open, x)) {
        char range[80];
        wire_range_expected(within.lo, within.hi, within.lo_open, range, sizeof range);
        return wire_object_fail(in, key, err, "%.6g is out of range, expected %s", x, range);
    }
    wire_put(f, o, x);
    return WEIR_OK;
}

static weir_status read_int(wire_object *in, const wire_field *f, const char *key, wire_range within,
                            weir_session_options *o, weir_err *err) {
    int64_t x = (int64_t)wire_get(f, o);
    const json_t *v = json_object_get(in->json, key);
    if (f->words && json_is_string(v) && wire_word_index(f->words, json_string_value(v)) == 0) {
        wire_put(f, o, 0);
        return WEIR_OK;
    }
    WEIR_TRY(wire_read_int(in, key, (int64_t)within.lo, (int64_t)within.hi, &x, NULL, err));
    wire_put(f, o, (double)x);
    return WEIR_OK;
}

/* Over HTTP seeds have 63 bits: -1 is all of 64. */
static weir_status read_uint(wire_object *in, const wire_field *f, const char *key, unsigned where,
                             weir_session_options *o, weir_err *err) {
    uint64_t *place = wire_place(f, o);
    if (!(where & WIRE_HTTP)) return wire_read_uint(in, key, place, NULL, err);
    int64_t x = 0;
    bool seen = false;
    WEIR_TRY(wire_read_int(in, key, -1, INT64_MAX, &x, &seen, err));
    if (seen) *place = (uint64_t)x;
    return WEIR_OK;
}

static wire_range limited(const wire_field *f, unsigned where, const wire_limits *limits) {
    wire_range r = wire_range_of(f, where);
    if (limits && f == &wire_fields[WIRE_MAX_TOKENS] && limits->max_tokens > 0) r.hi = limits->max_tokens;
    if (limits && f == &wire_fields[WIRE_GAMMA] && limits->max_draft > 0) r.hi = limits->max_draft;
    return r;
}

static weir_status read_setting(wire_object *in, const wire_field *f, unsigned where,
                                const wire_limits *limits, weir_session_options *o, weir_err *err) {
    const char *key = wire_key(in, f, where);
    const wire_range within = limited(f, where, limits);
    switch (f->type) {
    case WIRE_BOOL: return wire_read_bool(in, key, wire_place(f, o), NULL, err);
    case WIRE_UINT: return read_uint(in, f, key, where, o, err);
    case WIRE_NAME: return read_rule(in, key, &o->law, err);
    case WIRE_SWITCH:
    case WIRE_CHOICE: return read_word(in, f, key, o, err);
    case WIRE_NUMBER: return read_number(in, f, key, within, o, err);
    default: return read_int(in, f, key, within, o, err);
    }
}

weir_status wire_read_settings(wire_object *in, unsigned where, const wire_limits *limits,
                               weir_session_options *o, weir_err *err) {
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        const wire_field *f = &wire_fields[i];
        if (f->where & where) WEIR_TRY(read_setting(in, f, where, limits, o, err));
    }
    if (where & WIRE_HTTP) {
        if (o->law.top_k < 0) o->law.top_k = 0;
        if (o->law.top_p <= 0) o->law.top_p = FLT_MIN;
    }
    return WEIR_OK;
}

weir_status wire_check_law(wire_object *in, unsigned where, const weir_law *law, weir_err *err) {
    static const wire_id knobs[] = {WIRE_ALPHA, WIRE_BETA};
    const weir_status st = weir_law_check(law, err);
    if (st == WEIR_OK) return st;
    in->failed = wire_name(&wire_fields[st == WEIR_ENOTSUP ? WIRE_BLOCK_VERIFY : WIRE_DEFERRAL_RULE], where);
    for (int i = 0; i < 2 && st == WEIR_EINVAL; i++) {
        const char *key = wire_name(&wire_fields[knobs[i]], where);
        if (wire_object_has(in, key)) in->failed = key;
    }
    return st;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

bool wire_counts(const wire_field *f, const weir_session_options *o) {
    const bool ruled = wire_method_has_rule(o->method), sequence = o->method == WEIR_METHOD_SEQUENCE_CASCADE;
    switch (f->need) {
    case WIRE_IF_RULE: return ruled;
    case WIRE_IF_KNOB: return sequence || (ruled && o->law.rule != WEIR_RULE_EXACT);
    case WIRE_IF_SECOND: return ruled && isfinite(weir_rule_facts((weir_rule)o->law.rule)->beta_default);
    case WIRE_IF_BLOCKS: return o->method == WEIR_METHOD_SPECULATIVE;
    case WIRE_IF_SEQUENCE: return sequence;
    default: return true;
    }
}

static uint64_t uint_of(const wire_field *f, const weir_session_options *o) {
    return *(const uint64_t *)((const char *)o + f->at);
}

/* A number without a sign past 63 bits is beyond most readers of JSON; larger seeds are written as text. */
static json_t *uint_json(uint64_t x) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)x);
    return x <= INT64_MAX ? json_integer((json_int_t)x) : json_string(text);
}

static json_t *word_json(const char *words, int index) {
    int n = 0;
    const char *word = wire_word_at(words, index, &n);
    return word ? json_stringn(word, (size_t)n) : json_null();
}

static json_t *setting_json(const wire_field *f, const weir_session_options *o) {
    const double x = wire_get(f, o);
    switch (f->type) {
    case WIRE_BOOL: return json_boolean(x != 0);
    case WIRE_UINT: return uint_json(uint_of(f, o));
    case WIRE_NAME: return json_string(weir_rule_facts((weir_rule)x)->name);
    case WIRE_SWITCH:
    case WIRE_CHOICE: return word_json(f->words, (int)x);
    case WIRE_NUMBER: return isnan(x) && f->words ? json_string(f->words) : wire_knob((float)x);
    default: return x == 0 && f->words ? word_json(f->words, 0) : json_integer((json_int_t)x);
    }
}

void wire_set_setting(json_t *object, wire_id id, const weir_session_options *o) {
    const wire_field *f = &wire_fields[id];
    wire_set(object, wire_name(f, WIRE_SHORT), wire_counts(f, o) ? setting_json(f, o) : json_null());
}

void wire_set_settings(json_t *object, unsigned where, const weir_session_options *o) {
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        const wire_field *f = &wire_fields[i];
        if (!(f->where & where)) continue;
        const char *key = wire_name(f, where);
        if (wire_counts(f, o)) {
            wire_set(object, key, setting_json(f, o));
        } else if (f->otherwise != WIRE_LEFT_OUT && where != WIRE_LAW) {
            const bool zero = f->otherwise == WIRE_AS_ZERO;
            wire_set(object, key,
                     !zero                  ? json_null()
                     : f->type == WIRE_BOOL ? json_false()
                                            : json_integer(0));
        }
    }
}

json_t *wire_law_json(const weir_law *law) {
    const weir_session_options o = {.method = WEIR_METHOD_SPECULATIVE, .law = *law};
    json_t *object = json_object();
    wire_set_settings(object, WIRE_LAW, &o);
    return object;
}

static int value_text(const wire_field *f, const weir_session_options *o, char *buf, size_t cap) {
    const double x = wire_get(f, o);
    int n = 0;
    const char *word =
        f->words && !isnan(x) && f->type != WIRE_NUMBER ? wire_word_at(f->words, (int)x, &n) : NULL;
    if (word) return snprintf(buf, cap, " %.*s", n, word);
    if (f->type == WIRE_BOOL) return 0; /* it is there because it is true */
    if (f->type == WIRE_NAME) return snprintf(buf, cap, " %s", weir_rule_facts((weir_rule)x)->name);
    if (f->type == WIRE_UINT) return snprintf(buf, cap, " %llu", (unsigned long long)uint_of(f, o));
    if (f->type == WIRE_INT) return snprintf(buf, cap, " %d", (int)x);
    return isnan(x) && f->words ? snprintf(buf, cap, " %s", f->words) : snprintf(buf, cap, " %.6g", x);
}

void wire_settings_text(const weir_session_options *o, char *buf, size_t cap) {
    size_t used = 0;
    buf[0] = '\0';
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        const wire_field *f = &wire_fields[i];
        const double preset = f->preset ? strtod(f->preset, NULL) : 0;
        if (!(f->where & WIRE_LINE) || !wire_counts(f, o) || (f->terse && wire_get(f, o) == preset)) continue;
        char value[64] = "", name[32];
        value_text(f, o, value, sizeof value);
        snprintf(name, sizeof name, "%s", f->line ? f->line : wire_name(f, WIRE_LINE));
        for (char *p = name; *p; p++)
            if (*p == '_') *p = '-';
        const int n = snprintf(buf + used, cap - used, "%s%s%s", used ? ", " : "", name, value);
        used += (size_t)n < cap - used ? (size_t)n : cap - used - 1;
    }
}

bool wire_law_equal(const weir_law *a, const weir_law *b) {
    const weir_session_options x = {.law = *a}, y = {.law = *b};
    for (int i = 0; i < WIRE_N_SETTING; i++) {
        const wire_field *f = &wire_fields[i];
        const double u = wire_get(f, &x), v = wire_get(f, &y);
        if ((f->where & WIRE_LAW) && !(u == v || (isnan(u) && isnan(v)))) return false;
    }
    return true;
}
