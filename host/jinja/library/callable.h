#ifndef WEIR_HOST_JINJA_LIBRARY_CALLABLE_H
#define WEIR_HOST_JINJA_LIBRARY_CALLABLE_H

#include "host/jinja/values/value.h"

/* Filters, tests, methods and functions: tables of names. Internal to host/jinja. */

typedef struct weir__args {
    weir__value *at; /* (n) by position; [0] is the subject: what is filtered or tested, a method's object */
    size_t n;
    weir__value *names, *named; /* (n_named) by name; the names are strings */
    size_t n_named;
} weir__args;

typedef struct weir__callable {
    const char *name;
    /* Names of what follows the subject, in order, ? before those that may be left out: call then gets
     * exactly these, ABSENT where nothing was given. NULL: call gets what was given. */
    const char *params;
    weir_status (*call)(weir__run *r, const weir__args *a, weir__value *out);
} weir__callable;

/* NULL: no such name. n bytes. */
const weir__callable *weir__find_filter(const char *name, size_t n);
const weir__callable *weir__find_test(const char *name, size_t n);
const weir__callable *weir__find_method(weir__kind kind, const char *name, size_t n);
const weir__callable *weir__find_function(const char *name);
const weir__callable *weir__find_in(const weir__callable *table, size_t n_entry, const char *name, size_t n);

/* Whether jinja2 has a filter, test or function of this name that is not supported here. */
bool weir__is_left_out(const char *name, size_t n);

/* Binds the arguments and calls. a->at[0] is the subject (ABSENT for a function). */
weir_status weir__call_entry(weir__run *r, const weir__callable *c, const weir__args *a, weir__value *out);

/* ---- arguments -------------------------------------------------------------------------------------- */

/* Argument i as an integer, a bool or a text; where it is absent *out stays. */
weir_status weir__arg_int(weir__run *r, const weir__args *a, size_t i, int64_t *out);
bool weir__arg_bool(const weir__args *a, size_t i, bool otherwise);
bool weir__arg_given(const weir__args *a, size_t i); /* neither absent nor None */
weir_status weir__arg_text(weir__run *r, const weir__args *a, size_t i,
                           weir__text **out); /* TypeError unless it is a string */
const weir__value *weir__arg_named(const weir__args *a, const char *name); /* NULL: not given */

/* ---- the tables of each file ------------------------------------------------------------------------ */

extern const weir__callable weir__text_filters[], weir__number_filters[], weir__list_filters[],
    weir__choice_filters[];
extern const size_t weir__n_text_filters, weir__n_number_filters, weir__n_list_filters,
    weir__n_choice_filters;
extern const weir__callable weir__text_methods[];
extern const size_t weir__n_text_methods;

#endif /* WEIR_HOST_JINJA_LIBRARY_CALLABLE_H */
