/* Chat formats by name: from messages to the text a checkpoint was trained on. A checkpoint's own template is
 * a Jinja program, which host/jinja runs (own.h). These are for checkpoints without one, and for users
 * who name one. The result is a list of segments, not one text: each markup segment is one token of the
 * vocabulary, each text segment is only text. So nothing in a message can end its turn or begin another,
 * whatever it spells. (Tokens that a vocabulary declares as words of users, such as Qwen's <tool_call>, are
 * text everywhere, as in other programs.) */
#ifndef WEIR_HOST_CHAT_CHAT_H
#define WEIR_HOST_CHAT_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEIR_CHAT_MAX_END = 3 };

/* One format. The table is static: pointers to it and its strings stay valid. */
typedef struct weir_chat_template {
    const char *name;
    const char *about;                  /* whose it is, and what it does that others do not */
    const char *end[WEIR_CHAT_MAX_END]; /* tokens that end an answer; the first one ends a turn. NULL: none
                                           further */
    bool remembers;                     /* earlier turns are part of the text; false: the last user message
                                           alone */
} weir_chat_template;

/* Entry i of the table, NULL past its end. */
const weir_chat_template *weir_chat_template_at(int i);
/* By name; "none" and "raw" are other words for "plain". NULL unknown. */
const weir_chat_template *weir_chat_template_find(const char *name);
/* "chatml, qwen2, …": the names, for messages, cut between two where buf is too small. */
void weir_chat_template_names(char *buf, size_t cap);

/* One message; strings borrowed. content may hold any bytes. */
typedef struct weir_chat_message {
    const char *role; /* "system", "user", "assistant"; a checkpoint's own template may know more */
    const char *content;
    size_t bytes; /* of content */
} weir_chat_message;

typedef struct weir_segment {
    const char *text; /* not zero-terminated */
    size_t bytes;
    bool special; /* the name of one token of the vocabulary; else text, in which no name of a token
                         counts */
} weir_segment;

/* Segments in order; their texts are parts of the messages (borrowed) and static strings. Empty ones are
 * left out. */
typedef struct weir_chat_text {
    weir_segment *segments;
    size_t n;
    bool add_special; /* plain: at most one segment, to which the checkpoint's own additions to a prompt
                         belong; else all is there */
} weir_chat_text;

/* Where the text of a conversation ends. */
typedef enum weir_chat_ending {
    WEIR_CHAT_CLOSED = 0, /* after the last turn */
    WEIR_CHAT_ANSWER,     /* after what begins an answer */
    WEIR_CHAT_OPEN,       /* after the content of the last message, which is to be continued: nothing ends its
                             turn. White space at its end goes where the format strips it */
} weir_chat_ending;

/* EINVAL names the message that the template does not allow there; ENOMEM. Release with
 * weir_chat_text_free. */
weir_status weir_chat_render(const weir_chat_template *t, const weir_chat_message *messages, size_t n,
                             weir_chat_ending ending, weir_chat_text *out, weir_err *err);
void weir_chat_text_free(weir_chat_text *text); /* zeroed struct allowed */

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_CHAT_CHAT_H */
