#ifndef WEIR_HOST_JINJA_PARSE_LEXER_H
#define WEIR_HOST_JINJA_PARSE_LEXER_H

#include "host/jinja/values/value.h"

/* A template's text as tokens. Internal to host/jinja. */

typedef enum weir__jinja_token_kind {
    WEIR__T_END = 0,
    WEIR__T_DATA,
    WEIR__T_PRINT_BEGIN,
    WEIR__T_PRINT_END,
    WEIR__T_BLOCK_BEGIN,
    WEIR__T_BLOCK_END,
    WEIR__T_NAME,
    WEIR__T_STRING,
    WEIR__T_INT,
    WEIR__T_FLOAT,
    WEIR__T_OPERATOR, /* op says which: its characters as a number, "**" as '*' << 8 | '*' */
} weir__jinja_token_kind;

typedef struct weir__jinja_token {
    weir__jinja_token_kind kind;
    int line;
    int op;
    const char *text; /* DATA, NAME, STRING: decoded, in the arena; names end in a zero byte */
    size_t n;
    int64_t integer;
    double real;
} weir__jinja_token;

typedef struct weir__jinja_tokens {
    weir__jinja_token *at; /* the last one is END */
    size_t n, cap;
} weir__jinja_tokens;

#define WEIR__OP2(a, b) ((a) << 8 | (b))

/* Tokens and their texts are of the arena. */
weir_status weir__jinja_lex(weir__arena *arena, const char *source, size_t bytes, weir__jinja_tokens *out,
                            weir_err *err);

/* As jinja2's messages name a token. */
void weir__describe(const weir__jinja_token *t, char *buf, size_t cap);
void weir__describe_op(int op, char buf[4]);

#endif /* WEIR_HOST_JINJA_PARSE_LEXER_H */
