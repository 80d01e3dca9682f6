#ifndef WEIR_HOST_JINJA_LIBRARY_ATTRIBUTE_H
#define WEIR_HOST_JINJA_LIBRARY_ATTRIBUTE_H

#include "host/jinja/values/value.h"

/* The argument `attribute` of filters: "a.b.0", or a number. Internal to host/jinja. */

/* NONE or ABSENT: the item itself. otherwise: for what is undefined, ABSENT: leave it. */
weir_status weir__attribute_of(weir__run *r, weir__value item, const weir__value *attribute,
                               weir__value otherwise, weir__value *out);
/* A key to compare by: texts in lower case unless their case matters. */
weir_status weir__key_of(weir__run *r, weir__value v, bool cased, weir__value *out);
/* An iterator over n items that were made already. */
weir_status weir__iterator(weir__run *r, weir__value list, weir__value *out);

#endif /* WEIR_HOST_JINJA_LIBRARY_ATTRIBUTE_H */
