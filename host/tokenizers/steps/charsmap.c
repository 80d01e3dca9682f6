#include "host/tokenizers/steps/charsmap.h"

#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/text/utf8.h"
#include "kernels/base/mem.h"

struct weir__charsmap {
    uint8_t *bytes; /* the decoded file: a size, units of 4 bytes, texts that end in zero bytes */
    size_t n_unit;
    const char *texts;
    size_t n_text;
};

/* ---- open ---------------------------------------------------------------------------------------------- */

static int digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Groups of four digits, the last of which may end in one or two '='. */
static bool decode_base64(const char *s, size_t n, uint8_t *out, size_t *n_out) {
    size_t len = 0;
    if (n % 4 != 0) return false;
    for (size_t i = 0; i < n; i += 4) {
        const int pads = i + 4 < n ? 0 : (s[i + 3] == '=') + (s[i + 3] == '=' && s[i + 2] == '=');
        uint32_t group = 0;
        for (int k = 0; k < 4; k++) {
            const int d = k < 4 - pads ? digit(s[i + (size_t)k]) : 0;
            if (d < 0) return false;
            group = group << 6 | (uint32_t)d;
        }
        for (int k = 0; k < 3 - pads; k++) out[len++] = (uint8_t)(group >> (16 - 8 * k));
    }
    *n_out = len;
    return true;
}

static uint32_t little_endian(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static weir_status parse(weir__charsmap *m, size_t n, weir_err *err) {
    const size_t units = n < 4 ? 0 : little_endian(m->bytes);
    if (n < 8 || units % 4 != 0 || units < 4 || units > n - 4)
        return weir_fail(err, WEIR_EFORMAT, "precompiled_charsmap: %zu bytes of units in a table of %zu",
                         units, n);
    m->n_unit = units / 4;
    m->texts = (const char *)m->bytes + 4 + units;
    m->n_text = n - 4 - units;
    if (!weir__utf8_is_valid(m->texts, m->n_text))
        return weir_fail(err, WEIR_EFORMAT, "precompiled_charsmap: its replacements are not UTF-8");
    return WEIR_OK;
}

weir_status weir__charsmap_open(weir__charsmap **out, const char *base64, size_t bytes, weir_err *err) {
    size_t n = 0;
    weir_status s;
    weir__charsmap *m = weir_calloc(1, sizeof *m);
    if (m) m->bytes = weir_alloc(bytes / 4 * 3 + 4, 1);
    if (!m || !m->bytes)
        s = weir_fail(err, WEIR_ENOMEM, "no memory for a precompiled_charsmap");
    else if (!decode_base64(base64, bytes, m->bytes, &n))
        s = weir_fail(err, WEIR_EFORMAT, "precompiled_charsmap: bad base64");
    else
        s = parse(m, n, err);
    if (s != WEIR_OK) {
        weir__charsmap_free(m);
        return s;
    }
    *out = m;
    return WEIR_OK;
}

void weir__charsmap_free(weir__charsmap *m) {
    if (!m) return;
    weir_free(m->bytes);
    weir_free(m);
}

/* ---- the double array ---------------------------------------------------------------------------------- */

/* The unit at `at`; 0, which has no label that a key could have, past the end. */
static uint32_t unit_at(const weir__charsmap *m, size_t at) {
    return at < m->n_unit ? little_endian(m->bytes + 4 + 4 * at) : 0;
}

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6); }

/* The replacement for the shortest key that s begins with; false: no key. */
static bool find(const weir__charsmap *m, const char *s, size_t n, const char **text, size_t *bytes) {
    size_t node = offset_of(unit_at(m, 0));
    for (size_t i = 0; i < n && s[i] != '\0'; i++) {
        node ^= (uint8_t)s[i];
        const uint32_t unit = unit_at(m, node);
        if ((unit & (1u << 31 | 0xff)) != (uint8_t)s[i]) return false;
        node ^= offset_of(unit);
        if (!(unit >> 8 & 1)) continue;
        const size_t at = unit_at(m, node) & ((1u << 31) - 1);
        if (at > m->n_text || (at < m->n_text && ((uint8_t)m->texts[at] & 0xc0) == 0x80)) return false;
        *text = m->texts + at;
        *bytes = strnlen(*text, m->n_text - at);
        return true;
    }
    return false;
}

/* ---- apply --------------------------------------------------------------------------------------------- */

static size_t step(const char *s, size_t n, uint32_t *cp) {
    bool broken = false;
    return weir__utf8_step(s, n, cp, &broken);
}

/* Bytes of the grapheme cluster at s. */
static size_t cluster(const char *s, size_t n) {
    utf8proc_int32_t state = 0;
    uint32_t before, cp;
    size_t end = step(s, n, &before);
    /* Two ASCII characters never form one cluster, except carriage return and line feed. */
    while (end < n && (before == '\r' || before >= 0x80 || (uint8_t)s[end] >= 0x80)) {
        const size_t k = step(s + end, n - end, &cp);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)cp, &state)) break;
        before = cp;
        end += k;
    }
    return end;
}

void weir__charsmap_apply(const weir__charsmap *m, const char *text, size_t n, weir__out *out) {
    const char *to;
    size_t bytes;
    uint32_t cp;
    for (size_t i = 0, end; i < n && !out->failed; i = end) {
        end = i + cluster(text + i, n - i);
        if (end - i < 6 && find(m, text + i, end - i, &to, &bytes)) {
            weir__out_put(out, to, bytes);
            continue;
        }
        for (size_t k; i < end; i += k) {
            k = step(text + i, end - i, &cp);
            const bool found = find(m, text + i, k, &to, &bytes);
            weir__out_put(out, found ? to : text + i, found ? bytes : k);
        }
    }
}
