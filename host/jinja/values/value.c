#include "host/jinja/values/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/base/mem.h"

/* ---- memory ----------------------------------------------------------------------------------------- */

typedef struct weir__chunk {
    struct weir__chunk *next;
    size_t used, cap;
} weir__chunk;

enum { CHUNK = 16 << 10, HEAD = (sizeof(weir__chunk) + 15) / 16 * 16 };

/* Chunks grow with what is held, so that their number stays small and a small render takes little. */
static weir__chunk *add_chunk(weir__arena *a, size_t bytes) {
    size_t cap = a->held / 4 > CHUNK ? a->held / 4 : CHUNK;
    if (cap > (8u << 20)) cap = 8u << 20;
    if (cap < bytes) cap = bytes;
    a->full = a->limit > 0 && (bytes > a->limit || a->held > a->limit - bytes);
    if (a->full || cap > SIZE_MAX - HEAD) return NULL;
    weir__chunk *c = weir_alloc(HEAD + cap, 1);
    if (!c) return NULL;
    *c = (weir__chunk){.next = a->chunks, .cap = cap};
    a->chunks = c;
    a->held += cap;
    return c;
}

void *weir__arena_alloc(weir__arena *a, size_t n, size_t size) {
    size_t bytes = 0;
    a->full = false;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) {
        a->full = a->limit > 0;
        return NULL;
    }
    bytes = (bytes + 15) / 16 * 16;
    weir__chunk *c = a->chunks;
    if (!c || c->cap - c->used < bytes) c = add_chunk(a, bytes);
    if (!c) return NULL;
    char *p = (char *)c + HEAD + c->used;
    c->used += bytes;
    return p;
}

void weir__arena_free(weir__arena *a) {
    for (weir__chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        weir_free(c);
    }
    *a = (weir__arena){.limit = a->limit};
}

/* ---- failures and bounds ---------------------------------------------------------------------------- */

weir_status weir__run_raise(weir__run *r, weir_status s, const char *fmt, ...) {
    char text[sizeof r->err->text];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return weir_fail(r->err, s, "line %d: %s", r->line, n < 0 ? "" : text);
}

weir_status weir__run_no_memory(weir__run *r) {
    if (!r->arena.full) return weir_fail(r->err, WEIR_ENOMEM, "no memory to render a template");
    return weir__run_raise(r, WEIR_ENOTSUP, "the template takes more than %zu bytes of memory",
                           r->options.max_bytes);
}

weir_status weir__run_charge(weir__run *r, size_t steps) {
    if (steps <= r->options.max_steps - r->steps) {
        r->steps += steps;
        return WEIR_OK;
    }
    return weir__run_raise(r, WEIR_ENOTSUP, "the template takes more than %zu steps", r->options.max_steps);
}

weir_status weir__run_enter(weir__run *r) {
    if (r->depth >= r->options.max_depth)
        return weir__run_raise(r, WEIR_ENOTSUP, "the template nests more than %d levels",
                               r->options.max_depth);
    r->depth++;
    return WEIR_OK;
}

/* ---- constructors ----------------------------------------------------------------------------------- */

weir_status weir__value_string(weir__run *r, const char *p, size_t n, uint8_t writer, weir__value *out) {
    weir__text *t = weir__arena_alloc(&r->arena, 1, sizeof *t);
    if (!t) return weir__run_no_memory(r);
    *t = (weir__text){.p = p, .n = n, .n_char = SIZE_MAX, .writer = writer};
    *out = (weir__value){.kind = WEIR__STRING, .as.s = t};
    return WEIR_OK;
}

weir_status weir__value_literal(weir__run *r, const char *s, weir__value *out) {
    return weir__value_string(r, s, strlen(s), WEIR__BY_TEMPLATE, out);
}

weir_status weir__value_list(weir__run *r, weir__kind kind, size_t n, weir__value *out) {
    weir__seq *q = weir__arena_alloc(&r->arena, 1, sizeof *q);
    weir__value *at = weir__arena_alloc(&r->arena, n, sizeof *at);
    if (!q || !at) return weir__run_no_memory(r);
    WEIR_TRY(weir__run_charge(r, n));
    memset(at, 0, n * sizeof *at);
    *q = (weir__seq){.at = at, .n = n};
    *out = (weir__value){.kind = kind, .as.seq = q};
    return WEIR_OK;
}

weir_status weir__value_pair(weir__run *r, weir__value a, weir__value b, weir__value *out) {
    weir__value t;
    WEIR_TRY(weir__value_list(r, WEIR__TUPLE, 2, &t));
    t.as.seq->at[0] = a;
    t.as.seq->at[1] = b;
    *out = t;
    return WEIR_OK;
}

static weir_status new_undef(weir__run *r, weir__undef u, weir__value *out) {
    weir__undef *p = weir__arena_alloc(&r->arena, 1, sizeof *p);
    if (!p) return weir__run_no_memory(r);
    *p = u;
    *out = (weir__value){.kind = WEIR__UNDEFINED, .as.undef = p};
    return WEIR_OK;
}

weir_status weir__undefined(weir__run *r, weir__value of, weir__value name, weir__value *out) {
    return new_undef(r, (weir__undef){.of = of, .name = name}, out);
}

weir_status weir__undefined_hint(weir__run *r, const char *hint, weir__value *out) {
    return new_undef(r, (weir__undef){.hint = hint}, out);
}

/* ---- builder ---------------------------------------------------------------------------------------- */

/* A block of text that its last user may make longer in place: a template that appends to one text again
 * and again then takes linear time and memory. */
typedef struct weir__store {
    char *p;
    uint8_t *from;
    size_t n, cap;
} weir__store;

static weir_status grow(weir__run *r, weir__buf *b, size_t more) {
    size_t cap = b->cap < 32 ? 64 : b->cap * 2;
    if (more > SIZE_MAX / 4 - b->n) return weir__run_no_memory(r);
    if (cap < b->n + more) cap = b->n + more;
    char *p = weir__arena_alloc(&r->arena, cap, 1);
    uint8_t *from = p ? weir__arena_alloc(&r->arena, cap, 1) : NULL;
    if (!p || !from) return weir__run_no_memory(r);
    if (b->n > 0) {
        memcpy(p, b->p, b->n);
        memcpy(from, b->from, b->n);
    }
    *b = (weir__buf){.p = p, .from = from, .n = b->n, .cap = cap};
    return WEIR_OK;
}

/* Room for n bytes more, and what writing them costs. */
static weir_status reserve(weir__run *r, weir__buf *b, size_t n) {
    WEIR_TRY(weir__run_charge(r, n / 32));
    return n > b->cap - b->n ? grow(r, b, n) : WEIR_OK;
}

weir_status weir__buf_put(weir__run *r, weir__buf *b, const char *p, size_t n, uint8_t writer) {
    if (n == 0) return WEIR_OK;
    WEIR_TRY(reserve(r, b, n));
    memcpy(b->p + b->n, p, n);
    memset(b->from + b->n, writer, n);
    b->n += n;
    return WEIR_OK;
}

weir_status weir__buf_put_literal(weir__run *r, weir__buf *b, const char *s) {
    return weir__buf_put(r, b, s, strlen(s), WEIR__BY_TEMPLATE);
}

weir_status weir__buf_put_text(weir__run *r, weir__buf *b, const weir__text *t, size_t at, size_t n) {
    if (n == 0) return WEIR_OK;
    if (!t->from) return weir__buf_put(r, b, t->p + at, n, t->writer);
    WEIR_TRY(reserve(r, b, n));
    memcpy(b->p + b->n, t->p + at, n);
    memcpy(b->from + b->n, t->from + at, n);
    b->n += n;
    return WEIR_OK;
}

weir_status weir__buf_value(weir__run *r, const weir__buf *b, weir__value *out) {
    weir__value v;
    if (b->n == 0) return weir__value_literal(r, "", out);
    weir__store *s = weir__arena_alloc(&r->arena, 1, sizeof *s);
    if (!s) return weir__run_no_memory(r);
    *s = (weir__store){.p = b->p, .from = b->from, .n = b->n, .cap = b->cap};
    WEIR_TRY(weir__value_string(r, b->p, b->n, WEIR__BY_INPUT, &v));
    v.as.s->from = b->from;
    v.as.s->store = s;
    *out = v;
    return WEIR_OK;
}

weir_status weir__text_part(weir__run *r, const weir__text *t, size_t at, size_t n, weir__value *out) {
    weir__value v;
    WEIR_TRY(weir__value_string(r, t->p + at, n, t->writer, &v));
    if (t->from) v.as.s->from = t->from + at;
    v.as.s->markup = t->markup;
    *out = v;
    return WEIR_OK;
}

weir_status weir__text_join2(weir__run *r, const weir__text *a, const weir__text *b, weir__value *out) {
    weir__store *s = a->store;
    weir__buf buf = {0};
    if (s && a->p + a->n == s->p + s->n && b->n <= s->cap - s->n) {
        buf = (weir__buf){.p = s->p, .from = s->from, .n = s->n, .cap = s->cap};
        WEIR_TRY(weir__buf_put_text(r, &buf, b, 0, b->n));
        s->n = buf.n;
        weir__value v;
        WEIR_TRY(weir__value_string(r, a->p, a->n + b->n, WEIR__BY_INPUT, &v));
        v.as.s->from = a->from;
        v.as.s->store = s;
        *out = v;
        return WEIR_OK;
    }
    WEIR_TRY(reserve(r, &buf, a->n + b->n + a->n / 4)); /* a long left side is likely to grow again */
    WEIR_TRY(weir__buf_put_text(r, &buf, a, 0, a->n));
    WEIR_TRY(weir__buf_put_text(r, &buf, b, 0, b->n));
    return weir__buf_value(r, &buf, out);
}

/* ---- facts ------------------------------------------------------------------------------------------ */

const char *weir__type_name(const weir__value *v) {
    static const char *const names[] = {"absent",      "NoneType",
                                        "Undefined",   "bool",
                                        "int",         "float",
                                        "str",         "list",
                                        "tuple",       "range",
                                        "dict_keys",   "dict_values",
                                        "dict_items",  "generator",
                                        "dict",        "Namespace",
                                        "LoopContext", "Cycler",
                                        "Joiner",      "Macro",
                                        "function",    "builtin_function_or_method"};
    if (v->kind == WEIR__ITERATOR && v->as.seq->reversed) return "list_reverseiterator";
    if (v->kind == WEIR__STRING && v->as.s->markup) return "Markup";
    return names[v->kind];
}

bool weir__value_truth(const weir__value *v) {
    switch (v->kind) {
    case WEIR__ABSENT:
    case WEIR__NONE:
    case WEIR__UNDEFINED: return false;
    case WEIR__BOOL: return v->as.b;
    case WEIR__INT: return v->as.i != 0;
    case WEIR__FLOAT: return v->as.f != 0;
    case WEIR__STRING: return v->as.s->n > 0;
    case WEIR__LIST:
    case WEIR__TUPLE:
    case WEIR__RANGE:
    case WEIR__KEYS:
    case WEIR__VALUES:
    case WEIR__ITEMS: return v->as.seq->n > 0;
    case WEIR__DICT: return v->as.dict->n > 0;
    default: return true;
    }
}

bool weir__same_bytes(const weir__text *t, const char *s) {
    return strlen(s) == t->n && memcmp(t->p, s, t->n) == 0;
}
