#ifndef WEIR_HOST_SERVE_API_ASK_H
#define WEIR_HOST_SERVE_API_ASK_H

#include <jansson.h>

#include "host/serve/api/ids.h"
#include "host/serve/api/server.h"
#include "host/serve/error.h"

/* The body of a completions or chat request, read and tokenised. */

enum { API_MAX_CHOICES = 1024 }; /* n times prompts */

typedef struct api_ask {
    bool chat;
    bool stream, usage, running_usage; /* stream_options: include_usage, continuous_usage_stats */
    bool echo, logprobs, token_ids, sources;
    int n_top;           /* likeliest tokens beside each; 0 … 20 */
    int n;               /* choices of each prompt */
    api_prompt *prompts; /* (n_prompt) */
    int n_prompt;        /* choice c is number c % n of prompt c / n */
    /* Of number 0 of a prompt; the others differ in `choice`. Stop strings are the ask's. max_tokens: at most
     * the context, in which a session itself ends where a prompt leaves less room; 0: the prompt is read and
     * nothing written. */
    weir_session_options o;
    char **stop; /* (WIRE_MAX_STOP), of which o.n_stop are there */
    char *model; /* as it was asked for */
    bool seed_given;
    int priority;
    double answer_seconds; /* t_max_predict_ms; INFINITY = none */
    uint64_t cache_salt;   /* 0: none */
    char *request_id;      /* NULL: the exchange's */
    json_t *ignored;       /* names of fields without a meaning here, the first 64; NULL: none */
    int n_ignored;         /* how many there were */
} api_ask;

/* False: *e says why, and nothing of *out is to be freed. Any thread. */
bool api_ask_read(const api_server *s, bool chat, const char *body, size_t n, api_ask *out, serve_error *e);
void api_ask_free(api_ask *a);

#endif /* WEIR_HOST_SERVE_API_ASK_H */
