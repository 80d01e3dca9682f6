/* Statements. */
#include "host/jinja/run/eval.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/print.h"

weir_status weir__value_write(weir__run *r, const weir__value *v) {
    WEIR_TRY(weir__value_str(r, r->out, v));
    if (r->out->n <= r->options.max_output) return WEIR_OK;
    return weir__run_raise(r, WEIR_ENOTSUP, "the template writes more than %zu bytes", r->options.max_output);
}

/* ---- loops ------------------------------------------------------------------------------------------ */

/* The values of a target's names, as it would be written: what jinja2 hands on from a loop's condition to its
 * body. */
static weir_status value_of_target(weir__run *r, const weir__node *target, weir__value *out) {
    size_t n = 0;
    if (target->kind == WEIR__N_NAME) return weir__lookup(r, target->name, out);
    for (const weir__node *t = target->list; t; t = t->next) n++;
    WEIR_TRY(weir__run_enter(r));
    WEIR_TRY(weir__value_list(r, WEIR__TUPLE, n, out));
    n = 0;
    for (const weir__node *t = target->list; t; t = t->next)
        WEIR_TRY(value_of_target(r, t, &out->as.seq->at[n++]));
    r->depth--;
    return WEIR_OK;
}

/* Whether the loop's condition takes *v. */
static weir_status passes(weir__run *r, weir__loop *l, weir__value *v, bool *out) {
    weir__frame *const inside = r->frame;
    weir__value holds;
    *out = true;
    if (!l->tests) return WEIR_OK;
    WEIR_TRY(weir__frame_new(r, l->outer, &r->frame));
    WEIR_TRY(weir__assign_target(r, r->frame, l->node->a, *v));
    WEIR_TRY(weir__eval(r, l->node->c, &holds));
    *out = weir__value_truth(&holds);
    WEIR_TRY(value_of_target(r, l->node->a, v));
    r->frame = inside;
    return WEIR_OK;
}

weir_status weir__loop_next(weir__run *r, weir__loop *l, weir__value *out, bool *found) {
    bool takes = false;
    *found = l->ahead.kind != WEIR__ABSENT;
    if (*found) {
        *out = l->ahead;
        l->ahead.kind = WEIR__ABSENT;
        return WEIR_OK;
    }
    while (*l->next < l->items->n) {
        weir__value v = l->items->at[(*l->next)++];
        WEIR_TRY(passes(r, l, &v, &takes));
        if (!takes) continue;
        *out = v;
        *found = true;
        return WEIR_OK;
    }
    return WEIR_OK;
}

static weir_status loop_begin(weir__run *r, weir__loop *l, const weir__node *n, weir__value iterable,
                              int64_t depth0) {
    *l = (weir__loop){
        .node = n, .tests = n->c != NULL, .outer = r->frame, .index0 = -1, .length = -1, .depth0 = depth0};
    l->next = &l->at;
    if (iterable.kind != WEIR__ITERATOR) return weir__value_items(r, iterable, &l->items);
    l->items = iterable.as.seq;
    l->next = &l->items->next;
    return WEIR_OK;
}

/* One round in a scope of its own; *body stays as it is unless a function keeps it. */
static weir_status round_of(weir__run *r, weir__loop *l, weir__value v, weir__frame **body,
                            weir__flow *flow) {
    weir__frame *const outer = l->outer;
    if (!*body || (*body)->kept) WEIR_TRY(weir__frame_new(r, outer, body));
    (*body)->n = 0;
    l->index0++;
    l->before = l->current;
    l->current = v;
    r->frame = *body;
    WEIR_TRY(weir__assign_target(r, *body, l->node->a, v));
    WEIR_TRY(weir__assign(r, *body, "loop", (weir__value){.kind = WEIR__LOOP, .as.loop = l}));
    WEIR_TRY(weir__exec(r, l->node->body, flow));
    r->frame = outer;
    return WEIR_OK;
}

weir_status weir__exec_loop(weir__run *r, const weir__node *n, weir__value iterable, int64_t depth0) {
    weir__loop *l = weir__arena_alloc(&r->arena, 1, sizeof *l);
    weir__frame *body = NULL, *const outer = r->frame;
    weir__value v;
    bool found = false, ran = false;
    weir__flow flow = WEIR__GO_ON;
    if (!l) return weir__run_no_memory(r);
    WEIR_TRY(loop_begin(r, l, n, iterable, depth0));
    for (;;) {
        WEIR_TRY(weir__run_charge(r, 1));
        WEIR_TRY(weir__loop_next(r, l, &v, &found));
        if (!found) break;
        WEIR_TRY(round_of(r, l, v, &body, &flow));
        /* jinja2 notes it at the body's end, where neither break nor continue gets. */
        ran |= flow == WEIR__GO_ON;
        if (flow == WEIR__BREAK) break;
        flow = WEIR__GO_ON;
    }
    if (ran || !n->else_) return WEIR_OK;
    flow = WEIR__GO_ON;
    WEIR_TRY(weir__frame_new(r, outer, &r->frame));
    WEIR_TRY(weir__exec(r, n->else_, &flow));
    r->frame = outer;
    return WEIR_OK;
}

static weir_status exec_for(weir__run *r, const weir__node *n) {
    weir__value iterable;
    WEIR_TRY(weir__eval(r, n->b, &iterable));
    r->line = n->line;
    return weir__exec_loop(r, n, iterable, 0);
}

/* ---- assignments ------------------------------------------------------------------------------------ */

/* Namespaces that a target names are looked at before the value is made. */
static weir_status check_namespaces(weir__run *r, const weir__node *target) {
    weir__value ns;
    if (target->kind == WEIR__N_NSREF) {
        WEIR_TRY(weir__lookup(r, target->name, &ns));
        if (ns.kind != WEIR__NAMESPACE)
            return weir__run_raise(r, WEIR_EINVAL, "cannot assign attribute on non-namespace object");
    }
    for (const weir__node *n = target->kind == WEIR__N_TUPLE ? target->list : NULL; n; n = n->next)
        WEIR_TRY(check_namespaces(r, n));
    return WEIR_OK;
}

static weir_status exec_set(weir__run *r, const weir__node *n) {
    weir__value v;
    WEIR_TRY(check_namespaces(r, n->a));
    WEIR_TRY(weir__eval(r, n->b, &v));
    r->line = n->line;
    return weir__assign_target(r, r->frame, n->a, v);
}

static weir_status exec_set_block(weir__run *r, const weir__node *n, weir__flow *flow) {
    weir__frame *inner = NULL;
    weir__value v;
    WEIR_TRY(weir__frame_new(r, r->frame, &inner));
    WEIR_TRY(weir__capture(r, n->body, inner, flow, &v));
    if (*flow != WEIR__GO_ON) return WEIR_OK;
    if (n->b) WEIR_TRY(weir__eval_filters(r, n->b, v, &v));
    r->line = n->line;
    WEIR_TRY(check_namespaces(r, n->a));
    return weir__assign_target(r, r->frame, n->a, v);
}

static weir_status exec_with(weir__run *r, const weir__node *n, weir__flow *flow) {
    weir__frame *inner = NULL, *const outer = r->frame;
    weir__value v;
    WEIR_TRY(weir__frame_new(r, outer, &inner));
    for (const weir__node *t = n->list; t; t = t->next->next) {
        WEIR_TRY(weir__eval(r, t->next, &v));
        WEIR_TRY(weir__assign_target(r, inner, t, v));
    }
    r->frame = inner;
    WEIR_TRY(weir__exec(r, n->body, flow));
    r->frame = outer;
    return WEIR_OK;
}

/* ---- others ----------------------------------------------------------------------------------------- */

static weir_status exec_filter(weir__run *r, const weir__node *n, weir__flow *flow) {
    weir__frame *inner = NULL;
    weir__value v;
    WEIR_TRY(weir__frame_new(r, r->frame, &inner));
    WEIR_TRY(weir__capture(r, n->body, inner, flow, &v));
    if (*flow != WEIR__GO_ON) return WEIR_OK;
    WEIR_TRY(weir__eval_filters(r, n->a, v, &v));
    return weir__value_write(r, &v);
}

static weir_status exec_macro(weir__run *r, const weir__node *n) {
    weir__value v;
    WEIR_TRY(weir__macro_new(r, n, &v));
    return weir__assign(r, r->frame, n->name, v);
}

/* A body that is a function without arguments, called at once. */
static weir_status exec_generation(weir__run *r, const weir__node *n) {
    weir__value v, self = {.kind = WEIR__ABSENT};
    const weir__args none = {.at = &self, .n = 1};
    WEIR_TRY(weir__macro_new(r, n, &v));
    WEIR_TRY(weir__value_call(r, v, &none, &v));
    return weir__value_write(r, &v);
}

static weir_status exec_print(weir__run *r, const weir__node *n) {
    weir__value v;
    WEIR_TRY(weir__eval(r, n->a, &v));
    r->line = n->line;
    return weir__value_write(r, &v);
}

static weir_status exec_if(weir__run *r, const weir__node *n, weir__flow *flow) {
    weir__value v;
    for (; n; n = n->else_) {
        if (n->kind != WEIR__N_IF) return weir__exec(r, n, flow);
        WEIR_TRY(weir__eval(r, n->a, &v));
        if (weir__value_truth(&v)) return weir__exec(r, n->body, flow);
        if (n->else_ && !n->else_->flag) return weir__exec(r, n->else_, flow);
    }
    return WEIR_OK;
}

static weir_status statement(weir__run *r, const weir__node *n, weir__flow *flow) {
    switch (n->kind) {
    case WEIR__N_DATA: return weir__value_write(r, &n->value);
    case WEIR__N_PRINT:
    case WEIR__N_CALL_BLOCK: return exec_print(r, n);
    case WEIR__N_IF: return exec_if(r, n, flow);
    case WEIR__N_FOR: return exec_for(r, n);
    case WEIR__N_SET: return exec_set(r, n);
    case WEIR__N_SET_BLOCK: return exec_set_block(r, n, flow);
    case WEIR__N_MACRO: return exec_macro(r, n);
    case WEIR__N_FILTER_BLOCK: return exec_filter(r, n, flow);
    case WEIR__N_WITH: return exec_with(r, n, flow);
    case WEIR__N_GENERATION: return exec_generation(r, n);
    case WEIR__N_BREAK: *flow = WEIR__BREAK; return WEIR_OK;
    case WEIR__N_CONTINUE: *flow = WEIR__CONTINUE; return WEIR_OK;
    default: return weir__run_raise(r, WEIR_ENOTSUP, "no statement");
    }
}

weir_status weir__exec(weir__run *r, const weir__node *body, weir__flow *flow) {
    WEIR_TRY(weir__run_enter(r));
    for (const weir__node *n = body; n && *flow == WEIR__GO_ON; n = n->next) {
        r->line = n->line;
        WEIR_TRY(weir__run_charge(r, 1));
        WEIR_TRY(statement(r, n, flow));
    }
    r->depth--;
    return WEIR_OK;
}
