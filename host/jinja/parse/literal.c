#include "host/jinja/parse/literal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/text/utf8.h"

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

/* ---- numbers ---------------------------------------------------------------------------------------- */

/* Digits with single underscores between them: bytes of the longest run. */
static size_t run_of(const char *p, size_t n, int base) {
    size_t k = 0;
    while (k < n &&
           (digit_of(p[k]) < base || (p[k] == '_' && k > 0 && k + 1 < n && digit_of(p[k + 1]) < base)))
        k++;
    return k;
}

/* Digits without underscores, as a number. */
static bool whole(const char *p, size_t n, int base, int64_t *out) {
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '_') continue;
        if (__builtin_mul_overflow(v, (int64_t)base, &v) ||
            __builtin_add_overflow(v, (int64_t)digit_of(p[i]), &v))
            return false;
    }
    *out = v;
    return true;
}

static bool real(const char *p, size_t n, double *out) {
    char small[128], *end = NULL;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '_') continue;
        if (k + 1 == sizeof small) return false;
        small[k++] = p[i];
    }
    small[k] = '\0';
    *out = strtod(small, &end);
    return k > 0 && *end == '\0';
}

size_t weir__read_float(const char *p, size_t n, double *out) {
    size_t k = run_of(p, n, 10);
    const size_t head = k;
    if (head == 0) return 0;
    if (k < n && p[k] == '.') {
        const size_t m = run_of(p + k + 1, n - k - 1, 10);
        if (m > 0) k += 1 + m;
    }
    if (k < n && (p[k] == 'e' || p[k] == 'E')) {
        const size_t sign = k + 1 < n && (p[k + 1] == '+' || p[k + 1] == '-');
        const size_t m = k + 1 + sign < n ? run_of(p + k + 1 + sign, n - k - 1 - sign, 10) : 0;
        if (m > 0) k += 1 + sign + m;
    }
    return k > head && real(p, k, out) ? k : 0;
}

static int base_of(char c) {
    return c == 'b' || c == 'B' ? 2 : c == 'o' || c == 'O' ? 8 : c == 'x' || c == 'X' ? 16 : 0;
}

size_t weir__read_integer(const char *p, size_t n, int64_t *out, bool *fits) {
    const int base = n > 2 && p[0] == '0' ? base_of(p[1]) : 0;
    if (base) {
        const size_t skip = p[2] == '_' ? 3 : 2;
        const size_t k = run_of(p + skip, n - skip, base);
        if (k > 0) {
            *fits = whole(p + skip, k, base, out);
            return skip + k;
        }
    }
    size_t k = run_of(p, n, n > 0 && p[0] == '0' ? 1 : 10);
    *fits = whole(p, k, 10, out);
    return k;
}

static void trim(const char **p, size_t *n) {
    while (*n > 0 && (**p == ' ' || (**p >= 9 && **p <= 13))) {
        (*p)++;
        (*n)--;
    }
    while (*n > 0 && ((*p)[*n - 1] == ' ' || ((*p)[*n - 1] >= 9 && (*p)[*n - 1] <= 13))) (*n)--;
}

bool weir__parse_int(const char *p, size_t n, int base, int64_t *out, bool *fits) {
    trim(&p, &n);
    const bool minus = n > 0 && p[0] == '-';
    if (n > 0 && (p[0] == '-' || p[0] == '+')) {
        p++;
        n--;
    }
    const int prefix = n > 2 && p[0] == '0' ? base_of(p[1]) : 0;
    if (prefix && (base == prefix || base == 0)) {
        base = prefix;
        p += p[2] == '_' ? 3 : 2;
        n -= p[-1] == '_' ? 3 : 2;
    } else if (base == 0) {
        if (n > 1 && p[0] == '0' && run_of(p, n, 1) != n) return false;
        base = 10;
    }
    *fits = true;
    if (n == 0 || run_of(p, n, base) != n) return false;
    *fits = whole(p, n, base, out);
    if (minus && *fits) *out = -*out;
    return true;
}

bool weir__parse_float(const char *p, size_t n, double *out) {
    static const char *const words[] = {"inf", "infinity", "nan"};
    trim(&p, &n);
    const size_t sign = n > 0 && (p[0] == '-' || p[0] == '+');
    for (size_t i = 0; i < 3; i++) {
        size_t k = 0;
        while (sign + k < n && words[i][k] && (p[sign + k] | 0x20) == words[i][k]) k++;
        if (sign + k != n || words[i][k] || k == 0) continue;
        const double v = i == 2 ? NAN : INFINITY;
        *out = sign && p[0] == '-' ? -v : v;
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        const char c = p[i];
        if (!((c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-' ||
              (c == '_' && i > 0 && i + 1 < n && digit_of(p[i - 1]) < 10 && digit_of(p[i + 1]) < 10)))
            return false;
    }
    return real(p, n, out);
}

/* ---- strings ---------------------------------------------------------------------------------------- */

/* \x, \u and \U with their digits. */
static bool hex(const char *p, size_t n, size_t *i, char *out, size_t *k, const char **why) {
    const char c = p[*i];
    const size_t width = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    uint32_t cp = 0;
    for (size_t d = 1; d <= width; d++) {
        const int v = *i + d < n ? digit_of(p[*i + d]) : 99;
        if (v > 15) {
            *why = c == 'x'   ? "truncated \\xXX escape"
                   : c == 'u' ? "truncated \\uXXXX escape"
                              : "truncated \\UXXXXXXXX escape";
            return false;
        }
        cp = cp << 4 | (uint32_t)v;
    }
    if (cp > 0x10ffff) {
        *why = "illegal Unicode character";
        return false;
    }
    *k += weir__utf8_put(out + *k, cp);
    *i += width + 1;
    return true;
}

static void octal(const char *p, size_t n, size_t *i, char *out, size_t *k) {
    uint32_t cp = 0;
    for (int d = 0; d < 3 && *i < n && p[*i] >= '0' && p[*i] <= '7'; d++)
        cp = cp * 8 + (uint32_t)(p[(*i)++] - '0');
    *k += weir__utf8_put(out + *k, cp);
}

/* Python turns the text to ASCII first, so that a backslash before a wider character escapes the backslash
 * of that character's own escape. */
static void wide(const char *p, size_t n, size_t *i, char *out, size_t *k) {
    uint32_t cp = 0;
    bool broken = false;
    char e[16];
    *i += weir__utf8_step(p + *i, n - *i, &cp, &broken);
    const int len = snprintf(e, sizeof e, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
    memcpy(out + *k, e, (size_t)len);
    *k += (size_t)len;
}

bool weir__unescape(const char *p, size_t n, char *out, size_t *n_out, const char **why) {
    static const char names[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        if (p[i] != '\\' || i + 1 == n) {
            out[k++] = p[i++];
            continue;
        }
        const char c = p[++i];
        const char *known = NULL;
        for (const char *e = names; *e && !known; e += 2)
            if (*e == c) known = e + 1;
        if (known) {
            out[k++] = *known;
            i++;
        } else if (c == 'x' || c == 'u' || c == 'U') {
            if (!hex(p, n, &i, out, &k, why)) return false;
        } else if (c >= '0' && c <= '7') {
            octal(p, n, &i, out, &k);
        } else if (c == 'N') {
            *why = "characters by name (\\N{…}) are not supported";
            return false;
        } else if ((unsigned char)c >= 0x80) {
            wide(p, n, &i, out, &k);
        } else {
            if (c != '\n') out[k++] = '\\';
            if (c != '\n') out[k++] = c;
            i++;
        }
    }
    *n_out = k;
    return true;
}
