#include <math.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/operators.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

/* Tests: `value is name`. */

#define TEST(name, is)                                                             \
    static weir_status name(weir__run *r, const weir__args *a, weir__value *out) { \
        const weir__value *v = &a->at[0];                                          \
        (void)r;                                                                   \
        *out = weir__bool(is);                                                     \
        return WEIR_OK;                                                            \
    }

TEST(is_defined, v->kind != WEIR__UNDEFINED)
TEST(is_undefined, v->kind == WEIR__UNDEFINED)
TEST(is_none, v->kind == WEIR__NONE)
TEST(is_boolean, v->kind == WEIR__BOOL)
TEST(is_true, v->kind == WEIR__BOOL && v->as.b)
TEST(is_false, v->kind == WEIR__BOOL && !v->as.b)
TEST(is_integer, v->kind == WEIR__INT)
TEST(is_float, v->kind == WEIR__FLOAT)
TEST(is_number, weir__is_number(v->kind))
TEST(is_string, v->kind == WEIR__STRING)
TEST(is_mapping, v->kind == WEIR__DICT)
TEST(is_escaped, v->kind == WEIR__STRING && v->as.s->markup)
TEST(is_callable, v->kind >= WEIR__JOINER || v->kind == WEIR__UNDEFINED || v->kind == WEIR__LOOP)
TEST(is_iterable, v->kind == WEIR__STRING || v->kind == WEIR__DICT || weir__is_seq(v->kind) ||
                      v->kind == WEIR__UNDEFINED || v->kind == WEIR__LOOP)
/* Undefined has a length, and __getitem__ as a method; views of dicts have none. */
TEST(is_sequence, v->kind == WEIR__STRING || v->kind == WEIR__DICT || v->kind == WEIR__LIST ||
                      v->kind == WEIR__TUPLE || v->kind == WEIR__RANGE || v->kind == WEIR__UNDEFINED)

static weir_status remainder_is(weir__run *r, const weir__value *v, const weir__value *by, int64_t want,
                                weir__value *out) {
    weir__value rest;
    const weir__value w = weir__int(want);
    WEIR_TRY(weir__value_arithmetic(r, WEIR__MOD, v, by, &rest));
    *out = weir__bool(weir__value_equal(r, &rest, &w));
    return WEIR_OK;
}

static weir_status is_odd(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value two = weir__int(2);
    return remainder_is(r, &a->at[0], &two, 1, out);
}

static weir_status is_even(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value two = weir__int(2);
    return remainder_is(r, &a->at[0], &two, 0, out);
}

static weir_status is_divisible(weir__run *r, const weir__args *a, weir__value *out) {
    return remainder_is(r, &a->at[0], &a->at[1], 0, out);
}

/* str.isupper and islower: cased letters, and all of them so. */
static weir_status all_cased(weir__run *r, const weir__value *v, int want, weir__value *out) {
    weir__text *t = NULL;
    uint32_t cp = 0;
    bool any = false, other = false;
    WEIR_TRY(weir__value_text(r, v, &t));
    for (size_t at = 0; at < t->n;) {
        at += weir__text_step(t, at, &cp);
        any |= weir__case_of(cp) == want;
        other |= weir__case_of(cp) == -want;
    }
    *out = weir__bool(any && !other);
    return weir__run_charge(r, t->n / 16);
}

static weir_status is_upper(weir__run *r, const weir__args *a, weir__value *out) {
    return all_cased(r, &a->at[0], 1, out);
}
static weir_status is_lower(weir__run *r, const weir__args *a, weir__value *out) {
    return all_cased(r, &a->at[0], -1, out);
}

static weir_status is_same(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__value *x = &a->at[0], *y = &a->at[1];
    const bool plain = x->kind <= WEIR__FLOAT && x->kind != WEIR__UNDEFINED;
    *out = weir__bool(x->kind == y->kind && (plain ? weir__value_equal(r, x, y) : x->as.s == y->as.s));
    return WEIR_OK;
}

static weir_status is_filter(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    WEIR_TRY(weir__arg_text(r, a, 0, &t));
    *out = weir__bool(weir__find_filter(t->p, t->n) != NULL);
    return WEIR_OK;
}

static weir_status is_test(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    WEIR_TRY(weir__arg_text(r, a, 0, &t));
    *out = weir__bool(weir__find_test(t->p, t->n) != NULL);
    return WEIR_OK;
}

static weir_status compared(weir__run *r, weir__jinja_op op, const weir__args *a, weir__value *out) {
    bool holds = false;
    WEIR_TRY(weir__value_compare(r, op, &a->at[0], &a->at[1], &holds));
    *out = weir__bool(holds);
    return WEIR_OK;
}

#define COMPARISON(name, op)                                                       \
    static weir_status name(weir__run *r, const weir__args *a, weir__value *out) { \
        return compared(r, op, a, out);                                            \
    }
COMPARISON(is_eq, WEIR__EQ)
COMPARISON(is_ne, WEIR__NE)
COMPARISON(is_lt, WEIR__LT)
COMPARISON(is_le, WEIR__LE)
COMPARISON(is_gt, WEIR__GT)
COMPARISON(is_ge, WEIR__GE)
COMPARISON(is_in, WEIR__IN)

const weir__callable *weir__find_test(const char *name, size_t n) {
    static const weir__callable all[] = {{"defined", "", is_defined},
                                         {"undefined", "", is_undefined},
                                         {"none", "", is_none},
                                         {"boolean", "", is_boolean},
                                         {"true", "", is_true},
                                         {"false", "", is_false},
                                         {"integer", "", is_integer},
                                         {"float", "", is_float},
                                         {"number", "", is_number},
                                         {"string", "", is_string},
                                         {"mapping", "", is_mapping},
                                         {"escaped", "", is_escaped},
                                         {"callable", "", is_callable},
                                         {"iterable", "", is_iterable},
                                         {"sequence", "", is_sequence},
                                         {"odd", "", is_odd},
                                         {"even", "", is_even},
                                         {"divisibleby", "num", is_divisible},
                                         {"upper", "", is_upper},
                                         {"lower", "", is_lower},
                                         {"sameas", "other", is_same},
                                         {"filter", "", is_filter},
                                         {"test", "", is_test},
                                         {"in", "seq", is_in},
                                         {"eq", "b", is_eq},
                                         {"equalto", "b", is_eq},
                                         {"ne", "b", is_ne},
                                         {"lt", "b", is_lt},
                                         {"lessthan", "b", is_lt},
                                         {"le", "b", is_le},
                                         {"gt", "b", is_gt},
                                         {"greaterthan", "b", is_gt},
                                         {"ge", "b", is_ge},
                                         {"==", "b", is_eq},
                                         {"!=", "b", is_ne},
                                         {"<", "b", is_lt},
                                         {"<=", "b", is_le},
                                         {">", "b", is_gt},
                                         {">=", "b", is_ge}};
    return weir__find_in(all, sizeof all / sizeof *all, name, n);
}
