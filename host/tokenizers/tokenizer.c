#include "host/tokenizers/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/json_file.h"
#include "host/tokenizers/added.h"
#include "host/tokenizers/ops.h"
#include "kernels/base/mem.h"

static const size_t MAX_MODEL = 256u << 20;
enum { MAX_EXTRA = 1 << 20, NAME_BYTES = 24 };

struct weir_tokenizer {
    const weir_tokenizer_ops *ops;
    void *impl;
    int32_t n_piece, n_extra;  /* ids: pieces, then sentinels in falling order of their number */
    char (*names)[NAME_BYTES]; /* (n_extra) of sentinel k: "<extra_id_k>" */
    bool strips;               /* T5: decoding drops white space at both ends */
    weir__added control;       /* for families that leave control tokens in text to this file */
};

/* ---- open ------------------------------------------------------------------------------------------------ */

static weir_status make_names(weir_tokenizer *t, int32_t n, const char *label, weir_err *err) {
    t->names = weir_calloc((size_t)n, sizeof *t->names);
    if (!t->names)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for %d sentinels", weir__label(label), n);
    for (int32_t k = 0; k < n; k++) snprintf(t->names[k], sizeof t->names[k], "<extra_id_%d>", k);
    t->n_extra = n;
    return WEIR_OK;
}

/* Control pieces by their spelling. */
static weir_status find_control(weir_tokenizer *t, const char *label, weir_err *err) {
    weir_err why = {""};
    weir_status s = WEIR_OK;
    for (int32_t id = 0; id < t->n_piece && s == WEIR_OK; id++) {
        const char *piece = t->ops->piece(t->impl, id);
        if (t->ops->kind(t->impl, id) == WEIR_PIECE_CONTROL)
            s = weir__added_put(&t->control, piece, strlen(piece), id, WEIR__ADDED_SPECIAL, &why);
    }
    if (s == WEIR_OK) s = weir__added_finish(&t->control, &why);
    return s == WEIR_OK ? s : weir_fail(err, s, "%s: %s", label, why.text);
}

weir_status weir__tokenizer_new(weir_tokenizer **out, const weir_tokenizer_ops *ops, void *impl, weir_err *err) {
    weir_tokenizer *t = weir_calloc(1, sizeof *t);
    if (!t) {
        ops->free(impl);
        return weir_fail(err, WEIR_ENOMEM, "no memory for a tokenizer");
    }
    t->ops = ops;
    t->impl = impl;
    t->n_piece = ops->size(impl);
    *out = t;
    return WEIR_OK;
}

static weir_status open_spm(weir_tokenizer **out, const void *model, size_t bytes, const char *label,
                            int32_t extra_ids, bool strips, weir_err *err) {
    void *impl = NULL;
    weir_tokenizer *t = NULL;
    label = weir__label(label);
    if (extra_ids < 0 || extra_ids > MAX_EXTRA)
        return weir_fail(err, WEIR_EINVAL, "%s: extra_ids = %d, expected 0 to %d", label, extra_ids,
                         MAX_EXTRA);
    WEIR_TRY(weir__spm_open(&impl, model, bytes, label, err));
    WEIR_TRY(weir__tokenizer_new(&t, &weir__spm_ops, impl, err));
    t->strips = strips;
    weir_status s = make_names(t, extra_ids, label, err);
    if (s == WEIR_OK) s = find_control(t, label, err);
    if (s != WEIR_OK) {
        weir_tokenizer_free(t);
        return s;
    }
    *out = t;
    return WEIR_OK;
}

weir_status weir_tokenizer_open_spm_bytes(weir_tokenizer **out, const void *model, size_t bytes,
                                          const char *label, int32_t extra_ids, weir_err *err) {
    return open_spm(out, model, bytes, label, extra_ids, true, err);
}

static weir_status open_spm_file(weir_tokenizer **out, const char *path, int32_t extra_ids, bool strips,
                                 weir_err *err) {
    char *model;
    size_t bytes;
    WEIR_TRY(weir__file_read(path, MAX_MODEL, &model, &bytes, err));
    weir_status s = open_spm(out, model, bytes, path, extra_ids, strips, err);
    weir_free(model);
    return s;
}

weir_status weir_tokenizer_open_spm(weir_tokenizer **out, const char *path, int32_t extra_ids,
                                    weir_err *err) {
    return open_spm_file(out, path, extra_ids, true, err);
}

weir_status weir_tokenizer_open_spm_plain(weir_tokenizer **out, const char *path, weir_err *err) {
    return open_spm_file(out, path, 0, false, err);
}

void weir_tokenizer_free(weir_tokenizer *t) {
    if (!t) return;
    t->ops->free(t->impl);
    weir_free(t->names);
    weir__added_free(&t->control);
    weir_free(t);
}

/* ---- ids ------------------------------------------------------------------------------------------------- */

int32_t weir_tokenizer_size(const weir_tokenizer *t) { return t->n_piece + t->n_extra; }

/* Number to id, and id to number: the two counts run against each other. */
static int32_t sentinel_id(const weir_tokenizer *t, int32_t k) { return t->n_piece + t->n_extra - 1 - k; }

const char *weir_tokenizer_piece(const weir_tokenizer *t, int32_t id) {
    if (id < 0 || id >= weir_tokenizer_size(t)) return NULL;
    return id < t->n_piece ? t->ops->piece(t->impl, id) : t->names[sentinel_id(t, id)];
}

bool weir_tokenizer_is_control(const weir_tokenizer *t, int32_t id) {
    if (id < 0 || id >= weir_tokenizer_size(t)) return false;
    return id >= t->n_piece || t->ops->kind(t->impl, id) == WEIR_PIECE_CONTROL;
}

/* ---- white space as Python's str.strip() sees it ---------------------------------------------------------- */

/* Bytes of the white space character at the start of s, 0 if there is none. */
static size_t space_at(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    if (n >= 1 && ((p[0] >= 0x09 && p[0] <= 0x0d) || (p[0] >= 0x1c && p[0] <= 0x20))) return 1;
    if (n >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0)) return 2; /* U+0085, U+00A0 */
    if (n < 3) return 0;
    if (p[0] == 0xe1 && p[1] == 0x9a && p[2] == 0x80) return 3; /* U+1680 */
    if (p[0] == 0xe2 && p[1] == 0x80 &&                         /* U+2000…200A, 2028, 2029, 202F */
        ((p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf))
        return 3;
    if (p[0] == 0xe2 && p[1] == 0x81 && p[2] == 0x9f) return 3;  /* U+205F */
    return p[0] == 0xe3 && p[1] == 0x80 && p[2] == 0x80 ? 3 : 0; /* U+3000 */
}

static void strip_left(const char **s, size_t *n) {
    size_t k;
    while ((k = space_at(*s, *n)) > 0) {
        *s += k;
        *n -= k;
    }
}

/* A space's bytes are no other character's tail, so it is enough to try its three lengths. */
static void strip_right(const char *s, size_t *n) {
    for (;;) {
        size_t k = 1;
        while (k <= 3 && !(k <= *n && space_at(s + *n - k, k) == k)) k++;
        if (k > 3) return;
        *n -= k;
    }
}

/* ---- encode ---------------------------------------------------------------------------------------------- */

typedef struct id_list {
    int32_t *ids;
    size_t n, cap;
} id_list;

static weir_status append(id_list *l, const int32_t *ids, size_t n, weir_err *err) {
    if (n > l->cap - l->n || !l->ids) {
        size_t cap = l->cap + n + l->cap / 2;
        int32_t *more = weir_alloc(cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", cap);
        if (l->n) memcpy(more, l->ids, l->n * sizeof *more);
        weir_free(l->ids);
        l->ids = more;
        l->cap = cap;
    }
    if (n) memcpy(l->ids + l->n, ids, n * sizeof *ids);
    l->n += n;
    return WEIR_OK;
}

static weir_status append_plain(const weir_tokenizer *t, id_list *l, const char *text, size_t bytes, bool special,
                                bool first, weir_err *err) {
    int32_t *ids;
    size_t n;
    if (bytes == 0) return WEIR_OK;
    WEIR_TRY(t->ops->encode(t->impl, text, bytes, special, first, &ids, &n, err));
    weir_status s = append(l, ids, n, err);
    weir_free(ids);
    return s;
}

/* Text without sentinels; control tokens in it if `special`. */
static weir_status append_text(const weir_tokenizer *t, id_list *l, const char *text, size_t bytes, bool special,
                               bool first, weir_err *err) {
    size_t from = 0, begin, end;
    int32_t id;
    while (special && weir__added_find(&t->control, text, bytes, from, true, &begin, &end, &id)) {
        WEIR_TRY(append_plain(t, l, text + from, begin - from, true, first && from == 0, err));
        WEIR_TRY(append(l, &id, 1, err));
        from = end;
    }
    return append_plain(t, l, text + from, bytes - from, special, first && from == 0, err);
}

static const char SENTINEL[] = "<extra_id_";

/* The sentinel at the start of s: its number and length in bytes; false if there is none. */
static bool sentinel_at(const weir_tokenizer *t, const char *s, size_t n, int32_t *k, size_t *bytes) {
    size_t i = sizeof SENTINEL - 1, begin = i;
    if (n < i || memcmp(s, SENTINEL, i) != 0) return false;
    int32_t v = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9' && v < t->n_extra; i++) v = v * 10 + (s[i] - '0');
    if (i == begin || i >= n || s[i] != '>' || v >= t->n_extra) return false;
    if (s[begin] == '0' && i > begin + 1) return false; /* a leading zero is not a name of it */
    *k = v;
    *bytes = i + 1;
    return true;
}

/* The first sentinel in [from, bytes): its place, or `bytes` if there is none. */
static size_t find_sentinel(const weir_tokenizer *t, const char *text, size_t from, size_t bytes, int32_t *k,
                            size_t *len) {
    while (t->n_extra > 0 && from < bytes) {
        const char *p = memmem(text + from, bytes - from, SENTINEL, sizeof SENTINEL - 1);
        if (!p) break;
        size_t at = (size_t)(p - text);
        if (sentinel_at(t, p, bytes - at, k, len)) return at;
        from = at + 1;
    }
    return bytes;
}

/* Text between sentinels goes to the library piece by piece; a sentinel eats the white space on both sides. */
static weir_status encode_into(const weir_tokenizer *t, id_list *l, const char *text, size_t bytes, bool special,
                               bool first, weir_err *err) {
    size_t from = 0;
    bool after = false;
    for (;;) {
        int32_t k = 0;
        size_t len = 0, at = find_sentinel(t, text, from, bytes, &k, &len);
        const char *part = text + from;
        size_t n = at - from;
        if (after) strip_left(&part, &n);
        if (at < bytes) strip_right(part, &n);
        WEIR_TRY(append_text(t, l, part, n, special, first && !after, err));
        if (at == bytes) return WEIR_OK;
        int32_t id = sentinel_id(t, k);
        WEIR_TRY(append(l, &id, 1, err));
        from = at + len;
        after = true;
    }
}

static weir_status encode(const weir_tokenizer *t, const char *text, size_t bytes, bool special, bool first,
                          int32_t **ids, size_t *n, weir_err *err) {
    id_list l = {0};
    weir_status s = append(&l, NULL, 0, err); /* an empty text too gives a list to free */
    if (s == WEIR_OK) s = encode_into(t, &l, text, bytes, special, first, err);
    if (s != WEIR_OK) {
        weir_free(l.ids);
        return s;
    }
    *ids = l.ids;
    *n = l.n;
    return WEIR_OK;
}

weir_status weir_tokenizer_encode(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                  size_t *n, weir_err *err) {
    return encode(t, text, bytes, false, true, ids, n, err);
}

weir_status weir_tokenizer_encode_run(const weir_tokenizer *t, const char *text, size_t bytes, bool first, int32_t **ids,
                                      size_t *n, weir_err *err) {
    return encode(t, text, bytes, false, first, ids, n, err);
}

weir_status weir_tokenizer_encode_special(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                          size_t *n, weir_err *err) {
    return encode(t, text, bytes, true, true, ids, n, err);
}

/* ---- decode ---------------------------------------------------------------------------------------------- */

weir_status weir_tokenizer_decode(const weir_tokenizer *t, const int32_t *ids, size_t n, char **text,
                                  size_t *bytes, weir_err *err) {
    int32_t *kept = weir_alloc(n, sizeof *kept);
    if (!kept) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", n);
    size_t n_kept = 0;
    weir_status s = WEIR_OK;
    for (size_t i = 0; i < n && s == WEIR_OK; i++) {
        if (ids[i] < 0 || ids[i] >= weir_tokenizer_size(t))
            s = weir_fail(err, WEIR_EINVAL, "id %d at index %zu is outside the vocabulary of %d", ids[i], i,
                          weir_tokenizer_size(t));
        else if (!weir_tokenizer_is_control(t, ids[i]))
            kept[n_kept++] = ids[i];
    }
    char *raw = NULL;
    size_t len = 0;
    if (s == WEIR_OK) s = t->ops->decode(t->impl, kept, n_kept, &raw, &len, err);
    weir_free(kept);
    if (s != WEIR_OK) return s;

    const char *begin = raw;
    if (t->strips) {
        strip_left(&begin, &len);
        strip_right(begin, &len);
    }
    memmove(raw, begin, len);
    raw[len] = '\0';
    *text = raw;
    *bytes = len;
    return WEIR_OK;
}
