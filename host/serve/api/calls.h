#ifndef WEIR_HOST_SERVE_API_CALLS_H
#define WEIR_HOST_SERVE_API_CALLS_H

#include "host/serve/api/server.h"
#include "host/serve/error.h"

/* Requests that are answered at once, by any thread: a body (where there is one) in, a JSON object out. False:
 * *e says why, and `out` may hold a part of it. */

bool api_models(const api_server *s, wire_buf *out, serve_error *e);
/* name: as in the path, decoded */
bool api_model_named(const api_server *s, const char *name, size_t n, wire_buf *out, serve_error *e);

#endif /* WEIR_HOST_SERVE_API_CALLS_H */
