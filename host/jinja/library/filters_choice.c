#include <string.h>

#include "host/jinja/library/attribute.h"
#include "host/jinja/library/callable.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/print.h"

/* Filters that apply other filters and tests, and those that choose. */

static weir_status f_default(weir__run *r, const weir__args *a, weir__value *out) {
    const bool takes =
        a->at[0].kind == WEIR__UNDEFINED || (weir__arg_bool(a, 2, false) && !weir__value_truth(&a->at[0]));
    *out = a->at[0];
    if (!takes) return WEIR_OK;
    *out = a->at[1];
    return a->at[1].kind == WEIR__ABSENT ? weir__value_literal(r, "", out) : WEIR_OK;
}

static weir_status f_attr(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *name = NULL;
    WEIR_TRY(weir__arg_text(r, a, 1, &name));
    if (a->at[0].kind == WEIR__DICT &&
        !weir__find_method(WEIR__DICT, name->p, name->n)) /* attributes alone, no items */
        return weir__undefined(r, a->at[0], a->at[1], out);
    return weir__getattr(r, a->at[0], name->p, name->n, out);
}

/* The function of a name, with the arguments from `first` on. */
static weir_status named(weir__run *r, bool filter, const weir__value *name, const weir__callable **out) {
    if (name->kind == WEIR__STRING)
        *out = filter ? weir__find_filter(name->as.s->p, name->as.s->n)
                      : weir__find_test(name->as.s->p, name->as.s->n);
    else
        *out = NULL;
    if (*out) return WEIR_OK;
    weir__buf b = {0};
    WEIR_TRY(weir__value_repr(r, &b, name));
    return weir__run_raise(r, WEIR_EINVAL, "No %s named %.*s.", filter ? "filter" : "test", weir__clip(b.n),
                           b.p);
}

/* Calls c on `item` with what follows at[first]. */
static weir_status apply(weir__run *r, const weir__callable *c, const weir__args *a, size_t first,
                         weir__value item, weir__value *out) {
    const size_t n = a->n > first + 1 ? a->n - first - 1 : 0;
    weir__args inner = *a;
    inner.n = 1 + n;
    inner.at = weir__arena_alloc(&r->arena, 1 + n, sizeof *inner.at);
    if (!inner.at) return weir__run_no_memory(r);
    inner.at[0] = item;
    if (n > 0) memcpy(inner.at + 1, a->at + first + 1, n * sizeof *inner.at);
    WEIR_TRY(weir__run_enter(r));
    WEIR_TRY(weir__call_entry(r, c, &inner, out));
    r->depth--;
    return WEIR_OK;
}

static weir_status check_map(weir__run *r, const weir__args *a) {
    for (size_t i = 0; i < a->n_named; i++) {
        const weir__text *name = a->names[i].as.s;
        if (!weir__same_bytes(name, "attribute") && !weir__same_bytes(name, "default"))
            return weir__run_raise(r, WEIR_EINVAL, "Unexpected keyword argument '%.*s'", weir__clip(name->n),
                                   name->p);
    }
    return WEIR_OK;
}

static weir_status f_map(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *attribute = a->n == 1 ? weir__arg_named(a, "attribute") : NULL,
                      *d = weir__arg_named(a, "default");
    const weir__callable *c = NULL;
    weir__seq *items = NULL;
    weir__value list;
    if (!weir__value_truth(&a->at[0])) { /* nothing is looked at, not even the arguments */
        WEIR_TRY(weir__value_list(r, WEIR__LIST, 0, &list));
        return weir__iterator(r, list, out);
    }
    if (attribute)
        WEIR_TRY(check_map(r, a));
    else if (a->n == 1)
        return weir__run_raise(r, WEIR_EINVAL, "map requires a filter argument");
    WEIR_TRY(weir__value_items(r, a->at[0], &items));
    WEIR_TRY(weir__value_list(r, WEIR__LIST, items->n, &list));
    for (size_t i = 0; i < items->n; i++) {
        weir__value *to = &list.as.seq->at[i];
        if (!attribute && !c) WEIR_TRY(named(r, true, &a->at[1], &c));
        WEIR_TRY(attribute ? weir__attribute_of(r, items->at[i], attribute, d ? *d : weir__none(), to)
                           : apply(r, c, a, 1, items->at[i], to));
    }
    return weir__iterator(r, list, out);
}

/* select and its siblings: by an attribute, and the answer that counts. */
static weir_status chosen(weir__run *r, const weir__args *a, bool by_attribute, bool want, weir__value *out) {
    const size_t at = by_attribute ? 2 : 1; /* of the test's name */
    const weir__callable *c = NULL;
    weir__seq *items = NULL;
    weir__value list, v;
    size_t n = 0;
    if (!weir__value_truth(&a->at[0])) {
        WEIR_TRY(weir__value_list(r, WEIR__LIST, 0, &list));
        return weir__iterator(r, list, out);
    }
    if (by_attribute && a->n < 2)
        return weir__run_raise(r, WEIR_EINVAL, "Missing parameter for attribute name");
    WEIR_TRY(weir__value_items(r, a->at[0], &items));
    WEIR_TRY(weir__value_list(r, WEIR__LIST, items->n, &list));
    for (size_t i = 0; i < items->n; i++) {
        v = items->at[i];
        if (a->n > at && !c) WEIR_TRY(named(r, false, &a->at[at], &c));
        if (by_attribute)
            WEIR_TRY(weir__attribute_of(r, v, &a->at[1], (weir__value){.kind = WEIR__ABSENT}, &v));
        if (c) WEIR_TRY(apply(r, c, a, at, v, &v));
        if (weir__value_truth(&v) == want) list.as.seq->at[n++] = items->at[i];
    }
    list.as.seq->n = n;
    return weir__iterator(r, list, out);
}

static weir_status f_select(weir__run *r, const weir__args *a, weir__value *out) {
    return chosen(r, a, false, true, out);
}
static weir_status f_reject(weir__run *r, const weir__args *a, weir__value *out) {
    return chosen(r, a, false, false, out);
}
static weir_status f_selectattr(weir__run *r, const weir__args *a, weir__value *out) {
    return chosen(r, a, true, true, out);
}
static weir_status f_rejectattr(weir__run *r, const weir__args *a, weir__value *out) {
    return chosen(r, a, true, false, out);
}

const weir__callable weir__choice_filters[] = {{"default", "?default_value ?boolean", f_default},
                                               {"d", "?default_value ?boolean", f_default},
                                               {"attr", "name", f_attr},
                                               {"map", NULL, f_map},
                                               {"select", NULL, f_select},
                                               {"reject", NULL, f_reject},
                                               {"selectattr", NULL, f_selectattr},
                                               {"rejectattr", NULL, f_rejectattr}};
const size_t weir__n_choice_filters = sizeof weir__choice_filters / sizeof *weir__choice_filters;
