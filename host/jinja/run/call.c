#include <string.h>

#include "host/jinja/run/eval.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/objects.h"
#include "host/jinja/values/print.h"

/* Calls: macros, loops and the tables' functions. */

weir_status weir__capture(weir__run *r, const weir__node *body, weir__frame *frame, weir__flow *flow,
                          weir__value *out) {
    weir__buf buf = {0}, *const outer_buf = r->out;
    weir__frame *const outer = r->frame;
    r->out = &buf;
    r->frame = frame;
    WEIR_TRY(weir__exec(r, body, flow));
    r->out = outer_buf;
    r->frame = outer;
    return weir__buf_value(r, &buf, out);
}

/* ---- macros ----------------------------------------------------------------------------------------- */

weir_status weir__macro_new(weir__run *r, const weir__node *n, weir__value *out) {
    weir__macro *m = weir__arena_alloc(&r->arena, 1, sizeof *m);
    if (!m) return weir__run_no_memory(r);
    *m = (weir__macro){.name = n->name, .params = n->params, .body = n->body, .frame = r->frame};
    weir__frame_keep(r->frame);
    *out = (weir__value){.kind = WEIR__MACRO, .as.macro = m};
    return WEIR_OK;
}

weir_status weir__macro_name(weir__run *r, const weir__macro *m, weir__value *out) {
    *out = weir__none();
    return m->name ? weir__value_literal(r, m->name, out) : WEIR_OK;
}

static bool named(const weir__args *a, size_t i, const char *name) {
    return weir__same_bytes(a->names[i].as.s, name);
}

/* Named arguments without a parameter: refused, or the dict `kwargs`. */
static weir_status take_rest(weir__run *r, const weir__macro *m, weir__frame *f, const weir__args *a,
                             const bool *used) {
    const weir__params *p = m->params;
    weir__value dict;
    const char *quote = m->name ? "'" : "", *name = m->name ? m->name : "None";
    WEIR_TRY(weir__dict_new(r, WEIR__DICT, &dict));
    for (size_t i = 0; i < a->n_named; i++) {
        if (used[i]) continue;
        if (p->kwargs) {
            WEIR_TRY(weir__dict_put(r, dict.as.dict, a->names[i], a->named[i]));
            continue;
        }
        if (named(a, i, "caller"))
            return WEIR__TYPE_ERROR(
                r,
                "macro %s%s%s was invoked with two values for the special caller argument. This is most "
                "likely a bug.",
                quote, name, quote);
        return WEIR__TYPE_ERROR(r, "macro %s%s%s takes no keyword argument '%.*s'", quote, name, quote,
                                weir__clip(a->names[i].as.s->n), a->names[i].as.s->p);
    }
    if (p->kwargs) WEIR_TRY(weir__assign(r, f, "kwargs", dict));
    if (!p->varargs && a->n - 1 > p->n)
        return WEIR__TYPE_ERROR(r, "macro %s%s%s takes not more than %zu argument(s)", quote, name, quote,
                                p->n);
    if (!p->varargs) return WEIR_OK;
    const size_t extra = a->n - 1 > p->n ? a->n - 1 - p->n : 0;
    WEIR_TRY(weir__value_list(r, WEIR__TUPLE, extra, &dict));
    if (extra > 0) memcpy(dict.as.seq->at, a->at + 1 + p->n, extra * sizeof *a->at);
    return weir__assign(r, f, "varargs", dict);
}

static weir_status missing_parameter(weir__run *r, const char *name, weir__value *out) {
    static const char before[] = "parameter '", after[] = "' was not provided";
    const size_t n = strlen(name);
    char *hint = weir__arena_alloc(&r->arena, sizeof before + n + sizeof after, 1);
    if (!hint) return weir__run_no_memory(r);
    memcpy(hint, before, sizeof before - 1);
    memcpy(hint + sizeof before - 1, name, n);
    memcpy(hint + sizeof before - 1 + n, after, sizeof after);
    return weir__undefined_hint(r, hint, out);
}

/* Parameters from arguments; what is left goes to kwargs and varargs. Defaults are made last, from left to
 * right, in the macro's own scope. */
static weir_status bind_params(weir__run *r, const weir__macro *m, weir__frame *f, const weir__args *a) {
    const weir__params *p = m->params;
    const size_t given = a->n - 1 < p->n ? a->n - 1 : p->n;
    bool *used = weir__arena_alloc(&r->arena, a->n_named + 1, sizeof *used);
    weir__value v;
    if (!used) return weir__run_no_memory(r);
    memset(used, 0, a->n_named + 1);
    for (size_t i = 0; i < p->n; i++) {
        v = (weir__value){.kind = WEIR__ABSENT};
        if (i < given) v = a->at[1 + i];
        for (size_t k = 0; i >= given && k < a->n_named; k++) {
            if (!named(a, k, p->names[i])) continue;
            v = a->named[k];
            used[k] = true;
        }
        if (v.kind != WEIR__ABSENT) WEIR_TRY(weir__assign(r, f, p->names[i], v));
    }
    if (p->caller) {
        WEIR_TRY(weir__undefined_hint(r, "No caller defined", &v));
        for (size_t k = 0; k < a->n_named; k++) {
            if (!named(a, k, "caller")) continue;
            v = a->named[k];
            used[k] = true;
        }
        WEIR_TRY(weir__assign(r, f, "caller", v));
    }
    return take_rest(r, m, f, a, used);
}

static weir_status make_defaults(weir__run *r, const weir__macro *m, weir__frame *f) {
    const weir__params *p = m->params;
    weir__frame *const outer = r->frame;
    weir__value v;
    r->frame = f;
    for (size_t i = 0; i < p->n; i++) {
        bool given = false;
        for (size_t k = 0; k < f->n; k++) given |= strcmp(f->at[k].name, p->names[i]) == 0;
        if (given) continue;
        if (p->defaults[i])
            WEIR_TRY(weir__eval(r, p->defaults[i], &v));
        else
            WEIR_TRY(missing_parameter(r, p->names[i], &v));
        WEIR_TRY(weir__assign(r, f, p->names[i], v));
    }
    r->frame = outer;
    return WEIR_OK;
}

static weir_status call_macro(weir__run *r, const weir__macro *m, const weir__args *a, weir__value *out) {
    weir__frame *f = NULL;
    weir__flow flow = WEIR__GO_ON;
    const int line = r->line;
    WEIR_TRY(weir__frame_new(r, m->frame, &f));
    WEIR_TRY(bind_params(r, m, f, a));
    WEIR_TRY(make_defaults(r, m, f));
    WEIR_TRY(weir__capture(r, m->body, f, &flow, out));
    r->line = line;
    return WEIR_OK;
}

/* ---- loops ------------------------------------------------------------------------------------------ */

static weir_status call_loop(weir__run *r, weir__loop *l, const weir__args *a, weir__value *out) {
    weir__buf buf = {0}, *const outer_buf = r->out;
    weir__frame *const outer = r->frame;
    if (!l->node->flag)
        return WEIR__TYPE_ERROR(r, "The loop must have the 'recursive' marker to be called recursively.");
    if (a->n != 2 || a->n_named > 0) return WEIR__TYPE_ERROR(r, "loop() takes one iterable");
    r->out = &buf;
    r->frame = l->outer;
    WEIR_TRY(weir__exec_loop(r, l->node, a->at[1], l->depth0 + 1));
    r->out = outer_buf;
    r->frame = outer;
    return weir__buf_value(r, &buf, out);
}

static weir_status loop_cycle(weir__run *r, const weir__args *a, weir__value *out) {
    if (a->n < 2) return WEIR__TYPE_ERROR(r, "no items for cycling given");
    *out = a->at[1 + (size_t)a->at[0].as.loop->index0 % (a->n - 1)];
    return WEIR_OK;
}

static weir_status loop_changed(weir__run *r, const weir__args *a, weir__value *out) {
    weir__loop *l = a->at[0].as.loop;
    weir__value now;
    WEIR_TRY(weir__value_list(r, WEIR__TUPLE, a->n - 1, &now));
    if (a->n > 1) memcpy(now.as.seq->at, a->at + 1, (a->n - 1) * sizeof now);
    *out = weir__bool(l->changed.kind == WEIR__ABSENT || !weir__value_equal(r, &l->changed, &now));
    l->changed = now;
    return WEIR_OK;
}

static weir_status peek(weir__run *r, weir__loop *l, bool *found) {
    weir__value v;
    WEIR_TRY(weir__loop_next(r, l, &v, found));
    if (*found) l->ahead = v;
    return WEIR_OK;
}

/* Asked for its length, a loop with a condition reads all that is left. */
static weir_status loop_length(weir__run *r, weir__loop *l) {
    weir__value all, v;
    bool found = true;
    const size_t left = l->items->n - *l->next;
    if (l->length >= 0) return WEIR_OK;
    if (!l->tests) {
        l->length = l->index0 + 1 + (int64_t)left + (l->ahead.kind != WEIR__ABSENT);
        return WEIR_OK;
    }
    const weir__value ahead = l->ahead;
    l->ahead.kind = WEIR__ABSENT;
    WEIR_TRY(weir__value_list(r, WEIR__LIST, left, &all));
    size_t n = 0;
    for (; n <= left; n++) {
        WEIR_TRY(weir__loop_next(r, l, &v, &found));
        if (!found) break;
        all.as.seq->at[n] = v;
    }
    all.as.seq->n = n;
    l->items = all.as.seq;
    l->at = 0;
    l->next = &l->at;
    l->tests = false;
    l->ahead = ahead;
    l->length = l->index0 + 1 + (int64_t)n + (ahead.kind != WEIR__ABSENT);
    return WEIR_OK;
}

weir_status weir__loop_attribute(weir__run *r, weir__loop *l, const char *name, size_t n, weir__value *out,
                                 bool *found) {
    static const char *const names[] = {"index",  "index0",   "depth",     "depth0",   "first",   "last",
                                        "length", "revindex", "revindex0", "previtem", "nextitem"};
    static const weir__callable methods[] = {{"cycle", NULL, loop_cycle}, {"changed", NULL, loop_changed}};
    bool there = false;
    size_t k = 0;
    while (k < sizeof names / sizeof *names && (strlen(names[k]) != n || memcmp(names[k], name, n) != 0)) k++;
    if (k == 5 || k == 10) WEIR_TRY(peek(r, l, &there));
    if (k >= 6 && k <= 8) WEIR_TRY(loop_length(r, l));
    *found = true;
    switch (k) {
    case 0: *out = weir__int(l->index0 + 1); return WEIR_OK;
    case 1: *out = weir__int(l->index0); return WEIR_OK;
    case 2: *out = weir__int(l->depth0 + 1); return WEIR_OK;
    case 3: *out = weir__int(l->depth0); return WEIR_OK;
    case 4: *out = weir__bool(l->index0 == 0); return WEIR_OK;
    case 5: *out = weir__bool(!there); return WEIR_OK;
    case 6: *out = weir__int(l->length); return WEIR_OK;
    case 7: *out = weir__int(l->length - l->index0); return WEIR_OK;
    case 8: *out = weir__int(l->length - l->index0 - 1); return WEIR_OK;
    case 9:
        if (l->index0 == 0) return weir__undefined_hint(r, "there is no previous item", out);
        *out = l->before;
        return WEIR_OK;
    case 10:
        if (!there) return weir__undefined_hint(r, "there is no next item", out);
        *out = l->ahead;
        return WEIR_OK;
    default: break;
    }
    const weir__callable *entry = weir__find_in(methods, 2, name, n);
    *found = entry != NULL;
    if (!entry) return WEIR_OK;
    weir__method *m = weir__arena_alloc(&r->arena, 1, sizeof *m);
    if (!m) return weir__run_no_memory(r);
    *m = (weir__method){entry, {.kind = WEIR__LOOP, .as.loop = l}};
    *out = (weir__value){.kind = WEIR__METHOD, .as.method = m};
    return WEIR_OK;
}

/* ---- all kinds -------------------------------------------------------------------------------------- */

static weir_status call_joiner(weir__run *r, weir__dict *d, weir__value *out) {
    if (d->n == 2) {
        *out = d->values[0];
        return WEIR_OK;
    }
    WEIR_TRY(weir__dict_put(r, d, weir__int(1), weir__bool(true)));
    return weir__value_literal(r, "", out);
}

weir_status weir__value_call(weir__run *r, weir__value f, const weir__args *a, weir__value *out) {
    weir_status s = WEIR_OK;
    WEIR_TRY(weir__run_enter(r));
    switch (f.kind) {
    case WEIR__MACRO: s = call_macro(r, f.as.macro, a, out); break;
    case WEIR__LOOP: s = call_loop(r, f.as.loop, a, out); break;
    case WEIR__FUNCTION: s = weir__call_entry(r, f.as.function, a, out); break;
    case WEIR__METHOD:
        a->at[0] = f.as.method->self;
        s = weir__call_entry(r, f.as.method->entry, a, out);
        break;
    case WEIR__JOINER: s = call_joiner(r, f.as.dict, out); break;
    case WEIR__UNDEFINED: s = weir__fail_undefined(r, f); break;
    default: s = WEIR__TYPE_ERROR(r, "'%s' object is not callable", weir__type_name(&f));
    }
    r->depth--;
    return s;
}
