#include "host/wire/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value that could not be made leaves a hole; the object is then not written at all. */
static _Thread_local bool hole;

json_t *wire_real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *wire_knob(float x) {
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)x);
    return wire_real(strtod(text, NULL));
}

json_t *wire_text(const char *bytes, size_t n) {
    wire_buf b = {0};
    json_t *v = wire_buf_add_utf8(&b, bytes, n) ? json_stringn(b.data, b.len) : NULL;
    wire_buf_free(&b);
    return v;
}

void wire_set(json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0) hole = true;
}

json_t *wire_lookup_json(const weir_engine_facts *f) {
    if (f->draft != WEIR_DRAFT_LOOKUP) return json_null();
    json_t *v = json_object();
    wire_set(v, "min", json_integer(f->lookup_min));
    wire_set(v, "max", json_integer(f->lookup_max));
    return v;
}

json_t *wire_quantized_json(const weir_engine_facts *f, int side) {
    if (!f->quantized[side]) return json_null();
    json_t *v = json_object();
    wire_set(v, "dtype", json_string(f->quantized[side]));
    wire_set(v, "matrices", json_integer(f->n_quantized[side]));
    wire_set(v, "left", json_integer(f->n_unquantized[side]));
    wire_set(v, "same_law_under_exact", json_boolean(side == 1 || f->n_quantized[side] == 0));
    return v;
}

void wire_set_quantized(json_t *object, const char *const quantized[2]) {
    if (quantized[0]) wire_set(object, "quantize", json_string(quantized[0]));
    if (quantized[1]) wire_set(object, "quantize_draft", json_string(quantized[1]));
}

static json_t *word(const char *text) { return text ? json_string(text) : json_null(); }

void wire_set_ways(json_t *object, const char *graph, const char *team, const char *pdl) {
    wire_set(object, "graph", word(graph));
    wire_set(object, "team", word(team));
    wire_set(object, "pdl", word(pdl));
}

void wire_set_device(json_t *object, const weir_engine_facts *f) {
    wire_set(object, "device", json_string(f->device));
    wire_set(object, "about", wire_text(f->about, strlen(f->about)));
    wire_set_ways(object, f->graph, f->team, f->pdl);
    wire_set(object, "isa", f->isa ? json_string(f->isa) : json_null());
    wire_set(object, "threads", f->isa ? json_integer(f->n_thread) : json_null());
    wire_set(object, "tensor_parallel_size", json_integer(f->n_rank));
    wire_set(object, "draft_ranks", json_integer(f->draft_rank));
    wire_set(object, "draft_choice",
             f->draft_choice ? wire_text(f->draft_choice, strlen(f->draft_choice)) : json_null());
}

void wire_add(json_t *array, json_t *value) {
    if (json_array_append_new(array, value) != 0) hole = true;
}

json_t *wire_floats(const float *x, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) wire_add(list, wire_real((double)x[i]));
    return list;
}

json_t *wire_ids(const int32_t *ids, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) wire_add(list, json_integer(ids[i]));
    return list;
}

static int write_part(const char *bytes, size_t n, void *ud) { return wire_buf_add(ud, bytes, n) ? 0 : -1; }

bool wire_write(json_t *value, wire_buf *b) {
    const bool whole = value && !hole;
    const bool ok = whole && json_dump_callback(value, write_part, b, JSON_REAL_PRECISION(9)) == 0;
    hole = false;
    json_decref(value);
    return ok;
}
