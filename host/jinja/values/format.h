#ifndef WEIR_HOST_JINJA_VALUES_FORMAT_H
#define WEIR_HOST_JINJA_VALUES_FORMAT_H

#include "host/jinja/library/callable.h"

/* str.format(…), with fields by position and by name, attributes, items, !s and !r, and format
 * specifications for texts and numbers. Internal to host/jinja. */
weir_status weir__format_method(weir__run *r, const weir__args *a, weir__value *out);

weir_status weir__format_percent(weir__run *r, const weir__text *format, const weir__value *args,
                                 weir__value *out); /* str % args */

#endif /* WEIR_HOST_JINJA_VALUES_FORMAT_H */
