#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/jinja/run/eval.h"
#include "host/jinja/values/text.h"

static weir_status put(weir__run *r, weir__buf *b, const char *s) {
    return weir__put(r, b, s, strlen(s), WEIR__BY_TEMPLATE);
}

/* ---- numbers ---------------------------------------------------------------------------------------- */

/* The fewest digits that give the number back, laid out as Python does. */
void weir__print_float(char buf[32], double f) {
    char digits[32], *e = NULL;
    if (isnan(f) || isinf(f)) {
        snprintf(buf, 32, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int p = 0; p < 17; p++) {
        snprintf(digits, sizeof digits, "%.*e", p, fabs(f));
        if (strtod(digits, NULL) == fabs(f)) break;
    }
    e = strchr(digits, 'e');
    const int exponent = (int)strtol(e + 1, NULL, 10);
    char d[20]; /* without the point */
    int n = 0;
    for (const char *p = digits; p < e && n < 18; p++)
        if (*p != '.') d[n++] = *p;
    const char *sign = signbit(f) ? "-" : "";
    if (exponent < -4 || exponent >= 16)
        snprintf(buf, 32, "%s%c%s%.*se%c%02d", sign, d[0], n > 1 ? "." : "", n - 1, d + 1,
                 exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        snprintf(buf, 32, "%s0.%.*s%.*s", sign, -exponent - 1, "0000", n, d);
    else if (n <= exponent + 1)
        snprintf(buf, 32, "%s%.*s%.*s.0", sign, n, d, exponent + 1 - n, "0000000000000000");
    else
        snprintf(buf, 32, "%s%.*s.%.*s", sign, exponent + 1, d, n - exponent - 1, d + exponent + 1);
}

/* ---- repr ------------------------------------------------------------------------------------------- */

/* The escape of a character that repr() does not show, of the writer of the character. */
static weir_status put_escape(weir__run *r, weir__buf *b, uint32_t cp, uint8_t writer) {
    char e[16];
    const char *name = cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : cp == '\t' ? "\\t" : NULL;
    const int n = name           ? snprintf(e, sizeof e, "%s", name)
                  : cp < 0x100   ? snprintf(e, sizeof e, "\\x%02x", cp)
                  : cp < 0x10000 ? snprintf(e, sizeof e, "\\u%04x", cp)
                                 : snprintf(e, sizeof e, "\\U%08x", cp);
    return weir__put(r, b, e, (size_t)n, writer);
}

static weir_status repr_text(weir__run *r, weir__buf *b, const weir__text *t) {
    const bool single = memchr(t->p, '\'', t->n) != NULL, twin = memchr(t->p, '"', t->n) != NULL;
    const char quote = single && !twin ? '"' : '\'';
    uint32_t cp = 0;
    if (t->markup) WEIR_TRY(put(r, b, "Markup("));
    WEIR_TRY(weir__put(r, b, &quote, 1, WEIR__BY_TEMPLATE));
    for (size_t at = 0, k; at < t->n; at += k) {
        k = weir__text_step(t, at, &cp);
        if (cp == (uint32_t)quote || cp == '\\') WEIR_TRY(weir__put(r, b, "\\", 1, weir__writer(t, at)));
        const bool raw = k == 1 && cp >= 0x80; /* no character: stays as it is */
        if (raw || weir__is_printable(cp))
            WEIR_TRY(weir__put_text(r, b, t, at, k));
        else
            WEIR_TRY(put_escape(r, b, cp, weir__writer(t, at)));
    }
    WEIR_TRY(weir__put(r, b, &quote, 1, WEIR__BY_TEMPLATE));
    return t->markup ? put(r, b, ")") : WEIR_OK;
}

static weir_status repr_seq(weir__run *r, weir__buf *b, const weir__value *v) {
    const weir__seq *q = v->as.seq;
    const bool tuple = v->kind == WEIR__TUPLE, view = v->kind >= WEIR__KEYS && v->kind <= WEIR__ITEMS;
    if (view) {
        WEIR_TRY(put(r, b, weir__type_name(v)));
        WEIR_TRY(put(r, b, "("));
    }
    WEIR_TRY(put(r, b, tuple ? "(" : "["));
    for (size_t i = 0; i < q->n; i++) {
        if (i > 0) WEIR_TRY(put(r, b, ", "));
        WEIR_TRY(weir__repr(r, b, &q->at[i]));
    }
    WEIR_TRY(put(r, b, tuple ? (q->n == 1 ? ",)" : ")") : "]"));
    return view ? put(r, b, ")") : WEIR_OK;
}

static weir_status repr_dict(weir__run *r, weir__buf *b, const weir__dict *d) {
    WEIR_TRY(put(r, b, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i > 0) WEIR_TRY(put(r, b, ", "));
        WEIR_TRY(weir__repr(r, b, &d->keys[i]));
        WEIR_TRY(put(r, b, ": "));
        WEIR_TRY(weir__repr(r, b, &d->values[i]));
    }
    return put(r, b, "}");
}

static weir_status repr_small(weir__run *r, weir__buf *b, const weir__value *v) {
    char t[96];
    const weir__seq *q = v->as.seq;
    switch (v->kind) {
    case WEIR__NONE: return put(r, b, "None");
    case WEIR__UNDEFINED: return put(r, b, "Undefined");
    case WEIR__BOOL: return put(r, b, v->as.b ? "True" : "False");
    case WEIR__INT: snprintf(t, sizeof t, "%lld", (long long)v->as.i); break;
    case WEIR__FLOAT: weir__print_float(t, v->as.f); break;
    case WEIR__MACRO:
        if (v->as.macro->name)
            snprintf(t, sizeof t, "<Macro '%.60s'>", v->as.macro->name);
        else
            snprintf(t, sizeof t, "<Macro anonymous>");
        break;
    case WEIR__RANGE:
        if (q->step == 1)
            snprintf(t, sizeof t, "range(%lld, %lld)", (long long)q->start, (long long)q->stop);
        else
            snprintf(t, sizeof t, "range(%lld, %lld, %lld)", (long long)q->start, (long long)q->stop,
                     (long long)q->step);
        break;
    default: snprintf(t, sizeof t, "<%s object>", weir__type_name(v)); /* Python adds an address */
    }
    return put(r, b, t);
}

weir_status weir__repr(weir__run *r, weir__buf *b, const weir__value *v) {
    weir_status st = WEIR_OK;
    WEIR_TRY(weir__charge(r, 1));
    WEIR_TRY(weir__enter(r));
    switch (v->kind) {
    case WEIR__STRING: st = repr_text(r, b, v->as.s); break;
    case WEIR__LIST:
    case WEIR__TUPLE:
    case WEIR__KEYS:
    case WEIR__VALUES:
    case WEIR__ITEMS: st = repr_seq(r, b, v); break;
    case WEIR__DICT: st = repr_dict(r, b, v->as.dict); break;
    case WEIR__NAMESPACE:
        st = put(r, b, "<Namespace ");
        if (st == WEIR_OK) st = repr_dict(r, b, v->as.dict);
        if (st == WEIR_OK) st = put(r, b, ">");
        break;
    default: st = repr_small(r, b, v);
    }
    r->depth--;
    return st;
}

weir_status weir__str(weir__run *r, weir__buf *b, const weir__value *v) {
    if (v->kind == WEIR__STRING) return weir__put_text(r, b, v->as.s, 0, v->as.s->n);
    return v->kind == WEIR__UNDEFINED ? WEIR_OK : weir__repr(r, b, v);
}

weir_status weir__to_text(weir__run *r, const weir__value *v, weir__text **out) {
    weir__buf b = {0};
    weir__value s;
    if (v->kind == WEIR__STRING) {
        *out = v->as.s;
        return WEIR_OK;
    }
    WEIR_TRY(weir__str(r, &b, v));
    WEIR_TRY(weir__buf_value(r, &b, &s));
    *out = s.as.s;
    return WEIR_OK;
}

weir_status weir__repr_value(weir__run *r, const weir__value *v, weir__value *out) {
    weir__buf b = {0};
    WEIR_TRY(weir__repr(r, &b, v));
    return weir__buf_value(r, &b, out);
}

/* ---- HTML ------------------------------------------------------------------------------------------- */

weir_status weir__escape(weir__run *r, const weir__text *t, weir__value *out) {
    weir__buf b = {0};
    for (size_t i = 0; i < t->n; i++) {
        const char c = t->p[i];
        const char *e = t->markup   ? NULL
                        : c == '&'  ? "&amp;"
                        : c == '<'  ? "&lt;"
                        : c == '>'  ? "&gt;"
                        : c == '"'  ? "&#34;"
                        : c == '\'' ? "&#39;"
                                    : NULL;
        WEIR_TRY(e ? weir__put(r, &b, e, strlen(e), weir__writer(t, i)) : weir__put_text(r, &b, t, i, 1));
    }
    WEIR_TRY(weir__charge(r, t->n / 8));
    WEIR_TRY(weir__buf_value(r, &b, out));
    out->as.s->markup = true;
    return WEIR_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static weir_status json_char(weir__run *r, weir__buf *b, uint32_t cp, bool ascii, uint8_t writer,
                             bool *done) {
    static const char names[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    char e[16];
    int n = 0;
    *done = true;
    for (const char *p = names; *p && n == 0; p += 2)
        if ((uint32_t)*p == cp) n = snprintf(e, sizeof e, "\\%c", p[1]);
    if (n == 0 && (cp < 0x20 || (ascii && cp > 0x7e && cp < 0x10000)))
        n = snprintf(e, sizeof e, "\\u%04x", cp);
    if (n == 0 && ascii && cp >= 0x10000)
        n = snprintf(e, sizeof e, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
                     0xdc00 + ((cp - 0x10000) & 0x3ff));
    *done = n > 0;
    return weir__put(r, b, e, (size_t)n, writer);
}

static weir_status json_text(weir__run *r, weir__buf *b, const weir__text *t, bool ascii) {
    uint32_t cp = 0;
    bool done = false;
    WEIR_TRY(put(r, b, "\""));
    for (size_t at = 0, k; at < t->n; at += k) {
        k = weir__text_step(t, at, &cp);
        WEIR_TRY(json_char(r, b, cp, ascii, weir__writer(t, at), &done));
        if (!done) WEIR_TRY(weir__put_text(r, b, t, at, k));
    }
    return put(r, b, "\"");
}

static weir_status json_number(weir__run *r, weir__buf *b, const weir__value *v) {
    if (v->kind == WEIR__BOOL) return put(r, b, v->as.b ? "true" : "false");
    if (v->kind == WEIR__FLOAT && isnan(v->as.f)) return put(r, b, "NaN");
    if (v->kind == WEIR__FLOAT && isinf(v->as.f)) return put(r, b, v->as.f < 0 ? "-Infinity" : "Infinity");
    return weir__repr(r, b, v);
}

static weir_status json_break(weir__run *r, weir__buf *b, const weir__json_style *s, int level) {
    if (!s->indent) return WEIR_OK;
    WEIR_TRY(put(r, b, "\n"));
    for (int i = 0; i < level; i++) WEIR_TRY(weir__put_text(r, b, s->indent, 0, s->indent->n));
    return WEIR_OK;
}

static weir_status json_value(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s,
                              int level);

static weir_status json_list(weir__run *r, weir__buf *b, const weir__seq *q, const weir__json_style *s,
                             int level) {
    if (q->n == 0) return put(r, b, "[]");
    WEIR_TRY(put(r, b, "["));
    for (size_t i = 0; i < q->n; i++) {
        if (i > 0) WEIR_TRY(weir__put_text(r, b, s->item, 0, s->item->n));
        WEIR_TRY(json_break(r, b, s, level + 1));
        WEIR_TRY(json_value(r, b, &q->at[i], s, level + 1));
    }
    WEIR_TRY(json_break(r, b, s, level));
    return put(r, b, "]");
}

static weir_status json_key(weir__run *r, weir__buf *b, const weir__value *k, const weir__json_style *s) {
    if (k->kind == WEIR__STRING) return json_text(r, b, k->as.s, s->ascii);
    if (k->kind != WEIR__NONE && !weir__is_number(k->kind))
        return WEIR__TYPE_ERROR(r, "keys must be str, int, float, bool or None, not %s", weir__type_name(k));
    WEIR_TRY(put(r, b, "\""));
    WEIR_TRY(json_value(r, b, k, s, 0));
    return put(r, b, "\"");
}

/* The order of a dict's items: as they came, or by key. */
static weir_status json_order(weir__run *r, const weir__dict *d, const weir__json_style *s,
                              weir__value **keys, weir__value **values) {
    *keys = d->keys;
    *values = d->values;
    if (!s->sort || d->n == 0) return WEIR_OK;
    weir__value *k = weir__arena_alloc(&r->arena, d->n, sizeof *k),
                *v = weir__arena_alloc(&r->arena, d->n, sizeof *v);
    if (!k || !v) return weir__run_no_memory(r);
    memcpy(k, d->keys, d->n * sizeof *k);
    memcpy(v, d->values, d->n * sizeof *v);
    *keys = k;
    *values = v;
    return weir__sort(r, v, k, d->n, false);
}

static weir_status json_dict(weir__run *r, weir__buf *b, const weir__dict *d, const weir__json_style *s,
                             int level) {
    weir__value *keys = NULL, *values = NULL;
    if (d->n == 0) return put(r, b, "{}");
    WEIR_TRY(json_order(r, d, s, &keys, &values));
    WEIR_TRY(put(r, b, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i > 0) WEIR_TRY(weir__put_text(r, b, s->item, 0, s->item->n));
        WEIR_TRY(json_break(r, b, s, level + 1));
        WEIR_TRY(json_key(r, b, &keys[i], s));
        WEIR_TRY(weir__put_text(r, b, s->key, 0, s->key->n));
        WEIR_TRY(json_value(r, b, &values[i], s, level + 1));
    }
    WEIR_TRY(json_break(r, b, s, level));
    return put(r, b, "}");
}

static weir_status json_value(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s,
                              int level) {
    weir_status st = WEIR_OK;
    WEIR_TRY(weir__charge(r, 1));
    WEIR_TRY(weir__enter(r));
    if (v->kind == WEIR__STRING)
        st = json_text(r, b, v->as.s, s->ascii);
    else if (weir__is_number(v->kind))
        st = json_number(r, b, v);
    else if (v->kind == WEIR__NONE)
        st = put(r, b, "null");
    else if (v->kind == WEIR__LIST || v->kind == WEIR__TUPLE)
        st = json_list(r, b, v->as.seq, s, level);
    else if (v->kind == WEIR__DICT)
        st = json_dict(r, b, v->as.dict, s, level);
    else
        st = WEIR__TYPE_ERROR(r, "Object of type %s is not JSON serializable", weir__type_name(v));
    r->depth--;
    return st;
}

weir_status weir__json(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s) {
    return json_value(r, b, v, s, 0);
}
