#ifndef WEIR_HOST_JINJA_VALUES_OBJECTS_H
#define WEIR_HOST_JINJA_VALUES_OBJECTS_H

#include "host/jinja/values/value.h"

/* What attributes and repr() need of macros and loops, which run/ makes. Internal to host/jinja. */

typedef struct weir__macro {
    const char *name; /* NULL: of a call block */
    const struct weir__params *params;
    const struct weir__node *body;
    struct weir__frame *frame; /* it was made in */
} weir__macro;

weir_status weir__macro_name(weir__run *r, const weir__macro *m, weir__value *out);
weir_status weir__loop_attribute(weir__run *r, struct weir__loop *l, const char *name, size_t n,
                                 weir__value *out, bool *found);

#endif /* WEIR_HOST_JINJA_VALUES_OBJECTS_H */
