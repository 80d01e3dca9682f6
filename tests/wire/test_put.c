/* JSON written at once: spelled as jansson spells it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/json.h"
#include "host/wire/put.h"
#include "tests/support/alloc.h"

static void expect_same(wire_buf *put, json_t *value) {
    wire_buf want = {0};
    cr_assert(wire_write(json_pack("[o]", value), &want));
    want.data[want.len - 1] = '\0';
    cr_expect_str_eq(put->data, want.data + 1);
    wire_buf_free(&want);
    put->len = 0;
}

Test(put, reals_are_spelled_as_in_values) {
    static const double some[] = {0,          -0.0,    1,          -1,         0.1,     1e-4,
                                  9.99999e-5, 1e-5,    1000,       999.99,     1e9,     1e10,
                                  123456789., 0.5,     -9999,      1e300,      5e-9,    1e-45,
                                  1.5e-10,    -1e-100, 99999999.5, 99999999.4, 0.0001f, (double)0.1f};
    wire_buf b = {0};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        wire_put_real(&b, some[i]);
        expect_same(&b, json_real(some[i]));
    }
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 300000; i++) {
        float x;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        /* all exponents, and every second time those of log-probabilities */
        const uint32_t all = (uint32_t)(state >> 16),
                       usual =
                           (all & 0x807fffff) | ((uint32_t)(113 + (state & 15) + (state >> 4 & 15)) << 23);
        memcpy(&x, i & 1 ? &all : &usual, sizeof x);
        if (!isfinite(x)) continue;
        wire_put_real(&b, (double)x);
        expect_same(&b, json_real((double)x));
    }
    /* halves between two ninth digits go to the even one, and what rounds up gets another digit */
    for (int i = 0; i < 20000; i++) {
        const float x = (float)(i * 32 + 1) / 1024, y = nextafterf((float)(i + 1) / 20, 0);
        wire_put_real(&b, (double)x);
        expect_same(&b, json_real((double)x));
        wire_put_real(&b, (double)y);
        expect_same(&b, json_real((double)y));
    }
    wire_buf_free(&b);
}

Test(put, what_is_not_finite_is_null) {
    wire_buf b = {0};
    wire_put_real(&b, NAN);
    wire_put_real(&b, INFINITY);
    wire_put_real(&b, -INFINITY);
    cr_expect_str_eq(b.data, "nullnullnull");
    wire_buf_free(&b);
}

Test(put, integers_of_all_sizes) {
    static const int64_t some[] = {0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN};
    wire_buf b = {0};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        wire_put_int(&b, some[i]);
        expect_same(&b, json_integer(some[i]));
    }
    wire_buf_free(&b);
}

Test(put, texts_are_escaped_as_in_values) {
    wire_buf b = {0};
    char bytes[4];
    for (int c = 0; c < 256; c++) {
        bytes[0] = 'x';
        bytes[1] = (char)c;
        bytes[2] = 'y';
        wire_put_text(&b, bytes, 3);
        expect_same(&b, wire_text(bytes, 3));
    }
    static const char *const some[] = {"",
                                       "plain",
                                       "\"\\/\b\f\n\r\t",
                                       "gr\xc3\xbc\xc3\x9f",
                                       "\xe2\x82\xac\xf0\x9f\x98\x80",
                                       "\xf0\x9f\x98",
                                       "\xe2\x82\"",
                                       "\xed\xa0\x80",
                                       "\xc0\xaf",
                                       "\xff\xfe"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        wire_put_text(&b, some[i], strlen(some[i]));
        expect_same(&b, wire_text(some[i], strlen(some[i])));
    }
    uint32_t state = 7;
    for (int i = 0; i < 20000; i++) {
        for (int k = 0; k < 4; k++) {
            state = state * 1664525u + 1013904223u;
            bytes[k] = (char)(state >> 24);
        }
        wire_put_text(&b, bytes, 4);
        expect_same(&b, wire_text(bytes, 4));
    }
    wire_buf_free(&b);
}

/* What is missing is noticed at the end, and what follows is still written to what there was. */
Test(put, want_of_memory_is_remembered) {
    wire_buf b = {0};
    alloc_install(2);
    for (int i = 0; i < 1000 && !b.failed; i++) wire_put_text(&b, "0123456789", 10);
    cr_expect(b.failed && b.len < 256);
    wire_put_real(&b, 1.5);
    cr_expect(b.failed);
    wire_buf_free(&b);
    cr_expect(!b.failed && alloc_live() == 0);
    alloc_uninstall();
}
