#include "host/jinja/values/print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/jinja/values/objects.h"
#include "host/jinja/values/text.h"

/* ---- numbers ---------------------------------------------------------------------------------------- */

/* The fewest digits that give the number back, laid out as Python does. */
static void print_float(char buf[32], double f) {
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
    return weir__buf_put(r, b, e, (size_t)n, writer);
}

static weir_status repr_text(weir__run *r, weir__buf *b, const weir__text *t) {
    const bool single = memchr(t->p, '\'', t->n) != NULL, twin = memchr(t->p, '"', t->n) != NULL;
    const char quote = single && !twin ? '"' : '\'';
    uint32_t cp = 0;
    if (t->markup) WEIR_TRY(weir__buf_put_literal(r, b, "Markup("));
    WEIR_TRY(weir__buf_put(r, b, &quote, 1, WEIR__BY_TEMPLATE));
    for (size_t at = 0, k; at < t->n; at += k) {
        k = weir__text_step(t, at, &cp);
        if (cp == (uint32_t)quote || cp == '\\') WEIR_TRY(weir__buf_put(r, b, "\\", 1, weir__writer(t, at)));
        const bool raw = k == 1 && cp >= 0x80; /* no character: stays as it is */
        if (raw || weir__is_printable(cp))
            WEIR_TRY(weir__buf_put_text(r, b, t, at, k));
        else
            WEIR_TRY(put_escape(r, b, cp, weir__writer(t, at)));
    }
    WEIR_TRY(weir__buf_put(r, b, &quote, 1, WEIR__BY_TEMPLATE));
    return t->markup ? weir__buf_put_literal(r, b, ")") : WEIR_OK;
}

static weir_status repr_seq(weir__run *r, weir__buf *b, const weir__value *v) {
    const weir__seq *q = v->as.seq;
    const bool tuple = v->kind == WEIR__TUPLE, view = v->kind >= WEIR__KEYS && v->kind <= WEIR__ITEMS;
    if (view) {
        WEIR_TRY(weir__buf_put_literal(r, b, weir__type_name(v)));
        WEIR_TRY(weir__buf_put_literal(r, b, "("));
    }
    WEIR_TRY(weir__buf_put_literal(r, b, tuple ? "(" : "["));
    for (size_t i = 0; i < q->n; i++) {
        if (i > 0) WEIR_TRY(weir__buf_put_literal(r, b, ", "));
        WEIR_TRY(weir__value_repr(r, b, &q->at[i]));
    }
    WEIR_TRY(weir__buf_put_literal(r, b, tuple ? (q->n == 1 ? ",)" : ")") : "]"));
    return view ? weir__buf_put_literal(r, b, ")") : WEIR_OK;
}

static weir_status repr_dict(weir__run *r, weir__buf *b, const weir__dict *d) {
    WEIR_TRY(weir__buf_put_literal(r, b, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i > 0) WEIR_TRY(weir__buf_put_literal(r, b, ", "));
        WEIR_TRY(weir__value_repr(r, b, &d->keys[i]));
        WEIR_TRY(weir__buf_put_literal(r, b, ": "));
        WEIR_TRY(weir__value_repr(r, b, &d->values[i]));
    }
    return weir__buf_put_literal(r, b, "}");
}

static weir_status repr_small(weir__run *r, weir__buf *b, const weir__value *v) {
    char t[96];
    const weir__seq *q = v->as.seq;
    switch (v->kind) {
    case WEIR__NONE: return weir__buf_put_literal(r, b, "None");
    case WEIR__UNDEFINED: return weir__buf_put_literal(r, b, "Undefined");
    case WEIR__BOOL: return weir__buf_put_literal(r, b, v->as.b ? "True" : "False");
    case WEIR__INT: snprintf(t, sizeof t, "%lld", (long long)v->as.i); break;
    case WEIR__FLOAT: print_float(t, v->as.f); break;
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
    return weir__buf_put_literal(r, b, t);
}

weir_status weir__value_repr(weir__run *r, weir__buf *b, const weir__value *v) {
    weir_status st = WEIR_OK;
    WEIR_TRY(weir__run_charge(r, 1));
    WEIR_TRY(weir__run_enter(r));
    switch (v->kind) {
    case WEIR__STRING: st = repr_text(r, b, v->as.s); break;
    case WEIR__LIST:
    case WEIR__TUPLE:
    case WEIR__KEYS:
    case WEIR__VALUES:
    case WEIR__ITEMS: st = repr_seq(r, b, v); break;
    case WEIR__DICT: st = repr_dict(r, b, v->as.dict); break;
    case WEIR__NAMESPACE:
        st = weir__buf_put_literal(r, b, "<Namespace ");
        if (st == WEIR_OK) st = repr_dict(r, b, v->as.dict);
        if (st == WEIR_OK) st = weir__buf_put_literal(r, b, ">");
        break;
    default: st = repr_small(r, b, v);
    }
    r->depth--;
    return st;
}

weir_status weir__value_str(weir__run *r, weir__buf *b, const weir__value *v) {
    if (v->kind == WEIR__STRING) return weir__buf_put_text(r, b, v->as.s, 0, v->as.s->n);
    return v->kind == WEIR__UNDEFINED ? WEIR_OK : weir__value_repr(r, b, v);
}

weir_status weir__value_text(weir__run *r, const weir__value *v, weir__text **out) {
    weir__buf b = {0};
    weir__value s;
    if (v->kind == WEIR__STRING) {
        *out = v->as.s;
        return WEIR_OK;
    }
    WEIR_TRY(weir__value_str(r, &b, v));
    WEIR_TRY(weir__buf_value(r, &b, &s));
    *out = s.as.s;
    return WEIR_OK;
}

weir_status weir__value_repr_text(weir__run *r, const weir__value *v, weir__value *out) {
    weir__buf b = {0};
    WEIR_TRY(weir__value_repr(r, &b, v));
    return weir__buf_value(r, &b, out);
}

/* ---- HTML ------------------------------------------------------------------------------------------- */

weir_status weir__value_escape(weir__run *r, const weir__text *t, weir__value *out) {
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
        WEIR_TRY(e ? weir__buf_put(r, &b, e, strlen(e), weir__writer(t, i))
                   : weir__buf_put_text(r, &b, t, i, 1));
    }
    WEIR_TRY(weir__run_charge(r, t->n / 8));
    WEIR_TRY(weir__buf_value(r, &b, out));
    out->as.s->markup = true;
    return WEIR_OK;
}

/* ---- undefined ------------------------------------------------------------------------------------- */

/* jinja2's object_type_repr: classes of its own come with their module. */
static void type_repr(const weir__value *v, char *buf, size_t cap) {
    static const struct {
        weir__kind kind;
        const char *module;
    } modules[] = {{WEIR__NAMESPACE, "jinja2.utils."}, {WEIR__CYCLER, "jinja2.utils."},
                   {WEIR__JOINER, "jinja2.utils."},    {WEIR__LOOP, "jinja2.runtime."},
                   {WEIR__MACRO, "jinja2.runtime."},   {WEIR__UNDEFINED, "jinja2.runtime."}};
    const char *module = "";
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (v->kind == modules[i].kind) module = modules[i].module;
    if (v->kind == WEIR__NONE)
        snprintf(buf, cap, "None");
    else
        snprintf(buf, cap, "%s%s object", module, weir__type_name(v));
}

weir_status weir__fail_undefined(weir__run *r, weir__value v) {
    const weir__undef *u = v.as.undef;
    char type[64];
    if (u->hint) return weir__run_raise(r, WEIR_EINVAL, "%s", u->hint);
    weir__buf b = {0};
    WEIR_TRY(weir__value_repr(r, &b, &u->name));
    const int n = b.n < 300 ? (int)b.n : 300;
    if (u->of.kind == WEIR__ABSENT) return weir__run_raise(r, WEIR_EINVAL, "%.*s is undefined", n, b.p);
    type_repr(&u->of, type, sizeof type);
    if (u->name.kind == WEIR__STRING)
        return weir__run_raise(r, WEIR_EINVAL, "'%s' has no attribute %.*s", type, n, b.p);
    return weir__run_raise(r, WEIR_EINVAL, "%s has no element %.*s", type, n, b.p);
}
