#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/formats/checkpoint.h"
#include "host/formats/config/config.h"
#include "host/formats/safetensors/safetensors.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* ---- config.json --------------------------------------------------------------------------------------- */

typedef weir_status (*parse_fn)(const char *, size_t, const char *, weir_checkpoint *, weir_err *);

static weir_status parse(parse_fn fn, const char *json, size_t n, weir_checkpoint *c, weir_err *err) {
    char *exact = (char *)files_exact(json, n);
    err->text[0] = '\0';
    weir_status s = fn(exact, n, "config.json", c, err);
    free(exact);
    return s;
}

static weir_checkpoint good(const char *json) {
    weir_checkpoint c = {0};
    weir_err err;
    cr_assert_eq(parse(weir__t5_config_parse, json, strlen(json), &c, &err), WEIR_OK, "%s: %s", json,
                 err.text);
    return c;
}

static void bad(parse_fn fn, const char *json, weir_status want, const char *part) {
    weir_checkpoint c = {.t5 = {.n_vocab_rows = 100}};
    weir_err err;
    cr_assert_eq(parse(fn, json, strlen(json), &c, &err), want, "%s: %s", json, err.text);
    cr_assert(err_is_line(&err, part) && strstr(err.text, "config.json: "), "%s: want \"%s\", got: %s", json,
              part, err.text);
}

static void bad_config(const char *json, weir_status want, const char *part) {
    bad(weir__t5_config_parse, json, want, part);
}

#define T5(fields) "{\"model_type\":\"t5\"" fields "}"

Test(checkpoint, defaults_are_those_of_transformers) {
    weir_checkpoint c = good(T5(""));
    cr_assert(c.t5.dim == 512 && c.t5.head_dim == 64 && c.t5.n_head == 8 && c.t5.ff_dim == 2048);
    cr_assert(c.t5.n_enc_layer == 6 && c.t5.n_dec_layer == 6 && c.t5.n_vocab_rows == 32128);
    cr_assert(c.t5.n_bucket == 32 && c.t5.max_distance == 128 && c.t5.eps == 1e-6f);
    cr_assert(c.t5.act == WEIR_ACT_RELU && !c.t5.gated && c.t5.tied && !c.t5.layer_bias);
    cr_assert(c.start_id == 0 && c.pad_id == 0 && c.n_eos == 1 && c.eos[0] == 1);
    cr_assert_str_eq(c.family, "t5 (relu, tied head)");

    c = good("{\"model_type\":\"umt5\",\"architectures\":[\"UMT5ForConditionalGeneration\"]}");
    cr_assert(c.t5.layer_bias && c.t5.gated && c.t5.tied && c.t5.n_head == 6 && c.t5.n_enc_layer == 8 &&
              c.t5.act == WEIR_ACT_GELU_TANH && c.t5.n_vocab_rows == 250112);
    c = good("{\"model_type\":\"mt5\"}");
    cr_assert(c.t5.dim == 512 && c.t5.n_head == 6 && c.t5.ff_dim == 1024 && c.t5.n_enc_layer == 8);
    cr_assert(c.t5.n_dec_layer == 8 && c.t5.n_vocab_rows == 250112 && !c.t5.tied && c.t5.gated);
    cr_assert_str_eq(c.family, "mt5 (gated gelu_new, untied head)");
}

Test(checkpoint, every_size_is_honoured) {
    weir_checkpoint c = good(
        T5(",\"d_model\":24,\"d_kv\":5,\"num_heads\":3,\"d_ff\":40,\"num_layers\":2,\"num_decoder_layers\":3,"
           "\"vocab_size\":101,\"relative_attention_num_buckets\":8,"
           "\"relative_attention_max_distance\":20,\"layer_norm_epsilon\":1e-5,"
           "\"tie_word_embeddings\":false,\"decoder_start_token_id\":7,\"pad_token_id\":3,"
           "\"eos_token_id\":[4,5,6]"));
    cr_assert(c.t5.dim == 24 && c.t5.head_dim == 5 && c.t5.n_head == 3 && c.t5.ff_dim == 40);
    cr_assert(c.t5.n_enc_layer == 2 && c.t5.n_dec_layer == 3 && c.t5.n_vocab_rows == 101);
    cr_assert(c.t5.n_bucket == 8 && c.t5.max_distance == 20 && c.t5.eps == 1e-5f && !c.t5.tied);
    cr_assert(c.start_id == 7 && c.pad_id == 3 && c.n_eos == 3 && c.eos[0] == 4 && c.eos[2] == 6);
    c = good(T5(",\"num_layers\":4,\"num_decoder_layers\":null"));
    cr_assert_eq(c.t5.n_dec_layer, 4);
}

Test(checkpoint, activations_as_transformers_derives_them) {
    static const struct {
        const char *fields;
        weir_act act;
        bool gated;
    } acts[] = {
        {"\"feed_forward_proj\":\"relu\"", WEIR_ACT_RELU, false},
        {"\"feed_forward_proj\":\"gated-gelu\"", WEIR_ACT_GELU_TANH, true}, /* gelu_new, for old files */
        {"\"feed_forward_proj\":\"gelu\"", WEIR_ACT_GELU_ERF, false},
        {"\"feed_forward_proj\":\"gelu_new\"", WEIR_ACT_GELU_TANH, false},
        {"\"feed_forward_proj\":\"gated-relu\"", WEIR_ACT_RELU, true},
        {"\"feed_forward_proj\":\"gated-silu\"", WEIR_ACT_SILU, true},
        {"\"feed_forward_proj\":\"silu\"", WEIR_ACT_SILU, false},
        {"\"feed_forward_proj\":\"gated-gelu\",\"dense_act_fn\":\"gelu\"", WEIR_ACT_GELU_ERF,
         true}, /* the file wins */
        {"\"feed_forward_proj\":\"gated-gelu\",\"is_gated_act\":false", WEIR_ACT_GELU_TANH, false},
        {"\"dense_act_fn\":\"silu\",\"is_gated_act\":true", WEIR_ACT_SILU, true},
        {"\"dense_act_fn\":\"gelu_pytorch_tanh\"", WEIR_ACT_GELU_TANH, false},
    };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char json[256];
        snprintf(json, sizeof json, T5(",%s"), acts[i].fields);
        weir_checkpoint c = good(json);
        cr_assert_eq(c.t5.act, acts[i].act, "%s", json);
        cr_assert_eq(c.t5.gated, acts[i].gated, "%s", json);
    }
    bad_config(T5(",\"feed_forward_proj\":\"glu-relu\""), WEIR_EFORMAT, "feed_forward_proj = \"glu-relu\"");
    bad_config(T5(",\"feed_forward_proj\":\"gated-gelu-x\""), WEIR_EFORMAT, "feed_forward_proj");
    bad_config(T5(",\"feed_forward_proj\":\"gated-\""), WEIR_ENOTSUP, "activation \"\"");
    bad_config(T5(",\"feed_forward_proj\":\"quick_gelu\""), WEIR_ENOTSUP,
               "activation \"quick_gelu\" is not supported");
    bad_config(T5(",\"dense_act_fn\":\"mish\""), WEIR_ENOTSUP, "activation \"mish\"");
    bad_config(T5(",\"feed_forward_proj\":3"), WEIR_EFORMAT, "feed_forward_proj = 3: expected a string");
    bad_config(T5(",\"is_gated_act\":1"), WEIR_EFORMAT, "is_gated_act = 1: expected true or false");
}

Test(checkpoint, sizes_out_of_range) {
    static const char *const keys[] = {"vocab_size",
                                       "d_model",
                                       "d_kv",
                                       "d_ff",
                                       "num_heads",
                                       "num_layers",
                                       "num_decoder_layers",
                                       "relative_attention_num_buckets",
                                       "relative_attention_max_distance"};
    static const char *const values[] = {
        "0", "-1", "2147483648", "9223372036854775807", "1.5", "6.0", "1e3", "\"6\"", "true", "[6]", "{}"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            char json[128];
            snprintf(json, sizeof json, T5(",\"%s\":%s"), keys[k], values[v]);
            bad_config(json, WEIR_EFORMAT, keys[k]);
        }
        char json[128];
        snprintf(json, sizeof json, T5(",\"%s\":null"), keys[k]);
        if (strcmp(keys[k], "num_decoder_layers") != 0) bad_config(json, WEIR_EFORMAT, keys[k]);
    }
    bad_config(T5(",\"vocab_size\":18446744073709551616"), WEIR_EFORMAT,
               "vocab_size = 1.84467e+19: expected an integer");
    bad_config(T5(",\"layer_norm_epsilon\":1e400"), WEIR_EFORMAT, "layer_norm_epsilon = \"1e400\"");
    bad_config(T5(",\"num_heads\":4096,\"d_kv\":4096"), WEIR_EFORMAT, "num_heads x d_kv = 16777216");
    bad_config(T5(",\"relative_attention_num_buckets\":3"), WEIR_EFORMAT, "expected 4 to");
    bad_config(T5(",\"relative_attention_max_distance\":16"), WEIR_EFORMAT, "more than half");
    good(T5(",\"relative_attention_max_distance\":17"));
    static const char *const eps[] = {"0", "-1e-6", "1.5", "\"1e-6\"", "null", "true", "1e-60"};
    for (size_t i = 0; i < sizeof eps / sizeof *eps; i++) {
        char json[128];
        snprintf(json, sizeof json, T5(",\"layer_norm_epsilon\":%s"), eps[i]);
        bad_config(json, WEIR_EFORMAT, "layer_norm_epsilon");
    }
}

Test(checkpoint, ids) {
    weir_checkpoint c = good(T5(",\"pad_token_id\":5"));
    cr_assert(c.start_id == 5 && c.pad_id == 5); /* T5's own shift starts with padding */
    c = good(T5(",\"bos_token_id\":9"));
    cr_assert(c.start_id == 9 && c.pad_id == 0); /* as generate does */
    c = good(T5(",\"decoder_start_token_id\":2,\"bos_token_id\":9"));
    cr_assert_eq(c.start_id, 2);
    c = good(T5(",\"pad_token_id\":null,\"decoder_start_token_id\":2"));
    cr_assert(c.start_id == 2 && c.pad_id == -1);
    c = good(T5(",\"eos_token_id\":null"));
    cr_assert_eq(c.n_eos, 0);
    c = good(T5(",\"eos_token_id\":[]"));
    cr_assert_eq(c.n_eos, 0);
    c = good(T5(",\"eos_token_id\":[1,2,3,4,5,6,7,8]"));
    cr_assert(c.n_eos == 8 && c.eos[7] == 8);
    bad_config(T5(",\"pad_token_id\":null"), WEIR_EFORMAT, "none of decoder_start_token_id");
    bad_config(T5(",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]"), WEIR_ENOTSUP, "at most 8 ids");
    bad_config(T5(",\"eos_token_id\":[1,\"2\"]"), WEIR_EFORMAT, "eos_token_id");
    bad_config(T5(",\"eos_token_id\":32128"), WEIR_EFORMAT, "eos_token_id");
    bad_config(T5(",\"eos_token_id\":[32128]"), WEIR_EFORMAT, "eos_token_id");
    bad_config(T5(",\"eos_token_id\":-1"), WEIR_EFORMAT, "eos_token_id");
    bad_config(T5(",\"vocab_size\":1"), WEIR_EFORMAT, "eos_token_id = 1, outside the vocabulary of 1");
    bad_config(T5(",\"decoder_start_token_id\":32128"), WEIR_EFORMAT, "decoder_start_token_id");
    bad_config(T5(",\"decoder_start_token_id\":\"0\""), WEIR_EFORMAT, "decoder_start_token_id");
    bad_config(T5(",\"pad_token_id\":-1"), WEIR_EFORMAT, "pad_token_id");
}

Test(checkpoint, other_models_are_refused_by_name) {
    bad_config("{\"model_type\":\"umt5\",\"architectures\":[\"UMT5EncoderModel\"]}", WEIR_ENOTSUP,
               "architectures = \"UMT5EncoderModel\": not supported, expected T5For");
    bad_config("{\"model_type\":\"llama\"}", WEIR_ENOTSUP,
               "model_type = \"llama\": not supported, expected t5, mt5 or umt5");
    bad_config("{\"model_type\":\"switch_transformers\"}", WEIR_ENOTSUP, "switch_transformers");
    bad_config("{\"model_type\":7}", WEIR_EFORMAT, "model_type = 7: expected a string");
    bad_config("{}", WEIR_ENOTSUP, "neither model_type nor architectures");
    bad_config(T5(",\"architectures\":[\"T5EncoderModel\"]"), WEIR_ENOTSUP,
               "architectures = \"T5EncoderModel\"");
    bad_config(T5(",\"architectures\":\"T5\""), WEIR_EFORMAT, "expected a list");
    bad_config(T5(",\"is_encoder_decoder\":false"), WEIR_ENOTSUP, "is_encoder_decoder = false");
    good("{\"architectures\":[\"T5ForConditionalGeneration\"]}");
    good(T5(",\"architectures\":[\"T5WithLMHeadModel\"],\"is_encoder_decoder\":true"));
    good(T5(",\"architectures\":null"));
    good(T5(",\"architectures\":[]"));
}

Test(checkpoint, second_names_of_sizes_must_agree) {
    good(T5(",\"hidden_size\":512,\"head_dim\":64,\"num_attention_heads\":8,\"num_hidden_layers\":6"));
    bad_config(T5(",\"hidden_size\":768"), WEIR_EFORMAT, "hidden_size = 768 contradicts d_model = 512");
    bad_config(T5(",\"num_hidden_layers\":12"), WEIR_EFORMAT,
               "num_hidden_layers = 12 contradicts num_layers = 6");
}

Test(checkpoint, what_changes_the_result_is_refused_by_name) {
    bad_config(T5(",\"rope_theta\":10000"), WEIR_ENOTSUP, "rope_theta = 10000: not supported");
    bad_config(T5(",\"scale_decoder_outputs\":true"), WEIR_ENOTSUP,
               "scale_decoder_outputs = true: not supported");
    bad_config(T5(",\"num_sparse_encoder_layers\":3"), WEIR_ENOTSUP, "num_sparse_encoder_layers = 3");
    bad_config(T5(",\"adapters\":{\"a\":1}"), WEIR_ENOTSUP, "adapters = {…}");
    bad_config(T5(",\"quantization_config\":{\"bits\":4}"), WEIR_ENOTSUP, "quantization_config");
    bad_config(T5(",\"tie_encoder_decoder\":true"), WEIR_ENOTSUP,
               "tie_encoder_decoder = true: not supported");
    bad_config(T5(",\"pruned_heads\":{\"0\":[1]}"), WEIR_ENOTSUP, "pruned_heads");
    good(T5(",\"_name_or_path\":\"x\",\"_anything\":[1],\"tie_encoder_decoder\":false,\"pruned_heads\":{}"));
    weir_checkpoint c =
        good(T5(",\"n_positions\":512,\"output_past\":true,\"dropout_rate\":0.1,\"torch_dtype\":\"float32\","
                "\"use_cache\":true,"
                "\"initializer_factor\":1.0,\"transformers_version\":\"4.18.0\",\"classifier_dropout\":0.0,"
                "\"task_specific_params\":{\"translation\":{\"num_beams\":4,\"prefix\":\"translate: \"}}"));
    cr_assert_str_eq(c.ignored, "");
}

/* ---- generation_config.json ---------------------------------------------------------------------------- */

static const struct {
    const char *key, *neutral, *other;
} GENERATION[] = {
    {"forced_bos_token_id", "null", "5"},
    {"forced_eos_token_id", "null", "[1]"},
    {"forced_decoder_ids", "[]", "[[1,2]]"},
    {"suppress_tokens", "[]", "[1,2]"},
    {"begin_suppress_tokens", "null", "[220]"},
    {"bad_words_ids", "[]", "[[0]]"},
    {"force_words_ids", "null", "[[3]]"},
    {"constraints", "null", "[1]"},
    {"sequence_bias", "{}", "[[[1],2.0]]"},
    {"stop_strings", "null", "\"\\n\""},
    {"no_repeat_ngram_size", "0", "3"},
    {"encoder_no_repeat_ngram_size", "0", "4"},
    {"repetition_penalty", "1.0", "1.2"},
    {"encoder_repetition_penalty", "1", "0.9"},
    {"exponential_decay_length_penalty", "null", "[5,1.1]"},
    {"min_length", "0", "10"},
    {"min_new_tokens", "null", "1"},
    {"num_beams", "1", "4"},
    {"num_beam_groups", "1", "2"},
    {"diversity_penalty", "0.0", "0.5"},
    {"penalty_alpha", "null", "0.6"},
    {"typical_p", "1.0", "0.95"},
    {"epsilon_cutoff", "0.0", "0.0003"},
    {"eta_cutoff", "0", "0.002"},
    {"guidance_scale", "null", "1.5"},
    {"watermarking_config", "null", "{}"},
    {"token_healing", "false", "true"},
    {"dola_layers", "null", "\"high\""},
};

Test(checkpoint, generation_fields_that_change_the_answer) {
    for (size_t i = 0; i < sizeof GENERATION / sizeof *GENERATION; i++) {
        char json[160];
        weir_checkpoint c = good(T5(""));
        weir_err err;
        snprintf(json, sizeof json, "{\"%s\":%s}", GENERATION[i].key, GENERATION[i].other);
        bad(weir__generation_config_parse, json, WEIR_ENOTSUP, GENERATION[i].key);
        snprintf(json, sizeof json, T5(",\"%s\":%s"), GENERATION[i].key,
                 GENERATION[i].other); /* where old files keep them */
        bad_config(json, WEIR_ENOTSUP, GENERATION[i].key);
        snprintf(json, sizeof json, "{\"%s\":%s}", GENERATION[i].key, GENERATION[i].neutral);
        cr_assert_eq(parse(weir__generation_config_parse, json, strlen(json), &c, &err), WEIR_OK, "%s",
                     err.text);
        snprintf(json, sizeof json, T5(",\"%s\":%s"), GENERATION[i].key, GENERATION[i].neutral);
        good(json);
    }
    bad(weir__generation_config_parse, "[]", WEIR_EFORMAT, "not an object");
    bad(weir__generation_config_parse, "{\"eos_token_id\":100}", WEIR_EFORMAT, "eos_token_id = 100");
    bad(weir__generation_config_parse, "{\"pad_token_id\":\"x\"}", WEIR_EFORMAT, "pad_token_id");
}

Test(checkpoint, generation_ids_win_and_null_does_not) {
    weir_checkpoint c = good(T5(",\"decoder_start_token_id\":4"));
    weir_err err;
    const char *json =
        "{\"_from_model_config\":true,\"eos_token_id\":[2,3],\"pad_token_id\":6,\"max_length\":null,"
        "\"decoder_start_token_id\":null,\"do_sample\":true,\"temperature\":0.7,\"top_k\":40,\"top_p\":0.9,"
        "\"max_new_tokens\":256,\"early_stopping\":true,\"length_penalty\":2.0,\"bos_token_id\":8}";
    cr_assert_eq(parse(weir__generation_config_parse, json, strlen(json), &c, &err), WEIR_OK, "%s", err.text);
    cr_assert(c.n_eos == 2 && c.eos[0] == 2 && c.eos[1] == 3 && c.pad_id == 6 && c.start_id == 4);
    json = "{\"eos_token_id\":null,\"decoder_start_token_id\":5}";
    cr_assert_eq(parse(weir__generation_config_parse, json, strlen(json), &c, &err), WEIR_OK, "%s", err.text);
    cr_assert(c.n_eos == 2 && c.start_id == 5);
}

Test(checkpoint, sentinels_from_the_tokenizer_config) {
    static const struct {
        const char *json;
        int32_t want;
    } cases[] = {
        {"{}", 100},
        {"{\"extra_ids\":0}", 0},
        {"{\"extra_ids\":7,\"tokenizer_class\":\"T5Tokenizer\"}", 7},
        {"{\"extra_ids\":null,\"tokenizer_class\":\"T5Tokenizer\"}", 100},
        {"{\"tokenizer_class\":\"T5TokenizerFast\"}", 100},
        {"{\"tokenizer_class\":\"LlamaTokenizer\"}", 0},
        {"{\"tokenizer_class\":\"LlamaTokenizer\",\"extra_ids\":3,\"whatever\":[1]}", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_checkpoint c = {0};
        weir_err err;
        cr_assert_eq(parse(weir__tokenizer_config_parse, cases[i].json, strlen(cases[i].json), &c, &err),
                     WEIR_OK);
        cr_assert_eq(c.extra_ids, cases[i].want, "%s", cases[i].json);
    }
    bad(weir__tokenizer_config_parse, "{\"extra_ids\":-1}", WEIR_EFORMAT, "extra_ids = -1");
    bad(weir__tokenizer_config_parse, "{\"extra_ids\":\"100\"}", WEIR_EFORMAT, "extra_ids");
    bad(weir__tokenizer_config_parse, "{\"tokenizer_class\":5}", WEIR_EFORMAT, "tokenizer_class");
}

Test(checkpoint, every_prefix_of_each_config_is_refused) {
    static const struct {
        parse_fn fn;
        const char *name;
    } files[] = {{weir__t5_config_parse, "config.json"},
                 {weir__generation_config_parse, "generation_config.json"},
                 {weir__tokenizer_config_parse, "tokenizer_config.json"}};
    for (size_t f = 0; f < 3; f++) {
        size_t n;
        char *path = files_path(WEIR_SOURCE_DIR "/models/demo/verifier", files[f].name);
        char *json = (char *)files_read(path, &n);
        cr_assert(json, "%s", path);
        while (n > 0 && json[n - 1] != '}') n--; /* trailing blanks may go */
        for (size_t i = 0; i <= n; i++) {
            weir_checkpoint c = {.t5 = {.n_vocab_rows = 6016}};
            weir_err err;
            weir_status s = parse(files[f].fn, json, i, &c, &err);
            cr_assert_eq(s, i == n ? WEIR_OK : WEIR_EFORMAT, "%s, %zu bytes: %s", path, i, err.text);
            if (i < n) cr_assert(err_is_line(&err, "config.json"));
        }
        free(json);
        free(path);
    }
}

Test(checkpoint, a_failed_parse_leaves_the_checkpoint_alone) {
    weir_checkpoint c = {.start_id = 77, .t5 = {.dim = 5}};
    weir_err err;
    const char *json = T5(",\"d_model\":64,\"tie_word_embeddings\":\"no\"");
    cr_assert_eq(parse(weir__t5_config_parse, json, strlen(json), &c, &err), WEIR_EFORMAT);
    cr_assert(c.start_id == 77 && c.t5.dim == 5);
}

/* ---- directories --------------------------------------------------------------------------------------- */

static void put_text(const char *dir, const char *name, const char *text) {
    files_write(dir, name, text, strlen(text));
}

static void put_tensors(const char *dir, const char *header, size_t n_data) {
    size_t n = strlen(header);
    uint8_t *b = calloc(8 + n + n_data, 1);
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(b + 8, header, n);
    files_write(dir, "model.safetensors", b, 8 + n + n_data);
    free(b);
}

static weir_status open_dir(const char *dir, weir_checkpoint *c, weir_err *err) {
    err->text[0] = '\0';
    memset(c, 0, sizeof *c);
    return weir__checkpoint_open(c, dir, false, err);
}

static void expect_dir(const char *dir, weir_status want, const char *part) {
    weir_checkpoint c;
    weir_err err;
    weir_status s = open_dir(dir, &c, &err);
    cr_assert_eq(s, want, "status %d: %s", s, err.text);
    cr_assert(err_is_line(&err, part) && strstr(err.text, dir), "want \"%s\", got: %s", part, err.text);
}

#define TENSOR(name, dtype, shape, at, end) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #at "," #end "]}"

Test(checkpoint, the_demo_pair) {
    static const struct {
        const char *name;
        int32_t dim, head_dim, n_head, ff, enc, dec;
        size_t n;
    } want[] = {{"verifier", 256, 64, 4, 768, 3, 3, 75}, {"drafter", 64, 32, 2, 192, 2, 1, 38}};
    for (int i = 0; i < 2; i++) {
        char *dir = files_path(WEIR_SOURCE_DIR "/models/demo", want[i].name);
        weir_checkpoint c;
        weir_err err;
        cr_assert_eq(open_dir(dir, &c, &err), WEIR_OK, "%s", err.text);
        cr_assert_str_eq(c.dir, dir);
        cr_assert_str_eq(c.family, "t5 (gated gelu_new, untied head)");
        cr_assert(c.t5.dim == want[i].dim && c.t5.head_dim == want[i].head_dim &&
                  c.t5.n_head == want[i].n_head);
        cr_assert(c.t5.ff_dim == want[i].ff && c.t5.n_enc_layer == want[i].enc &&
                  c.t5.n_dec_layer == want[i].dec);
        cr_assert(c.t5.n_vocab_rows == 6016 && c.extra_ids == 0 && c.dtype == WEIR_DTYPE_BF16);
        cr_assert(c.start_id == 0 && c.n_eos == 1 && c.eos[0] == 1 && c.pad_id == 0);
        cr_assert_eq(weir__safetensors_count(c.tensors), want[i].n);
        cr_assert(strstr(c.tokenizer_path, "/spiece.model"));
        weir_tensor_source src = weir__checkpoint_source(&c);
        weir_tensor t;
        cr_assert(src.find(src.ud, "shared.weight", &t) && t.rows == 6016 && t.cols == want[i].dim);
        cr_assert(src.find(src.ud, "decoder.final_layer_norm.weight", &t) && t.rows == 1 &&
                  t.cols == want[i].dim);
        cr_assert_not(src.find(src.ud, "no.such.weight", &t));
        src.release(src.ud, "shared.weight");
        src.release(src.ud, "no.such.weight");
        weir__checkpoint_close(&c);
        weir__checkpoint_close(&c); /* zeroed: allowed */
        free(dir);
    }
}

Test(checkpoint, directories_that_lack_something) {
    char *dir = files_temp_dir();
    expect_dir(dir, WEIR_EIO, "config.json: cannot open: No such file");
    put_text(dir, "config.json", "{\"model_type\":\"bert\"}");
    expect_dir(dir, WEIR_ENOTSUP, "model_type = \"bert\"");
    put_text(dir, "config.json", "");
    expect_dir(dir, WEIR_EFORMAT, "config.json: bad JSON");
    put_text(dir, "config.json", T5(""));
    expect_dir(dir, WEIR_EIO, "no model.safetensors");
    put_text(dir, "model.safetensors", "");
    expect_dir(dir, WEIR_EFORMAT, "model.safetensors: empty file");
    put_tensors(dir, "{}", 0);
    expect_dir(dir, WEIR_EFORMAT, "no matrix among its 0 tensors");
    put_tensors(dir, "{" TENSOR("shared.weight", "F32", "[2,2]", 0, 16) "}", 16);
    put_text(dir, "generation_config.json", "{");
    expect_dir(dir, WEIR_EFORMAT, "generation_config.json: bad JSON");
    put_text(dir, "generation_config.json", "{\"num_beams\":4}");
    expect_dir(dir, WEIR_ENOTSUP, "generation_config.json: num_beams = 4: not supported");
    put_text(dir, "generation_config.json", "{}");
    put_text(dir, "tokenizer_config.json", "{\"extra_ids\":[]}");
    expect_dir(dir, WEIR_EFORMAT, "tokenizer_config.json: extra_ids");
    put_text(dir, "tokenizer_config.json", "{}");
    weir_checkpoint c;
    weir_err err;
    cr_assert_eq(open_dir(dir, &c, &err), WEIR_OK, "%s", err.text);
    cr_assert(c.tokenizer_path == NULL && c.extra_ids == 100 && c.dtype == WEIR_DTYPE_F32);
    weir__checkpoint_close(&c);
    put_text(dir, "tokenizer.json", "{}"); /* decoders' */
    put_text(dir, "tokenizer.model", "x"); /* the tokenizer's business to read it */
    cr_assert_eq(open_dir(dir, &c, &err), WEIR_OK, "%s", err.text);
    cr_assert(strstr(c.tokenizer_path, "/tokenizer.model"));
    weir__checkpoint_close(&c);
    files_remove_dir(dir);
    expect_dir("/dev/null", WEIR_EIO, "cannot open: Not a directory");
}

Test(checkpoint, a_config_that_is_a_directory_or_unreadable) {
    char *dir = files_temp_dir(), *config = files_path(dir, "config.json");
    cr_assert_eq(mkdir(config, 0700), 0);
    expect_dir(dir, WEIR_EIO, "config.json: is a directory");
    rmdir(config);
    put_text(dir, "config.json", T5(""));
    if (geteuid() != 0) { /* root reads everything */
        chmod(config, 0);
        expect_dir(dir, WEIR_EIO, "config.json: cannot open: Permission denied");
        chmod(dir, 0);
        expect_dir(dir, WEIR_EIO, "Permission denied");
        chmod(dir, 0700);
    }
    free(config);
    files_remove_dir(dir);
}

Test(checkpoint, weights_of_other_types_are_refused_by_name) {
    char *dir = files_temp_dir();
    put_text(dir, "config.json", T5(""));
    put_tensors(dir, "{" TENSOR("shared.weight", "F8_E4M3", "[2,2]", 0, 4) "}", 4);
    expect_dir(dir, WEIR_EFORMAT,
               "tensor shared.weight: F8_E4M3 without a scale, expected a weight_scale or");
    put_tensors(dir, "{" TENSOR("a.weight", "F64", "[1,1]", 0, 8) "}", 8);
    expect_dir(dir, WEIR_ENOTSUP, "tensor a.weight: dtype F64");
    put_tensors(dir, "{" TENSOR("a.weight", "F16", "[1,1,1,1,2]", 0, 4) "}", 4);
    expect_dir(dir, WEIR_EFORMAT, "tensor a.weight: 5 dimensions, expected 1 to 4");
    put_tensors(dir, "{" TENSOR("a.weight", "F16", "[]", 0, 2) "}", 2);
    expect_dir(dir, WEIR_EFORMAT, "tensor a.weight: 0 dimensions");
    put_tensors(dir, "{" TENSOR("a.weight", "F16", "[2]", 0, 4) "}", 4);
    expect_dir(dir, WEIR_EFORMAT, "no matrix among its 1 tensors");
    files_remove_dir(dir);
}

Test(checkpoint, tensors_have_up_to_four_dimensions) {
    static const struct {
        const char *shape;
        int n_outer;
        int64_t outer[2], rows, cols;
    } t[] = {{"[24]", 0, {0}, 1, 24},
             {"[4,6]", 0, {0}, 4, 6},
             {"[2,4,3]", 1, {2}, 4, 3},
             {"[2,3,1,4]", 2, {2, 3}, 1, 4},
             {"[0,4,6]", 1, {0}, 4, 6}}; /* no byte of it may be read */
    char *dir = files_temp_dir();
    put_text(dir, "config.json", T5(""));
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char header[256];
        weir_checkpoint c;
        weir_err err;
        weir_tensor got;
        const int bytes = t[i].shape[1] == '0' ? 0 : 48;
        snprintf(
            header, sizeof header,
            "{" TENSOR("a.weight", "F16", "[1,1]", 0, 2) ",\"shared.weight\":{\"dtype\":\"F16\",\"shape\":%s,"
                                                         "\"data_offsets\":[2,%d]}}",
            t[i].shape, 2 + bytes);
        put_tensors(dir, header, 2 + (size_t)bytes);
        cr_assert_eq(open_dir(dir, &c, &err), WEIR_OK, "%s: %s", t[i].shape, err.text);
        weir_tensor_source src = weir__checkpoint_source(&c);
        cr_assert(src.find(src.ud, "shared.weight", &got), "%s", t[i].shape);
        cr_expect(got.rows == t[i].rows && got.cols == t[i].cols && got.n_outer == t[i].n_outer, "%s",
                  t[i].shape);
        cr_expect(got.outer[0] == t[i].outer[0] && got.outer[1] == t[i].outer[1], "%s", t[i].shape);
        weir__checkpoint_close(&c);
    }
    files_remove_dir(dir);
}

Test(checkpoint, the_embedding_answers_to_three_names) {
    char *dir = files_temp_dir();
    weir_checkpoint c;
    weir_err err;
    weir_tensor t;
    put_text(dir, "config.json", T5(""));
    put_tensors(dir,
                "{" TENSOR("decoder.embed_tokens.weight", "F16", "[3,2]", 0, 12) "," TENSOR(
                    "a.weight", "BF16", "[1,1]", 12, 14) "," TENSOR("buffer", "I64", "[1]", 14, 22) "}",
                22);
    cr_assert_eq(open_dir(dir, &c, &err), WEIR_OK, "%s", err.text);
    weir_tensor_source src = weir__checkpoint_source(&c);
    cr_assert(src.find(src.ud, "shared.weight", &t) && t.rows == 3 && t.cols == 2 &&
              t.dtype == WEIR_DTYPE_F16);
    cr_assert_eq(c.dtype, WEIR_DTYPE_F16); /* of the embedding, not of the first matrix */
    cr_assert_not(src.find(src.ud, "encoder.embed_tokens.weight", &t));
    cr_assert_not(src.find(src.ud, "buffer", &t)); /* listed, but no weight */
    src.release(src.ud, "shared.weight");
    weir__checkpoint_close(&c);
    files_remove_dir(dir);
}

Test(checkpoint, shared_t5_config) {
    size_t n;
    const char *path = WEIR_SHARED_DIR "/data/tokenizers/t5_legal_multi6/config.json";
    char *json = (char *)files_read(path, &n);
    if (!json) {
        printf("checkpoint: skipped: no %s\n", path);
        cr_skip("no %s", path);
    }
    weir_checkpoint c = {0};
    weir_err err;
    cr_assert_eq(parse(weir__t5_config_parse, json, n, &c, &err), WEIR_OK, "%s", err.text);
    cr_assert_str_eq(c.family, "t5 (relu, tied head)");
    free(json);
}

Test(checkpoint, every_failing_allocation_is_reported_and_nothing_leaks) {
    for (long fail = 1;; fail++) {
        weir_checkpoint c;
        weir_err err;
        alloc_install(fail);
        weir_status s = open_dir(WEIR_SOURCE_DIR "/models/demo/drafter", &c, &err);
        long asked = alloc_count();
        if (s == WEIR_OK) weir__checkpoint_close(&c);
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

/* ---- fingerprint --------------------------------------------------------------------------------------- */

static uint64_t fingerprint_of(const char *path) {
    weir_checkpoint c;
    weir_err err = {""};
    cr_assert_eq(weir__checkpoint_open(&c, path, false, &err), WEIR_OK, "%s", err.text);
    const uint64_t h = weir__checkpoint_fingerprint(&c);
    weir__checkpoint_close(&c);
    return h;
}

Test(checkpoint, a_fingerprint_tells_checkpoints_apart) {
    const uint64_t verifier = fingerprint_of("models/demo/verifier"),
                   drafter = fingerprint_of("models/demo/drafter");
    cr_assert(verifier == fingerprint_of("models/demo/verifier") && verifier != drafter);
}
