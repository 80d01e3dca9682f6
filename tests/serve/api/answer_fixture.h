#ifndef WEIR_TESTS_SERVE_API_ANSWER_FIXTURE_H
#define WEIR_TESTS_SERVE_API_ANSWER_FIXTURE_H

#include <jansson.h>

#include "host/serve/api/answer.h"
#include "kernels/accept/accept.h"

/* A server whose vocabulary is all bytes and three more tokens, without a model; asks; and answers to lists
 * of events, as an engine would bring them. Helpers fail the running test on error. */
enum {
    TOKEN_WORD = 256, /* " word" */
    TOKEN_TWIN = 257, /* the text "bytes:\xe4", which is how byte e4 is spelled */
    TOKEN_END = 258   /* "<end>", a control token */
};

api_server *fixture_server(void);
void fixture_close(void);                            /* frees the server */
void fixture_vocabulary(const char *tokenizer_json); /* another one, from a file */

/* A whole completion of one choice to the prompt "Hi", 5 drafts a block, seed 7; change what the test is
 * about. */
void fixture_ask(api_ask *ask);

/* A token of one byte, accepted, of log p -0.5 and log π -0.25, with its byte as text. */
weir_token_event fixture_token(int32_t id);
/* The verifier's likeliest beside a token: ids b, b + 1, … of -0.5, -1, … */
void fixture_top(weir_token_event *t, weir_top *room, int n);
/* Ended by an end-of-text token after so many of them, in one block of five drafts each two tokens. */
api_end fixture_end(int64_t n_output);

/* ---- reading what was written -------------------------------------------------------------------------- */

/* The objects of the stream's events, [DONE] not among them; *done: how many of those, which must be last. */
json_t *fixture_events(const wire_buf *b, int *done);
/* A member of members: "choices.0.text", NULL if there is none. Borrowed. */
json_t *at(const json_t *v, const char *path);
const char *text_at(const json_t *v, const char *path); /* fails the test if there is no text */
int64_t int_at(const json_t *v, const char *path);
bool is_null_at(const json_t *v, const char *path);

#endif
