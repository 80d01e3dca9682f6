#include "host/tokenizers/spm/slow.h"

#include <stdio.h>
#include <string.h>

#include "host/tokenizers/pipeline/encode.h"
#include "host/tokenizers/spm/split.h"
#include "host/tokenizers/steps/out.h"
#include "host/tokenizers/text/bytes.h"
#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/text/white.h"
#include "kernels/base/mem.h"

enum { NAME_BYTES = 24, LONG = 1 << 14 /* bytes of a text from where the library is slow */ };
static const char SENTINEL[] = "<extra_id_", SPACE[] = "\xe2\x96\x81"; /* as pieces spell it */

struct weir__slow {
    weir__spm *spm;
    weir__pipeline *long_texts; /* NULL: the library handles those too */
    int32_t n_piece;
    weir__split_set added;
    weir__vocab rest; /* ids past the pieces, from n_piece: added tokens, "" for gaps */
    uint8_t *kind;    /* (n_piece + rest.n) CONTROL or USER of an added token; UNDEFINED of others */
    int32_t end;      /* ends a text; -1: not given */
    bool strips;
    bool spaces; /* around an added token in an answer */
};

/* ---- open ---------------------------------------------------------------------------------------------- */

/* The added token of each id, while ids are given out. */
typedef struct table {
    int32_t *at; /* (cap) number in added.texts + 1; 0: none */
    size_t cap;
    json_int_t last; /* highest id */
    size_t fresh;    /* the next free id, for a token that is not a piece and has no id */
} table;

static int32_t find_piece(const weir__slow *s, const char *text, size_t n) {
    for (int32_t id = 0; id < s->n_piece; id++) {
        const char *piece = weir__spm_piece(s->spm, id);
        if (strncmp(piece, text, n) == 0 && piece[n] == '\0') return id;
    }
    return -1;
}

static bool is_sentinel(const char *text, size_t n) {
    return n > sizeof SENTINEL - 1 && memcmp(text, SENTINEL, sizeof SENTINEL - 1) == 0;
}

static weir_status put(weir__slow *s, table *t, const char *text, size_t n, json_int_t id, unsigned flags,
                       weir_err *err) {
    WEIR_TRY(weir__split_set_put(&s->added, text, n, (int32_t)id, flags, err));
    const int32_t i = weir__vocab_find(&s->added.texts, text, n);
    if (i < 0) return WEIR_OK; /* an empty one */
    t->at[id] = i + 1;
    if (id > t->last) t->last = id;
    return WEIR_OK;
}

/* transformers counts pieces and tokens, not ids: with gaps before it, a new token may get the id of another
 * one. */
static weir_status put_fresh(weir__slow *s, table *t, const weir__token *x, weir_err *err) {
    const int32_t known = weir__vocab_find(&s->added.texts, x->text, x->n);
    if (known >= 0) {
        if (x->told && !is_sentinel(x->text, x->n)) s->added.texts.kind[known] = (uint8_t)x->flags;
        if (!is_sentinel(x->text, x->n)) s->added.texts.kind[known] |= WEIR__ADDED_SPECIAL;
        return WEIR_OK;
    }
    const int32_t piece = find_piece(s, x->text, x->n);
    return put(s, t, x->text, x->n, piece >= 0 ? piece : (json_int_t)t->fresh++, x->flags, err);
}

static weir_status put_sentinels(weir__slow *s, table *t, int32_t n, weir_err *err) {
    for (int32_t k = 0; k < n; k++) {
        char name[NAME_BYTES];
        const int len = snprintf(name, sizeof name, "%s%d>", SENTINEL, k);
        WEIR_TRY(put(s, t, name, (size_t)len, s->n_piece + n - 1 - k, WEIR__ADDED_LSTRIP | WEIR__ADDED_RSTRIP,
                     err));
    }
    return WEIR_OK;
}

/* Sentinels are found whether the caller asks for control tokens or not: they are what a T5 is given. */
static weir_status put_all(weir__slow *s, table *t, const weir__tokens *tokens, int32_t extra_ids,
                           weir_err *err) {
    WEIR_TRY(put_sentinels(s, t, extra_ids, err));
    for (size_t i = 0; i < tokens->n; i++) {
        const weir__token *x = &tokens->list[i];
        const bool sentinel = extra_ids > 0 && is_sentinel(x->text, x->n);
        const unsigned flags = sentinel ? x->flags & ~(unsigned)WEIR__ADDED_SPECIAL : x->flags;
        if (x->index >= 0) WEIR_TRY(put(s, t, x->text, x->n, x->index, flags, err));
    }
    t->fresh = (size_t)s->n_piece;
    for (int32_t i = 0; i < s->added.texts.n; i++)
        t->fresh += s->added.ids[i] >= s->n_piece || find_piece(s, weir__vocab_text(&s->added.texts, i),
                                                                weir__vocab_bytes(&s->added.texts, i)) < 0;
    for (size_t i = 0; i < tokens->n; i++)
        if (tokens->list[i].index < 0) WEIR_TRY(put_fresh(s, t, &tokens->list[i], err));
    const int32_t end = weir__vocab_find(&s->added.texts, tokens->end, tokens->n_end);
    s->end = end >= 0 ? s->added.ids[end] : -1;
    return weir__split_set_finish(&s->added, err);
}

static weir_status fill_rest(weir__slow *s, const table *t, weir_err *err) {
    const json_int_t last = t->last >= s->n_piece ? t->last : s->n_piece - 1;
    s->kind = weir_calloc((size_t)last + 1, 1);
    if (!s->kind) return weir_fail(err, WEIR_ENOMEM, "no memory for %lld tokens", (long long)last + 1);
    for (json_int_t id = 0; id <= last; id++) {
        const int32_t i = t->at[id] - 1;
        const char *text = i >= 0 ? weir__vocab_text(&s->added.texts, i) : "";
        const size_t n = i >= 0 ? weir__vocab_bytes(&s->added.texts, i) : 0;
        const bool control =
            i >= 0 && ((s->added.texts.kind[i] & WEIR__ADDED_SPECIAL) || is_sentinel(text, n));
        if (i >= 0) s->kind[id] = control ? WEIR__TOKEN_CONTROL : WEIR__TOKEN_USER;
        if (id >= s->n_piece)
            WEIR_TRY(weir__vocab_add_apart(&s->rest, text, n, WEIR__TOKEN_UNDEFINED, 0, err));
    }
    return WEIR_OK;
}

static weir_status fill(weir__slow *s, const weir__tokens *tokens, int32_t extra_ids, weir_err *err) {
    table t = {.cap = (size_t)s->n_piece + (size_t)extra_ids + tokens->n + 1, .last = -1};
    for (size_t i = 0; i < tokens->n; i++)
        if (tokens->list[i].index >= (json_int_t)t.cap) t.cap = (size_t)tokens->list[i].index + 1;
    t.cap += tokens->n;
    t.at = weir_calloc(t.cap, sizeof *t.at);
    if (!t.at) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu tokens", t.cap);
    weir_status st = put_all(s, &t, tokens, extra_ids, err);
    if (st == WEIR_OK) st = fill_rest(s, &t, err);
    weir_free(t.at);
    return st;
}

static void slow_free(void *impl) {
    weir__slow *s = impl;
    if (!s) return;
    weir__spm_free(s->spm);
    weir__pipeline_free(s->long_texts);
    weir__split_set_free(&s->added);
    weir__vocab_free(&s->rest);
    weir_free(s->kind);
    weir_free(s);
}

weir_status weir__slow_open(weir__slow **out, weir__spm *spm, weir__pipeline *long_texts,
                            const weir__tokens *tokens, int32_t extra_ids, bool strips, weir_err *err) {
    weir__slow *s = weir_calloc(1, sizeof *s);
    if (!s) {
        weir__spm_free(spm);
        weir__pipeline_free(long_texts);
        return weir_fail(err, WEIR_ENOMEM, "no memory for a tokenizer");
    }
    *s = (weir__slow){.spm = spm, .long_texts = long_texts, .n_piece = weir__spm_size(spm), .strips = strips};
    s->spaces = !weir__tokens_class_is(tokens, "GemmaTokenizer");
    const weir_status st = fill(s, tokens, extra_ids, err);
    if (st != WEIR_OK) {
        slow_free(s);
        return st;
    }
    *out = s;
    return WEIR_OK;
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

static int32_t slow_size(const void *impl) {
    const weir__slow *s = impl;
    return s->n_piece + s->rest.n;
}

static const char *slow_piece(const void *impl, int32_t id) {
    const weir__slow *s = impl;
    return id < s->n_piece ? weir__spm_piece(s->spm, id) : weir__vocab_text(&s->rest, id - s->n_piece);
}

/* The unknown piece shows as the library shows it, whatever the files say. */
static weir_piece_kind slow_kind(const void *impl, int32_t id) {
    const weir__slow *s = impl;
    if (id == weir__spm_unknown(s->spm)) return WEIR_PIECE_TEXT;
    const bool control =
        s->kind[id] == WEIR__TOKEN_CONTROL || (id < s->n_piece && weir__spm_is_control(s->spm, id));
    return control ? WEIR_PIECE_CONTROL : WEIR_PIECE_TEXT;
}

/* ---- encode -------------------------------------------------------------------------------------------- */

/* A token that is not allowed where it is, and that the library does not know, is found again by its name, as
 * in the slow classes. */
typedef struct known {
    const weir__split_set *added;
    bool special;
} known;

static int32_t known_text(const void *ud, const char *text, size_t n) {
    const known *k = ud;
    const int32_t i = weir__vocab_find(&k->added->texts, text, n);
    return i >= 0 && (k->special || !(k->added->texts.kind[i] & WEIR__ADDED_SPECIAL)) ? k->added->ids[i] : -1;
}

static weir_status append_part(const weir__slow *s, const weir__slow_part *p, const weir__ranges *special,
                               weir__ids *out, weir_err *err) {
    const known k = {&s->added, weir__ranges_hold(special, p->begin, p->end)};
    if (p->id >= 0) return weir__ids_push(out, p->id, err);
    if (p->n == 0) return WEIR_OK;
    if (s->long_texts && p->n >= LONG && weir__utf8_is_valid(p->s, p->n))
        return weir__pipeline_ops.encode(s->long_texts, p->s, p->n, &(weir__ranges){NULL, 0}, true, out, err);
    return weir__spm_encode(s->spm, p->s, p->n, known_text, &k, out, err);
}

/* The library puts its space before every part, as in the slow classes (legacy). */
static weir_status slow_encode(const void *impl, const char *text, size_t bytes, const weir__ranges *special,
                               bool first, weir__ids *out, weir_err *err) {
    const weir__slow *s = impl;
    weir__slow_parts parts = {0};
    (void)first;
    weir_status st = weir__slow_split(&s->added, text, bytes, special, &parts, err);
    for (size_t i = 0; i < parts.n && st == WEIR_OK; i++)
        st = append_part(s, &parts.list[i], special, out, err);
    weir__slow_parts_free(&parts);
    return st;
}

/* ---- decode -------------------------------------------------------------------------------------------- */

typedef struct answer {
    weir__out text;
    size_t parts;
} answer;

static weir_status add_text(answer *a, bool spaces, const char *s, size_t n, weir_err *err) {
    a->text.most = SIZE_MAX;
    if (spaces && a->parts++ > 0) weir__out_put(&a->text, " ", 1);
    if (weir__out_put(&a->text, s, n)) return WEIR_OK;
    return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", a->text.n + n);
}

/* Pieces between two added tokens, or (last) after all of them: there an empty text still has its space
 * before it. Llama's class removes a space before the library does. */
static weir_status add_pieces(const weir__slow *s, answer *a, const int32_t *ids, size_t n, bool last,
                              weir_err *err) {
    char *text = NULL;
    size_t bytes = 0;
    if (n == 0) return WEIR_OK;
    WEIR_TRY(weir__spm_decode(s->spm, ids, n, &text, &bytes, err));
    const char *begin = text;
    if (s->strips) {
        weir__white_strip_left(&begin, &bytes);
        weir__white_strip_right(begin, &bytes);
    } else if (s->spaces && bytes > 0 && *begin == ' ' &&
               strncmp(slow_piece(s, ids[0]), SPACE, sizeof SPACE - 1) == 0) {
        begin++;
        bytes--;
    }
    const weir_status st = bytes > 0 || last ? add_text(a, s->spaces, begin, bytes, err) : WEIR_OK;
    weir_free(text);
    return st;
}

static weir_status slow_decode(const void *impl, const int32_t *ids, size_t n, bool first, char **text,
                               size_t *bytes, weir_err *err) {
    const weir__slow *s = impl;
    answer a = {0};
    (void)first;
    weir_status st = WEIR_OK;
    size_t from = 0;
    for (size_t i = 0; i < n && st == WEIR_OK; i++) {
        if (ids[i] < s->n_piece && s->kind[ids[i]] != WEIR__TOKEN_USER) continue;
        const char *piece = slow_piece(s, ids[i]);
        st = add_pieces(s, &a, ids + from, i - from, false, err);
        if (st == WEIR_OK) st = add_text(&a, s->spaces, piece, strlen(piece), err);
        from = i + 1;
    }
    if (st == WEIR_OK) st = add_pieces(s, &a, ids + from, n - from, true, err);
    if (st == WEIR_OK) st = add_text(&a, false, "", 1, err); /* its end */
    if (st != WEIR_OK) {
        weir_free(a.text.s);
        return st;
    }
    *text = a.text.s;
    *bytes = a.text.n - 1;
    return WEIR_OK;
}

/* Copies a piece with a space for each "▁". */
static void spell_piece(const char *piece, char *out, size_t *n) {
    *n = 0;
    while (*piece) {
        const bool space = strncmp(piece, SPACE, sizeof SPACE - 1) == 0;
        out[(*n)++] = space ? ' ' : *piece;
        piece += space ? sizeof SPACE - 1 : 1;
    }
    out[*n] = '\0';
}

static weir_status slow_bytes(const void *impl, int32_t id, char **bytes, size_t *n, weir_err *err) {
    const weir__slow *s = impl;
    const char *piece = slow_piece(s, id);
    const size_t len = strlen(piece);
    const int byte = weir__byte_token(piece, len);
    if (id == weir__spm_unknown(s->spm)) return weir__spm_decode(s->spm, &id, 1, bytes, n, err);
    char *out = weir_alloc(len + 1, 1);
    if (!out) return weir_fail(err, WEIR_ENOMEM, "no memory for a token of %zu bytes", len);
    if (id >= s->n_piece || s->kind[id] == WEIR__TOKEN_USER)
        memcpy(out, piece, (*n = len) + 1);
    else if (byte >= 0)
        memcpy(out, (char[]){(char)byte, '\0'}, (*n = 1) + 1);
    else
        spell_piece(piece, out, n);
    *bytes = out;
    return WEIR_OK;
}

static bool slow_is_open(const void *impl, int32_t id) {
    (void)impl;
    (void)id;
    return false;
}

static int32_t slow_end(const void *impl) { return ((const weir__slow *)impl)->end; }

const weir_tokenizer_ops weir__slow_ops = {slow_free,   slow_size,  slow_piece,   slow_kind, slow_encode,
                                           slow_decode, slow_bytes, slow_is_open, slow_end};
