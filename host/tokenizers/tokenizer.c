#include "host/tokenizers/tokenizer.h"

#include <string.h>

#include "host/tokenizers/ops.h"
#include "kernels/base/mem.h"

struct weir_tokenizer {
    const weir_tokenizer_ops *ops;
    void *impl;
};

/* ---- open ---------------------------------------------------------------------------------------------- */

weir_status weir__tokenizer_new(weir_tokenizer **out, const weir_tokenizer_ops *ops, void *impl,
                                weir_err *err) {
    weir_tokenizer *t = weir_calloc(1, sizeof *t);
    if (!t) {
        ops->free(impl);
        return weir_fail(err, WEIR_ENOMEM, "no memory for a tokenizer");
    }
    *t = (weir_tokenizer){ops, impl};
    *out = t;
    return WEIR_OK;
}

void weir__tokenizer_free(weir_tokenizer *t) {
    if (!t) return;
    t->ops->free(t->impl);
    weir_free(t);
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

int32_t weir__tokenizer_size(const weir_tokenizer *t) { return t->ops->size(t->impl); }

static bool is_inside(const weir_tokenizer *t, int32_t id) { return id >= 0 && id < weir__tokenizer_size(t); }

const char *weir__tokenizer_piece(const weir_tokenizer *t, int32_t id) {
    return is_inside(t, id) ? t->ops->piece(t->impl, id) : NULL;
}

int32_t weir__tokenizer_find(const weir_tokenizer *t, const char *piece, size_t bytes) {
    const int32_t size = weir__tokenizer_size(t);
    for (int32_t id = 0; id < size; id++) {
        const char *p = t->ops->piece(t->impl, id);
        if (p && strncmp(p, piece, bytes) == 0 && p[bytes] == '\0') return id;
    }
    return -1;
}

bool weir__tokenizer_is_control(const weir_tokenizer *t, int32_t id) {
    return is_inside(t, id) && t->ops->kind(t->impl, id) == WEIR_PIECE_CONTROL;
}

bool weir__tokenizer_is_open(const weir_tokenizer *t, int32_t id) {
    return is_inside(t, id) && t->ops->is_open(t->impl, id);
}

int32_t weir__tokenizer_end(const weir_tokenizer *t) { return t->ops->end(t->impl); }

/* ---- encode -------------------------------------------------------------------------------------------- */

weir_status weir__tokenizer_append(const weir_tokenizer *t, const char *text, size_t bytes,
                                   bool parse_special, bool first, weir__ids *out, weir_err *err) {
    weir__range all = {0, bytes};
    return t->ops->encode(t->impl, text, bytes, &(weir__ranges){&all, parse_special}, first, out, err);
}

weir_status weir__tokenizer_encode(const weir_tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                   size_t *n, weir_err *err) {
    weir__ids l = {0};
    return weir__ids_take(&l, weir__tokenizer_append(t, text, bytes, false, true, &l, err), ids, n, err);
}

weir_status weir__tokenizer_encode_special(const weir_tokenizer *t, const char *text, size_t bytes,
                                           int32_t **ids, size_t *n, weir_err *err) {
    weir__ids l = {0};
    return weir__ids_take(&l, weir__tokenizer_append(t, text, bytes, true, true, &l, err), ids, n, err);
}

/* One text of them, and its parts where control tokens are parsed: spans that follow each other are one part.
 * */
static void join_spans(const weir_text_span *spans, size_t n, char *text, weir__ranges *special) {
    size_t at = 0;
    for (size_t i = 0; i < n; at += spans[i++].bytes) {
        if (spans[i].bytes == 0) continue;
        memcpy(text + at, spans[i].text, spans[i].bytes);
        if (!spans[i].parse_special) continue;
        weir__range *last = special->n > 0 ? &special->list[special->n - 1] : NULL;
        if (last && last->end == at)
            last->end += spans[i].bytes;
        else
            special->list[special->n++] = (weir__range){at, at + spans[i].bytes};
    }
}

weir_status weir__tokenizer_append_spans(const weir_tokenizer *t, const weir_text_span *spans, size_t n,
                                         bool first, weir__ids *out, weir_err *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow(bytes, spans[i].bytes, &bytes))
            return weir_fail(err, WEIR_EINVAL, "text too long");
    weir__ranges special = {weir_alloc(n, sizeof *special.list), 0};
    char *text = weir_alloc(bytes, 1);
    weir_status s = WEIR_OK;
    if (!text || !special.list) {
        s = weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", bytes);
    } else {
        join_spans(spans, n, text, &special);
        s = t->ops->encode(t->impl, text, bytes, &special, first, out, err);
    }
    weir_free(special.list);
    weir_free(text);
    return s;
}

weir_status weir__tokenizer_encode_spans(const weir_tokenizer *t, const weir_text_span *spans, size_t n,
                                         int32_t **ids, size_t *n_ids, weir_err *err) {
    weir__ids l = {0};
    return weir__ids_take(&l, weir__tokenizer_append_spans(t, spans, n, true, &l, err), ids, n_ids, err);
}

/* ---- decode -------------------------------------------------------------------------------------------- */

static weir_status check_inside(const weir_tokenizer *t, int32_t id, size_t at, weir_err *err) {
    if (is_inside(t, id)) return WEIR_OK;
    return weir_fail(err, WEIR_EINVAL, "id %d at index %zu is outside the vocabulary of %d", id, at,
                     weir__tokenizer_size(t));
}

static weir_status name_of(const weir_tokenizer *t, int32_t id, char **bytes, size_t *n, weir_err *err) {
    const char *piece = t->ops->piece(t->impl, id);
    const size_t len = strlen(piece);
    char *name = weir_alloc(len + 1, 1);
    if (!name) return weir_fail(err, WEIR_ENOMEM, "no memory for a token of %zu bytes", len);
    memcpy(name, piece, len + 1);
    *bytes = name;
    *n = len;
    return WEIR_OK;
}

weir_status weir__tokenizer_bytes(const weir_tokenizer *t, int32_t id, char **bytes, size_t *n,
                                  weir_err *err) {
    WEIR_TRY(check_inside(t, id, 0, err));
    return weir__tokenizer_is_control(t, id) ? name_of(t, id, bytes, n, err)
                                             : t->ops->bytes(t->impl, id, bytes, n, err);
}

weir_status weir__tokenizer_decode_run(const weir_tokenizer *t, const int32_t *ids, size_t n, bool first,
                                       char **text, size_t *bytes, weir_err *err) {
    int32_t *kept = weir_alloc(n, sizeof *kept);
    if (!kept) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", n);
    size_t n_kept = 0;
    weir_status s = WEIR_OK;
    for (size_t i = 0; i < n && s == WEIR_OK; i++) {
        s = check_inside(t, ids[i], i, err);
        if (s == WEIR_OK && !weir__tokenizer_is_control(t, ids[i])) kept[n_kept++] = ids[i];
    }
    if (s == WEIR_OK) s = t->ops->decode(t->impl, kept, n_kept, first, text, bytes, err);
    weir_free(kept);
    return s;
}

weir_status weir__tokenizer_decode(const weir_tokenizer *t, const int32_t *ids, size_t n, char **text,
                                   size_t *bytes, weir_err *err) {
    return weir__tokenizer_decode_run(t, ids, n, true, text, bytes, err);
}
