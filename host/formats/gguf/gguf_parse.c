/* The key-value pairs of a GGUF file. Values stay where they are; only strings of arrays get an index. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"

enum {
    MAX_KEY = 65535,
    MIN_PAIR = 8 + 1 + 4 + 1
}; /* the format's limit; a key of one byte and a value of one */

static const uint8_t KIND_BYTES[GGUF_KIND_COUNT] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

/* ---- bytes --------------------------------------------------------------------------------------------- */

weir_status weir__gguf_take(gguf_cursor *c, uint64_t n, const uint8_t **out) {
    const weir_gguf *g = c->g;
    if (n > g->n_bytes - c->at) {
        const char *label = weir__label(g->label);
        if (!c->part)
            return weir_fail(c->err, WEIR_EFORMAT, "%s: truncated: %zu bytes, too short for a GGUF header",
                             label, g->n_bytes);
        return weir_fail(c->err, WEIR_EFORMAT,
                         "%s: truncated: %s %llu of %llu needs %llu bytes at %zu, the file ends at %zu",
                         label, c->part, (unsigned long long)c->i + 1, (unsigned long long)c->n,
                         (unsigned long long)n, c->at, g->n_bytes);
    }
    *out = g->bytes + c->at;
    c->at += (size_t)n;
    return WEIR_OK;
}

weir_status weir__gguf_check_count(const gguf_cursor *c, uint64_t n, size_t min_bytes, const char *what) {
    const char *label = weir__label(c->g->label);
    if (n > (c->g->n_bytes - c->at) / min_bytes)
        return weir_fail(c->err, WEIR_EFORMAT, "%s: %llu %s cannot be in a file of %zu bytes", label,
                         (unsigned long long)n, what, c->g->n_bytes);
    if (n > GGUF_MAX_COUNT)
        return weir_fail(c->err, WEIR_EFORMAT, "%s: %llu %s, expected at most %d", label,
                         (unsigned long long)n, what, GGUF_MAX_COUNT);
    return WEIR_OK;
}

weir_status weir__gguf_u32(gguf_cursor *c, uint32_t *out) {
    const uint8_t *p;
    WEIR_TRY(weir__gguf_take(c, 4, &p));
    *out = (uint32_t)weir__gguf_load(p, 4);
    return WEIR_OK;
}

weir_status weir__gguf_u64(gguf_cursor *c, uint64_t *out) {
    const uint8_t *p;
    WEIR_TRY(weir__gguf_take(c, 8, &p));
    *out = weir__gguf_load(p, 8);
    return WEIR_OK;
}

/* ---- one pair ------------------------------------------------------------------------------------------ */

/* "FILE: key NAME: …" */
#define FAIL_KEY(c, pair, status, ...) fail_key(c, pair, status, __VA_ARGS__)

__attribute__((format(printf, 4, 5))) static weir_status fail_key(gguf_cursor *c, const gguf_pair *p,
                                                                  weir_status s, const char *fmt, ...) {
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return weir_fail(c->err, s, "%s: key %.*s: %s", weir__label(c->g->label),
                     p->key_bytes < 100 ? (int)p->key_bytes : 100, p->key, why);
}

static weir_status parse_key(gguf_cursor *c, gguf_pair *p) {
    uint64_t n;
    const uint8_t *text;
    WEIR_TRY(weir__gguf_u64(c, &n));
    if (n == 0 || n > MAX_KEY)
        return weir_fail(c->err, WEIR_EFORMAT, "%s: key %llu of %llu has %llu bytes, expected 1 to %d",
                         weir__label(c->g->label), (unsigned long long)c->i + 1, (unsigned long long)c->n,
                         (unsigned long long)n, MAX_KEY);
    WEIR_TRY(weir__gguf_take(c, n, &text));
    p->key = (const char *)text;
    p->key_bytes = (uint32_t)n;
    if (memchr(text, 0, (size_t)n)) return FAIL_KEY(c, p, WEIR_EFORMAT, "a zero byte in its name");
    return WEIR_OK;
}

static weir_status check_bools(gguf_cursor *c, const gguf_pair *p) {
    for (size_t i = 0; i < p->n; i++)
        if (p->at[i] > 1)
            return FAIL_KEY(c, p, WEIR_EFORMAT, "a bool of value %u, expected 0 or 1", p->at[i]);
    return WEIR_OK;
}

/* Where each string begins, so that element i is found at once. It takes 8 bytes per string, as the string's
 * length does in the file. */
static weir_status parse_strings(gguf_cursor *c, gguf_pair *p, uint64_t n) {
    size_t left = c->g->n_bytes - c->at;
    if (n > left / 8)
        return FAIL_KEY(c, p, WEIR_EFORMAT, "truncated: %llu strings in the %zu bytes that are left",
                        (unsigned long long)n, left);
    p->n = (size_t)n;
    if (n == 0) return WEIR_OK;
    p->string = weir_alloc(p->n, sizeof *p->string);
    if (!p->string) return FAIL_KEY(c, p, WEIR_ENOMEM, "no memory to index %zu strings", p->n);
    for (size_t i = 0; i < p->n; i++) {
        uint64_t bytes;
        const uint8_t *text;
        p->string[i] = c->at;
        WEIR_TRY(weir__gguf_u64(c, &bytes));
        WEIR_TRY(weir__gguf_take(c, bytes, &text));
    }
    return WEIR_OK;
}

static weir_status parse_array(gguf_cursor *c, gguf_pair *p) {
    uint32_t kind;
    uint64_t n;
    WEIR_TRY(weir__gguf_u32(c, &kind));
    WEIR_TRY(weir__gguf_u64(c, &n));
    if (kind == GGUF_ARRAY)
        return FAIL_KEY(c, p, WEIR_ENOTSUP,
                        "an array of arrays is not supported, expected one of numbers, bools or strings");
    if (kind >= GGUF_KIND_COUNT)
        return FAIL_KEY(c, p, WEIR_EFORMAT, "array of elements of unknown type %u", kind);
    p->array = true;
    p->kind = (gguf_kind)kind;
    if (p->kind == GGUF_STRING) return parse_strings(c, p, n);

    size_t left = c->g->n_bytes - c->at;
    if (n > left / KIND_BYTES[kind])
        return FAIL_KEY(c, p, WEIR_EFORMAT, "truncated: %llu elements of %u bytes in the %zu that are left",
                        (unsigned long long)n, KIND_BYTES[kind], left);
    p->n = (size_t)n;
    WEIR_TRY(weir__gguf_take(c, n * KIND_BYTES[kind], &p->at));
    return p->kind == GGUF_BOOL ? check_bools(c, p) : WEIR_OK;
}

static weir_status parse_value(gguf_cursor *c, gguf_pair *p) {
    uint32_t kind;
    uint64_t bytes;
    WEIR_TRY(weir__gguf_u32(c, &kind));
    if (kind == GGUF_ARRAY) return parse_array(c, p);
    if (kind >= GGUF_KIND_COUNT) return FAIL_KEY(c, p, WEIR_EFORMAT, "value of unknown type %u", kind);
    p->kind = (gguf_kind)kind;
    p->n = 1;
    if (p->kind == GGUF_STRING) {
        WEIR_TRY(weir__gguf_u64(c, &bytes));
        WEIR_TRY(weir__gguf_take(c, bytes, &p->at));
        p->bytes = (size_t)bytes;
        return WEIR_OK;
    }
    WEIR_TRY(weir__gguf_take(c, KIND_BYTES[kind], &p->at));
    return p->kind == GGUF_BOOL ? check_bools(c, p) : WEIR_OK;
}

static weir_status parse_pair(gguf_cursor *c, gguf_pair *p) {
    WEIR_TRY(parse_key(c, p));
    p->begin = c->at;
    WEIR_TRY(parse_value(c, p));
    p->end = c->at;
    return WEIR_OK;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static int compare_text(const char *a, size_t na, const char *b, size_t nb) {
    int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : (na > nb) - (na < nb);
}

static int by_key(const void *a, const void *b) {
    const gguf_pair *x = a, *y = b;
    return compare_text(x->key, x->key_bytes, y->key, y->key_bytes);
}

weir_status weir__gguf_parse_pairs(gguf_cursor *c, uint64_t n) {
    weir_gguf *g = c->g;
    WEIR_TRY(weir__gguf_check_count(c, n, MIN_PAIR, "keys"));
    g->pair = weir_calloc((size_t)n, sizeof *g->pair);
    if (!g->pair)
        return weir_fail(c->err, WEIR_ENOMEM, "%s: no memory for the list of %llu keys",
                         weir__label(g->label), (unsigned long long)n);
    c->part = "key";
    c->n = n;
    for (c->i = 0; c->i < n; c->i++) {
        gguf_pair *p = &g->pair[g->n_pair++]; /* counted before it is whole, so that close frees its index */
        WEIR_TRY(parse_pair(c, p));
    }
    qsort(g->pair, g->n_pair, sizeof *g->pair, by_key);
    for (size_t i = 1; i < g->n_pair; i++)
        if (by_key(&g->pair[i - 1], &g->pair[i]) == 0)
            return FAIL_KEY(c, &g->pair[i], WEIR_EFORMAT, "is there twice");
    return WEIR_OK;
}

const gguf_pair *weir__gguf_same_key(const weir_gguf *g, const gguf_pair *other) {
    return bsearch(other, g->pair, g->n_pair, sizeof *g->pair, by_key);
}

const gguf_pair *weir__gguf_pair(const weir_gguf *g, const char *key) {
    size_t n = strlen(key);
    if (n > MAX_KEY) return NULL;
    return weir__gguf_same_key(g, &(gguf_pair){.key = key, .key_bytes = (uint32_t)n});
}
