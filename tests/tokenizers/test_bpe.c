#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/steps/normalize.h"
#include "host/tokenizers/text/utf8.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"
#include "tests/support/hex.h"

#define GOLDEN WEIR_SOURCE_DIR "/tests/golden/tokenizer/"

static weir_tokenizer *open_json(const char *name) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    cr_assert_eq(weir__tokenizer_open_json(&t, path, &err), WEIR_OK, "%s", err.text);
    return t;
}

static weir_tokenizer *open_gguf(const char *path) {
    weir_tokenizer *t = NULL;
    weir_gguf *g = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_open(&g, path, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_gguf(&t, g, &err), WEIR_OK, "%s", err.text);
    weir__gguf_close(g);
    return t;
}

/* ---- golden values ------------------------------------------------------------------------------------- */

static void check_case(const weir_tokenizer *t, const json_t *c, bool gguf, const char *where) {
    const json_t *want = json_object_get(c, "ids");
    const char *hex = json_string_value(json_object_get(c, "text"));
    const size_t n_want = json_array_size(want);
    int32_t *list = malloc((n_want + 1) * sizeof *list), *ids = NULL;
    size_t bytes, n, n_text;
    weir_err err = {""};
    for (size_t i = 0; i < n_want; i++) list[i] = (int32_t)json_integer_value(json_array_get(want, i));
    if (hex) {
        char *text = hex_decode(hex, &bytes), *exact = (char *)files_exact(text, bytes);
        const bool special = json_is_true(json_object_get(c, "special"));
        cr_assert_eq((special ? weir__tokenizer_encode_special : weir__tokenizer_encode)(t, exact, bytes,
                                                                                         &ids, &n, &err),
                     WEIR_OK, "%s: %s", where, err.text);
        cr_assert_eq(n, n_want, "%s: \"%s\": %zu ids, want %zu", where, text, n, n_want);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(ids[i], list[i], "%s: \"%s\": id %zu is %d, want %d", where, text, i, ids[i],
                         list[i]);
        weir_free(ids);
        free(exact);
        free(text);
    }
    const json_t *text = gguf ? json_object_get(c, "decoded_gguf") : NULL;
    if (!text) text = json_object_get(c, "decoded");
    char *decoded = hex_decode(json_string_value(text), &bytes), *got = NULL;
    cr_assert_eq(weir__tokenizer_decode(t, list, n_want, &got, &n_text, &err), WEIR_OK, "%s: %s", where,
                 err.text);
    cr_assert(n_text == bytes && memcmp(got, decoded, bytes) == 0, "%s: decoded \"%s\", want \"%s\"", where,
              got, decoded);
    cr_assert_eq(got[n_text], '\0');
    weir_free(got);
    free(decoded);
    free(list);
}

static void check_golden(weir_tokenizer *t, const char *name, bool gguf) {
    char path[512], where[600], *line = NULL;
    size_t cap = 0, n = 0;
    snprintf(path, sizeof path, GOLDEN "%s.jsonl", name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    while (getline(&line, &cap, f) > 0) {
        snprintf(where, sizeof where, "%s line %zu", name, ++n);
        json_t *c = json_loads(line, 0, NULL);
        cr_assert(c, "%s", where);
        check_case(t, c, gguf, where);
        json_decref(c);
    }
    cr_assert_geq(n, 190);
    weir__tokenizer_free(t);
    free(line);
    fclose(f);
}

Test(bpe, json_of_every_family_agrees_with_tokenizers) {
    static const char *const names[] = {"tiny_gpt2",     "tiny_qwen2",  "tiny_llama3", "tiny_smollm",
                                        "tiny_deepseek", "tiny_llama2", "tiny_gemma",  "tiny_metaspace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_golden(open_json(names[i]), names[i], false);
}

/* The same arrays as GGUF metadata; texts here that are not UTF-8 are in the byte-level files only. */
Test(bpe, gguf_of_the_same_arrays_gives_the_same_ids) {
    static const char *const names[] = {"tiny_smollm", "tiny_deepseek", "tiny_llama2", "tiny_gemma"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "%s.gguf", names[i]);
        check_golden(open_gguf(path), names[i], true);
    }
}

/* ---- control tokens ------------------------------------------------------------------------------------ */

Test(bpe, text_makes_control_tokens_only_when_asked_to) {
    static const char text[] = "<|begin|>a<|end|><|im_start|><mask>";
    static const char *const names[] = {"tiny_qwen2", "tiny_llama3", "tiny_llama2", "tiny_gemma"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        weir_tokenizer *t = open_json(names[k]);
        int32_t *ids;
        size_t n, control = 0;
        cr_assert_eq(weir__tokenizer_encode(t, text, sizeof text - 1, &ids, &n, NULL), WEIR_OK);
        for (size_t i = 0; i < n; i++)
            cr_assert_not(weir__tokenizer_is_control(t, ids[i]), "%s: id %zu", names[k], i);
        weir_free(ids);
        cr_assert_eq(weir__tokenizer_encode_special(t, text, sizeof text - 1, &ids, &n, NULL), WEIR_OK);
        for (size_t i = 0; i < n; i++) control += weir__tokenizer_is_control(t, ids[i]);
        cr_assert_eq(control, k == 1 ? 3 : 4, "%s: %zu", names[k], control);
        cr_assert_str_eq(weir__tokenizer_piece(t, ids[0]), "<|begin|>");
        weir_free(ids);
        weir__tokenizer_free(t);
    }
}

/* Runs between control tokens have the ids that they have in the whole text, and are appended to a list. */
Test(bpe, runs_of_a_text_add_up_to_it) {
    static const char *const names[] = {"tiny_metaspace", "tiny_llama2", "tiny_gemma", "tiny_gpt2",
                                        "tiny_llama3"};
    static const char whole[] = "<|begin|>The weather<|begin|> is", *const runs[] = {"", "The weather",
                                                                                     " is"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        weir_tokenizer *t = open_json(names[k]);
        int32_t *want;
        size_t n_want, at = 0;
        weir__ids l = {0};
        cr_assert_eq(weir__tokenizer_encode_special(t, whole, sizeof whole - 1, &want, &n_want, NULL),
                     WEIR_OK);
        for (size_t r = 0; r < 3; r++) {
            cr_assert_eq(weir__tokenizer_append(t, runs[r], strlen(runs[r]), false, r == 0, &l, NULL),
                         WEIR_OK);
            cr_assert(l.n <= n_want && memcmp(l.at + at, want + at, (l.n - at) * sizeof *want) == 0,
                      "%s: run %zu", names[k], r);
            if (r < 2) cr_assert_eq(weir__ids_push(&l, want[l.n], NULL), WEIR_OK);
            at = l.n;
        }
        cr_expect_eq(at, n_want, "%s", names[k]);
        l.n = 0;
        cr_assert_eq(weir__tokenizer_append(t, runs[1], strlen(runs[1]), false, true, &l, NULL), WEIR_OK);
        weir_free(want);
        size_t n_alone;
        cr_assert_eq(weir__tokenizer_encode(t, runs[1], strlen(runs[1]), &want, &n_alone, NULL), WEIR_OK);
        cr_expect(l.n == n_alone && memcmp(l.at, want, l.n * sizeof *want) == 0, "%s", names[k]);
        weir_free(want);
        weir_free(l.at);
        weir__tokenizer_free(t);
    }
}

/* A model file of SentencePiece: control pieces by the same call. */
Test(bpe, spm_models_parse_control_pieces_too) {
    weir_tokenizer *t = NULL;
    int32_t *ids;
    size_t n, bytes;
    char *text;
    cr_assert_eq(weir__tokenizer_open_spm_plain(&t, GOLDEN "tiny_bpe.model", NULL), WEIR_OK);
    cr_assert_eq(weir__tokenizer_encode_special(t, "a</s>a ", 7, &ids, &n, NULL), WEIR_OK);
    size_t ends = 0;
    for (size_t i = 0; i < n; i++) ends += weir__tokenizer_is_control(t, ids[i]);
    cr_assert_eq(ends, 1);
    cr_assert_eq(weir__tokenizer_decode(t, ids, n, &text, &bytes, NULL), WEIR_OK);
    cr_assert(text[bytes - 1] == ' ', "\"%s\" was stripped", text);
    weir_free(text);
    weir_free(ids);
    weir__tokenizer_free(t);
}

/* ---- streaming ----------------------------------------------------------------------------------------- */

static bool ends_unfinished(const char *text, size_t n) {
    return n >= 3 && memcmp(text + n - 3, WEIR__REPLACEMENT, 3) == 0;
}

/* Id by id, as host/session/text.c streams: text is shown once it does not end in U+FFFD, never taken back,
 * and never half a character. The ids spell "ü😀中" byte by byte between whole tokens. */
Test(bpe, a_growing_answer_never_shows_half_a_character) {
    static const char *const names[] = {"tiny_llama3", "tiny_llama2"};
    static const char text[] = "Der \xc3\xbc\xf0\x9f\x98\x80\xe4\xb8\xad x \xe2\x82";
    for (size_t k = 0; k < 2; k++) {
        weir_tokenizer *t = open_json(names[k]);
        int32_t *ids;
        size_t n, told = 0, len = 0;
        char *now = NULL, shown[256];
        cr_assert_eq(weir__tokenizer_encode(t, text, sizeof text - 3, &ids, &n, NULL), WEIR_OK);
        for (size_t i = 1; i <= n; i++) {
            cr_assert_eq(weir__tokenizer_decode(t, ids, i, &now, &len, NULL), WEIR_OK);
            cr_assert(weir__utf8_is_valid(now, len));
            if (!ends_unfinished(now, len)) {
                cr_assert(len >= told && memcmp(now, shown, told) == 0, "\"%s\"", now);
                memcpy(shown, now, len);
                told = len;
            }
            weir_free(now);
        }
        cr_assert(told == sizeof text - 3 && memcmp(shown, text, told) == 0, "%s: %zu bytes", names[k], told);
        weir_free(ids);
        weir__tokenizer_free(t);
    }
}

/* ---- bytes that are no text ---------------------------------------------------------------------------- */

Test(bpe, any_bytes_are_a_text) {
    static const char *const names[] = {"tiny_gpt2", "tiny_qwen2", "tiny_smollm", "tiny_llama2",
                                        "tiny_gemma"};
    uint64_t rng = 3;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        weir_tokenizer *t = open_json(names[k]);
        for (int round = 0; round < 300; round++) {
            uint8_t bytes[64];
            const size_t n = rng_u64(&rng) % sizeof bytes;
            for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)rng_u64(&rng);
            char *exact = (char *)files_exact(bytes, n), *back;
            int32_t *ids;
            size_t n_ids, n_back;
            cr_assert_eq(weir__tokenizer_encode_special(t, exact, n, &ids, &n_ids, NULL), WEIR_OK);
            cr_assert_eq(weir__tokenizer_decode(t, ids, n_ids, &back, &n_back, NULL), WEIR_OK);
            cr_assert(weir__utf8_is_valid(back, n_back));
            weir_free(ids);
            weir_free(back);
            free(exact);
        }
        weir__tokenizer_free(t);
    }
}

/* Bytes, what llama.cpp reads, what a decoder shows. */
Test(bpe, broken_utf8_is_read_as_llama_cpp_reads_it) {
    static const struct {
        const char *bytes, *read, *shown;
    } cases[] = {
        {"a\xc3", "a\xef\xbf\xbd", "a\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd"},
        {"\xe2\x82\xac", "\xe2\x82\xac", "\xe2\x82\xac"},
        {"\xf0\x9f\x98!", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!", "\xef\xbf\xbd!"},
        {"\xe0\x81\x81", "A", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *shown = weir_alloc(strlen(cases[i].bytes) + 1, 1);
        size_t n = strlen(cases[i].bytes);
        weir__marked read;
        memcpy(shown, cases[i].bytes, n);
        cr_assert_eq(weir__marked_copy(&read, cases[i].bytes, n, NULL, 0, NULL), WEIR_OK);
        cr_assert_eq(weir__marked_repair(&read, NULL), WEIR_OK);
        cr_assert_str_eq(read.text, cases[i].read, "case %zu", i);
        cr_assert_eq(weir__utf8_lossy(&shown, &n, NULL), WEIR_OK);
        cr_assert(n == strlen(cases[i].shown) && strcmp(shown, cases[i].shown) == 0, "case %zu: \"%s\"", i,
                  shown);
        weir__marked_free(&read);
        weir_free(shown);
    }
}

/* ---- size ---------------------------------------------------------------------------------------------- */

Test(bpe, one_megabyte_of_anything) {
    static const char *const names[] = {"tiny_qwen2", "tiny_llama2"};
    static const char *const fills[] = {
        "The weather is nice. ",    "a", " ", "\n",         "7",    "\xff",
        "\xe4\xb8\xad\xe5\x9b\xbd", "'", "<", "<|im_start", "   x", "e\xcc\x81"};
    const size_t bytes = 1 << 20;
    char *text = malloc(bytes);
    for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
        weir_tokenizer *t = open_json(names[m]);
        for (size_t k = 0; k < sizeof fills / sizeof *fills; k++) {
            int32_t *ids;
            size_t n;
            weir_err err = {""};
            for (size_t i = 0; i < bytes; i++) text[i] = fills[k][i % strlen(fills[k])];
            cr_assert_eq(weir__tokenizer_encode(t, text, bytes, &ids, &n, &err), WEIR_OK, "fill %zu: %s", k,
                         err.text);
            cr_assert_gt(n, 0);
            weir_free(ids);
        }
        weir__tokenizer_free(t);
    }
    free(text);
}
