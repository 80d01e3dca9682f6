#ifndef WEIR_HOST_JINJA_VALUES_VALUE_H
#define WEIR_HOST_JINJA_VALUES_VALUE_H

#include "host/jinja/jinja.h"

/* Values of the language: those of Python that chat templates use. All except namespaces, iterators and loops
 * are immutable, so parts are shared, and nothing is freed before the render ends. Internal to host/jinja. */

/* ---- memory ----------------------------------------------------------------------------------------- */

/* Memory that is freed all at once. */
typedef struct weir__arena {
    struct weir__chunk *chunks;
    size_t held, limit; /* bytes; limit 0: none */
    bool full;          /* the last failure was the limit's */
} weir__arena;

void *weir__arena_alloc(weir__arena *a, size_t n,
                        size_t size); /* 16-byte aligned; NULL: no memory, or over the limit */
void weir__arena_free(weir__arena *a);

/* ---- values ----------------------------------------------------------------------------------------- */

typedef enum weir__kind {
    WEIR__ABSENT = 0, /* no value at all: an argument that was not given */
    WEIR__NONE,
    WEIR__UNDEFINED,
    WEIR__BOOL,
    WEIR__INT,
    WEIR__FLOAT,
    WEIR__STRING,
    WEIR__LIST,
    WEIR__TUPLE,
    WEIR__RANGE,
    WEIR__KEYS, /* dict.keys() and its siblings */
    WEIR__VALUES,
    WEIR__ITEMS,
    WEIR__ITERATOR, /* Python's generators: read once */
    WEIR__DICT,
    WEIR__NAMESPACE,
    WEIR__LOOP,
    WEIR__CYCLER,
    WEIR__JOINER,
    WEIR__MACRO,
    WEIR__FUNCTION,
    WEIR__METHOD,
} weir__kind;

typedef struct weir__value {
    weir__kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct weir__text *s;
        struct weir__seq *seq;   /* LIST … ITERATOR, CYCLER */
        struct weir__dict *dict; /* DICT, NAMESPACE, JOINER */
        struct weir__undef *undef;
        struct weir__loop *loop;
        struct weir__macro *macro;
        const struct weir__callable *function;
        struct weir__method *method;
    } as;
} weir__value;

enum { WEIR__BY_INPUT = 0, WEIR__BY_TEMPLATE = 1 };

typedef struct weir__text {
    const char *p;
    const uint8_t *from; /* (n) who wrote each byte; NULL: `writer` all of them */
    size_t n;
    size_t n_char;             /* code points; SIZE_MAX: not counted yet */
    struct weir__store *store; /* p ends in it; NULL: it cannot grow */
    uint8_t writer;
    bool markup; /* by `safe` or `escape`: what is added to it with + is escaped */
} weir__text;

typedef struct weir__seq {
    weir__value *at;
    size_t n;
    size_t next;               /* ITERATOR: items that were read; CYCLER: its position */
    int64_t start, stop, step; /* RANGE */
    bool group;                /* a tuple of groupby: .grouper and .list */
    bool reversed;             /* an ITERATOR over a list from its end */
} weir__seq;

typedef struct weir__dict {
    weir__value *keys, *values; /* in order of insertion */
    size_t n, cap;
} weir__dict;

typedef struct weir__undef {
    const char *hint;     /* NULL: the name says it */
    weir__value of, name; /* of: ABSENT for a variable */
} weir__undef;

typedef struct weir__method {
    const struct weir__callable *entry;
    weir__value self;
} weir__method;

/* ---- what a render holds ---------------------------------------------------------------------------- */

typedef struct weir__buf { /* text under construction */
    char *p;
    uint8_t *from;
    size_t n, cap;
} weir__buf;

typedef struct weir__run {
    weir__arena arena;
    weir_err *err;
    weir_jinja_options options; /* no field zero but now */
    size_t steps;
    int depth;
    int line;
    weir__buf *out; /* where statements write */
    struct weir__frame *frame;
} weir__run;

/* "line N: …" with status s. */
weir_status weir__run_raise(weir__run *r, weir_status s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
weir_status weir__run_no_memory(weir__run *r); /* ENOMEM, or ENOTSUP at the limit */
weir_status weir__run_charge(weir__run *r, size_t steps);
weir_status weir__run_enter(
    weir__run *r); /* one level deeper; the caller takes it back with r->depth-- on success */

/* Bytes of a name that a message shows, for %.*s. */
static inline int weir__clip(size_t n) { return n < 120 ? (int)n : 120; }

#define WEIR__TYPE_ERROR(r, ...) weir__run_raise(r, WEIR_EINVAL, __VA_ARGS__)

/* ---- constructors ----------------------------------------------------------------------------------- */

static inline weir__value weir__none(void) { return (weir__value){.kind = WEIR__NONE}; }
static inline weir__value weir__bool(bool b) { return (weir__value){.kind = WEIR__BOOL, .as.b = b}; }
static inline weir__value weir__int(int64_t i) { return (weir__value){.kind = WEIR__INT, .as.i = i}; }
static inline weir__value weir__float(double f) { return (weir__value){.kind = WEIR__FLOAT, .as.f = f}; }

weir_status weir__value_literal(weir__run *r, const char *s,
                                weir__value *out); /* static text, by the template */
weir_status weir__value_string(weir__run *r, const char *p, size_t n, uint8_t writer,
                               weir__value *out); /* borrowed */
weir_status weir__value_list(weir__run *r, weir__kind kind, size_t n,
                             weir__value *out); /* n items, all ABSENT */
weir_status weir__value_pair(weir__run *r, weir__value a, weir__value b, weir__value *out); /* a tuple */
weir_status weir__undefined(weir__run *r, weir__value of, weir__value name, weir__value *out);
weir_status weir__undefined_hint(weir__run *r, const char *hint, weir__value *out);

/* ---- builder ---------------------------------------------------------------------------------------- */

weir_status weir__buf_put(weir__run *r, weir__buf *b, const char *p, size_t n, uint8_t writer);
weir_status weir__buf_put_literal(weir__run *r, weir__buf *b, const char *s); /* by the template */
weir_status weir__buf_put_text(weir__run *r, weir__buf *b, const weir__text *t, size_t at,
                               size_t n); /* bytes of t */
weir_status weir__buf_value(weir__run *r, const weir__buf *b,
                            weir__value *out); /* b is not to grow any more */

static inline uint8_t weir__writer(const weir__text *t, size_t i) { return t->from ? t->from[i] : t->writer; }

/* Part of a text, shared. */
weir_status weir__text_part(weir__run *r, const weir__text *t, size_t at, size_t n, weir__value *out);
weir_status weir__text_join2(weir__run *r, const weir__text *a, const weir__text *b,
                             weir__value *out); /* a + b */

/* ---- facts ------------------------------------------------------------------------------------------ */

static inline bool weir__is_seq(weir__kind k) { return k >= WEIR__LIST && k <= WEIR__ITERATOR; }
static inline bool weir__is_number(weir__kind k) { return k >= WEIR__BOOL && k <= WEIR__FLOAT; }
/* Of a BOOL or an INT; of any number. */
static inline int64_t weir__whole_of(const weir__value *v) {
    return v->kind == WEIR__BOOL ? v->as.b : v->as.i;
}
static inline double weir__real_of(const weir__value *v) {
    return v->kind == WEIR__FLOAT ? v->as.f : (double)weir__whole_of(v);
}

const char *weir__type_name(const weir__value *v); /* Python's */
bool weir__value_truth(const weir__value *v);
bool weir__same_bytes(const weir__text *t, const char *s); /* as a C string */

#endif /* WEIR_HOST_JINJA_VALUES_VALUE_H */
