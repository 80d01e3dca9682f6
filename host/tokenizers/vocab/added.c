#include "host/tokenizers/vocab/added.h"

#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/text/white.h"
#include "kernels/base/mem.h"

void weir__added_free(weir__added *a) {
    weir__vocab_free(&a->texts);
    weir_free(a->ids);
    weir_free(a->lengths);
    memset(a, 0, sizeof *a);
}

weir_status weir__added_put(weir__added *a, const char *text, size_t bytes, int32_t id, unsigned flags,
                            weir_err *err) {
    if (bytes == 0) return WEIR_OK; /* would be found everywhere */
    WEIR_TRY(weir__vocab_add(&a->texts, text, bytes, (weir__token_kind)flags, 0, err));
    if (a->cap < a->texts.cap) {
        int32_t *more = weir_alloc((size_t)a->texts.cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %d added tokens", a->texts.cap);
        if (a->cap) memcpy(more, a->ids, (size_t)a->cap * sizeof *more);
        weir_free(a->ids);
        a->ids = more;
        a->cap = a->texts.cap;
    }
    a->ids[a->texts.n - 1] = id;
    a->has_special |= (flags & WEIR__ADDED_SPECIAL) != 0;
    const uint8_t *p = (const uint8_t *)text;
    a->first[p[0]] = true;
    if (bytes == 1)
        a->single[p[0]] = true;
    else
        a->second[p[0] * 4 + p[1] / 64] |= (uint64_t)1 << p[1] % 64;
    return WEIR_OK;
}

weir_status weir__added_finish(weir__added *a, weir_err *err) {
    weir_free(a->lengths);
    a->lengths = weir_calloc(a->texts.longest + 1, 1);
    if (!a->lengths) return weir_fail(err, WEIR_ENOMEM, "no memory for added tokens");
    for (int32_t i = 0; i < a->texts.n; i++) a->lengths[weir__vocab_bytes(&a->texts, i)] = 1;
    return WEIR_OK;
}

/* ---- the characters around a token --------------------------------------------------------------------- */

/* \w of Rust's regular expressions: Alphabetic, marks, decimal numbers, connectors, joiners. Of Alphabetic
 * utf8proc knows the letters and letter numbers. The others that are not marks are letters in circles and
 * squares. */
static bool is_word(uint32_t cp) {
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
           (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) ||
           (cp >= 0x1f170 && cp <= 0x1f189);
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end) {
    uint32_t cp;
    bool broken;
    if (begin > 0 && weir__utf8_back(text, begin, &cp) > 0 && is_word(cp)) return false;
    return end == n || weir__utf8_step(text + end, n - end, &cp, &broken) == 0 || !is_word(cp);
}

/* ---- find ---------------------------------------------------------------------------------------------- */

static bool may_begin(const weir__added *a, const uint8_t *p, size_t n) {
    if (!a->first[p[0]]) return false;
    return a->single[p[0]] || (n > 1 && (a->second[p[0] * 4 + p[1] / 64] >> p[1] % 64 & 1));
}

static bool may_take(const weir__added *a, int32_t i, const char *text, size_t n, size_t at,
                     const weir__ranges *special) {
    const size_t end = at + weir__vocab_bytes(&a->texts, i);
    const unsigned flags = a->texts.kind[i];
    if ((flags & WEIR__ADDED_SPECIAL) && !weir__ranges_hold(special, at, end)) return false;
    return !(flags & WEIR__ADDED_WORD) || stands_alone(text, n, at, end);
}

/* The longest token at `at`, or -1. *take: it may be used here. */
static int32_t longest_at(const weir__added *a, const char *text, size_t n, size_t at,
                          const weir__ranges *special, bool *take) {
    size_t len = n - at < a->texts.longest ? n - at : a->texts.longest;
    for (; len > 0; len--) {
        const int32_t i = a->lengths[len] ? weir__vocab_find(&a->texts, text + at, len) : -1;
        if (i < 0) continue;
        *take = may_take(a, i, text, n, at, special);
        if (*take || a->consumes) return i;
    }
    return -1;
}

static void take(const weir__added *a, int32_t i, const char *text, size_t n, size_t from, size_t at,
                 weir__scan *s) {
    s->id = a->ids[i];
    s->begin = at;
    s->search = s->end = at + weir__vocab_bytes(&a->texts, i);
    if (a->texts.kind[i] & WEIR__ADDED_LSTRIP)
        s->begin = at > from ? at - weir__white_at_end(text + from, at - from) : from;
    if (!(a->texts.kind[i] & WEIR__ADDED_RSTRIP)) return;
    if (s->end > s->spaces_end) s->spaces_end = s->end + weir__white_at_start(text + s->end, n - s->end);
    s->end = s->spaces_end; /* inside the white space that an earlier token went through, its end is known */
}

bool weir__added_next(const weir__added *a, const char *text, size_t n, const weir__ranges *special,
                      weir__scan *s) {
    bool counts;
    s->taken = s->end;
    if (a->texts.n == 0) return false;
    for (size_t at = s->search; at < n; at++) {
        if (!may_begin(a, (const uint8_t *)text + at, n - at)) continue;
        const int32_t i = longest_at(a, text, n, at, special, &counts);
        if (i < 0) continue;
        if (counts) {
            take(a, i, text, n, s->taken, at, s);
            if (s->begin < s->end) return true;
            s->taken = s->end; /* its white space was taken by another: not a token, as in tokenizers */
        }
        at += weir__vocab_bytes(&a->texts, i) - 1;
    }
    s->search = n;
    return false;
}
