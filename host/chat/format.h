#ifndef WEIR_HOST_CHAT_FORMAT_H
#define WEIR_HOST_CHAT_FORMAT_H

#include "host/chat/own.h"
#include "host/tokenizers/tokenizer.h"

/* The chat format of a model: one by name (chat.h), or a template that is run (own.h). */

typedef struct weir__chat {
    const weir_tokenizer *tok;       /* borrowed; NULL: ids only */
    const weir_checkpoint *ck;       /* borrowed: whose format this is */
    const weir_chat_template *named; /* a format by name, or */
    weir_chat_own *own;              /* a template that is run; both NULL: none, note says why */
    char *file;                      /* text of a template in a file; else NULL */
    char about[300];                 /* own in words */
    weir_err note;
} weir__chat;

/* What the user asks for. */
typedef struct weir__chat_choice {
    const char *name, *file; /* a format, or a file with a template; both NULL: the checkpoint's own */
    bool required;           /* no format at all is a failure */
} weir__chat_choice;

/* What ends a text: the checkpoint's own ends, then those of the chat format's turns. */
typedef struct weir__chat_ends {
    int32_t ids[8];
    int n;
} weir__chat_ends;

/* The tokenizer and the checkpoint must outlive *out. What the choice names must work; why the checkpoint's
 * own template does not becomes the note. EINVAL: no format of that name; ENOTSUP, EFORMAT, EIO, ENOMEM. */
weir_status weir__chat_open(weir__chat *out, const weir_tokenizer *tok, const weir_checkpoint *ck,
                            const weir__chat_choice *choice, weir__chat_ends *ends, weir_err *err);
void weir__chat_close(weir__chat *c); /* zeroed allowed */

/* The format's name, or a description of its template; NULL: no format. Borrowed until close. */
const char *weir__chat_about(const weir__chat *c);
/* Text of the template in a file, or the checkpoint's, even where it cannot be run; NULL: a format by name,
 * or none. Borrowed until close. */
const char *weir__chat_source(const weir__chat *c);

/* Spelling of a token that a tokenizer's files name by its role, or of the id that the model's files give it;
 * NULL: neither. Borrowed from checkpoint and tokenizer. */
const char *weir__chat_token_name(const weir__chat *c, weir_special role);

#endif /* WEIR_HOST_CHAT_FORMAT_H */
