#include <string.h>

#include "host/jinja/library/attribute.h"
#include "host/jinja/library/callable.h"
#include "host/jinja/parse/literal.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/operators.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

/* Filters over lists, and the attributes that they look at. */

weir_status weir__attribute_of(weir__run *r, weir__value item, const weir__value *attribute,
                               weir__value otherwise, weir__value *out) {
    *out = item;
    if (attribute->kind == WEIR__ABSENT || attribute->kind == WEIR__NONE) return WEIR_OK;
    if (attribute->kind != WEIR__STRING) {
        WEIR_TRY(weir__getitem(r, item, *attribute, out));
        if (out->kind == WEIR__UNDEFINED && weir__value_truth(&otherwise)) *out = otherwise;
        return WEIR_OK;
    }
    const weir__text *t = attribute->as.s;
    for (size_t at = 0; at <= t->n;) {
        const char *dot = memchr(t->p + at, '.', t->n - at);
        const size_t n = dot ? (size_t)(dot - t->p) - at : t->n - at;
        int64_t i = 0;
        bool fits = false, digits = n > 0;
        for (size_t k = 0; k < n; k++) digits &= t->p[at + k] >= '0' && t->p[at + k] <= '9';
        weir__value key = {.kind = WEIR__ABSENT};
        if (digits && weir__parse_int(t->p + at, n, 10, &i, &fits) && fits)
            key = weir__int(i);
        else
            WEIR_TRY(weir__text_part(r, t, at, n, &key));
        WEIR_TRY(weir__getitem(r, *out, key, out));
        if (out->kind == WEIR__UNDEFINED && otherwise.kind != WEIR__ABSENT && otherwise.kind != WEIR__NONE)
            *out = otherwise;
        at += n + 1;
    }
    return WEIR_OK;
}

weir_status weir__key_of(weir__run *r, weir__value v, bool cased, weir__value *out) {
    *out = v;
    return v.kind == WEIR__STRING && !cased ? weir__text_recase(r, v.as.s, WEIR__LOWER, out) : WEIR_OK;
}

weir_status weir__iterator(weir__run *r, weir__value list, weir__value *out) {
    weir__value v;
    WEIR_TRY(weir__value_list(r, WEIR__ITERATOR, 0, &v));
    v.as.seq->at = list.as.seq->at;
    v.as.seq->n = list.as.seq->n;
    *out = v;
    return WEIR_OK;
}

/* Items of the subject as a list of our own. */
static weir_status copy_items(weir__run *r, weir__value v, weir__value *out) {
    weir__seq *items = NULL;
    WEIR_TRY(weir__value_items(r, v, &items));
    WEIR_TRY(weir__value_list(r, WEIR__LIST, items->n, out));
    if (items->n > 0) memcpy(out->as.seq->at, items->at, items->n * sizeof *items->at);
    return WEIR_OK;
}

static weir_status f_list(weir__run *r, const weir__args *a, weir__value *out) {
    return copy_items(r, a->at[0], out);
}

static weir_status f_first(weir__run *r, const weir__args *a, weir__value *out) {
    weir__value v = a->at[0];
    weir__seq *items = NULL;
    if (v.kind == WEIR__ITERATOR && v.as.seq->next < v.as.seq->n) {
        *out = v.as.seq->at[v.as.seq->next++];
        return WEIR_OK;
    }
    WEIR_TRY(weir__value_items(r, v, &items));
    if (items->n == 0) return weir__undefined_hint(r, "No first item, sequence was empty.", out);
    *out = items->at[0];
    return WEIR_OK;
}

static weir_status f_last(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *items = NULL;
    if (a->at[0].kind == WEIR__ITERATOR)
        return WEIR__TYPE_ERROR(r, "'%s' object is not reversible", weir__type_name(&a->at[0]));
    WEIR_TRY(weir__value_items(r, a->at[0], &items));
    if (items->n == 0) return weir__undefined_hint(r, "No last item, sequence was empty.", out);
    *out = items->at[items->n - 1];
    return WEIR_OK;
}

static weir_status f_join(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *items = NULL;
    weir__buf b = {0};
    weir__value v;
    WEIR_TRY(weir__value_items(r, a->at[0], &items));
    for (size_t i = 0; i < items->n; i++) {
        if (i > 0 && a->at[1].kind != WEIR__ABSENT) WEIR_TRY(weir__value_str(r, &b, &a->at[1]));
        WEIR_TRY(weir__attribute_of(r, items->at[i], &a->at[2], (weir__value){.kind = WEIR__ABSENT}, &v));
        WEIR_TRY(weir__value_str(r, &b, &v));
        WEIR_TRY(weir__run_charge(r, 1));
    }
    return weir__buf_value(r, &b, out);
}

static weir_status f_reverse(weir__run *r, const weir__args *a, weir__value *out) {
    weir__value v = a->at[0], list;
    if (v.kind == WEIR__STRING) {
        const weir__value bounds[3] = {weir__none(), weir__none(), weir__int(-1)};
        return weir__value_slice(r, v, bounds, out);
    }
    if (v.kind != WEIR__DICT && v.kind != WEIR__UNDEFINED && !weir__is_seq(v.kind))
        return weir__run_raise(r, WEIR_EINVAL, "argument must be iterable");
    WEIR_TRY(copy_items(r, v, &list));
    weir__seq *q = list.as.seq;
    for (size_t i = 0; i < q->n / 2; i++) {
        const weir__value t = q->at[i];
        q->at[i] = q->at[q->n - 1 - i];
        q->at[q->n - 1 - i] = t;
    }
    if (v.kind == WEIR__ITERATOR) { /* has no order to reverse: jinja2 makes a list */
        *out = list;
        return WEIR_OK;
    }
    WEIR_TRY(weir__iterator(r, list, out));
    out->as.seq->reversed = true;
    return WEIR_OK;
}

/* ---- order ------------------------------------------------------------------------------------------ */

/* Keys of "a,b": a list of one value each. */
static weir_status sort_key(weir__run *r, weir__value item, const weir__value *attribute, bool cased,
                            weir__value *out) {
    weir__value parts, v;
    if (attribute->kind != WEIR__STRING) {
        WEIR_TRY(weir__value_list(r, WEIR__LIST, 1, out));
        WEIR_TRY(weir__attribute_of(r, item, attribute, (weir__value){.kind = WEIR__ABSENT}, &v));
        return weir__key_of(r, v, cased, &out->as.seq->at[0]);
    }
    WEIR_TRY(weir__value_literal(r, ",", &v));
    WEIR_TRY(weir__text_split(r, attribute->as.s, v.as.s, -1, false, &parts));
    WEIR_TRY(weir__value_list(r, WEIR__LIST, parts.as.seq->n, out));
    for (size_t i = 0; i < parts.as.seq->n; i++) {
        WEIR_TRY(weir__attribute_of(r, item, &parts.as.seq->at[i], (weir__value){.kind = WEIR__ABSENT}, &v));
        WEIR_TRY(weir__key_of(r, v, cased, &out->as.seq->at[i]));
    }
    return WEIR_OK;
}

static weir_status f_sort(weir__run *r, const weir__args *a, weir__value *out) {
    weir__value keys;
    WEIR_TRY(copy_items(r, a->at[0], out));
    weir__seq *q = out->as.seq;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, q->n, &keys));
    for (size_t i = 0; i < q->n; i++)
        WEIR_TRY(sort_key(r, q->at[i], &a->at[3], weir__arg_bool(a, 2, false), &keys.as.seq->at[i]));
    return weir__value_sort(r, q->at, keys.as.seq->at, q->n, weir__arg_bool(a, 1, false));
}

static weir_status f_dictsort(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *by = &a->at[2];
    const bool value = by->kind == WEIR__STRING && weir__same_bytes(by->as.s, "value");
    weir__value keys, items;
    if (by->kind != WEIR__ABSENT && !value &&
        !(by->kind == WEIR__STRING && weir__same_bytes(by->as.s, "key")))
        return weir__run_raise(r, WEIR_EINVAL, "You can only sort by either \"key\" or \"value\"");
    if (a->at[0].kind == WEIR__UNDEFINED) return weir__fail_undefined(r, a->at[0]);
    if (a->at[0].kind != WEIR__DICT)
        return WEIR__TYPE_ERROR(r, "'%s' object has no attribute 'items'", weir__type_name(&a->at[0]));
    WEIR_TRY(weir__dict_view(r, WEIR__ITEMS, a->at[0].as.dict, &items));
    WEIR_TRY(copy_items(r, items, out));
    weir__seq *q = out->as.seq;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, q->n, &keys));
    for (size_t i = 0; i < q->n; i++)
        WEIR_TRY(
            weir__key_of(r, q->at[i].as.seq->at[value], weir__arg_bool(a, 1, false), &keys.as.seq->at[i]));
    return weir__value_sort(r, q->at, keys.as.seq->at, q->n, weir__arg_bool(a, 3, false));
}

static weir_status extreme(weir__run *r, const weir__args *a, bool most, weir__value *out) {
    weir__seq *items = NULL;
    weir__value best, key;
    bool better = false;
    WEIR_TRY(weir__value_items(r, a->at[0], &items));
    if (items->n == 0) return weir__undefined_hint(r, "No aggregated item, sequence was empty.", out);
    for (size_t i = 0; i < items->n; i++) {
        WEIR_TRY(weir__attribute_of(r, items->at[i], &a->at[2], (weir__value){.kind = WEIR__ABSENT}, &key));
        WEIR_TRY(weir__key_of(r, key, weir__arg_bool(a, 1, false), &key));
        if (i > 0) WEIR_TRY(weir__value_compare(r, most ? WEIR__GT : WEIR__LT, &key, &best, &better));
        if (i > 0 && !better) continue;
        best = key;
        *out = items->at[i];
    }
    return weir__run_charge(r, items->n);
}

static weir_status f_min(weir__run *r, const weir__args *a, weir__value *out) {
    return extreme(r, a, false, out);
}
static weir_status f_max(weir__run *r, const weir__args *a, weir__value *out) {
    return extreme(r, a, true, out);
}

static weir_status f_sum(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *items = NULL;
    weir__value v, sum = a->at[2].kind == WEIR__ABSENT ? weir__int(0) : a->at[2];
    if (sum.kind == WEIR__STRING)
        return WEIR__TYPE_ERROR(r, "sum() can't sum strings [use ''.join(seq) instead]");
    WEIR_TRY(weir__value_items(r, a->at[0], &items));
    for (size_t i = 0; i < items->n; i++) {
        WEIR_TRY(weir__attribute_of(r, items->at[i], &a->at[1], (weir__value){.kind = WEIR__ABSENT}, &v));
        WEIR_TRY(weir__value_arithmetic(r, WEIR__ADD, &sum, &v, &sum));
        WEIR_TRY(weir__run_charge(r, 1));
    }
    *out = sum;
    return WEIR_OK;
}

static weir_status f_unique(weir__run *r, const weir__args *a, weir__value *out) {
    weir__value list, seen, key;
    size_t n = 0;
    WEIR_TRY(copy_items(r, a->at[0], &list));
    WEIR_TRY(weir__dict_new(r, WEIR__DICT, &seen));
    for (size_t i = 0; i < list.as.seq->n; i++) {
        const weir__value item = list.as.seq->at[i];
        WEIR_TRY(weir__attribute_of(r, item, &a->at[2], (weir__value){.kind = WEIR__ABSENT}, &key));
        WEIR_TRY(weir__key_of(r, key, weir__arg_bool(a, 1, false), &key));
        WEIR_TRY(weir__check_key(r, &key));
        if (weir__dict_find(r, seen.as.dict, key)) continue;
        WEIR_TRY(weir__dict_put(r, seen.as.dict, key, weir__none()));
        list.as.seq->at[n++] = item;
    }
    list.as.seq->n = n;
    return weir__iterator(r, list, out);
}

/* ---- parts ------------------------------------------------------------------------------------------ */

static weir_status part(weir__run *r, const weir__seq *q, size_t from, size_t n, size_t pad, weir__value fill,
                        weir__value *out) {
    WEIR_TRY(weir__value_list(r, WEIR__LIST, n + pad, out));
    for (size_t i = 0; i < n + pad; i++) out->as.seq->at[i] = i < n ? q->at[from + i] : fill;
    return WEIR_OK;
}

static weir_status f_batch(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *q = NULL;
    weir__value list;
    int64_t size = 0;
    WEIR_TRY(weir__arg_int(r, a, 1, &size));
    WEIR_TRY(weir__value_items(r, a->at[0], &q));
    if (size < 0 || (uint64_t)size > q->n)
        size = weir__arg_given(a, 2) && size > 0 && size < 100000 ? size : (int64_t)q->n;
    if (size == 0 && q->n > 0) return weir__run_raise(r, WEIR_ENOTSUP, "batches of no items");
    const size_t step = (size_t)size, n = q->n == 0 ? 0 : (q->n + step - 1) / step;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, n, &list));
    for (size_t i = 0; i < n; i++) {
        const size_t from = i * step, left = q->n - from < step ? q->n - from : step;
        const size_t pad = weir__arg_given(a, 2) ? step - left : 0;
        WEIR_TRY(part(r, q, from, left, pad, a->at[2], &list.as.seq->at[i]));
    }
    return weir__iterator(r, list, out);
}

static weir_status f_slice(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *q = NULL;
    weir__value list;
    int64_t count = 0;
    WEIR_TRY(weir__arg_int(r, a, 1, &count));
    WEIR_TRY(weir__value_items(r, a->at[0], &q));
    if (count == 0) return weir__run_raise(r, WEIR_EINVAL, "integer division or modulo by zero");
    const size_t n = count > 0 ? (size_t)count : 0, each = n > 0 ? q->n / n : 0, extra = n > 0 ? q->n % n : 0;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, n, &list));
    for (size_t i = 0, from = 0; i < n; i++) {
        const size_t k = each + (i < extra);
        WEIR_TRY(part(r, q, from, k, weir__arg_given(a, 2) && i >= extra, a->at[2], &list.as.seq->at[i]));
        from += k;
    }
    return weir__iterator(r, list, out);
}

static weir_status f_items(weir__run *r, const weir__args *a, weir__value *out) {
    weir__value list;
    if (a->at[0].kind == WEIR__UNDEFINED)
        WEIR_TRY(weir__value_list(r, WEIR__LIST, 0, &list));
    else if (a->at[0].kind == WEIR__DICT)
        WEIR_TRY(weir__dict_view(r, WEIR__ITEMS, a->at[0].as.dict, &list));
    else
        return WEIR__TYPE_ERROR(r, "Can only get item pairs from a mapping.");
    return weir__iterator(r, list, out);
}

static weir_status f_groupby(weir__run *r, const weir__args *a, weir__value *out) {
    const bool cased = weir__arg_bool(a, 3, false);
    weir__value list, keys, v;
    WEIR_TRY(copy_items(r, a->at[0], &list));
    weir__seq *q = list.as.seq;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, q->n, &keys));
    for (size_t i = 0; i < q->n; i++) {
        WEIR_TRY(weir__attribute_of(r, q->at[i], &a->at[1], a->at[2], &v));
        WEIR_TRY(weir__key_of(r, v, cased, &keys.as.seq->at[i]));
    }
    WEIR_TRY(weir__value_sort(r, q->at, keys.as.seq->at, q->n, false));
    WEIR_TRY(weir__value_list(r, WEIR__LIST, q->n, out));
    size_t n = 0;
    for (size_t from = 0, upto; from < q->n; from = upto) {
        weir__value group;
        for (upto = from + 1;
             upto < q->n && weir__value_equal(r, &keys.as.seq->at[from], &keys.as.seq->at[upto]);)
            upto++;
        WEIR_TRY(part(r, q, from, upto - from, 0, weir__none(), &group));
        WEIR_TRY(weir__attribute_of(r, q->at[from], &a->at[1], a->at[2], &v));
        WEIR_TRY(weir__value_pair(r, v, group, &out->as.seq->at[n]));
        out->as.seq->at[n++].as.seq->group = true;
    }
    out->as.seq->n = n;
    return WEIR_OK;
}

const weir__callable weir__list_filters[] = {{"list", "", f_list},
                                             {"first", "", f_first},
                                             {"last", "", f_last},
                                             {"join", "?d ?attribute", f_join},
                                             {"reverse", "", f_reverse},
                                             {"sort", "?reverse ?case_sensitive ?attribute", f_sort},
                                             {"dictsort", "?case_sensitive ?by ?reverse", f_dictsort},
                                             {"min", "?case_sensitive ?attribute", f_min},
                                             {"max", "?case_sensitive ?attribute", f_max},
                                             {"sum", "?attribute ?start", f_sum},
                                             {"unique", "?case_sensitive ?attribute", f_unique},
                                             {"batch", "linecount ?fill_with", f_batch},
                                             {"slice", "slices ?fill_with", f_slice},
                                             {"items", "", f_items},
                                             {"groupby", "attribute ?default ?case_sensitive", f_groupby}};
const size_t weir__n_list_filters = sizeof weir__list_filters / sizeof *weir__list_filters;
