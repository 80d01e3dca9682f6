#include "host/jinja/library/callable.h"

#include <string.h>

/* ---- tables ----------------------------------------------------------------------------------------- */

const weir__callable *weir__find_in(const weir__callable *table, size_t n_entry, const char *name, size_t n) {
    for (size_t i = 0; i < n_entry; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0) return &table[i];
    return NULL;
}

const weir__callable *weir__find_filter(const char *name, size_t n) {
    const weir__callable *c = weir__find_in(weir__text_filters, weir__n_text_filters, name, n);
    if (!c) c = weir__find_in(weir__number_filters, weir__n_number_filters, name, n);
    if (!c) c = weir__find_in(weir__list_filters, weir__n_list_filters, name, n);
    return c ? c : weir__find_in(weir__choice_filters, weir__n_choice_filters, name, n);
}

bool weir__is_left_out(const char *name, size_t n) {
    static const char *const names[] = {"filesizeformat", "pprint",   "random",  "truncate",
                                        "urlize",         "wordwrap", "xmlattr", "lipsum"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0) return true;
    return false;
}

/* ---- binding ---------------------------------------------------------------------------------------- */

enum { MAX_PARAMS = 8 };

typedef struct param {
    const char *name;
    size_t n;
    bool optional;
} param;

static size_t read_params(const char *spec, param *out) {
    size_t n = 0;
    while (*spec && n < MAX_PARAMS) {
        const bool optional = *spec == '?';
        spec += optional;
        const size_t k = strcspn(spec, " ");
        out[n++] = (param){spec, k, optional};
        spec += k;
        spec += *spec == ' ';
    }
    return n;
}

static weir_status bind_named(weir__run *r, const weir__callable *c, const weir__args *a, const param *p,
                              size_t n, weir__value *slots) {
    for (size_t i = 0; i < a->n_named; i++) {
        const weir__text *name = a->names[i].as.s;
        size_t k = 0;
        while (k < n && (p[k].n != name->n || memcmp(p[k].name, name->p, name->n) != 0)) k++;
        if (k == n)
            return WEIR__TYPE_ERROR(r, "%s() got an unexpected keyword argument '%.*s'", c->name,
                                    weir__clip(name->n), name->p);
        if (slots[k].kind != WEIR__ABSENT)
            return WEIR__TYPE_ERROR(r, "%s() got multiple values for argument '%.*s'", c->name,
                                    weir__clip(name->n), name->p);
        slots[k] = a->named[i];
    }
    return WEIR_OK;
}

weir_status weir__call_entry(weir__run *r, const weir__callable *c, const weir__args *a, weir__value *out) {
    param p[MAX_PARAMS];
    weir__value slots[1 + MAX_PARAMS] = {{.kind = WEIR__ABSENT}};
    WEIR_TRY(weir__run_charge(r, 1));
    if (!c->params) return c->call(r, a, out);
    const size_t n = read_params(c->params, p);
    if (a->n - 1 > n)
        return WEIR__TYPE_ERROR(r, "%s() takes %zu arguments but %zu were given", c->name, n, a->n - 1);
    memcpy(slots, a->at, a->n * sizeof *slots);
    WEIR_TRY(bind_named(r, c, a, p, n, slots + 1));
    for (size_t i = 0; i < n; i++)
        if (slots[1 + i].kind == WEIR__ABSENT && !p[i].optional)
            return WEIR__TYPE_ERROR(r, "%s() missing 1 required positional argument: '%.*s'", c->name,
                                    (int)p[i].n, p[i].name);
    const weir__args bound = {.at = slots, .n = 1 + n};
    return c->call(r, &bound, out);
}

/* ---- arguments -------------------------------------------------------------------------------------- */

bool weir__arg_given(const weir__args *a, size_t i) {
    return i < a->n && a->at[i].kind != WEIR__ABSENT && a->at[i].kind != WEIR__NONE;
}

weir_status weir__arg_int(weir__run *r, const weir__args *a, size_t i, int64_t *out) {
    if (i >= a->n || a->at[i].kind == WEIR__ABSENT) return WEIR_OK;
    const weir__value *v = &a->at[i];
    if (v->kind != WEIR__INT && v->kind != WEIR__BOOL)
        return WEIR__TYPE_ERROR(r, "'%s' object cannot be interpreted as an integer", weir__type_name(v));
    *out = v->kind == WEIR__INT ? v->as.i : v->as.b;
    return WEIR_OK;
}

bool weir__arg_bool(const weir__args *a, size_t i, bool otherwise) {
    return i < a->n && a->at[i].kind != WEIR__ABSENT ? weir__value_truth(&a->at[i]) : otherwise;
}

weir_status weir__arg_text(weir__run *r, const weir__args *a, size_t i, weir__text **out) {
    if (a->at[i].kind != WEIR__STRING)
        return WEIR__TYPE_ERROR(r, "must be str, not %s", weir__type_name(&a->at[i]));
    *out = a->at[i].as.s;
    return WEIR_OK;
}

const weir__value *weir__arg_named(const weir__args *a, const char *name) {
    for (size_t i = 0; i < a->n_named; i++)
        if (weir__same_bytes(a->names[i].as.s, name)) return &a->named[i];
    return NULL;
}
