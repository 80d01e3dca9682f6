#include "host/tokenizers/vocab/added.h"

#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/text/utf8.h"
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

static bool is_space(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == 0x85 ||
           (utf8proc_category((utf8proc_int32_t)cp) >= UTF8PROC_CATEGORY_ZS &&
            utf8proc_category((utf8proc_int32_t)cp) <= UTF8PROC_CATEGORY_ZP);
}

/* \w of Rust's regular expressions: Alphabetic, marks, decimal numbers, connectors, joiners. Of Alphabetic
 * utf8proc knows the letters and letter numbers; the rest that are no marks are letters in circles and
 * squares. */
static bool is_word(uint32_t cp) {
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
           (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) ||
           (cp >= 0x1f170 && cp <= 0x1f189);
}

static size_t step_at(const char *s, size_t n, uint32_t *cp) {
    bool broken;
    return weir__utf8_step(s, n, cp, &broken);
}

/* Bytes of the last character of s, n > 0; 1 and U+FFFD for a byte that ends none. */
static size_t step_back(const char *s, size_t n, uint32_t *cp) {
    *cp = (uint8_t)s[n - 1];
    if (*cp < 0x80) return 1;
    for (size_t k = 2; k <= 4 && k <= n; k++) {
        if (((uint8_t)s[n - k] & 0xc0) == 0x80) continue;
        if (step_at(s + n - k, k, cp) == k) return k;
        break;
    }
    *cp = 0xfffd;
    return 1;
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end) {
    uint32_t cp;
    if (begin > 0 && step_back(text, begin, &cp) > 0 && is_word(cp)) return false;
    return end == n || step_at(text + end, n - end, &cp) == 0 || !is_word(cp);
}

size_t weir__spaces_at_end(const char *s, size_t n) {
    size_t end = n;
    uint32_t cp;
    for (size_t k; end > 0; end -= k) {
        k = step_back(s, end, &cp);
        if (!is_space(cp)) break;
    }
    return n - end;
}

size_t weir__spaces_at_start(const char *s, size_t n) {
    size_t at = 0;
    uint32_t cp;
    for (size_t k; at < n; at += k) {
        k = step_at(s + at, n - at, &cp);
        if (!is_space(cp)) break;
    }
    return at;
}

/* ---- where control tokens may be found ----------------------------------------------------------------- */

/* The first range that ends after `at`. */
static size_t range_after(const weir__ranges *r, size_t at) {
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (r->list[mid].end > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

bool weir__ranges_hold(const weir__ranges *r, size_t begin, size_t end) {
    const size_t i = range_after(r, begin);
    return i < r->n && r->list[i].begin <= begin && end <= r->list[i].end;
}

weir_status weir__ranges_clip(const weir__ranges *all, size_t from, size_t to, weir__ranges *out,
                              weir_err *err) {
    const size_t first = range_after(all, from);
    size_t last = first;
    while (last < all->n && all->list[last].begin < to) last++;
    *out = (weir__ranges){weir_alloc(last - first, sizeof *out->list), last - first};
    if (!out->list) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu parts of a text", last - first);
    for (size_t i = first; i < last; i++) {
        const weir__range r = all->list[i];
        out->list[i - first] =
            (weir__range){r.begin > from ? r.begin - from : 0, (r.end < to ? r.end : to) - from};
    }
    return WEIR_OK;
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

/* The longest token at `at`, -1 if there is none. *take: it counts here. */
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
        s->begin = at > from ? at - weir__spaces_at_end(text + from, at - from) : from;
    if (!(a->texts.kind[i] & WEIR__ADDED_RSTRIP)) return;
    if (s->end > s->spaces_end) s->spaces_end = s->end + weir__spaces_at_start(text + s->end, n - s->end);
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
            s->taken = s->end; /* white space that another one took: it is none, as in tokenizers */
        }
        at += weir__vocab_bytes(&a->texts, i) - 1;
    }
    s->search = n;
    return false;
}
