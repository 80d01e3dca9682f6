#include "host/tokenizers/vocab/decode.h"

#include <string.h>

#include "host/tokenizers/text/bytes.h"
#include "host/tokenizers/text/utf8.h"
#include "kernels/base/mem.h"

#define SPACE "\xe2\x96\x81" /* U+2581, which stands for a space */

weir_status weir__decode_add(weir__decoder *d, weir__decode_step step, const char *from, const char *to,
                             weir_err *err) {
    step.n_from = strlen(from);
    step.n_to = strlen(to);
    if (d->n == WEIR__MAX_DECODE_STEPS)
        return weir_fail(err, WEIR_ENOTSUP, "decoder: more than %d steps", WEIR__MAX_DECODE_STEPS);
    if (step.n_from > WEIR__DECODE_BYTES || step.n_to > WEIR__DECODE_BYTES)
        return weir_fail(err, WEIR_ENOTSUP, "decoder: a step has more than %d bytes", WEIR__DECODE_BYTES);
    memcpy(step.from, from, step.n_from);
    memcpy(step.to, to, step.n_to);
    d->list[d->n++] = step;
    return WEIR_OK;
}

/* ---- the list of spellings ----------------------------------------------------------------------------- */

/* One buffer, and where in it each spelling ends. A step writes another such list. */
typedef struct spellings {
    char *s;
    size_t bytes;
    size_t *end; /* (n) */
    size_t n;
    bool fused; /* one is left, of all tokens */
} spellings;

static void spellings_free(spellings *l) {
    weir_free(l->s);
    weir_free(l->end);
    memset(l, 0, sizeof *l);
}

static weir_status spellings_new(spellings *l, size_t bytes, size_t n, weir_err *err) {
    *l = (spellings){.s = weir_alloc(bytes + 1, 1), .end = weir_alloc(n, sizeof *l->end)};
    if (l->s && l->end) return WEIR_OK;
    spellings_free(l);
    return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", bytes);
}

static void put(spellings *w, const char *s, size_t n) {
    memcpy(w->s + w->bytes, s, n);
    w->bytes += n;
}

static void end_spelling(spellings *w) { w->end[w->n++] = w->bytes; }

static size_t begin_of(const spellings *l, size_t i) { return i > 0 ? l->end[i - 1] : 0; }

static void fuse(spellings *l) {
    if (l->n > 0) l->end[0] = l->bytes;
    l->n = l->n > 0;
    l->fused = true;
}

/* ---- steps on one spelling ----------------------------------------------------------------------------- */

static void strip(const weir__decode_step *d, bool keeps_start, const char *s, size_t n, spellings *w) {
    for (int32_t i = 0; i < d->start && !keeps_start && n >= d->n_from && memcmp(s, d->from, d->n_from) == 0;
         i++) {
        s += d->n_from;
        n -= d->n_from;
    }
    for (int32_t i = 0; i < d->stop && n >= d->n_from && memcmp(s + n - d->n_from, d->from, d->n_from) == 0;
         i++)
        n -= d->n_from;
    put(w, s, n);
}

static void replace(const weir__decode_step *d, const char *to, size_t n_to, const char *s, size_t n,
                    spellings *w) {
    const char *hit, *end = s + n;
    for (; d->n_from > 0 && (hit = memmem(s, (size_t)(end - s), d->from, d->n_from)) != NULL;
         s = hit + d->n_from) {
        put(w, s, (size_t)(hit - s));
        put(w, to, n_to);
    }
    put(w, s, (size_t)(end - s));
}

/* As llama.cpp: user-defined tokens as they are, of others "▁" is a space and "<0x41>" a byte. */
static void spell_piece(bool byte_level, weir__token_kind kind, const char *s, size_t n, spellings *w) {
    static const weir__decode_step space = {.n_from = 3, .from = SPACE};
    const int byte = kind == WEIR__TOKEN_BYTE ? weir__byte_token(s, n) : -1;
    if (kind == WEIR__TOKEN_USER) {
        put(w, s, n);
    } else if (byte_level) {
        w->bytes += weir__byte_unspell(s, n, w->s + w->bytes);
    } else if (byte >= 0) {
        w->s[w->bytes++] = (char)byte;
    } else {
        replace(&space, " ", 1, s, n, w);
    }
}

/* ---- runs of byte tokens ------------------------------------------------------------------------------- */

/* The bytes of spellings [from, to), in their place: at most 3 for one of 6. */
static void spell_bytes(const spellings *l, size_t from, size_t to, spellings *w) {
    const size_t begin = w->bytes;
    for (size_t i = from; i < to; i++) w->s[w->bytes++] = (char)weir__byte_token(l->s + begin_of(l, i), 6);
    if (weir__utf8_is_valid(w->s + begin, to - from)) return;
    w->bytes = begin;
    for (size_t i = from; i < to; i++) put(w, WEIR__REPLACEMENT, 3);
}

static bool is_byte(const spellings *l, size_t i) {
    const size_t begin = begin_of(l, i);
    return weir__byte_token(l->s + begin, l->end[i] - begin) >= 0;
}

static void byte_fallback(const spellings *l, spellings *w) {
    for (size_t i = 0, end; i < l->n; i = end) {
        end = i + 1;
        if (is_byte(l, i)) {
            while (end < l->n && is_byte(l, end)) end++;
            spell_bytes(l, i, end, w);
        } else {
            put(w, l->s + begin_of(l, i), l->end[i] - begin_of(l, i));
        }
        end_spelling(w);
    }
}

/* ---- run ----------------------------------------------------------------------------------------------- */

typedef struct decoding {
    const weir__decoder *d;
    const weir__vocab *v;
    const int32_t *ids;
    bool first;
} decoding;

static void run_one(const decoding *c, const weir__decode_step *d, const spellings *l, size_t i,
                    spellings *w) {
    const char *s = l->s + begin_of(l, i);
    const size_t n = l->end[i] - begin_of(l, i);
    switch (d->kind) {
    case WEIR__DECODE_STRIP: strip(d, l->fused && !c->first, s, n, w); break;
    case WEIR__DECODE_REPLACE: replace(d, d->to, d->n_to, s, n, w); break;
    case WEIR__DECODE_METASPACE: replace(d, " ", d->start == 0 || i > 0 || !c->first, s, n, w); break;
    case WEIR__DECODE_PIECES: spell_piece(c->d->byte_level, c->v->kind[c->ids[i]], s, n, w); break;
    default: w->bytes += weir__byte_unspell(s, n, w->s + w->bytes);
    }
}

/* Bytes that a step may write for what there is. */
static size_t room_for(const weir__decode_step *d, size_t n) {
    return d->kind == WEIR__DECODE_REPLACE && d->n_from > 0 && d->n_to > d->n_from
               ? n / d->n_from * d->n_to + n
               : n;
}

static weir_status run_step(const decoding *c, const weir__decode_step *d, spellings *l, weir_err *err) {
    spellings w;
    if (d->kind == WEIR__DECODE_FUSE) {
        fuse(l);
        return WEIR_OK;
    }
    WEIR_TRY(spellings_new(&w, room_for(d, l->bytes), l->n, err));
    w.fused = l->fused;
    if (d->kind == WEIR__DECODE_BYTE_FALLBACK) byte_fallback(l, &w);
    for (size_t i = 0; d->kind != WEIR__DECODE_BYTE_FALLBACK && i < l->n; i++) {
        run_one(c, d, l, i, &w);
        end_spelling(&w);
    }
    spellings_free(l);
    *l = w;
    return WEIR_OK;
}

static weir_status spell(const decoding *c, size_t n, spellings *l, weir_err *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += weir__vocab_bytes(c->v, c->ids[i]);
    WEIR_TRY(spellings_new(l, bytes, n, err));
    for (size_t i = 0; i < n; i++) {
        put(l, weir__vocab_text(c->v, c->ids[i]), weir__vocab_bytes(c->v, c->ids[i]));
        end_spelling(l);
    }
    return WEIR_OK;
}

/* Takes the spellings' buffer. spaces: one goes between two of them. */
static weir_status join(spellings *l, bool spaces, char **text, size_t *bytes, weir_err *err) {
    spellings w;
    if (spaces && l->n > 1) {
        WEIR_TRY(spellings_new(&w, l->bytes + l->n, 0, err));
        for (size_t i = 0; i < l->n; i++) {
            if (i > 0) put(&w, " ", 1);
            put(&w, l->s + begin_of(l, i), l->end[i] - begin_of(l, i));
        }
        spellings_free(l);
        *l = w;
    }
    char *s = l->s;
    size_t n = l->bytes;
    l->s = NULL;
    WEIR_TRY(weir__utf8_lossy(&s, &n, err));
    *text = s;
    *bytes = n;
    return WEIR_OK;
}

weir_status weir__decode(const weir__decoder *d, const weir__vocab *v, const int32_t *ids, size_t n,
                         bool first, char **text, size_t *bytes, weir_err *err) {
    const decoding c = {d, v, ids, first};
    spellings l = {0};
    weir_status s = spell(&c, n, &l, err);
    for (int i = 0; i < d->n && s == WEIR_OK; i++) s = run_step(&c, &d->list[i], &l, err);
    if (s == WEIR_OK) s = join(&l, d->spaces, text, bytes, err);
    spellings_free(&l);
    return s;
}

static bool has_fallback(const weir__decoder *d) {
    bool has = false;
    for (int i = 0; i < d->n; i++) has |= d->list[i].kind == WEIR__DECODE_BYTE_FALLBACK;
    return has;
}

weir_status weir__decode_bytes(const weir__decoder *d, const weir__vocab *v, int32_t id, char **bytes,
                               size_t *n, weir_err *err) {
    const decoding c = {d, v, &id, false};
    const int byte =
        has_fallback(d) ? weir__byte_token(weir__vocab_text(v, id), weir__vocab_bytes(v, id)) : -1;
    spellings l = {0};
    weir_status s = spell(&c, 1, &l, err);
    if (s == WEIR_OK && byte >= 0) {
        l.s[0] = (char)byte;
        l.bytes = 1;
    }
    for (int i = 0; i < d->n && s == WEIR_OK && byte < 0; i++) s = run_step(&c, &d->list[i], &l, err);
    if (s == WEIR_OK) {
        l.s[l.bytes] = '\0';
        *bytes = l.s;
        *n = l.bytes;
        l.s = NULL;
    }
    spellings_free(&l);
    return s;
}

bool weir__decode_is_open(const weir__decoder *d, const weir__vocab *v, int32_t id) {
    return has_fallback(d) && weir__byte_token(weir__vocab_text(v, id), weir__vocab_bytes(v, id)) >= 0;
}
