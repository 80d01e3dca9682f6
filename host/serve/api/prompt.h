#ifndef WEIR_HOST_SERVE_API_PROMPT_H
#define WEIR_HOST_SERVE_API_PROMPT_H

#include "host/serve/api/body.h"
#include "host/serve/api/ids.h"

/* From texts, ids and messages to the ids of prompts, which fit the context. */

enum { API_MAX_PROMPTS = 1024, API_ALONE = API_MAX_PROMPTS };

/* `prompt` of completions: one or several. *prompts (*n) are there after a failure too: api_prompts_free.
 * answered: at least one token is to be written. */
bool api_prompts_read(api_body *b, bool answered, api_prompt **prompts, int *n);
void api_prompts_free(api_prompt *prompts, int n);

/* Ids of a text. field and entry (of a list, or API_ALONE): for messages. */
bool api_tokens_of_text(api_body *b, const char *field, const char *text, size_t n, bool add_special,
                        bool parse_special, api_prompt *out);
bool api_ids_read(api_body *b, const char *field, const json_t *list, size_t entry, api_prompt *out);

/* Whether a prompt of n tokens fits. */
bool api_check_room(api_body *b, const char *field, size_t entry, size_t n, bool answered);

/* A conversation. */
typedef struct api_talk {
    weir_chat_message *messages; /* strings borrowed from the body and from texts */
    char **texts;                /* (n) of contents in parts; NULL where there are none */
    size_t n;
    bool open_last; /* the last message is continued */
} api_talk;

bool api_talk_read(api_body *b, api_talk *t); /* api_talk_free after a failure too */
void api_talk_free(api_talk *t);
bool api_talk_tokenize(api_body *b, const api_talk *t, api_prompt *out);
bool api_talk_text(api_body *b, const api_talk *t, char **text, size_t *n); /* weir_text_free */

#endif /* WEIR_HOST_SERVE_API_PROMPT_H */
