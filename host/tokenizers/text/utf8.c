#include "host/tokenizers/text/utf8.h"

#include <string.h>

#include "kernels/base/mem.h"

size_t weir__utf8_length(char first) {
    static const uint8_t by_high_bits[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    return by_high_bits[(uint8_t)first >> 4];
}

size_t weir__utf8_back(const char *s, size_t n, uint32_t *cp) {
    bool broken;
    *cp = (uint8_t)s[n - 1];
    if (*cp < 0x80) return 1;
    for (size_t k = 2; k <= 4 && k <= n; k++) {
        if (((uint8_t)s[n - k] & 0xc0) == 0x80) continue;
        if (weir__utf8_step(s + n - k, k, cp, &broken) == k) return k;
        break;
    }
    *cp = 0xfffd;
    return 1;
}

size_t weir__utf8_put(char *out, uint32_t cp) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

size_t weir__utf8_step(const char *s, size_t n, uint32_t *cp, bool *broken) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)s;
    if (p[0] < 0x80) {
        *cp = p[0];
        return 1;
    }
    const size_t len = p[0] < 0xf8 ? weir__utf8_length(s[0]) : 1;
    uint32_t v = len == 2 ? p[0] & 0x1fu : len == 3 ? p[0] & 0x0fu : p[0] & 0x07u;
    size_t i = 1;
    for (; len > 1 && i < len && i < n && (p[i] & 0xc0) == 0x80; i++) v = v << 6 | (p[i] & 0x3fu);
    if (len == 1 || i < len || v > 0x10ffff) {
        *broken = true;
        *cp = 0xfffd;
        return 1;
    }
    if (v < least[len] || (v >= 0xd800 && v <= 0xdfff)) *broken = true;
    *cp = v;
    return len;
}

bool weir__utf8_is_valid(const char *s, size_t n) {
    bool broken = false;
    uint32_t cp;
    for (size_t i = 0; i < n && !broken;) {
        if ((uint8_t)s[i] < 0x80)
            i++;
        else
            i += weir__utf8_step(s + i, n - i, &cp, &broken);
    }
    return !broken;
}

/* Bytes of the strict character at s; 0 where there is none, with *bad: how many bytes one U+FFFD stands
 * for. */
static size_t strict_character(const uint8_t *p, size_t n, size_t *bad) {
    uint8_t lo = 0x80, hi = 0xbf; /* range of the second byte: no overlong forms, surrogates, nothing past
                                     U+10FFFF */
    size_t len;
    *bad = 1;
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0) lo = 0xa0;
    if (p[0] == 0xed) hi = 0x9f;
    if (p[0] == 0xf0) lo = 0x90;
    if (p[0] == 0xf4) hi = 0x8f;
    for (size_t i = 1; i < len; i++) {
        if (i >= n || p[i] < (i == 1 ? lo : 0x80) || p[i] > (i == 1 ? hi : 0xbf)) return 0;
        *bad = i + 1;
    }
    return len;
}

weir_status weir__utf8_lossy(char **text, size_t *n, weir_err *err) {
    const uint8_t *p = (const uint8_t *)*text;
    size_t need = 0, bad, len = 0;
    for (size_t i = 0, k; i < *n; i += k ? k : bad) {
        k = strict_character(p + i, *n - i, &bad);
        need += k ? k : 3;
    }
    (*text)[*n] = '\0';
    if (weir__utf8_is_valid(*text, *n)) return WEIR_OK;
    char *t = weir_alloc(need + 1, 1);
    if (!t) {
        weir_free(*text);
        return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", need);
    }
    for (size_t i = 0, k; i < *n; i += k ? k : bad) {
        k = strict_character(p + i, *n - i, &bad);
        memcpy(t + len, k ? *text + i : WEIR__REPLACEMENT, k ? k : 3);
        len += k ? k : 3;
    }
    t[len] = '\0';
    weir_free(*text);
    *text = t;
    *n = len;
    return WEIR_OK;
}
