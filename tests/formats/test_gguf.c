#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/formats/gguf_made.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* ---- what is there ------------------------------------------------------------------------------------- */

Test(gguf, integers_of_every_kind) {
    static const struct {
        const char *key;
        uint32_t kind;
        int64_t value;
    } cases[] = {
        {"u8", KV_U8, 255},         {"i8", KV_I8, -128},         {"u16", KV_U16, 65535},
        {"i16", KV_I16, -32768},    {"u32", KV_U32, UINT32_MAX}, {"i32", KV_I32, INT32_MIN},
        {"u64", KV_U64, INT64_MAX}, {"i64", KV_I64, INT64_MIN},
    };
    enum { N = sizeof cases / sizeof *cases };
    gguf_blob b = gguf_begin(3);
    char list[8];
    for (int i = 0; i < N; i++) {
        gguf_int(&b, cases[i].key, cases[i].kind, (uint64_t)cases[i].value);
        snprintf(list, sizeof list, "%ss", cases[i].key);
        gguf_ints(&b, list, cases[i].kind, (uint64_t[]){7, (uint64_t)cases[i].value, 0}, 3);
    }
    gguf_int(&b, "huge", KV_U64, UINT64_MAX);
    gguf_finish(&b);
    weir_gguf *g = open_good(&b);
    for (int i = 0; i < N; i++) {
        int64_t v = 1, w = 1;
        double d = 0;
        bool flag;
        size_t n;
        snprintf(list, sizeof list, "%ss", cases[i].key);
        cr_expect(weir__gguf_int(g, cases[i].key, &v) && v == cases[i].value, "%s: %lld", cases[i].key,
                  (long long)v);
        cr_expect(weir__gguf_real(g, cases[i].key, &d) && d == (double)cases[i].value, "%s: %g", cases[i].key,
                  d);
        cr_expect(weir__gguf_array_length(g, list, &n) && n == 3);
        cr_expect(weir__gguf_array_int(g, list, 1, &w) && w == cases[i].value, "%s: %lld", list,
                  (long long)w);
        cr_expect(weir__gguf_array_real(g, list, 0, &d) && d == 7);
        cr_expect_not(weir__gguf_array_int(g, list, 3, &w), "past the end");
        cr_expect_not(weir__gguf_bool(g, cases[i].key, &flag));
        cr_expect_not(weir__gguf_array_length(g, cases[i].key, &n), "no array");
        cr_expect_not(weir__gguf_int(g, list, &v), "no scalar");
    }
    int64_t v = 5;
    double d;
    cr_expect_not(weir__gguf_int(g, "huge", &v), "does not fit");
    cr_expect_eq(v, 5, "untouched");
    cr_expect(weir__gguf_real(g, "huge", &d) && d == 0x1p64);
    weir__gguf_close(g);
    weir__gguf_close(NULL);
    gguf_free(&b);
}

Test(gguf, reals_bools_and_texts) {
    static const char *const list[] = {"", "x", "yz"};
    gguf_blob b = gguf_begin(2); /* the layout of version 3 */
    gguf_f32(&b, "f32", -0.1f);
    gguf_f64(&b, "f64", DBL_MIN);
    gguf_bool(&b, "yes", true);
    gguf_bool(&b, "no", false);
    gguf_text(&b, "text", "two\nlines");
    gguf_text(&b, "none", "");
    gguf_texts(&b, "list", list, 3);
    gguf_texts(&b, "empty", list, 0);
    gguf_ints(&b, "bools", KV_BOOL, (uint64_t[]){1, 0}, 2);
    gguf_ints(&b, "reals", KV_F32, (uint64_t[]){0x3f800000, 0xff800000}, 2);
    gguf_key(&b, "zero", KV_STRING);
    gguf_raw_int(&b, 3, 8);
    gguf_raw(&b, "a\0b", 3);
    gguf_finish(&b);
    weir_gguf *g = open_good(&b);
    double d;
    bool flag;
    const char *s;
    size_t n;
    int64_t v;
    cr_expect(weir__gguf_real(g, "f32", &d) && d == (double)-0.1f);
    cr_expect(weir__gguf_real(g, "f64", &d) && d == DBL_MIN);
    cr_expect_not(weir__gguf_int(g, "f32", &v));
    cr_expect(weir__gguf_bool(g, "yes", &flag) && flag);
    cr_expect(weir__gguf_bool(g, "no", &flag) && !flag);
    cr_expect_not(weir__gguf_int(g, "yes", &v));
    cr_expect_not(weir__gguf_real(g, "yes", &d));
    cr_expect(weir__gguf_string(g, "text", &s, &n) && n == 9 && memcmp(s, "two\nlines", 9) == 0);
    cr_expect(weir__gguf_string(g, "none", &s, &n) && n == 0);
    cr_expect(weir__gguf_string(g, "zero", &s, &n) && n == 3 && memcmp(s, "a\0b", 3) == 0);
    cr_expect_not(weir__gguf_string(g, "list", &s, &n));
    for (size_t i = 0; i < 3; i++)
        cr_expect(weir__gguf_array_string(g, "list", i, &s, &n) && n == i && memcmp(s, list[i], i) == 0);
    cr_expect_not(weir__gguf_array_string(g, "list", 3, &s, &n));
    cr_expect_not(weir__gguf_array_string(g, "bools", 0, &s, &n));
    cr_expect_not(weir__gguf_array_int(g, "list", 0, &v));
    cr_expect(weir__gguf_array_length(g, "empty", &n) && n == 0);
    cr_expect(weir__gguf_array_int(g, "bools", 0, &v) && v == 1);
    cr_expect(weir__gguf_array_int(g, "bools", 1, &v) && v == 0);
    cr_expect(weir__gguf_array_real(g, "reals", 0, &d) && d == 1);
    cr_expect(weir__gguf_array_real(g, "reals", 1, &d) && d == -HUGE_VAL);
    cr_expect(weir__gguf_has(g, "no") && !weir__gguf_has(g, "n") && !weir__gguf_has(g, "non") &&
              !weir__gguf_has(g, ""));
    weir__gguf_close(g);
    gguf_free(&b);
}

/* Blocks and their bytes from ggml-common.h, names from ggml.c. */
static const struct {
    uint32_t type;
    int64_t block;
    size_t bytes;
    const char *name;
} SIZES[] = {
    {0, 1, 4, "F32"},         {1, 1, 2, "F16"},         {2, 32, 18, "Q4_0"},      {3, 32, 20, "Q4_1"},
    {6, 32, 22, "Q5_0"},      {7, 32, 24, "Q5_1"},      {8, 32, 34, "Q8_0"},      {9, 32, 36, "Q8_1"},
    {10, 256, 84, "Q2_K"},    {11, 256, 110, "Q3_K"},   {12, 256, 144, "Q4_K"},   {13, 256, 176, "Q5_K"},
    {14, 256, 210, "Q6_K"},   {15, 256, 292, "Q8_K"},   {16, 256, 66, "IQ2_XXS"}, {17, 256, 74, "IQ2_XS"},
    {18, 256, 98, "IQ3_XXS"}, {19, 256, 50, "IQ1_S"},   {20, 32, 18, "IQ4_NL"},   {21, 256, 110, "IQ3_S"},
    {22, 256, 82, "IQ2_S"},   {23, 256, 136, "IQ4_XS"}, {24, 1, 1, "I8"},         {25, 1, 2, "I16"},
    {26, 1, 4, "I32"},        {27, 1, 8, "I64"},        {28, 1, 8, "F64"},        {29, 256, 56, "IQ1_M"},
    {30, 1, 2, "BF16"},       {34, 256, 54, "TQ1_0"},   {35, 256, 66, "TQ2_0"},   {39, 32, 17, "MXFP4"},
    {40, 64, 36, "NVFP4"},    {41, 128, 18, "Q1_0"},
};
enum { N_SIZES = sizeof SIZES / sizeof *SIZES };

Test(gguf, tensors_of_every_type) {
    gguf_blob b = gguf_begin(3);
    char name[8];
    for (int i = 0; i < N_SIZES; i++) {
        snprintf(name, sizeof name, "t%02d", N_SIZES - i); /* falling: the list is sorted */
        gguf_tensor(&b, name, SIZES[i].type, 2, (int64_t[]){2 * SIZES[i].block, 3}, NULL, 6 * SIZES[i].bytes);
    }
    gguf_finish(&b);
    weir_gguf *g = open_good(&b);
    cr_assert_eq(weir__gguf_count(g), (size_t)N_SIZES);
    for (int i = 0; i < N_SIZES; i++) {
        weir_entry e, f;
        weir__gguf_at(g, (size_t)(N_SIZES - 1 - i), &e);
        snprintf(name, sizeof name, "t%02d", N_SIZES - i);
        cr_assert_str_eq(e.name, name);
        cr_expect_str_eq(e.type, SIZES[i].name);
        cr_expect(e.n_dim == 2 && e.bytes == 6 * SIZES[i].bytes, "%s", e.type);
        cr_expect(e.shape[0] == 3 && e.shape[1] == 2 * SIZES[i].block && e.shape[2] == 0 && e.shape[3] == 0);
        cr_expect(((const uint8_t *)e.data)[1] == 1 &&
                  ((const uint8_t *)e.data)[e.bytes - 1] == (uint8_t)(e.bytes - 1));
        cr_expect(weir__gguf_find(g, name, &f) && f.data == e.data);
        weir__gguf_release(g, name); /* borrowed bytes: nothing to do */
    }
    weir_entry e;
    cr_expect_not(weir__gguf_find(g, "t", &e));
    cr_expect_not(weir__gguf_find(g, "", &e));
    cr_expect_not(weir__gguf_find(g, "t99", &e));
    weir__gguf_close(g);
    gguf_free(&b);
}

Test(gguf, a_file_of_nothing_is_fine) {
    gguf_blob b = gguf_begin(3);
    gguf_finish(&b);
    weir_gguf *g = open_good(&b);
    cr_expect_eq(weir__gguf_count(g), 0);
    cr_expect_not(weir__gguf_has(g, "a"));
    weir__gguf_close(g);
    gguf_free(&b);
}

/* ---- cut and torn -------------------------------------------------------------------------------------- */

Test(gguf, every_prefix_is_refused) {
    gguf_blob b = good_file();
    weir__gguf_close(open_good(&b));
    for (size_t n = 0; n < b.n; n++) expect_bytes(b.p, n, WEIR_EFORMAT, n < 24 ? "too short" : "");
    expect_bytes(NULL, 0, WEIR_EFORMAT, "0 bytes, too short");
    gguf_free(&b);
}

/* Each byte of the header set to each of these: refused with a line, or still a file whose parts can be
 * walked. */
Test(gguf, every_byte_wrong) {
    static const uint8_t values[] = {0, 1, 2, 9, 0x40, 0x7f, 0x80, 0xff};
    gguf_blob b = good_file();
    size_t header = b.n - b.n_data;
    for (size_t at = 0; at < header; at++) {
        for (size_t k = 0; k < sizeof values; k++) {
            uint8_t *exact = files_exact(b.p, b.n);
            exact[at] = values[k];
            weir_gguf *g = NULL;
            weir_err err = {""};
            if (weir__gguf_open_bytes(&g, exact, b.n, "m.gguf", &err) == WEIR_OK) {
                for (size_t i = 0; i < weir__gguf_count(g); i++) {
                    weir_entry e;
                    weir__gguf_at(g, i, &e);
                    cr_assert((const uint8_t *)e.data >= exact &&
                              (const uint8_t *)e.data + e.bytes <= exact + b.n);
                }
            } else {
                cr_assert(g == NULL && err_is_line(&err, "m.gguf"), "byte %zu: %s", at, err.text);
            }
            weir__gguf_close(g);
            free(exact);
        }
    }
    gguf_free(&b);
}

/* ---- memory and files ---------------------------------------------------------------------------------- */

Test(gguf, every_allocation_may_fail) {
    gguf_blob b = good_file();
    weir_status s = WEIR_ENOMEM;
    for (long fail = 1; s != WEIR_OK; fail++) {
        weir_gguf *g = NULL;
        weir_err err = {""};
        cr_assert_lt(fail, 20);
        alloc_install(fail);
        s = weir__gguf_open_bytes(&g, b.p, b.n, "m.gguf", &err);
        cr_assert(s == WEIR_OK || (s == WEIR_ENOMEM && g == NULL && err_is_line(&err, "no memory")), "%s",
                  err.text);
        weir__gguf_close(g);
        cr_assert_eq(alloc_live(), 0, "allocation %ld", fail);
        alloc_uninstall();
    }
    gguf_free(&b);
}

static void expect_file(const char *path, weir_status want, const char *part) {
    weir_gguf *g = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_open(&g, path, &err), want, "%s", err.text);
    cr_assert(err_is_line(&err, part), "want \"%s\", got: %s", part, err.text);
    cr_assert_null(g);
}

static int lowest_free_descriptor(void) {
    const int fd = dup(STDOUT_FILENO);
    close(fd);
    return fd;
}

Test(gguf, files_that_cannot_be_read) {
    char *dir = files_temp_dir(), *path = files_path(dir, "f.gguf");
    const int fd = lowest_free_descriptor();
    expect_file(path, WEIR_EIO, "cannot open: No such file");
    expect_file(dir, WEIR_EIO, "is a directory");
    expect_file("/dev/zero", WEIR_EIO, "is not an ordinary file");
    files_write(dir, "f.gguf", "", 0);
    expect_file(path, WEIR_EFORMAT, "empty file");
    files_write(dir, "f.gguf", "GGUF", 4);
    expect_file(path, WEIR_EFORMAT, "4 bytes, too short");
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_file(path, WEIR_EIO, "is not an ordinary file"); /* and does not wait for a writer */
    cr_assert_eq(lowest_free_descriptor(), fd, "a file is still open");
    free(path);
    files_remove_dir(dir);
}

static bool is_mapped(const char *path) {
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    while (f && fgets(line, sizeof line, f)) found = found || strstr(line, path);
    if (f) fclose(f);
    return found;
}

Test(gguf, a_file_is_unmapped_whatever_fails) {
    char *dir = files_temp_dir(), *path = files_path(dir, "m.gguf");
    gguf_blob b = good_file();
    files_write(dir, "m.gguf", b.p, b.n);
    gguf_free(&b);
    weir_status s = WEIR_ENOMEM;
    for (long fail = 1; s != WEIR_OK; fail++) {
        weir_gguf *g = NULL;
        alloc_install(fail);
        s = weir__gguf_open(&g, path, NULL);
        cr_assert_eq(is_mapped(path), s == WEIR_OK, "allocation %ld", fail);
        weir__gguf_close(g);
        alloc_uninstall();
        cr_assert(!is_mapped(path) && fail < 20, "allocation %ld", fail);
    }
    free(path);
    files_remove_dir(dir);
}

Test(gguf, released_pages_read_the_same_again) {
    enum { N = 1 << 16 };
    char *dir = files_temp_dir(), *path = files_path(dir, "m.gguf");
    gguf_blob b = gguf_begin(3);
    gguf_tensor(&b, "w", 24, 1, (int64_t[]){N}, NULL, N);
    gguf_finish(&b);
    files_write(dir, "m.gguf", b.p, b.n);
    weir_gguf *g = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_open(&g, path, &err), WEIR_OK, "%s", err.text);
    weir_entry e;
    cr_assert(weir__gguf_find(g, "w", &e));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) cr_assert_eq(((const uint8_t *)e.data)[i], (uint8_t)i);
        weir__gguf_release(g, "w");
        weir__gguf_release(g, "none");
    }
    weir__gguf_close(g);
    gguf_free(&b);
    free(path);
    files_remove_dir(dir);
}
