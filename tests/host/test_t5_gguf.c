/* A T5 as a GGUF file: the tokens of its directory, and what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/tokenizer.h"
#include "tests/formats/gguf_made.h"
#include "tests/host/pairs/pair_fixture.h"
#include "tests/host/pairs/t5_gguf.h"
#include "tests/support/alloc.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"

static char *write_model(const char *dir, const char *name, const t5_change *c) {
    char file[64];
    gguf_blob b = t5_as_gguf(name, c);
    snprintf(file, sizeof file, "%s.gguf", name);
    files_write(dir, file, b.p, b.n);
    gguf_free(&b);
    return files_path(dir, file);
}

static weir_engine *open_pair(const char *dir, const t5_change *c) {
    char *verifier = write_model(dir, "verifier", c), *drafter = write_model(dir, "drafter", c);
    weir_engine_options o = weir_engine_options_default();
    weir_engine *e = NULL;
    weir_err err = {""};
    o.costs = TEST_COSTS;
    o.model = verifier;
    o.model_draft = drafter;
    o.device = "cpu";
    o.n_thread = 1;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    free(verifier), free(drafter);
    return e;
}

/* ---- the same tokens ----------------------------------------------------------------------------------- */

static void expect_same_ids(const weir_engine *want, const weir_engine *got, const char *text) {
    int32_t *a, *b;
    size_t n, m;
    weir_err err = {""};
    cr_assert_eq(weir_tokenize(want, text, strlen(text), true, true, &a, &n, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_tokenize(got, text, strlen(text), true, true, &b, &m, &err), WEIR_OK, "%s", err.text);
    cr_assert(n == m && memcmp(a, b, n * sizeof *a) == 0, "\"%s\": %zu and %zu ids", text, n, m);
    weir_ids_free(a);
    weir_ids_free(b);
}

Test(t5_gguf, the_demo_pair_writes_the_tokens_of_its_directories) {
    static answer want, got;
    static const char *const texts[] = {"",
                                        " ",
                                        "Where is my hat?",
                                        "  two   spaces\tand a tab ",
                                        "Ünïcode ﬁ ① ｆｕｌｌ",
                                        "</s> <pad> <unk> <extra_id_0>",
                                        "日本語 \xf0\x9f\x98\x80",
                                        "bad \xff\xfe bytes \xe2\x96",
                                        "a\nb\r\nc"};
    char *dir = files_temp_dir();
    weir_engine *hf = demo_open(1, 1, NULL, true), *e = open_pair(dir, &(t5_change){0});
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) expect_same_ids(hf, e, texts[i]);
    for (int i = 0; i < 3; i++) {
        weir_session_options o = method_options(WEIR_METHOD_SPECULATIVE, 32);
        o.seed = 11 + (uint64_t)i;
        answer_run(hf, &o, demo_prompts[i], &want);
        answer_run(e, &o, demo_prompts[i], &got);
        answer_assert_same(&want, &got, demo_prompts[i]);
    }
    weir_engine_close(hf);
    weir_engine_close(e);
    files_remove_dir(dir);
}

/* Its numbers are rounded, so its text is about as likely as the other's, not the same. Quantisers give
 * values and some matrices of the feed-forward another type than their neighbours. */
static void expect_near(const char *q8_0) {
    char *dir = files_temp_dir();
    weir_engine *hf = demo_open(1, 1, NULL, true), *e = open_pair(dir, &(t5_change){.q8_0 = q8_0});
    static answer a;
    weir_session_options o = method_options(WEIR_METHOD_VERIFIER, 24);
    int32_t *prompt;
    size_t n;
    float want[24], got[24];
    weir_err err = {""};
    o.law.temp = 0;
    answer_run(hf, &o, demo_prompts[1], &a);
    cr_assert_eq(weir_tokenize(hf, demo_prompts[1], strlen(demo_prompts[1]), true, true, &prompt, &n, &err),
                 WEIR_OK);
    cr_assert_eq(weir_score(hf, prompt, n, a.ids, a.n, want, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_score(e, prompt, n, a.ids, a.n, got, &err), WEIR_OK, "%s", err.text);
    double sum = 0;
    for (size_t i = 0; i < a.n; i++) sum += fabs((double)(want[i] - got[i]));
    cr_assert(a.n > 4 && sum / (double)a.n < 0.2 && sum > 0, "%s: %g nats a token", q8_0, sum / (double)a.n);
    weir_ids_free(prompt);
    weir_engine_close(hf);
    weir_engine_close(e);
    files_remove_dir(dir);
}

Test(t5_gguf, quantised_matrices_know_what_the_others_know) {
    expect_near("");
    expect_near("attn_v.");
    expect_near("ffn_up.");
}

/* ---- sentinels and padding ----------------------------------------------------------------------------- */

Test(t5_gguf, sentinels_are_found_between_pieces_and_padding) {
    gguf_blob plain = t5_as_gguf("drafter", &(t5_change){.skip = "token_embd.weight"}),
              b = t5_as_gguf("drafter",
                             &(t5_change){.sentinels = 100, .padding = 12, .skip = "token_embd.weight"});
    weir_gguf *p = open_good(&plain), *g = open_good(&b);
    int32_t n, m, none, sentinels;
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    weir__gguf_pieces(p, &n, &none);
    weir__gguf_pieces(g, &m, &sentinels);
    cr_assert(n == m && none == 0 && sentinels == 100, "%d %d %d %d", (int)n, (int)m, (int)none,
              (int)sentinels);
    cr_assert_eq(weir__tokenizer_open_gguf(&t, g, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__tokenizer_size(t), n + 100, "padding is no token");
    cr_assert_str_eq(weir__tokenizer_piece(t, n), "<extra_id_99>");
    cr_assert_str_eq(weir__tokenizer_piece(t, n + 99), "<extra_id_0>");
    weir__tokenizer_free(t);
    weir__gguf_close(p);
    weir__gguf_close(g);
    gguf_free(&plain);
    gguf_free(&b);
}

/* ---- umT5 ---------------------------------------------------------------------------------------------- */

/* Both sources of a model's tensors. */
typedef struct twins {
    weir_tensor_source hf, gguf;
    int n, biases;
} twins;

static weir_status same_tensor(void *ud, const char *name) {
    twins *t = ud;
    weir_tensor a, b;
    cr_assert(t->hf.find(t->hf.ud, name, &a) && t->gguf.find(t->gguf.ud, name, &b), "%s", name);
    cr_assert(a.rows == b.rows && a.cols == b.cols && a.n_outer == b.n_outer, "%s", name);
    for (int64_t r = 0; r < a.rows; r++)
        for (int64_t i = 0; i < a.cols; i++)
            cr_assert(weir_tensor_get(&a, r, i) == weir_tensor_get(&b, r, i), "%s", name);
    t->n++;
    t->biases += strstr(name, "relative_attention_bias") != NULL;
    return WEIR_OK;
}

static char *write_umt5(const char *dir, const char *skip) {
    return write_model(dir, "umt5_tied_bf16",
                       &(t5_change){.root = WEIR_SOURCE_DIR "/tests/golden/t5", .skip = skip});
}

/* A bias in every layer: config and tensors are those of the directory. */
Test(t5_gguf, umt5_is_the_model_of_its_directory) {
    char *dir = files_temp_dir(), *file = write_umt5(dir, NULL);
    weir_checkpoint hf, gguf;
    weir_err err = {""};
    cr_assert_eq(weir__checkpoint_open(&hf, WEIR_SOURCE_DIR "/tests/golden/t5/umt5_tied_bf16", true, &err),
                 WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__checkpoint_open(&gguf, file, true, &err), WEIR_OK, "%s", err.text);
    const weir_t5_config a = hf.t5, b = gguf.t5;
    cr_assert(b.layer_bias && b.gated && b.tied && b.act == a.act && b.eps == a.eps);
    cr_assert(a.dim == b.dim && a.head_dim == b.head_dim && a.n_head == b.n_head && a.ff_dim == b.ff_dim);
    cr_assert(a.n_enc_layer == b.n_enc_layer && a.n_dec_layer == b.n_dec_layer && a.n_bucket == b.n_bucket);
    cr_assert(a.n_vocab_rows == b.n_vocab_rows && a.max_distance == b.max_distance);
    cr_assert(hf.start_id == gguf.start_id && hf.eos[0] == gguf.eos[0] && hf.pad_id == gguf.pad_id);
    twins t = {.hf = weir__checkpoint_source(&hf), .gguf = weir__checkpoint_source(&gguf)};
    cr_assert_eq(weir__t5_tensors(&b, same_tensor, &t), WEIR_OK);
    cr_assert(t.n == 1 + 3 * 10 + 2 * 15 + 2 && t.biases == 3 + 2, "%d %d", t.n, t.biases);
    weir__checkpoint_close(&hf);
    weir__checkpoint_close(&gguf);
    free(file);
    files_remove_dir(dir);
}

/* llama.cpp would take the first layer's; here one that is missing is named. */
Test(t5_gguf, a_umt5_without_one_of_its_biases) {
    char *dir = files_temp_dir(), *file = write_umt5(dir, "enc.blk.2.attn_rel_b.weight");
    weir_checkpoint ck;
    weir_model_facts f;
    weir_err err = {""};
    cr_assert_eq(weir__checkpoint_open(&ck, file, true, &err), WEIR_OK, "%s", err.text);
    const weir_tensor_source src = weir__checkpoint_source(&ck);
    cr_assert_eq(weir__t5_measure(&ck.t5, &src, (weir_place){0}, &f, &err), WEIR_EFORMAT);
    cr_assert(
        strstr(err.text, "encoder.block.2.layer.0.SelfAttention.relative_attention_bias.weight: missing"),
        "%s", err.text);
    weir__checkpoint_close(&ck);
    free(file);
    files_remove_dir(dir);
}

/* ---- refused ------------------------------------------------------------------------------------------- */

static void more_no_end(gguf_blob *b) { gguf_bool(b, "tokenizer.ggml.add_eos_token", false); }
static void more_bos(gguf_blob *b) { gguf_bool(b, "tokenizer.ggml.add_bos_token", true); }
static void more_groups(gguf_blob *b) { gguf_u32(b, "t5.attention.head_count_kv", 1); }
static void more_unknown(gguf_blob *b) { gguf_u32(b, "t5.rope.freq_base", 1); }
static void more_buckets(gguf_blob *b) { gguf_u32(b, "t5.attention.relative_buckets_count", 256); }
static void more_start(gguf_blob *b) { gguf_u32(b, "t5.decoder_start_token_id", 1 << 20); }
static void put_one(gguf_blob *b, const char *name) {
    gguf_tensor(b, name, GGML_F32, 1, (int64_t[]){1}, NULL, 4);
}
static void tensors_too_many(gguf_blob *b) { put_one(b, "dec.blk.1.attn_q.weight"); }
static void tensors_of_decoders(gguf_blob *b) { put_one(b, "blk.0.attn_q.weight"); }

Test(t5_gguf, what_changes_the_result_is_refused) {
    static const struct {
        t5_change c;
        weir_status want;
        const char *about;
    } bad[] = {
        {{.arch = "t5encoder"}, WEIR_ENOTSUP, "architecture t5encoder is not supported: an encoder alone"},
        {{.skip = "embedding_length"}, WEIR_EFORMAT, "no key t5.embedding_length"},
        {{.skip = "block_count"}, WEIR_EFORMAT, "no key t5.block_count"},
        {{.skip = "attention.layer_norm_rms_epsilon"}, WEIR_EFORMAT, "no key t5.attention.layer_norm_rms"},
        {{.skip = "attention.relative_buckets_count"}, WEIR_EFORMAT, "no key t5.attention.relative_buckets"},
        {{.skip = "attention.relative_buckets_count", .more = more_buckets},
         WEIR_EFORMAT,
         "256 buckets of relative positions, expected fewer than 256"},
        {{.skip = "token_embd.weight"}, WEIR_EFORMAT, "no tensor token_embd.weight"},
        {{.skip = "add_eos_token", .more = more_no_end},
         WEIR_ENOTSUP,
         "add_eos_token = false is not supported"},
        {{.more = more_bos}, WEIR_ENOTSUP, "add_bos_token = true is not supported"},
        {{.more = more_groups}, WEIR_ENOTSUP, "1 heads of keys for 2 of queries"},
        {{.more = more_unknown}, WEIR_ENOTSUP, "key t5.rope.freq_base is unknown"},
        {{.skip = "decoder_start_token_id", .more = more_start},
         WEIR_EFORMAT,
         "decoder_start_token_id = 1048576"},
        {{.tensors = tensors_too_many}, WEIR_ENOTSUP, "tensor dec.blk.1.attn_q.weight is not one of a t5"},
        {{.tensors = tensors_of_decoders}, WEIR_ENOTSUP, "tensor blk.0.attn_q.weight is not one of a t5"},
        {{.skip = "enc.blk.0.ffn_gate.weight"}, WEIR_ENOTSUP, "ffn_gate.weight is not one of a t5"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = t5_as_gguf("drafter", &bad[i].c);
        weir_gguf *g = open_good(&b);
        weir_gguf_model m;
        weir_err err = {""};
        cr_expect_eq(weir__gguf_read_model(g, &m, &err), bad[i].want, "%s: %s", bad[i].about, err.text);
        cr_expect(err_is_line(&err, bad[i].about), "want \"%s\", got: %s", bad[i].about, err.text);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

static void expect_no_tokenizer(const t5_change *c, const char *about) {
    gguf_blob b = t5_as_gguf("drafter", c);
    weir_gguf *g = open_good(&b);
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_expect_eq(weir__tokenizer_open_gguf(&t, g, &err), WEIR_EFORMAT, "%s", about);
    cr_expect(t == NULL && err_is_line(&err, about), "want \"%s\", got: %s", about, err.text);
    weir__gguf_close(g);
    gguf_free(&b);
}

static void more_words(gguf_blob *b) { gguf_text(b, "tokenizer.ggml.scores", "none"); }

Test(t5_gguf, tokens_that_are_not_whole) {
    expect_no_tokenizer(&(t5_change){.skip = "tokens"}, "tokens: expected an array of strings");
    expect_no_tokenizer(&(t5_change){.skip = "scores"}, "scores: no number for token 0");
    expect_no_tokenizer(&(t5_change){.skip = "scores", .more = more_words}, "scores: no number for token 0");
    expect_no_tokenizer(&(t5_change){.skip = "token_type"}, "token_type: no type from 1 to 6 for token 0");
    for (int n = 1; n < 4096; n = 3 * n + 1) /* a normaliser that is cut */
        expect_no_tokenizer(&(t5_change){.charsmap_bytes = n}, "broken normaliser");
}

Test(t5_gguf, a_tokenizer_that_finds_no_memory_leaks_none) {
    gguf_blob b = t5_as_gguf("drafter", &(t5_change){.skip = "token_embd.weight"});
    weir_gguf *g = open_good(&b);
    weir_status s = WEIR_ENOMEM;
    for (long fail = 1; s != WEIR_OK; fail++) {
        weir_tokenizer *t = NULL;
        weir_err err = {""};
        cr_assert_lt(fail, 400);
        alloc_install(fail);
        s = weir__tokenizer_open_gguf(&t, g, &err);
        cr_assert(s == WEIR_OK || (s == WEIR_ENOMEM && t == NULL && err_is_line(&err, "memory")), "%s",
                  err.text);
        weir__tokenizer_free(t);
        cr_assert_eq(alloc_live(), 0, "allocation %ld", fail);
        alloc_uninstall();
    }
    weir__gguf_close(g);
    gguf_free(&b);
}
