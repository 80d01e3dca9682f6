#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/parse/literal.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/operators.h"
#include "host/jinja/values/print.h"

/* Filters that make numbers. */

static weir_status too_big(weir__run *r) {
    return weir__run_raise(r, WEIR_ENOTSUP, "an integer that does not fit in 64 bits");
}

static weir_status whole_of(weir__run *r, double f, weir__value *out) {
    if (!(f > -0x1p63 && f < 0x1p63)) return too_big(r);
    *out = weir__int((int64_t)f);
    return WEIR_OK;
}

/* "42.7" is 42 in the second try. */
static weir_status f_int(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *v = &a->at[0];
    int64_t base = 10, i = 0;
    double f = 0;
    bool fits = true;
    WEIR_TRY(weir__arg_int(r, a, 2, &base));
    *out = a->at[1].kind == WEIR__ABSENT ? weir__int(0) : a->at[1];
    if (v->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *v);
    if (v->kind == WEIR__INT || v->kind == WEIR__BOOL) {
        *out = weir__int(v->kind == WEIR__INT ? v->as.i : v->as.b);
        return WEIR_OK;
    }
    if (v->kind == WEIR__FLOAT) { /* int(inf) is an OverflowError, which jinja2 does not catch */
        if (isinf(v->as.f))
            return weir__run_raise(r, WEIR_EINVAL, "cannot convert float infinity to integer");
        return isnan(v->as.f) ? WEIR_OK : whole_of(r, v->as.f, out);
    }
    if (v->kind != WEIR__STRING) return WEIR_OK;
    if ((base == 0 || (base >= 2 && base <= 36)) &&
        weir__parse_int(v->as.s->p, v->as.s->n, (int)base, &i, &fits)) {
        if (!fits) return too_big(r);
        *out = weir__int(i);
        return WEIR_OK;
    }
    if (!weir__parse_float(v->as.s->p, v->as.s->n, &f) || !isfinite(f)) return WEIR_OK;
    return whole_of(r, f, out);
}

static weir_status f_float(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *v = &a->at[0];
    double f = 0;
    *out = a->at[1].kind == WEIR__ABSENT ? weir__float(0) : a->at[1];
    switch (v->kind) {
    case WEIR__UNDEFINED: return weir__fail_undefined(r, *v);
    case WEIR__BOOL: *out = weir__float(v->as.b); return WEIR_OK;
    case WEIR__INT: *out = weir__float((double)v->as.i); return WEIR_OK;
    case WEIR__FLOAT: *out = *v; return WEIR_OK;
    case WEIR__STRING:
        if (weir__parse_float(v->as.s->p, v->as.s->n, &f)) *out = weir__float(f);
        return WEIR_OK;
    default: return WEIR_OK;
    }
}

static weir_status f_abs(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *v = &a->at[0];
    const weir__value zero = weir__int(0);
    bool minus = false;
    if (v->kind == WEIR__UNDEFINED || !weir__is_number(v->kind)) {
        if (v->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *v);
        return WEIR__TYPE_ERROR(r, "bad operand type for abs(): '%s'", weir__type_name(v));
    }
    if (v->kind == WEIR__FLOAT) {
        *out = weir__float(fabs(v->as.f));
        return WEIR_OK;
    }
    WEIR_TRY(weir__value_compare(r, WEIR__LT, v, &zero, &minus));
    return weir__value_negate(r, v, minus, out);
}

/* round(f, digits): to the nearest decimal of the number's exact value, halves to even. */
static double round_decimal(double f, int64_t digits) {
    char text[400];
    if (!isfinite(f) || digits > 300) return f;
    if (digits < -300) return copysign(0, f);
    if (digits >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        return strtod(text, NULL);
    }
    const double scale = pow(10, (double)-digits);
    return nearbyint(f / scale) * scale;
}

static weir_status round_whole(weir__run *r, const weir__value *v, int64_t digits, weir__value *out) {
    int64_t i = v->kind == WEIR__INT ? v->as.i : v->as.b, scale = 1;
    if (digits < -18) i = 0;
    for (int64_t k = digits; k < 0 && k >= -18; k++) scale *= 10;
    int64_t rest = i % scale, down = i - rest;
    if (rest < 0) {
        rest += scale;
        down -= scale;
    }
    if (scale > 1 && (rest > scale / 2 || (rest == scale / 2 && down / scale % 2 != 0))) {
        if (__builtin_add_overflow(down, scale, &down)) return too_big(r);
    }
    *out = weir__int(scale > 1 ? down : i);
    return WEIR_OK;
}

static weir_status f_round(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *v = &a->at[0];
    int64_t digits = 0;
    WEIR_TRY(weir__arg_int(r, a, 1, &digits));
    const bool given = a->at[2].kind == WEIR__STRING;
    const bool up = given && weir__same_bytes(a->at[2].as.s, "ceil"),
               down = given && weir__same_bytes(a->at[2].as.s, "floor");
    if (a->at[2].kind != WEIR__ABSENT && !up && !down &&
        !(given && weir__same_bytes(a->at[2].as.s, "common")))
        return weir__run_raise(r, WEIR_EINVAL, "method must be common, ceil or floor");
    if (v->kind == WEIR__UNDEFINED)
        return WEIR__TYPE_ERROR(r, "type Undefined doesn't define __round__ method");
    if (!weir__is_number(v->kind))
        return WEIR__TYPE_ERROR(r, "type %s doesn't define __round__ method", weir__type_name(v));
    if (!up && !down) {
        if (v->kind != WEIR__FLOAT) return round_whole(r, v, digits, out);
        *out = weir__float(round_decimal(v->as.f, digits));
        return WEIR_OK;
    }
    const double f = v->kind == WEIR__FLOAT ? v->as.f
                     : v->kind == WEIR__INT ? (double)v->as.i
                                            : (double)v->as.b;
    const double scale = pow(10, (double)digits);
    *out = weir__float((up ? ceil(f * scale) : floor(f * scale)) / scale);
    return WEIR_OK;
}

static weir_status f_length(weir__run *r, const weir__args *a, weir__value *out) {
    int64_t n = 0;
    WEIR_TRY(weir__value_length(r, &a->at[0], &n));
    *out = weir__int(n);
    return WEIR_OK;
}

const weir__callable weir__number_filters[] = {
    {"int", "?default ?base", f_int},         {"float", "?default", f_float}, {"abs", "", f_abs},
    {"round", "?precision ?method", f_round}, {"length", "", f_length},       {"count", "", f_length}};
const size_t weir__n_number_filters = sizeof weir__number_filters / sizeof *weir__number_filters;
