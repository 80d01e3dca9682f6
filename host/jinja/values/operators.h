#ifndef WEIR_HOST_JINJA_VALUES_OPERATORS_H
#define WEIR_HOST_JINJA_VALUES_OPERATORS_H

#include "host/jinja/values/value.h"

/* What Python's operators, str() and repr() do with values. Internal to host/jinja. */

typedef enum weir__op {
    WEIR__ADD,
    WEIR__SUB,
    WEIR__MUL,
    WEIR__DIV,
    WEIR__FLOORDIV,
    WEIR__MOD,
    WEIR__POW,
    WEIR__EQ,
    WEIR__NE,
    WEIR__LT,
    WEIR__LE,
    WEIR__GT,
    WEIR__GE,
    WEIR__IN,
    WEIR__NOTIN,
} weir__op;

/* ---- operators.c ------------------------------------------------------------------------------------ */

/* Takes steps; without any left the answer is no, and the next charge fails. */
bool weir__equal(weir__run *r, const weir__value *a, const weir__value *b);
/* a op b for EQ … NOTIN. */
weir_status weir__compare(weir__run *r, weir__op op, const weir__value *a, const weir__value *b, bool *out);
weir_status weir__check_key(weir__run *r, const weir__value *key); /* lists and dicts are no keys of a dict */
/* ADD … POW. */
weir_status weir__arithmetic(weir__run *r, weir__op op, const weir__value *a, const weir__value *b,
                             weir__value *out);
weir_status weir__negate(weir__run *r, const weir__value *a, bool minus, weir__value *out);
/* Sorts at[0, n) by keys, both alike; stable. */
weir_status weir__sort(weir__run *r, weir__value *at, weir__value *keys, size_t n, bool reverse);

/* ---- access.c --------------------------------------------------------------------------------------- */

weir_status weir__getattr(weir__run *r, weir__value v, const char *name, size_t n,
                          weir__value *out);                                               /* v.name */
weir_status weir__getitem(weir__run *r, weir__value v, weir__value key, weir__value *out); /* v[key] */
weir_status weir__slice(weir__run *r, weir__value v, const weir__value bounds[3],
                        weir__value *out); /* v[a:b:c] */
/* The items of anything that can be iterated, as a list; what reads once is empty afterwards. */
weir_status weir__items(weir__run *r, weir__value v, weir__seq **out);
weir_status weir__dict_view(weir__run *r, weir__kind kind, const weir__dict *d,
                            weir__value *out);                              /* KEYS … ITERATOR of pairs */
weir_status weir__length(weir__run *r, const weir__value *v, int64_t *out); /* len() */
weir_status weir__range(weir__run *r, int64_t start, int64_t stop, int64_t step, weir__value *out);

/* ---- print.c ---------------------------------------------------------------------------------------- */

weir_status weir__str(weir__run *r, weir__buf *b, const weir__value *v);
weir_status weir__repr(weir__run *r, weir__buf *b, const weir__value *v);
weir_status weir__to_text(weir__run *r, const weir__value *v, weir__text **out); /* str(v) */
weir_status weir__repr_value(weir__run *r, const weir__value *v, weir__value *out);
weir_status weir__escape(weir__run *r, const weir__text *t, weir__value *out); /* markupsafe.escape */
void weir__print_float(char buf[32], double f);                                /* repr */

/* json.dumps. */
typedef struct weir__json_style {
    bool ascii, sort;
    const weir__text *indent;     /* NULL: one line */
    const weir__text *item, *key; /* separators */
} weir__json_style;
weir_status weir__json(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s);

/* ---- format.c --------------------------------------------------------------------------------------- */

weir_status weir__percent(weir__run *r, const weir__text *format, const weir__value *args,
                          weir__value *out); /* str % args */

#endif /* WEIR_HOST_JINJA_VALUES_OPERATORS_H */
