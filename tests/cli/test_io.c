/* Lines of any length and bytes, text as valid UTF-8, JSON lines; and what each does when memory ends. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/cli.h"
#include "host/cli/io.h"
#include "host/cli/json.h"
#include "tests/support/alloc.h"

static void expect_clean(const char *in, size_t n, const char *want) {
    cli_buf b = {0};
    cr_assert(cli_buf_add_utf8(&b, in, n));
    cr_expect_str_eq(b.data, want);
    cr_expect(b.len == strlen(want));
    cli_buf_free(&b);
}

#define BAD "\xef\xbf\xbd"

Test(io, invalid_utf8_becomes_replacement_characters) {
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
Test(io, cleaned_text_is_what_jansson_takes) {
    static const unsigned char edge[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2,
                                         0xdf, 0xe0, 0xec, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    enum { N = sizeof edge };
    char in[4];
    for (int i = 0; i < N * N * N * N; i++) {
        for (int k = 0, rest = i; k < 4; k++, rest /= N) in[k] = (char)edge[rest % N];
        cli_buf b = {0};
        cr_assert(cli_buf_add_utf8(&b, in, 4));
        json_t *v = json_stringn(b.data, b.len);
        cr_assert(v != NULL, "%02x %02x %02x %02x", (unsigned)(unsigned char)in[0],
                  (unsigned)(unsigned char)in[1], (unsigned)(unsigned char)in[2],
                  (unsigned)(unsigned char)in[3]);
        json_decref(v);
        cli_buf_free(&b);
    }
}

/* A reader over bytes, through a pipe or a file. */
static cli_reader reader_of(const char *bytes, size_t n) {
    char path[] = "/tmp/weir_io_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    cli_reader r;
    cr_assert(cli_reader_open(&r, path) == CLI_OK);
    unlink(path);
    return r;
}

Test(io, lines_keep_nul_bytes_and_lose_line_ends_only) {
    static const char text[] = "one\n\nt\0o\r\nlast";
    cli_reader r = reader_of(text, sizeof text - 1);
    cr_expect(cli_reader_count(&r) == 4);
    static const struct {
        const char *s;
        size_t n;
    } want[] = {{"one", 3}, {"", 0}, {"t\0o", 3}, {"last", 4}};
    for (int i = 0; i < 4; i++) {
        const char *line;
        size_t n;
        cr_assert(cli_reader_next(&r, true, &line, &n) == CLI_READ_LINE);
        cr_expect(n == want[i].n && memcmp(line, want[i].s, n) == 0, "line %d", i);
        cr_expect(r.line == i + 1);
    }
    const char *line;
    size_t n;
    cr_expect(cli_reader_next(&r, true, &line, &n) == CLI_READ_END);
    cr_expect(cli_reader_next(&r, true, &line, &n) == CLI_READ_END);
    cli_reader_close(&r);
}

Test(io, lines_longer_than_any_buffer) {
    enum { N = 5 << 20 };
    char *text = malloc(N);
    memset(text, 'x', N);
    text[N / 2] = '\n';
    cli_reader r = reader_of(text, N);
    const char *line;
    size_t n;
    cr_assert(cli_reader_next(&r, true, &line, &n) == CLI_READ_LINE && n == N / 2);
    cr_assert(cli_reader_next(&r, true, &line, &n) == CLI_READ_LINE && n == N - N / 2 - 1);
    cli_reader_close(&r);
    free(text);
}

Test(io, a_line_that_is_not_there_yet_is_not_waited_for) {
    int fd[2];
    cr_assert(pipe(fd) == 0);
    cli_reader r = {.fd = fd[0], .name = "pipe"};
    const char *line;
    size_t n;
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LATER);
    cr_assert(write(fd[1], "ab", 2) == 2);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LATER);
    cr_assert(write(fd[1], "c\nx\nd", 5) == 5);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LINE && n == 3 &&
              memcmp(line, "abc", 3) == 0);
    /* within what was scanned */
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LINE && n == 1 && *line == 'x');
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LATER);
    close(fd[1]);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_LINE && n == 1);
    cr_expect(cli_reader_next(&r, false, &line, &n) == CLI_READ_END);
    cli_reader_close(&r);
}

/* Reads and parses a small input with fewer and fewer failures; every round must leave nothing behind. */
static int read_and_parse(int fd) {
    cli_reader r = {.fd = dup(fd), .name = "input"};
    lseek(fd, 0, SEEK_SET);
    const char *text;
    size_t n;
    cli_line l = {0};
    int32_t *ids = NULL;
    float *x = NULL;
    int rc = cli_reader_next(&r, true, &text, &n) == CLI_READ_LINE ? CLI_OK : CLI_FAILED;
    if (!rc) rc = cli_line_parse(&l, r.name, r.line, text, n);
    if (!rc) rc = cli_line_ids(&l, "ids", &ids, &n, NULL);
    if (!rc) rc = cli_line_floats(&l, "x", &x, &n, NULL);
    cli_buf b = {0};
    if (!rc) rc = cli_json_write(cli_json_floats(x, n), &b);
    cli_buf_free(&b);
    weir_free(ids);
    weir_free(x);
    cli_line_free(&l);
    cli_reader_close(&r);
    return rc;
}

Test(io, no_memory_is_an_error_and_leaves_nothing_behind) {
    char path[] = "/tmp/weir_io_XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    static const char text[] =
        "{\"ids\": [1, 2, 3], \"x\": [0.5, -1], \"n\": 18446744073709551615, \"m\": 1e999}\n";
    cr_assert(write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1));
    bool done = false;
    for (long fail_at = 1; !done; fail_at++) {
        cr_assert(fail_at < 1000);
        alloc_install(fail_at);
        int rc = read_and_parse(fd);
        long live = alloc_live();
        done = rc == CLI_OK;
        alloc_uninstall();
        cr_assert(live == 0, "%ld blocks left when allocation %ld fails", live, fail_at);
    }
    close(fd);
}

/* ---- fields -------------------------------------------------------------------------------------------- */

static int parse(cli_line *l, const char *text) { return cli_line_parse(l, "t", 1, text, strlen(text)); }

Test(json, every_prefix_of_a_line_is_refused_or_parsed) {
    static const char text[] =
        "{\"prompt\": \"a\\u00fcb\", \"stop\": [\"x\", \"y\"], \"seed\": 12, \"t\": 0.5e-3, \"b\": true}";
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n ? n : 1); /* exactly sized: an overrun is seen */
        memcpy(exact, text, n);
        cli_line l;
        int rc = cli_line_parse(&l, "t", 1, exact, n);
        cr_expect(rc == (n == sizeof text - 1 ? CLI_OK : CLI_FAILED), "%zu bytes", n);
        if (!rc) cli_line_free(&l);
        free(exact);
    }
}

Test(json, fields_of_the_wrong_type_are_refused_and_leave_the_value) {
    cli_line l;
    cr_assert(
        parse(&l,
              "{\"s\": \"x\", \"i\": 3, \"r\": 1.5, \"b\": true, \"a\": [1, \"y\"], \"n\": null, \"big\": "
              "[1e39]}") == CLI_OK);
    int64_t i = 7;
    double d = 7;
    bool b = false;
    const char *s = NULL;
    size_t n = 0;
    int32_t *ids = NULL;
    float *x = NULL;
    cr_expect(cli_line_int(&l, "s", 0, 9, &i, NULL) && cli_line_int(&l, "r", 0, 9, &i, NULL));
    cr_expect(cli_line_int(&l, "n", 0, 9, &i, NULL) && cli_line_int(&l, "i", 0, 2, &i, NULL));
    cr_expect(cli_line_number(&l, "s", &d, NULL) && cli_line_bool(&l, "i", &b, NULL) &&
              cli_line_text(&l, "i", &s, &n, NULL));
    cr_expect(cli_line_ids(&l, "s", &ids, &n, NULL) && cli_line_ids(&l, "a", &ids, &n, NULL));
    cr_expect(cli_line_floats(&l, "a", &x, &n, NULL) && cli_line_floats(&l, "big", &x, &n, NULL));
    cr_expect(i == 7 && d == 7 && !b && !s && !ids && !x);
    cr_expect(cli_line_int(&l, "absent", 0, 9, &i, NULL) == CLI_OK && i == 7);
    cr_expect(cli_line_number(&l, "i", &d, NULL) == CLI_OK && d == 3);
    cli_line_free(&l);
    cr_expect(parse(&l, "[1]") && parse(&l, "{\"a\":1,\"a\":2}") && parse(&l, "{\"a\":1} x") &&
              parse(&l, ""));
}

/* Whatever the size of a number, a field says what it takes; nothing else of the line is changed. */
Test(json, numbers_beyond_the_parser) {
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
        cli_line l;
        cr_assert((cli_line_parse(&l, "t", 1, exact, strlen(line)) == CLI_OK) == cases[i].line, "%s", line);
        if (cases[i].line) {
            uint64_t seed = 5;
            double number = 5;
            const char *text = NULL;
            size_t n = 0;
            cr_expect((cli_line_uint(&l, "n", &seed, NULL) == CLI_OK) == cases[i].whole, "%s", line);
            cr_expect(seed == (cases[i].whole ? cases[i].seed : 5), "%s", line);
            cr_expect(cli_line_number(&l, "n", &number, NULL) == CLI_OK && number == cases[i].number,
                      "%s: %g", line, number);
            cr_expect(cli_line_text(&l, "s", &text, &n, NULL) == CLI_OK &&
                      strcmp(text, "n\": 18446744073709551617 1e999") == 0);
        }
        cli_line_free(&l);
        free(exact);
    }
}

Test(json, numbers_that_do_not_exist_are_null_and_floats_come_back) {
    const float in[] = {NAN, INFINITY, -INFINITY, 0.1f, 1.0f / 3.0f, 1e-30f, 16777217.0f, -0.0f};
    cli_buf b = {0};
    cr_assert(cli_json_write(cli_json_floats(in, 8), &b) == CLI_OK);
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
    cli_buf_free(&b);
}
