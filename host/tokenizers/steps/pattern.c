/* Regular expressions of tokenizers, as Oniguruma reads them, in the syntax of PCRE2. The two differ in
 * classes inside classes, in what white space is and in dozens of escapes; what no known tokenizer uses is
 * refused, not guessed. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "host/tokenizers/steps/pretok.h"
#include "kernels/base/mem.h"

/* Unicode's White_Space. PCRE2's own \s also has U+180E. */
static const char SPACES[] =
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

typedef struct translation {
    const char *at, *end;
    char *out;
    size_t n;
    bool in_class;
} translation;

static void put(translation *t, const char *s, size_t n) {
    memcpy(t->out + t->n, s, n);
    t->n += n;
}
static void put_text(translation *t, const char *s) { put(t, s, strlen(s)); }

static weir_status refuse(weir_err *err, const char *what, size_t n) {
    return weir_fail(err, WEIR_ENOTSUP, "pattern: %.*s is not supported", n < 40 ? (int)n : 40, what);
}

/* \p{N}, \P{Lu}, \p{^L}, \p{Han}: a general category stays, a longer name is a script. */
static weir_status property(translation *t, weir_err *err) {
    const char *from = t->at, *p = from + 2;
    const size_t room = (size_t)(t->end - from);
    const char *close = room > 3 && from[2] == '{' ? memchr(p, '}', room - 2) : NULL;
    if (!close || close - p > 32) return refuse(err, from, room < 8 ? room : 8);
    const bool inverted = p[1] == '^';
    p += inverted ? 2 : 1;
    for (const char *q = p; q < close; q++)
        if (!isalpha((unsigned char)*q) && *q != '_' && !(*q == '&' && close - p == 2))
            return refuse(err, from, (size_t)(close + 1 - from));
    put_text(t, (from[1] == 'P') != inverted ? "\\P{" : "\\p{");
    if (close - p > 2) put_text(t, "sc:");
    put(t, p, (size_t)(close + 1 - p));
    t->at = close + 1;
    return WEIR_OK;
}

/* \xHH, \x{H…}, \uHHHH */
static weir_status code_point(translation *t, weir_err *err) {
    const char *from = t->at, *p = from + 2;
    const bool braces = from[1] == 'x' && p < t->end && *p == '{';
    const size_t most = braces ? 6 : from[1] == 'x' ? 2 : 4;
    size_t n = 0;
    p += braces;
    while (n < most && p + n < t->end && isxdigit((unsigned char)p[n])) n++;
    if (n == 0 || (from[1] == 'u' && n < 4) || (braces && (p + n >= t->end || p[n] != '}')))
        return refuse(err, from, (size_t)(t->end - from) < 6 ? (size_t)(t->end - from) : 6);
    put_text(t, "\\x{");
    put(t, p, n);
    put_text(t, "}");
    t->at = p + n + braces;
    return WEIR_OK;
}

static weir_status escape(translation *t, weir_err *err) {
    if (t->end - t->at < 2) return refuse(err, "a backslash at its end", 22);
    const char c = t->at[1];
    if (c == 'p' || c == 'P') return property(t, err);
    if (c == 'x' || c == 'u') return code_point(t, err);
    if (c == 's' || (c == 'S' && !t->in_class)) {
        if (!t->in_class) put_text(t, c == 's' ? "[" : "[^");
        put_text(t, SPACES);
        if (!t->in_class) put_text(t, "]");
    } else if ((c == 'A' || c == 'z') && !t->in_class) {
        put(t, t->at, 2);
    } else if (strchr("rntfead", c) || (c == 'D' && !t->in_class) || ispunct((unsigned char)c) || c == ' ') {
        if (c == '\0') return refuse(err, "\\ before a zero byte", 20);
        put(t, t->at, 2);
    } else {
        return refuse(err, t->at, 2);
    }
    t->at += 2;
    return WEIR_OK;
}

static weir_status class_body(translation *t, weir_err *err) {
    put(t, t->at++, 1);
    if (t->at < t->end && *t->at == '^') put(t, t->at++, 1);
    t->in_class = true;
    for (bool first = true; t->at < t->end; first = false) {
        if (*t->at == '\\') {
            WEIR_TRY(escape(t, err));
            continue;
        }
        if (*t->at == '[') return refuse(err, "a class inside a class", 22);
        if (*t->at == '&' && t->end - t->at > 1 && t->at[1] == '&')
            return refuse(err, "&& inside a class", 17);
        const bool ends = *t->at == ']' && !first;
        put(t, t->at++, 1);
        if (ends) {
            t->in_class = false;
            return WEIR_OK;
        }
    }
    return refuse(err, "a class without an end", 22);
}

static weir_status group(translation *t, weir_err *err) {
    static const char *const known[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    const size_t room = (size_t)(t->end - t->at);
    size_t n = room < 2 || (t->at[1] != '?' && t->at[1] != '*') ? 1 : 0;
    for (size_t i = 0; i < sizeof known / sizeof *known && n == 0; i++)
        if (room >= strlen(known[i]) && memcmp(t->at, known[i], strlen(known[i])) == 0) n = strlen(known[i]);
    if (n == 0) return refuse(err, t->at, room < 4 ? room : 4);
    put(t, t->at, n);
    t->at += n;
    return WEIR_OK;
}

/* {n}, {n,}, {n,m}; Ruby takes a + after it for a repetition of the repetition. */
static weir_status counts(translation *t, weir_err *err) {
    const char *close = memchr(t->at, '}', (size_t)(t->end - t->at));
    const size_t n = close ? (size_t)(close + 1 - t->at) : 0;
    for (size_t i = 1; i + 1 < n; i++)
        if (!isdigit((unsigned char)t->at[i]) && t->at[i] != ',') return refuse(err, t->at, n);
    if (n < 3 || n > 12 || t->at[1] == ',' || (close + 1 < t->end && close[1] == '+'))
        return refuse(err, "this use of {}", 14);
    put(t, t->at, n);
    t->at += n;
    return WEIR_OK;
}

weir_status weir__pattern_translate(const char *pattern, size_t bytes, char **out, weir_err *err) {
    if (bytes > 8192)
        return weir_fail(err, WEIR_ENOTSUP, "pattern of %zu bytes, expected at most 8192", bytes);
    /* The longest growth is two bytes of \s to all of SPACES. */
    translation t = {.at = pattern, .end = pattern + bytes, .out = weir_alloc(bytes * sizeof SPACES + 8, 1)};
    if (!t.out) return weir_fail(err, WEIR_ENOMEM, "no memory for a pattern");
    weir_status s = WEIR_OK;
    while (s == WEIR_OK && t.at < t.end) {
        switch (*t.at) {
        case '\\': s = escape(&t, err); break;
        case '[': s = class_body(&t, err); break;
        case '(': s = group(&t, err); break;
        case '{': s = counts(&t, err); break;
        case '\0': s = refuse(err, "a zero byte", 11); break;
        default: put(&t, t.at++, 1);
        }
    }
    t.out[t.n] = '\0';
    *out = t.out;
    if (s != WEIR_OK) weir_free(t.out);
    return s;
}
