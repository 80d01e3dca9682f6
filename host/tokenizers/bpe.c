#include "host/tokenizers/bpe.h"

#include <stdio.h>
#include <string.h>

#include "host/tokenizers/merge.h"
#include "host/tokenizers/utf8.h"
#include "kernels/base/mem.h"

/* ---- open ------------------------------------------------------------------------------------------------------------ */

weir__bpe *weir__bpe_new(weir_err *err) {
    weir__bpe *b = weir_calloc(1, sizeof *b);
    if (!b) {
        weir_fail(err, WEIR_ENOMEM, "no memory for a tokenizer");
        return NULL;
    }
    b->unk_id = -1;
    return b;
}

void weir__bpe_free(void *bpe) {
    weir__bpe *b = bpe;
    if (!b) return;
    weir__vocab_free(&b->vocab);
    weir__vocab_free(&b->parts);
    weir__pairs_free(&b->pairs);
    weir__added_free(&b->before);
    weir__added_free(&b->after);
    weir__pretok_free(b->pretok);
    weir_free(b);
}

weir_status weir__bpe_merges(weir__bpe *b, size_t n, weir_err *err) {
    if (n > WEIR__MAX_TOKENS) return weir_fail(err, WEIR_EFORMAT, "%zu merges, expected at most %d", n, WEIR__MAX_TOKENS);
    weir__pairs_free(&b->pairs);
    return weir__pairs_reserve(&b->pairs, n, err);
}

/* The symbol of a part of a merge: a token, or a string that only leads to tokens. */
static weir_status symbol_of(weir__bpe *b, const char *s, size_t n, int32_t *id, weir_err *err) {
    *id = weir__vocab_find(&b->vocab, s, n);
    if (*id >= 0 || !b->keeps_parts) return WEIR_OK;
    *id = weir__vocab_find(&b->parts, s, n);
    if (*id < 0) {
        WEIR_TRY(weir__vocab_add(&b->parts, s, n, WEIR__TOKEN_UNUSED, 0, err));
        *id = b->parts.n - 1;
    }
    *id += b->vocab.n;
    return WEIR_OK;
}

weir_status weir__bpe_merge(weir__bpe *b, const char *left, size_t n_left, const char *right, size_t n_right, weir_err *err) {
    char both[512], *whole = both;
    weir__pair x = {.rank = (uint32_t)b->pairs.n};
    if (n_left == 0 || n_right == 0 || n_left > WEIR__MAX_TOKEN_BYTES || n_right > WEIR__MAX_TOKEN_BYTES - n_left)
        return weir_fail(err, WEIR_EFORMAT, "merge %zu: its parts have %zu and %zu bytes", b->pairs.n, n_left, n_right);
    if (n_left + n_right > sizeof both && !(whole = weir_alloc(n_left + n_right, 1)))
        return weir_fail(err, WEIR_ENOMEM, "no memory for a merge");
    memcpy(whole, left, n_left);
    memcpy(whole + n_left, right, n_right);
    weir_status s = symbol_of(b, left, n_left, &x.left, err);
    if (s == WEIR_OK) s = symbol_of(b, right, n_right, &x.right, err);
    if (s == WEIR_OK) s = symbol_of(b, whole, n_left + n_right, &x.merged, err);
    if (s == WEIR_OK && x.left >= 0 && x.right >= 0 && x.merged >= 0) weir__pairs_add(&b->pairs, x);
    if (whole != both) weir_free(whole);
    return s;
}

weir_status weir__bpe_merge_line(weir__bpe *b, const char *line, size_t n, weir_err *err) {
    /* Not the first byte: that may be the space that begins a part. */
    const char *space = n > 1 ? memchr(line + 1, ' ', n - 1) : NULL;
    if (!space)
        return weir_fail(err, WEIR_EFORMAT, "merge %zu is \"%.*s\", expected two parts and a space", b->pairs.n,
                         n < 60 ? (int)n : 60, line);
    return weir__bpe_merge(b, line, (size_t)(space - line), space + 1, (size_t)(line + n - space - 1), err);
}

#define SPACE "\xe2\x96\x81" /* U+2581, which stands for a space */

static void find_glue(weir__bpe *b, const weir__vocab *v) {
    for (int32_t i = 0; i < v->n; i++) {
        const char *s = weir__vocab_text(v, i), *end = s + weir__vocab_bytes(v, i);
        for (const char *at = s; (at = memmem(at, (size_t)(end - at), SPACE, 3)) != NULL; at += 3)
            if (at > s) b->glue[(uint8_t)at[-1]] = true;
    }
}

weir_status weir__bpe_finish(weir__bpe *b, weir_err *err) {
    for (int i = 0; i < 256; i++) {
        char name[8];
        size_t n = b->byte_level ? weir__byte_spell((uint8_t)i, name) : (size_t)snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        b->unit[i] = weir__vocab_find(&b->vocab, name, n);
        if (b->unit[i] >= 0 || !b->byte_level) continue;
        const int32_t part = weir__vocab_find(&b->parts, name, n);
        if (part >= 0) b->unit[i] = b->vocab.n + part;
    }
    b->cuts = !b->byte_level && !b->ignore_merges && weir__vocab_find(&b->vocab, SPACE, 3) >= 0;
    if (b->cuts) {
        find_glue(b, &b->vocab);
        find_glue(b, &b->parts);
    }
    WEIR_TRY(weir__added_finish(&b->before, err));
    return weir__added_finish(&b->after, err);
}

/* ---- ids ------------------------------------------------------------------------------------------------------------- */

static int32_t bpe_size(const void *impl) { return ((const weir__bpe *)impl)->vocab.n; }

static const char *bpe_piece(const void *impl, int32_t id) { return weir__vocab_text(&((const weir__bpe *)impl)->vocab, id); }

static weir_piece_kind bpe_kind(const void *impl, int32_t id) {
    const weir__token_kind k = ((const weir__bpe *)impl)->vocab.kind[id];
    return k == WEIR__TOKEN_CONTROL || k == WEIR__TOKEN_UNKNOWN ? WEIR_PIECE_CONTROL : WEIR_PIECE_TEXT;
}

/* ---- encode ---------------------------------------------------------------------------------------------------------- */

typedef struct encoder {
    const weir__bpe *b;
    weir__merger merger;
    weir__words words;
    int32_t *ids;
    size_t n, cap;
    bool special;
    bool begun; /* some of the text has been read */
} encoder;

static weir_status emit(encoder *e, int32_t id, weir_err *err) {
    if (e->n == e->cap || !e->ids) {
        const size_t cap = e->cap * 2 + 64;
        int32_t *more = weir_alloc(cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", cap);
        if (e->n) memcpy(more, e->ids, e->n * sizeof *more);
        weir_free(e->ids);
        e->ids = more;
        e->cap = cap;
    }
    e->ids[e->n++] = id;
    return WEIR_OK;
}

static bool merge_by_rank(const void *ud, const char *word, const weir__symbol *left, const weir__symbol *right,
                          uint32_t *rank, int32_t *merged) {
    (void)word;
    const weir__pair *x = weir__pairs_find(&((const weir__bpe *)ud)->pairs, left->id, right->id);
    if (!x) return false;
    *rank = x->rank;
    *merged = x->merged;
    return true;
}

/* Falling scores as rising ranks. A float's bits, its sign apart, rise with its size; scores are finite. */
static uint32_t rank_of(float score) {
    uint32_t bits;
    score += 0.0f; /* -0 and 0 are one score */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

static bool merge_by_score(const void *ud, const char *word, const weir__symbol *left, const weir__symbol *right,
                           uint32_t *rank, int32_t *merged) {
    const weir__bpe *b = ud;
    *merged = weir__vocab_find(&b->vocab, word + left->at, left->n + right->n);
    if (*merged < 0) return false;
    *rank = rank_of(b->vocab.score[*merged]);
    return true;
}

/* Whether every byte of a character that is no token has one. llama.cpp (by_score) takes the byte itself where there is no
 * "<0x41>". */
static bool has_bytes(const weir__bpe *b, const char *s, size_t n) {
    bool all = b->byte_fallback;
    for (size_t i = 0; i < n && all; i++)
        all = b->unit[(uint8_t)s[i]] >= 0 || (b->by_score && weir__vocab_find(&b->vocab, s + i, 1) >= 0);
    return all;
}

/* A character that is no token, before merging: its bytes, else unk_id, once for a run of them if those fuse, else nothing. */
static weir_status push_unknown(encoder *e, const char *s, size_t n, bool *after_unknown, weir_err *err) {
    const weir__bpe *b = e->b;
    if (!b->byte_level && has_bytes(b, s, n)) {
        for (size_t i = 0; i < n; i++) WEIR_TRY(weir__merger_push(&e->merger, 1, b->unit[(uint8_t)s[i]], err));
        *after_unknown = false;
        return WEIR_OK;
    }
    const bool fuses = b->fuse_unk && *after_unknown;
    *after_unknown = true;
    return b->unk_id < 0 || fuses ? WEIR_OK : weir__merger_push(&e->merger, n, b->unk_id, err);
}

/* Symbols of a word: its bytes, or its characters. */
static weir_status push_symbols(encoder *e, const char *word, size_t n, weir_err *err) {
    const weir__bpe *b = e->b;
    bool after_unknown = false;
    e->merger.n_symbol = 0;
    for (size_t i = 0, k; i < n; i += k) {
        k = b->byte_level ? 1 : weir__utf8_length(word[i]);
        if (k > n - i) k = n - i;
        const int32_t id = b->byte_level ? b->unit[(uint8_t)word[i]] : weir__vocab_find(&b->vocab, word + i, k);
        if (id < 0 && b->unknown_first) {
            WEIR_TRY(push_unknown(e, word + i, k, &after_unknown, err));
            continue;
        }
        after_unknown = false;
        WEIR_TRY(weir__merger_push(&e->merger, k, id, err));
    }
    return WEIR_OK;
}

/* The same after merging, as llama.cpp does it by scores. */
static weir_status emit_unknown(encoder *e, const char *s, size_t n, bool after_unknown, bool *unknown, weir_err *err) {
    const weir__bpe *b = e->b;
    *unknown = !has_bytes(b, s, n);
    if (*unknown) return b->unk_id < 0 || (b->fuse_unk && after_unknown) ? WEIR_OK : emit(e, b->unk_id, err);
    for (size_t i = 0; i < n; i++) {
        const int32_t id = b->unit[(uint8_t)s[i]];
        WEIR_TRY(emit(e, id >= 0 ? id : weir__vocab_find(&b->vocab, s + i, 1), err));
    }
    return WEIR_OK;
}

/* A string that merges lead to and that is no token: as llama.cpp has it, those of its bytes that are tokens. */
static weir_status emit_part(encoder *e, int32_t part, weir_err *err) {
    const weir__vocab *v = &e->b->parts;
    for (size_t i = 0; i < weir__vocab_bytes(v, part); i++) {
        const int32_t id = weir__vocab_find(&e->b->vocab, weir__vocab_text(v, part) + i, 1);
        if (id >= 0) WEIR_TRY(emit(e, id, err));
    }
    return WEIR_OK;
}

static weir_status emit_symbols(encoder *e, const char *word, weir_err *err) {
    const weir__bpe *b = e->b;
    bool unknown = false;
    for (int32_t i = e->merger.n_symbol > 0 ? 0 : -1; i >= 0; i = e->merger.symbols[i].next) {
        const weir__symbol *s = &e->merger.symbols[i];
        if (s->id >= b->vocab.n)
            WEIR_TRY(emit_part(e, s->id - b->vocab.n, err));
        else if (s->id >= 0)
            WEIR_TRY(emit(e, s->id, err));
        else if (!b->byte_level)
            WEIR_TRY(emit_unknown(e, word + s->at, s->n, unknown, &unknown, err));
        if (s->id >= 0) unknown = false;
    }
    return WEIR_OK;
}

/* The token that is the whole word, as the vocabulary spells it; -1 if there is none. */
static int32_t whole_word(const weir__bpe *b, const char *word, size_t n) {
    char spelled[512];
    size_t len = 0;
    if (!b->byte_level) return weir__vocab_find(&b->vocab, word, n);
    if (n > sizeof spelled / 2) return -1;
    for (size_t i = 0; i < n; i++) len += weir__byte_spell((uint8_t)word[i], spelled + len);
    return weir__vocab_find(&b->vocab, spelled, len);
}

/* Bytes up to the next place that nothing merges across, so that a text without words does not become one heap. Places are ends
 * of what push_symbols takes for a character: of bytes that are no text, more than one may lie under a first byte. */
static size_t part_bytes(const weir__bpe *b, const char *s, size_t n) {
    if (!b->cuts) return n;
    for (size_t i = weir__utf8_length(s[0]); i + 3 <= n; i += weir__utf8_length(s[i]))
        if (memcmp(s + i, SPACE, 3) == 0 && !b->glue[(uint8_t)s[i - 1]]) return i;
    return n;
}

static weir_status encode_word(encoder *e, const char *word, size_t n, weir_err *err) {
    const weir__bpe *b = e->b;
    const int32_t whole = b->ignore_merges ? whole_word(b, word, n) : -1;
    if (whole >= 0) return emit(e, whole, err);
    for (size_t k; n > 0; word += k, n -= k) {
        k = part_bytes(b, word, n);
        WEIR_TRY(push_symbols(e, word, k, err));
        WEIR_TRY(weir__merger_run(&e->merger, word, b->by_score ? merge_by_score : merge_by_rank, b, err));
        WEIR_TRY(emit_symbols(e, word, err));
    }
    return WEIR_OK;
}

/* Text without added tokens, normalised. */
static weir_status encode_section(encoder *e, const char *text, size_t n, bool first, weir_err *err) {
    char *t = NULL;
    if (n == 0) return WEIR_OK;
    WEIR_TRY(weir__bpe_run_steps(e->b->prep, e->b->n_prep, first, text, n, &t, &n, err));
    weir_status s = WEIR_OK;
    if (!e->b->pretok) {
        s = encode_word(e, t, n, err);
    } else {
        s = weir__pretok_split(e->b->pretok, t, n, &e->words, err);
        for (size_t i = 0; i < e->words.n && s == WEIR_OK; i++) {
            const weir__word w = e->words.list[i];
            s = encode_word(e, t + w.begin, w.end - w.begin, err);
        }
    }
    weir_free(t);
    return s;
}

typedef weir_status section_fn(encoder *e, const char *text, size_t n, bool first, weir_err *err);

/* Hands the text between added tokens to `section`, and the tokens out. */
static weir_status between_added(encoder *e, const weir__added *a, const char *text, size_t n, bool first,
                                 section_fn *section, weir_err *err) {
    size_t from = 0, begin, end;
    int32_t id;
    while (weir__added_find(a, text, n, from, e->special, &begin, &end, &id)) {
        WEIR_TRY(section(e, text + from, begin - from, first && from == 0, err));
        WEIR_TRY(emit(e, id, err));
        from = end;
    }
    return section(e, text + from, n - from, first && from == 0, err);
}

static weir_status normalise_section(encoder *e, const char *text, size_t n, bool first, weir_err *err) {
    char *t = NULL;
    if (n == 0) return WEIR_OK;
    WEIR_TRY(weir__bpe_run_steps(e->b->norm, e->b->n_norm, first, text, n, &t, &n, err));
    const weir_status s = between_added(e, &e->b->after, t, n, first, encode_section, err);
    weir_free(t);
    return s;
}

static weir_status bpe_encode(const void *impl, const char *text, size_t bytes, bool special, bool first, int32_t **ids,
                              size_t *n, weir_err *err) {
    encoder e = {.b = impl, .special = special};
    char *repaired = NULL;
    /* Places in a text are 32 bits wide, and a normaliser may make three bytes of one. */
    if (bytes > INT32_MAX / 8)
        return weir_fail(err, WEIR_EINVAL, "text of %zu bytes, expected at most %d", bytes, INT32_MAX / 8);
    if (e.b->repair) WEIR_TRY(weir__utf8_repair(text, bytes, &repaired, &bytes, err));
    weir_status s = between_added(&e, &e.b->before, repaired ? repaired : text, bytes, first, normalise_section, err);
    if (s == WEIR_OK && !e.ids) {
        e.ids = weir_alloc(0, sizeof *e.ids);
        if (!e.ids) s = weir_fail(err, WEIR_ENOMEM, "no memory for ids");
    }
    weir_free(repaired);
    weir__merger_free(&e.merger);
    weir__words_free(&e.words);
    if (s != WEIR_OK) {
        weir_free(e.ids);
        return s;
    }
    *ids = e.ids;
    *n = e.n;
    return WEIR_OK;
}

/* ---- decode ---------------------------------------------------------------------------------------------------------- */

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* The byte that "<0x41>" stands for, -1 for another token. */
static int byte_token(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[3]) < 0 || hex(s[4]) < 0) return -1;
    return hex(s[3]) * 16 + hex(s[4]);
}

static size_t unescape_spaces(const char *s, size_t n, char *out) {
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        const bool space = n - i >= 3 && memcmp(s + i, SPACE, 3) == 0;
        out[len++] = space ? ' ' : s[i];
        i += space ? 3 : 1;
    }
    return len;
}

/* Bytes of a token; never more than its spelling has. */
static size_t token_bytes(const weir__bpe *b, int32_t id, char *out) {
    const char *s = weir__vocab_text(&b->vocab, id);
    const size_t n = weir__vocab_bytes(&b->vocab, id);
    const weir__token_kind k = b->vocab.kind[id];
    if (k == WEIR__TOKEN_USER) {
        memcpy(out, s, n);
        return n;
    }
    if (b->byte_level) return weir__byte_unspell(s, n, out);
    const int byte = k == WEIR__TOKEN_BYTE ? byte_token(s, n) : -1;
    if (byte < 0) return unescape_spaces(s, n, out);
    *out = (char)byte;
    return 1;
}

static weir_status bpe_decode(const void *impl, const int32_t *ids, size_t n, char **text, size_t *bytes, weir_err *err) {
    const weir__bpe *b = impl;
    size_t need = 0, len = 0;
    for (size_t i = 0; i < n; i++) need += weir__vocab_bytes(&b->vocab, ids[i]);
    char *t = weir_alloc(need + 1, 1);
    if (!t) return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", need);
    for (size_t i = 0; i < n; i++) len += token_bytes(b, ids[i], t + len);
    if (b->strip_left && len > 0 && t[0] == ' ') memmove(t, t + 1, --len);
    WEIR_TRY(weir__utf8_lossy(&t, &len, err));
    *text = t;
    *bytes = len;
    return WEIR_OK;
}

const weir_tokenizer_ops weir__bpe_ops = {weir__bpe_free, bpe_size, bpe_piece, bpe_kind, bpe_encode, bpe_decode};
