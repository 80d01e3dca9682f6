#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/formats/checkpoint.h"
#include "tests/formats/gguf_made.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

enum { N_PART = 3, N_TENSOR = 2 + 2 * 9 };

static const made MODEL = {.arch = "llama", .n_layer = 2, .matrix = GGML_Q8_0, .seed = 5};

static made_part part_of(int i) {
    return (made_part){.no = i, .count = N_PART, .n_tensor = N_TENSOR, .holds = i};
}

static char *part_name(int i, char room[64]) {
    snprintf(room, 64, "m-%05d-of-%05d.gguf", i + 1, N_PART);
    return room;
}

/* The parts of `whole` in a new directory. */
static char *write_parts(const gguf_blob *whole) {
    char *dir = files_temp_dir(), name[64];
    for (int i = 0; i < N_PART; i++) {
        const made_part p = part_of(i);
        gguf_blob b = make_part(whole, &p);
        files_write(dir, part_name(i, name), b.p, b.n);
        gguf_free(&b);
    }
    return dir;
}

static void expect_open(const char *dir, int i, weir_status want, const char *about) {
    char name[64], *path = files_path(dir, part_name(i, name));
    weir_gguf *g = NULL;
    weir_err err = {""};
    const weir_status s = weir__gguf_open(&g, path, &err);
    cr_assert_eq(s, want, "part %d: status %d instead of %d with \"%s\": %s", i, s, want, about, err.text);
    if (s != WEIR_OK)
        cr_assert(g == NULL && err_is_line(&err, about), "want \"%s\", got: %s", about, err.text);
    weir__gguf_close(g);
    free(path);
}

/* ---- whole --------------------------------------------------------------------------------------------- */

static void expect_same_tensors(const weir_gguf *want, const weir_gguf *got) {
    cr_assert_eq(weir__gguf_count(got), weir__gguf_count(want));
    for (size_t i = 0; i < weir__gguf_count(want); i++) {
        weir_entry e, f;
        weir__gguf_at(want, i, &e);
        cr_assert(weir__gguf_find(got, e.name, &f), "%s", e.name);
        cr_assert(strcmp(e.type, f.type) == 0 && e.bytes == f.bytes && e.n_dim == f.n_dim &&
                  memcmp(e.shape, f.shape, sizeof e.shape) == 0);
        cr_assert_arr_eq(e.data, f.data, e.bytes, "%s", e.name);
    }
}

Test(gguf_split, any_part_opens_the_whole) {
    gguf_blob whole;
    weir_gguf *one = open_made(&MODEL, &whole);
    char *dir = write_parts(&whole);
    weir_gguf_model want;
    cr_assert_eq(weir__gguf_read_model(one, &want, NULL), WEIR_OK);
    cr_assert_eq(weir__gguf_count(one), (size_t)N_TENSOR);
    for (int i = 0; i < N_PART; i++) {
        char name[64], *path = files_path(dir, part_name(i, name));
        weir_gguf *g = NULL;
        weir_gguf_model m;
        weir_err err = {""};
        cr_assert_eq(weir__gguf_open(&g, path, &err), WEIR_OK, "%s", err.text);
        cr_assert_eq(weir__gguf_read_model(g, &m, &err), WEIR_OK, "%s", err.text);
        cr_assert_eq(memcmp(&m.config, &want.config, sizeof m.config), 0);
        expect_same_tensors(one, g);
        for (size_t t = 0; t < weir__gguf_count(one); t++) { /* pages of any part */
            weir_entry e;
            weir__gguf_at(one, t, &e);
            weir__gguf_release(g, e.name);
        }
        expect_same_tensors(one, g);
        weir__gguf_close(g);
        free(path);
    }
    weir__gguf_close(one);
    gguf_free(&whole);
    files_remove_dir(dir);
}

Test(gguf_split, a_checkpoint_has_the_same_fingerprint_from_any_part) {
    gguf_blob whole = make(&MODEL);
    char *dir = write_parts(&whole);
    uint64_t mark[N_PART];
    for (int i = 0; i < N_PART; i++) {
        char name[64], *path = files_path(dir, part_name(i, name));
        weir_checkpoint c;
        weir_err err = {""};
        cr_assert_eq(weir__checkpoint_open(&c, path, true, &err), WEIR_OK, "%s", err.text);
        mark[i] = weir__checkpoint_fingerprint(&c);
        cr_assert_eq(mark[i], mark[0]);
        weir__checkpoint_close(&c);
        free(path);
    }
    gguf_free(&whole);
    files_remove_dir(dir);
}

/* What gguf-split leaves in a file that it merged again. */
Test(gguf_split, a_merged_file_is_one_part) {
    for (uint64_t count = 0; count < 2; count++) {
        gguf_blob b = gguf_begin(3);
        weir_gguf *g = NULL;
        weir_err err = {""};
        gguf_int(&b, "split.count", KV_U16, count);
        gguf_finish(&b);
        char *dir = files_temp_dir(), *path = files_path(dir, "m.gguf");
        files_write(dir, "m.gguf", b.p, b.n);
        cr_assert_eq(weir__gguf_open(&g, path, &err), WEIR_OK, "%s", err.text);
        weir__gguf_close(g);
        gguf_free(&b);
        free(path);
        files_remove_dir(dir);
    }
}

/* ---- refused ------------------------------------------------------------------------------------------- */

static void replace(const char *dir, int i, const gguf_blob *whole, const made_part *p) {
    char name[64];
    gguf_blob b = make_part(whole, p);
    files_write(dir, part_name(i, name), b.p, b.n);
    gguf_free(&b);
}

Test(gguf_split, parts_that_do_not_belong_together) {
    static const struct {
        int at;
        made_part is;
        const char *about;
    } bad[] = {
        {1, {0, 3, N_TENSOR, 0}, "-00002-of-00003.gguf: its metadata say part 1 of 3, expected part 2 of 3"},
        {1, {2, 3, N_TENSOR, 2}, "say part 3 of 3, expected part 2 of 3"},
        {2, {2, 4, N_TENSOR, 2}, "say part 3 of 4, expected part 3 of 3"},
        {2, {2, 3, N_TENSOR + 1, 2}, "key split.tensors.count is not as in the first part"},
        {2, {2, 3, N_TENSOR, 7}, "split.tensors.count = 20, but its 3 parts have 14"},
        {0, {0, 3, N_TENSOR, 7}, "split.tensors.count = 20, but its 3 parts have 13"},
        {0, {0, 3, -1, 0}, "key split.tensors.count is not as in the first part"},
        {2, {0, 1, -1, 2}, "say part 1 of 1, expected part 3 of 3"},
    };
    gguf_blob whole = make(&MODEL);
    char *dir = write_parts(&whole);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const made_part good = part_of(bad[i].at);
        replace(dir, bad[i].at, &whole, &bad[i].is);
        expect_open(dir, bad[i].at == 1 ? 0 : 1, WEIR_EFORMAT, bad[i].about);
        replace(dir, bad[i].at, &whole, &good);
    }
    for (int i = 0; i < N_PART; i++) { /* in none of them */
        const made_part p = {.no = i, .count = N_PART, .n_tensor = -1, .holds = i};
        replace(dir, i, &whole, &p);
    }
    expect_open(dir, 2, WEIR_EFORMAT, "-00001-of-00003.gguf: no key split.tensors.count");
    gguf_free(&whole);
    files_remove_dir(dir);
}

Test(gguf_split, parts_that_are_missing_or_have_other_names) {
    gguf_blob whole = make(&MODEL);
    char *dir = write_parts(&whole), name[64];
    char *last = files_path(dir, part_name(2, name)), *other = files_path(dir, "other.gguf");
    weir_gguf *g = NULL;
    weir_err err = {""};
    cr_assert_eq(rename(last, other), 0);
    expect_open(dir, 0, WEIR_EIO, "m-00003-of-00003.gguf: no such file, expected part 3 of 3");
    expect_open(dir, 1, WEIR_EIO, "m-00003-of-00003.gguf: no such file, expected part 3 of 3");
    cr_assert_eq(weir__gguf_open(&g, other, &err), WEIR_EFORMAT);
    cr_assert(err_is_line(&err, "other.gguf: part 3 of 3 of a split file, expected a name that ends in "
                                "-00003-of-00003.gguf"),
              "%s", err.text);
    files_write(dir, name, "GGUF", 4);
    expect_open(dir, 0, WEIR_EFORMAT, "m-00003-of-00003.gguf: truncated: 4 bytes");
    free(last), free(other);
    gguf_free(&whole);
    files_remove_dir(dir);
}

Test(gguf_split, numbers_that_are_none) {
    static const struct {
        const char *key;
        uint32_t kind;
        uint64_t no, count;
        const char *about;
    } bad[] = {
        {"split.no", KV_U16, 3, 3, "split.no is not a number from 0 to 2"},
        {"split.no", KV_I32, (uint64_t)-1, 3, "split.no is not a number from 0 to 2"},
        {"split.no", KV_F32, 0, 3, "split.no is not a number from 0 to 2"},
        {"split.no", KV_U16, 1, 1, "split.no is not a number from 0 to 0"},
        {"split.no", KV_U32, 0, 65536, "split.count is not a number from 0 to 65535"},
        {"split.no", KV_U64, 0, UINT64_MAX, "split.count is not a number from 0 to 65535"},
        {"none", KV_U32, 0, 65535, "-00001-of-65535.gguf"},
    };
    char *dir = files_temp_dir(), name[64], *path = files_path(dir, part_name(0, name));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = gguf_begin(3);
        weir_gguf *g = NULL;
        weir_err err = {""};
        gguf_int(&b, bad[i].key, bad[i].kind, bad[i].no);
        gguf_int(&b, "split.count", bad[i].kind == KV_F32 ? KV_U16 : bad[i].kind, bad[i].count);
        gguf_finish(&b);
        files_write(dir, name, b.p, b.n);
        cr_assert_eq(weir__gguf_open(&g, path, &err), WEIR_EFORMAT, "%s", bad[i].about);
        cr_assert(g == NULL && err_is_line(&err, bad[i].about), "want \"%s\", got: %s", bad[i].about,
                  err.text);
        gguf_free(&b);
    }
    free(path);
    files_remove_dir(dir);
}

/* ---- from memory: cut, and out of memory --------------------------------------------------------------- */

/* Opens and joins parts whose last one has n bytes. */
static weir_status join(const gguf_blob *b, size_t n, weir_gguf **out, weir_err *err) {
    weir_gguf *part[N_PART] = {NULL};
    weir_status s = WEIR_OK;
    uint8_t *exact = files_exact(b[N_PART - 1].p, n);
    for (int i = 0; i < N_PART && s == WEIR_OK; i++) {
        const bool last = i == N_PART - 1;
        s = weir__gguf_open_bytes(&part[i], last ? exact : b[i].p, last ? n : b[i].n, "m.gguf", err);
    }
    if (s == WEIR_OK)
        s = weir__gguf_join(out, part, N_PART, err);
    else
        for (int i = 0; i < N_PART; i++) weir__gguf_close(part[i]);
    if (s == WEIR_OK) {
        weir__gguf_close(*out);
        *out = NULL;
    }
    free(exact);
    return s;
}

Test(gguf_split, every_prefix_of_a_part_is_refused) {
    gguf_blob whole = good_file(), b[N_PART];
    for (int i = 0; i < N_PART; i++) {
        const made_part p = {.no = i, .count = N_PART, .n_tensor = 3, .holds = i};
        b[i] = make_part(&whole, &p);
    }
    for (size_t n = 0; n <= b[N_PART - 1].n; n++) {
        weir_gguf *g = NULL;
        weir_err err = {""};
        const weir_status s = join(b, n, &g, &err);
        cr_assert_eq(s, n < b[N_PART - 1].n ? WEIR_EFORMAT : WEIR_OK, "%zu: %s", n, err.text);
        cr_assert(s == WEIR_OK || (g == NULL && err_is_line(&err, "m.gguf")));
    }
    for (int i = 0; i < N_PART; i++) gguf_free(&b[i]);
    gguf_free(&whole);
}

Test(gguf_split, a_tensor_of_two_parts_is_refused) {
    gguf_blob whole = good_file(), b[N_PART];
    weir_gguf *g = NULL;
    weir_err err = {""};
    for (int i = 0; i < N_PART; i++) {
        const made_part p = {.no = i, .count = N_PART, .n_tensor = 3, .holds = i == 2 ? 0 : i};
        b[i] = make_part(&whole, &p);
    }
    cr_assert_eq(join(b, b[N_PART - 1].n, &g, &err), WEIR_EFORMAT);
    cr_assert(g == NULL && err_is_line(&err, "m.gguf: tensor cube: is there twice"), "%s", err.text);
    for (int i = 0; i < N_PART; i++) gguf_free(&b[i]);
    gguf_free(&whole);
}

Test(gguf_split, every_allocation_may_fail) {
    gguf_blob whole = make(&MODEL);
    char *dir = write_parts(&whole), name[64], *path = files_path(dir, part_name(1, name));
    weir_status s = WEIR_ENOMEM;
    for (long fail = 1; s != WEIR_OK; fail++) {
        weir_gguf *g = NULL;
        weir_err err = {""};
        cr_assert_lt(fail, 60);
        alloc_install(fail);
        s = weir__gguf_open(&g, path, &err);
        cr_assert(s == WEIR_OK || (s == WEIR_ENOMEM && g == NULL && err_is_line(&err, "no memory")), "%s",
                  err.text);
        weir__gguf_close(g);
        cr_assert_eq(alloc_live(), 0, "allocation %ld", fail);
        alloc_uninstall();
    }
    free(path);
    gguf_free(&whole);
    files_remove_dir(dir);
}
