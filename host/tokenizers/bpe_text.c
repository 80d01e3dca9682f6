/* What happens to a text before its words are merged, and the spelling of bytes. */
#include <string.h>
#include <utf8proc.h>

#include "host/tokenizers/bpe.h"
#include "host/tokenizers/utf8.h"
#include "kernels/base/mem.h"

/* ---- bytes as printable characters ----------------------------------------------------------------------------------- */

/* Printable characters of Latin-1 stand for themselves, the other 68 bytes, in order, for U+0100 and on. */
static bool is_printable(unsigned b) { return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b != 0xad); }

static unsigned spelled(unsigned byte) {
    unsigned others = 0;
    if (is_printable(byte)) return byte;
    for (unsigned b = 0; b < byte; b++) others += !is_printable(b);
    return 0x100 + others;
}

size_t weir__byte_spell(uint8_t byte, char out[2]) { return weir__utf8_put(out, spelled(byte)); }

static int byte_of(uint32_t cp) {
    if (cp < 0x100) return is_printable(cp) ? (int)cp : -1;
    if (cp < 0x121) return (int)(cp - 0x100);                  /* 00 … 20 */
    if (cp < 0x143) return (int)(cp - 0x121 + 0x7f);           /* 7F … A0 */
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

/* ---- steps ----------------------------------------------------------------------------------------------------------- */

weir_status weir__bpe_add_step(weir__step *list, int *n, weir__step_kind kind, const char *from, const char *to,
                               weir_err *err) {
    if (*n == WEIR__MAX_STEPS) return weir_fail(err, WEIR_ENOTSUP, "more than %d steps on a text", WEIR__MAX_STEPS);
    if (strlen(from) >= WEIR__STEP_BYTES || strlen(to) >= WEIR__STEP_BYTES)
        return weir_fail(err, WEIR_ENOTSUP, "a step on a text has more than %d bytes", WEIR__STEP_BYTES - 1);
    weir__step *s = &list[(*n)++];
    s->kind = kind;
    memcpy(s->from, from, strlen(from) + 1);
    memcpy(s->to, to, strlen(to) + 1);
    return WEIR_OK;
}

static weir_status no_memory(weir_err *err, size_t n) {
    return weir_fail(err, WEIR_ENOMEM, "no memory for a text of %zu bytes", n);
}

static weir_status copy(const char *text, size_t n, char **out, size_t *n_out, weir_err *err) {
    if (!(*out = weir_alloc(n + 1, 1))) return no_memory(err, n);
    if (n) memcpy(*out, text, n);
    *n_out = n;
    return WEIR_OK;
}

/* from may be empty only as a mistake of a file: then nothing is replaced. most: bytes that several steps may grow a text to. */
static weir_status replace(const weir__step *s, size_t most, const char *text, size_t n, char **out, size_t *n_out,
                           weir_err *err) {
    const size_t n_from = strlen(s->from), n_to = strlen(s->to);
    size_t hits = 0, len = 0;
    const char *at = text, *end = text + n, *hit;
    if (n_from == 0) return copy(text, n, out, n_out, err);
    for (; (hit = memmem(at, (size_t)(end - at), s->from, n_from)) != NULL; at = hit + n_from) hits++;
    const size_t need = n - hits * n_from + hits * n_to;
    if (need > most) return weir_fail(err, WEIR_EINVAL, "text of %zu bytes grows to %zu by its normaliser", n, need);
    char *t = weir_alloc(need + 1, 1);
    if (!t) return no_memory(err, need);
    for (at = text; (hit = memmem(at, (size_t)(end - at), s->from, n_from)) != NULL; at = hit + n_from) {
        memcpy(t + len, at, (size_t)(hit - at));
        len += (size_t)(hit - at);
        memcpy(t + len, s->to, n_to);
        len += n_to;
    }
    memcpy(t + len, at, (size_t)(end - at));
    *out = t;
    *n_out = need;
    return WEIR_OK;
}

static weir_status prepend(const weir__step *s, bool first, const char *text, size_t n, char **out, size_t *n_out,
                           weir_err *err) {
    const size_t k = strlen(s->to);
    const bool begins = n >= k && memcmp(text, s->to, k) == 0;
    if (n == 0 || (s->kind != WEIR__STEP_PREPEND && begins) || (s->kind == WEIR__STEP_PREPEND_FIRST && !first))
        return copy(text, n, out, n_out, err);
    if (!(*out = weir_alloc(n + k + 1, 1))) return no_memory(err, n);
    memcpy(*out, s->to, k);
    memcpy(*out + k, text, n);
    *n_out = n + k;
    return WEIR_OK;
}

/* Below U+0300, that is, below the byte 0xCC, no character composes with another. */
static bool is_composed(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)text[i] >= 0xcc) return false;
    return true;
}

static weir_status nfc(const char *text, size_t n, char **out, size_t *n_out, weir_err *err) {
    if (is_composed(text, n) || !weir__utf8_is_valid(text, n)) return copy(text, n, out, n_out, err);
    const utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_ssize_t need = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, NULL, 0, how);
    if (need < 0) return weir_fail(err, WEIR_EINVAL, "text: utf8proc: %s", utf8proc_errmsg(need));
    utf8proc_int32_t *points = weir_alloc((size_t)need + 1, sizeof *points);
    if (!points) return no_memory(err, (size_t)need * sizeof *points);
    utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, points, need, how);
    const utf8proc_ssize_t len = utf8proc_reencode(points, need, how); /* in place, zero-terminated */
    if (len < 0) {
        weir_free(points);
        return weir_fail(err, WEIR_EINVAL, "text: utf8proc: %s", utf8proc_errmsg(len));
    }
    *out = (char *)points;
    *n_out = (size_t)len;
    return WEIR_OK;
}

weir_status weir__bpe_run_steps(const weir__step *steps, int n, bool first, const char *text, size_t bytes, char **out,
                                size_t *n_out, weir_err *err) {
    char *t = NULL;
    const size_t most = 64 * bytes + 1024;
    WEIR_TRY(copy(text, bytes, &t, &bytes, err));
    for (int i = 0; i < n; i++) {
        char *next = NULL;
        weir_status s;
        switch (steps[i].kind) {
        case WEIR__STEP_REPLACE: s = replace(&steps[i], most, t, bytes, &next, &bytes, err); break;
        case WEIR__STEP_NFC: s = nfc(t, bytes, &next, &bytes, err); break;
        default: s = prepend(&steps[i], first, t, bytes, &next, &bytes, err);
        }
        weir_free(t);
        if (s != WEIR_OK) return s;
        t = next;
    }
    *out = t;
    *n_out = bytes;
    return WEIR_OK;
}
