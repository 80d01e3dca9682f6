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
    weir__jinja_op op;
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

#endif /* WEIR_HOST_JINJA_PARSE_AST_H */
