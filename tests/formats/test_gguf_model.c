#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "tests/formats/gguf_made.h"
#include "tests/support/files.h"

static weir_gguf_model read_made(const made *m) {
    gguf_blob b;
    weir_gguf *g = open_made(m, &b);
    weir_gguf_model out;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_read_model(g, &out, &err), WEIR_OK, "%s: %s", m->arch, err.text);
    out.chat_template = NULL; /* borrowed from what goes now */
    weir__gguf_close(g);
    gguf_free(&b);
    return out;
}

/* ---- what a family is ---------------------------------------------------------------------------------- */

Test(gguf_model, families) {
    static const struct {
        weir_act act;
        bool post_norms, qk_norm, interleaved;
        float embed_scale, theta, attention_softcap, final_softcap;
        int32_t window;
    } want[N_ARCH] = {
        {WEIR_ACT_SILU, false, false, true, 1, 1e4f, 0, 0, 0},
        {WEIR_ACT_SILU, false, false, false, 1, 1e4f, 0, 0, 0},
        {WEIR_ACT_SILU, false, true, false, 1, 1e4f, 0, 0, 0},
        {WEIR_ACT_GELU_TANH, true, false, false, 8, 1e4f, 50, 30, 4096},
        {WEIR_ACT_GELU_TANH, true, true, false, 8, 1e6f, 0, 0, 0},
        {WEIR_ACT_SILU, false, false, false, 1, 1e4f, 0, 0, 0},
        {WEIR_ACT_SILU, true, true, false, 1, 1e4f, 0, 0, 0},
        {WEIR_ACT_SILU, false, false, true, 1, 1e4f, 0, 0, 0},
        {WEIR_ACT_SILU, false, false, true, 1, 2e6f, 0, 0, 0},
    };
    for (int i = 0; i < N_ARCH; i++) {
        weir_gguf_model m = read_made(&(made){.arch = ARCHS[i], .n_layer = 3});
        const weir_decoder_config *c = &m.config;
        cr_expect_str_eq(m.architecture, ARCHS[i]);
        cr_expect(c->dim == DIM && c->ff_dim == FF && c->head_dim == HEAD && c->n_head == N_HEAD &&
                  c->n_head_kv == N_KV);
        cr_expect(c->n_layer == 3 && c->n_vocab_rows == VOCAB && c->n_ctx_train == 512 && c->eps == 1e-6f);
        cr_expect(c->act == want[i].act && c->post_norms == want[i].post_norms &&
                      c->qk_norm == want[i].qk_norm,
                  "%s", ARCHS[i]);
        cr_expect(!c->norm_one_plus, "GGUF holds 1 + w");
        cr_expect(c->tied && !c->qkv_bias && m.dtype == WEIR_DTYPE_F32);
        cr_expect(c->embed_scale == want[i].embed_scale && c->attention_scale == (float)(1 / sqrt(HEAD)));
        cr_expect(c->attention_softcap == want[i].attention_softcap &&
                  c->final_softcap == want[i].final_softcap);
        cr_expect(c->rope.kind == WEIR_ROPE_DEFAULT && c->rope.theta == want[i].theta && c->rope.factor == 1,
                  "%s", ARCHS[i]);
        cr_expect(c->rope.interleaved == want[i].interleaved &&
                  c->rope_sliding.interleaved == want[i].interleaved);
        cr_expect(c->rope.n_dim == 0 && c->window == want[i].window);
        const bool olmo = strcmp(ARCHS[i], "olmo2") == 0, granite = strcmp(ARCHS[i], "granite") == 0;
        cr_expect(c->no_pre_norms == olmo && c->qk_norm_whole == olmo);
        cr_expect(c->fused == (strcmp(ARCHS[i], "phi3") == 0));
        cr_expect(c->residual_scale == (granite ? 1.0f : 0.0f) && c->logit_scale == (granite ? 1.0f : 0.0f));
        weir_tensor_source src = {0};
        weir_model_facts f;
        weir_err err = {""};
        gguf_blob b;
        weir_gguf *g = open_made(&(made){.arch = ARCHS[i], .n_layer = 3}, &b);
        src = weir__gguf_source(g);
        cr_expect_eq(weir__decoder_measure(c, &src, (weir_place){0}, &f, &err), WEIR_OK, "%s: %s", ARCHS[i],
                     err.text);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

static void more_multipliers(gguf_blob *b, const char *arch) {
    gguf_f32(b, key_of(arch, "embedding_scale"), 12);
    gguf_f32(b, key_of(arch, "residual_scale"), 0.22f);
    gguf_f32(b, key_of(arch, "attention.scale"), 0.0625f);
    gguf_f32(b, key_of(arch, "logit_scale"), 8);
    gguf_bool(b, key_of(arch, "rope.scaling.finetuned"), true);
}

static void more_zeros(gguf_blob *b, const char *arch) {
    gguf_f32(b, key_of(arch, "embedding_scale"), 0);
    gguf_f32(b, key_of(arch, "residual_scale"), 0);
    gguf_f32(b, key_of(arch, "logit_scale"), 0);
}

static void more_still(gguf_blob *b, const char *arch) {
    gguf_bool(b, key_of(arch, "rope.scaling.finetuned"), false);
}

static void more_negative(gguf_blob *b, const char *arch) { gguf_f32(b, key_of(arch, "residual_scale"), -1); }

Test(gguf_model, multipliers_of_granite) {
    weir_decoder_config c =
        read_made(&(made){.arch = "granite", .n_layer = 1, .more = more_multipliers}).config;
    cr_expect(c.embed_scale == 12 && c.residual_scale == 0.22f && c.attention_scale == 0.0625f &&
              c.logit_scale == 0.125f);
    c = read_made(&(made){.arch = "granite", .n_layer = 1, .more = more_zeros}).config; /* 0: none */
    cr_expect(c.embed_scale == 1 && c.residual_scale == 1 && c.logit_scale == 1);
    expect_refused(&(made){.arch = "granite", .n_layer = 1, .more = more_still}, WEIR_ENOTSUP,
                   "granite.rope.scaling.finetuned = false is not supported");
    expect_refused(&(made){.arch = "granite", .n_layer = 1, .more = more_negative}, WEIR_EFORMAT,
                   "granite.residual_scale = -1, expected 0 to");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .more = more_multipliers}, WEIR_ENOTSUP,
                   "llama.embedding_scale = 12 is not supported");
    read_made(&(made){.arch = "llama", .n_layer = 1, .more = more_still});
}

static void more_slides(gguf_blob *b, const char *arch) {
    gguf_u32(b, key_of(arch, "attention.sliding_window"), 47);
    gguf_u32(b, key_of(arch, "rope.dimension_count"), HEAD / 4);
}

static void more_long(gguf_blob *b, const char *arch) {
    static const float parts[HEAD / 2] = {1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3};
    gguf_u32(b, key_of(arch, "rope.scaling.original_context_length"), 128);
    gguf_f32(b, key_of(arch, "rope.scaling.attn_factor"), 1.25f);
    gguf_tensor(b, "rope_factors_long.weight", GGML_F32, 1, (int64_t[]){HEAD / 2}, parts, sizeof parts);
    gguf_tensor(b, "rope_factors_short.weight", GGML_F32, 1, (int64_t[]){HEAD / 2}, parts, sizeof parts);
}

static void more_short(gguf_blob *b, const char *arch) {
    static const float parts[HEAD / 2] = {0};
    (void)arch;
    gguf_tensor(b, "rope_factors_short.weight", GGML_F32, 1, (int64_t[]){HEAD / 2}, parts, sizeof parts);
}

static void more_long_and_linear(gguf_blob *b, const char *arch) {
    gguf_f32(b, key_of(arch, "rope.scaling.factor"), 2);
    more_long(b, arch);
}

Test(gguf_model, positions_of_phi3_and_smollm3) {
    weir_decoder_config c = read_made(&(made){.arch = "phi3", .n_layer = 3, .more = more_slides}).config;
    cr_expect(c.window == 47 && c.sliding[0] && c.sliding[2] && !c.sliding[3] && c.rope.n_dim == HEAD / 4);
    c = read_made(&(made){.arch = "phi3", .n_layer = 1, .more = more_long}).config;
    cr_expect(c.rope.kind == WEIR_ROPE_LONGROPE && c.rope.n_ctx_original == 128 && c.rope.factor == 4 &&
              c.rope.attention_factor == 1.25f && c.window == 0);
    expect_refused(&(made){.arch = "phi3", .n_layer = 1, .more = more_short}, WEIR_EFORMAT,
                   "rope_factors_short.weight: element 0 is 0");
    expect_refused(&(made){.arch = "phi3", .n_layer = 1, .more = more_long_and_linear}, WEIR_ENOTSUP,
                   "rope.scaling.factor = 2 is not supported with longrope's divisors");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .more = more_slides}, WEIR_ENOTSUP,
                   "llama.attention.sliding_window = 47 is not supported");
    c = read_made(&(made){.arch = "smollm3", .n_layer = 9}).config;
    for (int i = 0; i < 10; i++) cr_expect_eq(c.no_rope[i], i == 3 || i == 7, "layer %d", i);
}

static void more_half_heads(gguf_blob *b, const char *arch) {
    gguf_u32(b, key_of(arch, "rope.dimension_count"), HEAD / 2);
    gguf_f32(b, key_of(arch, "rope.freq_base"), 5e5f);
    gguf_f32(b, key_of(arch, "attention.scale"), 0.25f);
}

Test(gguf_model, what_a_file_may_say_or_leave) {
    weir_gguf_model m =
        read_made(&(made){.arch = "llama", .n_layer = 2, .head = true, .bias = true, .matrix = GGML_Q8_0});
    cr_expect(!m.config.tied && m.config.qkv_bias && m.dtype == WEIR_DTYPE_Q8_0);
    m = read_made(&(made){.arch = "qwen2", .n_layer = 1, .skip = "attention.head_count_kv"});
    cr_expect_eq(m.config.n_head_kv, N_HEAD);
    m = read_made(&(made){.arch = "qwen2", .n_layer = 1, .skip = "context_length"});
    cr_expect_eq(m.config.n_ctx_train, 0);
    m = read_made(&(made){.arch = "qwen2", .n_layer = 1, .more = more_half_heads});
    cr_expect(m.config.rope.n_dim == HEAD / 2 && m.config.rope.theta == 5e5f &&
              m.config.attention_scale == 0.25f);
    cr_expect_eq(m.config.rope_sliding.theta, 5e5f);
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .more = more_half_heads}, WEIR_EFORMAT,
                   "llama.rope.dimension_count = 16, expected 32");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .skip = "attention.key_length"}, WEIR_ENOTSUP,
                   "attention.value_length = 32 differs from key_length = 16");
}

/* Architectures with a scale of their own at one depth: 46 layers of Gemma 2, 62 of Gemma 3. */
Test(gguf_model, the_largest_gemmas_scale_by_width) {
    static const struct {
        const char *arch;
        int32_t n_layer;
        double scalar;
    } cases[] = {{"gemma2", 46, DIM / N_HEAD},
                 {"gemma2", 45, HEAD},
                 {"gemma3", 62, DIM / N_HEAD},
                 {"gemma3", 46, HEAD},
                 {"llama", 46, HEAD}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_gguf_model m = read_made(&(made){.arch = cases[i].arch, .n_layer = cases[i].n_layer});
        cr_expect_eq(m.config.attention_scale, (float)(1 / sqrt(cases[i].scalar)), "%s", cases[i].arch);
    }
}

/* ---- layers that slide --------------------------------------------------------------------------------- */

static void more_window(gguf_blob *b, const char *arch) {
    gguf_u32(b, key_of(arch, "attention.sliding_window"), 16);
    gguf_f32(b, key_of(arch, "rope.freq_base"), 2e6f);
    gguf_f32(b, key_of(arch, "rope.scaling.factor"), 8);
    gguf_f32(b, key_of(arch, "attn_logit_softcapping"), 20);
    gguf_f32(b, key_of(arch, "final_logit_softcapping"), 0);
}

static void more_period(gguf_blob *b, const char *arch) {
    more_window(b, arch);
    gguf_u32(b, key_of(arch, "attention.sliding_window_pattern"), 3);
    gguf_f32(b, key_of(arch, "rope.freq_base_swa"), 3e4f);
}

static void more_list(gguf_blob *b, const char *arch) {
    more_window(b, arch);
    gguf_ints(b, key_of(arch, "attention.sliding_window_pattern"), KV_BOOL,
              (uint64_t[]){0, 1, 1, 0, 0, 1, 0, 0}, 8);
}

static void more_none(gguf_blob *b, const char *arch) {
    more_window(b, arch);
    gguf_u32(b, key_of(arch, "attention.sliding_window_pattern"), 1);
}

Test(gguf_model, layers_that_slide) {
    static const struct {
        const char *arch;
        void (*more)(gguf_blob *, const char *);
        const char *pattern; /* s: slides, g: global */
    } cases[] = {
        {"gemma2", NULL, "sgsgsgsg"},        {"gemma2", more_window, "sgsgsgsg"},
        {"gemma2", more_period, "ssgssgss"}, {"gemma3", more_window, "sssssgss"},
        {"gemma3", more_list, "gssggsgg"},   {"gemma3", more_none, "gggggggg"},
        {"gemma3", NULL, "gggggggg"},        {"llama", NULL, "gggggggg"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_gguf_model m = read_made(&(made){.arch = cases[i].arch, .n_layer = 8, .more = cases[i].more});
        bool any = false;
        for (int k = 0; k < WEIR_DECODER_LAYERS; k++) {
            bool slides = k < 8 && cases[i].pattern[k] == 's';
            cr_expect_eq(m.config.sliding[k], slides, "%s: layer %d", cases[i].pattern, k);
            any |= slides;
        }
        cr_expect_eq(m.config.window,
                     !any            ? 0
                     : cases[i].more ? 16
                                     : 4096,
                     "%s: %d", cases[i].pattern, m.config.window);
    }
}

Test(gguf_model, bases_and_caps_of_gemmas) {
    weir_gguf_model m = read_made(&(made){.arch = "gemma3", .n_layer = 2, .more = more_window});
    cr_expect(m.config.rope.theta == 2e6f && m.config.rope.kind == WEIR_ROPE_LINEAR &&
              m.config.rope.factor == 8);
    cr_expect(m.config.rope_sliding.theta == 1e4f && m.config.rope_sliding.kind == WEIR_ROPE_DEFAULT &&
              m.config.rope_sliding.factor == 1);
    cr_expect(m.config.attention_softcap == 20 && m.config.final_softcap == 0);
    m = read_made(&(made){.arch = "gemma3", .n_layer = 2, .more = more_period});
    cr_expect(m.config.rope.theta == 2e6f && m.config.rope_sliding.theta == 3e4f);
    m = read_made(&(made){.arch = "gemma2", .n_layer = 2, .more = more_window});
    cr_expect(m.config.rope_sliding.theta == 2e6f && m.config.rope_sliding.kind == WEIR_ROPE_LINEAR &&
              m.config.rope_sliding.factor == 8);
    cr_expect(m.config.attention_softcap == 20 && m.config.final_softcap == 0);
}

/* ---- stretched positions ------------------------------------------------------------------------------- */

static void more_yarn(gguf_blob *b, const char *arch) {
    gguf_text(b, key_of(arch, "rope.scaling.type"), "yarn");
    gguf_f32(b, key_of(arch, "rope.scaling.factor"), 4);
    gguf_u32(b, key_of(arch, "rope.scaling.original_context_length"), 128);
}

static void more_yarn_all(gguf_blob *b, const char *arch) {
    gguf_text(b, key_of(arch, "rope.scaling.type"), "yarn");
    gguf_f32(b, key_of(arch, "rope.scaling.factor"), 4);
    gguf_f32(b, key_of(arch, "rope.scaling.attn_factor"), 0.5f);
    gguf_f32(b, key_of(arch, "rope.scaling.yarn_beta_fast"), 16);
    gguf_f32(b, key_of(arch, "rope.scaling.yarn_beta_slow"), 2);
    gguf_bool(b, key_of(arch, "rope.scaling.finetuned"), true);
}

static void more_off(gguf_blob *b, const char *arch) {
    gguf_text(b, key_of(arch, "rope.scaling.type"), "none");
    gguf_f32(b, key_of(arch, "rope.scaling.factor"), 4);
}

static void more_old_linear(gguf_blob *b, const char *arch) {
    gguf_f32(b, key_of(arch, "rope.scale_linear"), 2);
}

Test(gguf_model, stretched_positions) {
    weir_rope_config r = read_made(&(made){.arch = "qwen2", .n_layer = 1, .more = more_yarn}).config.rope;
    cr_expect(r.kind == WEIR_ROPE_YARN && r.factor == 4 && r.n_ctx_original == 128 && r.beta_fast == 32 &&
              r.beta_slow == 1 && r.attention_factor == 0);
    r = read_made(&(made){.arch = "qwen3", .n_layer = 1, .more = more_yarn_all}).config.rope;
    cr_expect(r.kind == WEIR_ROPE_YARN && r.n_ctx_original == 512 && r.beta_fast == 16 && r.beta_slow == 2);
    /* One rounding to float of a double expression. */
    cr_expect_float_eq(r.attention_factor, 0.5 * (0.1 * log(4) + 1), 1e-7);
    r = read_made(&(made){.arch = "llama", .n_layer = 1, .more = more_off}).config.rope;
    cr_expect(r.kind == WEIR_ROPE_DEFAULT && r.factor == 1);
    r = read_made(&(made){.arch = "llama", .n_layer = 1, .more = more_old_linear}).config.rope;
    cr_expect(r.kind == WEIR_ROPE_LINEAR && r.factor == 2);
}

Test(gguf_model, divisors_of_frequencies_are_a_tensor) {
    gguf_blob b;
    weir_gguf *g = open_made(&(made){.arch = "llama", .n_layer = 1, .factors = true, .first_factor = 8}, &b);
    weir_gguf_model m;
    weir_err err = {""};
    cr_assert_eq(weir__gguf_read_model(g, &m, &err), WEIR_OK, "%s", err.text);
    cr_expect_eq(m.config.rope.kind, WEIR_ROPE_DEFAULT);
    weir_tensor_source src = weir__gguf_source(g);
    weir_tensor t;
    cr_assert(src.find(src.ud, "rope_freqs.weight", &t));
    cr_expect(t.dtype == WEIR_DTYPE_F32 && t.rows == 1 && t.cols == HEAD / 2);
    cr_expect(weir_tensor_get(&t, 0, 0) == 8 && weir_tensor_get(&t, 0, 15) == 16);
    weir__gguf_close(g);
    gguf_free(&b);
    static const float bad[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < 4; i++)
        expect_refused(&(made){.arch = "llama", .n_layer = 1, .factors = true, .first_factor = bad[i]},
                       WEIR_EFORMAT, "tensor rope_freqs.weight: element 0 is");
    expect_refused(&(made){.arch = "llama", .n_layer = 1, .stray = "rope_freqs.weight"}, WEIR_EFORMAT,
                   "tensor rope_freqs.weight: expected 16 F32 numbers");
    expect_refused(&(made){.arch = "qwen2", .n_layer = 1, .factors = true, .first_factor = 1}, WEIR_ENOTSUP,
                   "tensor rope_freqs.weight is not one of a qwen2");
}

/* ---- names --------------------------------------------------------------------------------------------- */

static const struct {
    const char *hf, *plain, *gemma; /* GGUF's names; NULL: not there */
} NAMES[] = {
    {"model.embed_tokens.weight", "token_embd.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight", "output.weight"},
    {"model.layers.1.input_layernorm.weight", "blk.1.attn_norm.weight", "blk.1.attn_norm.weight"},
    {"model.layers.1.post_attention_layernorm.weight", "blk.1.ffn_norm.weight",
     "blk.1.post_attention_norm.weight"},
    {"model.layers.1.pre_feedforward_layernorm.weight", NULL, "blk.1.ffn_norm.weight"},
    {"model.layers.1.post_feedforward_layernorm.weight", NULL, "blk.1.post_ffw_norm.weight"},
    {"model.layers.1.self_attn.q_proj.weight", "blk.1.attn_q.weight", "blk.1.attn_q.weight"},
    {"model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight", "blk.1.attn_k.weight"},
    {"model.layers.1.self_attn.v_proj.weight", "blk.1.attn_v.weight", "blk.1.attn_v.weight"},
    {"model.layers.1.self_attn.o_proj.weight", "blk.1.attn_output.weight", "blk.1.attn_output.weight"},
    {"model.layers.1.self_attn.q_proj.bias", "blk.1.attn_q.bias", "blk.1.attn_q.bias"},
    {"model.layers.1.self_attn.k_proj.bias", "blk.1.attn_k.bias", "blk.1.attn_k.bias"},
    {"model.layers.1.self_attn.v_proj.bias", "blk.1.attn_v.bias", "blk.1.attn_v.bias"},
    {"model.layers.1.mlp.gate_proj.weight", "blk.1.ffn_gate.weight", "blk.1.ffn_gate.weight"},
    {"model.layers.1.mlp.up_proj.weight", "blk.1.ffn_up.weight", "blk.1.ffn_up.weight"},
    {"model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight", "blk.1.ffn_down.weight"},
    {"model.layers.12.mlp.down_proj.weight", NULL, NULL},
    {"model.layers.01.mlp.down_proj.weight", NULL, NULL},
    {"model.layers.-1.mlp.down_proj.weight", NULL, NULL},
    {"model.layers.4294967297.mlp.down_proj.weight", NULL, NULL},
    {"model.layers.1mlp.down_proj.weight", NULL, NULL},
    {"model.layers..mlp.down_proj.weight", NULL, NULL},
    {"model.layers.", NULL, NULL},
    {"token_embd.weight", NULL, NULL},
    {"", NULL, NULL},
};

Test(gguf_model, tensors_by_their_hugging_face_names) {
    for (int a = 0; a < 5; a++) { /* the others: tests/host/test_decoder_gguf.c */
        gguf_blob b;
        weir_gguf *g = open_made(
            &(made){.arch = ARCHS[a], .n_layer = 2, .head = true, .bias = true, .matrix = GGML_Q4_0}, &b);
        weir_tensor_source src = weir__gguf_source(g);
        bool gemma = a >= 3, qk_norm = a == 2 || a == 4;
        weir_tensor t;
        for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
            const char *own = gemma ? NAMES[i].gemma : NAMES[i].plain;
            weir_entry e;
            bool found = src.find(src.ud, NAMES[i].hf, &t);
            cr_assert_eq(found, own != NULL, "%s: %s", ARCHS[a], NAMES[i].hf);
            if (own) {
                cr_assert(weir__gguf_find(g, own, &e), "%s", own);
                cr_expect(t.data == e.data && t.cols == e.shape[e.n_dim - 1] &&
                              t.rows == (e.n_dim == 2 ? e.shape[0] : 1),
                          "%s", NAMES[i].hf);
                cr_expect_eq(t.dtype, e.n_dim == 2 ? WEIR_DTYPE_Q4_0 : WEIR_DTYPE_F32);
            }
            src.release(src.ud, NAMES[i].hf);
        }
        cr_expect_eq(src.find(src.ud, "model.layers.0.self_attn.q_norm.weight", &t), qk_norm);
        cr_expect_eq(src.find(src.ud, "model.layers.0.self_attn.k_norm.weight", &t), qk_norm);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

/* ---- the vocabulary ------------------------------------------------------------------------------------ */

static void more_ids(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_text(b, "tokenizer.ggml.model", "gpt2");
    gguf_text(b, "tokenizer.ggml.pre", "qwen2");
    gguf_u32(b, "tokenizer.ggml.bos_token_id", 4);
    gguf_u32(b, "tokenizer.ggml.eos_token_id", 5);
    gguf_u32(b, "tokenizer.ggml.eot_token_id", 5);
    gguf_int(b, "tokenizer.ggml.eom_token_id", KV_I32, 6);
    gguf_u32(b, "tokenizer.ggml.padding_token_id", UINT32_MAX);
    gguf_text(b, "tokenizer.chat_template", "{{ x }}");
}

static void more_spm(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_text(b, "tokenizer.ggml.model", "llama");
    gguf_u32(b, "tokenizer.ggml.padding_token_id", 3);
}

static void more_bpe(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_text(b, "tokenizer.ggml.model", "gpt2");
    gguf_text(b, "tokenizer.ggml.pre", "llama-bpe");
    gguf_u32(b, "tokenizer.ggml.bos_token_id", 1);
}

static void more_said(gguf_blob *b, const char *arch) {
    more_spm(b, arch);
    gguf_bool(b, "tokenizer.ggml.add_bos_token", false);
}

Test(gguf_model, ids_and_ends) {
    static const struct {
        void (*more)(gguf_blob *, const char *);
        int32_t bos, pad;
        bool add_bos;
        int32_t n_eos, eos[8];
    } cases[] = {
        {NULL, -1, -1, false, 2, {8, 9}}, /* <|im_end|> and <|fim_pad|> are ends by their texts */
        {more_ids, 4, -1, false, 4, {5, 6, 8, 9}}, {more_spm, 1, 3, true, 3, {2, 8, 9}},
        {more_bpe, 1, -1, true, 2, {8, 9}},        {more_said, 1, 3, false, 3, {2, 8, 9}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_gguf_model m = read_made(&(made){.arch = "llama", .n_layer = 1, .more = cases[i].more});
        cr_expect(m.bos_id == cases[i].bos && m.pad_id == cases[i].pad && m.add_bos == cases[i].add_bos,
                  "case %zu: %d %d", i, m.bos_id, m.pad_id);
        cr_assert_eq(m.n_eos, cases[i].n_eos, "case %zu: %d", i, m.n_eos);
        for (int k = 0; k < m.n_eos; k++)
            cr_expect_eq(m.eos[k], cases[i].eos[k], "case %zu: %d", i, m.eos[k]);
    }
    gguf_blob b;
    weir_gguf *g = open_made(&(made){.arch = "qwen2", .n_layer = 1, .more = more_ids}, &b);
    weir_gguf_model m;
    cr_assert_eq(weir__gguf_read_model(g, &m, NULL), WEIR_OK);
    cr_expect(m.chat_template_bytes == 7 && memcmp(m.chat_template, "{{ x }}", 7) == 0);
    weir__gguf_close(g);
    gguf_free(&b);
    m = read_made(&(made){.arch = "qwen2", .n_layer = 1, .skip = "tokenizer.ggml.tokens"});
    cr_expect_eq(m.n_eos, 0);
}

/* ---- real files ---------------------------------------------------------------------------------------- */

/* Facts of the files as their cards and metadata state them. */
Test(gguf_model, real_files) {
    static const struct {
        const char *file, *arch;
        int32_t n_layer, dim, n_head, n_head_kv, head_dim, ff_dim, n_vocab, window, bos, eos;
        float theta;
        weir_dtype dtype;
        size_t n_tensor, chat_template;
    } want[] = {
        {"qwen2.5-coder-0.5b.gguf", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 0, 151643, 151645, 1e6f,
         WEIR_DTYPE_Q5_0, 291, 2507},
        {"qwen2.5-coder-1.5b.gguf", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 0, 151643, 151645, 1e6f,
         WEIR_DTYPE_Q4_K, 339, 2509},
        {"gemma-3-270m-q4_k_m.gguf", "gemma3", 18, 640, 4, 1, 256, 2048, 262144, 512, 2, 1, 1e6f,
         WEIR_DTYPE_Q5_0, 236, 0},
        {"smollm2-135m-instruct.gguf", "llama", 30, 576, 9, 3, 64, 1536, 49152, 0, 1, 2, 1e5f,
         WEIR_DTYPE_Q4_1, 272, 368},
    };
    const char *dir = getenv("WEIR_REAL_MODELS");
    if (!dir) cr_skip("WEIR_REAL_MODELS names no folder of real checkpoints");
    int seen = 0;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char *path = files_path(dir, want[i].file);
        weir_gguf *g = NULL;
        weir_gguf_model m;
        weir_err err = {""};
        weir_status s = weir__gguf_open(&g, path, &err);
        free(path);
        if (s == WEIR_EIO) continue; /* a folder may hold some of them */
        cr_assert_eq(s, WEIR_OK, "%s", err.text);
        cr_assert_eq(weir__gguf_read_model(g, &m, &err), WEIR_OK, "%s", err.text);
        const weir_decoder_config *c = &m.config;
        cr_expect_str_eq(m.architecture, want[i].arch);
        cr_expect(c->n_layer == want[i].n_layer && c->dim == want[i].dim && c->n_head == want[i].n_head &&
                  c->n_head_kv == want[i].n_head_kv && c->head_dim == want[i].head_dim &&
                  c->ff_dim == want[i].ff_dim);
        cr_expect(c->n_vocab_rows == want[i].n_vocab && c->window == want[i].window &&
                  c->rope.theta == want[i].theta);
        cr_expect(m.bos_id == want[i].bos && m.n_eos > 0 && m.eos[0] == want[i].eos &&
                  m.dtype == want[i].dtype);
        cr_expect(weir__gguf_count(g) == want[i].n_tensor && m.chat_template_bytes == want[i].chat_template);
        cr_expect_eq(c->tied, want[i].arch[0] != 'q');
        weir__gguf_close(g);
        seen++;
    }
    cr_assert_gt(seen, 0, "none of the known files is in %s", dir);
}

/* Vocabularies of other architectures, without tensors. Copies that went through a text encoding are not GGUF
 * any more: those are refused. */
Test(gguf_model, golden_vocabularies) {
    const char *folder = WEIR_SHARED_DIR "/data/golden_gguf";
    DIR *d = opendir(folder);
    if (!d) cr_skip("no " WEIR_SHARED_DIR "/data/golden_gguf");
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name), n_token;
        if (n < 5 || strcmp(e->d_name + n - 5, ".gguf") != 0) continue;
        char *path = files_path(folder, e->d_name);
        weir_gguf *g = NULL;
        weir_gguf_model m;
        weir_err err = {""};
        weir_status s = weir__gguf_open(&g, path, &err);
        if (s == WEIR_OK) {
            cr_expect(weir__gguf_array_length(g, "tokenizer.ggml.tokens", &n_token) && n_token > 1000, "%s",
                      e->d_name);
            cr_expect_neq(weir__gguf_read_model(g, &m, &err), WEIR_OK);
        } else {
            cr_expect_eq(s, WEIR_EFORMAT, "%s", err.text);
        }
        cr_expect(err_is_line(&err, e->d_name), "%s", err.text);
        weir__gguf_close(g);
        free(path);
    }
    closedir(d);
}
