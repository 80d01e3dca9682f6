#ifndef WEIR_HOST_WIRE_SCORE_H
#define WEIR_HOST_WIRE_SCORE_H

#include "host/wire/request.h"

/* What is scored, given what, from an object with the fields of WIRE_SCORE. */
typedef struct wire_pair {
    int32_t *ids[2]; /* prompt, completion; weir_free() */
    size_t n[2];
} wire_pair;

/* p comes zeroed, and is freed by the caller after a failure too. */
weir_status wire_pair_read(const wire_context *c, wire_object *in, wire_pair *p, weir_err *err);
void wire_pair_free(wire_pair *p);
/* completion_ids, logprobs, sum */
json_t *wire_scores_json(const wire_pair *p, const float *logprobs);

#endif /* WEIR_HOST_WIRE_SCORE_H */
