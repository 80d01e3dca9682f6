#ifndef WEIR_HOST_JINJA_VALUES_ACCESS_H
#define WEIR_HOST_JINJA_VALUES_ACCESS_H

#include "host/jinja/values/value.h"

/* Attributes, items, slices and iteration. Internal to host/jinja. */

weir_status weir__getattr(weir__run *r, weir__value v, const char *name, size_t n,
                          weir__value *out);                                               /* v.name */
weir_status weir__getitem(weir__run *r, weir__value v, weir__value key, weir__value *out); /* v[key] */
weir_status weir__value_slice(weir__run *r, weir__value v, const weir__value bounds[3],
                              weir__value *out); /* v[a:b:c] */
/* The items of anything that can be iterated, as a list; what reads once is empty afterwards. */
weir_status weir__value_items(weir__run *r, weir__value v, weir__seq **out);
weir_status weir__dict_view(weir__run *r, weir__kind kind, const weir__dict *d,
                            weir__value *out); /* KEYS … ITERATOR of pairs */
weir_status weir__value_length(weir__run *r, const weir__value *v, int64_t *out); /* len() */
weir_status weir__value_range(weir__run *r, int64_t start, int64_t stop, int64_t step, weir__value *out);

#endif /* WEIR_HOST_JINJA_VALUES_ACCESS_H */
