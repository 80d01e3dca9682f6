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

/* As jansson: nine digits, always a point or an exponent, no zeros or plus in front of the exponent. */
void wire_put_real(wire_buf *b, double x) {
    char text[32];
    if (!isfinite(x)) {
        wire_buf_add(b, "null", 4);
        return;
    }
    size_t n = (size_t)snprintf(text, sizeof text - 2, "%.9g", x);
    char *e = memchr(text, 'e', n);
    if (e) {
        char *digits = e + 1, *first = digits + 1; /* after the sign */
        while (*first == '0') first++;
        if (*digits == '-') digits++;
        memmove(digits, first, strlen(first) + 1);
        n = strlen(text);
    } else if (!memchr(text, '.', n)) {
        memcpy(text + n, ".0", 2);
        n += 2;
    }
    wire_buf_add(b, text, n);
}
