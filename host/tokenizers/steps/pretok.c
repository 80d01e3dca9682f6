#include "host/tokenizers/steps/pretok.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "host/tokenizers/text/utf8.h"
#include "kernels/base/mem.h"

enum {
    MAX_STEPS = 16,
    /* What the patterns of real tokenizers need is some 20 per character of a word; a pattern made to explode
     * gets this far. */
    MATCH_LIMIT = 20 * 1000 * 1000,
    HEAP_KIB = 256 * 1024,
};

struct weir__pretok {
    pcre2_general_context *memory;
    pcre2_compile_context *compile;
    pcre2_match_context *limits;
    int n;
    struct {
        pcre2_code *code;
        weir__split how;
    } step[MAX_STEPS];
};

/* ---- open ---------------------------------------------------------------------------------------------- */

static void *hook_alloc(PCRE2_SIZE n, void *ud) {
    (void)ud;
    return weir_alloc(n, 1);
}
static void hook_free(void *p, void *ud) {
    (void)ud;
    weir_free(p);
}

weir_status weir__pretok_open(weir__pretok **out, weir_err *err) {
    weir__pretok *p = weir_calloc(1, sizeof *p);
    if (p) p->memory = pcre2_general_context_create(hook_alloc, hook_free, NULL);
    if (p && p->memory) {
        p->compile = pcre2_compile_context_create(p->memory);
        p->limits = pcre2_match_context_create(p->memory);
    }
    if (!p || !p->compile || !p->limits) {
        weir__pretok_free(p);
        return weir_fail(err, WEIR_ENOMEM, "no memory for a pre-tokenizer");
    }
    pcre2_set_newline(p->compile, PCRE2_NEWLINE_LF);
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(p->limits, HEAP_KIB);
    *out = p;
    return WEIR_OK;
}

void weir__pretok_free(weir__pretok *p) {
    if (!p) return;
    for (int i = 0; i < p->n; i++) pcre2_code_free(p->step[i].code);
    pcre2_compile_context_free(p->compile);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    weir_free(p);
}

bool weir__pretok_is_empty(const weir__pretok *p) { return p->n == 0; }

weir_status weir__pretok_add(weir__pretok *p, const char *pattern, size_t bytes, bool literal,
                             weir__split how, weir_err *err) {
    if (p->n == MAX_STEPS)
        return weir_fail(err, WEIR_ENOTSUP, "pre-tokenizer: more than %d steps", MAX_STEPS);
    char *text = NULL;
    if (literal && !weir__utf8_is_valid(pattern, bytes))
        return weir_fail(err, WEIR_EFORMAT, "pattern: not UTF-8");
    if (!literal) WEIR_TRY(weir__pattern_translate(pattern, bytes, &text, err));
    int code;
    PCRE2_SIZE at;
    const uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL
                                     : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)(text ? text : pattern), text ? PCRE2_ZERO_TERMINATED : bytes,
                                  options, &code, &at, p->compile);
    weir_free(text);
    if (!c) {
        PCRE2_UCHAR why[128];
        if (code == PCRE2_ERROR_HEAP_FAILED) return weir_fail(err, WEIR_ENOMEM, "no memory for a pattern");
        pcre2_get_error_message(code, why, sizeof why);
        return weir_fail(err, WEIR_ENOTSUP, "pattern: %s (at byte %zu)", (const char *)why, (size_t)at);
    }
    pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* without a JIT, matching interprets */
    p->step[p->n].code = c;
    p->step[p->n++].how = how;
    return WEIR_OK;
}

/* ---- words --------------------------------------------------------------------------------------------- */

void weir__words_free(weir__words *w) {
    weir_free(w->list);
    memset(w, 0, sizeof *w);
}

static weir_status add_word(weir__words *w, uint32_t begin, uint32_t end, weir_err *err) {
    if (w->n == w->cap) {
        const size_t cap = w->cap * 2 + 64;
        weir__word *more = weir_alloc(cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu words", cap);
        if (w->n) memcpy(more, w->list, w->n * sizeof *more);
        weir_free(w->list);
        w->list = more;
        w->cap = cap;
    }
    w->list[w->n++] = (weir__word){begin, end};
    return WEIR_OK;
}

/* Matches and what is between them, in order, on their way to words. */
typedef struct cutter {
    weir__words *out;
    weir__split how;
    size_t first;     /* of this text's words in out */
    bool after_match; /* the part before was a match */
    bool held;        /* WITH_NEXT: a match waits for what follows it */
    weir__word wait;
} cutter;

static weir_status cut(cutter *c, uint32_t begin, uint32_t end, bool match, weir_err *err) {
    const bool before = c->after_match, any = c->out->n > c->first;
    if (begin == end) return WEIR_OK;
    c->after_match = match;
    switch (c->how) {
    case WEIR__SPLIT_REMOVED: return match ? WEIR_OK : add_word(c->out, begin, end, err);
    case WEIR__SPLIT_KEPT: return match ? add_word(c->out, begin, end, err) : WEIR_OK;
    case WEIR__SPLIT_WITH_PREVIOUS:
        if (!match || before || !any) return add_word(c->out, begin, end, err);
        break;
    case WEIR__SPLIT_CONTIGUOUS:
        if (match != before || !any) return add_word(c->out, begin, end, err);
        break;
    case WEIR__SPLIT_WITH_NEXT:
        if (c->held && match) WEIR_TRY(add_word(c->out, c->wait.begin, c->wait.end, err));
        if (!match) WEIR_TRY(add_word(c->out, c->held ? c->wait.begin : begin, end, err));
        c->held = match;
        c->wait = (weir__word){begin, end};
        return WEIR_OK;
    default: return add_word(c->out, begin, end, err);
    }
    c->out->list[c->out->n - 1].end = end;
    return WEIR_OK;
}

typedef struct matcher {
    const weir__pretok *p;
    pcre2_match_data *data;
    const char *text; /* what patterns see */
} matcher;

/* The next match in [from, w.end) that is not empty; *begin = *end = w.end: no more. */
static weir_status next_match(const matcher *m, int step, weir__word w, uint32_t from, uint32_t *begin,
                              uint32_t *end, weir_err *err) {
    const pcre2_code *code = m->p->step[step].code;
    PCRE2_SPTR s = (PCRE2_SPTR)m->text + w.begin;
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    *begin = *end = w.end;
    if (from >= w.end) return WEIR_OK;
    int rc = pcre2_match(code, s, w.end - w.begin, from - w.begin, options, m->data, m->p->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, s, w.end - w.begin, from - w.begin, options | PCRE2_NO_JIT, m->data,
                         m->p->limits);
    if (rc == PCRE2_ERROR_NOMATCH) return WEIR_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return weir_fail(err, WEIR_ENOMEM, "no memory to match a pattern");
    if (rc < 0) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(rc, why, sizeof why);
        return weir_fail(err, WEIR_EINVAL, "text: step %d of its pre-tokenizer gives up: %s", step,
                         (const char *)why);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
    *begin = w.begin + (uint32_t)at[0];
    *end = at[1] < w.end - w.begin ? w.begin + (uint32_t)at[1] : w.end;
    return WEIR_OK;
}

static weir_status cut_word(const matcher *m, int step, weir__word w, weir__words *out, weir_err *err) {
    cutter c = {.out = out, .how = m->p->step[step].how, .first = out->n};
    for (uint32_t from = w.begin, begin, end; from < w.end; from = end) {
        WEIR_TRY(next_match(m, step, w, from, &begin, &end, err));
        WEIR_TRY(cut(&c, from, begin, false, err));
        WEIR_TRY(cut(&c, begin, end, true, err));
    }
    return c.held ? add_word(out, c.wait.begin, c.wait.end, err) : WEIR_OK;
}

static weir_status run_steps(const matcher *m, weir__words *words, weir__words *next, weir_err *err) {
    for (int i = 0; i < m->p->n; i++) {
        next->n = 0;
        for (size_t k = 0; k < words->n; k++) WEIR_TRY(cut_word(m, i, words->list[k], next, err));
        const weir__words t = *words;
        *words = *next;
        *next = t;
    }
    return WEIR_OK;
}

/* A copy that is UTF-8, which PCRE2 takes on trust, byte for byte as long. Surrogates are U+FDD0: also three
 * bytes; each byte of anything else that is not UTF-8 is U+007F. Both are no letter, number or space. */
static char *as_utf8(const char *text, size_t n) {
    char *t = weir_alloc(n, 1);
    if (!t) return NULL;
    for (size_t i = 0, k; i < n; i += k) {
        bool broken = false;
        uint32_t cp;
        k = weir__utf8_step(text + i, n - i, &cp, &broken);
        if (!broken)
            memcpy(t + i, text + i, k);
        else if (k == 3 && cp >= 0xd800 && cp <= 0xdfff)
            memcpy(t + i, "\xef\xb7\x90", 3);
        else
            memset(t + i, 0x7f, k);
    }
    return t;
}

weir_status weir__pretok_split(const weir__pretok *p, const char *text, size_t bytes, weir__words *words,
                               weir_err *err) {
    words->n = 0;
    if (bytes == 0) return WEIR_OK;
    if (bytes > INT32_MAX)
        return weir_fail(err, WEIR_EINVAL, "text of %zu bytes, expected at most %d", bytes, INT32_MAX);
    WEIR_TRY(add_word(words, 0, (uint32_t)bytes, err));
    if (p->n == 0) return WEIR_OK;
    char *clean = NULL;
    matcher m = {.p = p, .text = text};
    if (!weir__utf8_is_valid(text, bytes)) {
        clean = as_utf8(text, bytes);
        if (!clean) return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", bytes);
        m.text = clean;
    }
    weir__words next = {0};
    m.data = pcre2_match_data_create(1, p->memory);
    const weir_status s = m.data ? run_steps(&m, words, &next, err)
                                 : weir_fail(err, WEIR_ENOMEM, "no memory to match a pattern");
    if (m.data) pcre2_match_data_free(m.data);
    weir__words_free(&next);
    weir_free(clean);
    return s;
}
