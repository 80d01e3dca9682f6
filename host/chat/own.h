#ifndef WEIR_HOST_CHAT_OWN_H
#define WEIR_HOST_CHAT_OWN_H

#include "host/chat/chat.h"
#include "host/formats/checkpoint.h"
#include "host/jinja/jinja.h"

/* A chat template that a checkpoint carries, or that a file has: it is run (host/jinja), given what
 * transformers' apply_chat_template gives it without tools and documents. Names of roles that are in use
 * count as written by the template, since it may make a token of one ("<|" + role + "|>"); what a message
 * says, and any other role, never does. */
typedef struct weir_chat_own {
    weir_jinja *program;
    size_t bytes;                        /* of its source */
    const char *special[WEIR_SPECIAL_N]; /* borrowed; NULL: the variable is undefined */
} weir_chat_own;

/* EFORMAT, ENOTSUP: "chat template: line N: …"; ENOMEM. */
weir_status weir__chat_own_open(weir_chat_own **out, const char *source, size_t bytes,
                                const char *const special[WEIR_SPECIAL_N], weir_err *err);
void weir__chat_own_free(weir_chat_own *o); /* NULL allowed */

/* Spans of the result: of_template ones may hold names of tokens, the others are text. Errors as
 * weir__jinja_render, "chat template: …". */
weir_status weir__chat_own_render(const weir_chat_own *o, const weir_chat_message *messages, size_t n,
                                  bool add_generation_prompt, weir_jinja_text *out, weir_err *err);

/* The text that the template writes after an answer and before what anybody says next; *text by
 * weir_alloc, *bytes 0 if it does not show an answer. */
weir_status weir__chat_own_after_answer(const weir_chat_own *o, char **text, size_t *bytes, weir_err *err);

/* The format by name that writes the same as this template for a handful of conversations; NULL: none. */
const weir_chat_template *weir__chat_own_format(const weir_chat_own *o);

#endif /* WEIR_HOST_CHAT_OWN_H */
