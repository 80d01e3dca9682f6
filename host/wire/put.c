#include "host/wire/put.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

static void put_special(wire_buf *b, unsigned char c) {
    char code[8];
    switch (c) {
    case '"': wire_buf_add(b, "\\\"", 2); break;
    case '\\': wire_buf_add(b, "\\\\", 2); break;
    case '\b': wire_buf_add(b, "\\b", 2); break;
    case '\f': wire_buf_add(b, "\\f", 2); break;
    case '\n': wire_buf_add(b, "\\n", 2); break;
    case '\r': wire_buf_add(b, "\\r", 2); break;
    case '\t': wire_buf_add(b, "\\t", 2); break;
    default:
        if (c < 0x20)
            wire_buf_add(b, code, (size_t)snprintf(code, sizeof code, "\\u%04X", c));
        else
            wire_buf_add(b, "\xef\xbf\xbd", 3); /* a byte that starts no character */
    }
}

void wire_put_escaped(wire_buf *b, const char *bytes, size_t n) {
    size_t at = 0;
    while (at < n) {
        size_t end = at, len = 1;
        while (end < n && len > 0) {
            len = is_plain((unsigned char)bytes[end]) ? 1
                  : (unsigned char)bytes[end] >= 0x80 ? wire_utf8_length(bytes + end, n - end)
                                                      : 0;
            end += len;
        }
        wire_buf_add(b, bytes + at, end - at);
        if (end < n) put_special(b, (unsigned char)bytes[end]);
        at = end + 1;
    }
}

void wire_put_text(wire_buf *b, const char *bytes, size_t n) {
    wire_buf_add(b, "\"", 1);
    wire_put_escaped(b, bytes, n);
    wire_buf_add(b, "\"", 1);
}

void wire_put_int(wire_buf *b, int64_t x) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t left = x < 0 ? -(uint64_t)x : (uint64_t)x;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (x < 0) digits[--at] = '-';
    wire_buf_add(b, digits + at, sizeof digits - at);
}

/* ---- reals --------------------------------------------------------------------------------------------- */

enum { DIGITS = 9, POINT_MIN = -4, POINT_MAX = 2 }; /* decimal exponents of what is written at once */

/* The nine digits of a float with the decimal exponent e as a whole number, rounded to even as printf does:
 * its 24 bits times a power of ten of at most 40 bits, over a power of two, are exact. */
static uint64_t nine_digits(float x, int e) {
    static const uint64_t tens[] = {1000000,     10000000,     100000000,    1000000000,
                                    10000000000, 100000000000, 1000000000000};
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    const uint64_t bits = ((u & 0x7fffff) | 0x800000) * tens[POINT_MAX - e];
    const unsigned shift = 150 - (u >> 23);
    const uint64_t rest = bits & ((UINT64_C(1) << shift) - 1), half = UINT64_C(1) << (shift - 1);
    const uint64_t whole = bits >> shift;
    return whole + (rest > half || (rest == half && (whole & 1)));
}

/* "-0.0123", without zeros at the end but one after the point. */
static size_t spell_digits(uint64_t digits, int e, bool minus, char *out) {
    char text[DIGITS];
    size_t n = 0, keep = DIGITS;
    for (int i = DIGITS; i-- > 0; digits /= 10) text[i] = (char)('0' + digits % 10);
    const size_t whole = e < 0 ? 0 : (size_t)e + 1;
    while (keep > whole + (e >= 0) && text[keep - 1] == '0') keep--;
    if (minus) out[n++] = '-';
    if (e < 0) out[n++] = '0';
    memcpy(out + n, text, whole);
    n += whole;
    out[n++] = '.';
    for (int i = -1; i > e; i--) out[n++] = '0';
    memcpy(out + n, text + whole, keep - whole);
    return n + keep - whole;
}

/* Floats from 0.0001 up to 1000, which nearly all log-probabilities are, a fifteenth of printf's time; 0 for
 * others. */
static size_t spell_float(double x, char *out) {
    static const double from[] = {1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100};
    const float f = (float)x, size = fabsf(f);
    if ((double)f != x || !((double)size >= from[0]) || size >= 1000) return 0;
    int e = POINT_MAX;
    while (e > POINT_MIN && (double)size < from[e - POINT_MIN]) e--;
    /* There is no float so little below a power of ten that nine digits round up to it. */
    return spell_digits(nine_digits(size, e), e, f < 0, out);
}

/* As jansson: nine digits, always a point or an exponent, no zeros or plus in front of the exponent. */
static size_t spell_real(double x, char *text, size_t cap) {
    size_t n = (size_t)snprintf(text, cap - 2, "%.9g", x);
    char *e = memchr(text, 'e', n);
    if (e) {
        char *to = e + 1, *digits = e + 2; /* after the sign */
        while (*digits == '0') digits++;
        if (*to == '-') to++;
        memmove(to, digits, strlen(digits) + 1);
        return strlen(text);
    }
    if (memchr(text, '.', n)) return n;
    memcpy(text + n, ".0", 2);
    return n + 2;
}

void wire_put_real(wire_buf *b, double x) {
    char text[32];
    size_t n = spell_float(x, text);
    if (!isfinite(x)) {
        wire_buf_add(b, "null", 4);
        return;
    }
    if (n == 0) n = spell_real(x, text, sizeof text);
    wire_buf_add(b, text, n);
}
