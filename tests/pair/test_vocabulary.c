/* Two checkpoints as one pair: what fits, and the first difference of what does not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/safetensors.h"
#include "host/pair/vocabulary.h"
#include "kernels/accept/accept.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"
#include "tests/support/safetensors_write.h"

#define VERIFIER WEIR_SOURCE_DIR "/models/demo/verifier"
#define DRAFTER WEIR_SOURCE_DIR "/models/demo/drafter"

static void copy(const char *dir, const char *name) {
    size_t n;
    char *path = files_path(DRAFTER, name); /* the pair shares its tokenizer */
    uint8_t *bytes = files_read(path, &n);
    files_write(dir, name, bytes, n);
    free(bytes);
    free(path);
}

/* A demo checkpoint's config with one text replaced. */
static void write_config_of(const char *from_dir, const char *dir, const char *find, const char *replace) {
    size_t n;
    char *path = files_path(from_dir, "config.json");
    uint8_t *bytes = files_read(path, &n);
    free(path);
    char text[4096] = "", out[4096];
    cr_assert(n < sizeof text);
    memcpy(text, bytes, n);
    free(bytes);
    const char *at = strstr(text, find);
    cr_assert(at, "%s", find);
    const int len = snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, replace, at + strlen(find));
    files_write(dir, "config.json", out, (size_t)len);
}

static void write_config(const char *dir, const char *find, const char *replace) {
    write_config_of(DRAFTER, dir, find, replace);
}

static weir_status open_with(const char *verifier, const char *drafter, weir_engine **e, weir_err *err) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = verifier;
    o.model_draft = drafter;
    o.n_thread = 1;
    o.ctx_size = 128;
    return weir_engine_open(e, &o, err);
}

static weir_status open_pair(const char *drafter, weir_engine **e, weir_err *err) {
    return open_with(VERIFIER, drafter, e, err);
}

Test(vocabulary, the_first_difference_is_named) {
    const struct {
        const char *find, *replace, *word;
    } bad[] = {
        {"\"eos_token_id\": 1", "\"eos_token_id\": 2", "eos_token_id"},
        {"\"decoder_start_token_id\": 0", "\"decoder_start_token_id\": 3", "decoder_start_token_id"},
        {"\"d_ff\": 192", "\"d_ff\": 200", "wi_0"}, /* the file's shapes against the config */
        {"\"vocab_size\": 6016", "\"vocab_size\": 5000", "5988"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *dir = files_temp_dir();
        copy(dir, "model.safetensors");
        copy(dir, "spiece.model");
        copy(dir, "tokenizer_config.json");
        write_config(dir, bad[i].find, bad[i].replace);
        weir_engine *e = NULL;
        weir_err err = {""};
        const weir_status st = open_pair(dir, &e, &err);
        files_remove_dir(dir);
        cr_assert(st != WEIR_OK && !e, "%s", bad[i].find);
        cr_assert(err_is_line(&err, bad[i].word), "\"%s\" lacks \"%s\"", err.text, bad[i].word);
    }
}

/* Another vocabulary: the piece is named. The tiny SentencePiece model of the tokenizer tests has its own
 * pieces. */
Test(vocabulary, another_vocabulary_is_refused_at_its_first_piece) {
    char *dir = files_temp_dir();
    copy(dir, "model.safetensors");
    copy(dir, "tokenizer_config.json");
    write_config(dir, "\"d_ff\": 192", "\"d_ff\":  192");
    size_t n;
    uint8_t *bytes = files_read(WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_bpe.model", &n);
    files_write(dir, "spiece.model", bytes, n);
    free(bytes);
    weir_engine *e = NULL;
    weir_err err = {""};
    const weir_status st = open_pair(dir, &e, &err);
    files_remove_dir(dir);
    cr_assert(st == WEIR_EMISMATCH && !e);
    cr_assert(err_is_line(&err, "differ first at token"), "%s", err.text);
}

/* Tokens that a decoder has no rows for: none at all if they are control tokens, which text never becomes. */
Test(vocabulary, control_tokens_may_lie_past_a_decoders_rows) {
    static const char *const special[] = {"true", "false"};
    char *dir = files_temp_dir(), *path = files_path(dir, "tokenizer.json");
    for (int i = 0; i < 2; i++) {
        char json[400];
        const int n = snprintf(json, sizeof json,
                               "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]},"
                               "\"added_tokens\":[{\"id\":2,\"content\":\"<image>\",\"special\":%s}]}",
                               special[i]);
        files_write(dir, "tokenizer.json", json, (size_t)n);
        const weir_checkpoint ck = {.dir = dir,
                                    .kind = WEIR_FAMILY_DECODER,
                                    .decoder = {.n_vocab_rows = 2},
                                    .tokenizer = WEIR_TOKENIZER_JSON,
                                    .tokenizer_path = path};
        for (int pair = 0; pair < 2; pair++) {
            weir_vocabulary v = {0};
            weir_err err = {""};
            const weir_status s = weir__vocabulary_open(&ck, pair ? &ck : NULL, &v, &err);
            cr_expect_eq(s, i == 0 ? WEIR_OK : WEIR_EFORMAT, "%s: %s", special[i], err.text);
            if (s == WEIR_OK)
                cr_expect(v.n_vocab == 2 && !v.tok_draft);
            else
                cr_expect(err_is_line(&err, "3 pieces, the model's vocabulary 2 rows"), "%s", err.text);
            weir__vocabulary_close(&v);
        }
        if (i > 0) continue;
        weir_checkpoint larger = ck; /* has a row for it: what both have counts */
        larger.decoder.n_vocab_rows = 3;
        for (int k = 0; k < 2; k++) {
            weir_vocabulary v = {0};
            cr_expect_eq(weir__vocabulary_open(k ? &larger : &ck, k ? &ck : &larger, &v, NULL), WEIR_OK);
            cr_expect(v.n_vocab == 2 && !v.tok_draft);
            weir__vocabulary_close(&v);
        }
    }
    free(path);
    files_remove_dir(dir);
}

/* Two decoders over tokenizer.json files of single letters; returns how weir__vocabulary_open ended. */
static weir_status open_letters(const char *const letters[2], const int32_t rows[2], weir_vocabulary *v,
                                weir_err *err) {
    char *dir = files_temp_dir(), *path[2];
    weir_checkpoint ck[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        char json[400] = "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{", name[8];
        for (int k = 0; letters[i][k]; k++) {
            const size_t at = strlen(json);
            snprintf(json + at, sizeof json - at, "%s\"%c\":%d", k ? "," : "", letters[i][k], k);
        }
        strncat(json, "}}}", sizeof json - strlen(json) - 1);
        snprintf(name, sizeof name, "%d.json", i);
        files_write(dir, name, json, strlen(json));
        path[i] = files_path(dir, name);
        ck[i] = (weir_checkpoint){.dir = dir,
                                  .kind = WEIR_FAMILY_DECODER,
                                  .decoder = {.n_vocab_rows = rows[i]},
                                  .tokenizer = WEIR_TOKENIZER_JSON,
                                  .tokenizer_path = path[i]};
    }
    const weir_status st = weir__vocabulary_open(&ck[0], &ck[1], v, err);
    for (int i = 0; i < 2; i++) free(path[i]);
    files_remove_dir(dir);
    return st;
}

Test(vocabulary, every_piece_is_compared_and_the_smaller_head_counts) {
    static const struct {
        const char *letters[2];
        int32_t rows[2], n_vocab; /* 0: two vocabularies, apart from token 2 on */
    } cases[] = {
        {{"abc", "abc"}, {3, 3}, 3},   {{"abc", "abd"}, {3, 3}, 0},
        {{"abcd", "abxd"}, {4, 4}, 0}, {{"abc", "abc"}, {3, 8}, 3},
        {{"abc", "abc"}, {8, 3}, 3},   {{"abc", "ab"}, {3, 2}, 0}, /* "c" is no padding */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_vocabulary v = {0};
        weir_err err = {""};
        const weir_status st = open_letters(cases[i].letters, cases[i].rows, &v, &err);
        cr_assert(st == WEIR_OK && !v.tok_draft == !v.n_vocab_draft, "%zu: %s", i, err.text);
        if (cases[i].n_vocab)
            cr_expect(v.n_vocab == cases[i].n_vocab && !v.tok_draft, "%zu: %d", i, (int)v.n_vocab);
        else
            cr_expect(v.tok_draft && v.n_vocab == cases[i].rows[0] && v.n_vocab_draft == cases[i].rows[1] &&
                          err_is_line(&v.apart, "first at token 2"),
                      "%zu: %s", i, v.apart.text);
        weir__vocabulary_close(&v);
    }
}

Test(vocabulary, a_drafter_without_tokenizer_uses_the_verifiers) {
    char *dir = files_temp_dir();
    copy(dir, "model.safetensors");
    write_config(dir, "\"d_ff\": 192", "\"d_ff\":  192");
    weir_engine *e = NULL;
    weir_err err = {""};
    const weir_status st = open_pair(dir, &e, &err);
    files_remove_dir(dir);
    cr_assert(st == WEIR_OK, "%s", err.text);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    cr_assert(f.n_vocab == 5988);
    weir_engine_close(e);
}

/* ---- padding ------------------------------------------------------------------------------------------- */

enum { ROWS = 6016, MORE = 6100 };

/* One tensor of the original into the copy; embedding and head get MORE rows, whose values win every
 * argmax. */
static void add(st_blob *b, const weir_entry *e, int dim) {
    if (strcmp(e->name, "shared.weight") != 0 && strcmp(e->name, "lm_head.weight") != 0) {
        st_put(b, e->name, e->type, e->shape, e->n_dim, e->data, e->bytes);
        return;
    }
    const size_t extra = (size_t)(MORE - ROWS) * (size_t)dim * 2;
    uint8_t *at = st_put(b, e->name, e->type, (int64_t[]){MORE, dim}, 2, NULL, e->bytes + extra);
    memcpy(at, e->data, e->bytes);
    for (size_t i = 0; i < extra; i += 2) memcpy(at + e->bytes + i, "\x20\x41", 2); /* 10.0 */
}

static void write_padded(const char *dir, const char *from_dir, int dim) {
    weir_safetensors *s = NULL;
    weir_err err = {""};
    st_blob b = {0};
    cr_assert_eq(weir__safetensors_open_dir(&s, from_dir, &err), WEIR_OK, "%s", err.text);
    for (size_t i = 0; i < weir__safetensors_count(s); i++) {
        weir_entry e;
        weir__safetensors_at(s, i, &e);
        add(&b, &e, dim);
    }
    weir__safetensors_close(s);
    st_write(&b, dir, "model.safetensors");
}

/* A padded copy of a demo checkpoint in a new directory. */
static char *padded_copy(const char *from_dir, int dim) {
    char *dir = files_temp_dir();
    write_padded(dir, from_dir, dim);
    copy(dir, "spiece.model");
    copy(dir, "tokenizer_config.json");
    write_config_of(from_dir, dir, "\"vocab_size\": 6016", "\"vocab_size\": 6100");
    return dir;
}

/* Embeddings padded further work and change no bit, on one side or on both, though their padding rows hold
 * the largest logits of all (traps 1 and 9). */
Test(vocabulary, padding_changes_nothing) {
    char *drafter = padded_copy(DRAFTER, 64), *verifier = padded_copy(VERIFIER, 256);
    weir_engine *plain = demo_open(1, 1, NULL, true), *padded[2] = {NULL, NULL};
    weir_err err = {""};
    cr_assert(open_pair(drafter, &padded[0], &err) == WEIR_OK, "%s", err.text);
    cr_assert(open_with(verifier, drafter, &padded[1], &err) == WEIR_OK, "%s", err.text);
    files_remove_dir(drafter);
    files_remove_dir(verifier);
    for (int i = 0; i < 10; i++) {
        weir_session_options o = weir_session_options_default();
        o.law.rule = WEIR_RULE_TOKEN_V2;
        o.law.alpha = 0.4f;
        o.law.top_k = i % 2 ? 40 : 0;
        static answer a, b;
        answer_run(plain, &o, demo_prompts[i], &a);
        for (int k = 0; k < 2; k++) {
            answer_run(padded[k], &o, demo_prompts[i], &b);
            answer_assert_same(&a, &b, demo_prompts[i]);
        }
    }
    weir_engine_close(plain);
    weir_engine_close(padded[0]);
    weir_engine_close(padded[1]);
}
