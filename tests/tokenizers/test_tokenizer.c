#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

static const char DEMO[] = WEIR_SOURCE_DIR "/models/demo/verifier/spiece.model";
static const char GOLDEN[] = WEIR_SOURCE_DIR "/tests/golden/tokenizer";
static const char TINY[] = WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_unigram.model";

static weir_tokenizer *open_model(const char *path, int32_t extra_ids) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_open_spm(&t, path, extra_ids, &err), WEIR_OK, "%s", err.text);
    return t;
}

/* ---- golden values ------------------------------------------------------------------------------------- */

static char *from_hex(const char *hex, size_t *n) {
    *n = strlen(hex) / 2;
    char *out = malloc(*n + 1);
    for (size_t i = 0; i < *n; i++) {
        unsigned byte;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    out[*n] = '\0';
    return out;
}

static void check_decode(const weir_tokenizer *t, const int32_t *ids, size_t n, const char *want_hex,
                         const char *where) {
    size_t n_want, n_got;
    char *want = from_hex(want_hex, &n_want), *got = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_decode(t, ids, n, &got, &n_got, &err), WEIR_OK, "%s: %s", where, err.text);
    cr_assert(n_got == n_want && memcmp(got, want, n_want) == 0, "%s: decoded \"%s\", want \"%s\"", where,
              got, want);
    cr_assert_eq(got[n_got], '\0');
    weir_free(got);
    free(want);
}

static void check_case(const weir_tokenizer *t, const json_t *line, const char *where) {
    const json_t *want = json_object_get(line, "ids");
    size_t n_want = json_array_size(want), n;
    const char *hex = json_string_value(json_object_get(line, "text"));
    int32_t *ids = NULL;
    if (hex) {
        size_t bytes;
        char *text = from_hex(hex, &bytes);
        char *exact = (char *)files_exact(text, bytes);
        weir_err err = {""};
        cr_assert_eq(weir__tokenizer_encode(t, exact, bytes, &ids, &n, &err), WEIR_OK, "%s: %s", where,
                     err.text);
        cr_assert_eq(n, n_want, "%s: \"%s\": %zu ids, want %zu", where, text, n, n_want);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(ids[i], json_integer_value(json_array_get(want, i)), "%s: \"%s\": id %zu is %d",
                         where, text, i, ids[i]);
        free(exact);
        free(text);
    } else {
        n = n_want;
        ids = weir_alloc(n, sizeof *ids);
        for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(want, i));
    }
    check_decode(t, ids, n, json_string_value(json_object_get(line, "decoded")), where);
    weir_free(ids);
}

/* Every line of NAME.jsonl against the model; at least `least` of them. */
static void check_golden(const char *name, const char *model, int32_t extra_ids, size_t least) {
    char path[512], where[600], *line = NULL;
    size_t cap = 0, n = 0;
    snprintf(path, sizeof path, "%s/%s.jsonl", GOLDEN, name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    weir_tokenizer *t = open_model(model, extra_ids);
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

Test(tokenizer, demo_vocabulary_agrees_with_transformers) { check_golden("demo", DEMO, 0, 170); }
Test(tokenizer, sentinels_agree_with_transformers) { check_golden("demo_sentinels", DEMO, 100, 170); }
Test(tokenizer, tiny_unigram_with_own_normaliser) { check_golden("tiny_unigram", TINY, 10, 170); }
Test(tokenizer, tiny_bpe_with_byte_fallback_and_user_symbols) {
    check_golden("tiny_bpe", WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_bpe.model", 3, 170);
}

/* Vocabularies that are not ours to ship: their golden ids are here, the models only where a shared folder
 * has them. */
static void check_shared(const char *name, const char *model, int32_t extra_ids) {
    char path[512];
    snprintf(path, sizeof path, "%s/data/tokenizers/%s", WEIR_SHARED_DIR, model);
    FILE *f = fopen(path, "rb");
    if (!f) {
        printf("tokenizer: skipped: no %s\n", path);
        cr_skip("no %s", path);
    }
    fclose(f);
    check_golden(name, path, extra_ids, 170);
}

Test(tokenizer, shared_t5_legal) { check_shared("t5_legal", "t5_legal_multi6/spiece.model", 100); }
Test(tokenizer, shared_byte_fallback) {
    check_shared("byte_fallback", "hf_fixtures/test_sentencepiece_with_bytefallback.model", 0);
}
Test(tokenizer, shared_bpe) { check_shared("bpe", "hf_fixtures/test_sentencepiece_bpe.model", 0); }
Test(tokenizer, shared_albert) { check_shared("albert", "hf_fixtures/spiece.model", 0); }
Test(tokenizer, shared_japanese) { check_shared("japanese", "sentencepiece_tests/test_ja_model.model", 0); }
Test(tokenizer, shared_llama2) { check_shared("llama2", "llama2/tokenizer.model", 0); }

/* What transformers decoded from the demo verifier, 200 answers. */
Test(tokenizer, decodes_the_demo_answers) {
    FILE *f = fopen(WEIR_SOURCE_DIR "/models/demo/greedy_200.jsonl", "r");
    cr_assert(f);
    weir_tokenizer *t = open_model(DEMO, 0);
    char *line = NULL;
    size_t cap = 0, count = 0;
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, 0, NULL), *want = json_object_get(c, "token_ids");
        int32_t ids[512];
        size_t n = json_array_size(want), bytes;
        cr_assert_leq(n, 512);
        for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(want, i));
        char *text = NULL;
        cr_assert_eq(weir__tokenizer_decode(t, ids, n, &text, &bytes, NULL), WEIR_OK);
        cr_assert_str_eq(text, json_string_value(json_object_get(c, "text")));
        weir_free(text);
        json_decref(c);
        count++;
    }
    cr_assert_eq(count, 200);
    free(line);
    fclose(f);
    weir__tokenizer_free(t);
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

Test(tokenizer, pieces_and_sentinels_have_names) {
    weir_tokenizer *t = open_model(DEMO, 100);
    int32_t n = weir__tokenizer_size(t);
    cr_assert_eq(n, 6088);
    cr_assert_str_eq(weir__tokenizer_piece(t, 0), "<pad>");
    cr_assert_str_eq(weir__tokenizer_piece(t, 1), "</s>");
    cr_assert_str_eq(weir__tokenizer_piece(t, n - 1), "<extra_id_0>");
    cr_assert_str_eq(weir__tokenizer_piece(t, n - 100), "<extra_id_99>");
    for (int32_t id = 0; id < n; id++) cr_assert(weir__tokenizer_piece(t, id));
    cr_assert_null(weir__tokenizer_piece(t, -1));
    cr_assert_null(weir__tokenizer_piece(t, n));
    cr_assert_null(weir__tokenizer_piece(t, INT32_MIN));
    cr_assert_null(weir__tokenizer_piece(t, INT32_MAX));
    weir__tokenizer_free(t);
}

Test(tokenizer, control_ids_are_end_padding_and_sentinels) {
    weir_tokenizer *t = open_model(DEMO, 2);
    int32_t n = weir__tokenizer_size(t);
    for (int32_t id = -1; id <= n; id++)
        cr_assert_eq(weir__tokenizer_is_control(t, id), id == 0 || id == 1 || id == n - 1 || id == n - 2,
                     "id %d", id);
    weir__tokenizer_free(t);
}

Test(tokenizer, text_never_makes_control_tokens) {
    weir_tokenizer *t = open_model(DEMO, 0);
    const char text[] = "stop</s> here <pad> <s> <unk>";
    int32_t *ids;
    size_t n;
    cr_assert_eq(weir__tokenizer_encode(t, text, strlen(text), &ids, &n, NULL), WEIR_OK);
    for (size_t i = 0; i < n; i++) cr_assert_not(weir__tokenizer_is_control(t, ids[i]));
    weir_free(ids);
    weir__tokenizer_free(t);
}

Test(tokenizer, decode_names_the_first_id_outside) {
    weir_tokenizer *t = open_model(DEMO, 0);
    weir_err err = {""};
    char *text = NULL;
    size_t bytes;
    cr_assert_eq(weir__tokenizer_decode(t, (int32_t[]){4, 5988, -1}, 3, &text, &bytes, &err), WEIR_EINVAL);
    cr_assert(err_is_line(&err, "id 5988 at index 1"), "%s", err.text);
    cr_assert_eq(weir__tokenizer_decode(t, (int32_t[]){-7}, 1, &text, &bytes, &err), WEIR_EINVAL);
    cr_assert(err_is_line(&err, "id -7 at index 0"), "%s", err.text);
    cr_assert_null(text);
    weir__tokenizer_free(t);
}

Test(tokenizer, empty_input_gives_memory_to_free) {
    weir_tokenizer *t = open_model(DEMO, 0);
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 9, bytes = 9;
    cr_assert_eq(weir__tokenizer_encode(t, "", 0, &ids, &n, NULL), WEIR_OK);
    cr_assert(ids && n == 0);
    cr_assert_eq(weir__tokenizer_decode(t, ids, 0, &text, &bytes, NULL), WEIR_OK);
    cr_assert(text && bytes == 0 && text[0] == '\0');
    weir_free(ids);
    weir_free(text);
    weir__tokenizer_free(t);
}

/* A growing answer's text only grows: what was shown is never taken back. */
Test(tokenizer, decoded_prefixes_are_prefixes_of_the_text) {
    weir_tokenizer *t = open_model(TINY, 4);
    uint64_t x = 1;
    for (int round = 0; round < 50; round++) {
        int32_t ids[24];
        char *before = NULL, *now;
        size_t n_before = 0, n_now;
        for (size_t n = 0; n < 24; n++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            ids[n] = (int32_t)((x >> 33) % (uint64_t)weir__tokenizer_size(t));
            cr_assert_eq(weir__tokenizer_decode(t, ids, n + 1, &now, &n_now, NULL), WEIR_OK);
            cr_assert(n_now >= n_before && (!before || memcmp(now, before, n_before) == 0),
                      "\"%s\" after \"%s\"", now, before);
            weir_free(before);
            before = now;
            n_before = n_now;
        }
        weir_free(before);
    }
    weir__tokenizer_free(t);
}

Test(tokenizer, one_megabyte_of_text) {
    weir_tokenizer *t = open_model(DEMO, 100);
    size_t bytes = 1 << 20, n;
    char *text = malloc(bytes);
    static const char *const fills[] = {
        "The weather is nice. ", "a", " ", "<extra_id_0>", "<extra_id_", "\xff", "\xe2\x96\x81"};
    for (size_t k = 0; k < sizeof fills / sizeof *fills; k++) {
        for (size_t i = 0; i < bytes; i++) text[i] = fills[k][i % strlen(fills[k])];
        int32_t *ids;
        weir_err err = {""};
        cr_assert_eq(weir__tokenizer_encode(t, text, bytes, &ids, &n, &err), WEIR_OK, "fill %zu: %s", k,
                     err.text);
        for (size_t i = 0; i < n; i++) cr_assert(ids[i] >= 0 && ids[i] < weir__tokenizer_size(t));
        weir_free(ids);
    }
    free(text);
    weir__tokenizer_free(t);
}

/* A long run of unknown characters is cut up on the way to the library: the ids must be those of the
 * whole. */
Test(tokenizer, long_unknown_runs_give_the_ids_of_short_ones) {
    static const char *const models[] = {DEMO, TINY};
    static const char *const runs[] = {"\xff", "\xe4\xb8\xad\xe5\x9b\xbd", "a\xcc\xa7", "\xf0\x9f\x98\x80",
                                       "\x80", "\xe3\x80\x80\xe4\xb8\xad"};
    for (size_t m = 0; m < 2; m++) {
        weir_tokenizer *t = open_model(models[m], 0);
        for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
            size_t unit = strlen(runs[r]), n[2];
            int32_t *ids[2];
            for (int k = 0; k < 2; k++) { /* 900 units: below the first cut; 9000: several cuts */
                size_t count = k ? 9000 : 900, bytes = 12 + count * unit + 7;
                char *text = malloc(bytes + 1);
                memcpy(text, "The weather ", 12);
                for (size_t i = 0; i < count; i++) memcpy(text + 12 + i * unit, runs[r], unit);
                memcpy(text + 12 + count * unit, " is it.", 7);
                cr_assert_eq(weir__tokenizer_encode(t, text, bytes, &ids[k], &n[k], NULL), WEIR_OK);
                free(text);
            }
            /* Runs of one unknown id agree in all; a run that repeats known ids agrees at both ends. */
            if (n[0] < 60) cr_assert_eq(n[0], n[1], "run %zu: %zu and %zu ids", r, n[0], n[1]);
            for (size_t i = 0; i < 4; i++) {
                cr_assert_eq(ids[0][i], ids[1][i], "run %zu id %zu", r, i);
                cr_assert_eq(ids[0][n[0] - 1 - i], ids[1][n[1] - 1 - i], "run %zu id %zu from the end", r, i);
            }
            weir_free(ids[0]);
            weir_free(ids[1]);
        }
        weir__tokenizer_free(t);
    }
}

static void *encode_many(void *arg) {
    const weir_tokenizer *t = arg;
    static const char text[] = "The weather is nice today, isn't it? <extra_id_3> Yes.";
    for (int i = 0; i < 200; i++) {
        int32_t *ids;
        size_t n, bytes;
        char *back;
        if (weir__tokenizer_encode(t, text, sizeof text - 1, &ids, &n, NULL) != WEIR_OK) return (void *)1;
        if (weir__tokenizer_decode(t, ids, n, &back, &bytes, NULL) != WEIR_OK) return (void *)2;
        if (n < 10 || bytes < 40) return (void *)3;
        weir_free(back);
        weir_free(ids);
    }
    return NULL;
}

Test(tokenizer, threads_share_one) {
    weir_tokenizer *t = open_model(DEMO, 10);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_create(&threads[i], NULL, encode_many, t), 0);
    for (int i = 0; i < 4; i++) {
        void *why;
        pthread_join(threads[i], &why);
        cr_assert_null(why, "thread %d failed at step %d", i, (int)(intptr_t)why);
    }
    weir__tokenizer_free(t);
}

/* ---- bad models ---------------------------------------------------------------------------------------- */

static weir_status open_bytes(const void *bytes, size_t n, weir_err *err) {
    weir_tokenizer *t = NULL;
    uint8_t *exact = files_exact(bytes, n);
    err->text[0] = '\0';
    weir_status s = weir__tokenizer_open_spm_bytes(&t, exact, n, "m.model", 2, err);
    free(exact);
    if (s == WEIR_OK) weir__tokenizer_free(t);
    return s;
}

/* A prefix that ends between two fields is a smaller model, which may be whole; no prefix may crash. */
Test(tokenizer, every_prefix_of_a_model) {
    size_t n, refused = 0;
    uint8_t *model = files_read(TINY, &n);
    cr_assert(model);
    for (size_t i = 0; i < n; i++) {
        weir_err err;
        if (open_bytes(model, i, &err) != WEIR_OK) {
            cr_assert(err_is_line(&err, "m.model"), "prefix %zu: %s", i, err.text);
            refused++;
        }
    }
    cr_assert_gt(refused, n / 2);
    free(model);
}

/* One message field: tag, length, bytes. Returns the place after it. */
static uint8_t *put(uint8_t *p, unsigned number, const void *bytes, size_t n) {
    *p++ = (uint8_t)(number << 3 | 2);
    for (size_t v = n;; v >>= 7) {
        *p++ = (uint8_t)((v & 0x7f) | (v >= 0x80 ? 0x80 : 0));
        if (v < 0x80) break;
    }
    memcpy(p, bytes, n);
    return p + n;
}

static uint8_t *put_piece(uint8_t *p, const char *piece, size_t n, float score, int type) {
    uint8_t *body = malloc(n + 32), *q = put(body, 1, piece, n);
    *q++ = 2 << 3 | 5;
    memcpy(q, &score, 4);
    q += 4;
    *q++ = 3 << 3 | 0;
    *q++ = (uint8_t)type;
    p = put(p, 1, body, (size_t)(q - body));
    free(body);
    return p;
}

enum { NORMAL = 1, UNKNOWN = 2 };

/* "<unk>", "a" and a normaliser with the given double array and one string. */
static size_t model_with_trie(uint8_t *out, const uint32_t *units, size_t n_unit, uint32_t size,
                              const char *text, size_t n_text) {
    uint8_t *map = malloc(n_unit * 4 + n_text + 8), *spec = malloc(n_unit * 4 + n_text + 32);
    memcpy(map, &size, 4);
    memcpy(map + 4, units, n_unit * 4);
    memcpy(map + 4 + n_unit * 4, text, n_text);
    uint8_t *p = put_piece(out, "<unk>", 5, 0, UNKNOWN), *q;
    p = put_piece(p, "a", 1, -1, NORMAL);
    q = put(spec, 2, map, 4 + n_unit * 4 + n_text);
    p = put(p, 3, spec, (size_t)(q - spec));
    free(map);
    free(spec);
    return (size_t)(p - out);
}

static void expect_refused(const uint8_t *model, size_t n, const char *part) {
    weir_err err;
    cr_assert_eq(open_bytes(model, n, &err), WEIR_EFORMAT, "%s", part);
    cr_assert(err_is_line(&err, part) && strstr(err.text, "m.model"), "%s", err.text);
}

Test(tokenizer, hostile_normalisers_are_refused) {
    static uint32_t units[512];
    static uint8_t model[8192];
    enum { SIZE = sizeof units };
    size_t n;
    /* An array of values, but for the root, matches nothing and is harmless. */
    for (int i = 1; i < 512; i++) units[i] = 1u << 31;
    units[0] = 1u << 10;
    n = model_with_trie(model, units, 512, SIZE, "", 1);
    weir_err err;
    cr_assert_eq(open_bytes(model, n, &err), WEIR_OK, "%s", err.text);

    units[0] = 300u << 10; /* the root leads to the second block: fine, then past the end */
    n = model_with_trie(model, units, 512, SIZE, "", 1);
    cr_assert_eq(open_bytes(model, n, &err), WEIR_OK, "%s", err.text);
    units[0] = 600u << 10;
    n = model_with_trie(model, units, 512, SIZE, "", 1);
    expect_refused(model, n, "out of bounds");
    units[0] = 0x1fffffu << 10 | 1u << 9;
    n = model_with_trie(model, units, 512, SIZE, "", 1);
    expect_refused(model, n, "out of bounds");

    units[0] = 256u << 10;                                /* base 256 */
    units[256 ^ 'a'] = 'a' | (256u ^ (256u ^ 'a')) << 10; /* "a" leads back to base 256 */
    n = model_with_trie(model, units, 512, SIZE, "", 1);
    expect_refused(model, n, "circle");

    units[256 ^ 'a'] =
        'a' | 1u << 8 | 0u << 10; /* "a" has a value at its own unit: that unit's low 31 bits */
    n = model_with_trie(model, units, 512, SIZE, "x", 2);
    expect_refused(model, n, "value out of bounds");

    units[0] = 'a' | 1u << 8 | 'a' << 10; /* the root is its own child */
    n = model_with_trie(model, units, 512, SIZE, "", 1);
    expect_refused(model, n, "circle");

    memset(units, 0, sizeof units);
    n = model_with_trie(model, units, 512, SIZE, "x", 1);
    expect_refused(model, n, "not terminated");
    for (uint32_t d = 1; d <= 8; d++) {
        n = model_with_trie(model, units, 512, SIZE + d, "", 1);
        expect_refused(model, n, "sizes");
    }
    n = model_with_trie(model, units, 512, UINT32_MAX, "", 1);
    expect_refused(model, n, "sizes");
    n = model_with_trie(model, units, 512, 0, "", 1);
    expect_refused(model, n, "sizes");
    n = model_with_trie(model, units, 64, 256, "", 1); /* less than one block */
    expect_refused(model, n, "out of bounds");
}

/* 40 nested matches would be written to, and read from, an array of 32 on the library's stack. */
Test(tokenizer, too_many_matches_on_one_path_are_refused) {
    enum { BLOCK = 256, DEPTH = 40 };
    static uint32_t units[BLOCK * (DEPTH + 2)];
    static uint8_t model[BLOCK * (DEPTH + 3) * 4];
    for (uint32_t depth = 31; depth <= DEPTH; depth += 1) {
        for (int i = 0; i < BLOCK * (DEPTH + 2); i++) units[i] = 1u << 31;
        units[0] = 1u << 9 | (BLOCK >> 8) << 10;
        for (uint32_t d = 0; d < depth; d++) {
            uint32_t base = BLOCK * (d + 1), q = base ^ 'a', next = BLOCK * (d + 2);
            uint32_t offset = q ^ next;
            units[q] = 'a' | 1u << 8 | offset << 10;
            units[next] = 1u << 31; /* the value 0 */
        }
        size_t n = model_with_trie(model, units, BLOCK * (depth + 2), BLOCK * (depth + 2) * 4, "", 1);
        weir_err err;
        if (depth <= 32)
            cr_assert_eq(open_bytes(model, n, &err), WEIR_OK, "depth %u: %s", depth, err.text);
        else
            expect_refused(model, n, "too many matches");
    }
}

Test(tokenizer, hostile_pieces_are_refused) {
    static uint8_t model[16384];
    static char longest[5000];
    memset(longest, 'a', sizeof longest);
    uint8_t *unk = put_piece(model, "<unk>", 5, 0, UNKNOWN);
    expect_refused(model, (size_t)(put_piece(unk, "a\0b", 3, -1, NORMAL) - model), "zero byte");
    expect_refused(model, (size_t)(put_piece(unk, longest, 4097, -1, NORMAL) - model),
                   "piece 1 has 4097 bytes");
    expect_refused(model, (size_t)(put_piece(unk, "a", 1, __builtin_nanf(""), NORMAL) - model), "not finite");
    expect_refused(model, (size_t)(put_piece(unk, "a", 1, __builtin_inff(), NORMAL) - model), "not finite");
    expect_refused(model, (size_t)(put_piece(unk, "", 0, -1, NORMAL) - model), "sentencepiece");
    expect_refused(model, (size_t)(put_piece(unk, "<unk>", 5, -1, UNKNOWN) - model), "sentencepiece");
    expect_refused(model, (size_t)(put_piece(model, "a", 1, -1, NORMAL) - model),
                   "sentencepiece"); /* no unknown */
    weir_err err;
    unk = put_piece(model, "<unk>", 5, 0, UNKNOWN);
    cr_assert_eq(open_bytes(model, (size_t)(put_piece(unk, longest, 4096, -1, NORMAL) - model), &err),
                 WEIR_OK, "%s", err.text);
}

Test(tokenizer, broken_messages_are_refused) {
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"", 0},
        {"\x0a", 1},                                          /* no length */
        {"\x0a\x05", 2},                                      /* length past the end */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11}, /* length past 64 bits */
        {"\x0b\x00", 2},                                      /* a group */
        {"\x07\x00", 2},                                      /* wire type 7 */
        {"\x02\x00", 2},                                      /* field 0 */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11},
        {"{\"json\": true}", 14},
        {"\x08\x96\x01", 3}, /* one unknown varint, no piece */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused((const uint8_t *)bad[i].bytes, bad[i].n, "SentencePiece");
}

Test(tokenizer, files_that_cannot_be_read) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_open_spm(&t, "/nonexistent/spiece.model", 0, &err), WEIR_EIO);
    cr_assert(err_is_line(&err, "/nonexistent/spiece.model: cannot open: No such file"), "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_spm(&t, "/tmp", 0, &err), WEIR_EIO);
    cr_assert(err_is_line(&err, "/tmp: is a directory"), "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_spm(&t, "/dev/null", 0, &err), WEIR_EIO);
    cr_assert(err_is_line(&err, "/dev/null"), "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_spm(&t, DEMO, -1, &err), WEIR_EINVAL);
    cr_assert(err_is_line(&err, "extra_ids = -1"), "%s", err.text);
    cr_assert_null(t);
    weir__tokenizer_free(NULL);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

Test(tokenizer, every_failing_allocation_is_reported_and_nothing_leaks) {
    for (long fail = 1;; fail++) {
        weir_tokenizer *t = NULL;
        int32_t *ids = NULL;
        char *text = NULL;
        size_t n, bytes;
        weir_err err = {""};
        alloc_install(fail);
        weir_status s = weir__tokenizer_open_spm(&t, TINY, 10, &err);
        if (s == WEIR_OK)
            s = weir__tokenizer_encode(t, "ab <extra_id_1> cd <extra_id_2>", 31, &ids, &n, &err);
        if (s == WEIR_OK) s = weir__tokenizer_decode(t, ids, n, &text, &bytes, &err);
        long asked = alloc_count();
        weir_free(text);
        weir_free(ids);
        weir__tokenizer_free(t);
        long live = alloc_live();
        alloc_uninstall();
        cr_assert_eq(live, 0, "allocation %ld: %ld left", fail, live);
        if (s == WEIR_OK) {
            cr_assert_lt(asked, fail);
            cr_assert_gt(fail, 10);
            break;
        }
        cr_assert_eq(s, WEIR_ENOMEM, "allocation %ld: %s", fail, err.text);
        cr_assert(err_is_line(&err, "no memory"), "%s", err.text);
    }
}
