/* The bytes of single tokens: together they are the text, in every family. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/state.h"
#include "host/tokenizers/text/white.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

#define GOLDEN WEIR_SOURCE_DIR "/tests/golden/tokenizer/"

static weir_tokenizer *open_file(const char *path) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    const char *ending = strrchr(path, '.');
    weir_status s;
    if (strcmp(ending, ".gguf") == 0) {
        weir_gguf *g = NULL;
        cr_assert(weir__gguf_open(&g, path, &err) == WEIR_OK, "%s", err.text);
        s = weir__tokenizer_open_gguf(&t, g, &err);
        weir__gguf_close(g);
    } else if (strcmp(ending, ".json") == 0) {
        s = weir__tokenizer_open_json(&t, path, &err);
    } else {
        s = weir__tokenizer_open_spm(&t, path, strstr(path, "unigram") ? 10 : 3, &err);
    }
    cr_assert(s == WEIR_OK, "%s: %s", path, err.text);
    return t;
}

/* All but control tokens, one after the other. */
static size_t join(const weir_tokenizer *t, const int32_t *ids, size_t n, char *out, size_t cap) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char *bytes = NULL;
        size_t n_bytes = 0;
        weir_err err = {""};
        cr_assert(weir__tokenizer_bytes(t, ids[i], &bytes, &n_bytes, &err) == WEIR_OK, "%s", err.text);
        cr_assert(bytes[n_bytes] == '\0' && len + n_bytes < cap);
        if (!weir__tokenizer_is_control(t, ids[i])) {
            memcpy(out + len, bytes, n_bytes);
            len += n_bytes;
        }
        weir_free(bytes);
    }
    out[len] = '\0';
    return len;
}

/* A decoded text lacks the space before its first word, with T5 white space at both ends; so that
 * does not count. A text of broken characters is none to compare with. False: not compared. */
static bool check_line(const weir_tokenizer *t, const json_t *line, const char *where) {
    static char joined[1 << 16];
    const json_t *list = json_object_get(line, "ids");
    const size_t n = json_array_size(list);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    const char *got = joined, *want;
    char *text = NULL;
    size_t n_want = 0, n_got = join(t, ids, n, joined, sizeof joined);
    cr_assert(weir__tokenizer_decode(t, ids, n, &text, &n_want, NULL) == WEIR_OK);
    want = text;
    const bool whole = !memmem(text, n_want, "\xef\xbf\xbd", 3);
    weir__white_strip_left(&got, &n_got);
    weir__white_strip_right(got, &n_got);
    weir__white_strip_left(&want, &n_want);
    weir__white_strip_right(want, &n_want);
    cr_expect(!whole || (n_got == n_want && memcmp(got, want, n_got) == 0), "%s: \"%s\", decoded \"%s\"",
              where, joined, text);
    weir_free(text);
    free(ids);
    return whole;
}

static void check_file(const char *file, const char *lines) {
    char path[512], *line = NULL;
    size_t cap = 0, n = 0;
    snprintf(path, sizeof path, "%s%s.jsonl", GOLDEN, lines);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    weir_tokenizer *t = open_file(file);
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, 0, NULL);
        n += check_line(t, c, file);
        json_decref(c);
    }
    cr_expect(n >= 100, "%s: %zu texts", file, n);
    weir__tokenizer_free(t);
    free(line);
    fclose(f);
}

Test(token_bytes, together_they_are_the_text) {
    static const char *const files[] = {"tiny_gpt2.json",     "tiny_qwen2.json",     "tiny_llama3.json",
                                        "tiny_smollm.json",   "tiny_deepseek.json",  "tiny_llama2.json",
                                        "tiny_gemma.json",    "tiny_metaspace.json", "tiny_smollm.gguf",
                                        "tiny_gemma.gguf",    "tiny_deepseek.gguf",  "tiny_llama2.gguf",
                                        "tiny_unigram.model", "tiny_bpe.model"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512], name[64];
        snprintf(path, sizeof path, GOLDEN "%s", files[i]);
        snprintf(name, sizeof name, "%.*s", (int)(strchr(files[i], '.') - files[i]), files[i]);
        check_file(path, name);
    }
    check_file(WEIR_SOURCE_DIR "/models/demo/verifier/spiece.model", "demo");
}

static void expect_bytes(const weir_tokenizer *t, int32_t id, const char *want, size_t n) {
    char *bytes = NULL;
    size_t got = 0;
    cr_assert(weir__tokenizer_bytes(t, id, &bytes, &got, NULL) == WEIR_OK);
    cr_expect(got == n && memcmp(bytes, want, n) == 0, "id %d: \"%s\" of %zu bytes", id, bytes, got);
    weir_free(bytes);
}

static void expect_piece(const weir_tokenizer *t, const char *piece, const char *want, size_t n) {
    const int32_t id = weir__tokenizer_find(t, piece, strlen(piece));
    cr_assert(id >= 0, "no %s", piece);
    expect_bytes(t, id, want, n);
}

/* A decode gives U+FFFD for these. */
Test(token_bytes, a_part_of_a_character_is_its_byte) {
    static const char *const fallback[] = {"tiny_llama2.json", "tiny_llama2.gguf", "tiny_gemma.json",
                                           "tiny_gemma.gguf", "tiny_bpe.model"};
    for (size_t i = 0; i < sizeof fallback / sizeof *fallback; i++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "%s", fallback[i]);
        weir_tokenizer *t = open_file(path);
        expect_piece(t, "<0xE4>", "\xe4", 1);
        expect_piece(t, "<0x00>", "\0", 1);
        weir__tokenizer_free(t);
    }
    weir_tokenizer *t = open_file(GOLDEN "tiny_gpt2.json");
    expect_piece(t, "\xc3\xa4", "\xe4", 1); /* "ä" spells byte e4 */
    expect_piece(t, "\xc4\xa0", " ", 1);
    expect_piece(t, "<|begin|>", "<|begin|>", 9);
    weir__tokenizer_free(t);
}

Test(token_bytes, control_tokens_have_names_and_words_their_space) {
    weir_tokenizer *t = open_file(WEIR_SOURCE_DIR "/models/demo/verifier/spiece.model");
    expect_piece(t, "</s>", "</s>", 4);
    expect_piece(t, "\xe2\x96\x81", " ", 1);
    expect_piece(t, "<unk>", " \xe2\x81\x87 ", 5); /* as the library shows it in a text */
    char *bytes = NULL;
    size_t n = 0;
    weir_err err = {""};
    cr_expect(weir__tokenizer_bytes(t, weir__tokenizer_size(t), &bytes, &n, &err) == WEIR_EINVAL && !bytes &&
              strstr(err.text, "outside the vocabulary"));
    weir__tokenizer_free(t);
}

Test(token_bytes, an_engine_knows_its_vocabulary) {
    char *bytes = NULL;
    size_t n = 0;
    weir_err err = {""};
    char dir[] = "DIR";
    weir_engine e = {.pair.n_vocab = 10};
    e.pair.side[WEIR_VERIFIER].ck.dir = dir;
    cr_expect(weir_token_bytes(&e, 1, &bytes, &n, &err) == WEIR_ENOTSUP && strstr(err.text, "no tokenizer"));
    e.pair.tok = open_file(GOLDEN "tiny_gpt2.json");
    cr_expect(weir_token_bytes(&e, 10, &bytes, &n, &err) == WEIR_EINVAL && strstr(err.text, "[0, 10)"));
    cr_expect(weir_token_bytes(&e, -1, &bytes, &n, &err) == WEIR_EINVAL && !bytes);
    cr_assert(weir_token_bytes(&e, 0, &bytes, &n, &err) == WEIR_OK);
    cr_expect_str_eq(bytes, "!");
    weir_text_free(bytes);
    weir__tokenizer_free(e.pair.tok);
}

Test(token_bytes, every_failing_allocation_is_reported) {
    static const char *const files[] = {"tiny_gpt2.json", "tiny_llama2.json", "tiny_bpe.model"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "%s", files[i]);
        weir_tokenizer *t = open_file(path);
        int failures = 0;
        /* a word, perhaps a byte, and a control token */
        for (int32_t id = 0; id < weir__tokenizer_size(t); id += 37)
            for (long fail = 1, more = 1; more; fail++) {
                char *bytes = NULL;
                size_t n = 0;
                weir_err err = {""};
                alloc_install(fail);
                const weir_status s = weir__tokenizer_bytes(t, id, &bytes, &n, &err);
                more = s != WEIR_OK;
                cr_expect(s == WEIR_OK || (s == WEIR_ENOMEM && !bytes && err.text[0]), "%s: id %d", files[i],
                          id);
                weir_free(bytes);
                cr_expect(alloc_live() == 0, "%s: id %d leaks", files[i], id);
                alloc_uninstall();
                failures += (int)more;
            }
        cr_expect(failures > 0);
        weir__tokenizer_free(t);
    }
}
