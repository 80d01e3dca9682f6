/* Python's json module and Rust's serde_json take texts that jansson refuses: integers past 64 bits
 * (transformers writes int(1e30) for "no limit"), reals past a double, NaN and Infinity, escaped zero
 * characters. Most stand where nobody reads them, so the text is rewritten before jansson sees it:
 *   an integer past 64 bits that a double can hold: a real of the same digits;
 *   a number that a double cannot hold, NaN, Infinity: a string of its own text, which no typed read takes
 *   for a number;
 *   an escaped zero character: WEIR_JSON_ZERO, since C strings hold none. What is no JSON in other ways stays
 *   as it is, for jansson to refuse at its place. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"

/* Every rewriting makes the text longer, so an output as long as the input means that there was none. */
typedef struct sink {
    char *out; /* NULL: count only */
    size_t n;
} sink;

static void put(sink *s, const char *text, size_t n) {
    if (s->out) memcpy(s->out + s->n, text, n);
    s->n += n;
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

typedef struct number {
    const char *whole, *fraction; /* digits */
    size_t n_whole, n_fraction;
    long exponent; /* saturated far outside of what a double has */
    bool negative, integer;
} number;

static size_t digits(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && s[i] >= '0' && s[i] <= '9') i++;
    return i;
}

static long saturated(const char *s, size_t n, bool negative) {
    long x = 0;
    for (size_t i = 0; i < n && x < 1000000; i++) x = 10 * x + (s[i] - '0');
    return negative ? -x : x;
}

/* Whether the n bytes are one number of JSON's grammar. */
static bool parse_number(const char *s, size_t n, number *x) {
    size_t i = 0;
    *x = (number){.integer = true};
    if (i < n && s[i] == '-') x->negative = true, i++;
    x->whole = s + i;
    x->n_whole = digits(s + i, n - i);
    if (x->n_whole == 0 || (x->n_whole > 1 && s[i] == '0')) return false;
    i += x->n_whole;
    if (i < n && s[i] == '.') {
        x->integer = false;
        x->fraction = s + ++i;
        x->n_fraction = digits(s + i, n - i);
        if (x->n_fraction == 0) return false;
        i += x->n_fraction;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        x->integer = false;
        bool down = false;
        if (++i < n && (s[i] == '+' || s[i] == '-')) down = s[i++] == '-';
        const size_t k = digits(s + i, n - i);
        if (k == 0) return false;
        x->exponent = saturated(s + i, k, down);
        i += k;
    }
    return i == n;
}

static bool fits_int64(const number *x) {
    const char *most = x->negative ? "9223372036854775808" : "9223372036854775807";
    return x->n_whole < 19 || (x->n_whole == 19 && memcmp(x->whole, most, 19) <= 0);
}

static char digit_at(const number *x, size_t i) {
    return i < x->n_whole ? x->whole[i] : i - x->n_whole < x->n_fraction ? x->fraction[i - x->n_whole] : '0';
}

/* The power of ten of the first digit decides; from 1e308 to 9.9e308 strtod looks at the digits. */
static bool fits_double(const number *x) {
    enum { LOOK = 40 };
    const size_t n = x->n_whole + x->n_fraction;
    size_t first = 0;
    while (first < n && digit_at(x, first) == '0') first++;
    if (first == n) return true;
    const double power = (double)x->n_whole - 1.0 - (double)first + (double)x->exponent;
    if (power != 308.0) return power < 308.0;
    char text[LOOK + 8] = {digit_at(x, first), '.'};
    for (size_t i = 1; i <= LOOK; i++) text[i + 1] = digit_at(x, first + i);
    memcpy(text + LOOK + 2, "e308", 5);
    return isfinite(strtod(text, NULL));
}

static size_t number_span(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && s[i] && strchr("0123456789+-.eE", s[i])) i++;
    return i;
}

/* Returns the bytes read: at least one. */
static size_t put_number(const char *s, size_t n, sink *out) {
    const size_t len = number_span(s, n);
    number x;
    const bool is = parse_number(s, len, &x);
    const bool quote = is && !fits_double(&x);
    if (quote) put(out, "\"", 1);
    put(out, s, len);
    if (quote)
        put(out, "\"", 1);
    else if (is && x.integer && !fits_int64(&x))
        put(out, "e0", 2);
    return len;
}

/* ---- words and strings ------------------------------------------------------------------------------- */

/* NaN, Infinity or -Infinity at s: its length, else 0. */
static size_t word_span(const char *s, size_t n) {
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t len = strlen(words[i]);
        if (n >= len && memcmp(s, words[i], len) == 0) return len;
    }
    return 0;
}

static size_t put_word(const char *s, size_t len, sink *out) {
    put(out, "\"", 1);
    put(out, s, len);
    put(out, "\"", 1);
    return len;
}

/* From the opening quote on; returns the bytes read, to the closing quote or to the end of the text. */
static size_t put_string(const char *s, size_t n, sink *out) {
    static const char zero[] = "\\u0000", instead[] = "\\udbff\\udfff"; /* WEIR_JSON_ZERO, escaped */
    size_t from = 0, i = 1;
    while (i < n && s[i] != '"') {
        if (s[i] != '\\') {
            i++;
        } else if (n - i >= sizeof zero - 1 && memcmp(s + i, zero, sizeof zero - 1) == 0) {
            put(out, s + from, i - from);
            put(out, instead, sizeof instead - 1);
            from = i += sizeof zero - 1;
        } else {
            i += n - i < 2 ? 1 : 2;
        }
    }
    if (i < n) i++;
    put(out, s + from, i - from);
    return i;
}

/* ------------------------------------------------------------------------------------------------------ */

static bool is_plain(char c) {
    return c != '"' && c != '-' && c != 'N' && c != 'I' && !(c >= '0' && c <= '9');
}

static void rewrite(const char *text, size_t n, sink *out) {
    for (size_t i = 0; i < n;) {
        size_t plain = i, word;
        while (plain < n && is_plain(text[plain])) plain++;
        put(out, text + i, plain - i);
        if ((i = plain) == n) return;
        if (text[i] == '"')
            i += put_string(text + i, n - i, out);
        else if ((word = word_span(text + i, n - i)) > 0)
            i += put_word(text + i, word, out);
        else if (text[i] != 'N' && text[i] != 'I')
            i += put_number(text + i, n - i, out);
        else
            put(out, text + i++, 1);
    }
}

weir_status weir__json_lenient(const char *text, size_t bytes, char **out, size_t *n_out) {
    sink s = {0};
    *out = NULL;
    rewrite(text, bytes, &s);
    if (s.n == bytes) return WEIR_OK;
    s.out = weir_alloc(s.n, 1);
    if (!s.out) return WEIR_ENOMEM;
    s.n = 0;
    rewrite(text, bytes, &s);
    *out = s.out;
    *n_out = s.n;
    return WEIR_OK;
}
