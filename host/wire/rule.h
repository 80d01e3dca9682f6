#ifndef WEIR_HOST_WIRE_RULE_H
#define WEIR_HOST_WIRE_RULE_H

#include "host/wire/object.h"

/* One position under a rule, from an object with the fields of WIRE_RULE: logits in, everything about it
 * out. */
typedef struct wire_position {
    weir_session_options o; /* its law */
    float *logits[2];       /* q, p; weir_free() */
    size_t n;
    weir_rule_result result;
    float *arrays; /* (4, n), what result points to; weir_free() */
    int64_t n_draw, n_accepted;
    int64_t *counts; /* (n) of n_draw draws, or NULL; weir_free() */
} wire_position;

/* Over this law. at comes zeroed, and is freed by the caller after a failure too. */
weir_status wire_position_read(wire_object *in, const weir_law *law, wire_position *at, weir_err *err);
/* Draws are made in slices, between which stop is asked: ECANCELED. */
weir_status wire_position_study(wire_position *at, int64_t n_draw, uint64_t seed, weir_interrupt stop,
                                weir_err *err);
json_t *wire_position_json(const wire_position *at);
void wire_position_free(wire_position *at);

#endif /* WEIR_HOST_WIRE_RULE_H */
