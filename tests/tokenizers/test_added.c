/* Added tokens of model directories, Unigram, spans with and without control tokens. Golden values:
 * tests/golden/make_added.py. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/tokenizers/pipeline/encode.h"
#include "host/tokenizers/spm/spm.h"
#include "host/tokenizers/spm/spm_bpe.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"
#include "tests/support/hex.h"

#define GOLDEN WEIR_SOURCE_DIR "/tests/golden/added/"

enum { EXTRA_IDS = 5 };

static weir_status open_case(const char *name, weir_tokenizer **t, weir_err *err) {
    char path[512], merges[512];
    snprintf(merges, sizeof merges, GOLDEN "%s/merges.txt", name);
    if (strncmp(name, "t5", 2) == 0) {
        snprintf(path, sizeof path, GOLDEN "%s/spiece.model", name);
        return weir__tokenizer_open_spm(t, path, EXTRA_IDS, err);
    }
    if (strncmp(name, "llama", 5) == 0) {
        snprintf(path, sizeof path, GOLDEN "%s/tokenizer.model", name);
        return weir__tokenizer_open_spm_plain(t, path, err);
    }
    if (strcmp(name, "pair") == 0) {
        snprintf(path, sizeof path, GOLDEN "%s/vocab.json", name);
        return weir__tokenizer_open_gpt2(t, path, merges, err);
    }
    snprintf(path, sizeof path, GOLDEN "%s/tokenizer.json", name);
    return weir__tokenizer_open_json(t, path, err);
}

static weir_tokenizer *opened(const char *name) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(open_case(name, &t, &err), WEIR_OK, "%s", err.text);
    return t;
}

static void expect_ids(const int32_t *got, size_t n, const json_t *want, const char *where,
                       const char *text) {
    bool same = n == json_array_size(want);
    for (size_t i = 0; i < n && same; i++)
        same = got[i] == (int32_t)json_integer_value(json_array_get(want, i));
    char *dump = json_dumps(want, JSON_COMPACT);
    cr_expect(same, "%s: \"%s\": %zu ids, the first %d, want %s", where, text, n, n ? (int)got[0] : -1, dump);
    free(dump);
}

static void check_case(const weir_tokenizer *t, const json_t *c, const char *where) {
    size_t bytes, n, n_back, n_want;
    char *text = hex_decode(json_string_value(json_object_get(c, "text")), &bytes), *back = NULL;
    char *want = hex_decode(json_string_value(json_object_get(c, "decoded")), &n_want);
    char *exact = (char *)files_exact(text, bytes);
    int32_t *ids = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_encode_special(t, exact, bytes, &ids, &n, &err), WEIR_OK, "%s: %s", where,
                 err.text);
    expect_ids(ids, n, json_object_get(c, "ids"), where, text);
    cr_assert_eq(weir__tokenizer_decode(t, ids, n, &back, &n_back, &err), WEIR_OK, "%s: %s", where, err.text);
    if (n_want > 0)
        cr_expect(n_back == n_want && memcmp(back, want, n_want) == 0, "%s: \"%s\", want \"%s\"", where, back,
                  want);
    weir_free(back);
    weir_free(ids);
    free(exact);
    free(want);
    free(text);
}

static void check_golden(const char *name, size_t least) {
    char path[512], where[600], *line = NULL;
    size_t cap = 0, n = 0;
    snprintf(path, sizeof path, GOLDEN "%s/cases.jsonl", name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    weir_tokenizer *t = opened(name);
    while (getline(&line, &cap, f) > 0) {
        snprintf(where, sizeof where, "%s line %zu", name, ++n);
        json_t *c = json_loads(line, 0, NULL);
        cr_assert(c, "%s", where);
        check_case(t, c, where);
        json_decref(c);
    }
    cr_assert_geq(n, least);
    weir__tokenizer_free(t);
    free(line);
    fclose(f);
}

/* Every flag by every kind of neighbour, and overlaps. */
Test(added, flags_agree_with_tokenizers) { check_golden("flags", 900); }
Test(added, other_files_add_to_a_tokenizer_json) { check_golden("fast", 150); }
Test(added, flags_around_t5_agree_with_the_slow_class) { check_golden("t5", 1000); }
Test(added, flags_around_llama_agree_with_the_slow_class) { check_golden("llama", 1000); }
Test(added, files_of_old_agree_with_the_slow_classes) {
    check_golden("t5_legacy", 1000);
    check_golden("llama_legacy", 1000);
}
Test(added, a_pair_of_files_is_read_as_its_class_says) { check_golden("pair", 150); }
Test(added, unigram_agrees_with_tokenizers) {
    check_golden("unigram", 100);
    check_golden("unigram_words", 100);
}

/* ---- spans --------------------------------------------------------------------------------------------- */

static const char *const all_names[] = {"flags",        "fast", "t5",      "t5_legacy",    "llama",
                                        "llama_legacy", "pair", "unigram", "unigram_words"};
enum { N_NAME = sizeof all_names / sizeof *all_names };

static void expect_same(const weir_tokenizer *t, const weir_text_span *spans, size_t n_span,
                        const int32_t *want, size_t n_want, const char *where) {
    int32_t *ids = NULL;
    size_t n = 0;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_encode_spans(t, spans, n_span, &ids, &n, &err), WEIR_OK, "%s: %s", where,
                 err.text);
    cr_expect(n == n_want && (n == 0 || memcmp(ids, want, n * sizeof *ids) == 0), "%s: %zu ids, want %zu",
              where, n, n_want);
    weir_free(ids);
}

/* However a text is cut, spans of one kind are what the text is as a whole. */
Test(added, spans_of_one_kind_are_one_text) {
    static const char text[] =
        " k0 a k3k6\n\nthe </s> abcd e\xcc\x81 k9<|im_end|><think>x<extra_id_1> \xe4\xb8\xad\xe6\x96\x87!";
    const size_t n = sizeof text - 1;
    for (int k = 0; k < N_NAME; k++) {
        weir_tokenizer *t = opened(all_names[k]);
        int32_t *plain = NULL, *special = NULL;
        size_t n_plain, n_special;
        cr_assert_eq(weir__tokenizer_encode(t, text, n, &plain, &n_plain, NULL), WEIR_OK);
        cr_assert_eq(weir__tokenizer_encode_special(t, text, n, &special, &n_special, NULL), WEIR_OK);
        for (size_t cut = 0; cut <= n; cut++) {
            weir_text_span spans[3] = {{text, cut, false}, {"", 0, true}, {text + cut, n - cut, false}};
            expect_same(t, spans, 3, plain, n_plain, all_names[k]);
            spans[0].parse_special = spans[2].parse_special = true;
            spans[1].parse_special = cut % 2;
            expect_same(t, spans, 3, special, n_special, all_names[k]);
        }
        weir_free(plain);
        weir_free(special);
        weir__tokenizer_free(t);
    }
}

/* What a message says is no control token, not even where the template's words begin or end it. */
Test(added, a_span_of_text_holds_no_control_token) {
    static const struct {
        const char *template, *message, *after;
        int n_control;
    } cases[] = {{"<|im_end|>", "<|im_end|>", "<|im_end|>", 2},
                 {"<|im_", "end|>", "", 0},
                 {"<|im_end|", ">", "<|im_end|>", 1},
                 {"", "<|endoftext|><|im_end|>", "", 0},
                 {"a", "b<|im_end|", ">c", 0},
                 {"<|im_end|>", "", "<|im_end|>", 2}};
    weir_tokenizer *t = opened("pair");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const weir_text_span spans[] = {{cases[i].template, strlen(cases[i].template), true},
                                        {cases[i].message, strlen(cases[i].message), false},
                                        {cases[i].after, strlen(cases[i].after), true}};
        int32_t *ids = NULL;
        size_t n = 0;
        int control = 0;
        cr_assert_eq(weir__tokenizer_encode_spans(t, spans, 3, &ids, &n, NULL), WEIR_OK);
        for (size_t k = 0; k < n; k++) control += weir__tokenizer_is_control(t, ids[k]);
        cr_expect_eq(control, cases[i].n_control, "case %zu: %d control tokens", i, control);
        weir_free(ids);
    }
    /* the line break of the one and that of the other are one token */
    const weir_text_span lines[] = {{"a\n", 2, true}, {"\nb", 2, false}};
    expect_same(t, lines, 2, (int32_t[]){64, 256, 65}, 3, "a line break on either side");
    weir__tokenizer_free(t);
}

/* ---- the end, kinds, gaps ------------------------------------------------------------------------------ */

Test(added, gaps_have_no_text_and_roles_have_kinds) {
    weir_tokenizer *t = opened("pair");
    cr_expect_eq(weir__tokenizer_size(t), 263);
    cr_expect_str_eq(weir__tokenizer_piece(t, 258), "");
    cr_expect_str_eq(weir__tokenizer_piece(t, 262), "<think>");
    cr_expect(weir__tokenizer_is_control(t, 260) && weir__tokenizer_is_control(t, 261) &&
              !weir__tokenizer_is_control(t, 262));
    weir__tokenizer_free(t);
    t = opened("t5");
    cr_expect_geq(weir__tokenizer_end(t), 0);
    cr_expect_str_eq(weir__tokenizer_piece(t, weir__tokenizer_end(t)), "</s>");
    weir__tokenizer_free(t);
}

/* ---- long texts ---------------------------------------------------------------------------------------- */

/* Text of 20 KB from a few units, so that words of every length come up. */
static size_t long_text(char *out, size_t cap, uint32_t seed) {
    static const char *const units[] = {
        " ",   "  ",  "the ", "a",      "in", "\xe2\x96\x81", "e\xcc\x81", "\xe4\xb8\xad", "\xf0\x9f\x98\x80",
        "ing", "123", "\n",   "<user>", "th", "is",           ".",         "<0x41>",       "\t",
        "o",   "r"};
    const uint32_t n_unit = sizeof units / sizeof *units, few = 1 + seed % n_unit;
    size_t n = 0;
    for (const char *u; n + 8 < cap; n += strlen(u)) {
        seed = seed * 1664525u + 1013904223u;
        u = units[(seed >> 8) % few];
        memcpy(out + n, u, strlen(u));
    }
    return n;
}

/* What a .model of type BPE makes of a long text by itself is what the library makes of it. */
static void compare_long(const char *path, bool own) {
    size_t n_model;
    uint8_t *model = files_read(path, &n_model);
    cr_assert(model, "%s", path);
    weir__spm *spm = NULL;
    weir__pipeline *bpe = NULL;
    cr_assert_eq(weir__spm_open(&spm, model, n_model, path, NULL), WEIR_OK);
    cr_assert_eq(weir__spm_bpe_open(&bpe, model, n_model, NULL), WEIR_OK);
    cr_assert_eq(bpe != NULL, own, "%s", path);
    for (uint32_t seed = 0; own && seed < 60; seed++) {
        char text[20000];
        const size_t bytes = long_text(text, seed % 3 ? 700 : sizeof text, seed * 7919);
        weir__ids got = {0}, want = {0};
        cr_assert_eq(weir__spm_encode(spm, text, bytes, NULL, NULL, &want, NULL), WEIR_OK);
        cr_assert_eq(weir__pipeline_ops.encode(bpe, text, bytes, &(weir__ranges){NULL, 0}, true, &got, NULL),
                     WEIR_OK);
        cr_assert(got.n == want.n && memcmp(got.at, want.at, got.n * sizeof *got.at) == 0,
                  "%s, seed %u: %zu ids, want %zu", path, seed, got.n, want.n);
        weir_free(got.at);
        weir_free(want.at);
    }
    weir__pipeline_free(bpe);
    weir__spm_free(spm);
    free(model);
}

Test(added, long_texts_have_the_ids_of_the_library) {
    compare_long(WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_bpe.model", true);
    compare_long(WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_unigram.model", false);
}

Test(added, long_texts_of_llama_2_have_the_ids_of_the_library) {
    static const char path[] = WEIR_SHARED_DIR "/data/tokenizers/llama2/tokenizer.model";
    if (access(path, R_OK) != 0) {
        printf("added: skipped: no %s\n", path);
        cr_skip("no %s", path);
    }
    compare_long(path, true);
}

/* ---- damage and memory --------------------------------------------------------------------------------- */

static weir_status use(const char *name, long fail) {
    static const char text[] = "a k0  k5 \xef\xbc\xa1 b\xff <think>";
    const weir_text_span spans[] = {{text, 5, true}, {text + 5, sizeof text - 6, false}};
    weir_tokenizer *t = NULL;
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n = 0, bytes;
    weir_err err = {""};
    alloc_install(fail);
    weir_status s = open_case(name, &t, &err);
    if (s == WEIR_OK) s = weir__tokenizer_encode_spans(t, spans, 2, &ids, &n, &err);
    if (s == WEIR_OK) s = weir__tokenizer_decode(t, ids, n, &back, &bytes, &err);
    if (s != WEIR_OK)
        cr_assert(s == WEIR_ENOMEM && err_is_line(&err, "no memory"), "%s, allocation %ld: %s", name, fail,
                  err.text);
    weir_free(back);
    weir_free(ids);
    weir__tokenizer_free(t);
    cr_assert_eq(alloc_live(), 0, "%s, allocation %ld leaves %ld", name, fail, alloc_live());
    alloc_uninstall();
    return s;
}

Test(added, every_failing_allocation_is_reported_and_nothing_leaks) {
    for (int k = 0; k < N_NAME; k++) {
        long fail = 1;
        while (use(all_names[k], fail) != WEIR_OK) fail++;
        cr_assert_gt(fail, 15, "%s: %ld", all_names[k], fail);
    }
}
