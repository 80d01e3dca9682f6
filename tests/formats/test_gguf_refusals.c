#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/formats/gguf_made.h"
#include "tests/support/files.h"

/* What weir__gguf_read_model does not take, from files that are well formed. */

/* ---- what it is ---------------------------------------------------------------------------------------- */

Test(gguf_refusals, architectures) {
    static const char *const others[] = {"qwen35moe", "gemma",  "gemma3n", "phi2",  "bert",
                                         "LLAMA",     "llama ", "",        "llama4"};
    char part[128];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(
            part, sizeof part,
            "architecture %s is not supported, expected t5, llama, phi3, olmo2, granite, smollm3, qwen2, "
            "qwen2moe, qwen3, qwen3moe, gpt-oss, gemma2 or gemma3",
            others[i]);
        expect_refused(&(made){.arch = others[i], .n_layer = 1}, WEIR_ENOTSUP, part);
    }
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .skip = "general.architecture"}, WEIR_EFORMAT,
                   "no general.architecture");
}

static void more_adapter(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_text(b, "general.type", "adapter");
}

static void more_split(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_int(b, "split.count", KV_U16, 3);
}

static void more_experts(gguf_blob *b, const char *arch) { gguf_u32(b, key_of(arch, "expert_count"), 8); }

static void more_old_blocks(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_u32(b, "general.quantization_version", 1);
}

Test(gguf_refusals, kinds_of_files) {
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .more = more_adapter}, WEIR_ENOTSUP,
                   "general.type is not");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .more = more_split}, WEIR_EFORMAT,
                   "part 1 of 3 of a split file, without the others");
    expect_refused(&(made){.arch = "qwen3", .n_layer = 1, .more = more_experts}, WEIR_ENOTSUP,
                   "a mixture of 8 experts is not supported in a qwen3, expected a dense model");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .more = more_old_blocks, .matrix = GGML_Q4_0},
                   WEIR_ENOTSUP, "general.quantization_version = 1 is not supported");
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

Test(gguf_refusals, keys_that_are_missing) {
    static const char *const needed[] = {"embedding_length", "block_count", "feed_forward_length",
                                         "attention.head_count", "attention.layer_norm_rms_epsilon"};
    char part[128];
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        snprintf(part, sizeof part, "no key qwen2.%s", needed[i]);
        expect_refused(&(made){.arch = "qwen2", .n_layer = 1, .skip = needed[i]}, WEIR_EFORMAT, part);
    }
}

/* One key with a value of a kind; the text is read where the kind is a string. */
static struct {
    const char *key, *text;
    uint32_t kind;
    double value;
} one;

static void more_one(gguf_blob *b, const char *arch) {
    const char *key = strchr(one.key, ':') ? strchr(one.key, ':') + 1 : key_of(arch, one.key);
    switch (one.kind) {
    case KV_STRING: gguf_text(b, key, one.text); break;
    case KV_F32: gguf_f32(b, key, (float)one.value); break;
    case KV_F64: gguf_f64(b, key, one.value); break;
    case KV_ARRAY:
        gguf_ints(b, key, KV_U32, (uint64_t[]){(uint64_t)one.value, (uint64_t)one.value + 1}, 2);
        break;
    default: gguf_int(b, key, one.kind, (uint64_t)(int64_t)one.value); break;
    }
}

#define F32(v) KV_F32, v, NULL
#define U32(v) KV_U32, v, NULL
#define I32(v) KV_I32, v, NULL
#define TEXT(s) KV_STRING, 0, s

/* ":" before a key: it is whole, not the architecture's. The made file has the key already where it is
 * skipped first. */
Test(gguf_refusals, values_out_of_range) {
    static const struct {
        const char *arch, *key;
        uint32_t kind;
        double value;
        const char *text;
        weir_status want;
        const char *part;
    } bad[] = {
        {"llama", "embedding_length", U32(0), WEIR_EFORMAT, "llama.embedding_length = 0, expected 1 to"},
        {"llama", "embedding_length", I32(-64), WEIR_EFORMAT, "llama.embedding_length = -64"},
        {"llama", "embedding_length", U32(65), WEIR_EFORMAT,
         "token_embd.weight: 2 dimensions, (40, 64), expected rows of 65"},
        {"llama", "embedding_length", U32(4e9), WEIR_EFORMAT, "llama.embedding_length = 4000000000"},
        {"llama", "embedding_length", F32(64), WEIR_EFORMAT, "llama.embedding_length is not an integer"},
        {"llama", "embedding_length", TEXT("64"), WEIR_EFORMAT, "llama.embedding_length is not an integer"},
        {"llama", "block_count", U32(257), WEIR_EFORMAT, "llama.block_count = 257, expected 1 to 256"},
        {"llama", "block_count", U32(0), WEIR_EFORMAT, "llama.block_count = 0"},
        {"llama", "feed_forward_length", KV_ARRAY, 96, NULL, WEIR_EFORMAT,
         "not an integer, or not the same in all layers"},
        {"llama", "attention.head_count", U32(0), WEIR_EFORMAT, "attention.head_count = 0"},
        {"llama", "attention.head_count", U32(5), WEIR_EFORMAT, "5 heads are not a multiple of 2"},
        {"llama", "attention.head_count", U32(1 << 20), WEIR_EFORMAT,
         "heads of 32 elements, expected at most"},
        {"llama", "attention.head_count_kv", U32(0), WEIR_EFORMAT, "attention.head_count_kv = 0"},
        {"llama", "attention.head_count_kv", U32(3), WEIR_EFORMAT, "4 heads are not a multiple of 3"},
        {"llama", "attention.key_length", U32(0), WEIR_EFORMAT, "attention.key_length = 0"},
        {"llama", "attention.value_length", U32(16), WEIR_ENOTSUP,
         "value_length = 16 differs from key_length = 32"},
        {"llama", "attention.layer_norm_rms_epsilon", F32(0), WEIR_EFORMAT, "rms_epsilon = 0, expected"},
        {"llama", "attention.layer_norm_rms_epsilon", F32(NAN), WEIR_EFORMAT, "rms_epsilon = "},
        {"llama", "attention.layer_norm_rms_epsilon", TEXT("x"), WEIR_EFORMAT, "rms_epsilon is not a number"},
        {"llama", "context_length", U32(3e9), WEIR_EFORMAT, "context_length = 3000000000"},
        {"llama", "vocab_size", U32(41), WEIR_EFORMAT,
         "llama.vocab_size = 41, but token_embd.weight has 40 rows"},
        {"qwen2", "rope.freq_base", F32(0), WEIR_EFORMAT, "rope.freq_base = 0"},
        {"qwen2", "rope.freq_base", F32(INFINITY), WEIR_EFORMAT, "rope.freq_base = inf"},
        {"qwen2", "rope.dimension_count", U32(0), WEIR_EFORMAT, "rope.dimension_count = 0"},
        {"qwen2", "rope.dimension_count", U32(33), WEIR_EFORMAT,
         "rope.dimension_count = 33, expected 2 to 32"},
        {"qwen2", "rope.dimension_count", U32(15), WEIR_EFORMAT,
         "15 elements of a head turn, expected an even number"},
        {"qwen2", "rope.scaling.factor", F32(-2), WEIR_EFORMAT, "rope.scaling.factor = -2"},
        {"qwen2", "rope.scaling.factor", F32(NAN), WEIR_EFORMAT, "rope.scaling.factor = "},
        {"qwen2", "rope.scaling.type", TEXT("longrope"), WEIR_ENOTSUP,
         "rope.scaling.type = \"longrope\" is not supported"},
        {"qwen2", "rope.scaling.type", U32(1), WEIR_EFORMAT, "rope.scaling.type is not a string"},
        {"qwen2", "rope.scaling.attn_factor", F32(2), WEIR_ENOTSUP,
         "attn_factor = 2 is not supported without yarn"},
        {"qwen2", "attention.scale", F32(0), WEIR_EFORMAT, "attention.scale = 0"},
        {"gemma2", "attention.sliding_window", I32(-1), WEIR_EFORMAT, "attention.sliding_window = -1"},
        {"gemma2", "attention.sliding_window_pattern", I32(-1), WEIR_EFORMAT, "sliding_window_pattern = -1"},
        {"gemma2", "attention.sliding_window_pattern", KV_ARRAY, 1, NULL, WEIR_EFORMAT,
         "is not a list of 3 bools"},
        {"gemma2", "attn_logit_softcapping", F32(-1), WEIR_EFORMAT, "attn_logit_softcapping = -1"},
        {"gemma2", "final_logit_softcapping", F32(NAN), WEIR_EFORMAT, "final_logit_softcapping = "},
        {"llama", ":tokenizer.ggml.bos_token_id", U32(40), WEIR_EFORMAT,
         "bos_token_id = 40, expected 0 to 39"},
        {"llama", ":tokenizer.ggml.eos_token_id", I32(-2), WEIR_EFORMAT,
         "eos_token_id = -2, expected 0 to 39"},
        {"llama", ":tokenizer.ggml.eot_token_id", TEXT("x"), WEIR_EFORMAT, "eot_token_id is not an integer"},
        {"llama", ":tokenizer.ggml.padding_token_id", U32(1e6), WEIR_EFORMAT, "padding_token_id = 1000000"},
        {"llama", ":tokenizer.ggml.add_bos_token", KV_BOOL, 1, NULL, WEIR_EFORMAT,
         "add_bos_token = true without a bos"},
        {"llama", ":tokenizer.ggml.add_eos_token", KV_BOOL, 1, NULL, WEIR_ENOTSUP,
         "add_eos_token = true is not supported"},
        {"llama", ":tokenizer.ggml.add_sep_token", KV_BOOL, 1, NULL, WEIR_ENOTSUP,
         "add_sep_token = true is not supported"},
        {"llama", ":tokenizer.ggml.tokens", KV_ARRAY, 1, NULL, WEIR_EFORMAT,
         "tokens is not a list of strings"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *whole = bad[i].key[0] == ':' ? bad[i].key + 1 : bad[i].key;
        one.key = bad[i].key;
        one.kind = bad[i].kind;
        one.value = bad[i].value;
        one.text = bad[i].text;
        expect_refused(&(made){.arch = bad[i].arch, .n_layer = 3, .skip = whole, .more = more_one},
                       bad[i].want, bad[i].part);
    }
}

Test(gguf_refusals, keys_that_change_the_result) {
    static const struct {
        const char *arch, *key;
        uint32_t kind;
        double good, bad; /* NAN: no value is good */
    } keys[] = {
        {"llama", "embedding_scale", KV_F32, 1, 12},
        {"llama", "residual_scale", KV_F32, 1, 0.5},
        {"llama", "logit_scale", KV_F32, 1, 0.0625},
        {"llama", "attention.causal", KV_BOOL, 1, 0},
        {"llama", "use_parallel_residual", KV_BOOL, 0, 1},
        {"llama", "attention.max_alibi_bias", KV_F32, 0, 8},
        {"llama", "attention.clamp_kqv", KV_F32, 0, 8},
        {"llama", "expert_used_count", KV_U32, 0, 2},
        {"llama", "attention.sliding_window", KV_U32, 0, 4096},
        {"qwen2", "attention.sliding_window", KV_U32, 0, 4096},
        {"qwen3", "attn_logit_softcapping", KV_F32, 0, 50},
        {"qwen3", "final_logit_softcapping", KV_F32, 0, 30},
        {"gemma2", "rope.scaling.yarn_log_multiplier", KV_F32, 0, 0.1},
        {"gemma3", "rope.scaling.yarn_ext_factor", KV_F32, 1, 0.5},
        {"gemma3", "rope.scaling.yarn_attn_factor", KV_F32, 1, 0.5},
        {"llama", "rope.local.freq_base", KV_F32, NAN, 1e4},
        {"gemma3", "attention.key_length_swa", KV_U32, NAN, 32},
        {"qwen2", "rope.dimension_sections", KV_ARRAY, NAN, 8},
        {"llama", "no_such_key", KV_U32, NAN, 0},
        {"llama", "attention.head_coun", KV_U32, NAN, 4},
        {"gemma3", "rope.scaling.finetuned", KV_BOOL, 1, NAN},
        {"gemma3", "vision.image_size", KV_U32, 896, NAN},
        {"gemma3", "rope.local.freq_base", KV_F32, 1e4, NAN},
        {"llama", ":llamas.no_such_key", KV_U32, 1, NAN},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        one.key = keys[i].key;
        one.kind = keys[i].kind;
        made m = {.arch = keys[i].arch, .n_layer = 1, .more = more_one};
        if (!isnan(keys[i].good)) {
            gguf_blob b;
            one.value = keys[i].good;
            weir_gguf *g = open_made(&m, &b);
            weir_gguf_model out;
            weir_err err = {""};
            cr_expect_eq(weir__gguf_read_model(g, &out, &err), WEIR_OK, "%s: %s", keys[i].key, err.text);
            weir__gguf_close(g);
            gguf_free(&b);
        }
        one.value = keys[i].bad;
        char part[128];
        snprintf(part, sizeof part, "%s.%s", keys[i].arch, keys[i].key);
        if (!isnan(keys[i].bad)) expect_refused(&m, WEIR_ENOTSUP, part);
    }
}

static void more_yarn_of_nothing(gguf_blob *b, const char *arch) {
    gguf_text(b, key_of(arch, "rope.scaling.type"), "yarn");
}

static void more_ends(gguf_blob *b, const char *arch) {
    static const char *const ends[] = {"<|eot_id|>",    "<|im_end|>",      "<|end|>",
                                       "<end_of_turn>", "<|endoftext|>",   "<|eom_id|>",
                                       "<EOT>",         "<|end_of_text|>", "<eos>"};
    (void)arch;
    gguf_texts(b, "tokenizer.ggml.tokens", ends, 9);
}

static void more_tokens(gguf_blob *b, const char *arch) {
    const char *tokens[VOCAB + 1];
    (void)arch;
    for (int i = 0; i <= VOCAB; i++) tokens[i] = "t";
    gguf_texts(b, "tokenizer.ggml.tokens", tokens, VOCAB + 1);
}

Test(gguf_refusals, several_keys_together) {
    expect_refused(
        &(made){.arch = "qwen2", .n_layer = 1, .skip = "context_length", .more = more_yarn_of_nothing},
        WEIR_EFORMAT, "yarn without the context that it stretches");
    expect_refused(&(made){.arch = "qwen2", .n_layer = 1, .skip = "tokenizer.ggml.tokens", .more = more_ends},
                   WEIR_ENOTSUP, "more than 8 tokens that end a text");
    expect_refused(
        &(made){.arch = "qwen2", .n_layer = 1, .skip = "tokenizer.ggml.tokens", .more = more_tokens},
        WEIR_EFORMAT, "41 tokens, but token_embd.weight has 40 rows");
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

Test(gguf_refusals, tensors_that_are_unknown) {
    static const struct {
        const char *arch, *name;
    } bad[] = {
        {"llama", "blk.0.attn_output.bias"},
        {"llama", "blk.0.ffn_gate_exps.weight"},
        {"llama", "blk.1.attn_norm.bias"},
        {"llama", "blk.2.attn_norm.weight"},
        {"llama", "blk.00.attn_norm.weight"},
        {"llama", "blk.0.attn_qkv.weight"},
        {"qwen2", "blk.0.attn_k.bias"}, /* without one of q */
        {"qwen2", "blk.0.attn_q_norm.weight"},
        {"qwen3", "blk.0.post_ffw_norm.weight"},
        {"gemma2", "blk.0.attn_k_norm.weight"},
        {"gemma2", "rope_freqs.weight"},
        {"gemma3", "output_norm.bias"},
        {"gemma3", "cls.output.weight"},
        {"llama", "rope_factors_long.weight"},
        {"llama", "blk."},
        {"llama", "token_embd"},
    };
    char part[128];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(part, sizeof part, "tensor %s is not one of a %s of 2 layers", bad[i].name, bad[i].arch);
        expect_refused(&(made){.arch = bad[i].arch, .n_layer = 2, .stray = bad[i].name}, WEIR_ENOTSUP, part);
    }
    static const char *const idle[] = {"v.patch_embd.weight", "mm.0.weight", "blk.0.attn_rot_embd.weight"};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        gguf_blob b;
        weir_gguf_model out;
        weir_err err = {""};
        weir_gguf *g = open_made(&(made){.arch = "llama", .n_layer = 2, .stray = idle[i]}, &b);
        cr_expect_eq(weir__gguf_read_model(g, &out, &err), WEIR_OK, "%s", err.text);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

Test(gguf_refusals, tensors_of_other_types_and_shapes) {
    expect_refused(
        &(made){.arch = "llama",
                .n_layer = 2,
                .skip = "blk.1.ffn_up.weight",
                .stray = "blk.1.ffn_up.weight",
                .stray_type = GGML_IQ2_XXS,
                .stray_dims = 2},
        WEIR_ENOTSUP,
        "tensor blk.1.ffn_up.weight: type IQ2_XXS is not supported, expected F32, F16, Q4_0, Q4_1, "
        "Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, BF16 or MXFP4");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .skip = "token_embd.weight"}, WEIR_EFORMAT,
                   "no tensor token_embd.weight");
    expect_refused(
        &(made){.arch = "llama", .n_layer = 1, .skip = "token_embd.weight", .stray = "token_embd.weight"},
        WEIR_EFORMAT, "tensor token_embd.weight: 1 dimensions");
}

/* Up to 4 dimensions, outermost first, as a mixture's experts are stored; a model that wants a matrix refuses
 * them by shape. */
Test(gguf_refusals, a_stack_of_matrices_is_handed_out_and_refused_by_the_model) {
    static const int64_t shape[4] = {DIM, FF, 3, 2};
    static const char *const has[] = {"file has (3, 96, 64)", "file has (2, 3, 96, 64)"};
    for (int dims = 3; dims <= 4; dims++) {
        gguf_blob b;
        weir_tensor t;
        weir_gguf_model out;
        weir_model_facts f;
        weir_err err = {""};
        weir_gguf *g = open_made(&(made){.arch = "llama",
                                         .n_layer = 2,
                                         .skip = "blk.1.ffn_up.weight",
                                         .stray = "blk.1.ffn_up.weight",
                                         .stray_dims = dims,
                                         .stray_shape = shape},
                                 &b);
        const weir_tensor_source src = weir__gguf_source(g);
        cr_assert_eq(weir__gguf_read_model(g, &out, &err), WEIR_OK, "%s", err.text);
        cr_assert(src.find(src.ud, "model.layers.1.mlp.up_proj.weight", &t));
        cr_expect(t.rows == FF && t.cols == DIM && t.n_outer == dims - 2);
        cr_expect(t.outer[0] == shape[dims - 1] && (dims == 3 || t.outer[1] == 3));
        cr_expect_eq(weir__decoder_measure(&out.config, &src, (weir_place){0}, &f, &err), WEIR_EFORMAT);
        cr_expect(strstr(err.text, "tensor model.layers.1.mlp.up_proj.weight: want (96, 64)") &&
                      strstr(err.text, has[dims - 3]),
                  "%s", err.text);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

/* A tensor of a type that we only list is not handed out as a weight. */
Test(gguf_refusals, the_source_gives_only_what_it_can_type) {
    gguf_blob b;
    weir_tensor t;
    weir_gguf *g = open_made(&(made){.arch = "llama",
                                     .n_layer = 1,
                                     .skip = "output_norm.weight",
                                     .stray = "output_norm.weight",
                                     .stray_type = GGML_IQ2_XXS},
                             &b);
    weir_tensor_source src = weir__gguf_source(g);
    cr_expect_not(src.find(src.ud, "model.norm.weight", &t));
    cr_expect(src.find(src.ud, "model.embed_tokens.weight", &t));
    weir__gguf_close(g);
    gguf_free(&b);
    g = open_made(&(made){.arch = "mamba", .n_layer = 1}, &b);
    src = weir__gguf_source(g);
    cr_expect_not(src.find(src.ud, "model.embed_tokens.weight", &t), "no architecture, no names");
    src.release(src.ud, "model.embed_tokens.weight");
    weir__gguf_close(g);
    gguf_free(&b);
}
