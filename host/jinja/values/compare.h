#ifndef WEIR_HOST_JINJA_VALUES_COMPARE_H
#define WEIR_HOST_JINJA_VALUES_COMPARE_H

#include "host/jinja/values/value.h"

/* Order: Python's comparisons, `in`, and sorting. Internal to host/jinja. */

typedef enum weir__jinja_op {
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
} weir__jinja_op;

const char *weir__op_symbol(weir__jinja_op op); /* as Python's messages name it */

/* a op b for EQ … NOTIN. */
weir_status weir__value_compare(weir__run *r, weir__jinja_op op, const weir__value *a, const weir__value *b,
                                bool *out);
/* Sorts at[0, n) by keys, both alike; stable. */
weir_status weir__value_sort(weir__run *r, weir__value *at, weir__value *keys, size_t n, bool reverse);

#endif /* WEIR_HOST_JINJA_VALUES_COMPARE_H */
