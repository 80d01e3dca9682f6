#ifndef WEIR_HOST_SERVE_API_ANSWER_H
#define WEIR_HOST_SERVE_API_ANSWER_H

#include "host/serve/api/ask.h"
#include "host/serve/api/scored.h"
#include "host/wire/buf.h"

/* Answers as OpenAI's clients read them: whole, or as events of a stream. No sockets and no threads: bytes
 * are added to a buffer of the caller's. */
typedef struct api_answer api_answer;

/* How a choice ended: what an END event says, by value. */
typedef struct api_end {
    weir_finish finish;
    weir_ended ended_by; /* which cause; stop: index in the ask's stop strings, or -1 */
    int stop;
    int32_t eos; /* end-of-text id, or -1; with the verifier's log p, log π and the likeliest beside it */
    float eos_logprob, eos_policy_logprob;
    int n_eos_top;
    weir_top eos_top[WEIR_N_TOP_MAX];
    bool deadline;                 /* the time was over, not the room: a normal end, whatever finish says */
    const weir_session_options *o; /* what it ran under, where load had it changed; NULL: the ask's */
    const char *costs;             /* what gamma auto went by; NULL of others. As long as the engine */
    int64_t n_cached;              /* of the prompt's tokens, those that the verifier's cache had */
    double queue_seconds;
    weir_session_stats stats;
} api_end;

/* ask and server are borrowed until the end; id is "cmpl-…" or "chatcmpl-…", created the Unix time. NULL: out
 * of memory. */
api_answer *api_answer_begin(const api_server *s, const api_ask *ask, const char *id, int64_t created);
void api_answer_free(api_answer *a); /* NULL allowed */

/* With echo, before a choice's tokens: what it begins with, and scored (NULL: none were asked for) of it. A
 * stream sends it with the first token. False, as of each of these: out of memory; out is as it was, and
 * nothing but break and free is to follow. */
bool api_answer_prompt(api_answer *a, int choice, const api_scored *scored);
/* These add to `out` what a stream sends now: whole events; nothing, where there is nothing to send yet. An
 * answer that is not streamed keeps what it needs, and out is NULL until its finish. */
bool api_answer_tokens(api_answer *a, int choice, const weir_token_event *t, size_t n, wire_buf *out);
bool api_answer_end(api_answer *a, int choice, const api_end *end, wire_buf *out);
/* After the end of every choice: usage and [DONE], or the whole object. */
bool api_answer_finish(api_answer *a, wire_buf *out);
/* In place of the rest of a stream that has begun: the error and [DONE]. */
bool api_answer_break(const serve_error *e, wire_buf *out);

#endif /* WEIR_HOST_SERVE_API_ANSWER_H */
