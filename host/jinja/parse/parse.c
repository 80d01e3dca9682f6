#include <stdio.h>
#include <string.h>

#include "host/jinja/parse/lexer.h"
#include "host/jinja/parse/parser.h"
#include "host/jinja/values/text.h"
#include "kernels/base/mem.h"

/* Statements, after jinja2/parser.py. */

enum { MAX_TAGS = sizeof((weir__parser *)0)->tags / sizeof(char *) };

/* Lists of tags that end a body, each with NULL at its end. */
typedef const char *const *ends;

static weir_status body(weir__parser *p, ends end, weir__node **out);

/* ---- messages of jinja2 about tags ------------------------------------------------------------------ */

static bool is_one_of(ends end, const char *name) {
    for (; *end; end++)
        if (strcmp(*end, name) == 0) return true;
    return false;
}

static weir_status unknown_tag(weir__parser *p, const char *name, int line) {
    char looking[128] = "", text[400];
    size_t n = 0;
    bool nested = false;
    const ends *open = p->n_tag > 0 ? &p->ends[p->n_tag - 1] : NULL;
    for (ends e = open ? *open : NULL; e && *e; e++)
        n += (size_t)snprintf(looking + n, sizeof looking - n, "%s'%s'", n > 0 ? " or " : "", *e);
    for (int i = 0; name && i < p->n_tag; i++) nested |= is_one_of(p->ends[i], name);
    n = name ? (size_t)snprintf(text, sizeof text, "Encountered unknown tag '%.60s'.", name)
             : (size_t)snprintf(text, sizeof text, "Unexpected end of template.");
    if (open && nested)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              " You probably made a nesting mistake. Jinja is expecting this tag, but "
                              "currently looking for %s.",
                              looking);
    else if (open)
        n += (size_t)snprintf(text + n, sizeof text - n, " Jinja was looking for the following tags: %s.",
                              looking);
    if (open)
        snprintf(text + n, sizeof text - n, " The innermost block that needs to be closed is '%s'.",
                 p->tags[p->n_tag - 1]);
    return weir__parse_fail(p, line, "%s", text);
}

/* ---- bodies ----------------------------------------------------------------------------------------- */

/* The rest of a tag, and the statements up to one of the tags that end it. That tag's name is the current
 * token afterwards. */
static weir_status block(weir__parser *p, const char *tag, ends end, weir__node **out) {
    weir__skip_op(p, ':');
    if (p->t->kind != WEIR__T_BLOCK_END) return weir__expected(p, "end of statement block");
    p->t++;
    if (p->n_tag == MAX_TAGS)
        return weir_fail(p->err, WEIR_ENOTSUP, "line %d: more than %d open statements", p->t->line, MAX_TAGS);
    p->tags[p->n_tag] = tag;
    p->ends[p->n_tag++] = end;
    WEIR_TRY(body(p, end, out));
    if (p->t->kind == WEIR__T_END) return unknown_tag(p, NULL, p->t->line);
    p->n_tag--;
    return WEIR_OK;
}

/* The same where one tag alone can end it, which is passed. */
static weir_status whole_block(weir__parser *p, const char *tag, ends end, weir__node **out) {
    WEIR_TRY(block(p, tag, end, out));
    p->t++;
    return WEIR_OK;
}

/* ---- if, for ---------------------------------------------------------------------------------------- */

static weir_status parse_if(weir__parser *p, weir__node **out) {
    static const char *const ends_if[] = {"elif", "else", "endif", NULL}, *const ends_else[] = {"endif",
                                                                                                NULL};
    weir__node **at = out;
    p->soft++;
    for (bool more = true; more;) {
        weir__node *n = NULL;
        WEIR_TRY(weir__new_node(p, WEIR__N_IF, p->t->line, &n));
        n->flag = at != out; /* an elif, not a statement inside an else */
        *at = n;
        p->t++;
        WEIR_TRY(weir__parse_tuple(p, false, NULL, false, &n->a));
        WEIR_TRY(block(p, "if", ends_if, &n->body));
        more = weir__at_name(p, "elif");
        if (weir__skip_name(p, "else"))
            WEIR_TRY(whole_block(p, "if", ends_else, &n->else_));
        else if (!more)
            p->t++;
        at = &n->else_;
    }
    p->soft--;
    return WEIR_OK;
}

static bool assigns_loop(const weir__node *target) {
    if (target->kind == WEIR__N_NAME) return strcmp(target->name, "loop") == 0;
    for (const weir__node *n = target->kind == WEIR__N_TUPLE ? target->list : NULL; n; n = n->next)
        if (assigns_loop(n)) return true;
    return false;
}

static weir_status parse_for(weir__parser *p, weir__node **out) {
    static const char *const ends_for[] = {"endfor", "else", NULL}, *const ends_else[] = {"endfor", NULL};
    weir__node *n = NULL;
    const int soft = p->soft;
    WEIR_TRY(weir__new_node(p, WEIR__N_FOR, p->t->line, &n));
    p->t++;
    WEIR_TRY(weir__parse_target(p, false, "in", &n->a));
    if (!weir__skip_name(p, "in")) return weir__expected(p, "in");
    WEIR_TRY(weir__parse_tuple(p, false, "recursive", false, &n->b));
    p->soft = 0;
    if (weir__skip_name(p, "if")) WEIR_TRY(weir__parse_expression(p, true, &n->c));
    n->flag = weir__skip_name(p, "recursive");
    p->in_loop++;
    WEIR_TRY(block(p, "for", ends_for, &n->body));
    p->in_loop--;
    if (assigns_loop(n->a))
        return weir__parse_fail(p, n->a->line, "Can't assign to special loop variable in for-loop target");
    if (weir__skip_name(p, "else"))
        WEIR_TRY(whole_block(p, "for", ends_else, &n->else_));
    else
        p->t++;
    p->soft = soft;
    *out = n;
    return WEIR_OK;
}

/* ---- set, with, filter ------------------------------------------------------------------------------ */

static weir_status parse_set(weir__parser *p, weir__node **out) {
    static const char *const end[] = {"endset", NULL};
    weir__node *n = NULL;
    WEIR_TRY(weir__new_node(p, WEIR__N_SET, p->t->line, &n));
    *out = n;
    p->t++;
    WEIR_TRY(weir__parse_target(p, true, NULL, &n->a));
    if (weir__skip_op(p, '=')) return weir__parse_tuple(p, true, NULL, false, &n->b);
    n->kind = WEIR__N_SET_BLOCK;
    WEIR_TRY(weir__parse_filters(p, NULL, false, &n->b));
    return whole_block(p, "set", end, &n->body);
}

static weir_status parse_with(weir__parser *p, weir__node **out) {
    static const char *const end[] = {"endwith", NULL};
    weir__node *n = NULL, **at = NULL;
    WEIR_TRY(weir__new_node(p, WEIR__N_WITH, p->t->line, &n));
    p->t++;
    for (at = &n->list; p->t->kind != WEIR__T_BLOCK_END; at = &(*at)->next) {
        if (n->list) WEIR_TRY(weir__expect_op(p, ','));
        WEIR_TRY(weir__parse_target(p, false, NULL, at));
        at = &(*at)->next;
        WEIR_TRY(weir__expect_op(p, '='));
        WEIR_TRY(weir__parse_expression(p, true, at));
    }
    *out = n;
    return whole_block(p, "with", end, &n->body);
}

static weir_status parse_filter(weir__parser *p, weir__node **out) {
    static const char *const end[] = {"endfilter", NULL};
    WEIR_TRY(weir__new_node(p, WEIR__N_FILTER_BLOCK, p->t->line, out));
    p->t++;
    WEIR_TRY(weir__parse_filters(p, NULL, true, &(*out)->a));
    return whole_block(p, "filter", end, &(*out)->body);
}

/* ---- macro, call, generation ------------------------------------------------------------------------ */

enum { MAX_PARAMS = 64 };

static weir_status parse_params(weir__parser *p, weir__params *s) {
    s->names = weir__arena_alloc(p->arena, MAX_PARAMS, sizeof *s->names);
    s->defaults = weir__arena_alloc(p->arena, MAX_PARAMS, sizeof *s->defaults);
    if (!s->names || !s->defaults) return weir_fail(p->err, WEIR_ENOMEM, "no memory to parse a template");
    WEIR_TRY(weir__expect_op(p, '('));
    while (!weir__at_op(p, ')')) {
        if (s->n > 0) WEIR_TRY(weir__expect_op(p, ','));
        if (p->t->kind != WEIR__T_NAME) return weir__expected(p, "name");
        if (s->n == MAX_PARAMS)
            return weir_fail(p->err, WEIR_ENOTSUP, "line %d: more than %d parameters", p->t->line,
                             MAX_PARAMS);
        s->names[s->n] = p->t->text;
        s->defaults[s->n] = NULL;
        p->t++;
        if (weir__skip_op(p, '='))
            WEIR_TRY(weir__parse_expression(p, true, &s->defaults[s->n]));
        else if (s->n > 0 && s->defaults[s->n - 1])
            return weir__parse_fail(p, p->t->line, "non-default argument follows default argument");
        s->n++;
    }
    return weir__expect_op(p, ')');
}

static bool has_param(const weir__params *s, const char *name, bool *with_default) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->names[i], name) != 0) continue;
        *with_default = s->defaults[i] != NULL;
        return true;
    }
    return false;
}

/* The body of a function, in which break has no loop, and which of the special names it reads. */
static weir_status function_body(weir__parser *p, weir__node *n, const char *tag, ends end,
                                 weir__uses outer) {
    const int in_loop = p->in_loop, soft = p->soft;
    bool given = true, other = false;
    weir__params *s = n->params;
    p->in_loop = p->soft = 0;
    WEIR_TRY(whole_block(p, tag, end, &n->body));
    s->names_caller = has_param(s, "caller", &given);
    if (p->uses.caller && s->names_caller && !given)
        return weir__parse_fail(
            p, n->line,
            "When defining macros or call blocks the special \"caller\" argument must be omitted "
            "or be given a default.");
    s->caller = p->uses.caller && !s->names_caller;
    s->kwargs = p->uses.kwargs && !has_param(s, "kwargs", &other);
    s->varargs = p->uses.varargs && !has_param(s, "varargs", &other);
    p->in_loop = in_loop;
    p->soft = soft;
    p->uses.caller |= outer.caller;
    p->uses.kwargs |= outer.kwargs;
    p->uses.varargs |= outer.varargs;
    return WEIR_OK;
}

static weir_status new_function(weir__parser *p, weir__node_kind kind, weir__node **out) {
    WEIR_TRY(weir__new_node(p, kind, p->t->line, out));
    weir__params *s = weir__arena_alloc(p->arena, 1, sizeof *s);
    if (!s) return weir_fail(p->err, WEIR_ENOMEM, "no memory to parse a template");
    *s = (weir__params){0};
    (*out)->params = s;
    p->t++;
    return WEIR_OK;
}

static weir_status parse_macro(weir__parser *p, weir__node **out) {
    static const char *const end[] = {"endmacro", NULL};
    WEIR_TRY(new_function(p, WEIR__N_MACRO, out));
    const weir__uses outer = p->uses;
    if (p->t->kind != WEIR__T_NAME) return weir__expected(p, "name");
    (*out)->name = p->t->text;
    p->t++;
    WEIR_TRY(parse_params(p, (*out)->params));
    p->uses = (weir__uses){0};
    return function_body(p, *out, "macro", end, outer);
}

static weir_status parse_call(weir__parser *p, weir__node **out) {
    static const char *const end[] = {"endcall", NULL};
    WEIR_TRY(new_function(p, WEIR__N_CALL_BLOCK, out));
    if (weir__at_op(p, '(')) WEIR_TRY(parse_params(p, (*out)->params));
    WEIR_TRY(weir__parse_expression(p, true, &(*out)->a));
    if ((*out)->a->kind != WEIR__N_CALL) return weir__parse_fail(p, (*out)->line, "expected call");
    (*out)->a->b = *out; /* its argument `caller` */
    const weir__uses outer = p->uses;
    p->uses = (weir__uses){0};
    return function_body(p, *out, "call", end, outer);
}

static weir_status parse_generation(weir__parser *p, weir__node **out) {
    static const char *const end[] = {"endgeneration", NULL};
    WEIR_TRY(new_function(p, WEIR__N_GENERATION, out));
    const weir__uses outer = p->uses;
    p->uses = (weir__uses){0};
    return function_body(p, *out, "generation", end, outer);
}

/* ---- small ones ------------------------------------------------------------------------------------- */

static weir_status parse_print(weir__parser *p, weir__node **out) {
    p->t++;
    for (weir__node **at = out; p->t->kind != WEIR__T_BLOCK_END; at = &(*at)->next) {
        if (*out) WEIR_TRY(weir__expect_op(p, ','));
        WEIR_TRY(weir__new_node(p, WEIR__N_PRINT, p->t->line, at));
        WEIR_TRY(weir__parse_expression(p, true, &(*at)->a));
    }
    return WEIR_OK;
}

static weir_status parse_jump(weir__parser *p, weir__node **out) {
    const bool is_break = weir__at_name(p, "break");
    if (p->in_loop == 0)
        return weir__parse_fail(p, p->t->line,
                                is_break ? "'break' outside loop" : "'continue' not properly in loop");
    WEIR_TRY(weir__new_node(p, is_break ? WEIR__N_BREAK : WEIR__N_CONTINUE, p->t->line, out));
    p->t++;
    return WEIR_OK;
}

/* Statements that need other templates, or that change how a text is escaped. */
static weir_status parse_other(weir__parser *p, weir__node **out) {
    static const char *const left_out[] = {"include", "import",     "from", "extends",
                                           "block",   "autoescape", NULL};
    (void)out;
    if (is_one_of(left_out, p->t->text))
        return weir_fail(p->err, WEIR_ENOTSUP, "line %d: the statement '%s' is not supported", p->t->line,
                         p->t->text);
    return unknown_tag(p, p->t->text, p->t->line);
}

static weir_status statement(weir__parser *p, weir__node **out) {
    static const struct {
        const char *name;
        weir_status (*parse)(weir__parser *p, weir__node **out);
    } all[] = {{"if", parse_if},       {"for", parse_for},      {"set", parse_set},
               {"macro", parse_macro}, {"call", parse_call},    {"filter", parse_filter},
               {"with", parse_with},   {"print", parse_print},  {"generation", parse_generation},
               {"break", parse_jump},  {"continue", parse_jump}};
    if (p->t->kind != WEIR__T_NAME) return weir__parse_fail(p, p->t->line, "tag name expected");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, p->t->text) == 0) return all[i].parse(p, out);
    return parse_other(p, out);
}

/* ---- a body ----------------------------------------------------------------------------------------- */

static weir_status data(weir__parser *p, weir__node **out) {
    weir__text *t = weir__arena_alloc(p->arena, 1, sizeof *t);
    if (!t) return weir_fail(p->err, WEIR_ENOMEM, "no memory to parse a template");
    *t = (weir__text){.p = p->t->text, .n = p->t->n, .n_char = SIZE_MAX, .writer = WEIR__BY_TEMPLATE};
    weir__text_length(t);
    WEIR_TRY(weir__new_node(p, WEIR__N_DATA, p->t->line, out));
    (*out)->value = (weir__value){.kind = WEIR__STRING, .as.s = t};
    p->t++;
    return WEIR_OK;
}

static weir_status print(weir__parser *p, weir__node **out) {
    WEIR_TRY(weir__new_node(p, WEIR__N_PRINT, p->t->line, out));
    p->t++;
    WEIR_TRY(weir__parse_tuple(p, true, NULL, false, &(*out)->a));
    if (p->t->kind != WEIR__T_PRINT_END) return weir__expected(p, "end of print statement");
    p->t++;
    return WEIR_OK;
}

/* Up to a tag of `end` (NULL: none), or the end of the template. */
static weir_status body(weir__parser *p, ends end, weir__node **out) {
    weir__node **at = out;
    while (p->t->kind != WEIR__T_END) {
        if (p->t->kind == WEIR__T_DATA) {
            WEIR_TRY(data(p, at));
        } else if (p->t->kind == WEIR__T_PRINT_BEGIN) {
            WEIR_TRY(print(p, at));
        } else {
            p->t++;
            if (end && p->t->kind == WEIR__T_NAME && is_one_of(end, p->t->text)) return WEIR_OK;
            WEIR_TRY(statement(p, at));
            if (p->t->kind != WEIR__T_BLOCK_END) return weir__expected(p, "end of statement block");
            p->t++;
        }
        while (*at) at = &(*at)->next;
    }
    return WEIR_OK;
}

weir_status weir__jinja_parse(weir_jinja **out, const char *source, size_t bytes, weir_err *err) {
    weir_err none = {""};
    weir__jinja_tokens tokens = {0};
    weir_jinja *t = weir_calloc(1, sizeof *t);
    if (!err) err = &none;
    if (!t) return weir_fail(err, WEIR_ENOMEM, "no memory to parse a template");
    weir_status s = weir__jinja_lex(&t->arena, source, bytes, &tokens, err);
    if (s == WEIR_OK) {
        weir__parser p = {.arena = &t->arena, .err = err, .t = tokens.at};
        s = body(&p, NULL, &t->body);
    }
    if (s != WEIR_OK) {
        weir__jinja_free(t);
        return s;
    }
    *out = t;
    return WEIR_OK;
}

void weir__jinja_free(weir_jinja *t) {
    if (!t) return;
    weir__arena_free(&t->arena);
    weir_free(t);
}
