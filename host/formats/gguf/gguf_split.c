/* Split GGUF files: parts called NAME-00001-of-0000N.gguf, each a GGUF file with the keys split.no,
 * split.count and split.tensors.count. The first has the metadata of the model. Names and keys are those of
 * llama.cpp's gguf-split and llama-model-loader.cpp. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/formats/gguf/gguf_file.h"
#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"

enum { MAX_PART = 65535, SUFFIX_BYTES = 64 };

#define NO "split.no"
#define COUNT "split.count"
#define TENSORS "split.tensors.count"

/* ---- what a part says ---------------------------------------------------------------------------------- */

static weir_status read_number(const weir_gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out,
                               weir_err *err) {
    int64_t v;
    if (!weir__gguf_has(g, key)) return WEIR_OK;
    if (!weir__gguf_int(g, key, &v) || v < lo || v > hi)
        return weir_fail(err, WEIR_EFORMAT, "%s: %s is not a number from %lld to %lld", weir__label(g->label),
                         key, (long long)lo, (long long)hi);
    *out = v;
    return WEIR_OK;
}

weir_status weir__gguf_place(const weir_gguf *g, int64_t *no, int64_t *count, weir_err *err) {
    int64_t i = 0, n = 1;
    WEIR_TRY(read_number(g, COUNT, 0, MAX_PART, &n, err));
    if (n == 0) n = 1; /* gguf-split writes 0 into a file that it merged */
    WEIR_TRY(read_number(g, NO, 0, n - 1, &i, err));
    *no = i;
    *count = n;
    return WEIR_OK;
}

static weir_status check_place(const weir_gguf *g, size_t i, size_t n, weir_err *err) {
    int64_t no, count;
    WEIR_TRY(weir__gguf_place(g, &no, &count, err));
    if (no == (int64_t)i && count == (int64_t)n) return WEIR_OK;
    return weir_fail(err, WEIR_EFORMAT, "%s: its metadata say part %lld of %lld, expected part %zu of %zu",
                     weir__label(g->label), (long long)no + 1, (long long)count, i + 1, n);
}

static bool is_key(const gguf_pair *p, const char *key) {
    return p->key_bytes == strlen(key) && memcmp(p->key, key, p->key_bytes) == 0;
}

/* What a part repeats of the first part's metadata must be the same: else it is of another file. */
static weir_status check_same(const weir_gguf *first, const weir_gguf *g, weir_err *err) {
    for (size_t i = 0; i < g->n_pair; i++) {
        const gguf_pair *p = &g->pair[i], *q = weir__gguf_same_key(first, p);
        if (is_key(p, NO) || is_key(p, "general.alignment")) continue;
        if (q && p->end - p->begin == q->end - q->begin &&
            memcmp(g->bytes + p->begin, first->bytes + q->begin, p->end - p->begin) == 0)
            continue;
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: key %.*s is not as in the first part: these are parts of different files",
                         weir__label(g->label), p->key_bytes < 100 ? (int)p->key_bytes : 100, p->key);
    }
    return WEIR_OK;
}

/* ---- all parts ----------------------------------------------------------------------------------------- */

static weir_status check_parts(weir_gguf *const *part, size_t n, size_t *n_tensor, weir_err *err) {
    const weir_gguf *first = part[0];
    int64_t said = -1;
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        WEIR_TRY(check_place(part[i], i, n, err));
        if (i > 0) WEIR_TRY(check_same(first, part[i], err));
        sum += part[i]->n_tensor;
    }
    WEIR_TRY(read_number(first, TENSORS, 0, GGUF_MAX_COUNT, &said, err));
    if (said < 0)
        return weir_fail(err, WEIR_EFORMAT, "%s: no key " TENSORS ", expected in the first of %zu parts",
                         weir__label(first->label), n);
    if ((size_t)said != sum)
        return weir_fail(err, WEIR_EFORMAT, "%s: " TENSORS " = %lld, but its %zu parts have %zu",
                         weir__label(first->label), (long long)said, n, sum);
    *n_tensor = sum;
    return WEIR_OK;
}

/* The tensors of all parts into the first one, which from then on owns the others. */
static weir_status take_tensors(weir_gguf *const *part, size_t n, size_t n_tensor, weir_err *err) {
    weir_gguf *first = part[0];
    gguf_tensor *all = weir_alloc(n_tensor, sizeof *all);
    weir_gguf **rest = weir_alloc(n, sizeof *rest);
    if (!all || !rest) {
        weir_free(all);
        weir_free(rest);
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for the list of %zu tensors",
                         weir__label(first->label), n_tensor);
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (part[i]->n_tensor) memcpy(all + at, part[i]->tensor, part[i]->n_tensor * sizeof *all);
        at += part[i]->n_tensor;
        if (i > 0) rest[i - 1] = part[i];
    }
    weir_free(first->tensor);
    first->tensor = all;
    first->n_tensor = n_tensor;
    first->rest = rest;
    first->n_rest = n - 1;
    return WEIR_OK;
}

weir_status weir__gguf_join(weir_gguf **out, weir_gguf *const *part, size_t n, weir_err *err) {
    size_t n_tensor = 0;
    weir_status s = check_parts(part, n, &n_tensor, err);
    if (s == WEIR_OK) s = take_tensors(part, n, n_tensor, err);
    if (s != WEIR_OK) {
        for (size_t i = 0; i < n; i++) weir__gguf_close(part[i]);
        return s;
    }
    s = weir__gguf_sort_tensors(part[0], err);
    if (s == WEIR_OK)
        *out = part[0];
    else
        weir__gguf_close(part[0]);
    return s;
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* How the name of a part ends; its length. */
static size_t suffix_of(size_t i, size_t n, char out[SUFFIX_BYTES]) {
    return (size_t)snprintf(out, SUFFIX_BYTES, "-%05zu-of-%05zu.gguf", i + 1, n);
}

static weir_status open_part(weir_gguf **out, const char *path, size_t i, size_t n, weir_err *err) {
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return weir_fail(err, WEIR_EIO, "%s: no such file, expected part %zu of %zu of a split model",
                         weir__label(path), i + 1, n);
    return weir__gguf_open_file(out, path, err);
}

/* Opens the parts beside part[no], which is open. `path` is its, and writable: another part's name differs in
 * digits only. */
static weir_status open_others(weir_gguf **part, size_t no, size_t n, char *path, weir_err *err) {
    char suffix[SUFFIX_BYTES];
    const size_t length = strlen(path), m = suffix_of(no, n, suffix);
    if (length < m || strcmp(path + length - m, suffix) != 0)
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: part %zu of %zu of a split file, expected a name that ends in %s",
                         weir__label(path), no + 1, n, suffix);
    for (size_t i = 0; i < n; i++) {
        if (i == no) continue;
        suffix_of(i, n, suffix);
        memcpy(path + length - m, suffix, m);
        WEIR_TRY(open_part(&part[i], path, i, n, err));
    }
    return WEIR_OK;
}

/* Takes over g, part `no` of n. */
static weir_status open_parts(weir_gguf **out, weir_gguf *g, size_t no, size_t n, weir_err *err) {
    char *path = weir_strdup(g->label);
    weir_gguf **part = weir_calloc(n, sizeof *part);
    weir_status s;
    if (path && part) {
        part[no] = g;
        s = open_others(part, no, n, path, err);
        if (s == WEIR_OK)
            s = weir__gguf_join(out, part, n, err);
        else
            for (size_t i = 0; i < n; i++) weir__gguf_close(part[i]);
    } else {
        s = weir_fail(err, WEIR_ENOMEM, "%s: no memory for a list of %zu parts", weir__label(g->label), n);
        weir__gguf_close(g);
    }
    weir_free(part);
    weir_free(path);
    return s;
}

weir_status weir__gguf_open(weir_gguf **out, const char *path, weir_err *err) {
    weir_gguf *g = NULL;
    int64_t no, count;
    WEIR_TRY(weir__gguf_open_file(&g, path, err));
    const weir_status s = weir__gguf_place(g, &no, &count, err);
    if (s == WEIR_OK && count > 1) return open_parts(out, g, (size_t)no, (size_t)count, err);
    if (s == WEIR_OK)
        *out = g;
    else
        weir__gguf_close(g);
    return s;
}
