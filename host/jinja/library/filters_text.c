#include <string.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/format.h"
#include "host/jinja/values/json.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

/* Filters that make texts. */

static weir_status subject(weir__run *r, const weir__args *a, weir__text **out) {
    return weir__value_text(r, &a->at[0], out);
}

static weir_status recased(weir__run *r, const weir__args *a, weir__casing how, weir__value *out) {
    weir__text *t = NULL;
    WEIR_TRY(subject(r, a, &t));
    return weir__text_recase(r, t, how, out);
}

static weir_status f_upper(weir__run *r, const weir__args *a, weir__value *out) {
    return recased(r, a, WEIR__UPPER, out);
}
static weir_status f_lower(weir__run *r, const weir__args *a, weir__value *out) {
    return recased(r, a, WEIR__LOWER, out);
}
static weir_status f_capitalize(weir__run *r, const weir__args *a, weir__value *out) {
    return recased(r, a, WEIR__CAPITALIZE, out);
}

/* Words begin after white space, - and opening brackets. */
static weir_status f_title(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    weir__buf b = {0};
    uint32_t cp = 0;
    bool inside = false;
    WEIR_TRY(subject(r, a, &t));
    for (size_t at = 0, k; at < t->n; at += k) {
        k = weir__text_step(t, at, &cp);
        WEIR_TRY(weir__put_cased(r, &b, t, at, k, inside ? WEIR__LOWER : WEIR__UPPER));
        inside = !(weir__is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<');
    }
    return weir__buf_value(r, &b, out);
}

static weir_status f_trim(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL, *chars = NULL;
    WEIR_TRY(subject(r, a, &t));
    if (weir__arg_given(a, 1)) WEIR_TRY(weir__arg_text(r, a, 1, &chars));
    return weir__text_strip(r, t, chars, true, true, out);
}

static weir_status f_replace(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL, *old = NULL, *with = NULL;
    int64_t count = -1;
    WEIR_TRY(subject(r, a, &t));
    WEIR_TRY(weir__value_text(r, &a->at[1], &old));
    WEIR_TRY(weir__value_text(r, &a->at[2], &with));
    if (weir__arg_given(a, 3)) WEIR_TRY(weir__arg_int(r, a, 3, &count));
    return weir__text_replace(r, t, old, with, count, out);
}

static weir_status f_string(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    WEIR_TRY(subject(r, a, &t));
    *out = (weir__value){.kind = WEIR__STRING, .as.s = t};
    return WEIR_OK;
}

static weir_status f_safe(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    WEIR_TRY(subject(r, a, &t));
    WEIR_TRY(weir__text_part(r, t, 0, t->n, out));
    out->as.s->markup = true;
    return WEIR_OK;
}

static weir_status f_escape(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    WEIR_TRY(subject(r, a, &t));
    return weir__value_escape(r, t, out);
}

static weir_status f_forceescape(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    weir__value plain;
    WEIR_TRY(subject(r, a, &t));
    WEIR_TRY(weir__text_part(r, t, 0, t->n, &plain));
    plain.as.s->markup = false;
    return weir__value_escape(r, plain.as.s, out);
}

static weir_status f_format(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    weir__value v;
    WEIR_TRY(subject(r, a, &t));
    if (a->n > 1 && a->n_named > 0)
        return weir__run_raise(r, WEIR_EINVAL,
                               "can't handle positional and keyword arguments at the same time");
    if (a->n_named > 0) {
        WEIR_TRY(weir__dict_new(r, WEIR__DICT, &v));
        for (size_t i = 0; i < a->n_named; i++)
            WEIR_TRY(weir__dict_put(r, v.as.dict, a->names[i], a->named[i]));
    } else {
        WEIR_TRY(weir__value_list(r, WEIR__TUPLE, a->n - 1, &v));
        if (a->n > 1) memcpy(v.as.seq->at, a->at + 1, (a->n - 1) * sizeof *a->at);
    }
    return weir__format_percent(r, t, &v, out);
}

/* ---- layout ----------------------------------------------------------------------------------------- */

static weir_status spaces(weir__run *r, weir__buf *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) WEIR_TRY(weir__buf_put(r, b, " ", 1, WEIR__BY_TEMPLATE));
    return n > 0 ? weir__run_charge(r, (size_t)n / 8) : WEIR_OK;
}

static weir_status f_center(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    weir__buf b = {0};
    int64_t width = 80;
    WEIR_TRY(subject(r, a, &t));
    WEIR_TRY(weir__arg_int(r, a, 1, &width));
    const int64_t pad = width - (int64_t)weir__text_length(t),
                  left = pad > 0 ? pad / 2 + (pad & width & 1) : 0;
    WEIR_TRY(spaces(r, &b, left));
    WEIR_TRY(weir__buf_put_text(r, &b, t, 0, t->n));
    WEIR_TRY(spaces(r, &b, pad - left));
    return weir__buf_value(r, &b, out);
}

/* Lines after the first get an indent, empty ones only where `blank`. A line break is added at the end
 * first, as jinja2 does. */
static weir_status f_indent(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL, *indent = NULL;
    weir__buf b = {0}, pad = {0};
    weir__value lines, v;
    int64_t width = 4;
    const bool first = weir__arg_bool(a, 2, false), blank = weir__arg_bool(a, 3, false);
    if (a->at[0].kind == WEIR__UNDEFINED) return weir__fail_undefined(r, a->at[0]);
    if (a->at[0].kind != WEIR__STRING)
        return WEIR__TYPE_ERROR(r, "unsupported operand type(s) for +=: '%s' and 'str'",
                                weir__type_name(&a->at[0]));
    t = a->at[0].as.s;
    if (a->at[1].kind == WEIR__STRING) {
        indent = a->at[1].as.s;
    } else {
        WEIR_TRY(weir__arg_int(r, a, 1, &width));
        WEIR_TRY(spaces(r, &pad, width));
        WEIR_TRY(weir__buf_value(r, &pad, &v));
        indent = v.as.s;
    }
    WEIR_TRY(weir__buf_put_text(r, &b, t, 0, t->n));
    WEIR_TRY(weir__buf_put(r, &b, "\n", 1, WEIR__BY_TEMPLATE));
    WEIR_TRY(weir__buf_value(r, &b, &v));
    WEIR_TRY(weir__text_splitlines(r, v.as.s, false, &lines));
    b = (weir__buf){0};
    for (size_t i = 0; i < lines.as.seq->n; i++) {
        const weir__text *line = lines.as.seq->at[i].as.s;
        if (i > 0) WEIR_TRY(weir__buf_put(r, &b, "\n", 1, WEIR__BY_TEMPLATE));
        if (i == 0 ? first : blank || line->n > 0) WEIR_TRY(weir__buf_put_text(r, &b, indent, 0, indent->n));
        WEIR_TRY(weir__buf_put_text(r, &b, line, 0, line->n));
    }
    return weir__buf_value(r, &b, out);
}

static weir_status f_wordcount(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    uint32_t cp = 0;
    int64_t n = 0;
    bool inside = false;
    WEIR_TRY(subject(r, a, &t));
    for (size_t at = 0; at < t->n;) {
        at += weir__text_step(t, at, &cp);
        n += weir__is_word(cp) && !inside;
        inside = weir__is_word(cp);
    }
    *out = weir__int(n);
    return weir__run_charge(r, t->n / 16);
}

/* ---- other alphabets -------------------------------------------------------------------------------- */

static weir_status quote(weir__run *r, weir__buf *b, const weir__value *v, bool query) {
    static const char hex[] = "0123456789ABCDEF";
    weir__text *t = NULL;
    WEIR_TRY(weir__value_text(r, v, &t));
    for (size_t i = 0; i < t->n; i++) {
        const unsigned char c = (unsigned char)t->p[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           (c != 0 && strchr("_.-~", c)) || (c == '/' && !query);
        const char e[3] = {'%', hex[c >> 4], hex[c & 15]};
        if (plain)
            WEIR_TRY(weir__buf_put_text(r, b, t, i, 1));
        else if (c == ' ' && query)
            WEIR_TRY(weir__buf_put(r, b, "+", 1, weir__writer(t, i)));
        else
            WEIR_TRY(weir__buf_put(r, b, e, 3, weir__writer(t, i)));
    }
    return weir__run_charge(r, t->n / 8);
}

static weir_status f_urlencode(weir__run *r, const weir__args *a, weir__value *out) {
    weir__buf b = {0};
    weir__seq *items = NULL, *pair = NULL;
    weir__value v = a->at[0];
    if (v.kind != WEIR__DICT && !weir__is_seq(v.kind)) {
        WEIR_TRY(quote(r, &b, &v, false));
        return weir__buf_value(r, &b, out);
    }
    if (v.kind == WEIR__DICT) WEIR_TRY(weir__dict_view(r, WEIR__ITEMS, v.as.dict, &v));
    WEIR_TRY(weir__value_items(r, v, &items));
    for (size_t i = 0; i < items->n; i++) {
        WEIR_TRY(weir__value_items(r, items->at[i], &pair));
        if (pair->n != 2)
            return weir__run_raise(r, WEIR_EINVAL, "urlencode wants pairs, got %zu values", pair->n);
        if (i > 0) WEIR_TRY(weir__buf_put(r, &b, "&", 1, WEIR__BY_TEMPLATE));
        WEIR_TRY(quote(r, &b, &pair->at[0], true));
        WEIR_TRY(weir__buf_put(r, &b, "=", 1, WEIR__BY_TEMPLATE));
        WEIR_TRY(quote(r, &b, &pair->at[1], true));
    }
    return weir__buf_value(r, &b, out);
}

static weir_status literal_text(weir__run *r, const char *s, const weir__text **out) {
    weir__value v;
    WEIR_TRY(weir__value_literal(r, s, &v));
    *out = v.as.s;
    return WEIR_OK;
}

/* transformers' tojson: json.dumps with ensure_ascii=False. */
static weir_status f_tojson(weir__run *r, const weir__args *a, weir__value *out) {
    weir__json_style s = {.ascii = weir__arg_bool(a, 1, false), .sort = weir__arg_bool(a, 4, false)};
    weir__buf b = {0}, pad = {0};
    weir__value v;
    int64_t width = 0;
    if (weir__arg_given(a, 2) && a->at[2].kind == WEIR__STRING) {
        s.indent = a->at[2].as.s;
    } else if (weir__arg_given(a, 2)) {
        WEIR_TRY(weir__arg_int(r, a, 2, &width));
        WEIR_TRY(spaces(r, &pad, width));
        WEIR_TRY(weir__buf_value(r, &pad, &v));
        s.indent = v.as.s;
    }
    WEIR_TRY(literal_text(r, s.indent ? "," : ", ", &s.item));
    WEIR_TRY(literal_text(r, ": ", &s.key));
    if (weir__arg_given(a, 3)) {
        weir__seq *pair = NULL;
        WEIR_TRY(weir__value_items(r, a->at[3], &pair));
        if (pair->n != 2 || pair->at[0].kind != WEIR__STRING || pair->at[1].kind != WEIR__STRING)
            return weir__run_raise(r, WEIR_EINVAL, "tojson: separators are two strings");
        s.item = pair->at[0].as.s;
        s.key = pair->at[1].as.s;
    }
    WEIR_TRY(weir__value_json(r, &b, &a->at[0], &s));
    return weir__buf_value(r, &b, out);
}

/* Comments and tags go, runs of white space become one space. References to characters stay (Python
 * resolves them). */
static weir_status f_striptags(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    weir__buf b = {0};
    WEIR_TRY(subject(r, a, &t));
    if (memchr(t->p, '&', t->n))
        return weir__run_raise(r, WEIR_ENOTSUP, "striptags of a text with '&' is not supported");
    for (size_t at = 0; at < t->n;) {
        const bool comment = t->n - at >= 4 && memcmp(t->p + at, "<!--", 4) == 0;
        const char *end = t->p[at] != '<' ? NULL
                          : comment       ? memmem(t->p + at, t->n - at, "-->", 3)
                                          : memchr(t->p + at, '>', t->n - at);
        if (end) {
            at = (size_t)(end - t->p) + (comment ? 3 : 1);
            continue;
        }
        WEIR_TRY(weir__buf_put_text(r, &b, t, at++, 1));
    }
    weir__value text, words;
    WEIR_TRY(weir__run_charge(r, t->n / 8));
    WEIR_TRY(weir__buf_value(r, &b, &text));
    WEIR_TRY(weir__text_split(r, text.as.s, NULL, -1, false, &words));
    b = (weir__buf){0};
    for (size_t i = 0; i < words.as.seq->n; i++) {
        const weir__text *w = words.as.seq->at[i].as.s;
        if (i > 0) WEIR_TRY(weir__buf_put(r, &b, " ", 1, WEIR__BY_TEMPLATE));
        WEIR_TRY(weir__buf_put_text(r, &b, w, 0, w->n));
    }
    return weir__buf_value(r, &b, out);
}

const weir__callable weir__text_filters[] = {
    {"trim", "?chars", f_trim},
    {"upper", "", f_upper},
    {"lower", "", f_lower},
    {"capitalize", "", f_capitalize},
    {"title", "", f_title},
    {"replace", "old new ?count", f_replace},
    {"string", "", f_string},
    {"safe", "", f_safe},
    {"escape", "", f_escape},
    {"e", "", f_escape},
    {"forceescape", "", f_forceescape},
    {"format", NULL, f_format},
    {"center", "?width", f_center},
    {"indent", "?width ?first ?blank", f_indent},
    {"wordcount", "", f_wordcount},
    {"urlencode", "", f_urlencode},
    {"tojson", "?ensure_ascii ?indent ?separators ?sort_keys", f_tojson},
    {"striptags", "", f_striptags}};
const size_t weir__n_text_filters = sizeof weir__text_filters / sizeof *weir__text_filters;
