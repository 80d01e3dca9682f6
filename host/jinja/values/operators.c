#include "host/jinja/values/operators.h"

#include <math.h>
#include <string.h>

#include "host/jinja/values/format.h"
#include "host/jinja/values/print.h"

static weir_status no_operator(weir__run *r, weir__jinja_op op, const weir__value *a, const weir__value *b) {
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
    return WEIR__TYPE_ERROR(r, "unsupported operand type(s) for %s: '%s' and '%s'", weir__op_symbol(op),
                            weir__type_name(a), weir__type_name(b));
}

static weir_status too_big(weir__run *r) {
    return weir__run_raise(r, WEIR_ENOTSUP, "an integer that does not fit in 64 bits");
}

static weir_status add_seqs(weir__run *r, const weir__value *a, const weir__value *b, weir__value *out) {
    const weir__seq *x = a->as.seq, *y = b->as.seq;
    WEIR_TRY(weir__value_list(r, a->kind, x->n + y->n, out));
    if (x->n > 0) memcpy(out->as.seq->at, x->at, x->n * sizeof *x->at);
    if (y->n > 0) memcpy(out->as.seq->at + x->n, y->at, y->n * sizeof *y->at);
    return WEIR_OK;
}

/* Markup escapes what is added to it on either side. */
static weir_status add_texts(weir__run *r, weir__text *a, weir__text *b, weir__value *out) {
    weir__value escaped;
    const bool markup = a->markup || b->markup;
    if (markup && !a->markup) {
        WEIR_TRY(weir__value_escape(r, a, &escaped));
        a = escaped.as.s;
    }
    if (markup && !b->markup) {
        WEIR_TRY(weir__value_escape(r, b, &escaped));
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
            WEIR_TRY(weir__buf_put_text(r, &b, v->as.s, 0, v->as.s->n));
            WEIR_TRY(weir__run_charge(r, 1));
        }
        WEIR_TRY(weir__buf_value(r, &b, out));
        out->as.s->markup = v->as.s->markup;
        return WEIR_OK;
    }
    size_t total = 0;
    if (__builtin_mul_overflow(n, v->as.seq->n, &total)) total = SIZE_MAX;
    WEIR_TRY(weir__value_list(r, v->kind, total, out));
    for (size_t i = 0; i < total; i++) out->as.seq->at[i] = v->as.seq->at[i % v->as.seq->n];
    return WEIR_OK;
}

static weir_status divide_by_zero(weir__run *r, weir__jinja_op op, bool real) {
    const char *what = op == WEIR__DIV   ? (real ? "float division by zero" : "division by zero")
                       : real            ? (op == WEIR__MOD ? "float modulo" : "float floor division by zero")
                       : op == WEIR__MOD ? "integer modulo by zero"
                                         : "integer division or modulo by zero";
    return weir__run_raise(r, WEIR_EINVAL, "%s", what);
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
    if (x == 0 && y < 0) return weir__run_raise(r, WEIR_EINVAL, "0.0 cannot be raised to a negative power");
    if (x < 0 && isfinite(x) && isfinite(y) && floor(y) != y)
        return weir__run_raise(r, WEIR_ENOTSUP, "a complex number");
    const double z = pow(x, y);
    if (isinf(z) && isfinite(x) && isfinite(y))
        return weir__run_raise(r, WEIR_EINVAL, "(34, 'Numerical result out of range')");
    *out = weir__float(z);
    return WEIR_OK;
}

static weir_status reals(weir__run *r, weir__jinja_op op, double x, double y, weir__value *out) {
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
    if (y < 0 && x == 0) return weir__run_raise(r, WEIR_EINVAL, "0.0 cannot be raised to a negative power");
    if (y < 0) return real_power(r, (double)x, (double)y, out);
    for (; y > 0; y >>= 1) {
        if ((y & 1) && __builtin_mul_overflow(z, x, &z)) return too_big(r);
        if (y > 1 && __builtin_mul_overflow(x, x, &x)) return too_big(r);
    }
    *out = weir__int(z);
    return WEIR_OK;
}

static weir_status wholes(weir__run *r, weir__jinja_op op, int64_t x, int64_t y, weir__value *out) {
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

weir_status weir__value_arithmetic(weir__run *r, weir__jinja_op op, const weir__value *a,
                                   const weir__value *b, weir__value *out) {
    const weir__kind ka = a->kind, kb = b->kind;
    if (weir__is_number(ka) && weir__is_number(kb))
        return ka == WEIR__FLOAT || kb == WEIR__FLOAT
                   ? reals(r, op, weir__real_of(a), weir__real_of(b), out)
                   : wholes(r, op, weir__whole_of(a), weir__whole_of(b), out);
    if (op == WEIR__ADD && ka == WEIR__STRING && kb == WEIR__STRING)
        return add_texts(r, a->as.s, b->as.s, out);
    if (op == WEIR__ADD && ka == kb && is_row(ka)) return add_seqs(r, a, b, out);
    if (op == WEIR__MUL && (ka == WEIR__STRING || is_row(ka)) && is_whole(kb))
        return repeat(r, a, weir__whole_of(b), out);
    if (op == WEIR__MUL && (kb == WEIR__STRING || is_row(kb)) && is_whole(ka))
        return repeat(r, b, weir__whole_of(a), out);
    if (op == WEIR__MOD && ka == WEIR__STRING) return weir__format_percent(r, a->as.s, b, out);
    return no_operator(r, op, a, b);
}

weir_status weir__value_negate(weir__run *r, const weir__value *a, bool minus, weir__value *out) {
    if (a->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *a);
    if (!weir__is_number(a->kind))
        return WEIR__TYPE_ERROR(r, "bad operand type for unary %s: '%s'", minus ? "-" : "+",
                                weir__type_name(a));
    if (a->kind == WEIR__FLOAT) {
        *out = weir__float(minus ? -a->as.f : a->as.f);
        return WEIR_OK;
    }
    return minus ? wholes(r, WEIR__SUB, 0, weir__whole_of(a), out)
                 : wholes(r, WEIR__ADD, 0, weir__whole_of(a), out);
}
