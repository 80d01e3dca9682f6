#include "host/jinja/values/format.h"

#include <stdio.h>
#include <string.h>

#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

/* One field: how wide, and how its value is spelled. Both % and format() come down to it. */
typedef struct field {
    char align;       /* '<', '>', '^', '=' after the sign; 0: the default */
    weir__value fill; /* ABSENT: a space */
    char sign;        /* '+', ' ' or 0 */
    bool alternative, thousands;
    int64_t width, precision; /* -1: not given */
    char type;                /* 0: not given */
} field;

enum { WIDEST = 1000000 };

/* The text of a number, without its sign, into buf; *minus. */
static weir_status spell_number(weir__run *r, const weir__value *v, const field *f, char buf[512],
                                bool *minus) {
    const bool whole = v->kind == WEIR__INT || v->kind == WEIR__BOOL;
    const int64_t i = v->kind == WEIR__INT ? v->as.i : v->kind == WEIR__BOOL ? v->as.b : 0;
    const unsigned long long u = i < 0 ? 0 - (unsigned long long)i : (unsigned long long)i;
    const double real = whole ? (double)i : v->as.f;
    const int precision = f->precision < 0 ? 6 : f->precision > 100 ? 100 : (int)f->precision;
    *minus = whole ? i < 0 : __builtin_signbit(real) != 0;
    switch (f->type) {
    case 'd': snprintf(buf, 512, "%llu", u); return WEIR_OK;
    case 'x': snprintf(buf, 512, f->alternative ? "0x%llx" : "%llx", u); return WEIR_OK;
    case 'X': snprintf(buf, 512, f->alternative ? "0X%llX" : "%llX", u); return WEIR_OK;
    case 'o': snprintf(buf, 512, f->alternative ? "0o%llo" : "%llo", u); return WEIR_OK;
    case 'f':
    case 'F': snprintf(buf, 512, "%.*f", precision, __builtin_fabs(real)); return WEIR_OK;
    case 'e': snprintf(buf, 512, "%.*e", precision, __builtin_fabs(real)); return WEIR_OK;
    case 'E': snprintf(buf, 512, "%.*E", precision, __builtin_fabs(real)); return WEIR_OK;
    case 'g': snprintf(buf, 512, "%.*g", precision, __builtin_fabs(real)); return WEIR_OK;
    case 'G': snprintf(buf, 512, "%.*G", precision, __builtin_fabs(real)); return WEIR_OK;
    case '%': snprintf(buf, 512, "%.*f%%", precision, __builtin_fabs(real) * 100); return WEIR_OK;
    default: return weir__run_raise(r, WEIR_ENOTSUP, "the format '%c' is not supported", f->type);
    }
}

static void add_thousands(char buf[512]) {
    const size_t digits = strspn(buf, "0123456789"), n = strlen(buf),
                 commas = digits > 0 ? (digits - 1) / 3 : 0;
    if (n + commas >= 512) return;
    memmove(buf + digits + commas, buf + digits, n - digits + 1);
    size_t to = digits + commas;
    for (size_t from = digits, k = 0; from > 0; k++) {
        if (k > 0 && k % 3 == 0) buf[--to] = ',';
        buf[--to] = buf[--from];
    }
}

static weir_status pad(weir__run *r, weir__buf *b, const field *f, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (f->fill.kind == WEIR__STRING)
            WEIR_TRY(weir__buf_put_text(r, b, f->fill.as.s, 0, f->fill.as.s->n));
        else
            WEIR_TRY(weir__buf_put(r, b, " ", 1, WEIR__BY_TEMPLATE));
        WEIR_TRY(weir__run_charge(r, 1));
    }
    return WEIR_OK;
}

static weir_status put_padded(weir__run *r, weir__buf *b, const field *f, weir__text *t, const char *sign,
                              char align) {
    const int64_t length = (int64_t)(weir__text_length(t) + strlen(sign)),
                  space = f->width > length ? f->width - length : 0;
    const int64_t left = align == '>'   ? space
                         : align == '^' ? space / 2
                                        : 0,
                  inner = align == '=' ? space : 0;
    WEIR_TRY(pad(r, b, f, left));
    WEIR_TRY(weir__buf_put(r, b, sign, strlen(sign), WEIR__BY_TEMPLATE));
    WEIR_TRY(pad(r, b, f, inner));
    WEIR_TRY(weir__buf_put_text(r, b, t, 0, t->n));
    return pad(r, b, f, space - left - inner);
}

static weir_status put_number(weir__run *r, weir__buf *b, const field *f, const weir__value *v) {
    char buf[512];
    bool minus = false;
    WEIR_TRY(spell_number(r, v, f, buf, &minus));
    if (f->thousands) add_thousands(buf);
    weir__text t = {.p = buf, .n = strlen(buf), .n_char = SIZE_MAX, .writer = WEIR__BY_TEMPLATE};
    const char sign[2] = {minus ? '-' : f->sign, '\0'};
    return put_padded(r, b, f, &t, sign, f->align ? f->align : '>');
}

static weir_status put_string(weir__run *r, weir__buf *b, const field *f, weir__text *t, char align) {
    weir__value cut = {.kind = WEIR__STRING, .as.s = t};
    if (f->precision >= 0) {
        const weir__value bounds[3] = {weir__none(), weir__int(f->precision), weir__none()};
        WEIR_TRY(weir__value_slice(r, cut, bounds, &cut));
    }
    return put_padded(r, b, f, cut.as.s, "", align);
}

/* ---- % ---------------------------------------------------------------------------------------------- */

typedef struct percent {
    const weir__text *format;
    size_t at;
    const weir__value *args;
    size_t used; /* of a tuple's, or 1 of a single one */
} percent;

static weir_status next_arg(weir__run *r, percent *p, weir__value *out) {
    const bool tuple = p->args->kind == WEIR__TUPLE;
    const size_t n = tuple ? p->args->as.seq->n : 1;
    if (p->used >= n) return WEIR__TYPE_ERROR(r, "not enough arguments for format string");
    *out = tuple ? p->args->as.seq->at[p->used] : *p->args;
    p->used++;
    return WEIR_OK;
}

static char peek(const percent *p) { return p->at < p->format->n ? p->format->p[p->at] : 0; }

static weir_status read_number(weir__run *r, percent *p, int64_t *out) {
    weir__value v = weir__none();
    if (peek(p) == '*') {
        p->at++;
        WEIR_TRY(next_arg(r, p, &v));
        if (v.kind != WEIR__INT) return WEIR__TYPE_ERROR(r, "* wants int");
        *out = v.as.i;
    }
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        *out = (*out < 0 ? 0 : *out) * 10 + (peek(p) - '0');
        if (*out > WIDEST) return weir__run_raise(r, WEIR_ENOTSUP, "a field wider than %d", WIDEST);
    }
    if (*out > WIDEST) return weir__run_raise(r, WEIR_ENOTSUP, "a field wider than %d", WIDEST);
    return WEIR_OK;
}

/* "(name)", the value of that key. */
static weir_status read_key(weir__run *r, percent *p, weir__value *out, bool *named) {
    const weir__text *t = p->format;
    weir__value key;
    *named = peek(p) == '(';
    if (!*named) return WEIR_OK;
    const char *end = memchr(t->p + p->at, ')', t->n - p->at);
    if (!end) return weir__run_raise(r, WEIR_EINVAL, "incomplete format key");
    if (p->args->kind != WEIR__DICT) return WEIR__TYPE_ERROR(r, "format requires a mapping");
    const size_t from = p->at + 1, n = (size_t)(end - t->p) - from;
    WEIR_TRY(weir__text_part(r, t, from, n, &key));
    const weir__value *v = weir__dict_find(r, p->args->as.dict, key);
    if (!v) return weir__run_raise(r, WEIR_EINVAL, "'%.*s'", weir__clip(n), t->p + from);
    *out = *v;
    p->at = from + n + 1;
    return WEIR_OK;
}

static weir_status percent_number(weir__run *r, weir__buf *b, field *f, const weir__value *v) {
    const bool real = strchr("eEfFgG", f->type) != NULL;
    weir__value n = *v;
    if (v->kind == WEIR__UNDEFINED && real) return weir__fail_undefined(r, *v);
    if (!weir__is_number(v->kind) && real)
        return WEIR__TYPE_ERROR(r, "must be real number, not %s", weir__type_name(v));
    if (!weir__is_number(v->kind))
        return WEIR__TYPE_ERROR(r, "%%%c format: %s is required, not %s", f->type,
                                f->type == 'd' || f->type == 'i' || f->type == 'u' ? "a real number"
                                                                                   : "an integer",
                                weir__type_name(v));
    if (!real && v->kind == WEIR__FLOAT) n = weir__int((int64_t)v->as.f);
    if (f->type == 'i' || f->type == 'u') f->type = 'd';
    return put_number(r, b, f, &n);
}

static weir_status percent_char(weir__run *r, weir__buf *b, const field *f, const weir__value *v) {
    if (v->kind != WEIR__STRING || weir__text_length(v->as.s) != 1)
        return weir__run_raise(r, WEIR_ENOTSUP, "%%c of anything but one character is not supported");
    return put_string(r, b, f, v->as.s, f->align == '<' ? '<' : '>');
}

static weir_status percent_field(weir__run *r, weir__buf *b, percent *p) {
    field f = {.width = -1, .precision = -1};
    weir__value v, zero;
    weir__text *t = NULL;
    bool named = false;
    WEIR_TRY(read_key(r, p, &v, &named));
    WEIR_TRY(weir__value_literal(r, "0", &zero));
    for (; peek(p) && strchr("-+ #0", peek(p)); p->at++) {
        const char c = peek(p);
        if (c == '-') f.align = '<';
        if (c == '+' || (c == ' ' && !f.sign)) f.sign = c;
        if (c == '#') f.alternative = true;
        if (c == '0') f.fill = zero;
    }
    WEIR_TRY(read_number(r, p, &f.width));
    if (peek(p) == '.') {
        p->at++;
        f.precision = 0;
        WEIR_TRY(read_number(r, p, &f.precision));
    }
    f.type = peek(p);
    if (!f.type) return weir__run_raise(r, WEIR_EINVAL, "incomplete format");
    p->at++;
    if (f.type == '%') return weir__buf_put(r, b, "%", 1, WEIR__BY_TEMPLATE);
    if (!named) WEIR_TRY(next_arg(r, p, &v));
    if (strchr("diuxXoeEfFgG", f.type)) {
        if (f.fill.kind == WEIR__STRING && f.align != '<')
            f.align = '=';
        else
            f.fill.kind = WEIR__ABSENT;
        return percent_number(r, b, &f, &v);
    }
    f.fill.kind = WEIR__ABSENT;
    if (f.type == 'c') return percent_char(r, b, &f, &v);
    if (f.type != 's' && f.type != 'r')
        return weir__run_raise(r, WEIR_EINVAL, "unsupported format character '%c' (0x%x) at index %zu",
                               f.type, (unsigned)f.type, p->at - 1);
    if (f.type == 'r') WEIR_TRY(weir__value_repr_text(r, &v, &v));
    WEIR_TRY(weir__value_text(r, &v, &t));
    return put_string(r, b, &f, t, f.align == '<' ? '<' : '>');
}

/* What Python takes for a mapping there, of which nothing need be used. */
static bool has_items(weir__kind k) {
    return k == WEIR__DICT || k == WEIR__LIST || k == WEIR__RANGE || k == WEIR__UNDEFINED;
}

weir_status weir__format_percent(weir__run *r, const weir__text *format, const weir__value *args,
                                 weir__value *out) {
    percent p = {.format = format, .args = args};
    weir__buf b = {0};
    while (p.at < format->n) {
        const char *end = memchr(format->p + p.at, '%', format->n - p.at);
        const size_t n = (end ? (size_t)(end - format->p) : format->n) - p.at;
        WEIR_TRY(weir__buf_put_text(r, &b, format, p.at, n));
        p.at += n + 1;
        if (!end) break;
        WEIR_TRY(weir__run_charge(r, 1));
        WEIR_TRY(percent_field(r, &b, &p));
    }
    const bool tuple = args->kind == WEIR__TUPLE, mapping = has_items(args->kind);
    if ((tuple && p.used < args->as.seq->n) || (!tuple && !mapping && p.used == 0))
        return WEIR__TYPE_ERROR(r, "not all arguments converted during string formatting");
    return weir__buf_value(r, &b, out);
}

/* ---- format() --------------------------------------------------------------------------------------- */

typedef struct braces {
    const weir__text *t;
    const weir__args *a;
    size_t at;
    int64_t automatic; /* fields without a number so far; -1: fields have numbers */
} braces;

static weir_status field_value(weir__run *r, braces *p, size_t from, size_t n, weir__value *out) {
    const char *s = p->t->p + from;
    int64_t index = 0;
    size_t k = 0;
    while (k < n && s[k] >= '0' && s[k] <= '9' && k < 6) index = index * 10 + (s[k++] - '0');
    if (n == 0 || k == n) {
        if (n == 0 && p->automatic < 0)
            return weir__run_raise(
                r, WEIR_EINVAL, "cannot switch from manual field specification to automatic field numbering");
        if (n > 0 && p->automatic > 0)
            return weir__run_raise(
                r, WEIR_EINVAL, "cannot switch from manual field specification to automatic field numbering");
        if (n == 0)
            index = p->automatic++;
        else
            p->automatic = -1;
        if ((uint64_t)index + 1 >= p->a->n)
            return weir__run_raise(r, WEIR_EINVAL, "tuple index out of range");
        *out = p->a->at[1 + index];
        return WEIR_OK;
    }
    for (size_t i = 0; i < p->a->n_named; i++) {
        const weir__text *name = p->a->names[i].as.s;
        if (name->n != n || memcmp(name->p, s, n) != 0) continue;
        *out = p->a->named[i];
        return WEIR_OK;
    }
    return weir__run_raise(r, WEIR_EINVAL, "'%.*s'", weir__clip(n), s);
}

/* name.attribute[item]… */
static weir_status field_path(weir__run *r, braces *p, size_t from, size_t upto, weir__value *out) {
    const char *s = p->t->p;
    size_t end = from;
    while (end < upto && s[end] != '.' && s[end] != '[') end++;
    WEIR_TRY(field_value(r, p, from, end - from, out));
    while (end < upto) {
        const bool item = s[end++] == '[';
        const size_t begin = end;
        while (end < upto && (item ? s[end] != ']' : s[end] != '.' && s[end] != '[')) end++;
        if (end == begin || (item && end == upto))
            return weir__run_raise(r, WEIR_EINVAL, "Empty attribute in format string");
        if (!item) {
            WEIR_TRY(weir__getattr(r, *out, s + begin, end - begin, out));
            continue;
        }
        int64_t i = 0;
        bool digits = end - begin < 10;
        for (size_t k = begin; k < end; k++) {
            digits &= s[k] >= '0' && s[k] <= '9';
            if (digits) i = i * 10 + (s[k] - '0');
        }
        weir__value key = weir__int(i);
        if (!digits) WEIR_TRY(weir__text_part(r, p->t, begin, end - begin, &key));
        WEIR_TRY(weir__getitem(r, *out, key, out));
        end++;
    }
    return WEIR_OK;
}

static bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

static weir_status read_spec(weir__run *r, const weir__text *t, size_t at, size_t upto, field *f) {
    uint32_t cp = 0;
    const size_t k = at < upto ? weir__text_step(t, at, &cp) : 0;
    if (k > 0 && at + k < upto && is_align(t->p[at + k])) {
        WEIR_TRY(weir__text_part(r, t, at, k, &f->fill));
        f->align = t->p[at + k];
        at += k + 1;
    } else if (k > 0 && is_align(t->p[at])) {
        f->align = t->p[at++];
    }
    if (at < upto && strchr("+- ", t->p[at])) f->sign = t->p[at++] == '-' ? 0 : t->p[at - 1];
    if (at < upto && t->p[at] == '#') f->alternative = at++ < upto;
    if (at < upto && t->p[at] == '0' && !f->align) {
        WEIR_TRY(weir__text_part(r, t, at++, 1, &f->fill));
        f->align = '=';
    }
    for (; at < upto && t->p[at] >= '0' && t->p[at] <= '9' && f->width < WIDEST; at++)
        f->width = (f->width < 0 ? 0 : f->width) * 10 + (t->p[at] - '0');
    if (at < upto && t->p[at] == ',') f->thousands = at++ < upto;
    if (at < upto && t->p[at] == '.')
        for (at++, f->precision = 0; at < upto && t->p[at] >= '0' && t->p[at] <= '9' && f->precision < WIDEST;
             at++)
            f->precision = f->precision * 10 + (t->p[at] - '0');
    if (at < upto) f->type = t->p[at++];
    return at == upto ? WEIR_OK : weir__run_raise(r, WEIR_EINVAL, "Invalid format specifier");
}

static weir_status put_field(weir__run *r, weir__buf *b, field *f, const weir__value *v) {
    weir__text *s = NULL;
    if (weir__is_number(v->kind) && v->kind != WEIR__BOOL && f->type) return put_number(r, b, f, v);
    if (v->kind == WEIR__INT) {
        f->type = 'd';
        return put_number(r, b, f, v);
    }
    if (f->type && f->type != 's')
        return weir__run_raise(r, WEIR_EINVAL, "Unknown format code '%c' for object of type '%s'", f->type,
                               weir__type_name(v));
    WEIR_TRY(weir__value_text(r, v, &s));
    return put_string(r, b, f, s, f->align ? f->align : weir__is_number(v->kind) ? '>' : '<');
}

/* What stands between two braces. */
static weir_status put_braces(weir__run *r, weir__buf *b, braces *p, size_t from, size_t upto) {
    const char *s = p->t->p;
    field f = {.width = -1, .precision = -1};
    weir__value v;
    size_t path = from;
    while (path < upto && s[path] != '!' && s[path] != ':') path++;
    WEIR_TRY(field_path(r, p, from, path, &v));
    if (path < upto && s[path] == '!') {
        const char how = path + 1 < upto ? s[path + 1] : 0;
        weir__text *t = NULL;
        if (how != 's' && how != 'r')
            return weir__run_raise(r, WEIR_EINVAL, "Unknown conversion specifier '%c'", how ? how : ' ');
        if (how == 'r') WEIR_TRY(weir__value_repr_text(r, &v, &v));
        WEIR_TRY(weir__value_text(r, &v, &t));
        v = (weir__value){.kind = WEIR__STRING, .as.s = t};
        path += 2;
    }
    if (path < upto && s[path] != ':')
        return weir__run_raise(r, WEIR_EINVAL, "expected ':' after conversion specifier");
    if (path < upto) WEIR_TRY(read_spec(r, p->t, path + 1, upto, &f));
    return put_field(r, b, &f, &v);
}

weir_status weir__format_method(weir__run *r, const weir__args *a, weir__value *out) {
    braces p = {.t = a->at[0].as.s, .a = a};
    weir__buf b = {0};
    const char *s = p.t->p;
    for (size_t at = 0; at < p.t->n;) {
        const bool twice = at + 1 < p.t->n && s[at + 1] == s[at];
        WEIR_TRY(weir__run_charge(r, 1));
        if ((s[at] != '{' && s[at] != '}') || twice) {
            WEIR_TRY(weir__buf_put_text(r, &b, p.t, at, 1));
            at += s[at] == '{' || s[at] == '}' ? 2 : 1;
            continue;
        }
        if (s[at] == '}') return weir__run_raise(r, WEIR_EINVAL, "Single '}' encountered in format string");
        size_t end = at + 1;
        while (end < p.t->n && s[end] != '}' && s[end] != '{') end++;
        if (end == p.t->n)
            return weir__run_raise(r, WEIR_EINVAL,
                                   at + 1 == end ? "Single '{' encountered in format string"
                                                 : "expected '}' before end of string");
        if (s[end] == '{')
            return weir__run_raise(r, WEIR_ENOTSUP, "fields inside format specifications are not supported");
        WEIR_TRY(put_braces(r, &b, &p, at + 1, end));
        at = end + 1;
    }
    return weir__buf_value(r, &b, out);
}
