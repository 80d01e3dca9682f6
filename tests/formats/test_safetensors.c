#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/formats/safetensors/safetensors.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* ---- making files -------------------------------------------------------------------------------------- */

typedef struct blob {
    uint8_t *bytes;
    size_t n;
} blob;

/* A safetensors file of a header text and n_data bytes 0, 1, 2, …; `length` overrides the header's. */
static blob make_with_length(const char *header, size_t n_data, uint64_t length) {
    size_t n_header = strlen(header);
    blob b = {malloc(8 + n_header + n_data + 1), 8 + n_header + n_data};
    for (int i = 0; i < 8; i++) b.bytes[i] = (uint8_t)(length >> (8 * i));
    memcpy(b.bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++) b.bytes[8 + n_header + i] = (uint8_t)i;
    return b;
}

static blob make(const char *header, size_t n_data) {
    return make_with_length(header, n_data, strlen(header));
}

static weir_status open_blob(blob b, weir_safetensors **out, weir_err *err) {
    err->text[0] = '\0';
    *out = NULL;
    return weir__safetensors_open_bytes(out, b.bytes, b.n, "m.safetensors", err);
}

/* From an exactly sized block: a read past the end is an error under ASan. */
static void expect_refused(blob b, const char *part) {
    weir_err err;
    weir_safetensors *s;
    blob exact = {files_exact(b.bytes, b.n), b.n};
    weir_status st = open_blob(exact, &s, &err);
    cr_assert_eq(st, WEIR_EFORMAT, "status %d instead of a refusal with \"%s\"", st, part);
    cr_assert_null(s);
    cr_assert(err_is_line(&err, part) && strstr(err.text, "m.safetensors"), "want \"%s\", got: %s", part,
              err.text);
    free(exact.bytes);
}

static void expect_header_refused(const char *header, size_t n_data, const char *part) {
    blob b = make(header, n_data);
    expect_refused(b, part);
    free(b.bytes);
}

static const char GOOD[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                           "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[4,28]},"
                           "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                           "\"empty\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
                           "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]},"
                           "\"odd\":{\"dtype\":\"X3\",\"shape\":[5],\"data_offsets\":[36,39]}}   ";
enum { GOOD_DATA = 39 };

/* ---- what is there ------------------------------------------------------------------------------------- */

Test(safetensors, lists_tensors_by_name) {
    blob b = make(GOOD, GOOD_DATA);
    weir_safetensors *s;
    weir_err err;
    cr_assert_eq(open_blob(b, &s, &err), WEIR_OK, "%s", err.text);
    static const char *const names[] = {"a", "b", "empty", "odd", "scalar"};
    static const size_t bytes[] = {4, 24, 0, 3, 8};
    static const char *const dtypes[] = {"BF16", "F32", "F16", "X3", "I64"};
    cr_assert_eq(weir__safetensors_count(s), 5);
    for (size_t i = 0; i < 5; i++) {
        weir_entry e, f;
        weir__safetensors_at(s, i, &e);
        cr_assert_str_eq(e.name, names[i]);
        cr_assert_str_eq(e.type, dtypes[i]);
        cr_assert_eq(e.bytes, bytes[i]);
        cr_assert(weir__safetensors_find(s, names[i], &f));
        cr_assert_eq(f.data, e.data);
    }
    weir_entry e;
    cr_assert(weir__safetensors_find(s, "b", &e));
    cr_assert(e.n_dim == 2 && e.shape[0] == 2 && e.shape[1] == 3);
    cr_assert_eq(((const uint8_t *)e.data)[0], 4);
    cr_assert(weir__safetensors_find(s, "scalar", &e) && e.n_dim == 0);
    cr_assert_not(weir__safetensors_find(s, "", &e));
    cr_assert_not(weir__safetensors_find(s, "aa", &e));
    cr_assert_not(weir__safetensors_find(s, "__metadata__", &e));
    weir__safetensors_release(s, "b"); /* borrowed bytes: nothing to do */
    weir__safetensors_release(s, "none");
    weir__safetensors_close(s);
    weir__safetensors_close(NULL);
    free(b.bytes);
}

Test(safetensors, a_file_without_tensors_is_fine) {
    blob b = make("{}", 0);
    weir_safetensors *s;
    weir_err err;
    cr_assert_eq(open_blob(b, &s, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__safetensors_count(s), 0);
    weir_entry e;
    cr_assert_not(weir__safetensors_find(s, "a", &e));
    weir__safetensors_close(s);
    free(b.bytes);
}

Test(safetensors, every_prefix_is_refused) {
    blob b = make(GOOD, GOOD_DATA);
    for (size_t n = 0; n < b.n; n++) expect_refused((blob){b.bytes, n}, "");
    free(b.bytes);
}

/* ---- attacks on the format ----------------------------------------------------------------------------- */

Test(safetensors, header_lengths) {
    static const struct {
        uint64_t length;
        const char *part;
    } bad[] = {
        {0, "does not start with '{'"},
        {1, "bad JSON"},
        {3, "truncated: header of 3 bytes in a file of 10"},
        {99999999, "truncated"},
        {100000001, "at most"},
        {UINT64_MAX, "at most"},
        {UINT64_MAX - 7, "at most"},
        {1ull << 63, "at most"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        blob b = make_with_length("{}", 0, bad[i].length);
        expect_refused(b, bad[i].part);
        free(b.bytes);
    }
}

#define T(shape, offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

Test(safetensors, shapes_and_offsets) {
    static const struct {
        const char *header;
        size_t n_data;
        const char *part;
    } bad[] = {
        {T("[1]", "[0,8]"), 8, "do not fit dtype F32"},
        {T("[1]", "[0,3]"), 3, "do not fit dtype F32"},
        {T("[2,2]", "[0,8]"), 8, "shape of 4 elements"},
        {T("[1]", "[4,0]"), 4, "run backwards"},
        {T("[1]", "[4,8]"), 8, "leaves a gap after 0"},
        {T("[1]", "[0,4]"), 5, "tensors end at 4, the file has 5"},
        {T("[1]", "[0,4]"), 3, "data ends at 4, the file has 3"},
        {T("[2]", "[0,8]"), 4, "data ends at 8"},
        {T("[1]", "[9223372036854775803,9223372036854775807]"), 4, "data ends at"},
        {T("[1]", "[-4,0]"), 4, "data_offsets"},
        {T("[1]", "[0]"), 4, "data_offsets"},
        {T("[1]", "[0,4,8]"), 4, "data_offsets"},
        {T("[1]", "[0,4.0]"), 4, "data_offsets"},
        {T("[1]", "[0,\"4\"]"), 4, "data_offsets"},
        {T("[1]", "[0,null]"), 4, "data_offsets"},
        {T("[1]", "{}"), 4, "data_offsets"},
        {T("[1]", "[0,18446744073709551616]"), 4, "bad JSON"},
        {T("[-1]", "[0,4]"), 4, "shape[0] is not a non-negative integer"},
        {T("[1,1.0]", "[0,4]"), 4, "shape[1]"},
        {T("[1,true]", "[0,4]"), 4, "shape[1]"},
        {T("[1e0]", "[0,4]"), 4, "shape[0]"},
        {T("[\"1\"]", "[0,4]"), 4, "shape[0]"},
        {T("[null]", "[0,4]"), 4, "shape[0]"},
        {T("1", "[0,4]"), 4, "shape is not a list"},
        {T("null", "[0,4]"), 4, "shape is not a list"},
        {T("[4294967296,4294967296]", "[0,4]"), 4, "overflows 63 bits at dimension 1"},
        {T("[9223372036854775807,2]", "[0,4]"), 4, "overflows 63 bits"},
        {T("[9223372036854775807]", "[0,4]"), 4, "do not fit"},
        {T("[2305843009213693953]", "[0,4]"), 4, "do not fit"}, /* x 4 bytes = 4 mod 2^63 */
        {T("[4611686018427387905]", "[0,4]"), 4, "do not fit"}, /* x 4 bytes = 4 mod 2^64 */
        {T("[4294967296,4294967296,0]", "[0,0]"), 0, "overflows 63 bits"},
        {T("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "9 dimensions, expected at most 8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_header_refused(bad[i].header, bad[i].n_data, bad[i].part);
}

#define TWO(a, b)                                                \
    "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a \
    "},\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b "}}"

Test(safetensors, overlaps_gaps_and_tails) {
    expect_header_refused(TWO("[0,4]", "[0,4]"), 4, "tensor y: data at 0 overlaps");
    expect_header_refused(TWO("[0,4]", "[3,7]"), 7, "tensor y: data at 3 overlaps");
    expect_header_refused(TWO("[3,7]", "[0,4]"), 7, "tensor x: data at 3 overlaps");
    expect_header_refused(TWO("[0,4]", "[5,9]"), 9, "tensor y: data at 5 leaves a gap after 4");
    expect_header_refused(TWO("[1,5]", "[5,9]"), 9, "tensor x: data at 1 leaves a gap");
    expect_header_refused(TWO("[0,4]", "[4,8]"), 9, "tensors end at 8, the file has 9");
    expect_header_refused("{\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
                          "\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
                          4, "overlaps");
    expect_header_refused("{}", 1, "tensors end at 0, the file has 1");
}

Test(safetensors, entries_of_the_wrong_kind) {
    expect_header_refused("[]", 0, "does not start with '{'");
    expect_header_refused(" {}", 0, "does not start with '{'");
    expect_header_refused("{}x", 0, "bad JSON");
    expect_header_refused("{} {}", 0, "bad JSON");
    expect_header_refused("{\"a\":1}", 0, "tensor a: entry is not an object");
    expect_header_refused("{\"a\":null}", 0, "tensor a: entry is not an object");
    expect_header_refused("{\"a\":[]}", 0, "tensor a: entry is not an object");
    expect_header_refused("{\"a\":{}}", 0, "dtype is not a string");
    expect_header_refused("{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,0]}}", 0,
                          "dtype is not a string");
    expect_header_refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}", 0, "shape is not a list");
    expect_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, "data_offsets");
    expect_header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"codec\":\"z\"}}",
                          1, "unknown field codec");
    expect_header_refused("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    expect_header_refused("{\"__metadata__\":{\"k\":1}}", 0, "k is not a string");
    expect_header_refused("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
                          "do not fit dtype F4");
}

Test(safetensors, names_and_text) {
    expect_header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                          "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                          1, "bad JSON");
    expect_header_refused("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                          1, "bad JSON");
    expect_header_refused("{\"\xff\":{}}", 0, "bad JSON");
    expect_header_refused("{\"\xc0\x80\":{}}", 0, "bad JSON");
    expect_header_refused("{\"\xed\xa0\x80\":{}}", 0, "bad JSON");
    expect_header_refused("{\"a\\u0000b\":{}}", 0, "bad JSON");
    expect_header_refused("{\"line\\nbreak\":1}", 0, "entry is not an object"); /* still one line */
}

Test(safetensors, deep_nesting_is_an_error_not_an_overflow) {
    enum { DEPTH = 1000000 };
    char *header = malloc(DEPTH + 16);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    header[DEPTH + 5] = '\0';
    expect_header_refused(header, 0, "bad JSON");
    free(header);
}

Test(safetensors, more_values_than_any_checkpoint_has) {
    enum { COMMAS = (1 << 22) + 1 };
    char *header = malloc(2 * COMMAS + 16), *p = header;
    memcpy(p, "{\"a\":[0", 7);
    p += 7;
    for (int i = 0; i < COMMAS; i++) *p++ = ',', *p++ = '0';
    memcpy(p, "]}", 3);
    expect_header_refused(header, 0, "commas");
    free(header);
}

Test(safetensors, a_name_as_long_as_the_header_stays_one_line) {
    enum { N = 1 << 20 };
    char *header = malloc(N + 64);
    memcpy(header, "{\"", 2);
    memset(header + 2, 'n', N);
    memcpy(header + 2 + N, "\":{}}", 6);
    expect_header_refused(header, 0, "dtype is not a string");
    free(header);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void expect_file(const char *path, weir_status want, const char *part) {
    weir_safetensors *s = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__safetensors_open_file(&s, path, &err), want, "%s", err.text);
    cr_assert(err_is_line(&err, part), "want \"%s\", got: %s", part, err.text);
    cr_assert_null(s);
}

Test(safetensors, files_that_cannot_be_read) {
    char *dir = files_temp_dir(), *path = files_path(dir, "f");
    expect_file(path, WEIR_EIO, "cannot open: No such file");
    expect_file(dir, WEIR_EIO, "is a directory");
    expect_file("/dev/zero", WEIR_EIO, "is not an ordinary file");
    files_write(dir, "f", "", 0);
    expect_file(path, WEIR_EFORMAT, "empty file");
    files_write(dir, "f", "1234567", 7);
    expect_file(path, WEIR_EFORMAT, "7 bytes, too short");
    if (geteuid() != 0) { /* root reads everything */
        chmod(path, 0);
        expect_file(path, WEIR_EIO, "Permission denied");
    }
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_file(path, WEIR_EIO, "is not an ordinary file"); /* and does not wait for a writer */
    free(path);
    files_remove_dir(dir);
}

Test(safetensors, a_long_path_leaves_room_for_the_reason) {
    char path[3000];
    memset(path, 'd', sizeof path - 1);
    for (size_t i = 0; i < sizeof path; i += 200) path[i] = '/';
    path[sizeof path - 1] = '\0';
    expect_file(path, WEIR_EIO, "cannot open");
}

Test(safetensors, released_pages_read_the_same_again) {
    enum { N = 1 << 16 };
    char header[128], *dir = files_temp_dir(), *path = files_path(dir, "model.safetensors");
    snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", N,
             N);
    blob b = make(header, N);
    files_write(dir, "model.safetensors", b.bytes, b.n);
    weir_safetensors *s;
    weir_err err = {""};
    cr_assert_eq(weir__safetensors_open_dir(&s, dir, &err), WEIR_OK, "%s", err.text);
    weir_entry e;
    cr_assert(weir__safetensors_find(s, "w", &e));
    const uint8_t *data = e.data;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) cr_assert_eq(data[i], (uint8_t)i);
        weir__safetensors_release(s, "w");
    }
    unsigned char in_core[N / 4096 + 2];
    uintptr_t first = ((uintptr_t)data + 4095) & ~(uintptr_t)4095;
    cr_assert_eq(mincore((void *)first, N - 8192, in_core), 0); /* the map is still there */
    weir__safetensors_close(s);
    free(b.bytes);
    free(path);
    files_remove_dir(dir);
}

/* ---- index and shards ---------------------------------------------------------------------------------- */

#define U8_1(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
static const char INDEX[] =
    "{\"metadata\":{\"total_size\":3},\"weight_map\":{\"y\":\"two.safetensors\",\"x\":\"one.safetensors\"}}";

static char *shard_dir(void) {
    char *dir = files_temp_dir();
    blob one = make(U8_1("x"), 1), two = make(TWO("[0,4]", "[4,8]"), 8);
    files_write(dir, "one.safetensors", one.bytes, one.n);
    files_write(dir, "two.safetensors", two.bytes, two.n); /* x and y: the index takes x from the other */
    free(one.bytes);
    free(two.bytes);
    return dir;
}

static weir_status open_index(const char *dir, const char *json, size_t n, weir_safetensors **out,
                              weir_err *err) {
    char *exact = (char *)files_exact(json, n);
    *out = NULL;
    err->text[0] = '\0';
    weir_status s = weir__safetensors_open_index(out, exact, n, "the.index.json", dir, err);
    free(exact);
    return s;
}

Test(safetensors, an_index_decides_which_shard_counts) {
    char *dir = shard_dir();
    weir_safetensors *s;
    weir_err err;
    files_write(dir, "model.safetensors.index.json", INDEX, strlen(INDEX));
    cr_assert_eq(weir__safetensors_open_dir(&s, dir, &err), WEIR_OK, "%s", err.text);
    weir_entry e;
    cr_assert_eq(weir__safetensors_count(s), 2);
    cr_assert(weir__safetensors_find(s, "x", &e) && e.bytes == 1);
    cr_assert(weir__safetensors_find(s, "y", &e) && e.bytes == 4);
    weir__safetensors_at(s, 0, &e);
    cr_assert_str_eq(e.name, "x");
    weir__safetensors_release(s, "y");
    weir__safetensors_close(s);
    files_remove_dir(dir);
}

Test(safetensors, a_single_file_wins_over_an_index) {
    char *dir = shard_dir();
    blob b = make(U8_1("z"), 1);
    files_write(dir, "model.safetensors", b.bytes, b.n);
    files_write(dir, "model.safetensors.index.json", "broken", 6);
    weir_safetensors *s;
    weir_err err = {""};
    cr_assert_eq(weir__safetensors_open_dir(&s, dir, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__safetensors_count(s), 1);
    weir__safetensors_close(s);
    free(b.bytes);
    files_remove_dir(dir);
}

Test(safetensors, every_prefix_of_an_index_is_refused) {
    char *dir = shard_dir();
    for (size_t n = 0; n < strlen(INDEX); n++) {
        weir_safetensors *s;
        weir_err err;
        cr_assert_eq(open_index(dir, INDEX, n, &s, &err), WEIR_EFORMAT, "prefix %zu", n);
        cr_assert(err_is_line(&err, "the.index.json"), "%s", err.text);
    }
    files_remove_dir(dir);
}

#define MAP(shard) "{\"weight_map\":{\"x\":" shard "}}"

Test(safetensors, indexes_that_lie) {
    static const struct {
        const char *json;
        weir_status status;
        const char *part;
    } bad[] = {
        {"{}", WEIR_EFORMAT, "weight_map is not an object"},
        {"[]", WEIR_EFORMAT, "not an object"},
        {"{\"weight_map\":[]}", WEIR_EFORMAT, "weight_map is not an object"},
        {"{\"weight_map\":{}}", WEIR_EFORMAT, "weight_map is empty"},
        {MAP("1"), WEIR_EFORMAT, "tensor x: its shard is not a string"},
        {MAP("null"), WEIR_EFORMAT, "not a string"},
        {MAP("\"\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\".\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"..\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\".hidden\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"../one.safetensors\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"/etc/passwd\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"a/../one.safetensors\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"a..b\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"one\\u0000.safetensors\""), WEIR_EFORMAT, "not a plain file name"},
        {MAP("\"three.safetensors\""), WEIR_EIO, "three.safetensors: cannot open"},
        {"{\"weight_map\":{\"z\":\"one.safetensors\"}}", WEIR_EFORMAT, "tensor z is not in one.safetensors"},
        {"{\"weight_map\":{\"y\":\"one.safetensors\",\"x\":\"two.safetensors\"}}", WEIR_EFORMAT,
         "tensor y is not in"},
        {"{\"weight_map\":{\"__metadata__\":\"one.safetensors\"}}", WEIR_EFORMAT,
         "tensor __metadata__ is not in"},
        {"{\"weight_map\":{\"x\":\"one.safetensors\",\"x\":\"three.safetensors\"}}", WEIR_EIO,
         "three.safetensors"}, /* the last counts */
        {"{\"weight_map\":{\"x\":\"bad.safetensors\"}}", WEIR_EFORMAT, "bad.safetensors: "},
    };
    char *dir = shard_dir();
    files_write(dir, "bad.safetensors", "garbage garbage", 15);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_safetensors *s;
        weir_err err;
        cr_assert_eq(open_index(dir, bad[i].json, strlen(bad[i].json), &s, &err), bad[i].status, "%s",
                     bad[i].json);
        cr_assert(err_is_line(&err, bad[i].part), "want \"%s\", got: %s", bad[i].part, err.text);
        cr_assert_null(s);
    }
    files_remove_dir(dir);
}

Test(safetensors, directories_without_tensors) {
    char *dir = files_temp_dir();
    weir_safetensors *s = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__safetensors_open_dir(&s, dir, &err), WEIR_EIO);
    cr_assert(err_is_line(&err, "no model.safetensors or model.safetensors.index.json there"), "%s",
              err.text);
    cr_assert_eq(weir__safetensors_open_dir(&s, "/nonexistent", &err), WEIR_EIO);
    cr_assert(err_is_line(&err, "/nonexistent"), "%s", err.text);
    files_remove_dir(dir);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

Test(safetensors, every_failing_allocation_is_reported_and_nothing_leaks) {
    char *dir = shard_dir();
    files_write(dir, "model.safetensors.index.json", INDEX, strlen(INDEX));
    blob b = make(GOOD, GOOD_DATA);
    for (int from_dir = 0; from_dir < 2; from_dir++) {
        for (long fail = 1;; fail++) {
            weir_safetensors *s = NULL;
            weir_err err = {""};
            alloc_install(fail);
            weir_status st = from_dir ? weir__safetensors_open_dir(&s, dir, &err) : open_blob(b, &s, &err);
            long asked = alloc_count();
            if (st == WEIR_OK) weir__safetensors_close(s);
            long live = alloc_live();
            alloc_uninstall();
            cr_assert_eq(live, 0, "allocation %ld: %ld left", fail, live);
            if (st == WEIR_OK) {
                cr_assert_lt(asked, fail);
                cr_assert_gt(fail, 5);
                break;
            }
            cr_assert_eq(st, WEIR_ENOMEM, "allocation %ld: %s", fail, err.text);
            cr_assert(err_is_line(&err, "no memory"), "%s", err.text);
        }
    }
    free(b.bytes);
    files_remove_dir(dir);
}
