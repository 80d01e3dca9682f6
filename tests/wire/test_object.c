/* Text as valid UTF-8, objects that somebody sent, numbers of any size, values written. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/json.h"
#include "host/wire/object.h"

static void expect_clean(const char *in, size_t n, const char *want) {
    wire_buf b = {0};
    cr_assert(wire_buf_add_utf8(&b, in, n));
    cr_expect_str_eq(b.data, want);
    cr_expect(b.len == strlen(want));
    wire_buf_free(&b);
}

#define BAD "\xef\xbf\xbd"

Test(buf, invalid_utf8_becomes_replacement_characters) {
    expect_clean("", 0, "");
    expect_clean("a\xc3\xbc"
                 "b",
                 4,
                 "a\xc3\xbc"
                 "b");
    expect_clean("\xff", 1, BAD);
    expect_clean("a\xffz", 3, "a" BAD "z");
    expect_clean("\xc3", 1, BAD);
    expect_clean("\xe2\x82", 2, BAD BAD);
    expect_clean("\xc0\xaf", 2, BAD BAD);                 /* overlong */
    expect_clean("\xe0\x80\xaf", 3, BAD BAD BAD);         /* overlong */
    expect_clean("\xed\xa0\x80", 3, BAD BAD BAD);         /* surrogate */
    expect_clean("\xf4\x90\x80\x80", 4, BAD BAD BAD BAD); /* past U+10FFFF */
    expect_clean("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80");
}

/* Everything of one or two bytes, and of three and four at the places where validity changes, is valid
 * afterwards. */
Test(buf, cleaned_text_is_what_jansson_takes) {
    static const unsigned char edge[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2,
                                         0xdf, 0xe0, 0xec, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    enum { N = sizeof edge };
    char in[4];
    for (int i = 0; i < N * N * N * N; i++) {
        for (int k = 0, rest = i; k < 4; k++, rest /= N) in[k] = (char)edge[rest % N];
        wire_buf b = {0};
        cr_assert(wire_buf_add_utf8(&b, in, 4));
        json_t *v = json_stringn(b.data, b.len);
        cr_assert(v != NULL, "%02x %02x %02x %02x", (unsigned)(unsigned char)in[0],
                  (unsigned)(unsigned char)in[1], (unsigned)(unsigned char)in[2],
                  (unsigned)(unsigned char)in[3]);
        json_decref(v);
        wire_buf_free(&b);
    }
}

/* ---- objects ------------------------------------------------------------------------------------------- */

static weir_err err;

static weir_status parse(wire_object *o, const char *text) {
    return wire_object_parse(o, text, strlen(text), &err);
}

Test(json, every_prefix_of_a_line_is_refused_or_parsed) {
    static const char text[] =
        "{\"prompt\": \"a\\u00fcb\", \"stop\": [\"x\", \"y\"], \"seed\": 12, \"t\": 0.5e-3, \"b\": true}";
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n ? n : 1); /* exactly sized: an overrun is seen */
        memcpy(exact, text, n);
        wire_object l;
        weir_status rc = wire_object_parse(&l, exact, n, &err);
        cr_expect(rc == (n == sizeof text - 1 ? WEIR_OK : WEIR_EFORMAT), "%zu bytes", n);
        if (!rc) wire_object_free(&l);
        free(exact);
    }
}

Test(json, fields_of_the_wrong_type_are_refused_and_leave_the_value) {
    wire_object l;
    cr_assert(
        parse(&l,
              "{\"s\": \"x\", \"i\": 3, \"r\": 1.5, \"b\": true, \"a\": [1, \"y\"], \"n\": null, \"big\": "
              "[1e39]}") == WEIR_OK);
    int64_t i = 7;
    double d = 7;
    bool b = false;
    const char *s = NULL;
    size_t n = 0;
    int32_t *ids = NULL;
    float *x = NULL;
    cr_expect(wire_read_int(&l, "s", 0, 9, &i, NULL, &err) && wire_read_int(&l, "r", 0, 9, &i, NULL, &err));
    cr_expect(wire_read_int(&l, "n", 0, 9, &i, NULL, &err) && wire_read_int(&l, "i", 0, 2, &i, NULL, &err));
    cr_expect(wire_read_number(&l, "s", &d, NULL, &err) && wire_read_bool(&l, "i", &b, NULL, &err) &&
              wire_read_text(&l, "i", &s, &n, NULL, &err));
    cr_expect(wire_read_ids(&l, "s", &ids, &n, NULL, &err) && wire_read_ids(&l, "a", &ids, &n, NULL, &err));
    cr_expect(wire_read_floats(&l, "a", &x, &n, NULL, &err) &&
              wire_read_floats(&l, "big", &x, &n, NULL, &err));
    cr_expect(i == 7 && d == 7 && !b && !s && !ids && !x);
    cr_expect(wire_read_int(&l, "absent", 0, 9, &i, NULL, &err) == WEIR_OK && i == 7);
    cr_expect(wire_read_number(&l, "i", &d, NULL, &err) == WEIR_OK && d == 3);
    wire_object_free(&l);
    cr_expect(parse(&l, "[1]") && parse(&l, "{\"a\":1,\"a\":2}") && parse(&l, "{\"a\":1} x") &&
              parse(&l, ""));
}

/* Whatever the size of a number, a field says what it takes; nothing else of the line is changed. */
Test(json, numbers_beyond_the_parser) {
    static char digits[310], fewer[309];
    memset(digits, '9', 309);
    memset(fewer, '9', 308);
    static const struct {
        const char *text;
        bool line; /* it is a JSON line */
        uint64_t seed;
        bool whole; /* "n" is a whole number of 64 bits */
        double number;
    } cases[] = {
        {"18446744073709551615", true, UINT64_MAX, true, 18446744073709551615.0},
        {"9223372036854775808", true, 9223372036854775808u, true, 9223372036854775808.0},
        {"9223372036854775807", true, INT64_MAX, true, 9223372036854775807.0},
        {"18446744073709551616", true, 0, false, 18446744073709551616.0},
        {"-9223372036854775809", true, 0, false, -9223372036854775809.0},
        {"100000000000000000000000000000000000000000000000", true, 0, false, 1e47},
        {digits, true, 0, false, DBL_MAX},
        {fewer, true, 0, false, 1e308},
        {"1e308", true, 0, false, 1e308},
        {"1e309", true, 0, false, DBL_MAX},
        {"-1E+999", true, 0, false, -DBL_MAX},
        {"1e-999", true, 0, false, 0},
        {"099999999999999999999", false, 0, false, 0},
        {"01e999", false, 0, false, 0},
        {"1e999e", false, 0, false, 0},
        {"1e", false, 0, false, 0},
        {"-", false, 0, false, 0},
        {"9223372036854775808.", false, 0, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[400];
        snprintf(line, sizeof line,
                 "{\"s\": \"n\\\": 18446744073709551617 1e999\", \"x\": [1e999, {\"n\": 7}], \"n\" : %s}",
                 cases[i].text);
        char *exact = malloc(strlen(line)); /* its end is the line's: a read past it is seen */
        memcpy(exact, line, strlen(line));
        wire_object l;
        cr_assert((wire_object_parse(&l, exact, strlen(line), &err) == WEIR_OK) == cases[i].line, "%s", line);
        if (cases[i].line) {
            uint64_t seed = 5;
            double number = 5;
            const char *text = NULL;
            size_t n = 0;
            cr_expect((wire_read_uint(&l, "n", &seed, NULL, &err) == WEIR_OK) == cases[i].whole, "%s", line);
            cr_expect(seed == (cases[i].whole ? cases[i].seed : 5), "%s", line);
            cr_expect(wire_read_number(&l, "n", &number, NULL, &err) == WEIR_OK && number == cases[i].number,
                      "%s: %g", line, number);
            cr_expect(wire_read_text(&l, "s", &text, &n, NULL, &err) == WEIR_OK &&
                      strcmp(text, "n\": 18446744073709551617 1e999") == 0);
        }
        wire_object_free(&l);
        free(exact);
    }
}

Test(json, numbers_that_do_not_exist_are_null_and_floats_come_back) {
    const float in[] = {NAN, INFINITY, -INFINITY, 0.1f, 1.0f / 3.0f, 1e-30f, 16777217.0f, -0.0f};
    wire_buf b = {0};
    cr_assert(wire_write(wire_floats(in, 8), &b));
    json_t *v = json_loads(b.data, 0, NULL);
    cr_assert(v != NULL);
    for (size_t i = 0; i < 8; i++) {
        json_t *e = json_array_get(v, i);
        if (i < 3)
            cr_expect(json_is_null(e));
        else
            cr_expect((float)json_number_value(e) == in[i], "%zu", i);
    }
    json_decref(v);
    wire_buf_free(&b);
}
