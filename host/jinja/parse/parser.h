#ifndef WEIR_HOST_JINJA_PARSE_PARSER_H
#define WEIR_HOST_JINJA_PARSE_PARSER_H

#include "host/jinja/parse/ast.h"

/* The state of a parser, and what its parts give each other. Internal to host/jinja. */

typedef struct
    weir__uses { /* names with a meaning of their own in a macro, and whether its body reads them */
    bool caller, kwargs, varargs;
} weir__uses;

typedef struct weir__parser {
    weir__arena *arena;
    weir_err *err;
    const struct weir__jinja_token *t; /* the current one */
    int depth;
    int soft;    /* inside an if, where an unknown filter is an error only when it is met */
    int in_loop; /* for break and continue */
    weir__uses uses;
    const char *tags[64]; /* open ones, and what each waits for */
    const char *const *ends[64];
    int n_tag;
} weir__parser;

weir_status weir__parse_fail(weir__parser *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
weir_status weir__new_node(weir__parser *p, weir__node_kind kind, int line, weir__node **out);
bool weir__at_op(const weir__parser *p, int op);
bool weir__at_name(const weir__parser *p, const char *name);
bool weir__skip_op(weir__parser *p, int op);
bool weir__skip_name(weir__parser *p, const char *name);
weir_status weir__expect_op(weir__parser *p, int op);
weir_status weir__expected(weir__parser *p, const char *what); /* the current token is not that */

weir_status weir__parse_expression(weir__parser *p, bool conditional, weir__node **out);
/* One expression, or a tuple of several. ends_at: a name that ends it; empty: () is allowed. */
weir_status weir__parse_tuple(weir__parser *p, bool conditional, const char *ends_at, bool empty,
                              weir__node **out);
/* What `set`, `for` and `with` assign to. attributes: namespace.name too. */
weir_status weir__parse_target(weir__parser *p, bool attributes, const char *ends_at, weir__node **out);
weir_status weir__parse_primary(weir__parser *p, bool attributes, weir__node **out);
weir_status weir__parse_filters(weir__parser *p, weir__node *a, bool inline_first, weir__node **out);

#endif /* WEIR_HOST_JINJA_PARSE_PARSER_H */
