#include "host/jinja/values/text.h"

#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/text/utf8.h"

/* ---- code points ------------------------------------------------------------------------------------ */

size_t weir__text_step(const weir__text *t, size_t at, uint32_t *cp) {
    bool broken = false;
    const unsigned char c = (unsigned char)t->p[at];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    return weir__utf8_step(t->p + at, t->n - at, cp, &broken);
}

size_t weir__text_back(const weir__text *t, size_t at, uint32_t *cp) { return weir__utf8_back(t->p, at, cp); }

size_t weir__text_length(weir__text *t) {
    if (t->n_char != SIZE_MAX) return t->n_char;
    size_t n = 0;
    uint32_t cp = 0;
    for (size_t at = 0; at < t->n; n++) at += weir__text_step(t, at, &cp);
    t->n_char = n;
    return n;
}

size_t weir__text_offset(weir__text *t, size_t at) {
    uint32_t cp = 0;
    size_t byte = 0;
    if (weir__text_length(t) == t->n) return at;
    for (size_t i = 0; i < at && byte < t->n; i++) byte += weir__text_step(t, byte, &cp);
    return byte;
}

/* ---- classes ---------------------------------------------------------------------------------------- */

static utf8proc_category_t category(uint32_t cp) { return utf8proc_category((utf8proc_int32_t)cp); }

bool weir__is_space(uint32_t cp) {
    if (cp < 0x80) return cp == ' ' || (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1f);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool weir__is_line_end(uint32_t cp) {
    return (cp >= 0x0a && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

bool weir__is_alpha(uint32_t cp) {
    const utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool weir__is_digit(uint32_t cp) { return category(cp) == UTF8PROC_CATEGORY_ND; }

bool weir__is_alnum(uint32_t cp) {
    const utf8proc_category_t c = category(cp);
    return weir__is_alpha(cp) || (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
}

bool weir__is_word(uint32_t cp) { return cp == '_' || weir__is_alnum(cp); }

bool weir__is_printable(uint32_t cp) {
    const utf8proc_category_t c = category(cp);
    if (cp == ' ') return true;
    return !(c == UTF8PROC_CATEGORY_CN || (c >= UTF8PROC_CATEGORY_ZS && c <= UTF8PROC_CATEGORY_CO));
}

int weir__case_of(uint32_t cp) {
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return 1;
    case UTF8PROC_CATEGORY_LL: return -1;
    default: return 0;
    }
}

/* ---- search ----------------------------------------------------------------------------------------- */

size_t weir__text_find(const weir__text *t, size_t from, size_t upto, const weir__text *needle, bool last) {
    if (from > upto || needle->n > upto - from) return SIZE_MAX;
    if (needle->n == 0) return last ? upto : from;
    if (!last) {
        const char *p = memmem(t->p + from, upto - from, needle->p, needle->n);
        return p ? (size_t)(p - t->p) : SIZE_MAX;
    }
    for (size_t at = upto - needle->n + 1; at-- > from;)
        if (t->p[at] == needle->p[0] && memcmp(t->p + at, needle->p, needle->n) == 0) return at;
    return SIZE_MAX;
}

static bool in_chars(const weir__text *chars, const char *c, size_t n, uint32_t cp) {
    uint32_t other = 0;
    if (!chars) return weir__is_space(cp);
    for (size_t at = 0, k; at < chars->n; at += k) {
        k = weir__text_step(chars, at, &other);
        if (k == n && memcmp(chars->p + at, c, n) == 0) return true;
    }
    return false;
}

weir_status weir__text_strip(weir__run *r, const weir__text *t, const weir__text *chars, bool left,
                             bool right, weir__value *out) {
    size_t from = 0, upto = t->n, k = 0;
    uint32_t cp = 0;
    while (left && from < upto && (k = weir__text_step(t, from, &cp)) > 0 &&
           in_chars(chars, t->p + from, k, cp))
        from += k;
    while (right && upto > from && (k = weir__text_back(t, upto, &cp)) > 0 &&
           in_chars(chars, t->p + upto - k, k, cp))
        upto -= k;
    WEIR_TRY(weir__run_charge(r, (from + t->n - upto) * (chars ? 1 + chars->n : 1) / 16));
    return weir__text_part(r, t, from, upto - from, out);
}

/* ---- case ------------------------------------------------------------------------------------------- */

/* Letters whose other case takes more than one letter, of Unicode's SpecialCasing.txt: those without
 * conditions in alphabets in use. */
static const struct {
    uint16_t from, upper[3];
} special_upper[] = {
    {0x00df, {0x53, 0x53}},          {0x0149, {0x2bc, 0x4e}},         {0x01f0, {0x4a, 0x30c}},
    {0x0390, {0x399, 0x308, 0x301}}, {0x03b0, {0x3a5, 0x308, 0x301}}, {0x0587, {0x535, 0x552}},
    {0x1e96, {0x48, 0x331}},         {0x1e97, {0x54, 0x308}},         {0x1e98, {0x57, 0x30a}},
    {0x1e99, {0x59, 0x30a}},         {0x1e9a, {0x41, 0x2be}},         {0xfb00, {0x46, 0x46}},
    {0xfb01, {0x46, 0x49}},          {0xfb02, {0x46, 0x4c}},          {0xfb03, {0x46, 0x46, 0x49}},
    {0xfb04, {0x46, 0x46, 0x4c}},    {0xfb05, {0x53, 0x54}},          {0xfb06, {0x53, 0x54}}};

/* title: only the first letter of several is a capital. */
static size_t upper_of(uint32_t cp, bool title, uint32_t out[3]) {
    for (size_t i = 0; cp >= 0xdf && i < sizeof special_upper / sizeof *special_upper; i++) {
        if (special_upper[i].from != cp) continue;
        size_t n = 0;
        for (; n < 3 && special_upper[i].upper[n]; n++) {
            const utf8proc_int32_t c = special_upper[i].upper[n];
            out[n] = (uint32_t)(title && n > 0 && weir__case_of(out[0]) != 0 ? utf8proc_tolower(c) : c);
        }
        return n;
    }
    out[0] =
        (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)cp) : utf8proc_toupper((utf8proc_int32_t)cp));
    return 1;
}

/* Whether a sigma at byte `at` ends a word: a letter before it, none after, marks looked through. */
static bool is_final(const weir__text *t, size_t at, size_t bytes) {
    uint32_t cp = 0;
    bool before = false;
    for (size_t k; at > 0 && !before; at -= k) {
        k = weir__text_back(t, at, &cp);
        before = weir__is_alpha(cp);
        if (!before && category(cp) != UTF8PROC_CATEGORY_MN && cp != '\'') break;
    }
    while (before && bytes < t->n) {
        bytes += weir__text_step(t, bytes, &cp);
        if (weir__is_alpha(cp)) return false;
        if (category(cp) != UTF8PROC_CATEGORY_MN && cp != '\'') break;
    }
    return before;
}

static size_t lower_of(const weir__text *t, size_t at, size_t k, uint32_t cp, uint32_t out[3]) {
    if (cp == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] =
        cp == 0x3a3 && is_final(t, at, at + k) ? 0x3c2 : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    return 1;
}

weir_status weir__put_cased(weir__run *r, weir__buf *b, const weir__text *t, size_t at, size_t n,
                            weir__casing how) {
    uint32_t cp = 0, to[3];
    char bytes[16];
    size_t n_byte = 0;
    weir__text_step(t, at, &cp);
    if (cp < 0x80) {
        const uint32_t base = how == WEIR__LOWER ? 'A' : 'a';
        bytes[n_byte++] = (char)(cp >= base && cp < base + 26 ? cp ^ 0x20 : cp);
    } else if (n == 1) { /* a byte of no character */
        bytes[n_byte++] = t->p[at];
    } else {
        const size_t m =
            how == WEIR__LOWER ? lower_of(t, at, n, cp, to) : upper_of(cp, how == WEIR__TITLE, to);
        for (size_t i = 0; i < m; i++) n_byte += weir__utf8_put(bytes + n_byte, to[i]);
    }
    return weir__buf_put(r, b, bytes, n_byte, weir__writer(t, at));
}

weir_status weir__text_recase(weir__run *r, const weir__text *t, weir__casing how, weir__value *out) {
    weir__buf b = {0};
    uint32_t cp = 0;
    bool inside = false; /* a word began */
    for (size_t at = 0, k; at < t->n; at += k) {
        k = weir__text_step(t, at, &cp);
        const bool first = (how == WEIR__CAPITALIZE && at == 0) || (how == WEIR__TITLE && !inside);
        const bool upper = how == WEIR__UPPER || (how == WEIR__SWAP && weir__case_of(cp) < 0);
        inside = weir__case_of(cp) != 0;
        WEIR_TRY(weir__put_cased(r, &b, t, at, k, first ? WEIR__TITLE : upper ? WEIR__UPPER : WEIR__LOWER));
    }
    WEIR_TRY(weir__run_charge(r, t->n / 8));
    WEIR_TRY(weir__buf_value(r, &b, out));
    out->as.s->markup = t->markup;
    return WEIR_OK;
}

/* ---- parts ------------------------------------------------------------------------------------------ */

weir_status weir__text_replace(weir__run *r, const weir__text *t, const weir__text *old,
                               const weir__text *with, int64_t count, weir__value *out) {
    weir__buf b = {0};
    size_t at = 0;
    uint32_t cp = 0;
    WEIR_TRY(weir__run_charge(r, t->n / 16));
    for (int64_t i = 0; i != count; i++) {
        const size_t found = weir__text_find(t, at, t->n, old, false);
        if (found == SIZE_MAX) break;
        WEIR_TRY(weir__run_charge(r, 1));
        WEIR_TRY(weir__buf_put_text(r, &b, t, at, found - at));
        WEIR_TRY(weir__buf_put_text(r, &b, with, 0, with->n));
        at = found + old->n;
        if (old->n > 0) continue;
        if (at == t->n) break;
        const size_t k = weir__text_step(t, at, &cp); /* between any two characters */
        WEIR_TRY(weir__buf_put_text(r, &b, t, at, k));
        at += k;
    }
    WEIR_TRY(weir__buf_put_text(r, &b, t, at, t->n - at));
    return weir__buf_value(r, &b, out);
}

typedef struct parts {
    weir__value *at;
    size_t n, cap;
} parts;

static weir_status add_part(weir__run *r, parts *p, const weir__text *t, size_t from, size_t upto) {
    WEIR_TRY(weir__run_charge(r, 1));
    if (p->n == p->cap) {
        const size_t cap = p->cap ? p->cap * 2 : 8;
        weir__value *at = weir__arena_alloc(&r->arena, cap, sizeof *at);
        if (!at) return weir__run_no_memory(r);
        if (p->n > 0) memcpy(at, p->at, p->n * sizeof *at);
        p->at = at;
        p->cap = cap;
    }
    return weir__text_part(r, t, from, upto - from, &p->at[p->n++]);
}

static weir_status take_parts(weir__run *r, const parts *p, bool reverse, weir__value *out) {
    WEIR_TRY(weir__value_list(r, WEIR__LIST, p->n, out));
    for (size_t i = 0; i < p->n; i++) out->as.seq->at[i] = p->at[reverse ? p->n - 1 - i : i];
    return WEIR_OK;
}

/* At white space, runs of it as one, from the left. */
static weir_status split_words(weir__run *r, const weir__text *t, int64_t most, parts *p) {
    size_t at = 0, k = 0;
    uint32_t cp = 0;
    for (;;) {
        while (at < t->n && (k = weir__text_step(t, at, &cp)) > 0 && weir__is_space(cp)) at += k;
        if (at == t->n) return WEIR_OK;
        if (most >= 0 && p->n >= (size_t)most) return add_part(r, p, t, at, t->n);
        const size_t from = at;
        while (at < t->n && (k = weir__text_step(t, at, &cp)) > 0 && !weir__is_space(cp)) at += k;
        WEIR_TRY(add_part(r, p, t, from, at));
    }
}

static weir_status rsplit_words(weir__run *r, const weir__text *t, int64_t most, parts *p) {
    size_t at = t->n, k = 0;
    uint32_t cp = 0;
    for (;;) {
        while (at > 0 && (k = weir__text_back(t, at, &cp)) > 0 && weir__is_space(cp)) at -= k;
        if (at == 0) return WEIR_OK;
        if (most >= 0 && p->n >= (size_t)most) return add_part(r, p, t, 0, at);
        const size_t upto = at;
        while (at > 0 && (k = weir__text_back(t, at, &cp)) > 0 && !weir__is_space(cp)) at -= k;
        WEIR_TRY(add_part(r, p, t, at, upto));
    }
}

static weir_status split_at(weir__run *r, const weir__text *t, const weir__text *by, int64_t most, bool right,
                            parts *p) {
    size_t from = 0, upto = t->n;
    for (int64_t i = 0; i != most; i++) {
        const size_t found = weir__text_find(t, from, upto, by, right);
        if (found == SIZE_MAX) break;
        WEIR_TRY(right ? add_part(r, p, t, found + by->n, upto) : add_part(r, p, t, from, found));
        if (right)
            upto = found;
        else
            from = found + by->n;
    }
    return add_part(r, p, t, from, upto);
}

weir_status weir__text_split(weir__run *r, weir__text *t, const weir__text *by, int64_t most, bool from_right,
                             weir__value *out) {
    parts p = {0};
    WEIR_TRY(weir__run_charge(r, t->n / 16));
    if (by && by->n == 0) return weir__run_raise(r, WEIR_EINVAL, "empty separator");
    if (by)
        WEIR_TRY(split_at(r, t, by, most, from_right, &p));
    else
        WEIR_TRY(from_right ? rsplit_words(r, t, most, &p) : split_words(r, t, most, &p));
    return take_parts(r, &p, from_right, out);
}

weir_status weir__text_splitlines(weir__run *r, const weir__text *t, bool keep, weir__value *out) {
    parts p = {0};
    size_t from = 0;
    uint32_t cp = 0;
    WEIR_TRY(weir__run_charge(r, t->n / 16));
    for (size_t at = 0; at < t->n;) {
        size_t end = at + weir__text_step(t, at, &cp);
        if (!weir__is_line_end(cp)) {
            at = end;
            continue;
        }
        if (cp == '\r' && end < t->n && t->p[end] == '\n') end++;
        WEIR_TRY(add_part(r, &p, t, from, keep ? end : at));
        from = at = end;
    }
    if (from < t->n) WEIR_TRY(add_part(r, &p, t, from, t->n));
    return take_parts(r, &p, false, out);
}
