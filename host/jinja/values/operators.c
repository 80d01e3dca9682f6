#include "host/jinja/values/operators.h"

#include <math.h>
#include <string.h>

#include "host/jinja/values/text.h"

static const char *const symbols[] = {
    "+", "-", "*", "/", "//", "%", "** or pow()", "==", "!=", "<", "<=", ">", ">=", "in", "in"};

/* ---- equality --------------------------------------------------------------------------------------- */

static double real_of(const weir__value *v) {
    return v->kind == WEIR__FLOAT ? v->as.f : v->kind == WEIR__BOOL ? (double)v->as.b : (double)v->as.i;
}

static int64_t whole_of(const weir__value *v) { return v->kind == WEIR__BOOL ? v->as.b : v->as.i; }

/* An integer against a float, exactly: -1, 0, 1; 2 if the float is no number. */
static int compare_mixed(int64_t i, double f) {
    if (isnan(f)) return 2;
    if (f >= 0x1p63) return -1;
    if (f < -0x1p63) return 1;
    const int64_t whole = (int64_t)f;
    if (i != whole) return i < whole ? -1 : 1;
    return (f > (double)whole) ? -1 : (f < (double)whole) ? 1 : 0;
}

static int compare_numbers(const weir__value *a, const weir__value *b) {
    const bool fa = a->kind == WEIR__FLOAT, fb = b->kind == WEIR__FLOAT;
    if (fa && fb) return isnan(a->as.f) || isnan(b->as.f) ? 2 : a->as.f < b->as.f ? -1 : a->as.f > b->as.f;
    if (fa) {
        const int c = compare_mixed(whole_of(b), a->as.f);
        return c == 2 ? 2 : -c;
    }
    if (fb) return compare_mixed(whole_of(a), b->as.f);
    return whole_of(a) < whole_of(b) ? -1 : whole_of(a) > whole_of(b);
}

/* Nested deeper than any template means: not equal. Parts that are shared can be met again and again:
 * every look is a step, and with the last one gone the next charge fails. */
enum { DEEPEST = 200 };

static bool equal_at(weir__run *r, const weir__value *a, const weir__value *b, int depth);

static bool equal_dicts(weir__run *r, const weir__dict *a, const weir__dict *b, int depth) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const weir__value *other = weir__dict_find(r, b, a->keys[i]);
        if (!other || !equal_at(r, &a->values[i], other, depth + 1)) return false;
    }
    return true;
}

static bool equal_seqs(weir__run *r, const weir__seq *a, const weir__seq *b, int depth) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!equal_at(r, &a->at[i], &b->at[i], depth + 1)) return false;
    return true;
}

static bool equal_at(weir__run *r, const weir__value *a, const weir__value *b, int depth) {
    if (depth > DEEPEST || r->steps == r->options.max_steps) return false;
    r->steps++;
    if (a->kind == b->kind && weir__is_seq(a->kind) && a->as.seq == b->as.seq) return true;
    if (weir__is_number(a->kind) && weir__is_number(b->kind)) return compare_numbers(a, b) == 0;
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case WEIR__ABSENT:
    case WEIR__NONE:
    case WEIR__UNDEFINED: return true;
    case WEIR__STRING: return a->as.s->n == b->as.s->n && memcmp(a->as.s->p, b->as.s->p, a->as.s->n) == 0;
    case WEIR__LIST:
    case WEIR__TUPLE:
    case WEIR__RANGE:
    case WEIR__KEYS:
    case WEIR__ITEMS: return equal_seqs(r, a->as.seq, b->as.seq, depth);
    case WEIR__DICT: return equal_dicts(r, a->as.dict, b->as.dict, depth);
    case WEIR__METHOD:
        return a->as.method->entry == b->as.method->entry &&
               equal_at(r, &a->as.method->self, &b->as.method->self, depth + 1);
    default: return a->as.dict == b->as.dict; /* the same object */
    }
}

bool weir__equal(weir__run *r, const weir__value *a, const weir__value *b) { return equal_at(r, a, b, 0); }

/* ---- order ------------------------------------------------------------------------------------------ */

static weir_status no_order(weir__run *r, weir__op op, const weir__value *a, const weir__value *b) {
    if (a->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *a);
    if (b->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *b);
    return WEIR__TYPE_ERROR(r, "'%s' not supported between instances of '%s' and '%s'", symbols[op],
                            weir__type_name(a), weir__type_name(b));
}

static bool holds(weir__op op, int c) {
    if (c == 2) return false;
    return op == WEIR__LT ? c < 0 : op == WEIR__LE ? c <= 0 : op == WEIR__GT ? c > 0 : c >= 0;
}

static int compare_texts(const weir__text *a, const weir__text *b) {
    const int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return c != 0 ? (c < 0 ? -1 : 1) : a->n < b->n ? -1 : a->n > b->n;
}

static weir_status order(weir__run *r, weir__op op, const weir__value *a, const weir__value *b, bool *out) {
    if (weir__is_number(a->kind) && weir__is_number(b->kind)) {
        *out = holds(op, compare_numbers(a, b));
        return WEIR_OK;
    }
    if (a->kind == WEIR__STRING && b->kind == WEIR__STRING) {
        *out = holds(op, compare_texts(a->as.s, b->as.s));
        return WEIR_OK;
    }
    if (a->kind != b->kind || (a->kind != WEIR__LIST && a->kind != WEIR__TUPLE)) return no_order(r, op, a, b);
    const weir__seq *x = a->as.seq, *y = b->as.seq;
    size_t i = 0;
    while (i < x->n && i < y->n && weir__equal(r, &x->at[i], &y->at[i])) i++;
    if (i == x->n || i == y->n) {
        *out = holds(op, x->n < y->n ? -1 : x->n > y->n);
        return WEIR_OK;
    }
    WEIR_TRY(weir__enter(r));
    WEIR_TRY(order(r, op, &x->at[i], &y->at[i], out));
    r->depth--;
    return WEIR_OK;
}

weir_status weir__check_key(weir__run *r, const weir__value *key) {
    if (key->kind == WEIR__LIST || key->kind == WEIR__DICT)
        return WEIR__TYPE_ERROR(r, "unhashable type: '%s'", weir__type_name(key));
    if (key->kind != WEIR__TUPLE) return WEIR_OK;
    WEIR_TRY(weir__enter(r));
    WEIR_TRY(weir__charge(r, key->as.seq->n));
    for (size_t i = 0; i < key->as.seq->n; i++) WEIR_TRY(weir__check_key(r, &key->as.seq->at[i]));
    r->depth--;
    return WEIR_OK;
}

static weir_status contains(weir__run *r, const weir__value *item, const weir__value *in, bool *out) {
    if (in->kind == WEIR__STRING) {
        if (item->kind != WEIR__STRING)
            return WEIR__TYPE_ERROR(r, "'in <string>' requires string as left operand, not %s",
                                    weir__type_name(item));
        *out = weir__find(in->as.s, 0, in->as.s->n, item->as.s, false) != SIZE_MAX;
        return weir__charge(r, in->as.s->n / 32);
    }
    if (in->kind == WEIR__DICT) {
        WEIR_TRY(weir__check_key(r, item));
        *out = weir__dict_find(r, in->as.dict, *item) != NULL;
        return weir__charge(r, in->as.dict->n / 8);
    }
    if (!weir__is_seq(in->kind) && in->kind != WEIR__UNDEFINED)
        return WEIR__TYPE_ERROR(r, "argument of type '%s' is not iterable", weir__type_name(in));
    weir__seq *items = NULL;
    *out = false;
    WEIR_TRY(weir__items(r, *in, &items));
    for (size_t i = 0; i < items->n && !*out; i++) *out = weir__equal(r, item, &items->at[i]);
    return weir__charge(r, items->n / 4);
}

weir_status weir__compare(weir__run *r, weir__op op, const weir__value *a, const weir__value *b, bool *out) {
    switch (op) {
    case WEIR__EQ: *out = weir__equal(r, a, b); return WEIR_OK;
    case WEIR__NE: *out = !weir__equal(r, a, b); return WEIR_OK;
    case WEIR__IN: return contains(r, a, b, out);
    case WEIR__NOTIN:
        WEIR_TRY(contains(r, a, b, out));
        *out = !*out;
        return WEIR_OK;
    default: return order(r, op, a, b, out);
    }
}

/* ---- sort ------------------------------------------------------------------------------------------- */

typedef struct entry {
    weir__value key, value;
} entry;

/* Merge sort: a[0, n) with the scratch b. Only < is asked, as Python does; reverse keeps equal ones in
 * order too. */
static weir_status merge_sort(weir__run *r, entry *a, entry *b, size_t n, bool reverse) {
    if (n < 2) return WEIR_OK;
    const size_t half = n / 2;
    WEIR_TRY(weir__charge(r, n));
    WEIR_TRY(merge_sort(r, a, b, half, reverse));
    WEIR_TRY(merge_sort(r, a + half, b, n - half, reverse));
    memcpy(b, a, n * sizeof *a);
    for (size_t i = 0, x = 0, y = half; i < n; i++) {
        bool second = x == half;
        if (!second && y < n) {
            const entry *first = reverse ? &b[x] : &b[y], *other = reverse ? &b[y] : &b[x];
            WEIR_TRY(order(r, WEIR__LT, &first->key, &other->key, &second));
        }
        a[i] = second ? b[y++] : b[x++];
    }
    return WEIR_OK;
}

weir_status weir__sort(weir__run *r, weir__value *at, weir__value *keys, size_t n, bool reverse) {
    entry *a = weir__arena_alloc(&r->arena, n, sizeof *a);
    entry *b = weir__arena_alloc(&r->arena, n, sizeof *b);
    if (!a || !b) return weir__run_no_memory(r);
    for (size_t i = 0; i < n; i++) a[i] = (entry){keys[i], at[i]};
    WEIR_TRY(merge_sort(r, a, b, n, reverse));
    for (size_t i = 0; i < n; i++) {
        keys[i] = a[i].key;
        at[i] = a[i].value;
    }
    return WEIR_OK;
}

/* ---- arithmetic ------------------------------------------------------------------------------------- */

static weir_status no_operator(weir__run *r, weir__op op, const weir__value *a, const weir__value *b) {
    if (a->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *a);
    if (b->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *b);
    if (op == WEIR__ADD && (a->kind == WEIR__STRING || a->kind == WEIR__LIST || a->kind == WEIR__TUPLE)) {
        const char *type = weir__type_name(a);
        return WEIR__TYPE_ERROR(r, "can only concatenate %s (not \"%s\") to %s", type, weir__type_name(b),
                                type);
    }
    if (op == WEIR__MUL && (a->kind == WEIR__STRING || weir__is_seq(a->kind)))
        return WEIR__TYPE_ERROR(r, "can't multiply sequence by non-int of type '%s'", weir__type_name(b));
    if (op == WEIR__MUL && (b->kind == WEIR__STRING || weir__is_seq(b->kind)))
        return WEIR__TYPE_ERROR(r, "can't multiply sequence by non-int of type '%s'", weir__type_name(a));
    return WEIR__TYPE_ERROR(r, "unsupported operand type(s) for %s: '%s' and '%s'", symbols[op],
                            weir__type_name(a), weir__type_name(b));
}

static weir_status too_big(weir__run *r) {
    return weir__raise(r, WEIR_ENOTSUP, "an integer that does not fit in 64 bits");
}

static weir_status add_seqs(weir__run *r, const weir__value *a, const weir__value *b, weir__value *out) {
    const weir__seq *x = a->as.seq, *y = b->as.seq;
    WEIR_TRY(weir__list(r, a->kind, x->n + y->n, out));
    if (x->n > 0) memcpy(out->as.seq->at, x->at, x->n * sizeof *x->at);
    if (y->n > 0) memcpy(out->as.seq->at + x->n, y->at, y->n * sizeof *y->at);
    return WEIR_OK;
}

/* Markup escapes what is added to it on either side. */
static weir_status add_texts(weir__run *r, weir__text *a, weir__text *b, weir__value *out) {
    weir__value escaped;
    const bool markup = a->markup || b->markup;
    if (markup && !a->markup) {
        WEIR_TRY(weir__escape(r, a, &escaped));
        a = escaped.as.s;
    }
    if (markup && !b->markup) {
        WEIR_TRY(weir__escape(r, b, &escaped));
        b = escaped.as.s;
    }
    WEIR_TRY(weir__text_join2(r, a, b, out));
    out->as.s->markup = markup;
    return WEIR_OK;
}

static weir_status repeat(weir__run *r, const weir__value *v, int64_t times, weir__value *out) {
    const size_t n = times > 0 ? (size_t)times : 0;
    if (v->kind == WEIR__STRING) {
        weir__buf b = {0};
        for (size_t i = 0; i < n && v->as.s->n > 0; i++) {
            WEIR_TRY(weir__put_text(r, &b, v->as.s, 0, v->as.s->n));
            WEIR_TRY(weir__charge(r, 1));
        }
        WEIR_TRY(weir__buf_value(r, &b, out));
        out->as.s->markup = v->as.s->markup;
        return WEIR_OK;
    }
    size_t total = 0;
    if (__builtin_mul_overflow(n, v->as.seq->n, &total)) total = SIZE_MAX;
    WEIR_TRY(weir__list(r, v->kind, total, out));
    for (size_t i = 0; i < total; i++) out->as.seq->at[i] = v->as.seq->at[i % v->as.seq->n];
    return WEIR_OK;
}

static weir_status divide_by_zero(weir__run *r, weir__op op, bool real) {
    const char *what = op == WEIR__DIV   ? (real ? "float division by zero" : "division by zero")
                       : real            ? (op == WEIR__MOD ? "float modulo" : "float floor division by zero")
                       : op == WEIR__MOD ? "integer modulo by zero"
                                         : "integer division or modulo by zero";
    return weir__raise(r, WEIR_EINVAL, "%s", what);
}

/* Python rounds quotients down; the remainder has the divisor's sign. */
static double float_floor(double a, double b, double *rest) {
    double mod = fmod(a, b), div = (a - mod) / b;
    if (mod != 0 && (b < 0) != (mod < 0)) {
        mod += b;
        div -= 1;
    } else if (mod == 0) {
        mod = copysign(0, b);
    }
    *rest = mod;
    if (div == 0) return copysign(0, a / b);
    const double whole = floor(div);
    return div - whole > 0.5 ? whole + 1 : whole;
}

static weir_status real_power(weir__run *r, double x, double y, weir__value *out) {
    if (x == 0 && y < 0) return weir__raise(r, WEIR_EINVAL, "0.0 cannot be raised to a negative power");
    if (x < 0 && isfinite(x) && isfinite(y) && floor(y) != y)
        return weir__raise(r, WEIR_ENOTSUP, "a complex number");
    const double z = pow(x, y);
    if (isinf(z) && isfinite(x) && isfinite(y))
        return weir__raise(r, WEIR_EINVAL, "(34, 'Numerical result out of range')");
    *out = weir__float(z);
    return WEIR_OK;
}

static weir_status reals(weir__run *r, weir__op op, double x, double y, weir__value *out) {
    double rest = 0, whole = 0;
    if (y == 0 && (op == WEIR__DIV || op == WEIR__FLOORDIV || op == WEIR__MOD))
        return divide_by_zero(r, op, true);
    switch (op) {
    case WEIR__ADD: *out = weir__float(x + y); return WEIR_OK;
    case WEIR__SUB: *out = weir__float(x - y); return WEIR_OK;
    case WEIR__MUL: *out = weir__float(x * y); return WEIR_OK;
    case WEIR__DIV: *out = weir__float(x / y); return WEIR_OK;
    case WEIR__POW: return real_power(r, x, y, out);
    default: break;
    }
    whole = float_floor(x, y, &rest);
    *out = weir__float(op == WEIR__MOD ? rest : whole);
    return WEIR_OK;
}

static weir_status power(weir__run *r, int64_t x, int64_t y, weir__value *out) {
    int64_t z = 1;
    if (y < 0 && x == 0) return weir__raise(r, WEIR_EINVAL, "0.0 cannot be raised to a negative power");
    if (y < 0) return real_power(r, (double)x, (double)y, out);
    for (; y > 0; y >>= 1) {
        if ((y & 1) && __builtin_mul_overflow(z, x, &z)) return too_big(r);
        if (y > 1 && __builtin_mul_overflow(x, x, &x)) return too_big(r);
    }
    *out = weir__int(z);
    return WEIR_OK;
}

static weir_status wholes(weir__run *r, weir__op op, int64_t x, int64_t y, weir__value *out) {
    int64_t z = 0;
    if (y == 0 && (op == WEIR__DIV || op == WEIR__FLOORDIV || op == WEIR__MOD))
        return divide_by_zero(r, op, false);
    switch (op) {
    case WEIR__ADD:
        if (__builtin_add_overflow(x, y, &z)) return too_big(r);
        break;
    case WEIR__SUB:
        if (__builtin_sub_overflow(x, y, &z)) return too_big(r);
        break;
    case WEIR__MUL:
        if (__builtin_mul_overflow(x, y, &z)) return too_big(r);
        break;
    case WEIR__DIV: *out = weir__float((double)x / (double)y); return WEIR_OK;
    case WEIR__POW: return power(r, x, y, out);
    default:
        if (y == -1)
            return op == WEIR__MOD ? wholes(r, WEIR__SUB, 0, 0, out) : wholes(r, WEIR__SUB, 0, x, out);
        z = op == WEIR__MOD ? x % y : x / y;
        if (x % y != 0 && (x % y < 0) != (y < 0)) z += op == WEIR__MOD ? y : -1;
    }
    *out = weir__int(z);
    return WEIR_OK;
}

static bool is_row(weir__kind k) { return k == WEIR__LIST || k == WEIR__TUPLE; }
static bool is_whole(weir__kind k) { return k == WEIR__INT || k == WEIR__BOOL; }

weir_status weir__arithmetic(weir__run *r, weir__op op, const weir__value *a, const weir__value *b,
                             weir__value *out) {
    const weir__kind ka = a->kind, kb = b->kind;
    if (weir__is_number(ka) && weir__is_number(kb))
        return ka == WEIR__FLOAT || kb == WEIR__FLOAT ? reals(r, op, real_of(a), real_of(b), out)
                                                      : wholes(r, op, whole_of(a), whole_of(b), out);
    if (op == WEIR__ADD && ka == WEIR__STRING && kb == WEIR__STRING)
        return add_texts(r, a->as.s, b->as.s, out);
    if (op == WEIR__ADD && ka == kb && is_row(ka)) return add_seqs(r, a, b, out);
    if (op == WEIR__MUL && (ka == WEIR__STRING || is_row(ka)) && is_whole(kb))
        return repeat(r, a, whole_of(b), out);
    if (op == WEIR__MUL && (kb == WEIR__STRING || is_row(kb)) && is_whole(ka))
        return repeat(r, b, whole_of(a), out);
    if (op == WEIR__MOD && ka == WEIR__STRING) return weir__percent(r, a->as.s, b, out);
    return no_operator(r, op, a, b);
}

weir_status weir__negate(weir__run *r, const weir__value *a, bool minus, weir__value *out) {
    if (a->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *a);
    if (!weir__is_number(a->kind))
        return WEIR__TYPE_ERROR(r, "bad operand type for unary %s: '%s'", minus ? "-" : "+",
                                weir__type_name(a));
    if (a->kind == WEIR__FLOAT) {
        *out = weir__float(minus ? -a->as.f : a->as.f);
        return WEIR_OK;
    }
    return minus ? wholes(r, WEIR__SUB, 0, whole_of(a), out) : wholes(r, WEIR__ADD, 0, whole_of(a), out);
}
