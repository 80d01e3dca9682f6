#ifndef WEIR_HOST_JINJA_VALUES_JSON_H
#define WEIR_HOST_JINJA_VALUES_JSON_H

#include "host/jinja/values/value.h"

/* json.dumps. Internal to host/jinja. */

typedef struct weir__json_style {
    bool ascii, sort;
    const weir__text *indent;     /* NULL: one line */
    const weir__text *item, *key; /* separators */
} weir__json_style;
weir_status weir__value_json(weir__run *r, weir__buf *b, const weir__value *v, const weir__json_style *s);

#endif /* WEIR_HOST_JINJA_VALUES_JSON_H */
