#include "host/tokenizers/text/white.h"

#include <utf8proc.h>

#include "host/tokenizers/text/utf8.h"

/* ---- Python's ------------------------------------------------------------------------------------------ */

/* Bytes of the white space character at the start of s, 0 if there is none. */
static size_t space_at(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    if (n >= 1 && ((p[0] >= 0x09 && p[0] <= 0x0d) || (p[0] >= 0x1c && p[0] <= 0x20))) return 1;
    if (n >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0)) return 2; /* U+0085, U+00A0 */
    if (n < 3) return 0;
    if (p[0] == 0xe1 && p[1] == 0x9a && p[2] == 0x80) return 3; /* U+1680 */
    if (p[0] == 0xe2 && p[1] == 0x80 &&                         /* U+2000…200A, 2028, 2029, 202F */
        ((p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf))
        return 3;
    if (p[0] == 0xe2 && p[1] == 0x81 && p[2] == 0x9f) return 3;  /* U+205F */
    return p[0] == 0xe3 && p[1] == 0x80 && p[2] == 0x80 ? 3 : 0; /* U+3000 */
}

void weir__white_strip_left(const char **s, size_t *n) {
    size_t k;
    while ((k = space_at(*s, *n)) > 0) {
        *s += k;
        *n -= k;
    }
}

/* No other character ends in the bytes of a space, so it is enough to try the three lengths. */
void weir__white_strip_right(const char *s, size_t *n) {
    for (;;) {
        size_t k = 1;
        while (k <= 3 && !(k <= *n && space_at(s + *n - k, k) == k)) k++;
        if (k > 3) return;
        *n -= k;
    }
}

/* ---- Unicode's ----------------------------------------------------------------------------------------- */

static bool is_white_space(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == 0x85 ||
           (utf8proc_category((utf8proc_int32_t)cp) >= UTF8PROC_CATEGORY_ZS &&
            utf8proc_category((utf8proc_int32_t)cp) <= UTF8PROC_CATEGORY_ZP);
}

size_t weir__white_at_end(const char *s, size_t n) {
    size_t end = n;
    uint32_t cp;
    for (size_t k; end > 0; end -= k) {
        k = weir__utf8_back(s, end, &cp);
        if (!is_white_space(cp)) break;
    }
    return n - end;
}

size_t weir__white_at_start(const char *s, size_t n) {
    size_t at = 0;
    uint32_t cp;
    bool broken;
    for (size_t k; at < n; at += k) {
        k = weir__utf8_step(s + at, n - at, &cp, &broken);
        if (!is_white_space(cp)) break;
    }
    return at;
}
