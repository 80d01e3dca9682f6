#ifndef WEIR_HOST_WIRE_JSON_H
#define WEIR_HOST_WIRE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/weir.h"
#include "host/wire/buf.h"

/* JSON out: numbers that do not exist are null, text is valid UTF-8, reals carry nine digits (every float
 * comes back as it was). */

/* Values; NULL on no memory, which wire_set and wire_add remember, for their thread, until its next
 * wire_write. */
json_t *wire_real(double x);
json_t *wire_knob(float x); /* a setting: 0.3f is written 0.3, as the user did */
json_t *wire_text(const char *bytes, size_t n);
json_t *wire_floats(const float *x, size_t n);
json_t *wire_ids(const int32_t *ids, size_t n);
void wire_set(json_t *object, const char *key, json_t *value); /* takes the value */
void wire_add(json_t *array, json_t *value);
json_t *wire_lookup_json(const weir_engine_facts *f);             /* prompt lookup: {"min", "max"}, or null */
void wire_set_device(json_t *object, const weir_engine_facts *f); /* device, threads, ranks */
/* What a model's matrices were quantised to as it was loaded: {"dtype", "matrices", "left",
 * "same_law_under_exact"}, or null. side: 0 verifier, 1 drafter. */
json_t *wire_quantized_json(const weir_engine_facts *f, int side);
/* The same among settings: "quantize", "quantize_draft", each where it is so. */
void wire_set_quantized(json_t *object, const char *const quantized[2]);
/* A CUDA device's ways (weir_engine_facts); null where there is none. */
void wire_set_ways(json_t *object, const char *graph, const char *team, const char *pdl);

/* Onto b, on one line without its end; takes the value. False: out of memory, and part of it may be there. */
bool wire_write(json_t *value, wire_buf *b);

#endif /* WEIR_HOST_WIRE_JSON_H */
