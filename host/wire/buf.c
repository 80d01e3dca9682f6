#include "host/wire/buf.h"

#include <stdint.h>
#include <string.h>

#include "host/weir.h"

static bool grow(wire_buf *b, size_t need) {
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need) cap *= 2;
    char *data = weir_alloc(cap, 1);
    if (!data) return false;
    if (b->len) memcpy(data, b->data, b->len);
    weir_free(b->data);
    b->data = data;
    b->cap = cap;
    return true;
}

bool wire_buf_add(wire_buf *b, const char *bytes, size_t n) {
    size_t need = 0;
    if (__builtin_add_overflow(b->len, n, &need) || need >= SIZE_MAX / 2 ||
        (need + 1 > b->cap && !grow(b, need + 1))) {
        b->failed = true;
        return false;
    }
    if (n) memcpy(b->data + b->len, bytes, n);
    b->len = need;
    b->data[need] = '\0';
    return true;
}

bool wire_buf_puts(wire_buf *b, const char *s) { return wire_buf_add(b, s, strlen(s)); }

void wire_buf_free(wire_buf *b) {
    weir_free(b->data);
    *b = (wire_buf){0};
}

size_t wire_utf8_length(const char *bytes, size_t n) {
    const unsigned char *s = (const unsigned char *)bytes;
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0;
    if (s[0] == 0xed && s[1] > 0x9f) return 0;
    if (s[0] == 0xf0 && s[1] < 0x90) return 0;
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0;
    return len;
}

bool wire_buf_add_utf8(wire_buf *b, const char *bytes, size_t n) {
    size_t at = 0;
    while (at < n) {
        size_t end = at, len = 0;
        while (end < n && (len = wire_utf8_length(bytes + end, n - end)) > 0) end += len;
        if (!wire_buf_add(b, bytes + at, end - at)) return false;
        if (end < n && !wire_buf_puts(b, "\xef\xbf\xbd")) return false;
        at = end + 1;
    }
    return n > 0 || wire_buf_add(b, "", 0);
}
