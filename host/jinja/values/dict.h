#ifndef WEIR_HOST_JINJA_VALUES_DICT_H
#define WEIR_HOST_JINJA_VALUES_DICT_H

#include "host/jinja/values/value.h"

/* Equality, and dicts, which find their keys by it. Internal to host/jinja. */

/* Takes steps; without any left the answer is no, and the next charge fails. */
bool weir__value_equal(weir__run *r, const weir__value *a, const weir__value *b);
/* -1, 0, 1; 2 if one of them is NaN. */
int weir__compare_numbers(const weir__value *a, const weir__value *b);

weir_status weir__check_key(weir__run *r, const weir__value *key); /* a list or a dict cannot be a key */
weir_status weir__dict_new(weir__run *r, weir__kind kind, weir__value *out);
weir_status weir__dict_put(weir__run *r, weir__dict *d, weir__value key, weir__value v);
const weir__value *weir__dict_find(weir__run *r, const weir__dict *d, weir__value key); /* NULL: not there */
const weir__value *weir__dict_name(const weir__dict *d, const char *name, size_t n);    /* by a string key */

#endif /* WEIR_HOST_JINJA_VALUES_DICT_H */
