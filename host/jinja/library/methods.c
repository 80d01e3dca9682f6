#include <string.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/print.h"

/* Methods of everything but strings, and where to look for those of each kind. Methods that change a list
 * or a dict are refused before anyone looks here. */

/* ---- dicts ------------------------------------------------------------------------------------------ */

static weir_status d_get(weir__run *r, const weir__args *a, weir__value *out) {
    WEIR_TRY(weir__check_key(r, &a->at[1]));
    const weir__value *v = weir__dict_find(r, a->at[0].as.dict, a->at[1]);
    *out = v ? *v : a->at[2].kind == WEIR__ABSENT ? weir__none() : a->at[2];
    return weir__run_charge(r, a->at[0].as.dict->n / 8);
}

static weir_status d_items(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__dict_view(r, WEIR__ITEMS, a->at[0].as.dict, out);
}

static weir_status d_keys(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__dict_view(r, WEIR__KEYS, a->at[0].as.dict, out);
}

static weir_status d_values(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__dict_view(r, WEIR__VALUES, a->at[0].as.dict, out);
}

static weir_status d_copy(weir__run *r, const weir__args *a, weir__value *out) {
    (void)r;
    *out = a->at[0]; /* neither can change */
    return WEIR_OK;
}

static const weir__callable of_dict[] = {{"get", "key ?default", d_get},
                                         {"items", "", d_items},
                                         {"keys", "", d_keys},
                                         {"values", "", d_values},
                                         {"copy", "", d_copy}};

/* ---- lists ------------------------------------------------------------------------------------------ */

static weir_status l_index(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__seq *q = a->at[0].as.seq;
    int64_t from = 0, upto = (int64_t)q->n;
    WEIR_TRY(weir__arg_int(r, a, 2, &from));
    WEIR_TRY(weir__arg_int(r, a, 3, &upto));
    if (from < 0) from += (int64_t)q->n;
    if (upto < 0) upto += (int64_t)q->n;
    WEIR_TRY(weir__run_charge(r, q->n / 4));
    for (size_t i = from > 0 ? (size_t)from : 0; i < q->n && (int64_t)i < upto; i++) {
        if (!weir__value_equal(r, &q->at[i], &a->at[1])) continue;
        *out = weir__int((int64_t)i);
        return WEIR_OK;
    }
    if (a->at[0].kind == WEIR__TUPLE)
        return weir__run_raise(r, WEIR_EINVAL, "tuple.index(x): x not in tuple");
    weir__buf b = {0};
    WEIR_TRY(weir__value_repr(r, &b, &a->at[1]));
    return weir__run_raise(r, WEIR_EINVAL, "%.*s is not in %s", weir__clip(b.n), b.p,
                           weir__type_name(&a->at[0]));
}

static weir_status l_count(weir__run *r, const weir__args *a, weir__value *out) {
    const weir__seq *q = a->at[0].as.seq;
    int64_t n = 0;
    for (size_t i = 0; i < q->n; i++) n += weir__value_equal(r, &q->at[i], &a->at[1]);
    *out = weir__int(n);
    return weir__run_charge(r, q->n / 4);
}

static const weir__callable of_list[] = {
    {"index", "value ?start ?stop", l_index}, {"count", "value", l_count}, {"copy", "", d_copy}};

/* ---- others ----------------------------------------------------------------------------------------- */

static weir_status c_next(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *q = a->at[0].as.seq;
    (void)r;
    *out = q->at[q->next];
    q->next = (q->next + 1) % q->n;
    return WEIR_OK;
}

static weir_status c_reset(weir__run *r, const weir__args *a, weir__value *out) {
    (void)r;
    a->at[0].as.seq->next = 0;
    *out = weir__none();
    return WEIR_OK;
}

static const weir__callable of_cycler[] = {{"next", "", c_next}, {"reset", "", c_reset}};

static weir_status f_is_integer(weir__run *r, const weir__args *a, weir__value *out) {
    (void)r;
    const double f = a->at[0].as.f;
    *out = weir__bool(f - f == 0 && f == __builtin_floor(f));
    return WEIR_OK;
}

static const weir__callable of_float[] = {{"is_integer", "", f_is_integer}};

const weir__callable *weir__find_method(weir__kind kind, const char *name, size_t n) {
    switch (kind) {
    case WEIR__STRING: return weir__find_in(weir__text_methods, weir__n_text_methods, name, n);
    case WEIR__DICT: return weir__find_in(of_dict, sizeof of_dict / sizeof *of_dict, name, n);
    case WEIR__LIST: return weir__find_in(of_list, sizeof of_list / sizeof *of_list, name, n);
    case WEIR__TUPLE:
    case WEIR__RANGE: return weir__find_in(of_list, 2, name, n);
    case WEIR__CYCLER: return weir__find_in(of_cycler, 2, name, n);
    case WEIR__FLOAT: return weir__find_in(of_float, 1, name, n);
    default: return NULL;
    }
}
