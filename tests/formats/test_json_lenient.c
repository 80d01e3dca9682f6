#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* The text that jansson is given, malloc'ed. */
static char *lenient(const char *text, size_t n) {
    char *exact = (char *)files_exact(text, n), *out = NULL;
    size_t n_out = n;
    cr_assert_eq(weir__json_lenient(exact, n, &out, &n_out), WEIR_OK);
    cr_assert(out == NULL || n_out > n, "every rewriting makes a text longer");
    char *all = calloc(n_out + 1, 1);
    memcpy(all, out ? out : exact, n_out);
    weir_free(out);
    free(exact);
    return all;
}

static void expect(const char *text, const char *want) {
    char *got = lenient(text, strlen(text));
    cr_expect_str_eq(got, want, "%s: got %s", text, got);
    free(got);
}

Test(json_lenient, numbers) {
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"0", "0"},
        {"-0", "-0"},
        {"9223372036854775807", "9223372036854775807"},
        {"9223372036854775808", "9223372036854775808e0"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"-9223372036854775809", "-9223372036854775809e0"},
        {"1000000000000000019884624838656", "1000000000000000019884624838656e0"},
        {"1e30", "1e30"},
        {"1.5e+308", "1.5e+308"},
        {"1.7976931348623157e308", "1.7976931348623157e308"},
        {"1.7976931348623159e308", "\"1.7976931348623159e308\""},
        {"17976931348623157e292", "17976931348623157e292"},
        {"0.00017976931348623159e312", "\"0.00017976931348623159e312\""},
        {"1e309", "\"1e309\""},
        {"-1E400", "\"-1E400\""},
        {"1e99999999999999999999", "\"1e99999999999999999999\""},
        {"1e-99999999999999999999", "1e-99999999999999999999"},
        {"0e99999", "0e99999"},
        {"0.000e400", "0.000e400"},
        {"0.001e311", "0.001e311"},
        {"0.01e311", "\"0.01e311\""},
        {"NaN", "\"NaN\""},
        {"Infinity", "\"Infinity\""},
        {"-Infinity", "\"-Infinity\""},
        {"[1e999,{\"a\":-1e999}]", "[\"1e999\",{\"a\":\"-1e999\"}]"},
        /* no JSON: left for jansson to refuse */
        {"01e999", "01e999"},
        {"1.e999", "1.e999"},
        {"1e", "1e"},
        {"--1", "--1"},
        {"1.2.3e999", "1.2.3e999"},
        {"-", "-"},
        {"Nan", "Nan"},
        {"I", "I"},
        {"00000000000000000000000", "00000000000000000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect(cases[i].text, cases[i].want);
    char digits[1001] = "", want[1003];
    memset(digits, '9', 1000);
    snprintf(want, sizeof want, "\"%s\"", digits);
    expect(digits, want);
    digits[308] = '\0';
    snprintf(want, sizeof want, "%se0", digits);
    expect(digits, want);
}

Test(json_lenient, strings) {
    expect("\"1e999 NaN 99999999999999999999\"", "\"1e999 NaN 99999999999999999999\"");
    expect("\"a\\\"1e999\"", "\"a\\\"1e999\"");
    expect("\"\\\\\",1e999", "\"\\\\\",\"1e999\"");
    expect("\"\\u0000\"", "\"\\udbff\\udfff\"");
    expect("{\"a\\u0000b\\u0000\":\"\\u0001\"}", "{\"a\\udbff\\udfffb\\udbff\\udfff\":\"\\u0001\"}");
    expect("\"\\\\u0000\"", "\"\\\\u0000\""); /* a backslash, and letters */
    expect("\"\\\\\\u0000\"", "\"\\\\\\udbff\\udfff\"");
    expect("\"\\u000", "\"\\u000");
    expect("\"open 1e999", "\"open 1e999");
    expect("\"\\", "\"\\");
}

static json_t *object(const char *text) {
    json_t *root = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__json_object(text, strlen(text), "f.json", &root, &err), WEIR_OK, "%s", err.text);
    return root;
}

Test(json_lenient, what_readers_see) {
    json_t *o = object(
        "{\"model_max_length\":1000000000000000019884624838656,\"a\":1,\"a\":2,\"x\":1e400,\"\\u0000\":7,"
        "\"w\":\"\\u0000\"}");
    cr_assert(json_real_value(json_object_get(o, "model_max_length")) == 1000000000000000019884624838656.0);
    cr_assert_eq(json_integer_value(json_object_get(o, "a")), 2);
    cr_assert_str_eq(json_string_value(json_object_get(o, "x")), "1e400");
    cr_assert_eq(json_integer_value(json_object_get(o, WEIR_JSON_ZERO)), 7);
    cr_assert_str_eq(json_string_value(json_object_get(o, "w")), WEIR_JSON_ZERO);
    json_decref(o);
    static const char *const strict[] = {"{\"a\":1,\"a\":2}", "{\"a\":99999999999999999999}", "{\"a\":1e400}",
                                         "{\"a\":NaN}", "{\"\\u0000\":1}"};
    for (size_t i = 0; i < sizeof strict / sizeof *strict; i++) {
        weir_err err = {""};
        cr_expect_eq(weir__json_strict(strict[i], strlen(strict[i]), "f.json", &o, &err), WEIR_EFORMAT, "%s",
                     strict[i]);
        cr_expect(err_is_line(&err, "f.json: bad JSON"), "%s: %s", strict[i], err.text);
        json_decref(object(strict[i]));
    }
}

static const char WHOLE[] = "{\"a\\u0000\":[NaN,-Infinity,12345678901234567890,1e999,{\"b\":\"\\\\\\\"\"}]}";

Test(json_lenient, every_prefix_is_refused) {
    for (size_t i = 0; i < sizeof WHOLE; i++) {
        char *exact = (char *)files_exact(WHOLE, i);
        json_t *root = NULL;
        weir_err err = {""};
        cr_expect_eq(weir__json_object(exact, i, "f.json", &root, &err),
                     i == sizeof WHOLE - 1 ? WEIR_OK : WEIR_EFORMAT, "%zu", i);
        if (root) json_decref(root);
        free(exact);
    }
}

Test(json_lenient, a_failing_allocation_is_reported) {
    json_t *root = NULL;
    weir_err err = {""};
    alloc_install(1);
    const weir_status s = weir__json_object(WHOLE, sizeof WHOLE - 1, "f.json", &root, &err);
    const long live = alloc_live();
    alloc_uninstall();
    cr_assert(s == WEIR_ENOMEM && live == 0 && err_is_line(&err, "no memory"), "%s", err.text);
}
