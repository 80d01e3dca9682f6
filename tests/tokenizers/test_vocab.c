/* What tokenizers are made of: vocabularies, pairs, characters, bytes, steps on a text. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "host/tokenizers/steps/normalize.h"
#include "host/tokenizers/steps/pretok.h"
#include "host/tokenizers/text/bytes.h"
#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/vocab/vocab.h"
#include "kernels/base/mem.h"
#include "tests/support/files.h"

static size_t name_of(int i, char out[32]) { return (size_t)snprintf(out, 32, "token %d", i); }

/* A table that grows while it is filled keeps what it has, wherever that lies. */
Test(vocab, every_string_is_found_after_every_growth) {
    enum { N = 3000 };
    weir__vocab v = {0};
    char name[32];
    for (int i = 0; i < N; i++) {
        size_t n = name_of(i, name);
        cr_assert(weir__vocab_add(&v, name, n, WEIR__TOKEN_NORMAL, 0, NULL) == WEIR_OK);
        if ((i & (i + 1)) != 0 && i + 1 != N) continue;
        for (int k = 0; k <= i; k++) {
            n = name_of(k, name);
            cr_assert_eq(weir__vocab_find(&v, name, n), k, "of %d", i + 1);
            cr_assert(weir__vocab_find(&v, name, n - 1) != k && weir__vocab_find(&v, name, n + 1) == -1);
        }
    }
    cr_expect_eq(weir__vocab_find(&v, "token", 5), -1);
    cr_expect_eq(weir__vocab_add(&v, "token 7", 7, WEIR__TOKEN_NORMAL, 0, NULL), WEIR_EFORMAT);
    weir__vocab_free(&v);
}

Test(vocab, of_equal_pairs_the_first_stays) {
    weir__pairs p = {0};
    cr_assert(weir__pairs_reserve(&p, 100, NULL) == WEIR_OK);
    for (int32_t turn = 0; turn < 2; turn++)
        for (int32_t i = 0; i < 50; i++)
            weir__pairs_add(
                &p,
                (weir__pair){.left = i, .right = i % 7, .rank = (uint32_t)turn, .merged = 100 * turn + i});
    cr_expect_eq(p.n, 50);
    for (int32_t i = 0; i < 50; i++) {
        const weir__pair *x = weir__pairs_find(&p, i, i % 7);
        cr_assert(x && x->rank == 0 && x->merged == i, "pair %d", (int)i);
        cr_assert_null(weir__pairs_find(&p, i, 8));
    }
    weir__pairs_free(&p);
}

Test(vocab, characters_come_back_in_the_fewest_bytes) {
    static const struct {
        uint32_t cp;
        size_t bytes;
    } edge[] = {{0, 1},      {0x7f, 1},   {0x80, 2},    {0x7ff, 2},   {0x800, 3},
                {0xfffd, 3}, {0xffff, 3}, {0x10000, 4}, {0x10ffff, 4}};
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++) {
        char out[4];
        uint32_t cp = 1;
        bool broken = false;
        const size_t n = weir__utf8_put(out, edge[i].cp);
        cr_expect_eq(n, edge[i].bytes, "U+%04X: %zu bytes", edge[i].cp, n);
        cr_expect(weir__utf8_step(out, n, &cp, &broken) == n && cp == edge[i].cp && !broken, "U+%04X",
                  edge[i].cp);
        cr_expect_eq(weir__utf8_length(out[0]), n);
    }
}

Test(vocab, tokens_of_one_byte_have_one_spelling) {
    static const char *const no[] = {"<0x4>", "<0x>",   "<0x414>", "<0x41>>", "<0x41",
                                     "0x41",  "<0xG1>", "<0x4G>",  " <0x41>"};
    for (int b = 0; b < 256; b++) {
        char text[8], spelled[2], back[2];
        snprintf(text, sizeof text, b % 2 ? "<0x%02X>" : "<0x%02x>", (unsigned)b);
        cr_expect_eq(weir__byte_token(text, 6), b);
        const size_t n = weir__byte_spell((uint8_t)b, spelled);
        cr_expect(weir__byte_unspell(spelled, n, back) == 1 && (uint8_t)back[0] == b, "byte %02x",
                  (unsigned)b);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        cr_expect_eq(weir__byte_token(no[i], strlen(no[i])), -1, "%s", no[i]);
}

/* Each step may make 31 bytes of one: together they may not make a text of any size. */
Test(vocab, steps_grow_a_text_within_a_bound) {
    static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    for (int n = 1; n <= 8; n++) {
        weir__steps steps = {.n = 0};
        weir__marked text;
        weir_err err = {""};
        for (int i = 0; i < n; i++)
            cr_assert(weir__step_add(&steps, WEIR__STEP_REPLACE, i % 2 ? "b" : "a", i % 2 ? a : b, &err) ==
                      WEIR_OK);
        cr_assert(weir__marked_copy(&text, "a", 1, NULL, 0, &err) == WEIR_OK);
        const weir_status st = weir__steps_run(&steps, true, &text, &err);
        if (n <= 2)
            cr_expect(st == WEIR_OK && text.bytes == (n == 1 ? 31 : 961), "%d: %s", n, err.text);
        else
            cr_expect(st == WEIR_EINVAL && err_is_line(&err, "grows past"), "%d: %s", n, err.text);
        weir__marked_free(&text);
        weir__steps_free(&steps);
    }
}

/* A text that ends inside a character, with the rest of it still behind the end. */
Test(vocab, a_character_is_not_read_past_the_end_of_its_text) {
    static const char whole[] = "a\xf0\x9f\x91\x8d", want[] = "a" WEIR__REPLACEMENT;
    for (size_t n = 2; n < sizeof whole - 1; n++) {
        char *text = weir_alloc(sizeof whole, 1);
        size_t bytes = n;
        cr_assert(text);
        memcpy(text, whole, sizeof whole);
        cr_assert(weir__utf8_lossy(&text, &bytes, NULL) == WEIR_OK);
        cr_expect(bytes == strlen(want) && strcmp(text, want) == 0, "%zu bytes: \"%s\"", n, text);
        weir_free(text);
    }
}

/* What grows most in translation, and nothing else. */
Test(vocab, a_pattern_of_white_space_alone) {
    char pattern[8000], *one = NULL, *many = NULL;
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i % 2 ? 's' : '\\';
    cr_assert(weir__pattern_translate(pattern, 2, &one, NULL) == WEIR_OK);
    cr_assert(weir__pattern_translate(pattern, sizeof pattern, &many, NULL) == WEIR_OK);
    cr_expect_eq(strlen(many), sizeof pattern / 2 * strlen(one));
    weir_free(one);
    weir_free(many);
}
