#ifndef WEIR_HOST_WIRE_ANSWER_H
#define WEIR_HOST_WIRE_ANSWER_H

#include <jansson.h>

#include "host/weir.h"

/* What a session did, as a JSON object. text: false where the checkpoint has no tokenizer (text is then
 * null). */
json_t *wire_answer_json(int64_t index, const weir_session_options *o, const weir_session_view *v, bool text);

/* Emitted tokens of source accepted. s->accepted is of the accept step: it counts kept ones too, and
 * drafts that a stop or the limit then took back. */
int64_t wire_agreed(const weir_session_stats *s);

#endif /* WEIR_HOST_WIRE_ANSWER_H */
