#include <string.h>
#include <time.h>

#include "host/jinja/library/callable.h"
#include "host/jinja/values/access.h"
#include "host/jinja/values/dict.h"
#include "host/jinja/values/print.h"

/* The functions of transformers' environment. */

static weir_status fn_range(weir__run *r, const weir__args *a, weir__value *out) {
    int64_t b[3] = {0, 0, 1};
    const size_t n = a->n - 1;
    if (a->n_named > 0) return WEIR__TYPE_ERROR(r, "range() takes no keyword arguments");
    if (n < 1 || n > 3)
        return WEIR__TYPE_ERROR(r, "range expected at %s %d argument%s, got %zu", n < 1 ? "least" : "most",
                                n < 1 ? 1 : 3, n < 1 ? "" : "s", n);
    for (size_t i = 0; i < n; i++) WEIR_TRY(weir__arg_int(r, a, 1 + i, &b[i]));
    return n == 1 ? weir__value_range(r, 0, b[0], 1, out) : weir__value_range(r, b[0], b[1], b[2], out);
}

/* dict(…) and namespace(…): a mapping or pairs, then names. */
static weir_status fill(weir__run *r, const weir__args *a, weir__dict *d) {
    weir__seq *items = NULL, *pair = NULL;
    if (a->n > 2) return WEIR__TYPE_ERROR(r, "dict expected at most 1 argument, got %zu", a->n - 1);
    if (a->n == 2 && a->at[1].kind == WEIR__DICT) {
        const weir__dict *from = a->at[1].as.dict;
        for (size_t i = 0; i < from->n; i++) WEIR_TRY(weir__dict_put(r, d, from->keys[i], from->values[i]));
    } else if (a->n == 2) {
        WEIR_TRY(weir__value_items(r, a->at[1], &items));
        for (size_t i = 0; i < items->n; i++) {
            WEIR_TRY(weir__value_items(r, items->at[i], &pair));
            if (pair->n != 2)
                return weir__run_raise(
                    r, WEIR_EINVAL, "dictionary update sequence element #%zu has length %zu; 2 is required",
                    i, pair->n);
            WEIR_TRY(weir__dict_put(r, d, pair->at[0], pair->at[1]));
        }
    }
    for (size_t i = 0; i < a->n_named; i++) WEIR_TRY(weir__dict_put(r, d, a->names[i], a->named[i]));
    return WEIR_OK;
}

static weir_status fn_dict(weir__run *r, const weir__args *a, weir__value *out) {
    WEIR_TRY(weir__dict_new(r, WEIR__DICT, out));
    return fill(r, a, out->as.dict);
}

static weir_status fn_namespace(weir__run *r, const weir__args *a, weir__value *out) {
    WEIR_TRY(weir__dict_new(r, WEIR__NAMESPACE, out));
    return fill(r, a, out->as.dict);
}

static weir_status fn_cycler(weir__run *r, const weir__args *a, weir__value *out) {
    if (a->n < 2) return weir__run_raise(r, WEIR_EINVAL, "at least one item has to be provided");
    WEIR_TRY(weir__value_list(r, WEIR__CYCLER, a->n - 1, out));
    memcpy(out->as.seq->at, a->at + 1, (a->n - 1) * sizeof *a->at);
    return WEIR_OK;
}

static weir_status fn_joiner(weir__run *r, const weir__args *a, weir__value *out) {
    weir__value sep = a->at[1];
    if (sep.kind == WEIR__ABSENT) WEIR_TRY(weir__value_literal(r, ", ", &sep));
    WEIR_TRY(weir__dict_new(r, WEIR__JOINER, out));
    return weir__dict_put(r, out->as.dict, weir__int(0), sep);
}

static weir_status fn_raise(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *t = NULL;
    (void)out;
    if (a->at[1].kind == WEIR__NONE) return weir__run_raise(r, WEIR_EINVAL, "None");
    WEIR_TRY(weir__value_text(r, &a->at[1], &t));
    return weir__run_raise(r, WEIR_EINVAL, "%.*s", t->n < 480 ? (int)t->n : 480, t->p);
}

/* A time without a zone: Python leaves %z and %Z empty, and knows %f, microseconds. */
static weir_status fn_strftime(weir__run *r, const weir__args *a, weir__value *out) {
    weir__text *format = NULL;
    weir__buf b = {0};
    struct tm now = {0};
    char one[4] = "%", piece[128];
    size_t (*const print)(char *, size_t, const char *, const struct tm *) =
        strftime; /* its formats are the template's */
    const time_t clock = time(NULL);
    if (a->at[1].kind != WEIR__STRING)
        return WEIR__TYPE_ERROR(r, "strftime() argument 1 must be str, not %s", weir__type_name(&a->at[1]));
    format = a->at[1].as.s;
    if (r->options.now)
        now = *r->options.now;
    else if (!localtime_r(&clock, &now))
        return weir__run_raise(r, WEIR_EINVAL, "the clock has no local time");
    for (size_t i = 0; i < format->n; i++) {
        const char c = i + 1 < format->n ? format->p[i + 1] : 0;
        if (format->p[i] != '%' || c == 0) {
            WEIR_TRY(weir__buf_put_text(r, &b, format, i, 1));
            continue;
        }
        i++;
        if (c == 'z' || c == 'Z') continue;
        one[1] = c;
        one[2] = '\0';
        if (c == '-' && i + 1 < format->n) {
            one[2] = format->p[++i];
            one[3] = '\0';
        }
        const size_t n = c == 'f' ? 6 : print(piece, sizeof piece, one, &now);
        WEIR_TRY(weir__buf_put(r, &b, c == 'f' ? "000000" : piece, n, WEIR__BY_TEMPLATE));
    }
    return weir__buf_value(r, &b, out);
}

const weir__callable *weir__find_function(const char *name) {
    static const weir__callable all[] = {{"range", NULL, fn_range},
                                         {"dict", NULL, fn_dict},
                                         {"namespace", NULL, fn_namespace},
                                         {"cycler", NULL, fn_cycler},
                                         {"joiner", "?sep", fn_joiner},
                                         {"raise_exception", "message", fn_raise},
                                         {"strftime_now", "format", fn_strftime}};
    return weir__find_in(all, sizeof all / sizeof *all, name, strlen(name));
}
