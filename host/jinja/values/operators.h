#ifndef WEIR_HOST_JINJA_VALUES_OPERATORS_H
#define WEIR_HOST_JINJA_VALUES_OPERATORS_H

#include "host/jinja/values/compare.h"

/* Python's arithmetic, of numbers, texts and lists. Internal to host/jinja. */

/* ADD … POW. */
weir_status weir__value_arithmetic(weir__run *r, weir__jinja_op op, const weir__value *a,
                                   const weir__value *b, weir__value *out);
weir_status weir__value_negate(weir__run *r, const weir__value *a, bool minus, weir__value *out);

#endif /* WEIR_HOST_JINJA_VALUES_OPERATORS_H */
