#ifndef WEIR_TESTS_JINJA_JSON_INPUT_H
#define WEIR_TESTS_JINJA_JSON_INPUT_H

#include <jansson.h>

#include "host/jinja/jinja.h"

/* A JSON value as what a template is given; its strings are the JSON value's.
 * malloc'ed, released with json_input_free. */
weir_jinja_input *json_input(const json_t *object, size_t *n);
void json_input_free(weir_jinja_input *in, size_t n);

#endif
