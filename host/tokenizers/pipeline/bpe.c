#include "host/tokenizers/pipeline/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/text/bytes.h"
#include "host/tokenizers/text/utf8.h"
#include "kernels/base/mem.h"

/* ---- open ---------------------------------------------------------------------------------------------- */

weir_status weir__bpe_merges(weir__pipeline *b, size_t n, weir_err *err) {
    if (n > WEIR__MAX_TOKENS)
        return weir_fail(err, WEIR_EFORMAT, "%zu merges, expected at most %d", n, WEIR__MAX_TOKENS);
    weir__pairs_free(&b->pairs);
    return weir__pairs_reserve(&b->pairs, n, err);
}

/* The symbol of a part of a merge: a token, or a string that only leads to tokens. */
static weir_status symbol_of(weir__pipeline *b, const char *s, size_t n, int32_t *id, weir_err *err) {
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

weir_status weir__bpe_merge(weir__pipeline *b, const char *left, size_t n_left, const char *right,
                            size_t n_right, weir_err *err) {
    char both[512], *whole = both;
    weir__pair x = {.rank = (uint32_t)b->pairs.n};
    if (n_left == 0 || n_right == 0 || n_left > WEIR__MAX_TOKEN_BYTES ||
        n_right > WEIR__MAX_TOKEN_BYTES - n_left)
        return weir_fail(err, WEIR_EFORMAT, "merge %zu: its parts have %zu and %zu bytes", b->pairs.n, n_left,
                         n_right);
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

weir_status weir__bpe_merge_line(weir__pipeline *b, const char *line, size_t n, weir_err *err) {
    /* Not the first byte: that may be the space that begins a part. */
    const char *space = n > 1 ? memchr(line + 1, ' ', n - 1) : NULL;
    if (!space)
        return weir_fail(err, WEIR_EFORMAT, "merge %zu is \"%.*s\", expected two parts and a space",
                         b->pairs.n, n < 60 ? (int)n : 60, line);
    return weir__bpe_merge(b, line, (size_t)(space - line), space + 1, (size_t)(line + n - space - 1), err);
}

#define SPACE "\xe2\x96\x81" /* U+2581, which stands for a space */

static void find_glue(weir__pipeline *b, const weir__vocab *v) {
    for (int32_t i = 0; i < v->n; i++) {
        const char *s = weir__vocab_text(v, i), *end = s + weir__vocab_bytes(v, i);
        for (const char *at = s; (at = memmem(at, (size_t)(end - at), SPACE, 3)) != NULL; at += 3)
            if (at > s) b->glue[(uint8_t)at[-1]] = true;
    }
}

/* Falling scores as rising ranks; of equal scores one. */
static int by_score(const void *x, const void *y, void *scores) {
    const float a = ((const float *)scores)[*(const int32_t *)x],
                b = ((const float *)scores)[*(const int32_t *)y];
    return (a < b) - (a > b);
}

static weir_status rank_scores(weir__pipeline *b, weir_err *err) {
    const size_t n = (size_t)b->vocab.n;
    int32_t *order = weir_alloc(n, sizeof *order);
    b->rank = weir_alloc(n, sizeof *b->rank);
    if (!order || !b->rank) {
        weir_free(order);
        return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ranks", n);
    }
    for (size_t i = 0; i < n; i++) order[i] = (int32_t)i;
    qsort_r(order, n, sizeof *order, by_score, b->vocab.score);
    for (size_t i = 0; i < n; i++) {
        const bool next = i > 0 && b->vocab.score[order[i]] < b->vocab.score[order[i - 1]];
        b->n_rank += i == 0 || next;
        b->rank[order[i]] = (uint32_t)b->n_rank - 1;
    }
    weir_free(order);
    return WEIR_OK;
}

weir_status weir__bpe_finish(weir__pipeline *b, weir_err *err) {
    for (int i = 0; i < 256; i++) {
        char name[8];
        size_t n = b->byte_level ? weir__byte_spell((uint8_t)i, name)
                                 : (size_t)snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
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
    return b->by_score ? rank_scores(b, err) : WEIR_OK;
}

/* ---- encode -------------------------------------------------------------------------------------------- */

static bool merge_by_rank(const void *ud, const char *word, const weir__symbol *left,
                          const weir__symbol *right, uint32_t *rank, int32_t *merged) {
    (void)word;
    const weir__pair *x = weir__pairs_find(&((const weir__pipeline *)ud)->pairs, left->id, right->id);
    if (!x) return false;
    *rank = x->rank;
    *merged = x->merged;
    return true;
}

static bool merge_by_score(const void *ud, const char *word, const weir__symbol *left,
                           const weir__symbol *right, uint32_t *rank, int32_t *merged) {
    const weir__pipeline *b = ud;
    *merged = weir__vocab_find(&b->vocab, word + left->at, left->n + right->n);
    if (*merged < 0) return false;
    *rank = b->rank[*merged];
    return true;
}

/* Whether every byte of a character without a token has one. llama.cpp (by_score) takes the byte itself if
 * there is no "<0x41>". */
static bool has_bytes(const weir__pipeline *b, const char *s, size_t n) {
    bool all = b->byte_fallback;
    for (size_t i = 0; i < n && all; i++)
        all = b->unit[(uint8_t)s[i]] >= 0 || (b->by_score && weir__vocab_find(&b->vocab, s + i, 1) >= 0);
    return all;
}

/* A character without a token, before merging: its bytes, or unk_id (once per run if they fuse), or
 * nothing. */
static weir_status push_unknown(weir__encoder *e, const char *s, size_t n, bool *after_unknown,
                                weir_err *err) {
    const weir__pipeline *b = e->p;
    if (!b->byte_level && has_bytes(b, s, n)) {
        for (size_t i = 0; i < n; i++)
            WEIR_TRY(weir__merger_push(&e->merger, 1, b->unit[(uint8_t)s[i]], err));
        *after_unknown = false;
        return WEIR_OK;
    }
    const bool fuses = b->fuse_unk && *after_unknown;
    *after_unknown = true;
    return b->unk_id < 0 || fuses ? WEIR_OK : weir__merger_push(&e->merger, n, b->unk_id, err);
}

/* Symbols of a word: its bytes, or its characters. */
static weir_status push_symbols(weir__encoder *e, const char *word, size_t n, weir_err *err) {
    const weir__pipeline *b = e->p;
    bool after_unknown = false;
    e->merger.n_symbol = 0;
    for (size_t i = 0, k; i < n; i += k) {
        k = b->byte_level ? 1 : weir__utf8_length(word[i]);
        if (k > n - i) k = n - i;
        const int32_t id =
            b->byte_level ? b->unit[(uint8_t)word[i]] : weir__vocab_find(&b->vocab, word + i, k);
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
static weir_status emit_unknown(weir__encoder *e, const char *s, size_t n, bool after_unknown, bool *unknown,
                                weir_err *err) {
    const weir__pipeline *b = e->p;
    *unknown = !has_bytes(b, s, n);
    if (*unknown)
        return b->unk_id < 0 || (b->fuse_unk && after_unknown) ? WEIR_OK
                                                               : weir__encoder_emit(e, b->unk_id, err);
    for (size_t i = 0; i < n; i++) {
        const int32_t id = b->unit[(uint8_t)s[i]];
        WEIR_TRY(weir__encoder_emit(e, id >= 0 ? id : weir__vocab_find(&b->vocab, s + i, 1), err));
    }
    return WEIR_OK;
}

/* If merging yields a string that is not a token, emit its bytes that are tokens, like llama.cpp. */
static weir_status emit_part(weir__encoder *e, int32_t part, weir_err *err) {
    const weir__vocab *v = &e->p->parts;
    for (size_t i = 0; i < weir__vocab_bytes(v, part); i++) {
        const int32_t id = weir__vocab_find(&e->p->vocab, weir__vocab_text(v, part) + i, 1);
        if (id >= 0) WEIR_TRY(weir__encoder_emit(e, id, err));
    }
    return WEIR_OK;
}

static weir_status emit_symbols(weir__encoder *e, const char *word, weir_err *err) {
    const weir__pipeline *b = e->p;
    bool unknown = false;
    for (int32_t i = e->merger.n_symbol > 0 ? 0 : -1; i >= 0; i = e->merger.symbols[i].next) {
        const weir__symbol *s = &e->merger.symbols[i];
        if (s->id >= b->vocab.n)
            WEIR_TRY(emit_part(e, s->id - b->vocab.n, err));
        else if (s->id >= 0)
            WEIR_TRY(weir__encoder_emit(e, s->id, err));
        else if (!b->byte_level)
            WEIR_TRY(emit_unknown(e, word + s->at, s->n, unknown, &unknown, err));
        if (s->id >= 0) unknown = false;
    }
    return WEIR_OK;
}

/* The token that is the whole word, as the vocabulary spells it, or -1. */
static int32_t whole_word(const weir__pipeline *b, const char *word, size_t n) {
    char spelled[512];
    size_t len = 0;
    if (!b->byte_level) return weir__vocab_find(&b->vocab, word, n);
    if (n > sizeof spelled / 2) return -1;
    for (size_t i = 0; i < n; i++) len += weir__byte_spell((uint8_t)word[i], spelled + len);
    return weir__vocab_find(&b->vocab, spelled, len);
}

/* Bytes up to the next place that nothing merges across, so that a text without words does not become one
 * heap. Places are ends of what push_symbols takes for a character: of bytes that are no text, more than one
 * may lie under a first byte. */
static size_t part_bytes(const weir__pipeline *b, const char *s, size_t n) {
    if (!b->cuts) return n;
    for (size_t i = weir__utf8_length(s[0]); i + 3 <= n; i += weir__utf8_length(s[i]))
        if (memcmp(s + i, SPACE, 3) == 0 && !b->glue[(uint8_t)s[i - 1]]) return i;
    return n;
}

static weir_status merge_symbols(weir__encoder *e, const char *word, weir_err *err) {
    enum {
        LONG = 1 << 15
    }; /* symbols: from there on ranks are fewer than what is to be done, and heaps miss the caches */
    const weir__pipeline *b = e->p;
    weir__merge_rule *rule = b->by_score ? merge_by_score : merge_by_rank;
    if (e->merger.n_symbol < LONG) return weir__merger_run(&e->merger, word, rule, b, err);
    return weir__merger_run_long(&e->merger, word, rule, b, b->by_score ? b->n_rank : b->pairs.n, err);
}

weir_status weir__bpe_word(weir__encoder *e, const char *word, size_t n, weir_err *err) {
    const weir__pipeline *b = e->p;
    const int32_t whole = b->ignore_merges ? whole_word(b, word, n) : -1;
    if (whole >= 0) return weir__encoder_emit(e, whole, err);
    for (size_t k; n > 0; word += k, n -= k) {
        k = part_bytes(b, word, n);
        WEIR_TRY(push_symbols(e, word, k, err));
        WEIR_TRY(merge_symbols(e, word, err));
        WEIR_TRY(emit_symbols(e, word, err));
    }
    return WEIR_OK;
}
