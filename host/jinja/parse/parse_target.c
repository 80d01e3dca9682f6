#include <string.h>

#include "host/jinja/parse/lexer.h"
#include "host/jinja/parse/parser.h"

/* Tuples, and what statements assign to. */

static bool ends_tuple(const weir__parser *p, const char *ends_at) {
    return p->t->kind == WEIR__T_PRINT_END || p->t->kind == WEIR__T_BLOCK_END || weir__at_op(p, ')') ||
           (ends_at && weir__at_name(p, ends_at));
}

typedef struct tuple_style {
    bool conditional, target, attributes, empty;
    const char *ends_at;
} tuple_style;

static weir_status tuple(weir__parser *p, tuple_style s, weir__node **out) {
    weir__chain items = {0};
    bool is_tuple = false;
    int line = p->t->line;
    char got[96];
    for (;;) {
        weir__node *n = NULL;
        if (items.first) WEIR_TRY(weir__expect_op(p, ','));
        if (ends_tuple(p, s.ends_at)) break;
        WEIR_TRY(s.target ? weir__parse_primary(p, s.attributes, &n)
                          : weir__parse_expression(p, s.conditional, &n));
        weir__chain_add(&items, n);
        if (!weir__at_op(p, ',')) break;
        is_tuple = true;
        line = p->t->line;
    }
    *out = items.first;
    if (!is_tuple && items.first) return WEIR_OK;
    weir__describe(p->t, got, sizeof got);
    if (!is_tuple && !s.empty)
        return weir__parse_fail(p, p->t->line, "Expected an expression, got '%s'", got);
    WEIR_TRY(weir__new_node(p, WEIR__N_TUPLE, line, out));
    (*out)->list = items.first;
    return WEIR_OK;
}

weir_status weir__parse_tuple(weir__parser *p, bool conditional, const char *ends_at, bool empty,
                              weir__node **out) {
    return tuple(p, (tuple_style){.conditional = conditional, .ends_at = ends_at, .empty = empty}, out);
}

static weir_status check_target(weir__parser *p, const weir__node *n) {
    static const struct {
        weir__node_kind kind;
        const char *name;
    } names[] = {{WEIR__N_CONST, "const"}, {WEIR__N_LIST, "list"}, {WEIR__N_DICT, "dict"}};
    if (n->kind == WEIR__N_NAME || n->kind == WEIR__N_NSREF) return WEIR_OK;
    for (const weir__node *i = n->kind == WEIR__N_TUPLE ? n->list : NULL; i; i = i->next) {
        const bool fits = i->kind == WEIR__N_NAME || i->kind == WEIR__N_NSREF || i->kind == WEIR__N_TUPLE;
        if (!fits) return weir__parse_fail(p, n->line, "can't assign to 'tuple'");
        WEIR_TRY(check_target(p, i));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].kind == n->kind)
            return weir__parse_fail(p, n->line, "can't assign to '%s'", names[i].name);
    return n->kind == WEIR__N_TUPLE ? WEIR_OK : weir__parse_fail(p, n->line, "can't assign to an expression");
}

weir_status weir__parse_target(weir__parser *p, bool attributes, const char *ends_at, weir__node **out) {
    WEIR_TRY(tuple(p, (tuple_style){.target = true, .attributes = attributes, .ends_at = ends_at}, out));
    return check_target(p, *out);
}
