#include "host/tokenizers/across.h"

#include <string.h>

#include "host/tokenizers/steps/out.h"
#include "host/tokenizers/text/utf8.h"
#include "kernels/base/mem.h"

/* ---- text ---------------------------------------------------------------------------------------------- */

static weir_status put(weir__out *t, const char *bytes, size_t n, weir_err *err) {
    t->most = SIZE_MAX;
    if (weir__out_put(t, bytes, n)) return WEIR_OK;
    return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", t->n + n);
}

static weir_status spell_one(const weir_tokenizer *t, int32_t id, weir__out *out, weir_err *err) {
    char *bytes;
    size_t n;
    WEIR_TRY(weir__tokenizer_bytes(t, id, &bytes, &n, err));
    const weir_status st = put(out, bytes, n, err);
    weir_free(bytes);
    return st;
}

static weir_status spell(const weir_tokenizer *t, const int32_t *ids, size_t n, weir__out *out,
                         weir_err *err) {
    for (size_t i = 0; i < n; i++) WEIR_TRY(spell_one(t, ids[i], out, err));
    return WEIR_OK;
}

/* Bytes of an unfinished character at the end. */
static size_t unfinished(const char *s, size_t n) {
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        const uint8_t c = (uint8_t)s[n - k];
        if ((c & 0xc0) == 0x80) continue;
        return weir__utf8_length(s[n - k]) > k ? k : 0;
    }
    return 0;
}

/* Bytes of the characters before the first that is broken or unfinished. */
static size_t whole(const char *s, size_t n) {
    size_t at = 0;
    while (at < n) {
        uint32_t cp;
        bool broken = false;
        const size_t step = weir__utf8_step(s + at, n - at, &cp, &broken);
        if (broken) break;
        at += step;
    }
    return at;
}

/* ---- a text from its beginning, or from a place on ----------------------------------------------------- */

/* Text and control tokens in turn; offsets, since the text moves while it grows. */
typedef struct run {
    size_t begin, end;
    bool control;
} run;

/* The first id may spell a space that is no part of the text which it begins. */
static weir_status drop_first_space(const weir_tokenizer *t, int32_t id, weir__out *text, weir_err *err) {
    char *shown;
    size_t n;
    if (text->n == 0 || text->s[0] != ' ') return WEIR_OK;
    WEIR_TRY(weir__tokenizer_decode_run(t, &id, 1, true, &shown, &n, err));
    if (n == text->n - 1) {
        memmove(text->s, text->s + 1, n);
        text->n = n;
    }
    weir_free(shown);
    return WEIR_OK;
}

static weir_status spell_runs(const weir_tokenizer *t, const int32_t *ids, size_t n, bool first,
                              weir__out *text, run *runs, size_t *n_run, weir_err *err) {
    for (size_t i = 0; i < n; i++) {
        const bool control = weir__tokenizer_is_control(t, ids[i]);
        const size_t begin = text->n;
        WEIR_TRY(spell_one(t, ids[i], text, err));
        if (i == 0 && first && !control) WEIR_TRY(drop_first_space(t, ids[0], text, err));
        run *last = *n_run > 0 ? &runs[*n_run - 1] : NULL;
        if (last && !control && !last->control)
            last->end = text->n;
        else
            runs[(*n_run)++] = (run){begin, text->n, control};
    }
    if (*n_run > 0 && !runs[*n_run - 1].control) {
        const size_t begin = runs[*n_run - 1].begin;
        runs[*n_run - 1].end -= unfinished(text->s + begin, text->n - begin);
    }
    return WEIR_OK;
}

weir_status weir__across(const weir_tokenizer *from, const weir_tokenizer *to, const int32_t *ids, size_t n,
                         bool first, weir__ids *out, weir_err *err) {
    weir__out text = {0};
    size_t n_run = 0;
    run *runs = weir_alloc(n, sizeof *runs);
    weir_text_span *spans = weir_alloc(n, sizeof *spans);
    weir_status st = WEIR_OK;
    if (!runs || !spans) st = weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", n);
    if (st == WEIR_OK) st = spell_runs(from, ids, n, first, &text, runs, &n_run, err);
    for (size_t i = 0; st == WEIR_OK && i < n_run; i++)
        spans[i] = (weir_text_span){text.s + runs[i].begin, runs[i].end - runs[i].begin, runs[i].control};
    if (st == WEIR_OK) st = weir__tokenizer_append_spans(to, spans, n_run, first, out, err);
    weir_free(spans);
    weir_free(runs);
    weir_free(text.s);
    return st;
}

/* ---- what goes on -------------------------------------------------------------------------------------- */

/* The ids at the end that stand for the last `bytes` bytes, if some do. */
static weir_status take_end(const weir_tokenizer *t, const weir__ids *all, size_t bytes, weir__ids *out,
                            bool *found, weir_err *err) {
    size_t from = all->n, sum = 0;
    while (from > 0 && sum < bytes) {
        weir__out one = {0};
        const weir_status st = spell_one(t, all->at[--from], &one, err);
        sum += one.n;
        weir_free(one.s);
        WEIR_TRY(st);
    }
    *found = sum == bytes;
    return *found ? weir__ids_add(out, all->at + from, all->n - from, err) : WEIR_OK;
}

/* The ids of s, at the end of which those of its last `bytes` bytes are taken. */
static weir_status encode_end(const weir_tokenizer *t, const char *s, size_t n, size_t bytes, weir__ids *out,
                              bool *found, weir_err *err) {
    weir__ids all = {0};
    weir_status st = weir__tokenizer_append(t, s, n, true, false, &all, err);
    if (st == WEIR_OK) st = take_end(t, &all, bytes, out, found, err);
    weir_free(all.at);
    return st;
}

/* behind: the end of what was before; next: the text after it. */
static weir_status go_on(const weir_tokenizer *to, weir__out *behind, const weir__out *next, weir__ids *out,
                         weir_err *err) {
    const size_t held = unfinished(behind->s, behind->n), n = whole(next->s, next->n);
    bool found = false;
    behind->n -= held;
    if (n <= held || (held > 0 && memcmp(behind->s + behind->n, next->s, held) != 0)) return WEIR_OK;
    WEIR_TRY(put(behind, next->s, n, err));
    WEIR_TRY(encode_end(to, behind->s, behind->n, n - held, out, &found, err));
    if (found || held > 0) return WEIR_OK;
    return encode_end(to, next->s, n, n, out, &found, err);
}

weir_status weir__across_next(const weir_tokenizer *from, const int32_t *ids, size_t n,
                              const weir_tokenizer *to, const int32_t *before, size_t n_before,
                              weir__ids *out, weir_err *err) {
    weir__out next = {0}, behind = {0};
    size_t look = n_before;
    while (look > 0 && n_before - look < WEIR_LOOK_BEHIND &&
           !weir__tokenizer_is_control(to, before[look - 1]))
        look--;
    weir_status st = spell(from, ids, n, &next, err);
    if (st == WEIR_OK) st = spell(to, before + look, n_before - look, &behind, err);
    if (st == WEIR_OK) st = go_on(to, &behind, &next, out, err);
    weir_free(behind.s);
    weir_free(next.s);
    return st;
}
