#include "host/tokenizers/added.h"

#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/utf8.h"
#include "kernels/base/mem.h"

void weir__added_free(weir__added *a) {
    weir__vocab_free(&a->texts);
    weir_free(a->ids);
    weir_free(a->lengths);
    memset(a, 0, sizeof *a);
}

weir_status weir__added_put(weir__added *a, const char *text, size_t bytes, int32_t id, unsigned flags, weir_err *err) {
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

/* ---- the characters around a token ----------------------------------------------------------------------------------- */

static bool is_space(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == 0x85 || (utf8proc_category((utf8proc_int32_t)cp) >= UTF8PROC_CATEGORY_ZS &&
                                                   utf8proc_category((utf8proc_int32_t)cp) <= UTF8PROC_CATEGORY_ZP);
}

/* \w of Rust's regular expressions: letters, marks, decimal numbers, connectors. */
static bool is_word(uint32_t cp) {
    const utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_ND) || c == UTF8PROC_CATEGORY_PC;
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

/* ---- find ------------------------------------------------------------------------------------------------------------ */

static bool may_begin(const weir__added *a, const uint8_t *p, size_t n) {
    if (!a->first[p[0]]) return false;
    return a->single[p[0]] || (n > 1 && (a->second[p[0] * 4 + p[1] / 64] >> p[1] % 64 & 1));
}

/* The longest token at `at`, -1 if there is none. */
static int32_t longest_at(const weir__added *a, const char *text, size_t n, size_t at, bool special) {
    size_t len = n - at < a->texts.longest ? n - at : a->texts.longest;
    for (; len > 0; len--) {
        if (!a->lengths[len]) continue;
        const int32_t i = weir__vocab_find(&a->texts, text + at, len);
        if (i < 0 || (!special && (a->texts.kind[i] & WEIR__ADDED_SPECIAL))) continue;
        if (!(a->texts.kind[i] & WEIR__ADDED_WORD) || stands_alone(text, n, at, at + len)) return i;
    }
    return -1;
}

bool weir__added_find(const weir__added *a, const char *text, size_t n, size_t from, bool special, size_t *begin,
                      size_t *end, int32_t *id) {
    uint32_t cp;
    if (a->texts.n == 0) return false;
    for (size_t at = from; at < n; at++) {
        if (!may_begin(a, (const uint8_t *)text + at, n - at)) continue;
        const int32_t i = longest_at(a, text, n, at, special);
        if (i < 0) continue;
        *id = a->ids[i];
        *begin = at;
        *end = at + weir__vocab_bytes(&a->texts, i);
        if (a->texts.kind[i] & WEIR__ADDED_LSTRIP)
            for (size_t k; *begin > from && (k = step_back(text, *begin, &cp)) <= *begin - from && is_space(cp);)
                *begin -= k;
        if (a->texts.kind[i] & WEIR__ADDED_RSTRIP)
            for (size_t k; *end < n && (k = step_at(text + *end, n - *end, &cp)) > 0 && is_space(cp);) *end += k;
        return true;
    }
    return false;
}
