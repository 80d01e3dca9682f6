#ifndef WEIR_HOST_CHAT_OWN_H
#define WEIR_HOST_CHAT_OWN_H

#include "host/chat/chat.h"
#include "host/formats/checkpoint.h"
#include "host/jinja/jinja.h"

/* A chat template from a checkpoint or a file. host/jinja runs it with the input that transformers'
 * apply_chat_template gives without tools and documents. Names of known roles count as written by the
 * template, since it may build a token from one ("<|" + role + "|>"). Content of messages, and any other
 * role, never does. */
typedef struct weir_chat_own {
    weir_jinja *program;
    size_t bytes;                        /* of its source */
    const char *special[WEIR_SPECIAL_N]; /* borrowed; NULL: the variable is undefined */
} weir_chat_own;

/* EFORMAT, ENOTSUP: "chat template: line N: …"; ENOMEM. */
weir_status weir__chat_own_open(weir_chat_own **out, const char *source, size_t bytes,
                                const char *const special[WEIR_SPECIAL_N], weir_err *err);
void weir__chat_own_free(weir_chat_own *o); /* NULL allowed */

/* Spans of the result: those with of_template may hold names of tokens, the others are text. A message stays
 * open by being rendered with a mark at its end, from which on the text is cut off: ENOTSUP if the template
 * does not write that end, or writes it twice. Errors as weir__jinja_render, "chat template: …". */
weir_status weir__chat_own_render(const weir_chat_own *o, const weir_chat_message *messages, size_t n,
                                  weir_chat_ending ending, weir_jinja_text *out, weir_err *err);

/* The text that the template writes between an answer and the next message. *text by weir_alloc; *bytes 0 if
 * the template does not show answers. */
weir_status weir__chat_own_after_answer(const weir_chat_own *o, char **text, size_t *bytes, weir_err *err);

/* The named format that writes the same as this template for a few conversations; NULL: none. */
const weir_chat_template *weir__chat_own_format(const weir_chat_own *o);

#endif /* WEIR_HOST_CHAT_OWN_H */
