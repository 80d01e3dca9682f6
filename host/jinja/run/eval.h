#ifndef WEIR_HOST_JINJA_RUN_EVAL_H
#define WEIR_HOST_JINJA_RUN_EVAL_H

#include "host/jinja/parse/ast.h"
#include "host/jinja/values/objects.h"

/* Running a template. Internal to host/jinja. */

typedef struct weir__variable {
    const char *name;
    weir__value value;
} weir__variable;

/* One scope. Functions keep the scopes that they were made in. */
typedef struct weir__frame {
    struct weir__frame *up;
    weir__variable *at;
    size_t n, cap;
    bool kept; /* by a function */
} weir__frame;

typedef struct
    weir__loop { /* the variable `loop`: what comes next is read when it is asked for, as in jinja2 */
    const weir__node *node;
    weir__seq *items;
    size_t *next, at;   /* the item to read next; at: where that is kept, unless an iterator keeps it */
    bool tests;         /* node->c decides which items count */
    weir__frame *outer; /* it was begun in */
    weir__value ahead;  /* read before its turn; ABSENT: nothing */
    weir__value before, current;
    int64_t index0, length, depth0; /* length -1: not counted yet */
    weir__value changed;            /* what loop.changed() was given last; ABSENT: nothing yet */
} weir__loop;

typedef enum weir__flow { WEIR__GO_ON = 0, WEIR__BREAK, WEIR__CONTINUE } weir__flow;

/* ---- eval.c ----------------------------------------------------------------------------------------- */

weir_status weir__eval(weir__run *r, const weir__node *n, weir__value *out);
/* A filter over `subject` instead of the expression before it (blocks). */
weir_status weir__eval_filters(weir__run *r, const weir__node *n, weir__value subject, weir__value *out);

/* ---- exec.c ----------------------------------------------------------------------------------------- */

weir_status weir__exec(weir__run *r, const weir__node *body, weir__flow *flow);
/* Runs a loop over iterable in r->frame; in a recursive one depth0 counts its calls. */
weir_status weir__exec_loop(weir__run *r, const weir__node *n, weir__value iterable, int64_t depth0);
/* The next item; *found false: no more. */
weir_status weir__loop_next(weir__run *r, weir__loop *l, weir__value *out, bool *found);

/* ---- scope.c ---------------------------------------------------------------------------------------- */

weir_status weir__lookup(weir__run *r, const char *name, weir__value *out); /* undefined if it has no value */
weir_status weir__assign(weir__run *r, weir__frame *f, const char *name, weir__value v);
weir_status weir__assign_target(weir__run *r, weir__frame *f, const weir__node *target, weir__value v);
weir_status weir__frame_new(weir__run *r, weir__frame *up, weir__frame **out);
void weir__frame_keep(weir__frame *f);

/* ---- call.c ----------------------------------------------------------------------------------------- */

/* What `body` writes in the scope `frame`, as a value. */
weir_status weir__capture(weir__run *r, const weir__node *body, weir__frame *frame, weir__flow *flow,
                          weir__value *out);
/* Writes str(v) to the current place. */
weir_status weir__value_write(weir__run *r, const weir__value *v);
weir_status weir__value_call(weir__run *r, weir__value f, const weir__args *a,
                             weir__value *out); /* a->at[0] is free for the subject */
weir_status weir__macro_new(weir__run *r, const weir__node *n, weir__value *out);

#endif /* WEIR_HOST_JINJA_RUN_EVAL_H */
