#ifndef WEIR_HOST_WIRE_SETTINGS_H
#define WEIR_HOST_WIRE_SETTINGS_H

#include <jansson.h>

#include "host/wire/fields.h"
#include "host/wire/object.h"

/* The settings of a request, read and written by the table of fields. */

/* Where a setting is kept: a bool, int32_t, uint64_t or float by the field's type. */
void *wire_place(const wire_field *f, weir_session_options *o);
/* Its value; NaN stands for the word of a number. Exact but for seeds past 2^53. */
double wire_get(const wire_field *f, const weir_session_options *o);
void wire_put(const wire_field *f, weir_session_options *o, double x);

/* Another rule brings its own knobs along. */
void wire_set_rule(weir_law *law, weir_rule rule);

/* Another method brings its own: the paper's rule of a sequential cascade, and no knob that meant something
 * else. */
void wire_set_method(weir_session_options *o, weir_method m);
/* The rule of a method that was given none: of the sequential cascades the paper's. */
weir_rule wire_rule_of_method(weir_method m);

/* Whether the method decides by law.rule, and whether it runs a drafter. */
bool wire_method_has_rule(weir_method m);
bool wire_method_needs_draft(weir_method m);

/* EINVAL: a field that does not belong there. */
weir_status wire_check_known(wire_object *in, unsigned where, weir_err *err);

/* Ends of ranges that depend on the engine; 0 = the table's. */
typedef struct wire_limits {
    int max_tokens, max_draft;
} wire_limits;

/* The name under which a field is there, of those it has among `where`; its first one if it is not. */
const char *wire_key(const wire_object *in, const wire_field *f, unsigned where);

/* The settings that may be there, over o. limits NULL: the table's. The law is not checked as a whole. Over
 * HTTP top_p 0 becomes the smallest one above, top_k -1 becomes 0; what -1 means for max_tokens and seed is
 * left to the caller. */
weir_status wire_read_settings(wire_object *in, unsigned where, const wire_limits *limits,
                               weir_session_options *o, weir_err *err);

/* Whether a setting can change the answer, under the method and the rule of o. */
bool wire_counts(const wire_field *f, const weir_session_options *o);

/* weir_law_check, which says nothing of fields; in->failed names the one. */
weir_status wire_check_law(wire_object *in, unsigned where, const weir_law *law, weir_err *err);

/* Writes them into an object. A law leaves out what its rule does not have; so reading finds what writing
 * had. */
void wire_set_settings(json_t *object, unsigned where, const weir_session_options *o);
void wire_set_setting(json_t *object, wire_id id, const weir_session_options *o); /* one, by its short name */
json_t *wire_law_json(const weir_law *law);

/* "method speculative, rule opt, alpha 0.5, …": those of WIRE_LINE; written to buf, cut at its end. */
void wire_settings_text(const weir_session_options *o, char *buf, size_t cap);

/* Of a law, all fields that a recording has. Two betas "auto" are equal. */
bool wire_law_equal(const weir_law *a, const weir_law *b);

#endif /* WEIR_HOST_WIRE_SETTINGS_H */
