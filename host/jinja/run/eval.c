#include "host/jinja/run/eval.h"

#include <string.h>

#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/print.h"

/* Expressions. */

static size_t chain_length(const weir__node *n) {
    size_t k = 0;
    for (; n; n = n->next) k++;
    return k;
}

static weir_status eval_list(weir__run *r, const weir__node *n, weir__value *out) {
    const bool tuple = n->kind == WEIR__N_TUPLE;
    size_t i = 0;
    WEIR_TRY(weir__value_list(r, tuple ? WEIR__TUPLE : WEIR__LIST, chain_length(n->list), out));
    for (const weir__node *item = n->list; item; item = item->next)
        WEIR_TRY(weir__eval(r, item, &out->as.seq->at[i++]));
    return WEIR_OK;
}

static weir_status eval_dict(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value key, v;
    WEIR_TRY(weir__dict_new(r, WEIR__DICT, out));
    for (const weir__node *item = n->list; item; item = item->next->next) {
        WEIR_TRY(weir__eval(r, item, &key));
        WEIR_TRY(weir__eval(r, item->next, &v));
        WEIR_TRY(weir__check_key(r, &key));
        WEIR_TRY(weir__dict_put(r, out->as.dict, key, v));
    }
    return WEIR_OK;
}

/* a < b < c: each is evaluated once, and none after the first that does not hold. */
static weir_status eval_compare(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value left, right;
    bool holds = true;
    WEIR_TRY(weir__eval(r, n->a, &left));
    for (const weir__node *o = n->list; o && holds; o = o->next) {
        WEIR_TRY(weir__eval(r, o->a, &right));
        r->line = n->line;
        WEIR_TRY(weir__value_compare(r, o->op, &left, &right, &holds));
        left = right;
    }
    *out = weir__bool(holds);
    return WEIR_OK;
}

static weir_status eval_concat(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value v;
    weir__text *left = NULL, *right = NULL;
    WEIR_TRY(weir__eval(r, n->list, &v));
    WEIR_TRY(weir__value_text(r, &v, &left));
    for (const weir__node *item = n->list->next; item; item = item->next) {
        WEIR_TRY(weir__eval(r, item, &v));
        WEIR_TRY(weir__value_text(r, &v, &right));
        WEIR_TRY(weir__text_join2(r, left, right, &v));
        left = v.as.s;
    }
    *out = (weir__value){.kind = WEIR__STRING, .as.s = left};
    return WEIR_OK;
}

static weir_status eval_condition(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value v;
    WEIR_TRY(weir__eval(r, n->a, &v));
    if (weir__value_truth(&v)) return weir__eval(r, n->b, out);
    if (n->c) return weir__eval(r, n->c, out);
    return weir__undefined_hint(
        r, "the inline if-expression evaluated to false and no else section was defined.", out);
}

static weir_status eval_item(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value of, key;
    WEIR_TRY(weir__eval(r, n->a, &of));
    if (n->b->kind != WEIR__N_SLICE) {
        WEIR_TRY(weir__eval(r, n->b, &key));
        r->line = n->line;
        return weir__getitem(r, of, key, out);
    }
    const weir__node *parts[3] = {n->b->a, n->b->b, n->b->c};
    weir__value bounds[3] = {weir__none(), weir__none(), weir__none()};
    for (int i = 0; i < 3; i++)
        if (parts[i]) WEIR_TRY(weir__eval(r, parts[i], &bounds[i]));
    r->line = n->line;
    return weir__value_slice(r, of, bounds, out);
}

/* ---- arguments -------------------------------------------------------------------------------------- */

typedef struct arg_list {
    weir__args a;
    size_t cap, cap_named;
} arg_list;

static weir_status more(weir__run *r, weir__value **at, size_t n, size_t *cap) {
    if (n < *cap) return WEIR_OK;
    const size_t wider = *cap ? *cap * 2 : 4;
    weir__value *p = weir__arena_alloc(&r->arena, wider, sizeof *p);
    if (!p) return weir__run_no_memory(r);
    if (n > 0) memcpy(p, *at, n * sizeof *p);
    *at = p;
    *cap = wider;
    return WEIR_OK;
}

static weir_status add_arg(weir__run *r, arg_list *l, weir__value v) {
    WEIR_TRY(more(r, &l->a.at, l->a.n, &l->cap));
    l->a.at[l->a.n++] = v;
    return WEIR_OK;
}

static weir_status add_named(weir__run *r, arg_list *l, weir__value name, weir__value v) {
    size_t cap = l->cap_named;
    if (name.kind != WEIR__STRING) return WEIR__TYPE_ERROR(r, "keywords must be strings");
    for (size_t i = 0; i < l->a.n_named; i++)
        if (weir__value_equal(r, &l->a.names[i], &name))
            return WEIR__TYPE_ERROR(r, "got multiple values for keyword argument '%.*s'",
                                    weir__clip(name.as.s->n), name.as.s->p);
    WEIR_TRY(more(r, &l->a.names, l->a.n_named, &cap));
    WEIR_TRY(more(r, &l->a.named, l->a.n_named, &l->cap_named));
    l->a.names[l->a.n_named] = name;
    l->a.named[l->a.n_named++] = v;
    return WEIR_OK;
}

static weir_status spread(weir__run *r, arg_list *l, const weir__node *n, weir__value v) {
    if (!n->flag) {
        weir__seq *items = NULL;
        WEIR_TRY(weir__value_items(r, v, &items));
        for (size_t i = 0; i < items->n; i++) WEIR_TRY(add_arg(r, l, items->at[i]));
        return WEIR_OK;
    }
    if (v.kind != WEIR__DICT)
        return WEIR__TYPE_ERROR(r, "argument after ** must be a mapping, not %s", weir__type_name(&v));
    for (size_t i = 0; i < v.as.dict->n; i++)
        WEIR_TRY(add_named(r, l, v.as.dict->keys[i], v.as.dict->values[i]));
    return WEIR_OK;
}

/* The subject is [0]. */
static weir_status eval_args(weir__run *r, const weir__node *list, weir__value subject, arg_list *l) {
    weir__value v, name;
    WEIR_TRY(add_arg(r, l, subject));
    for (const weir__node *n = list; n; n = n->next) {
        const bool wrapped = n->kind == WEIR__N_KEYWORD || n->kind == WEIR__N_SPREAD;
        WEIR_TRY(weir__eval(r, wrapped ? n->a : n, &v));
        if (!wrapped) {
            WEIR_TRY(add_arg(r, l, v));
        } else if (n->kind == WEIR__N_SPREAD) {
            WEIR_TRY(spread(r, l, n, v));
        } else {
            WEIR_TRY(weir__value_literal(r, n->name, &name));
            WEIR_TRY(add_named(r, l, name, v));
        }
    }
    return WEIR_OK;
}

static weir_status eval_call(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value f;
    arg_list l = {0};
    WEIR_TRY(weir__eval(r, n->a, &f));
    WEIR_TRY(eval_args(r, n->list, (weir__value){.kind = WEIR__ABSENT}, &l));
    r->line = n->line;
    if (n->b) { /* of a call block: its caller, made by the block */
        weir__value name, caller;
        WEIR_TRY(weir__value_literal(r, "caller", &name));
        WEIR_TRY(weir__macro_new(r, n->b, &caller));
        WEIR_TRY(add_named(r, &l, name, caller));
    }
    return weir__value_call(r, f, &l.a, out);
}

/* ---- filters and tests ------------------------------------------------------------------------------ */

static weir_status apply(weir__run *r, const weir__node *n, weir__value subject, weir__value *out) {
    arg_list l = {0};
    WEIR_TRY(eval_args(r, n->list, subject, &l));
    r->line = n->line;
    if (n->entry) return weir__call_entry(r, n->entry, &l.a, out);
    return weir__run_raise(r, WEIR_EINVAL, "No %s named '%s' found.",
                           n->kind == WEIR__N_FILTER ? "filter" : "test", n->name);
}

weir_status weir__eval_filters(weir__run *r, const weir__node *n, weir__value subject, weir__value *out) {
    WEIR_TRY(weir__run_enter(r));
    if (n->a) WEIR_TRY(weir__eval_filters(r, n->a, subject, &subject));
    WEIR_TRY(apply(r, n, subject, out));
    r->depth--;
    return WEIR_OK;
}

static weir_status eval_applied(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value subject;
    WEIR_TRY(weir__eval(r, n->a, &subject));
    return apply(r, n, subject, out);
}

/* ---- all kinds -------------------------------------------------------------------------------------- */

static weir_status eval_two(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value a, b;
    WEIR_TRY(weir__eval(r, n->a, &a));
    if (n->kind != WEIR__N_BINARY) {
        if (weir__value_truth(&a) != (n->kind == WEIR__N_OR)) return weir__eval(r, n->b, out);
        *out = a;
        return WEIR_OK;
    }
    WEIR_TRY(weir__eval(r, n->b, &b));
    r->line = n->line;
    return weir__value_arithmetic(r, n->op, &a, &b, out);
}

static weir_status eval_one(weir__run *r, const weir__node *n, weir__value *out) {
    weir__value a;
    WEIR_TRY(weir__eval(r, n->a, &a));
    r->line = n->line;
    if (n->kind == WEIR__N_NEGATE) return weir__value_negate(r, &a, n->flag, out);
    if (n->kind == WEIR__N_GETATTR) return weir__getattr(r, a, n->value.as.s->p, n->value.as.s->n, out);
    *out = weir__bool(!weir__value_truth(&a));
    return WEIR_OK;
}

static weir_status dispatch(weir__run *r, const weir__node *n, weir__value *out) {
    switch (n->kind) {
    case WEIR__N_CONST: *out = n->value; return WEIR_OK;
    case WEIR__N_NAME: return weir__lookup(r, n->name, out);
    case WEIR__N_LIST:
    case WEIR__N_TUPLE: return eval_list(r, n, out);
    case WEIR__N_DICT: return eval_dict(r, n, out);
    case WEIR__N_NOT:
    case WEIR__N_NEGATE:
    case WEIR__N_GETATTR: return eval_one(r, n, out);
    case WEIR__N_BINARY:
    case WEIR__N_AND:
    case WEIR__N_OR: return eval_two(r, n, out);
    case WEIR__N_COMPARE: return eval_compare(r, n, out);
    case WEIR__N_CONCAT: return eval_concat(r, n, out);
    case WEIR__N_COND: return eval_condition(r, n, out);
    case WEIR__N_GETITEM: return eval_item(r, n, out);
    case WEIR__N_CALL: return eval_call(r, n, out);
    case WEIR__N_FILTER:
    case WEIR__N_TEST: return eval_applied(r, n, out);
    case WEIR__N_SLICE: return weir__run_raise(r, WEIR_ENOTSUP, "a slice of several dimensions");
    default: return weir__run_raise(r, WEIR_ENOTSUP, "no expression");
    }
}

weir_status weir__eval(weir__run *r, const weir__node *n, weir__value *out) {
    r->line = n->line;
    WEIR_TRY(weir__run_charge(r, 1));
    WEIR_TRY(weir__run_enter(r));
    WEIR_TRY(dispatch(r, n, out));
    r->depth--;
    return WEIR_OK;
}
