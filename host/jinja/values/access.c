#include "host/jinja/values/access.h"

#include <string.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/objects.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

/* ---- attributes ------------------------------------------------------------------------------------- */

/* Methods of Python's that change a list or a dict in place: the sandbox allows none. */
static bool changes(weir__kind kind, const char *name, size_t n) {
    static const char *const of_list[] = {"append", "clear",   "extend", "insert", "pop",
                                          "remove", "reverse", "sort",   NULL};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    const char *const *list = kind == WEIR__LIST ? of_list : of_dict;
    if (kind != WEIR__LIST && kind != WEIR__DICT) return false;
    for (; *list; list++)
        if (strlen(*list) == n && memcmp(*list, name, n) == 0) return true;
    return false;
}

/* Every object of Python has such names; the sandbox shows none. */
static bool is_internal(const char *name, size_t n) {
    return n > 4 && memcmp(name, "__", 2) == 0 && memcmp(name + n - 2, "__", 2) == 0;
}

static weir_status unsafe(weir__run *r, weir__value v, const char *name, size_t n, weir__value *out) {
    const char *type = weir__type_name(&v);
    const size_t cap = n + strlen(type) + 64;
    char *hint = weir__arena_alloc(&r->arena, cap, 1);
    if (!hint) return weir__run_no_memory(r);
    char *p = hint;
    const char *const parts[] = {"access to attribute '", NULL, "' of '", type, "' object is unsafe."};
    for (size_t i = 0; i < 5; i++) {
        const size_t k = parts[i] ? strlen(parts[i]) : n;
        memcpy(p, parts[i] ? parts[i] : name, k);
        p += k;
    }
    *p = '\0';
    return weir__undefined_hint(r, hint, out);
}

static weir_status new_method(weir__run *r, const weir__callable *entry, weir__value self, weir__value *out) {
    weir__method *m = weir__arena_alloc(&r->arena, 1, sizeof *m);
    if (!m) return weir__run_no_memory(r);
    *m = (weir__method){entry, self};
    *out = (weir__value){.kind = WEIR__METHOD, .as.method = m};
    return WEIR_OK;
}

static bool is_name(const char *name, size_t n, const char *word) {
    return strlen(word) == n && memcmp(word, name, n) == 0;
}

/* Attributes in Python's sense, without items; *found says whether there is one. */
static weir_status attribute(weir__run *r, weir__value v, const char *name, size_t n, weir__value *out,
                             bool *found) {
    *found = true;
    if (v.kind == WEIR__NAMESPACE) { /* its items are its attributes */
        const weir__value *item = weir__dict_name(v.as.dict, name, n);
        if (item) *out = *item;
        *found = item != NULL;
        return WEIR_OK;
    }
    if (v.kind == WEIR__TUPLE && v.as.seq->group &&
        (is_name(name, n, "grouper") || is_name(name, n, "list"))) {
        *out = v.as.seq->at[name[0] == 'l'];
        return WEIR_OK;
    }
    if (v.kind == WEIR__UNDEFINED)
        return is_internal(name, n) ? unsafe(r, v, name, n, out) : weir__fail_undefined(r, v);
    if (is_internal(name, n) || changes(v.kind, name, n)) return unsafe(r, v, name, n, out);
    if (v.kind == WEIR__LOOP) return weir__loop_attribute(r, v.as.loop, name, n, out, found);
    if (v.kind == WEIR__CYCLER && is_name(name, n, "current")) {
        *out = v.as.seq->at[v.as.seq->next];
        return WEIR_OK;
    }
    if (v.kind == WEIR__MACRO && is_name(name, n, "name")) return weir__macro_name(r, v.as.macro, out);
    const weir__callable *entry = weir__find_method(v.kind, name, n);
    *found = entry != NULL;
    return entry ? new_method(r, entry, v, out) : WEIR_OK;
}

static weir_status undefined_name(weir__run *r, weir__value of, const char *name, size_t n,
                                  weir__value *out) {
    weir__value s;
    WEIR_TRY(weir__value_string(r, name, n, WEIR__BY_TEMPLATE, &s));
    return weir__undefined(r, of, s, out);
}

weir_status weir__getattr(weir__run *r, weir__value v, const char *name, size_t n, weir__value *out) {
    bool found = false;
    WEIR_TRY(attribute(r, v, name, n, out, &found));
    if (found) return WEIR_OK;
    const weir__value *item = v.kind == WEIR__DICT ? weir__dict_name(v.as.dict, name, n) : NULL;
    if (!item) return undefined_name(r, v, name, n, out);
    *out = *item;
    return weir__run_charge(r, v.as.dict->n / 8);
}

/* ---- items ------------------------------------------------------------------------------------------ */

static bool index_of(const weir__value *key, int64_t *i) {
    if (key->kind != WEIR__INT && key->kind != WEIR__BOOL) return false;
    *i = key->kind == WEIR__INT ? key->as.i : key->as.b;
    return true;
}

/* v[key] in Python's sense; *found: there is such an item. */
static weir_status item(weir__run *r, weir__value v, weir__value key, weir__value *out, bool *found) {
    int64_t i = 0;
    *found = false;
    if (v.kind == WEIR__UNDEFINED) return weir__fail_undefined(r, v);
    if (v.kind == WEIR__DICT) {
        const weir__value *p = weir__dict_find(r, v.as.dict, key);
        if (p) *out = *p;
        *found = p != NULL;
        return WEIR_OK;
    }
    if (!index_of(&key, &i)) return WEIR_OK;
    if (v.kind == WEIR__STRING) {
        const int64_t n = (int64_t)weir__text_length(v.as.s);
        if (i < 0) i += n;
        if (i < 0 || i >= n) return WEIR_OK;
        const size_t at = weir__text_offset(v.as.s, (size_t)i);
        uint32_t cp = 0;
        *found = true;
        WEIR_TRY(weir__run_charge(r, (size_t)n == v.as.s->n ? 0 : at / 16));
        return weir__text_part(r, v.as.s, at, weir__text_step(v.as.s, at, &cp), out);
    }
    if (v.kind != WEIR__LIST && v.kind != WEIR__TUPLE && v.kind != WEIR__RANGE) return WEIR_OK;
    const int64_t n = (int64_t)v.as.seq->n;
    if (i < 0) i += n;
    *found = i >= 0 && i < n;
    if (*found) *out = v.as.seq->at[i];
    return WEIR_OK;
}

weir_status weir__getitem(weir__run *r, weir__value v, weir__value key, weir__value *out) {
    bool found = false;
    WEIR_TRY(item(r, v, key, out, &found));
    if (!found && key.kind == WEIR__STRING) WEIR_TRY(attribute(r, v, key.as.s->p, key.as.s->n, out, &found));
    return found ? WEIR_OK : weir__undefined(r, v, key, out);
}

/* ---- slices ----------------------------------------------------------------------------------------- */

/* Python's slice.indices: *from, and the number of items. */
static weir_status slice_bounds(weir__run *r, const weir__value b[3], int64_t n, int64_t *from, int64_t *step,
                                int64_t *count) {
    int64_t at[3] = {0, 0, 1};
    bool given[3];
    for (int i = 0; i < 3; i++) {
        given[i] = b[i].kind != WEIR__NONE && b[i].kind != WEIR__ABSENT;
        if (given[i] && !index_of(&b[i], &at[i]))
            return WEIR__TYPE_ERROR(r, "slice indices must be integers or None or have an __index__ method");
    }
    *step = at[2];
    if (*step == 0) return weir__run_raise(r, WEIR_EINVAL, "slice step cannot be zero");
    const bool back = *step < 0;
    const int64_t low = back ? -1 : 0, high = back ? n - 1 : n;
    for (int i = 0; i < 2; i++) {
        if (!given[i]) {
            at[i] = (i == 0) != back ? low : high;
            continue;
        }
        if (at[i] < 0) at[i] = at[i] < -n ? low : at[i] + n;
        at[i] = at[i] < low ? low : at[i] > high ? high : at[i];
    }
    *from = at[0];
    const int64_t gap = back ? at[0] - at[1] : at[1] - at[0];
    const uint64_t stride = back ? 0 - (uint64_t)*step : (uint64_t)*step;
    *count = gap <= 0 ? 0 : (int64_t)(((uint64_t)gap - 1) / stride) + 1;
    return WEIR_OK;
}

static weir_status slice_text(weir__run *r, weir__text *t, int64_t from, int64_t step, int64_t count,
                              weir__value *out) {
    uint32_t cp = 0;
    WEIR_TRY(weir__run_charge(r, t->n / 32));
    if (count == 0) return weir__text_part(r, t, 0, 0, out);
    if (step == 1) {
        const size_t a = weir__text_offset(t, (size_t)from), b = weir__text_offset(t, (size_t)(from + count));
        return weir__text_part(r, t, a, b - a, out);
    }
    weir__buf b = {0};
    const size_t length = weir__text_length(t);
    size_t *at = weir__arena_alloc(&r->arena, length, sizeof *at);
    if (!at) return weir__run_no_memory(r);
    for (size_t i = 0, byte = 0; i < length; i++) {
        at[i] = byte;
        byte += weir__text_step(t, byte, &cp);
    }
    for (int64_t i = 0; i < count; i++) {
        const size_t k = at[from + i * step];
        WEIR_TRY(weir__buf_put_text(r, &b, t, k, weir__text_step(t, k, &cp)));
    }
    WEIR_TRY(weir__run_charge(r, length / 4));
    return weir__buf_value(r, &b, out);
}

weir_status weir__value_slice(weir__run *r, weir__value v, const weir__value bounds[3], weir__value *out) {
    int64_t from = 0, step = 1, count = 0;
    if (v.kind == WEIR__UNDEFINED) return weir__fail_undefined(r, v);
    if (v.kind == WEIR__STRING) {
        WEIR_TRY(slice_bounds(r, bounds, (int64_t)weir__text_length(v.as.s), &from, &step, &count));
        return slice_text(r, v.as.s, from, step, count, out);
    }
    if (v.kind == WEIR__DICT) return WEIR__TYPE_ERROR(r, "unhashable type: 'slice'");
    if (v.kind != WEIR__LIST && v.kind != WEIR__TUPLE && v.kind != WEIR__RANGE)
        return WEIR__TYPE_ERROR(r, "'%s' object is not subscriptable", weir__type_name(&v));
    const weir__seq *q = v.as.seq;
    WEIR_TRY(slice_bounds(r, bounds, (int64_t)q->n, &from, &step, &count));
    if (v.kind == WEIR__RANGE) {
        const int64_t start = q->start + from * q->step, stride = q->step * step;
        return weir__value_range(r, start, start + count * stride, stride, out);
    }
    WEIR_TRY(weir__value_list(r, v.kind, (size_t)count, out));
    for (int64_t i = 0; i < count; i++) out->as.seq->at[i] = q->at[from + i * step];
    return WEIR_OK;
}

/* ---- iteration -------------------------------------------------------------------------------------- */

weir_status weir__value_length(weir__run *r, const weir__value *v, int64_t *out) {
    switch (v->kind) {
    case WEIR__UNDEFINED: *out = 0; return WEIR_OK;
    case WEIR__STRING:
        *out = (int64_t)weir__text_length(v->as.s);
        return weir__run_charge(r, v->as.s->n / 32);
    case WEIR__LIST:
    case WEIR__TUPLE:
    case WEIR__RANGE:
    case WEIR__KEYS:
    case WEIR__VALUES:
    case WEIR__ITEMS: *out = (int64_t)v->as.seq->n; return WEIR_OK;
    case WEIR__DICT: *out = (int64_t)v->as.dict->n; return WEIR_OK;
    default: return WEIR__TYPE_ERROR(r, "object of type '%s' has no len()", weir__type_name(v));
    }
}

weir_status weir__dict_view(weir__run *r, weir__kind kind, const weir__dict *d, weir__value *out) {
    WEIR_TRY(weir__value_list(r, kind, d->n, out));
    for (size_t i = 0; i < d->n; i++) {
        weir__value *to = &out->as.seq->at[i];
        if (kind == WEIR__KEYS)
            *to = d->keys[i];
        else if (kind == WEIR__VALUES)
            *to = d->values[i];
        else
            WEIR_TRY(weir__value_pair(r, d->keys[i], d->values[i], to));
    }
    return WEIR_OK;
}

static weir_status characters(weir__run *r, weir__text *t, weir__value *out) {
    uint32_t cp = 0;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, weir__text_length(t), out));
    for (size_t i = 0, at = 0, k; i < out->as.seq->n; i++, at += k) {
        k = weir__text_step(t, at, &cp);
        WEIR_TRY(weir__text_part(r, t, at, k, &out->as.seq->at[i]));
        out->as.seq->at[i].as.s->markup = false;
    }
    return WEIR_OK;
}

static weir_status rest(weir__run *r, weir__seq *q, weir__value *out) {
    WEIR_TRY(weir__value_list(r, WEIR__LIST, q->n - q->next, out));
    if (q->n > q->next) memcpy(out->as.seq->at, q->at + q->next, (q->n - q->next) * sizeof *q->at);
    q->next = q->n;
    return WEIR_OK;
}

weir_status weir__value_items(weir__run *r, weir__value v, weir__seq **out) {
    weir__value list;
    switch (v.kind) {
    case WEIR__UNDEFINED: WEIR_TRY(weir__value_list(r, WEIR__LIST, 0, &list)); break;
    case WEIR__STRING: WEIR_TRY(characters(r, v.as.s, &list)); break;
    case WEIR__ITERATOR: WEIR_TRY(rest(r, v.as.seq, &list)); break;
    case WEIR__DICT: WEIR_TRY(weir__dict_view(r, WEIR__KEYS, v.as.dict, &list)); break;
    default:
        if (!weir__is_seq(v.kind))
            return WEIR__TYPE_ERROR(r, "'%s' object is not iterable", weir__type_name(&v));
        list = v;
    }
    *out = list.as.seq;
    return WEIR_OK;
}

weir_status weir__value_range(weir__run *r, int64_t start, int64_t stop, int64_t step, weir__value *out) {
    enum { MOST = 100000 }; /* jinja2.sandbox.MAX_RANGE */
    if (step == 0) return weir__run_raise(r, WEIR_EINVAL, "range() arg 3 must not be zero");
    const bool any = step > 0 ? start < stop : start > stop;
    const uint64_t gap = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    const uint64_t n = any ? (gap - 1) / stride + 1 : 0;
    if (n > MOST)
        return weir__run_raise(r, WEIR_EINVAL,
                               "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MOST);
    WEIR_TRY(weir__value_list(r, WEIR__RANGE, (size_t)n, out));
    weir__seq *q = out->as.seq;
    q->start = start;
    q->stop = stop;
    q->step = step;
    for (uint64_t i = 0; i < n; i++) q->at[i] = weir__int((int64_t)((uint64_t)start + i * (uint64_t)step));
    return WEIR_OK;
}
