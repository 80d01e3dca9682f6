#include "host/jinja/parse/lexer.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/jinja/parse/literal.h"
#include "host/jinja/values/text.h"

/* jinja2's lexer with trim_blocks and lstrip_blocks: a line break right after a statement or a comment
 * goes, and blanks before one at the start of a line. */

typedef struct lexer {
    weir__arena *arena;
    weir_err *err;
    weir__jinja_tokens *out;
    weir__text src; /* line breaks are \n, one at its end is gone */
    size_t at;
    int line;
    bool line_starts; /* what was read last ended in a line break */
    char open[256];   /* braces that wait for theirs */
    int n_open;
} lexer;

static weir_status no_memory(lexer *x) {
    return weir_fail(x->err, WEIR_ENOMEM, "no memory to parse a template");
}

static weir_status fail(lexer *x, const char *what) {
    return weir_fail(x->err, WEIR_EFORMAT, "line %d: %s", x->line, what);
}

static weir_status add(lexer *x, weir__jinja_token t) {
    weir__jinja_tokens *o = x->out;
    if (o->n == o->cap) {
        const size_t cap = o->cap ? o->cap * 2 : 256;
        weir__jinja_token *at = weir__arena_alloc(x->arena, cap, sizeof *at);
        if (!at) return no_memory(x);
        if (o->n > 0) memcpy(at, o->at, o->n * sizeof *at);
        o->at = at;
        o->cap = cap;
    }
    t.line = x->line;
    o->at[o->n++] = t;
    return WEIR_OK;
}

static void count_lines(lexer *x, size_t from, size_t upto) {
    for (size_t i = from; i < upto; i++) x->line += x->src.p[i] == '\n';
}

static bool sees(const lexer *x, size_t at, const char *word) {
    const size_t n = strlen(word);
    return x->src.n - at >= n && memcmp(x->src.p + at, word, n) == 0;
}

static size_t skip_space(const lexer *x, size_t at) {
    uint32_t cp = 0;
    for (size_t k; at < x->src.n && (k = weir__text_step(&x->src, at, &cp)) > 0 && weir__is_space(cp);)
        at += k;
    return at;
}

/* ---- text between tags ------------------------------------------------------------------------------ */

/* Where text [from, upto) before a tag ends: `sign` of the tag strips all white space, or keeps it; else
 * blanks between a line's start and a statement or comment go. */
static size_t stripped_end(const lexer *x, size_t from, size_t upto, char sign, bool print) {
    const weir__text *t = &x->src;
    size_t end = upto;
    uint32_t cp = 0;
    for (size_t k; end > from && (k = weir__text_back(t, end, &cp)) > 0 && weir__is_space(cp);) {
        if (sign != '-' && cp == '\n') break;
        end -= k;
    }
    if (sign == '-') return end;
    if (sign == '+' || print) return upto;
    const bool at_line = end > from ? t->p[end - 1] == '\n' : x->line_starts;
    return at_line ? end : upto;
}

static weir_status add_data(lexer *x, size_t from, size_t upto) {
    if (from == upto) return WEIR_OK;
    return add(x, (weir__jinja_token){.kind = WEIR__T_DATA, .text = x->src.p + from, .n = upto - from});
}

/* After the end of a statement or comment: -: all white space, plain: one line break. */
static size_t after_end(const lexer *x, size_t at, char sign) {
    if (sign == '-') return skip_space(x, at);
    return sign == 0 && at < x->src.n && x->src.p[at] == '\n' ? at + 1 : at;
}

/* The end of a tag `close` at `at`, its sign included: where what follows begins; 0: not there. */
static size_t tag_end(const lexer *x, size_t at, const char *close, bool plus) {
    const char c = at < x->src.n ? x->src.p[at] : 0;
    const bool sign = (c == '-' || (plus && c == '+')) && sees(x, at + 1, close);
    if (!sign && !sees(x, at, close)) return 0;
    at += strlen(close) + sign;
    if (!plus && !sign) return at; /* a print statement keeps what follows */
    return after_end(x, at, sign ? c : 0);
}

/* {% raw %} at a "{%": where its content begins, 0 if it is another tag. */
static size_t raw_begin(const lexer *x, size_t at) {
    at += 2;
    if (at < x->src.n && (x->src.p[at] == '-' || x->src.p[at] == '+')) at++;
    at = skip_space(x, at);
    if (!sees(x, at, "raw")) return 0;
    at = skip_space(x, at + 3);
    if (sees(x, at, "-%}")) return skip_space(x, at + 3);
    return sees(x, at, "%}") ? at + 2 : 0;
}

static char sign_at(const lexer *x, size_t at) {
    const char c = at < x->src.n ? x->src.p[at] : 0;
    return c == '-' || c == '+' ? c : 0;
}

static weir_status raw(lexer *x, size_t from) {
    for (size_t at = from; at < x->src.n; at++) {
        if (!sees(x, at, "{%")) continue;
        const char sign = sign_at(x, at + 2);
        size_t end = skip_space(x, at + 2 + (sign != 0));
        if (!sees(x, end, "endraw")) continue;
        end = tag_end(x, skip_space(x, end + 6), "%}", true);
        if (end == 0) continue;
        WEIR_TRY(add_data(x, from, stripped_end(x, from, at, sign, false)));
        count_lines(x, from, end);
        x->line_starts = x->src.p[end - 1] == '\n';
        x->at = end;
        return WEIR_OK;
    }
    return fail(x, "Missing end of raw directive");
}

static weir_status comment(lexer *x, size_t from) {
    for (size_t at = from; at < x->src.n; at++) {
        const size_t end = tag_end(x, at, "#}", true);
        if (end == 0) continue;
        count_lines(x, from, end);
        x->line_starts = x->src.p[end - 1] == '\n';
        x->at = end;
        return WEIR_OK;
    }
    return fail(x, "Missing end of comment tag");
}

/* ---- inside tags ------------------------------------------------------------------------------------ */

static weir_status string(lexer *x, bool *found) {
    const char *p = x->src.p;
    const char quote = p[x->at];
    size_t end = x->at + 1;
    while (end < x->src.n && p[end] != quote) end += p[end] == '\\' ? 2 : 1;
    *found = end < x->src.n;
    if (!*found) return WEIR_OK;
    const char *why = NULL;
    weir__jinja_token t = {.kind = WEIR__T_STRING};
    char *text = weir__arena_alloc(x->arena, (end - x->at) * 3 + 1, 1);
    if (!text) return no_memory(x);
    t.text = text;
    if (!weir__unescape(p + x->at + 1, end - x->at - 1, text, &t.n, &why)) return fail(x, why);
    WEIR_TRY(add(x, t));
    count_lines(x, x->at, end);
    x->at = end + 1;
    return WEIR_OK;
}

static weir_status number(lexer *x, bool *found) {
    weir__jinja_token t = {.kind = WEIR__T_INT};
    const char *p = x->src.p + x->at;
    size_t k = x->at > 0 && p[-1] == '.' ? 0 : weir__read_float(p, x->src.n - x->at, &t.real);
    if (k > 0) t.kind = WEIR__T_FLOAT;
    bool fits = true;
    if (k == 0) k = weir__read_integer(p, x->src.n - x->at, &t.integer, &fits);
    *found = k > 0;
    if (k == 0) return WEIR_OK;
    if (!fits)
        return weir_fail(x->err, WEIR_ENOTSUP, "line %d: an integer that does not fit in 64 bits", x->line);
    WEIR_TRY(add(x, t));
    x->at += k;
    return WEIR_OK;
}

static weir_status name(lexer *x, bool *found) {
    uint32_t cp = 0;
    size_t end = x->at;
    for (size_t k; end < x->src.n && (k = weir__text_step(&x->src, end, &cp)) > 0 && weir__is_word(cp);)
        end += k;
    *found = end > x->at;
    if (!*found) return WEIR_OK;
    char *copy = weir__arena_alloc(x->arena, end - x->at + 1, 1);
    if (!copy) return no_memory(x);
    memcpy(copy, x->src.p + x->at, end - x->at);
    copy[end - x->at] = '\0';
    WEIR_TRY(add(x, (weir__jinja_token){.kind = WEIR__T_NAME, .text = copy, .n = end - x->at}));
    x->at = end;
    return WEIR_OK;
}

static weir_status balance(lexer *x, char c) {
    char why[64];
    if (c == '(' || c == '[' || c == '{') {
        if (x->n_open == (int)sizeof x->open)
            return weir_fail(x->err, WEIR_ENOTSUP, "line %d: more than %d open braces", x->line, x->n_open);
        x->open[x->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        return WEIR_OK;
    }
    if (c != ')' && c != ']' && c != '}') return WEIR_OK;
    if (x->n_open == 0)
        snprintf(why, sizeof why, "unexpected '%c'", c);
    else if (x->open[--x->n_open] != c)
        snprintf(why, sizeof why, "unexpected '%c', expected '%c'", c, x->open[x->n_open]);
    else
        return WEIR_OK;
    return fail(x, why);
}

static weir_status unexpected(lexer *x) {
    weir__text before = {.p = x->src.p, .n = x->at, .n_char = SIZE_MAX};
    uint32_t cp = 0;
    char why[80];
    const size_t k = weir__text_step(&x->src, x->at, &cp);
    const char *quote = cp == '\'' ? "\"" : "'";
    snprintf(why, sizeof why, "unexpected char %s%s%.*s%s at %zu", quote, cp == '\\' ? "\\" : "", (int)k,
             x->src.p + x->at, quote, weir__text_length(&before));
    return fail(x, why);
}

static weir_status operator(lexer *x) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    const char c = x->src.p[x->at];
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (!sees(x, x->at, two[i])) continue;
        x->at += 2;
        return add(x, (weir__jinja_token){.kind = WEIR__T_OPERATOR, .op = WEIR__OP2(two[i][0], two[i][1])});
    }
    if (c == '\0' || !strchr("+-/*%~[](){}><=.:|,;", c)) return unexpected(x);
    WEIR_TRY(balance(x, c));
    WEIR_TRY(add(x, (weir__jinja_token){.kind = WEIR__T_OPERATOR, .op = c}));
    x->at++;
    return WEIR_OK;
}

/* One token inside a tag; white space is already skipped. */
static weir_status inside(lexer *x) {
    const char c = x->src.p[x->at];
    bool found = false;
    if (c >= '0' && c <= '9') WEIR_TRY(number(x, &found));
    if (!found) WEIR_TRY(name(x, &found));
    if (!found && (c == '\'' || c == '"')) WEIR_TRY(string(x, &found));
    return found ? WEIR_OK : operator(x);
}

static weir_status tag(lexer *x, bool print) {
    x->n_open = 0;
    for (;;) {
        const size_t end = x->n_open > 0 ? 0 : tag_end(x, x->at, print ? "}}" : "%}", !print);
        if (end > 0) {
            WEIR_TRY(add(x, (weir__jinja_token){.kind = print ? WEIR__T_PRINT_END : WEIR__T_BLOCK_END}));
            count_lines(x, x->at, end);
            x->line_starts = x->src.p[end - 1] == '\n';
            x->at = end;
            return WEIR_OK;
        }
        const size_t next = skip_space(x, x->at);
        count_lines(x, x->at, next);
        if (next > x->at) {
            x->at = next;
            continue;
        }
        if (x->at == x->src.n) return WEIR_OK; /* the parser misses the end */
        WEIR_TRY(inside(x));
    }
}

/* ---- a template ------------------------------------------------------------------------------------- */

/* Text up to the next tag, and the tag. */
static weir_status part(lexer *x) {
    size_t at = x->at;
    const char *p = x->src.p;
    while (at < x->src.n && !(p[at] == '{' && at + 1 < x->src.n && strchr("{%#", p[at + 1]) && p[at + 1]))
        at++;
    if (at == x->src.n) {
        const size_t from = x->at;
        x->at = at;
        return add_data(x, from, at);
    }
    const char kind = p[at + 1], sign = sign_at(x, at + 2);
    WEIR_TRY(add_data(x, x->at, stripped_end(x, x->at, at, sign, kind == '{')));
    count_lines(x, x->at, at);
    x->line_starts = false;
    x->at = at + 2 + (sign != 0);
    if (kind == '#') return comment(x, x->at);
    const size_t content = kind == '%' ? raw_begin(x, at) : 0;
    if (content > 0) {
        count_lines(x, at, content);
        x->line_starts = p[content - 1] == '\n';
        return raw(x, content);
    }
    WEIR_TRY(add(x, (weir__jinja_token){.kind = kind == '{' ? WEIR__T_PRINT_BEGIN : WEIR__T_BLOCK_BEGIN}));
    return tag(x, kind == '{');
}

static weir_status copy_source(lexer *x, const char *source, size_t bytes) {
    char *p = weir__arena_alloc(x->arena, bytes + 1, 1);
    size_t n = 0;
    if (!p) return no_memory(x);
    for (size_t i = 0; i < bytes; i++) {
        if (source[i] == '\r' && i + 1 < bytes && source[i + 1] == '\n') continue;
        p[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && p[n - 1] == '\n') n--;
    p[n] = '\0';
    x->src = (weir__text){.p = p, .n = n, .n_char = SIZE_MAX};
    return WEIR_OK;
}

weir_status weir__jinja_lex(weir__arena *arena, const char *source, size_t bytes, weir__jinja_tokens *out,
                            weir_err *err) {
    lexer x = {.arena = arena, .err = err, .out = out, .line = 1, .line_starts = true};
    enum { MOST = 16 << 20 };
    if (bytes > MOST)
        return weir_fail(err, WEIR_ENOTSUP, "a template of %zu bytes, more than %d", bytes, MOST);
    WEIR_TRY(copy_source(&x, source, bytes));
    while (x.at < x.src.n) WEIR_TRY(part(&x));
    return add(&x, (weir__jinja_token){.kind = WEIR__T_END});
}

/* ---- messages --------------------------------------------------------------------------------------- */

void weir__describe_op(int op, char buf[4]) {
    int n = 0;
    if (op > 0xff) buf[n++] = (char)(op >> 8);
    buf[n++] = (char)(op & 0xff);
    buf[n] = '\0';
}

void weir__describe(const weir__jinja_token *t, char *buf, size_t cap) {
    static const char *const names[] = {"end of template",
                                        "template data / text",
                                        "begin of print statement",
                                        "end of print statement",
                                        "begin of statement block",
                                        "end of statement block",
                                        "name",
                                        "string",
                                        "integer",
                                        "float",
                                        "operator"};
    char op[4];
    if (t->kind == WEIR__T_OPERATOR) weir__describe_op(t->op, op);
    snprintf(buf, cap, "%.80s",
             t->kind == WEIR__T_NAME       ? t->text
             : t->kind == WEIR__T_OPERATOR ? op
                                           : names[t->kind]);
}
