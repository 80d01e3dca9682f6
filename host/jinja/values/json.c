#include "host/jinja/values/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/jinja/values/compare.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

static weir_status put_char(weir__run *r, weir__buf *b, uint32_t cp, bool ascii, uint8_t writer, bool *done) {
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
    return weir__buf_put(r, b, e, (size_t)n, writer);
}

static weir_status put_string(weir__run *r, weir__buf *b, const weir__text *t, bool ascii) {
    uint32_t cp = 0;
    bool done = false;
    WEIR_TRY(weir__buf_put_literal(r, b, "\""));
    for (size_t at = 0, k; at < t->n; at += k) {
        k = weir__text_step(t, at, &cp);
        WEIR_TRY(put_char(r, b, cp, ascii, weir__writer(t, at), &done));
        if (!done) WEIR_TRY(weir__buf_put_text(r, b, t, at, k));
    }
    return weir__buf_put_literal(r, b, "\"");
}

static weir_status put_number(weir__run *r, weir__buf *b, const weir__value *v) {
    if (v->kind == WEIR__BOOL) return weir__buf_put_literal(r, b, v->as.b ? "true" : "false");
    if (v->kind == WEIR__FLOAT && isnan(v->as.f)) return weir__buf_put_literal(r, b, "NaN");
    if (v->kind == WEIR__FLOAT && isinf(v->as.f))
        return weir__buf_put_literal(r, b, v->as.f < 0 ? "-Infinity" : "Infinity");
    return weir__value_repr(r, b, v);
}

static weir_status put_break(weir__run *r, weir__buf *b, const weir__json_style *s, int level) {
    if (!s->indent) return WEIR_OK;
    WEIR_TRY(weir__buf_put_literal(r, b, "\n"));
    for (int i = 0; i < level; i++) WEIR_TRY(weir__buf_put_text(r, b, s->indent, 0, s->indent->n));
    return WEIR_OK;
}

static weir_status put_value(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s,
                             int level);

static weir_status put_list(weir__run *r, weir__buf *b, const weir__seq *q, const weir__json_style *s,
                            int level) {
    if (q->n == 0) return weir__buf_put_literal(r, b, "[]");
    WEIR_TRY(weir__buf_put_literal(r, b, "["));
    for (size_t i = 0; i < q->n; i++) {
        if (i > 0) WEIR_TRY(weir__buf_put_text(r, b, s->item, 0, s->item->n));
        WEIR_TRY(put_break(r, b, s, level + 1));
        WEIR_TRY(put_value(r, b, &q->at[i], s, level + 1));
    }
    WEIR_TRY(put_break(r, b, s, level));
    return weir__buf_put_literal(r, b, "]");
}

static weir_status put_key(weir__run *r, weir__buf *b, const weir__value *k, const weir__json_style *s) {
    if (k->kind == WEIR__STRING) return put_string(r, b, k->as.s, s->ascii);
    if (k->kind != WEIR__NONE && !weir__is_number(k->kind))
        return WEIR__TYPE_ERROR(r, "keys must be str, int, float, bool or None, not %s", weir__type_name(k));
    WEIR_TRY(weir__buf_put_literal(r, b, "\""));
    WEIR_TRY(put_value(r, b, k, s, 0));
    return weir__buf_put_literal(r, b, "\"");
}

/* The order of a dict's items: as they came, or by key. */
static weir_status order(weir__run *r, const weir__dict *d, const weir__json_style *s, weir__value **keys,
                         weir__value **values) {
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
    return weir__value_sort(r, v, k, d->n, false);
}

static weir_status put_dict(weir__run *r, weir__buf *b, const weir__dict *d, const weir__json_style *s,
                            int level) {
    weir__value *keys = NULL, *values = NULL;
    if (d->n == 0) return weir__buf_put_literal(r, b, "{}");
    WEIR_TRY(order(r, d, s, &keys, &values));
    WEIR_TRY(weir__buf_put_literal(r, b, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i > 0) WEIR_TRY(weir__buf_put_text(r, b, s->item, 0, s->item->n));
        WEIR_TRY(put_break(r, b, s, level + 1));
        WEIR_TRY(put_key(r, b, &keys[i], s));
        WEIR_TRY(weir__buf_put_text(r, b, s->key, 0, s->key->n));
        WEIR_TRY(put_value(r, b, &values[i], s, level + 1));
    }
    WEIR_TRY(put_break(r, b, s, level));
    return weir__buf_put_literal(r, b, "}");
}

static weir_status put_value(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s,
                             int level) {
    weir_status st = WEIR_OK;
    WEIR_TRY(weir__run_charge(r, 1));
    WEIR_TRY(weir__run_enter(r));
    if (v->kind == WEIR__STRING)
        st = put_string(r, b, v->as.s, s->ascii);
    else if (weir__is_number(v->kind))
        st = put_number(r, b, v);
    else if (v->kind == WEIR__NONE)
        st = weir__buf_put_literal(r, b, "null");
    else if (v->kind == WEIR__LIST || v->kind == WEIR__TUPLE)
        st = put_list(r, b, v->as.seq, s, level);
    else if (v->kind == WEIR__DICT)
        st = put_dict(r, b, v->as.dict, s, level);
    else
        st = WEIR__TYPE_ERROR(r, "Object of type %s is not JSON serializable", weir__type_name(v));
    r->depth--;
    return st;
}

weir_status weir__value_json(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s) {
    return put_value(r, b, v, s, 0);
}
