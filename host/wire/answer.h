#ifndef WEIR_HOST_WIRE_ANSWER_H
#define WEIR_HOST_WIRE_ANSWER_H

#include <jansson.h>

#include "host/weir.h"

/* What a session did, as a JSON object. text: false where the checkpoint has no tokenizer (text is then
 * null). */
json_t *wire_answer_json(int64_t index, const weir_session_options *o, const weir_session_view *v, bool text);

/* Its figures, each made in one place for every front end. */

/* Tokens as OpenAI counts them, of one session or of several. */
typedef struct wire_usage {
    int64_t prompt, completion;
    int64_t accepted, rejected; /* drafts that appeared in the text, and the other ones */
    int64_t cached;             /* of the prompt; -1: not said */
} wire_usage;
void wire_usage_add(wire_usage *u, const weir_session_stats *s); /* its accepted and rejected ones */
json_t *wire_usage_json(const wire_usage *u);

json_t *wire_timings_json(const weir_session_stats *s, int64_t predicted); /* predicted: tokens written */
json_t *wire_speculative_json(const weir_session_options *o, const weir_session_stats *s);
int wire_most_drafts(const weir_session_stats *s, int least); /* of a block; at least so many */
bool wire_lossless(const weir_session_options *o);            /* the emitted law is the verifier's own */

/* Emitted tokens of source accepted. s->accepted is of the accept step: it counts kept ones too, and
 * drafts that a stop or the limit then took back. */
int64_t wire_agreed(const weir_session_stats *s);

#endif /* WEIR_HOST_WIRE_ANSWER_H */
