#include "host/jinja/values/compare.h"

#include <string.h>

#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/print.h"
#include "host/jinja/values/text.h"

const char *weir__op_symbol(weir__jinja_op op) {
    static const char *const symbols[] = {
        "+", "-", "*", "/", "//", "%", "** or pow()", "==", "!=", "<", "<=", ">", ">=", "in", "in"};
    return symbols[op];
}

/* ---- order ------------------------------------------------------------------------------------------ */

static weir_status no_order(weir__run *r, weir__jinja_op op, const weir__value *a, const weir__value *b) {
    if (a->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *a);
    if (b->kind == WEIR__UNDEFINED) return weir__fail_undefined(r, *b);
    return WEIR__TYPE_ERROR(r, "'%s' not supported between instances of '%s' and '%s'", weir__op_symbol(op),
                            weir__type_name(a), weir__type_name(b));
}

static bool holds(weir__jinja_op op, int c) {
    if (c == 2) return false;
    return op == WEIR__LT ? c < 0 : op == WEIR__LE ? c <= 0 : op == WEIR__GT ? c > 0 : c >= 0;
}

static int compare_texts(const weir__text *a, const weir__text *b) {
    const int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return c != 0 ? (c < 0 ? -1 : 1) : a->n < b->n ? -1 : a->n > b->n;
}

static weir_status order(weir__run *r, weir__jinja_op op, const weir__value *a, const weir__value *b,
                         bool *out) {
    if (weir__is_number(a->kind) && weir__is_number(b->kind)) {
        *out = holds(op, weir__compare_numbers(a, b));
        return WEIR_OK;
    }
    if (a->kind == WEIR__STRING && b->kind == WEIR__STRING) {
        *out = holds(op, compare_texts(a->as.s, b->as.s));
        return WEIR_OK;
    }
    if (a->kind != b->kind || (a->kind != WEIR__LIST && a->kind != WEIR__TUPLE)) return no_order(r, op, a, b);
    const weir__seq *x = a->as.seq, *y = b->as.seq;
    size_t i = 0;
    while (i < x->n && i < y->n && weir__value_equal(r, &x->at[i], &y->at[i])) i++;
    if (i == x->n || i == y->n) {
        *out = holds(op, x->n < y->n ? -1 : x->n > y->n);
        return WEIR_OK;
    }
    WEIR_TRY(weir__run_enter(r));
    WEIR_TRY(order(r, op, &x->at[i], &y->at[i], out));
    r->depth--;
    return WEIR_OK;
}

static weir_status contains(weir__run *r, const weir__value *item, const weir__value *in, bool *out) {
    if (in->kind == WEIR__STRING) {
        if (item->kind != WEIR__STRING)
            return WEIR__TYPE_ERROR(r, "'in <string>' requires string as left operand, not %s",
                                    weir__type_name(item));
        *out = weir__text_find(in->as.s, 0, in->as.s->n, item->as.s, false) != SIZE_MAX;
        return weir__run_charge(r, in->as.s->n / 32);
    }
    if (in->kind == WEIR__DICT) {
        WEIR_TRY(weir__check_key(r, item));
        *out = weir__dict_find(r, in->as.dict, *item) != NULL;
        return weir__run_charge(r, in->as.dict->n / 8);
    }
    if (!weir__is_seq(in->kind) && in->kind != WEIR__UNDEFINED)
        return WEIR__TYPE_ERROR(r, "argument of type '%s' is not iterable", weir__type_name(in));
    weir__seq *items = NULL;
    *out = false;
    WEIR_TRY(weir__value_items(r, *in, &items));
    for (size_t i = 0; i < items->n && !*out; i++) *out = weir__value_equal(r, item, &items->at[i]);
    return weir__run_charge(r, items->n / 4);
}

weir_status weir__value_compare(weir__run *r, weir__jinja_op op, const weir__value *a, const weir__value *b,
                                bool *out) {
    switch (op) {
    case WEIR__EQ: *out = weir__value_equal(r, a, b); return WEIR_OK;
    case WEIR__NE: *out = !weir__value_equal(r, a, b); return WEIR_OK;
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
    WEIR_TRY(weir__run_charge(r, n));
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

weir_status weir__value_sort(weir__run *r, weir__value *at, weir__value *keys, size_t n, bool reverse) {
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
