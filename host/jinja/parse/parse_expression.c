#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/jinja/parse/lexer.h"
#include "host/jinja/parse/parser.h"
#include "host/jinja/values/text.h"

/* Expressions, after jinja2/parser.py: its precedences differ from Python's in places. */

enum { DEEPEST = 200 };

/* ---- tokens ----------------------------------------------------------------------------------------- */

weir_status weir__parse_fail(weir__parser *p, int line, const char *fmt, ...) {
    char text[sizeof p->err->text];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return weir_fail(p->err, WEIR_EFORMAT, "line %d: %s", line, n < 0 ? "" : text);
}

weir_status weir__new_node(weir__parser *p, weir__node_kind kind, int line, weir__node **out) {
    weir__node *n = weir__arena_alloc(p->arena, 1, sizeof *n);
    if (!n) return weir_fail(p->err, WEIR_ENOMEM, "no memory to parse a template");
    memset(n, 0, sizeof *n);
    n->kind = kind;
    n->line = line;
    *out = n;
    return WEIR_OK;
}

bool weir__at_op(const weir__parser *p, int op) { return p->t->kind == WEIR__T_OPERATOR && p->t->op == op; }

bool weir__at_name(const weir__parser *p, const char *name) {
    return p->t->kind == WEIR__T_NAME && strcmp(p->t->text, name) == 0;
}

bool weir__skip_op(weir__parser *p, int op) {
    const bool is = weir__at_op(p, op);
    p->t += is;
    return is;
}

bool weir__skip_name(weir__parser *p, const char *name) {
    const bool is = weir__at_name(p, name);
    p->t += is;
    return is;
}

weir_status weir__expected(weir__parser *p, const char *what) {
    char got[96];
    if (p->t->kind == WEIR__T_END)
        return weir__parse_fail(p, p->t->line, "unexpected end of template, expected '%s'.", what);
    weir__describe(p->t, got, sizeof got);
    return weir__parse_fail(p, p->t->line, "expected token '%s', got '%s'", what, got);
}

weir_status weir__expect_op(weir__parser *p, int op) {
    char what[4];
    if (weir__skip_op(p, op)) return WEIR_OK;
    weir__describe_op(op, what);
    return weir__expected(p, what);
}

static weir_status deeper(weir__parser *p) {
    if (p->depth == DEEPEST)
        return weir_fail(p->err, WEIR_ENOTSUP, "line %d: expressions nest more than %d levels", p->t->line,
                         DEEPEST);
    p->depth++;
    return WEIR_OK;
}

/* ---- literals and names ----------------------------------------------------------------------------- */

static weir_status constant(weir__parser *p, weir__value v, int line, weir__node **out) {
    WEIR_TRY(weir__new_node(p, WEIR__N_CONST, line, out));
    (*out)->value = v;
    return WEIR_OK;
}

static weir_status text_value(weir__parser *p, const char *s, size_t n, weir__value *out) {
    weir__text *t = weir__arena_alloc(p->arena, 1, sizeof *t);
    if (!t) return weir_fail(p->err, WEIR_ENOMEM, "no memory to parse a template");
    *t = (weir__text){.p = s, .n = n, .n_char = SIZE_MAX, .writer = WEIR__BY_TEMPLATE};
    weir__text_length(t); /* now: a template is shared by threads */
    *out = (weir__value){.kind = WEIR__STRING, .as.s = t};
    return WEIR_OK;
}

/* Neighbouring literals are one. */
static weir_status string(weir__parser *p, weir__node **out) {
    const weir__jinja_token *first = p->t;
    size_t n = 0;
    weir__value v;
    for (; p->t->kind == WEIR__T_STRING; p->t++) n += p->t->n;
    const char *s = first->text;
    if (p->t - first > 1) {
        char *end = weir__arena_alloc(p->arena, n, 1);
        if (!end) return weir_fail(p->err, WEIR_ENOMEM, "no memory to parse a template");
        s = end;
        for (const weir__jinja_token *t = first; t < p->t; t++) {
            if (t->n > 0) memcpy(end, t->text, t->n);
            end += t->n;
        }
    }
    WEIR_TRY(text_value(p, s, n, &v));
    return constant(p, v, first->line, out);
}

static void note_use(weir__parser *p, const char *name) {
    if (strcmp(name, "caller") == 0) p->uses.caller = true;
    if (strcmp(name, "kwargs") == 0) p->uses.kwargs = true;
    if (strcmp(name, "varargs") == 0) p->uses.varargs = true;
}

static weir_status name(weir__parser *p, bool attributes, weir__node **out) {
    static const struct {
        const char *name;
        weir__value value;
    } words[] = {{"true", {.kind = WEIR__BOOL, .as.b = true}},
                 {"True", {.kind = WEIR__BOOL, .as.b = true}},
                 {"false", {.kind = WEIR__BOOL, .as.b = false}},
                 {"False", {.kind = WEIR__BOOL, .as.b = false}},
                 {"none", {.kind = WEIR__NONE}},
                 {"None", {.kind = WEIR__NONE}}};
    const weir__jinja_token *t = p->t++;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].name, t->text) == 0) return constant(p, words[i].value, t->line, out);
    if (attributes && weir__skip_op(p, '.')) {
        if (p->t->kind != WEIR__T_NAME) return weir__expected(p, "name");
        WEIR_TRY(weir__new_node(p, WEIR__N_NSREF, t->line, out));
        (*out)->name = t->text;
        WEIR_TRY(text_value(p, p->t->text, p->t->n, &(*out)->value));
        p->t++;
        return WEIR_OK;
    }
    WEIR_TRY(weir__new_node(p, WEIR__N_NAME, t->line, out));
    (*out)->name = t->text;
    return WEIR_OK;
}

static weir_status list(weir__parser *p, weir__node **out) {
    weir__chain items = {0};
    WEIR_TRY(weir__new_node(p, WEIR__N_LIST, p->t->line, out));
    p->t++;
    while (!weir__at_op(p, ']')) {
        weir__node *n = NULL;
        if (items.first) WEIR_TRY(weir__expect_op(p, ','));
        if (weir__at_op(p, ']')) break;
        WEIR_TRY(weir__parse_expression(p, true, &n));
        weir__chain_add(&items, n);
    }
    (*out)->list = items.first;
    return weir__expect_op(p, ']');
}

static weir_status dict(weir__parser *p, weir__node **out) {
    weir__chain items = {0};
    WEIR_TRY(weir__new_node(p, WEIR__N_DICT, p->t->line, out));
    p->t++;
    while (!weir__at_op(p, '}')) {
        weir__node *key = NULL, *value = NULL;
        if (items.first) WEIR_TRY(weir__expect_op(p, ','));
        if (weir__at_op(p, '}')) break;
        WEIR_TRY(weir__parse_expression(p, true, &key));
        WEIR_TRY(weir__expect_op(p, ':'));
        WEIR_TRY(weir__parse_expression(p, true, &value));
        weir__chain_add(&items, key);
        weir__chain_add(&items, value);
    }
    (*out)->list = items.first;
    return weir__expect_op(p, '}');
}

weir_status weir__parse_primary(weir__parser *p, bool attributes, weir__node **out) {
    const weir__jinja_token *t = p->t;
    char got[96];
    switch (t->kind) {
    case WEIR__T_NAME: return name(p, attributes, out);
    case WEIR__T_STRING: return string(p, out);
    case WEIR__T_INT: p->t++; return constant(p, weir__int(t->integer), t->line, out);
    case WEIR__T_FLOAT: p->t++; return constant(p, weir__float(t->real), t->line, out);
    default: break;
    }
    if (weir__at_op(p, '[')) return list(p, out);
    if (weir__at_op(p, '{')) return dict(p, out);
    if (weir__skip_op(p, '(')) {
        WEIR_TRY(weir__parse_tuple(p, true, NULL, true, out));
        return weir__expect_op(p, ')');
    }
    weir__describe(t, got, sizeof got);
    return weir__parse_fail(p, t->line, "unexpected '%s'", got);
}

/* ---- what follows ----------------------------------------------------------------------------------- */

static weir_status argument(weir__parser *p, weir__node **out, int *stage, int line) {
    const weir__jinja_token *t = p->t;
    const bool spread = weir__at_op(p, '*'), spread2 = weir__at_op(p, WEIR__OP2('*', '*'));
    const bool keyword = t->kind == WEIR__T_NAME && t[1].kind == WEIR__T_OPERATOR && t[1].op == '=';
    const int kind = spread2   ? 3
                     : spread  ? 2
                     : keyword ? 1
                               : 0; /* only **a after **a, and so on; a=b may follow *a */
    if ((kind == 0 && *stage > 0) || (kind == 1 && *stage == 3) || (kind >= 2 && *stage >= kind))
        return weir__parse_fail(p, line, "invalid syntax for function call expression");
    *stage = kind > *stage ? kind : *stage;
    if (kind == 0) return weir__parse_expression(p, true, out);
    WEIR_TRY(weir__new_node(p, kind == 1 ? WEIR__N_KEYWORD : WEIR__N_SPREAD, t->line, out));
    (*out)->name = kind == 1 ? t->text : NULL;
    (*out)->flag = spread2;
    p->t += kind == 1 ? 2 : 1;
    return weir__parse_expression(p, true, &(*out)->a);
}

static weir_status arguments(weir__parser *p, weir__node **out) {
    weir__chain items = {0};
    int stage = 0;
    const int line = p->t->line;
    WEIR_TRY(weir__expect_op(p, '('));
    while (!weir__at_op(p, ')')) {
        weir__node *n = NULL;
        if (items.first) WEIR_TRY(weir__expect_op(p, ','));
        if (weir__at_op(p, ')')) break;
        WEIR_TRY(argument(p, &n, &stage, line));
        weir__chain_add(&items, n);
    }
    *out = items.first;
    return weir__expect_op(p, ')');
}

static weir_status call(weir__parser *p, weir__node *a, weir__node **out) {
    weir__node *n = NULL;
    WEIR_TRY(weir__new_node(p, WEIR__N_CALL, p->t->line, &n));
    n->a = a;
    WEIR_TRY(arguments(p, &n->list));
    *out = n;
    return WEIR_OK;
}

static weir_status slice_part(weir__parser *p, weir__node **out) {
    if (weir__at_op(p, ':') || weir__at_op(p, ']') || weir__at_op(p, ',')) return WEIR_OK;
    return weir__parse_expression(p, true, out);
}

static weir_status subscribed(weir__parser *p, weir__node **out) {
    weir__node *first = NULL, *n = NULL;
    const int line = p->t->line;
    if (!weir__at_op(p, ':')) {
        WEIR_TRY(weir__parse_expression(p, true, &first));
        if (!weir__at_op(p, ':')) {
            *out = first;
            return WEIR_OK;
        }
    }
    p->t++;
    WEIR_TRY(weir__new_node(p, WEIR__N_SLICE, line, &n));
    n->a = first;
    WEIR_TRY(slice_part(p, &n->b));
    if (weir__skip_op(p, ':')) WEIR_TRY(slice_part(p, &n->c));
    *out = n;
    return WEIR_OK;
}

static weir_status attribute(weir__parser *p, weir__node *a, int line, weir__node **out) {
    const weir__jinja_token *t = p->t++;
    weir__node *n = NULL;
    if (t->kind != WEIR__T_NAME && t->kind != WEIR__T_INT) {
        p->t--;
        return weir__parse_fail(p, t->line, "expected name or number");
    }
    WEIR_TRY(weir__new_node(p, t->kind == WEIR__T_NAME ? WEIR__N_GETATTR : WEIR__N_GETITEM, line, &n));
    n->a = a;
    if (t->kind == WEIR__T_NAME)
        WEIR_TRY(text_value(p, t->text, t->n, &n->value));
    else
        WEIR_TRY(constant(p, weir__int(t->integer), t->line, &n->b));
    *out = n;
    return WEIR_OK;
}

static weir_status subscript(weir__parser *p, weir__node *a, weir__node **out) {
    const int line = p->t->line;
    weir__chain items = {0};
    weir__node *n = NULL;
    if (weir__skip_op(p, '.')) return attribute(p, a, line, out);
    p->t++;
    while (!weir__at_op(p, ']')) {
        if (items.first) WEIR_TRY(weir__expect_op(p, ','));
        WEIR_TRY(subscribed(p, &n));
        weir__chain_add(&items, n);
    }
    p->t++;
    WEIR_TRY(weir__new_node(p, WEIR__N_GETITEM, line, out));
    (*out)->a = a;
    (*out)->b = items.first;
    if (items.first && !items.first->next) return WEIR_OK;
    WEIR_TRY(weir__new_node(p, WEIR__N_TUPLE, line, &n));
    n->list = items.first;
    (*out)->b = n;
    return WEIR_OK;
}

static weir_status postfix(weir__parser *p, weir__node **n) {
    for (;;) {
        if (weir__at_op(p, '.') || weir__at_op(p, '['))
            WEIR_TRY(subscript(p, *n, n));
        else if (weir__at_op(p, '('))
            WEIR_TRY(call(p, *n, n));
        else
            return WEIR_OK;
    }
}

/* The name of a filter or test, dots allowed. Unknown ones are errors at once, but not inside an if. */
static weir_status callable(weir__parser *p, weir__node_kind kind, int line, weir__node **out) {
    const bool filter = kind == WEIR__N_FILTER;
    const weir__jinja_token *t = p->t;
    if (t->kind != WEIR__T_NAME) return weir__expected(p, "name");
    p->t++;
    WEIR_TRY(weir__new_node(p, kind, line ? line : t->line, out));
    (*out)->name = t->text;
    (*out)->entry = filter ? weir__find_filter(t->text, t->n) : weir__find_test(t->text, t->n);
    if (weir__at_op(p, '.'))
        return weir__parse_fail(p, t->line, "No %s named '%s.…'.", filter ? "filter" : "test", t->text);
    if ((*out)->entry) return WEIR_OK;
    if (filter && weir__is_left_out(t->text, t->n))
        return weir_fail(p->err, WEIR_ENOTSUP, "line %d: the filter '%s' is not supported", t->line, t->text);
    if (p->soft > 0) return WEIR_OK;
    return weir__parse_fail(p, (*out)->line, "No %s named '%s'.", filter ? "filter" : "test", t->text);
}

weir_status weir__parse_filters(weir__parser *p, weir__node *a, bool inline_first, weir__node **out) {
    while (inline_first || weir__at_op(p, '|')) {
        weir__node *n = NULL;
        if (!inline_first) p->t++;
        inline_first = false;
        WEIR_TRY(callable(p, WEIR__N_FILTER, 0, &n));
        n->a = a;
        if (weir__at_op(p, '(')) WEIR_TRY(arguments(p, &n->list));
        a = n;
    }
    *out = a;
    return WEIR_OK;
}

static bool begins_argument(const weir__parser *p) {
    if (weir__at_name(p, "else") || weir__at_name(p, "or") || weir__at_name(p, "and")) return false;
    if (p->t->kind >= WEIR__T_NAME && p->t->kind <= WEIR__T_FLOAT) return true;
    return weir__at_op(p, '[') || weir__at_op(p, '{');
}

static weir_status test(weir__parser *p, weir__node *a, weir__node **out) {
    const int line = p->t->line;
    weir__node *n = NULL;
    p->t++;
    const bool negated = weir__skip_name(p, "not");
    WEIR_TRY(callable(p, WEIR__N_TEST, line, &n));
    n->a = a;
    if (weir__at_op(p, '(')) {
        WEIR_TRY(arguments(p, &n->list));
    } else if (begins_argument(p)) {
        if (weir__at_name(p, "is"))
            return weir__parse_fail(p, p->t->line, "You cannot chain multiple tests with is");
        WEIR_TRY(weir__parse_primary(p, false, &n->list));
        if (n->list->kind == WEIR__N_NAME) note_use(p, n->list->name);
        WEIR_TRY(postfix(p, &n->list));
    }
    *out = n;
    if (!negated) return WEIR_OK;
    WEIR_TRY(weir__new_node(p, WEIR__N_NOT, line, out));
    (*out)->a = n;
    return WEIR_OK;
}

static weir_status filter_expression(weir__parser *p, weir__node **n) {
    for (;;) {
        if (weir__at_op(p, '|'))
            WEIR_TRY(weir__parse_filters(p, *n, false, n));
        else if (weir__at_name(p, "is"))
            WEIR_TRY(test(p, *n, n));
        else if (weir__at_op(p, '('))
            WEIR_TRY(call(p, *n, n));
        else
            return WEIR_OK;
    }
}

/* ---- operators -------------------------------------------------------------------------------------- */

static weir_status unary(weir__parser *p, bool filters, weir__node **out) {
    const int line = p->t->line;
    const bool minus = weir__at_op(p, '-');
    WEIR_TRY(deeper(p));
    if (minus || weir__at_op(p, '+')) {
        p->t++;
        WEIR_TRY(weir__new_node(p, WEIR__N_NEGATE, line, out));
        (*out)->flag = minus;
        WEIR_TRY(unary(p, false, &(*out)->a));
    } else {
        WEIR_TRY(weir__parse_primary(p, false, out));
        if ((*out)->kind == WEIR__N_NAME) note_use(p, (*out)->name);
    }
    WEIR_TRY(postfix(p, out));
    if (filters) WEIR_TRY(filter_expression(p, out));
    p->depth--;
    return WEIR_OK;
}

typedef struct level {
    struct {
        int token;
        weir__jinja_op op;
    } ops[4];
    int n;
} level;

static const level levels[] = {
    {{{'+', WEIR__ADD}, {'-', WEIR__SUB}}, 2},
    {{{'*', WEIR__MUL}, {'/', WEIR__DIV}, {WEIR__OP2('/', '/'), WEIR__FLOORDIV}, {'%', WEIR__MOD}}, 4},
    {{{WEIR__OP2('*', '*'), WEIR__POW}}, 1}};

static weir_status concat(weir__parser *p, weir__node **out);

/* a op b op c …, from the left; level 0 has ~ between it and the next. */
static weir_status binary(weir__parser *p, int at, weir__node **out) {
    const level *l = &levels[at];
    WEIR_TRY(at == 0 ? concat(p, out) : at == 1 ? binary(p, 2, out) : unary(p, true, out));
    for (;;) {
        int i = 0;
        const int line = p->t->line;
        weir__node *n = NULL;
        while (i < l->n && !weir__at_op(p, l->ops[i].token)) i++;
        if (i == l->n) return WEIR_OK;
        p->t++;
        WEIR_TRY(weir__new_node(p, WEIR__N_BINARY, line, &n));
        n->op = l->ops[i].op;
        n->a = *out;
        WEIR_TRY(at == 0 ? concat(p, &n->b) : at == 1 ? binary(p, 2, &n->b) : unary(p, true, &n->b));
        *out = n;
    }
}

static weir_status concat(weir__parser *p, weir__node **out) {
    weir__chain items = {0};
    const int line = p->t->line;
    weir__node *n = NULL;
    WEIR_TRY(binary(p, 1, &n));
    weir__chain_add(&items, n);
    while (weir__skip_op(p, '~')) {
        WEIR_TRY(binary(p, 1, &n));
        weir__chain_add(&items, n);
    }
    *out = items.first;
    if (!items.first->next) return WEIR_OK;
    WEIR_TRY(weir__new_node(p, WEIR__N_CONCAT, line, out));
    (*out)->list = items.first;
    return WEIR_OK;
}

static bool comparison(weir__parser *p, weir__jinja_op *op) {
    static const struct {
        int token;
        weir__jinja_op op;
    } ops[] = {{WEIR__OP2('=', '='), WEIR__EQ},
               {WEIR__OP2('!', '='), WEIR__NE},
               {'<', WEIR__LT},
               {WEIR__OP2('<', '='), WEIR__LE},
               {'>', WEIR__GT},
               {WEIR__OP2('>', '='), WEIR__GE}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (weir__skip_op(p, ops[i].token)) {
            *op = ops[i].op;
            return true;
        }
    *op = WEIR__IN;
    if (weir__skip_name(p, "in")) return true;
    if (!weir__at_name(p, "not") || p->t[1].kind != WEIR__T_NAME || strcmp(p->t[1].text, "in") != 0)
        return false;
    p->t += 2;
    *op = WEIR__NOTIN;
    return true;
}

static weir_status compare(weir__parser *p, weir__node **out) {
    weir__chain items = {0};
    const int line = p->t->line;
    weir__node *first = NULL, *n = NULL;
    weir__jinja_op op = WEIR__EQ;
    WEIR_TRY(binary(p, 0, &first));
    while (comparison(p, &op)) {
        WEIR_TRY(weir__new_node(p, WEIR__N_OPERAND, p->t->line, &n));
        n->op = op;
        WEIR_TRY(binary(p, 0, &n->a));
        weir__chain_add(&items, n);
    }
    *out = first;
    if (!items.first) return WEIR_OK;
    WEIR_TRY(weir__new_node(p, WEIR__N_COMPARE, line, out));
    (*out)->a = first;
    (*out)->list = items.first;
    return WEIR_OK;
}

static weir_status negation(weir__parser *p, weir__node **out) {
    const int line = p->t->line;
    if (!weir__skip_name(p, "not")) return compare(p, out);
    WEIR_TRY(deeper(p));
    WEIR_TRY(weir__new_node(p, WEIR__N_NOT, line, out));
    WEIR_TRY(negation(p, &(*out)->a));
    p->depth--;
    return WEIR_OK;
}

static weir_status junction(weir__parser *p, bool is_or, weir__node **out) {
    WEIR_TRY(is_or ? junction(p, false, out) : negation(p, out));
    while (weir__at_name(p, is_or ? "or" : "and")) {
        weir__node *n = NULL;
        WEIR_TRY(weir__new_node(p, is_or ? WEIR__N_OR : WEIR__N_AND, p->t->line, &n));
        p->t++;
        n->a = *out;
        WEIR_TRY(is_or ? junction(p, false, &n->b) : negation(p, &n->b));
        *out = n;
    }
    return WEIR_OK;
}

weir_status weir__parse_expression(weir__parser *p, bool conditional, weir__node **out) {
    WEIR_TRY(deeper(p));
    int line = p->t->line;
    WEIR_TRY(junction(p, true, out));
    while (conditional && weir__skip_name(p, "if")) {
        weir__node *n = NULL;
        WEIR_TRY(weir__new_node(p, WEIR__N_COND, line, &n));
        n->b = *out;
        WEIR_TRY(junction(p, true, &n->a));
        if (weir__skip_name(p, "else")) WEIR_TRY(weir__parse_expression(p, true, &n->c));
        *out = n;
        line = p->t->line;
    }
    p->depth--;
    return WEIR_OK;
}
