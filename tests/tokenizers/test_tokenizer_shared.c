#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/host/pairs/damaged_gguf.h"
#include "tests/support/files.h"
#include "tests/support/hex.h"

/* Vocabularies that are not ours to ship, where a folder beside the tree or the environment has them. */
#define VOCAB WEIR_SHARED_DIR "/data/golden_gguf/ggml-vocab-"
#define GPT2 WEIR_SHARED_DIR "/data/tokenizers/gpt2/"

static void need_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        printf("tokenizer: skipped: no %s\n", path);
        cr_skip("no %s", path);
    }
    fclose(f);
}

static const char *need_folder(const char *variable) {
    const char *dir = getenv(variable);
    if (!dir) {
        printf("tokenizer: skipped: %s is not set\n", variable);
        cr_skip("%s is not set", variable);
    }
    return dir;
}

static weir_tokenizer *open_gguf(const char *path) {
    weir_gguf *g = NULL;
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_open(&g, path, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_gguf(&t, g, &err), WEIR_OK, "%s", err.text);
    weir__gguf_close(g);
    return t;
}

/* ---- llama.cpp's golden ids ---------------------------------------------------------------------------- */

static void check_line(const weir_tokenizer *t, const char *text, size_t bytes, const char *want,
                       const char *where) {
    int32_t *ids = NULL;
    size_t n;
    char *end;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_encode(t, text, bytes, &ids, &n, &err), WEIR_OK, "%s: %s", where, err.text);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(ids[i], strtol(want, &end, 10), "%s: id %zu of \"%.*s\" is %d", where, i, (int)bytes,
                     text, ids[i]);
        cr_assert(end > want, "%s: more than the ids wanted for \"%.*s\"", where, (int)bytes, text);
        want = end;
    }
    cr_assert_eq(strspn(want, " "), strlen(want), "%s: \"%.*s\" has fewer ids, \"%s\" is missing", where,
                 (int)bytes, text, want);
    weir_free(ids);
}

/* NAME.gguf.inp: texts between marks; NAME.gguf.out: a line of ids for each. Frees t. */
static void check_golden(weir_tokenizer *t, const char *name) {
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char path[512];
    size_t n, cases = 0;
    snprintf(path, sizeof path, VOCAB "%s.gguf.inp", name);
    char *texts = (char *)files_read(path, &n), *text = texts;
    snprintf(path, sizeof path, VOCAB "%s.gguf.out", name);
    char *ids = (char *)files_read(path, &n), *line = ids;
    cr_assert(texts && ids, "%s", path);
    for (char *next; text; text = next) {
        next = strstr(text, mark);
        const size_t bytes = next ? (size_t)(next - text) : strlen(text);
        cr_assert(line, "%s: a text without ids", name);
        check_line(t, text, bytes, strsep(&line, "\n"), name);
        next = next ? next + sizeof mark - 1 : NULL;
        cases++;
    }
    cr_assert_eq(cases, 47, "%s: %zu", name, cases);
    printf("%s: %zu texts\n", name, cases);
    free(texts);
    free(ids);
    weir__tokenizer_free(t);
}

static void check_damaged(const char *name, bool scored) {
    char path[512];
    snprintf(path, sizeof path, VOCAB "%s.gguf", name);
    need_file(path);
    check_golden(damaged_gguf_open(path, scored), name);
}

Test(tokenizer_shared, golden_gpt2) { check_damaged("gpt-2", false); }
Test(tokenizer_shared, golden_deepseek_coder) { check_damaged("deepseek-coder", false); }
Test(tokenizer_shared, golden_llama_spm) { check_damaged("llama-spm", true); }
Test(tokenizer_shared, golden_phi3) { check_damaged("phi-3", true); }

Test(tokenizer_shared, golden_gpt2_from_its_two_files) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    need_file(GPT2 "vocab.json");
    cr_assert_eq(weir__tokenizer_open_gpt2(&t, GPT2 "vocab.json", GPT2 "merges.txt", &err), WEIR_OK, "%s",
                 err.text);
    check_golden(t, "gpt-2");
}

Test(tokenizer_shared, golden_llama_spm_by_the_library) {
    weir_tokenizer *t = NULL;
    need_file(WEIR_SHARED_DIR "/data/tokenizers/llama2/tokenizer.model");
    cr_assert_eq(
        weir__tokenizer_open_spm_plain(&t, WEIR_SHARED_DIR "/data/tokenizers/llama2/tokenizer.model", NULL),
        WEIR_OK);
    check_golden(t, "llama-spm");
}

Test(tokenizer_shared, golden_qwen2) {
    char path[512];
    snprintf(path, sizeof path, "%s/qwen2.5-coder-0.5b.gguf", need_folder("WEIR_REAL_MODELS"));
    need_file(path);
    need_file(VOCAB "qwen2.gguf.inp");
    check_golden(open_gguf(path), "qwen2");
}

/* Made from Llama 3's own file by tests/golden/make_tokenizer_lines.py. */
Test(tokenizer_shared, golden_llama_bpe) {
    char path[512];
    snprintf(path, sizeof path, "%s/llama-bpe.gguf", need_folder("WEIR_TOKENIZER_LINES"));
    need_file(path);
    need_file(VOCAB "llama-bpe.gguf.inp");
    check_golden(open_gguf(path), "llama-bpe");
}

/* ---- ten thousand lines -------------------------------------------------------------------------------- */

/* NAME.list of tests/golden/make_tokenizer_lines.py: how to open, and files. */
static weir_tokenizer *open_listed(const char *path) {
    size_t n;
    char *list = (char *)files_read(path, &n), *word[3] = {NULL}, *rest = list;
    cr_assert(list, "%s", path);
    for (int i = 0; i < 3 && rest && *rest; i++) word[i] = strsep(&rest, "\n");
    cr_assert(word[0] && word[1], "%s", path);
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    weir_status s = WEIR_OK;
    if (strcmp(word[0], "gguf") == 0)
        t = open_gguf(word[1]);
    else if (strcmp(word[0], "json") == 0)
        s = weir__tokenizer_open_json(&t, word[1], &err);
    else if (strcmp(word[0], "spm") == 0)
        s = weir__tokenizer_open_spm_plain(&t, word[1], &err);
    else
        s = weir__tokenizer_open_gpt2(&t, word[1], word[2], &err);
    cr_assert_eq(s, WEIR_OK, "%s", err.text);
    free(list);
    return t;
}

static bool equal_line(const weir_tokenizer *t, char *line) {
    char *rest = line, *special = strsep(&rest, " "), *hex = strsep(&rest, " "), *end;
    size_t bytes, n, i = 0;
    int32_t *ids = NULL;
    weir_err err = {""};
    char *text = hex_decode(strcmp(hex, "-") == 0 ? "" : hex, &bytes);
    cr_assert(text && rest, "%s", line);
    cr_assert_eq((*special == '1' ? weir__tokenizer_encode_special : weir__tokenizer_encode)(t, text, bytes,
                                                                                             &ids, &n, &err),
                 WEIR_OK, "%s", err.text);
    bool same = true;
    for (; i < n && same; i++, rest = end) {
        const long want = strtol(rest, &end, 10);
        same = end > rest && ids[i] == want;
    }
    same = same && strspn(rest, " \n") == strlen(rest);
    if (!same) printf("  differs at id %zu: special %s, text %s\n", i, special, hex);
    free(text);
    weir_free(ids);
    return same;
}

static void check_lines(const char *dir, const char *name) {
    char path[1024], *line = NULL;
    size_t cap = 0, n = 0, wrong = 0;
    snprintf(path, sizeof path, "%s/%s.list", dir, name);
    weir_tokenizer *t = open_listed(path);
    snprintf(path, sizeof path, "%s/%s.ids", dir, name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    for (; getline(&line, &cap, f) > 0; n++) wrong += !equal_line(t, line);
    printf("%s: %zu lines, %zu differ\n", name, n, wrong);
    cr_expect_geq(n, 8000, "%s", name);
    cr_expect_eq(wrong, 0, "%s: %zu of %zu lines differ", name, wrong, n);
    free(line);
    fclose(f);
    weir__tokenizer_free(t);
}

Test(tokenizer_shared, ten_thousand_mixed_lines) {
    const char *dir = need_folder("WEIR_TOKENIZER_LINES");
    DIR *d = opendir(dir);
    int count = 0;
    cr_assert(d, "%s", dir);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char name[256];
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".list") != 0) continue;
        snprintf(name, sizeof name, "%.*s", (int)(dot - e->d_name), e->d_name);
        check_lines(dir, name);
        count++;
    }
    closedir(d);
    cr_assert_gt(count, 0);
}
