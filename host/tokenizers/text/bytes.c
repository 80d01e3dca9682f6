/* Bytes as printable characters (GPT-2's bytes_to_unicode), and "<0x41>". */
#include "host/tokenizers/text/bytes.h"

#include <string.h>

#include "host/tokenizers/text/utf8.h"

/* Printable characters of Latin-1 spell themselves; the other 68 bytes, in order, are U+0100 and up. */
static bool is_printable(unsigned b) {
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b != 0xad);
}

static unsigned spelled(unsigned byte) {
    unsigned others = 0;
    if (is_printable(byte)) return byte;
    for (unsigned b = 0; b < byte; b++) others += !is_printable(b);
    return 0x100 + others;
}

size_t weir__byte_spell(uint8_t byte, char out[2]) { return weir__utf8_put(out, spelled(byte)); }

static int byte_of(uint32_t cp) {
    if (cp < 0x100) return is_printable(cp) ? (int)cp : -1;
    if (cp < 0x121) return (int)(cp - 0x100);        /* 00 … 20 */
    if (cp < 0x143) return (int)(cp - 0x121 + 0x7f); /* 7F … A0 */
    return cp == 0x143 ? 0xad : -1;
}

size_t weir__byte_unspell(const char *token, size_t n, char *out) {
    size_t len = 0;
    bool broken = false;
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        i += weir__utf8_step(token + i, n - i, &cp, &broken);
        const int b = broken ? -1 : byte_of(cp);
        if (b < 0) {
            memcpy(out, token, n);
            return n;
        }
        out[len++] = (char)b;
    }
    return len;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int weir__byte_token(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[3]) < 0 || hex(s[4]) < 0) return -1;
    return hex(s[3]) * 16 + hex(s[4]);
}
