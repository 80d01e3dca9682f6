#include "host/tokenizers/steps/characters.h"

#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/text/utf8.h"
#include "kernels/base/mem.h"

static void put_point(uint32_t cp, weir__out *out) {
    char c[4];
    weir__out_put(out, c, weir__utf8_put(c, cp));
}

/* ---- normal forms -------------------------------------------------------------------------------------- */

static bool is_mark(utf8proc_category_t c) { return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME; }

/* Marks, and the vowels and final consonants of Hangul. */
bool weir__joins_previous(const char *s, size_t n) {
    uint32_t cp;
    bool broken;
    if ((uint8_t)*s < 0xcc) return false; /* nothing below U+0300 does */
    weir__utf8_step(s, n, &cp, &broken);
    return is_mark(utf8proc_category((utf8proc_int32_t)cp)) || (cp >= 0x1160 && cp <= 0x11ff);
}

/* Bytes below which a form changes nothing: all of ASCII, and for NFC all below U+0300. */
static bool is_normal(weir__step_kind kind, const char *s, size_t n) {
    const uint8_t limit = kind == WEIR__STEP_NFC ? 0xcc : 0x80;
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)s[i] >= limit) return false;
    return true;
}

static int class_of(utf8proc_int32_t cp) { return utf8proc_get_property(cp)->combining_class; }

/* A run of marks by their classes, each class in its order. The library's own sort takes quadratic time. */
static void sort_marks(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *room) {
    size_t at[257] = {0};
    for (size_t i = 0; i < n; i++) at[class_of(run[i]) + 1]++;
    for (int c = 1; c <= 256; c++) at[c] += at[c - 1];
    for (size_t i = 0; i < n; i++) room[at[class_of(run[i])]++] = run[i];
    memcpy(run, room, n * sizeof *run);
}

static void sort_all_marks(utf8proc_int32_t *points, size_t n, utf8proc_int32_t *room) {
    for (size_t i = 0, end; i < n; i = end) {
        bool sorted = true;
        end = i + 1;
        if (class_of(points[i]) == 0) continue;
        for (; end < n && class_of(points[end]) != 0; end++)
            sorted &= class_of(points[end - 1]) <= class_of(points[end]);
        if (!sorted) sort_marks(points + i, end - i, room);
    }
}

/* Code points of the decomposed text, at most 18 for one (U+FDFA). Returns how many; NULL to count them. */
static size_t decompose(const char *s, size_t n, utf8proc_option_t how, utf8proc_int32_t *out) {
    utf8proc_int32_t one[32];
    size_t count = 0;
    int bounds = 0;
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t cp;
        bool broken;
        k = weir__utf8_step(s + i, n - i, &cp, &broken);
        const utf8proc_ssize_t m = utf8proc_decompose_char((utf8proc_int32_t)cp, one, 32, how, &bounds);
        const size_t len = m > 0 && m <= 32 ? (size_t)m : 0;
        if (out && len) memcpy(out + count, one, len * sizeof *one);
        count += len;
    }
    return count;
}

static weir_status normal_form(weir__step_kind kind, const char *s, size_t n, weir__out *out, weir_err *err) {
    const bool composes = kind == WEIR__STEP_NFC || kind == WEIR__STEP_NFKC;
    const bool compat = kind == WEIR__STEP_NFKC || kind == WEIR__STEP_NFKD;
    if (is_normal(kind, s, n) || !weir__utf8_is_valid(s, n)) {
        weir__out_put(out, s, n);
        return WEIR_OK;
    }
    const utf8proc_option_t how =
        UTF8PROC_STABLE | (composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compat ? UTF8PROC_COMPAT : 0);
    size_t count = decompose(s, n, how, NULL);
    utf8proc_int32_t *points = weir_alloc(2 * count, sizeof *points);
    if (!points) return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", n);
    decompose(s, n, how, points);
    sort_all_marks(points, count, points + count);
    if (composes) count = (size_t)utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, how);
    for (size_t i = 0; i < count && !out->failed; i++) put_point((uint32_t)points[i], out);
    weir_free(points);
    return WEIR_OK;
}

/* ---- character by character ---------------------------------------------------------------------------- */

/* As Rust's to_lowercase, whose one character of two is U+0130. */
static void lowercase(uint32_t cp, weir__out *out) {
    put_point(cp == 0x130 ? 'i' : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp), out);
    if (cp == 0x130) put_point(0x307, out);
}

/* The rules that SentencePiece has for machine translation, as tokenizers has them. */
static void nmt(uint32_t cp, weir__out *out) {
    const bool vanishes = (cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) || cp == 0x7f ||
                          cp == 0x8f || cp == 0x9f;
    const bool space = cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 ||
                       (cp >= 0x200b && cp <= 0x200f) || cp == 0x2028 || cp == 0x2029 || cp == 0x2581 ||
                       cp == 0xfeff || cp == 0xfffd;
    if (!vanishes) put_point(space ? ' ' : cp, out);
}

static void strip_accent(uint32_t cp, weir__out *out) {
    if (!is_mark(utf8proc_category((utf8proc_int32_t)cp))) put_point(cp, out);
}

weir_status weir__characters_apply(weir__step_kind kind, const char *text, size_t n, weir__out *out,
                                   weir_err *err) {
    void (*one)(uint32_t, weir__out *) = kind == WEIR__STEP_LOWERCASE       ? lowercase
                                         : kind == WEIR__STEP_STRIP_ACCENTS ? strip_accent
                                         : kind == WEIR__STEP_NMT           ? nmt
                                                                            : put_point;
    if (kind >= WEIR__STEP_NFC && kind <= WEIR__STEP_NFKD) return normal_form(kind, text, n, out, err);
    if (kind == WEIR__STEP_REPAIR && weir__utf8_is_valid(text, n)) {
        weir__out_put(out, text, n);
        return WEIR_OK;
    }
    for (size_t i = 0, k; i < n && !out->failed; i += k) {
        uint32_t cp;
        bool broken;
        k = weir__utf8_step(text + i, n - i, &cp, &broken);
        one(cp, out);
    }
    return WEIR_OK;
}
