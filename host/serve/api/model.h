#ifndef WEIR_HOST_SERVE_API_MODEL_H
#define WEIR_HOST_SERVE_API_MODEL_H

#include "host/serve/api/server.h"
#include "host/serve/error.h"

/* Names of models: the pair under each of its names, and each of these with ":exact", ":verifier", ":drafter"
 * or ":PROFILE", for clients that cannot send the fields of a rule. */
typedef struct api_model {
    const char *name, *suffix; /* suffix NULL: the name alone; both borrowed */
} api_model;

/* The i-th that is there; false past the last. */
bool api_model_at(const api_server *s, int i, api_model *m);
/* What a request for this name starts from; name NULL: the first. 404 names what is there. */
bool api_model_resolve(const api_server *s, const char *name, size_t n, weir_session_options *o,
                       serve_error *e);

#endif /* WEIR_HOST_SERVE_API_MODEL_H */
