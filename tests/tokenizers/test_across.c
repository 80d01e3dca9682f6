/* Ids of one vocabulary as those of another: the same text, wherever it is cut, and what goes on after ids
 * that are given. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/across.h"
#include "kernels/base/mem.h"
#include "tests/support/files.h"

/* Byte-level ones that spell every text as it is come first. */
static const char *const names[] = {"tiny_llama3", "tiny_deepseek", "tiny_gpt2",      "tiny_qwen2",
                                    "tiny_smollm", "tiny_llama2",   "tiny_metaspace", "tiny_gemma"};
enum { NAMES = 8, EXACT = 2, TEXT = 512 };

static const char *const texts[] = {
    "The quick brown fox",
    " leading and trailing ",
    "naïve café, Zürich → 東京タワー 👩‍👩‍👧 x",
    "In 2024: 1234567 books!\n\n    indented\n\tTab",
    "x",
    "e\xcc\x81 combining, U+FFFD \xef\xbf\xbd itself",
    "<tool_call>WORD <|im_start|> as characters",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};
enum { TEXTS = sizeof texts / sizeof *texts };

static weir_tokenizer *open_named(const char *name) {
    char path[256];
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    snprintf(path, sizeof path, WEIR_SOURCE_DIR "/tests/golden/tokenizer/%s.json", name);
    cr_assert_eq(weir__tokenizer_open_json(&t, path, &err), WEIR_OK, "%s", err.text);
    return t;
}

static size_t spell(const weir_tokenizer *t, const int32_t *ids, size_t n, char *out) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        char *bytes;
        size_t k;
        cr_assert_eq(weir__tokenizer_bytes(t, ids[i], &bytes, &k, NULL), WEIR_OK);
        cr_assert(at + k < TEXT);
        memcpy(out + at, bytes, k);
        at += k;
        weir_free(bytes);
    }
    return at;
}

/* Bytes at the front that are whole characters; the texts are UTF-8. */
static size_t whole(const char *s, size_t n) {
    size_t at = 0;
    while (at < n) {
        const uint8_t c = (uint8_t)s[at];
        const size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (at + len > n) break;
        at += len;
    }
    return at;
}

static void cut_everywhere(const weir_tokenizer *from, const weir_tokenizer *to, const char *text) {
    char was[TEXT], is[TEXT];
    int32_t *ids;
    size_t n;
    cr_assert_eq(weir__tokenizer_encode(from, text, strlen(text), &ids, &n, NULL), WEIR_OK);
    for (size_t k = 0; k <= n; k++) {
        weir__ids out = {0};
        cr_assert_eq(weir__across(from, to, ids, k, true, &out, NULL), WEIR_OK);
        const size_t a = spell(from, ids, k, was), b = spell(to, out.at, out.n, is);
        cr_assert(b == whole(was, a) && memcmp(was, is, b) == 0,
                  "\"%s\", %zu of %zu ids: %zu bytes, then %zu", text, k, n, a, b);
        weir_free(out.at);
    }
    weir_free(ids);
}

Test(across, the_text_is_the_same_wherever_it_is_cut) {
    weir_tokenizer *t[EXACT];
    for (int i = 0; i < EXACT; i++) t[i] = open_named(names[i]);
    for (int i = 0; i < EXACT * EXACT; i++)
        for (int k = 0; k < TEXTS; k++) cut_everywhere(t[i / EXACT], t[i % EXACT], texts[k]);
    for (int i = 0; i < EXACT; i++) weir__tokenizer_free(t[i]);
}

/* The verifier's own ids come back where its text goes on as it would have written it. */
static void go_on_everywhere(const weir_tokenizer *from, const weir_tokenizer *to, const char *text,
                             int *equal, int *cuts) {
    char before[TEXT], next[TEXT], all[TEXT];
    int32_t *ids, *drafted;
    size_t n, n_drafted;
    cr_assert_eq(weir__tokenizer_encode(to, text, strlen(text), &ids, &n, NULL), WEIR_OK);
    const size_t n_all = spell(to, ids, n, all);
    for (size_t k = 0; k < n; k++) {
        weir__ids out = {0};
        const size_t past = spell(to, ids, k, before), begin = whole(before, past);
        cr_assert_eq(weir__tokenizer_encode(from, all + begin, n_all - begin, &drafted, &n_drafted, NULL),
                     WEIR_OK);
        cr_assert_eq(weir__across_next(from, drafted, n_drafted, to, ids, k, &out, NULL), WEIR_OK);
        const size_t got = spell(to, out.at, out.n, next);
        cr_assert(got == n_all - past && memcmp(next, all + past, got) == 0,
                  "\"%s\" at id %zu: %zu bytes of %zu", text, k, got, n_all - past);
        *equal += out.n == n - k && memcmp(out.at, ids + k, out.n * sizeof *ids) == 0;
        *cuts += 1;
        weir_free(drafted);
        weir_free(out.at);
    }
    weir_free(ids);
}

Test(across, a_text_goes_on_after_any_id) {
    weir_tokenizer *t[EXACT];
    int equal = 0, cuts = 0;
    for (int i = 0; i < EXACT; i++) t[i] = open_named(names[i]);
    for (int i = 0; i < EXACT * EXACT; i++)
        for (int k = 0; k < TEXTS; k++) go_on_everywhere(t[i / EXACT], t[i % EXACT], texts[k], &equal, &cuts);
    cr_expect(equal * 10 >= cuts * 9, "%d of %d", equal,
              cuts); /* in runs of one letter a window begins elsewhere */
    for (int i = 0; i < EXACT; i++) weir__tokenizer_free(t[i]);
}

/* Any bytes, any ids: no failure, no id outside the vocabulary. */
Test(across, every_vocabulary_takes_any_ids) {
    weir_tokenizer *t[NAMES];
    uint64_t seed = 5;
    for (int i = 0; i < NAMES; i++) t[i] = open_named(names[i]);
    for (int turn = 0; turn < 600; turn++) {
        const weir_tokenizer *from = t[turn % NAMES], *to = t[turn / NAMES % NAMES];
        int32_t a[24], b[24];
        for (int i = 0; i < 24; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            a[i] = (int32_t)((seed >> 33) % (uint64_t)weir__tokenizer_size(from));
            b[i] = (int32_t)((seed >> 40) % (uint64_t)weir__tokenizer_size(to));
        }
        weir__ids out = {0};
        weir_err err = {""};
        cr_assert_eq(weir__across(from, to, a, (size_t)turn % 25, turn % 2, &out, &err), WEIR_OK, "%s",
                     err.text);
        cr_assert_eq(weir__across_next(from, a, (size_t)turn % 7, to, b, (size_t)turn % 25, &out, &err),
                     WEIR_OK, "%s", err.text);
        for (size_t i = 0; i < out.n; i++)
            cr_assert(out.at[i] >= 0 && out.at[i] < weir__tokenizer_size(to), "turn %d", turn);
        weir_free(out.at);
    }
    for (int i = 0; i < NAMES; i++) weir__tokenizer_free(t[i]);
}

/* A control token keeps its meaning where the other vocabulary has one of its name, and is characters where
 * it has none; what merely spells one is characters in both. */
Test(across, control_tokens_cross_by_name) {
    weir_tokenizer *qwen = open_named("tiny_qwen2"), *gpt2 = open_named("tiny_gpt2"),
                   *llama = open_named("tiny_llama3");
    static const char name[] = "<|im_start|>";
    const int32_t start = weir__tokenizer_find(qwen, name, sizeof name - 1),
                  there = weir__tokenizer_find(llama, name, sizeof name - 1);
    weir__ids out = {0}, plain = {0};
    char is[TEXT];
    cr_assert(start >= 0 && there >= 0);
    cr_assert_eq(weir__across(qwen, llama, &start, 1, true, &out, NULL), WEIR_OK);
    cr_assert(out.n == 1 && out.at[0] == there);
    out.n = 0;
    cr_assert_eq(weir__across(qwen, gpt2, &start, 1, true, &out, NULL), WEIR_OK);
    const size_t n_spelled = spell(gpt2, out.at, out.n, is); /* which puts a space before a text */
    cr_assert(out.n > 1 && n_spelled == sizeof name && memcmp(is + 1, name, sizeof name - 1) == 0);
    cr_assert_eq(weir__tokenizer_append(qwen, name, sizeof name - 1, false, true, &plain, NULL), WEIR_OK);
    out.n = 0;
    cr_assert_eq(weir__across(qwen, llama, plain.at, plain.n, true, &out, NULL), WEIR_OK);
    for (size_t i = 0; i < out.n; i++) cr_assert_neq(out.at[i], there, "characters became a control token");
    weir_free(out.at);
    weir_free(plain.at);
    weir__tokenizer_free(qwen);
    weir__tokenizer_free(gpt2);
    weir__tokenizer_free(llama);
}

/* A character that is half written, and a text that does not finish it. */
Test(across, an_unfinished_character_must_be_gone_on_with) {
    weir_tokenizer *t = open_named("tiny_deepseek"), *u = open_named("tiny_llama3");
    static const char text[] = "\xe6\x9d\xb1"; /* 東: three bytes, and no token of its own */
    int32_t *ids, *same, *other;
    size_t n, n_same, n_other;
    weir__ids out = {0};
    cr_assert_eq(weir__tokenizer_encode(t, text, 3, &ids, &n, NULL), WEIR_OK);
    cr_assert(n > 1, "it is cut somewhere");
    cr_assert_eq(weir__tokenizer_encode(u, text, 3, &same, &n_same, NULL), WEIR_OK);
    cr_assert_eq(weir__tokenizer_encode(u, "abc", 3, &other, &n_other, NULL), WEIR_OK);
    for (size_t k = 1; k < n; k++) {
        out.n = 0;
        cr_assert_eq(weir__across_next(u, same, n_same, t, ids, k, &out, NULL), WEIR_OK);
        cr_assert(out.n == n - k && memcmp(out.at, ids + k, out.n * sizeof *ids) == 0);
        out.n = 0;
        cr_assert_eq(weir__across_next(u, other, n_other, t, ids, k, &out, NULL), WEIR_OK);
        cr_assert_eq(out.n, 0, "\"abc\" does not finish it");
        cr_assert_eq(weir__across_next(u, same, n_same - 1, t, ids, 0, &out, NULL), WEIR_OK);
        cr_assert_eq(out.n, 0, "a part of a character is no text");
    }
    weir_free(ids);
    weir_free(same);
    weir_free(other);
    weir_free(out.at);
    weir__tokenizer_free(t);
    weir__tokenizer_free(u);
}
