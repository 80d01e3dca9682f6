#ifndef WEIR_HOST_JINJA_VALUES_PRINT_H
#define WEIR_HOST_JINJA_VALUES_PRINT_H

#include "host/jinja/values/value.h"

/* str() and repr(), and errors that show a value. Internal to host/jinja. */

weir_status weir__value_str(weir__run *r, weir__buf *b, const weir__value *v);
weir_status weir__value_repr(weir__run *r, weir__buf *b, const weir__value *v);
weir_status weir__value_text(weir__run *r, const weir__value *v, weir__text **out); /* str(v) */
weir_status weir__value_repr_text(weir__run *r, const weir__value *v, weir__value *out);
weir_status weir__value_escape(weir__run *r, const weir__text *t, weir__value *out); /* markupsafe.escape */

weir_status weir__fail_undefined(weir__run *r, weir__value v); /* what using it raises */

#endif /* WEIR_HOST_JINJA_VALUES_PRINT_H */
