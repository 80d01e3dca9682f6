#ifndef WEIR_HOST_SERVE_API_CALLS_H
#define WEIR_HOST_SERVE_API_CALLS_H

#include "host/serve/api/server.h"
#include "host/serve/error.h"
#include "host/wire/score.h"

/* Requests that need no session: a body (where there is one) in, a JSON object out, by any thread. False: *e
 * says why, and `out` may hold a part of it. */

bool api_models(const api_server *s, wire_buf *out, serve_error *e);
/* name: as in the path, decoded */
bool api_model_named(const api_server *s, const char *name, size_t n, wire_buf *out, serve_error *e);

bool api_tokenize(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e);
bool api_detokenize(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e);
bool api_tokenizer_info(const api_server *s, wire_buf *out, serve_error *e);
bool api_apply_template(const api_server *s, const char *body, size_t n, wire_buf *out, serve_error *e);
bool api_props(const api_server *s, wire_buf *out, serve_error *e);

/* What is in a slot; o NULL: nothing. */
typedef struct api_slot {
    const weir_session_options *o;
    bool prefill; /* its prompt is being read */
    int64_t n_prompt, n_output;
} api_slot;

bool api_slots(const api_server *s, const api_slot *slots, int n, wire_buf *out, serve_error *e);

/* /weir/rule */
bool api_rule(const char *body, size_t n, wire_buf *out, serve_error *e);

/* /weir/score, around a scoring job (of which an empty completion needs none). wire_pair_free *p, after a
 * failure too. */
bool api_score_read(const api_server *s, const char *body, size_t n, wire_pair *p, serve_error *e);
bool api_score_write(const wire_pair *p, const float *logprobs, wire_buf *out, serve_error *e);

#endif /* WEIR_HOST_SERVE_API_CALLS_H */
