#ifndef WEIR_HOST_WIRE_REQUEST_H
#define WEIR_HOST_WIRE_REQUEST_H

#include "host/wire/object.h"

/* A request: one prompt and the settings it runs under, from an object. */
typedef struct wire_request {
    long number;            /* the caller's: of the line it came from; 0 = none */
    weir_session_options o; /* stop strings are borrowed from `stop`, or from the defaults */
    int32_t *ids;           /* weir_free() */
    size_t n_ids;
    char **stop; /* (WIRE_MAX_STOP) of the object, or NULL; wire_stop_free() */
} wire_request;

void wire_request_free(wire_request *r);

/* What a request is read against. */
typedef struct wire_context {
    const weir_engine *engine;
    int ctx_size;
    weir_draft_kind draft;  /* of the engine */
    bool parse_special;     /* control tokens in prompts, where the object does not say otherwise */
    const char *draft_hint; /* how a drafter is had, for messages; NULL = nothing */
} wire_context;

/* Fields of WIRE_GENERATE. r comes with the defaults in r->o, and is freed by the caller after a failure
 * too. */
weir_status wire_request_read(const wire_context *c, wire_object *in, wire_request *r, weir_err *err);

/* Parts of it. The method as `speculative` says, and whether it, the rule and its knobs go together. */
weir_status wire_read_method(const wire_context *c, wire_object *in, weir_session_options *o, weir_err *err);
/* Stop strings: *stop (WIRE_MAX_STOP), to which o then points; both stay as they are where there is no such
 * field. Over HTTP "" and null are passed over. wire_stop_free() *stop after a failure too. */
weir_status wire_read_stop(wire_object *in, unsigned where, char ***stop, weir_session_options *o,
                           weir_err *err);
void wire_stop_free(char **stop); /* NULL allowed */

/* Ids of one text or list of ids under two names; exactly one must be there. weir_free() *ids. */
weir_status wire_read_prompt(const wire_context *c, wire_object *in, const char *text_key,
                             const char *ids_key, bool add_special, int32_t **ids, size_t *n, weir_err *err);
/* weir_tokenize, with a line in err in any case of failure. */
weir_status wire_tokenize(const weir_engine *e, const char *text, size_t n, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err);

#endif /* WEIR_HOST_WIRE_REQUEST_H */
