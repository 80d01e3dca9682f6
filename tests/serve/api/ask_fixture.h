#ifndef WEIR_TESTS_SERVE_API_ASK_FIXTURE_H
#define WEIR_TESTS_SERVE_API_ASK_FIXTURE_H

#include "host/serve/api/ask.h"

/* A server of the demo pair as "demo" and "alias", with a profile "fast"; its engine holds no weights. Chat
 * template plain: the ids of a conversation are those of its last user message. */
extern api_server demo;
/* The same of a small decoder-only model of 67 ids, without a tokenizer or a drafter: context 64. */
extern api_server decoder;

void servers_open(void); /* after alloc_install(0) */
void servers_close(void);

/* What the last one said. */
extern serve_error said;
bool ask_bytes(const api_server *s, bool chat, const char *body, size_t n, api_ask *out);
/* {"prompt": "It snowed a lot.", FIELDS}, or the same as a message. */
bool ask(const api_server *s, bool chat, const char *fields, api_ask *out);
/* The refusal of such a body, without a trace of it; fails the test where there is none. */
void ask_refused(const api_server *s, bool chat, const char *fields, const char *code, const char *param,
                 const char *words);

#endif
