#ifndef WEIR_HOST_SERVE_API_ANSWER_PARTS_H
#define WEIR_HOST_SERVE_API_ANSWER_PARTS_H

#include "host/serve/api/ask.h"
#include "host/serve/api/scored.h"
#include "host/wire/answer.h"

/* A choice as JSON without brackets: items with commas between them, what stands between quotes. A stream
 * empties the parts with every chunk; a whole answer keeps them to its end. */
typedef struct api_choice {
    wire_buf text;                 /* escaped */
    wire_buf ids, sources, policy; /* of each token, where they were asked for */
    wire_buf tokens;               /* log-probabilities: spellings; of a chat whole entries */
    wire_buf values, top, offsets; /* beside them in completions */
    wire_buf tail;                 /* of a whole answer: how it ended */
    int64_t n_char;                /* code points of the text so far */
    bool begun;                    /* something was sent of it */
} api_choice;

typedef struct api_answer {
    const api_server *server;
    const api_ask *ask;
    wire_buf head; /* "data: {…"choices":[": how every chunk begins; of a whole answer without "data: " */
    api_choice *choices; /* (n_choice) */
    int n_choice, n_ended;
    wire_usage usage;
    weir_session_stats sum; /* over the choices that have ended: what timings are made of */
    wire_buf metrics;       /* of an answer with one choice, once it has ended */
    wire_buf spelled;       /* scratch: spellings of the likeliest tokens of one position */
    wire_buf raw;           /* scratch: text of a prompt */
} api_answer;

/* One counted token of a choice: what an event says, or what an end says of the end-of-text token. */
typedef struct api_token {
    int32_t id;
    const char *source; /* NULL: null */
    float logprob, policy_logprob;
    const weir_top *top;
    int n_top;
    const char *text; /* escaped as it is added */
    size_t bytes;
} api_token;

/* Adds to the parts. Whether all found memory, api_parts_failed says afterwards. */
void api_parts_add(api_answer *a, api_choice *c, const api_token *t);
void api_parts_add_prompt(api_answer *a, api_choice *c, const api_prompt *p, const api_scored *scored);
bool api_parts_failed(const api_answer *a, api_choice *c);
bool api_parts_any(const api_choice *c); /* something is there to be sent */
void api_parts_clear(api_choice *c);
void api_parts_free(api_choice *c);
/* ,"logprobs":… and, where they were asked for, token_ids and so on: what follows the text. end:
 * finish_reason and what belongs to it, a comma first. */
void api_parts_write(const api_answer *a, const api_choice *c, const char *end, size_t n_end, wire_buf *out);

void api_comma(wire_buf *items); /* before another one */

/* One entry of log-probabilities. first: of the prompt, which nothing predicts. */
typedef struct api_entry {
    const api_token *t;
    int64_t offset;
    bool first;
} api_entry;
void api_logprob_add(api_answer *a, api_choice *c, const api_entry *e);

#endif /* WEIR_HOST_SERVE_API_ANSWER_PARTS_H */
