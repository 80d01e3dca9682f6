#include <string.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/format.h"
#include "host/jinja/values/text.h"

/* Methods of strings. */

#define SELF(a) ((a)->at[0].as.s)

static weir_status stripped(weir__run *r, const weir__args *a, bool left, bool right, weir__value *out) {
    weir__text *chars = NULL;
    if (weir__arg_given(a, 1) && a->at[1].kind != WEIR__STRING)
        return WEIR__TYPE_ERROR(r, "%s arg must be None or str",
                                left && right ? "strip"
                                : left        ? "lstrip"
                                              : "rstrip");
    if (weir__arg_given(a, 1)) chars = a->at[1].as.s;
    return weir__text_strip(r, SELF(a), chars, left, right, out);
}

static weir_status m_strip(weir__run *r, const weir__args *a, weir__value *out) {
    return stripped(r, a, true, true, out);
}
static weir_status m_lstrip(weir__run *r, const weir__args *a, weir__value *out) {
    return stripped(r, a, true, false, out);
}
static weir_status m_rstrip(weir__run *r, const weir__args *a, weir__value *out) {
    return stripped(r, a, false, true, out);
}

static weir_status m_upper(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__text_recase(r, SELF(a), WEIR__UPPER, out);
}
static weir_status m_lower(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__text_recase(r, SELF(a), WEIR__LOWER, out);
}
static weir_status m_title(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__text_recase(r, SELF(a), WEIR__TITLE, out);
}
static weir_status m_swapcase(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__text_recase(r, SELF(a), WEIR__SWAP, out);
}
static weir_status m_capitalize(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__text_recase(r, SELF(a), WEIR__CAPITALIZE, out);
}

/* ---- search ----------------------------------------------------------------------------------------- */

/* [start, stop) of find and its siblings, as bytes; false: outside the text. */
static weir_status part_of(weir__run *r, const weir__args *a, size_t at, size_t *from, size_t *upto,
                           bool *some) {
    weir__text *t = SELF(a);
    const int64_t n = (int64_t)weir__text_length(t);
    int64_t b[2] = {0, n};
    for (size_t i = 0; i < 2; i++) {
        if (!weir__arg_given(a, at + i)) continue;
        WEIR_TRY(weir__arg_int(r, a, at + i, &b[i]));
        if (b[i] < 0) b[i] = b[i] + n < 0 ? 0 : b[i] + n;
    }
    *some = b[0] <= b[1] && b[0] <= n;
    if (b[1] > n) b[1] = n;
    *from = *some ? weir__text_offset(t, (size_t)b[0]) : 0;
    *upto = *some ? weir__text_offset(t, (size_t)b[1]) : 0;
    return weir__run_charge(r, t->n / 16);
}

static weir_status found_at(weir__run *r, const weir__args *a, bool last, int64_t *out) {
    size_t from = 0, upto = 0;
    bool some = false;
    weir__text *needle = NULL;
    *out = -1;
    WEIR_TRY(weir__arg_text(r, a, 1, &needle));
    WEIR_TRY(part_of(r, a, 2, &from, &upto, &some));
    const size_t at = some ? weir__text_find(SELF(a), from, upto, needle, last) : SIZE_MAX;
    if (at == SIZE_MAX) return WEIR_OK;
    weir__text before = {.p = SELF(a)->p, .n = at, .n_char = SIZE_MAX};
    *out = (int64_t)weir__text_length(&before);
    return WEIR_OK;
}

static weir_status m_find(weir__run *r, const weir__args *a, weir__value *out) {
    int64_t at = -1;
    WEIR_TRY(found_at(r, a, false, &at));
    *out = weir__int(at);
    return WEIR_OK;
}

static weir_status m_rfind(weir__run *r, const weir__args *a, weir__value *out) {
    int64_t at = -1;
    WEIR_TRY(found_at(r, a, true, &at));
    *out = weir__int(at);
    return WEIR_OK;
}

static weir_status m_index(weir__run *r, const weir__args *a, weir__value *out) {
    WEIR_TRY(m_find(r, a, out));
    return out->as.i >= 0 ? WEIR_OK : weir__run_raise(r, WEIR_EINVAL, "substring not found");
}

static weir_status m_rindex(weir__run *r, const weir__args *a, weir__value *out) {
    WEIR_TRY(m_rfind(r, a, out));
    return out->as.i >= 0 ? WEIR_OK : weir__run_raise(r, WEIR_EINVAL, "substring not found");
}

static weir_status m_count(weir__run *r, const weir__args *a, weir__value *out) {
    size_t from = 0, upto = 0;
    bool some = false;
    weir__text *needle = NULL;
    int64_t n = 0;
    WEIR_TRY(weir__arg_text(r, a, 1, &needle));
    WEIR_TRY(part_of(r, a, 2, &from, &upto, &some));
    if (some && needle->n == 0) { /* between any two characters */
        weir__text part = {.p = SELF(a)->p + from, .n = upto - from, .n_char = SIZE_MAX};
        n = (int64_t)weir__text_length(&part) + 1;
    } else if (some) {
        for (size_t at; (at = weir__text_find(SELF(a), from, upto, needle, false)) != SIZE_MAX; n++)
            from = at + needle->n;
    }
    *out = weir__int(n);
    return WEIR_OK;
}

/* startswith and endswith: one text, or a tuple of them. */
static weir_status meets(weir__run *r, const weir__args *a, bool end, weir__value *out) {
    size_t from = 0, upto = 0;
    bool some = false, holds = false;
    const weir__value *arg = &a->at[1];
    const weir__seq one = {.at = a->at + 1, .n = 1}, *all = arg->kind == WEIR__TUPLE ? arg->as.seq : &one;
    WEIR_TRY(part_of(r, a, 2, &from, &upto, &some));
    for (size_t i = 0; i < all->n; i++) {
        if (all->at[i].kind != WEIR__STRING && arg->kind != WEIR__TUPLE)
            return WEIR__TYPE_ERROR(r, "%s first arg must be str or a tuple of str, not %s",
                                    end ? "endswith" : "startswith", weir__type_name(arg));
        if (all->at[i].kind != WEIR__STRING)
            return WEIR__TYPE_ERROR(r, "tuple for %s must only contain str, not %s",
                                    end ? "endswith" : "startswith", weir__type_name(&all->at[i]));
        const weir__text *t = all->at[i].as.s;
        if (!some || t->n > upto - from || holds) continue;
        holds = memcmp(SELF(a)->p + (end ? upto - t->n : from), t->p, t->n) == 0;
    }
    *out = weir__bool(holds);
    return WEIR_OK;
}

static weir_status m_startswith(weir__run *r, const weir__args *a, weir__value *out) {
    return meets(r, a, false, out);
}
static weir_status m_endswith(weir__run *r, const weir__args *a, weir__value *out) {
    return meets(r, a, true, out);
}

/* ---- parts ------------------------------------------------------------------------------------------ */

static weir_status split(weir__run *r, const weir__args *a, bool right, weir__value *out) {
    weir__text *by = NULL;
    int64_t most = -1;
    if (weir__arg_given(a, 1)) WEIR_TRY(weir__arg_text(r, a, 1, &by));
    WEIR_TRY(weir__arg_int(r, a, 2, &most));
    return weir__text_split(r, SELF(a), by, most, right, out);
}

static weir_status m_split(weir__run *r, const weir__args *a, weir__value *out) {
    return split(r, a, false, out);
}
static weir_status m_rsplit(weir__run *r, const weir__args *a, weir__value *out) {
    return split(r, a, true, out);
}

static weir_status m_splitlines(weir__run *r, const weir__args *a, weir__value *out) {
    return weir__text_splitlines(r, SELF(a), weir__arg_bool(a, 1, false), out);
}

static weir_status partition(weir__run *r, const weir__args *a, bool right, weir__value *out) {
    weir__text *by = NULL, *t = SELF(a);
    WEIR_TRY(weir__arg_text(r, a, 1, &by));
    if (by->n == 0) return weir__run_raise(r, WEIR_EINVAL, "empty separator");
    size_t at = weir__text_find(t, 0, t->n, by, right), n = by->n;
    if (at == SIZE_MAX) {
        at = right ? 0 : t->n;
        n = 0;
    }
    WEIR_TRY(weir__run_charge(r, t->n / 16));
    WEIR_TRY(weir__value_list(r, WEIR__TUPLE, 3, out));
    WEIR_TRY(weir__text_part(r, t, 0, at, &out->as.seq->at[0]));
    WEIR_TRY(weir__text_part(r, n ? by : t, 0, n, &out->as.seq->at[1]));
    return weir__text_part(r, t, at + n, t->n - at - n, &out->as.seq->at[2]);
}

static weir_status m_partition(weir__run *r, const weir__args *a, weir__value *out) {
    return partition(r, a, false, out);
}
static weir_status m_rpartition(weir__run *r, const weir__args *a, weir__value *out) {
    return partition(r, a, true, out);
}

static weir_status m_replace(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *old = NULL, *with = NULL;
    int64_t count = -1;
    for (size_t i = 1; i <= 2; i++)
        if (a->at[i].kind != WEIR__STRING)
            return WEIR__TYPE_ERROR(r, "replace() argument %zu must be str, not %s", i,
                                    weir__type_name(&a->at[i]));
    old = a->at[1].as.s;
    with = a->at[2].as.s;
    WEIR_TRY(weir__arg_int(r, a, 3, &count));
    return weir__text_replace(r, SELF(a), old, with, count, out);
}

static weir_status m_removeprefix(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = SELF(a), *p = NULL;
    WEIR_TRY(weir__arg_text(r, a, 1, &p));
    const size_t n = p->n <= t->n && memcmp(t->p, p->p, p->n) == 0 ? p->n : 0;
    return weir__text_part(r, t, n, t->n - n, out);
}

static weir_status m_removesuffix(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = SELF(a), *p = NULL;
    WEIR_TRY(weir__arg_text(r, a, 1, &p));
    const size_t n = p->n <= t->n && memcmp(t->p + t->n - p->n, p->p, p->n) == 0 ? p->n : 0;
    return weir__text_part(r, t, 0, t->n - n, out);
}

static weir_status m_join(weir__run *r, const weir__args *a, weir__value *out) {
    weir__seq *items = NULL;
    weir__buf b = {0};
    WEIR_TRY(weir__value_items(r, a->at[1], &items));
    for (size_t i = 0; i < items->n; i++) {
        const weir__value *v = &items->at[i];
        if (v->kind != WEIR__STRING)
            return WEIR__TYPE_ERROR(r, "sequence item %zu: expected str instance, %s found", i,
                                    weir__type_name(v));
        if (i > 0) WEIR_TRY(weir__buf_put_text(r, &b, SELF(a), 0, SELF(a)->n));
        WEIR_TRY(weir__buf_put_text(r, &b, v->as.s, 0, v->as.s->n));
        WEIR_TRY(weir__run_charge(r, 1));
    }
    return weir__buf_value(r, &b, out);
}

/* ---- layout ----------------------------------------------------------------------------------------- */

static weir_status fill(weir__run *r, weir__buf *b, const weir__text *with, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        WEIR_TRY(with ? weir__buf_put_text(r, b, with, 0, with->n)
                      : weir__buf_put(r, b, " ", 1, WEIR__BY_TEMPLATE));
        WEIR_TRY(weir__run_charge(r, 1));
    }
    return WEIR_OK;
}

/* left: how much of the padding goes before the text. */
static weir_status padded(weir__run *r, const weir__args *a, char how, weir__value *out) {
    weir__text *with = NULL;
    weir__buf b = {0};
    int64_t width = 0;
    WEIR_TRY(weir__arg_int(r, a, 1, &width));
    if (a->at[2].kind != WEIR__ABSENT) WEIR_TRY(weir__arg_text(r, a, 2, &with));
    if (with && weir__text_length(with) != 1)
        return WEIR__TYPE_ERROR(r, "The fill character must be exactly one character long");
    int64_t pad = width - (int64_t)weir__text_length(SELF(a));
    if (pad < 0) pad = 0;
    const int64_t left = how == '<' ? 0 : how == '>' ? pad : pad / 2 + (pad & width & 1);
    WEIR_TRY(fill(r, &b, with, left));
    WEIR_TRY(weir__buf_put_text(r, &b, SELF(a), 0, SELF(a)->n));
    WEIR_TRY(fill(r, &b, with, pad - left));
    return weir__buf_value(r, &b, out);
}

static weir_status m_ljust(weir__run *r, const weir__args *a, weir__value *out) {
    return padded(r, a, '<', out);
}
static weir_status m_rjust(weir__run *r, const weir__args *a, weir__value *out) {
    return padded(r, a, '>', out);
}
static weir_status m_center(weir__run *r, const weir__args *a, weir__value *out) {
    return padded(r, a, '^', out);
}

static weir_status m_zfill(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = SELF(a);
    weir__buf b = {0};
    int64_t width = 0;
    WEIR_TRY(weir__arg_int(r, a, 1, &width));
    const size_t sign = t->n > 0 && (t->p[0] == '+' || t->p[0] == '-');
    WEIR_TRY(weir__buf_put_text(r, &b, t, 0, sign));
    for (int64_t i = (int64_t)weir__text_length(t); i < width; i++) {
        WEIR_TRY(weir__buf_put(r, &b, "0", 1, WEIR__BY_TEMPLATE));
        WEIR_TRY(weir__run_charge(r, 1));
    }
    WEIR_TRY(weir__buf_put_text(r, &b, t, sign, t->n - sign));
    return weir__buf_value(r, &b, out);
}

/* ---- classes ---------------------------------------------------------------------------------------- */

static bool is_upper_or_none(uint32_t cp) { return weir__case_of(cp) >= 0; }
static bool is_lower_or_none(uint32_t cp) { return weir__case_of(cp) <= 0; }
static bool is_any(uint32_t cp) { return cp <= 0x10ffff; }
static bool is_cased(uint32_t cp) { return weir__case_of(cp) != 0; }

/* Every character is of one class, and some of another. */
static weir_status all_of(weir__run *r, const weir__args *a, bool (*every)(uint32_t), bool (*some)(uint32_t),
                          weir__value *out) {
    const weir__text *t = SELF(a);
    uint32_t cp = 0;
    bool all = true, any = false;
    for (size_t at = 0; at < t->n;) {
        at += weir__text_step(t, at, &cp);
        all &= every(cp);
        any |= some(cp);
    }
    *out = weir__bool(all && any);
    return weir__run_charge(r, t->n / 8);
}

#define CLASS(name, every, some)                                                   \
    static weir_status name(weir__run *r, const weir__args *a, weir__value *out) { \
        return all_of(r, a, every, some, out);                                     \
    }
CLASS(m_isdigit, weir__is_digit, is_any)
CLASS(m_isalpha, weir__is_alpha, is_any)
CLASS(m_isalnum, weir__is_alnum, is_any)
CLASS(m_isspace, weir__is_space, is_any)
CLASS(m_isupper, is_upper_or_none, is_cased)
CLASS(m_islower, is_lower_or_none, is_cased)

const weir__callable weir__text_methods[] = {{"strip", "?chars", m_strip},
                                             {"lstrip", "?chars", m_lstrip},
                                             {"rstrip", "?chars", m_rstrip},
                                             {"upper", "", m_upper},
                                             {"lower", "", m_lower},
                                             {"title", "", m_title},
                                             {"capitalize", "", m_capitalize},
                                             {"swapcase", "", m_swapcase},
                                             {"find", "sub ?start ?end", m_find},
                                             {"rfind", "sub ?start ?end", m_rfind},
                                             {"index", "sub ?start ?end", m_index},
                                             {"rindex", "sub ?start ?end", m_rindex},
                                             {"count", "sub ?start ?end", m_count},
                                             {"startswith", "prefix ?start ?end", m_startswith},
                                             {"endswith", "suffix ?start ?end", m_endswith},
                                             {"split", "?sep ?maxsplit", m_split},
                                             {"rsplit", "?sep ?maxsplit", m_rsplit},
                                             {"splitlines", "?keepends", m_splitlines},
                                             {"partition", "sep", m_partition},
                                             {"rpartition", "sep", m_rpartition},
                                             {"replace", "old new ?count", m_replace},
                                             {"removeprefix", "prefix", m_removeprefix},
                                             {"removesuffix", "suffix", m_removesuffix},
                                             {"join", "iterable", m_join},
                                             {"ljust", "width ?fillchar", m_ljust},
                                             {"rjust", "width ?fillchar", m_rjust},
                                             {"center", "width ?fillchar", m_center},
                                             {"zfill", "width", m_zfill},
                                             {"format", NULL, weir__format_method},
                                             {"isdigit", "", m_isdigit},
                                             {"isdecimal", "", m_isdigit},
                                             {"isnumeric", "", m_isdigit},
                                             {"isalpha", "", m_isalpha},
                                             {"isalnum", "", m_isalnum},
                                             {"isspace", "", m_isspace},
                                             {"isupper", "", m_isupper},
                                             {"islower", "", m_islower}};
const size_t weir__n_text_methods = sizeof weir__text_methods / sizeof *weir__text_methods;
