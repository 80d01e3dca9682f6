#include <string.h>

#include "host/jinja/run/eval.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"

/* Names. */

weir_status weir__frame_new(weir__run *r, weir__frame *up, weir__frame **out) {
    weir__frame *f = weir__arena_alloc(&r->arena, 1, sizeof *f);
    if (!f) return weir__run_no_memory(r);
    *f = (weir__frame){.up = up};
    *out = f;
    return WEIR_OK;
}

void weir__frame_keep(weir__frame *f) {
    for (; f && !f->kept; f = f->up) f->kept = true;
}

static weir__value *find(weir__frame *f, const char *name) {
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->at[i].name, name) == 0) return &f->at[i].value;
    return NULL;
}

weir_status weir__lookup(weir__run *r, const char *name, weir__value *out) {
    size_t looked = 0;
    for (weir__frame *f = r->frame; f; f = f->up) {
        const weir__value *v = find(f, name);
        looked += f->n;
        if (!v) continue;
        *out = *v;
        return weir__run_charge(r, looked / 8);
    }
    WEIR_TRY(weir__run_charge(r, looked / 8));
    const weir__callable *f = weir__find_function(name);
    if (f) {
        *out = (weir__value){.kind = WEIR__FUNCTION, .as.function = f};
        return WEIR_OK;
    }
    if (weir__is_left_out(name, strlen(name)))
        return weir__run_raise(r, WEIR_ENOTSUP, "the function '%s' is not supported", name);
    weir__value s;
    WEIR_TRY(weir__value_literal(r, name, &s));
    return weir__undefined(r, (weir__value){.kind = WEIR__ABSENT}, s, out);
}

weir_status weir__assign(weir__run *r, weir__frame *f, const char *name, weir__value v) {
    weir__value *old = find(f, name);
    if (old) {
        *old = v;
        return WEIR_OK;
    }
    if (f->n == f->cap) {
        const size_t cap = f->cap ? f->cap * 2 : 4;
        weir__variable *at = weir__arena_alloc(&r->arena, cap, sizeof *at);
        if (!at) return weir__run_no_memory(r);
        if (f->n > 0) memcpy(at, f->at, f->n * sizeof *at);
        f->at = at;
        f->cap = cap;
    }
    f->at[f->n++] = (weir__variable){name, v};
    return WEIR_OK;
}

static size_t chain_length(const weir__node *n) {
    size_t k = 0;
    for (; n; n = n->next) k++;
    return k;
}

static weir_status unpack(weir__run *r, weir__frame *f, const weir__node *target, weir__value v) {
    const size_t want = chain_length(target->list);
    weir__seq *items = NULL;
    const bool iterable =
        v.kind == WEIR__STRING || v.kind == WEIR__DICT || v.kind == WEIR__UNDEFINED || weir__is_seq(v.kind);
    if (!iterable) return WEIR__TYPE_ERROR(r, "cannot unpack non-iterable %s object", weir__type_name(&v));
    WEIR_TRY(weir__value_items(r, v, &items));
    if (items->n > want)
        return weir__run_raise(r, WEIR_EINVAL, "too many values to unpack (expected %zu)", want);
    if (items->n < want)
        return weir__run_raise(r, WEIR_EINVAL, "not enough values to unpack (expected %zu, got %zu)", want,
                               items->n);
    size_t i = 0;
    WEIR_TRY(weir__run_enter(r));
    for (const weir__node *t = target->list; t; t = t->next)
        WEIR_TRY(weir__assign_target(r, f, t, items->at[i++]));
    r->depth--;
    return WEIR_OK;
}

weir_status weir__assign_target(weir__run *r, weir__frame *f, const weir__node *target, weir__value v) {
    weir__value ns;
    if (target->kind == WEIR__N_NAME) return weir__assign(r, f, target->name, v);
    if (target->kind == WEIR__N_TUPLE) return unpack(r, f, target, v);
    WEIR_TRY(weir__lookup(r, target->name, &ns));
    if (ns.kind != WEIR__NAMESPACE)
        return weir__run_raise(r, WEIR_EINVAL, "cannot assign attribute on non-namespace object");
    return weir__dict_put(r, ns.as.dict, target->value, v);
}
