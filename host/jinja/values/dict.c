#include "host/jinja/values/dict.h"

#include <math.h>
#include <string.h>

/* ---- equality -------------------------------------------------------------------------------------- */

/* An integer against a float, exactly: -1, 0, 1; 2 if the float is NaN. */
static int compare_mixed(int64_t i, double f) {
    if (isnan(f)) return 2;
    if (f >= 0x1p63) return -1;
    if (f < -0x1p63) return 1;
    const int64_t whole = (int64_t)f;
    if (i != whole) return i < whole ? -1 : 1;
    return (f > (double)whole) ? -1 : (f < (double)whole) ? 1 : 0;
}

int weir__compare_numbers(const weir__value *a, const weir__value *b) {
    const bool fa = a->kind == WEIR__FLOAT, fb = b->kind == WEIR__FLOAT;
    if (fa && fb) return isnan(a->as.f) || isnan(b->as.f) ? 2 : a->as.f < b->as.f ? -1 : a->as.f > b->as.f;
    if (fa) {
        const int c = compare_mixed(weir__whole_of(b), a->as.f);
        return c == 2 ? 2 : -c;
    }
    if (fb) return compare_mixed(weir__whole_of(a), b->as.f);
    return weir__whole_of(a) < weir__whole_of(b) ? -1 : weir__whole_of(a) > weir__whole_of(b);
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
    if (weir__is_number(a->kind) && weir__is_number(b->kind)) return weir__compare_numbers(a, b) == 0;
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

bool weir__value_equal(weir__run *r, const weir__value *a, const weir__value *b) {
    return equal_at(r, a, b, 0);
}

/* ---- dicts ----------------------------------------------------------------------------------------- */

weir_status weir__check_key(weir__run *r, const weir__value *key) {
    if (key->kind == WEIR__LIST || key->kind == WEIR__DICT)
        return WEIR__TYPE_ERROR(r, "unhashable type: '%s'", weir__type_name(key));
    if (key->kind != WEIR__TUPLE) return WEIR_OK;
    WEIR_TRY(weir__run_enter(r));
    WEIR_TRY(weir__run_charge(r, key->as.seq->n));
    for (size_t i = 0; i < key->as.seq->n; i++) WEIR_TRY(weir__check_key(r, &key->as.seq->at[i]));
    r->depth--;
    return WEIR_OK;
}

weir_status weir__dict_new(weir__run *r, weir__kind kind, weir__value *out) {
    weir__dict *d = weir__arena_alloc(&r->arena, 1, sizeof *d);
    if (!d) return weir__run_no_memory(r);
    *d = (weir__dict){0};
    *out = (weir__value){.kind = kind, .as.dict = d};
    return WEIR_OK;
}

/* Dicts of templates are small: no index. */
static size_t dict_index(weir__run *r, const weir__dict *d, const weir__value *key) {
    size_t i = 0;
    while (i < d->n && !weir__value_equal(r, &d->keys[i], key)) i++;
    return i;
}

const weir__value *weir__dict_find(weir__run *r, const weir__dict *d, weir__value key) {
    const size_t i = dict_index(r, d, &key);
    return i < d->n ? &d->values[i] : NULL;
}

const weir__value *weir__dict_name(const weir__dict *d, const char *name, size_t n) {
    for (size_t i = 0; i < d->n; i++) {
        const weir__value *k = &d->keys[i];
        if (k->kind == WEIR__STRING && k->as.s->n == n && memcmp(k->as.s->p, name, n) == 0)
            return &d->values[i];
    }
    return NULL;
}

static weir_status dict_grow(weir__run *r, weir__dict *d) {
    const size_t cap = d->cap ? d->cap * 2 : 4;
    weir__value *keys = weir__arena_alloc(&r->arena, cap, sizeof *keys);
    weir__value *values = weir__arena_alloc(&r->arena, cap, sizeof *values);
    if (!keys || !values) return weir__run_no_memory(r);
    if (d->n > 0) {
        memcpy(keys, d->keys, d->n * sizeof *keys);
        memcpy(values, d->values, d->n * sizeof *values);
    }
    d->keys = keys;
    d->values = values;
    d->cap = cap;
    return WEIR_OK;
}

weir_status weir__dict_put(weir__run *r, weir__dict *d, weir__value key, weir__value v) {
    WEIR_TRY(weir__run_charge(r, 1 + d->n / 8));
    const size_t at = dict_index(r, d, &key);
    if (at < d->n) {
        d->values[at] = v;
        return WEIR_OK;
    }
    if (d->n == d->cap) WEIR_TRY(dict_grow(r, d));
    d->keys[d->n] = key;
    d->values[d->n++] = v;
    return WEIR_OK;
}
