#ifndef WEIR_HOST_JINJA_PARSE_AST_H
#define WEIR_HOST_JINJA_PARSE_AST_H

#include "host/jinja/library/callable.h"
#include "host/jinja/values/operators.h"

/* A parsed template. Internal to host/jinja. */

typedef enum weir__node_kind {
    /* statements */
    WEIR__N_DATA,         /* value */
    WEIR__N_PRINT,        /* a */
    WEIR__N_IF,           /* a, body, else_; flag: an elif */
    WEIR__N_FOR,          /* target, a in b, if c; body, else_; flag: recursive */
    WEIR__N_SET,          /* target a = b */
    WEIR__N_SET_BLOCK,    /* target a, filters b (NULL: none), body */
    WEIR__N_MACRO,        /* name, params, body */
    WEIR__N_CALL_BLOCK,   /* call a, params, body */
    WEIR__N_FILTER_BLOCK, /* filters a, body */
    WEIR__N_WITH,         /* list: target, value, target, value …; body */
    WEIR__N_GENERATION,   /* body */
    WEIR__N_BREAK,
    WEIR__N_CONTINUE,
    /* expressions */
    WEIR__N_CONST,   /* value */
    WEIR__N_NAME,    /* name */
    WEIR__N_NSREF,   /* name.attribute, as a target: name, value */
    WEIR__N_TUPLE,   /* list */
    WEIR__N_LIST,    /* list */
    WEIR__N_DICT,    /* list: key, value, key, value … */
    WEIR__N_NOT,     /* a */
    WEIR__N_NEGATE,  /* a; flag: minus */
    WEIR__N_BINARY,  /* a op b */
    WEIR__N_AND,     /* a, b */
    WEIR__N_OR,      /* a, b */
    WEIR__N_COMPARE, /* a, list: WEIR__N_OPERAND … */
    WEIR__N_OPERAND, /* op a */
    WEIR__N_CONCAT,  /* list */
    WEIR__N_COND,    /* b if a else c (NULL: none) */
    WEIR__N_GETATTR, /* a, value: the name */
    WEIR__N_GETITEM, /* a[b] */
    WEIR__N_SLICE,   /* a:b:c, each may be NULL */
    WEIR__N_CALL,    /* a, list of arguments; b: the call block that it belongs to, or NULL */
    WEIR__N_FILTER,  /* a (NULL: what a block wrote), name, entry, list of arguments */
    WEIR__N_TEST,    /* a, name, entry, list of arguments */
    WEIR__N_KEYWORD, /* an argument: name, a */
    WEIR__N_SPREAD,  /* an argument: *a; flag: **a */
} weir__node_kind;

typedef struct weir__node {
    weir__node_kind kind;
    weir__op op;
    int line;
    bool flag;
    const char *name;
    weir__value value;
    const weir__callable *entry; /* NULL in FILTER and TEST: unknown, an error when it is met */
    struct weir__node *a, *b, *c;
    struct weir__node *list, *body, *else_; /* chains by next */
    struct weir__params *params;
    struct weir__node *next;
} weir__node;

typedef struct weir__params { /* of a macro or a call block */
    const char **names;
    weir__node **defaults; /* (n) NULL: none */
    size_t n;
    bool caller, kwargs, varargs; /* its body reads them, and no parameter has the name */
    bool names_caller;            /* a parameter does */
} weir__params;

struct weir_jinja {
    weir__arena arena;
    weir__node *body;
};

typedef struct weir__chain { /* nodes in order */
    weir__node *first, **end;
} weir__chain;

static inline void weir__chain_add(weir__chain *c, weir__node *n) {
    if (!c->end) c->end = &c->first;
    *c->end = n;
    c->end = &n->next;
}

/* ---- parse_expression.c and parse.c ----------------------------------------------------------------- */

typedef struct
    weir__uses { /* names with a meaning of their own in a macro, and whether its body reads them */
    bool caller, kwargs, varargs;
} weir__uses;

typedef struct weir__parser {
    weir__arena *arena;
    weir_err *err;
    const struct weir__token *t; /* the current one */
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

#endif /* WEIR_HOST_JINJA_PARSE_AST_H */
