/* A GGUF file under the engine: the same model as its safetensors, and the tokenizer that comes with it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/stacks.h"
#include "kernels/base/mem.h"
#include "kernels/weight/quant.h"
#include "tests/formats/gguf_made.h"
#include "tests/host/pairs/decoder_pair.h"
#include "tests/models/decoder_fixture.h"
#include "tests/support/alloc.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"
#include "tests/support/gguf_write.h"

enum { ROWS = 67, TEXT_IDS = 63 };

/* Letters, digits and the space, each its own token, then four that control. */
static void put_tokenizer(gguf_blob *b, const char *pre, size_t n_token) {
    static char room[ROWS][16];
    const char *tokens[ROWS];
    uint64_t types[ROWS];
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (int i = 0; i < ROWS; i++) {
        if (i < TEXT_IDS - 1)
            snprintf(room[i], sizeof room[i], "%c", letters[i]);
        else if (i == TEXT_IDS - 1)
            snprintf(room[i], sizeof room[i], "\xc4\xa0"); /* byte-level's space */
        else
            snprintf(room[i], sizeof room[i], "<|%d|>", i);
        tokens[i] = room[i];
        types[i] = i < TEXT_IDS ? 1 : 3;
    }
    gguf_text(b, "tokenizer.ggml.model", "gpt2");
    gguf_text(b, "tokenizer.ggml.pre", pre);
    gguf_texts(b, "tokenizer.ggml.tokens", tokens, n_token);
    gguf_ints(b, "tokenizer.ggml.token_type", KV_I32, types, n_token);
    gguf_texts(b, "tokenizer.ggml.merges", (const char *const[]){"a b"}, 0);
    gguf_u32(b, "tokenizer.ggml.bos_token_id", 63);
    gguf_u32(b, "tokenizer.ggml.eos_token_id", 64);
    gguf_bool(b, "tokenizer.ggml.add_bos_token", true);
}

/* A golden model as llama.cpp's converter would write it. */
typedef struct source {
    const char *golden, *arch, *pre;
    void (*keys)(gguf_blob *b, const weir_decoder_config *c); /* NULL: none besides the sizes */
    bool paired; /* rows of q and k go by neighbours: row 2 i + j of a head is row i + j * head_dim / 2 */
} source;

static void put_sizes(gguf_blob *b, const char *arch, const weir_decoder_config *c) {
    gguf_text(b, "general.architecture", arch);
    gguf_u32(b, key_of(arch, "embedding_length"), (uint32_t)c->dim);
    gguf_u32(b, key_of(arch, "block_count"), (uint32_t)c->n_layer);
    gguf_u32(b, key_of(arch, "feed_forward_length"), (uint32_t)c->ff_dim);
    gguf_u32(b, key_of(arch, "context_length"), 512);
    gguf_u32(b, key_of(arch, "attention.head_count"), (uint32_t)c->n_head);
    gguf_u32(b, key_of(arch, "attention.head_count_kv"), (uint32_t)c->n_head_kv);
    gguf_u32(b, key_of(arch, "attention.key_length"), (uint32_t)c->head_dim);
    gguf_u32(b, key_of(arch, "attention.value_length"), (uint32_t)c->head_dim);
    gguf_f32(b, key_of(arch, "attention.layer_norm_rms_epsilon"), c->eps);
    gguf_f32(b, key_of(arch, "rope.freq_base"), c->rope.theta);
}

static float *paired_rows(const weir_entry *e, int32_t head_dim) {
    const float *from = e->data;
    const int64_t n = e->shape[1];
    float *to = malloc((size_t)(e->shape[0] * n) * sizeof *to);
    cr_assert(to && e->n_dim == 2);
    for (int64_t r = 0; r < e->shape[0]; r++) {
        const int64_t i = r % head_dim, at = r - i + i / 2 + i % 2 * (head_dim / 2);
        memcpy(to + r * n, from + at * n, (size_t)n * sizeof *to);
    }
    return to;
}

/* False: the golden model has no such tensor. */
static bool put_tensor(gguf_blob *b, weir_safetensors *s, const char *to, const char *from, int32_t paired) {
    weir_entry e;
    if (!weir__safetensors_find(s, from, &e)) return false;
    cr_assert(strcmp(e.type, "F32") == 0, "%s", from);
    const int64_t shape[2] = {e.shape[e.n_dim - 1], e.shape[0]};
    const bool turns = strstr(from, "q_proj.weight") || strstr(from, "k_proj.weight");
    float *rows = turns && paired ? paired_rows(&e, paired) : NULL;
    const int n_dim = e.n_dim == 2 && e.shape[0] == 1 ? 1 : e.n_dim; /* llama.cpp's converter squeezes */
    gguf_tensor(b, to, GGML_F32, n_dim, shape, rows ? rows : e.data,
                (size_t)(shape[0] * (e.n_dim == 2 ? shape[1] : 1)) * 4);
    free(rows);
    return true;
}

/* A kind of matrix of a layer's experts as one tensor; how many it is of the directory. */
static size_t put_experts(gguf_blob *b, weir_safetensors *s, int layer, const weir_expert_config *c,
                          int kind) {
    static const char *const gguf[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"},
                             *const mlp[] = {"gate_proj", "up_proj", "down_proj"},
                             *const sparse[] = {"w1", "w3", "w2"};
    const bool is_sparse = c->names == WEIR_EXPERTS_SPARSE;
    char name[96];
    weir_entry e;
    float *all = NULL;
    size_t each = 0;
    for (int i = 0; i < c->n; i++) {
        snprintf(name, sizeof name, "model.layers.%d.%s.experts.%d.%s.weight", layer,
                 is_sparse ? "block_sparse_moe" : "mlp", i, is_sparse ? sparse[kind] : mlp[kind]);
        cr_assert(weir__safetensors_find(s, name, &e), "%s", name);
        each = (size_t)(e.shape[0] * e.shape[1]);
        if (!all) all = malloc((size_t)c->n * each * sizeof *all);
        cr_assert(all && strcmp(e.type, "F32") == 0);
        memcpy(all + (size_t)i * each, e.data, each * sizeof *all);
    }
    const int64_t shape[3] = {e.shape[1], e.shape[0], c->n};
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, gguf[kind]);
    gguf_tensor(b, name, GGML_F32, 3, shape, all, (size_t)c->n * each * sizeof *all);
    free(all);
    return (size_t)c->n;
}

/* gpt-oss's: one tensor of the directory is two of the file, or one; its biases too. */
static size_t put_stack(gguf_blob *b, weir_safetensors *s, int layer, int kind) {
    static const char *const gguf[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}, *const mlp[] = {
                                                                                             "gate_proj",
                                                                                             "up_proj",
                                                                                             "down_proj"};
    for (int bias = 0; bias < 2; bias++) {
        char from[96], to[64];
        weir_tensor t;
        snprintf(from, sizeof from, "model.layers.%d.mlp.experts.%s.%s", layer, mlp[kind],
                 bias ? "bias" : "weight");
        snprintf(to, sizeof to, "blk.%d.%s.%s", layer, gguf[kind], bias ? "bias" : "weight");
        cr_assert(weir__stack_tensor(s, from, &t) && t.dtype == WEIR_DTYPE_F32, "%s", from);
        void *all = weir__stack_elements(s, from);
        const int64_t shape[3] = {t.cols, t.rows, bias ? 1 : t.outer[0]};
        gguf_tensor(b, to, GGML_F32, bias ? 2 : 3, shape, all, (size_t)(shape[0] * shape[1] * shape[2]) * 4);
        weir_free(all);
    }
    return kind == 0 ? 0 : 2; /* gate's count as up's */
}

static size_t put_layer(gguf_blob *b, const source *f, weir_safetensors *s, int layer, int32_t paired) {
    static const struct {
        const char *gguf, *hf, *arch; /* arch NULL: of the families that have no row of their own */
    } parts[] = {{"post_attention_norm.weight", "post_attention_layernorm.weight", "olmo2 gpt-oss"},
                 {"post_ffw_norm.weight", "post_feedforward_layernorm.weight", "olmo2"},
                 {"attn_norm.weight", "input_layernorm.weight", NULL},
                 {"ffn_norm.weight", "post_attention_layernorm.weight", NULL},
                 {"attn_q.weight", "self_attn.q_proj.weight", NULL},
                 {"attn_k.weight", "self_attn.k_proj.weight", NULL},
                 {"attn_v.weight", "self_attn.v_proj.weight", NULL},
                 {"attn_qkv.weight", "self_attn.qkv_proj.weight", NULL},
                 {"attn_q.bias", "self_attn.q_proj.bias", NULL},
                 {"attn_k.bias", "self_attn.k_proj.bias", NULL},
                 {"attn_v.bias", "self_attn.v_proj.bias", NULL},
                 {"attn_q_norm.weight", "self_attn.q_norm.weight", NULL},
                 {"attn_k_norm.weight", "self_attn.k_norm.weight", NULL},
                 {"attn_output.weight", "self_attn.o_proj.weight", NULL},
                 {"attn_output.bias", "self_attn.o_proj.bias", NULL},
                 {"attn_sinks.weight", "self_attn.sinks", NULL},
                 {"ffn_gate.weight", "mlp.gate_proj.weight", NULL},
                 {"ffn_up.weight", "mlp.up_proj.weight", NULL},
                 {"ffn_up.weight", "mlp.gate_up_proj.weight", NULL},
                 {"ffn_down.weight", "mlp.down_proj.weight", NULL},
                 {"ffn_gate_inp.weight", "mlp.gate.weight", NULL},
                 {"ffn_gate_inp.weight", "mlp.router.weight", NULL},
                 {"ffn_gate_inp.bias", "mlp.router.bias", NULL},
                 {"ffn_gate_inp.weight", "block_sparse_moe.gate.weight", NULL},
                 {"ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight", NULL},
                 {"ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight", NULL},
                 {"ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight", NULL},
                 {"ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight", NULL}};
    const bool post = strcmp(f->arch, "olmo2") == 0 || strcmp(f->arch, "gpt-oss") == 0;
    size_t n = 0;
    for (size_t k = post ? 0 : 2; k < sizeof parts / sizeof *parts; k++) {
        char to[64], from[96];
        if (post && strstr(parts[k].gguf, "ffn_norm")) continue;
        snprintf(to, sizeof to, "blk.%d.%s", layer, parts[k].gguf);
        snprintf(from, sizeof from, "model.layers.%d.%s", layer, parts[k].hf);
        n += put_tensor(b, s, to, from, paired);
    }
    return n;
}

/* The golden model with its first n_token tokens as name in dir; returns the path. */
static char *write_model(const char *dir, const char *name, const source *f, size_t n_token) {
    const golden_model *g = golden_find(f->golden);
    weir_safetensors *s = NULL;
    weir_err err = {""};
    char from[512];
    snprintf(from, sizeof from, WEIR_SOURCE_DIR "/tests/golden/decoder/%s", f->golden);
    cr_assert_eq(weir__safetensors_open_dir(&s, from, &err), WEIR_OK, "%s", err.text);
    gguf_blob b = gguf_begin(3);
    put_sizes(&b, f->arch, &g->c);
    put_tokenizer(&b, f->pre, n_token);
    if (f->keys) f->keys(&b, &g->c);
    size_t n = put_tensor(&b, s, "token_embd.weight", "model.embed_tokens.weight", 0);
    n += put_tensor(&b, s, "output_norm.weight", "model.norm.weight", 0);
    n += put_tensor(&b, s, "output.weight", "lm_head.weight", 0);
    for (int i = 0; i < g->c.n_layer; i++) {
        n += put_layer(&b, f, s, i, f->paired ? g->c.head_dim : 0);
        for (int kind = 0; kind < 3 && g->c.experts.n > 0; kind++)
            n += g->c.experts.biased ? put_stack(&b, s, i, kind) : put_experts(&b, s, i, &g->c.experts, kind);
    }
    cr_assert_eq(n, weir__safetensors_count(s), "%s: tensors left out", f->golden);
    gguf_finish(&b);
    files_write(dir, name, b.p, b.n);
    gguf_free(&b);
    weir__safetensors_close(s);
    return files_path(dir, name);
}

static char *write_part(const char *dir, const char *name, const char *pre, size_t n_token) {
    const source qwen2 = {.golden = "qwen2_f32", .arch = "qwen2", .pre = pre};
    return write_model(dir, name, &qwen2, n_token);
}

static char *write_qwen2(const char *dir, const char *pre) { return write_part(dir, "m.gguf", pre, ROWS); }

static weir_status open_context(const char *path, const char *draft, int ctx, weir_engine **e,
                                weir_err *err) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = path;
    o.model_draft = draft;
    o.device = "cpu";
    o.n_thread = 1;
    o.ctx_size = ctx;
    err->text[0] = '\0';
    return weir_engine_open(e, &o, err);
}

static weir_status open_file(const char *path, const char *draft, weir_engine **e, weir_err *err) {
    return open_context(path, draft, 128, e, err);
}

Test(decoder_gguf, the_same_model_gives_the_same_bits) {
    char *dir = files_temp_dir(), *path = write_qwen2(dir, "qwen2");
    const decoder_names names = {"qwen2_f32", NULL};
    weir_engine *e = NULL, *hf = decoder_open(&names, "cpu", 1, 1, 128);
    weir_err err;
    cr_assert_eq(open_file(path, NULL, &e, &err), WEIR_OK, "%s", err.text);
    const weir_engine_facts *f = &e->pair.facts;
    cr_assert_str_eq(f->family[0], "qwen2 (silu, tied head, GGUF)");
    cr_assert(f->has_tokenizer && f->bos_id == 63 && f->add_bos && f->n_eos >= 1 && f->eos[0] == 64 &&
              f->n_vocab == ROWS);
    cr_assert(f->weights[0] == hf->pair.facts.weights[0] && f->n_param[0] == hf->pair.facts.n_param[0]);
    int32_t ids[70];
    float want[69], got[69];
    const size_t n = decoder_prompt(9, ids);
    cr_assert_eq(weir_score(hf, ids, 5, ids + 5, n - 5, want, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir_score(e, ids, 5, ids + 5, n - 5, got, &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(memcmp(want, got, (n - 5) * sizeof *want), 0);
    weir_engine_close(hf);
    weir_engine_close(e);
    free(path);
    files_remove_dir(dir);
}

/* ---- the other architectures --------------------------------------------------------------------------- */

static void phi3_keys(gguf_blob *b, const weir_decoder_config *c) {
    gguf_u32(b, "phi3.attention.sliding_window", (uint32_t)c->window);
    gguf_u32(b, "phi3.rope.dimension_count", (uint32_t)c->head_dim);
    gguf_u32(b, "phi3.rope.scaling.original_context_length", 512);
}

/* What the converter works out: transformers' attention factor. */
static void phi4_keys(gguf_blob *b, const weir_decoder_config *c) {
    static const float parts[2][6] = {{1.0f, 1.1f, 1.25f, 1.5f, 1.75f, 2.5f},
                                      {1.0f, 1.5f, 3.0f, 7.5f, 19.0f, 42.0f}};
    const double context = c->rope.n_ctx_original;
    gguf_u32(b, "phi3.attention.sliding_window", 0);
    gguf_u32(b, "phi3.rope.dimension_count", (uint32_t)c->rope.n_dim);
    gguf_u32(b, "phi3.rope.scaling.original_context_length", (uint32_t)context);
    gguf_f32(b, "phi3.rope.scaling.attn_factor", (float)sqrt(1.0 + log(512.0 / context) / log(context)));
    gguf_tensor(b, "rope_factors_long.weight", GGML_F32, 1, (int64_t[]){6}, parts[1], sizeof parts[1]);
    gguf_tensor(b, "rope_factors_short.weight", GGML_F32, 1, (int64_t[]){6}, parts[0], sizeof parts[0]);
}

static void granite_keys(gguf_blob *b, const weir_decoder_config *c) {
    gguf_f32(b, "granite.embedding_scale", c->embed_scale);
    gguf_f32(b, "granite.residual_scale", c->residual_scale);
    gguf_f32(b, "granite.attention.scale", c->attention_scale);
    gguf_f32(b, "granite.logit_scale", 1.7f);
    gguf_u32(b, "granite.vocab_size", ROWS);
}

static void expert_keys(gguf_blob *b, const char *arch, const weir_decoder_config *c) {
    gguf_u32(b, key_of(arch, "expert_count"), (uint32_t)c->experts.n);
    gguf_u32(b, key_of(arch, "expert_used_count"), (uint32_t)c->experts.n_used);
}

static void mixtral_keys(gguf_blob *b, const weir_decoder_config *c) { expert_keys(b, "llama", c); }

static void qwen3moe_keys(gguf_blob *b, const weir_decoder_config *c) {
    expert_keys(b, "qwen3moe", c);
    gguf_u32(b, "qwen3moe.expert_feed_forward_length", (uint32_t)c->experts.ff_dim);
}

static void qwen2moe_keys(gguf_blob *b, const weir_decoder_config *c) {
    expert_keys(b, "qwen2moe", c);
    gguf_u32(b, "qwen2moe.expert_feed_forward_length", (uint32_t)c->experts.ff_dim);
    gguf_u32(b, "qwen2moe.expert_shared_feed_forward_length", (uint32_t)c->experts.shared_ff);
}

static void gptoss_keys(gguf_blob *b, const weir_decoder_config *c) {
    expert_keys(b, "gpt-oss", c);
    gguf_u32(b, "gpt-oss.expert_feed_forward_length", (uint32_t)c->experts.ff_dim);
    gguf_u32(b, "gpt-oss.attention.sliding_window", (uint32_t)c->window);
    gguf_text(b, "gpt-oss.rope.scaling.type", "yarn");
    gguf_f32(b, "gpt-oss.rope.scaling.factor", c->rope.factor);
    gguf_u32(b, "gpt-oss.rope.scaling.original_context_length", (uint32_t)c->rope.n_ctx_original);
}

/* Scores of transformers, whatever kind of file the weights are in; and the same bits as from the directory
 * where the rows of q and k are in the same order. */
Test(decoder_gguf, architectures_score_as_transformers) {
    static const source sources[] = {{"mistral_full_f32", "llama", "tekken", NULL, true},
                                     {"phi3_f32", "phi3", "gpt-4o", phi3_keys, false},
                                     {"phi4_short_f32", "phi3", "gpt-4o", phi4_keys, false},
                                     {"phi4_long_f32", "phi3", "gpt-4o", phi4_keys, false},
                                     {"olmo2_f32", "olmo2", "dbrx", NULL, false},
                                     {"granite_f32", "granite", "refact", granite_keys, true},
                                     {"smollm3_f32", "smollm3", "smaug-bpe", NULL, true},
                                     {"mixtral_f32", "llama", "tekken", mixtral_keys, true},
                                     {"qwen3moe_f32", "qwen3moe", "qwen2", qwen3moe_keys, false},
                                     {"qwen2moe_all_f32", "qwen2moe", "qwen2", qwen2moe_keys, false},
                                     {"gptoss_f32", "gpt-oss", "gpt-4o", gptoss_keys, false}};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        char *dir = files_temp_dir(), *path = write_model(dir, "m.gguf", &sources[i], ROWS);
        golden *want = golden_read(golden_find(sources[i].golden));
        const decoder_names names = {sources[i].golden, NULL};
        weir_engine *e = NULL, *hf = decoder_open(&names, "cpu", 1, 1, 140);
        weir_err err;
        cr_assert_eq(open_context(path, NULL, 140, &e, &err), WEIR_OK, "%s", err.text);
        cr_assert_eq(e->pair.facts.n_param[0], hf->pair.facts.n_param[0]);
        for (int k = 1; k < want->n_case; k++) {
            const golden_case *c = &want->c[k];
            const size_t n = (size_t)c->n - 1;
            float got[FIX_PROMPT], same[FIX_PROMPT];
            cr_assert_eq(weir_score(e, c->token, 1, c->token + 1, n, got, &err), WEIR_OK, "%s", err.text);
            cr_assert_eq(weir_score(hf, c->token, 1, c->token + 1, n, same, &err), WEIR_OK, "%s", err.text);
            for (size_t t = 0; t < n; t++)
                cr_assert(fabs((double)got[t] - (double)c->logprobs[t]) <= 1e-4, "%s, token %zu: %g, want %g",
                          sources[i].golden, t, (double)got[t], (double)c->logprobs[t]);
            cr_expect(sources[i].paired || memcmp(got, same, n * sizeof *got) == 0, "%s: bits",
                      sources[i].golden);
        }
        free(want);
        weir_engine_close(hf);
        weir_engine_close(e);
        free(path);
        files_remove_dir(dir);
    }
}

/* ---- experts in blocks --------------------------------------------------------------------------------- */

static void more_tokens(gguf_blob *b, const char *arch) {
    (void)arch;
    gguf_text(b, "tokenizer.ggml.model", "gpt2");
    gguf_text(b, "tokenizer.ggml.pre", "qwen2");
    gguf_texts(b, "tokenizer.ggml.merges", (const char *const[]){"a b"}, 0);
    gguf_u32(b, "tokenizer.ggml.eos_token_id", 2);
}

/* The same file with every matrix as f32. */
static gguf_blob widened(const gguf_blob *whole) {
    weir_gguf *g = open_good(whole);
    gguf_blob b = gguf_begin(3);
    gguf_raw(&b, whole->p + b.n, whole->pairs_end - b.n);
    b.n_pair = whole->n_pair;
    for (size_t i = 0; i < weir__gguf_count(g); i++) {
        weir_entry e;
        int64_t shape[4], n = 1;
        weir__gguf_at(g, i, &e);
        for (int d = 0; d < e.n_dim; d++) shape[d] = e.shape[e.n_dim - 1 - d], n *= shape[d];
        float *wide = malloc((size_t)n * sizeof *wide);
        cr_assert(wide);
        const int block = weir_dtype_block((weir_dtype)e.dtype);
        const int bytes = block > 1 ? weir_dtype_block_bytes((weir_dtype)e.dtype) : 4;
        for (int64_t k = 0; k < n; k += block) {
            const uint8_t *from = (const uint8_t *)e.data + k / block * bytes;
            if (block > 1)
                weir__dequantise_block((weir_dtype)e.dtype, from, wide + k);
            else
                memcpy(wide + k, from, sizeof *wide);
        }
        gguf_tensor(&b, e.name, GGML_F32, e.n_dim, shape, wide, (size_t)n * sizeof *wide);
        free(wide);
    }
    gguf_finish(&b);
    weir__gguf_close(g);
    return b;
}

static weir_engine *open_blob(const char *dir, const char *name, const gguf_blob *b) {
    weir_engine_options o = weir_engine_options_default();
    weir_engine *e = NULL;
    weir_err err = {""};
    files_write(dir, name, b->p, b->n);
    char *path = files_path(dir, name);
    o.model = path, o.device = "cpu", o.isa = "portable", o.n_thread = 2, o.ctx_size = 64;
    cr_assert_eq(weir_engine_open(&e, &o, &err), WEIR_OK, "%s", err.text);
    free(path);
    return e;
}

/* They stay in the file's form, which the portable build multiplies as if it were f32: the scores of both
 * files differ by the order in which blocks are summed alone. */
Test(decoder_gguf, experts_stay_in_their_blocks) {
    static const struct {
        const char *arch;
        uint32_t matrix;
        int32_t wide;
    } t[] = {{"qwen3moe", GGML_Q4_0, 1},
             {"qwen2moe", GGML_Q8_0, 1},
             {"llama", GGML_MXFP4, 1},
             {"qwen3moe", GGML_Q4_K, 8}};
    static const int32_t ids[] = {4, 7, 5, 11, 6, 4, 10, 9, 8, 3, 5, 4};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char *dir = files_temp_dir();
        gguf_blob blocks = make(&(made){.arch = t[i].arch,
                                        .n_layer = 2,
                                        .experts = 5,
                                        .matrix = t[i].matrix,
                                        .seed = 9,
                                        .wide = t[i].wide,
                                        .more = more_tokens,
                                        .head = true});
        gguf_blob wide = widened(&blocks);
        weir_engine *e[2] = {open_blob(dir, "blocks.gguf", &blocks), open_blob(dir, "wide.gguf", &wide)};
        float got[2][11];
        weir_err err = {""};
        for (int k = 0; k < 2; k++)
            cr_assert_eq(weir_score(e[k], ids, 1, ids + 1, 11, got[k], &err), WEIR_OK, "%s", err.text);
        for (int k = 0; k < 11; k++)
            cr_expect(fabsf(got[0][k] - got[1][k]) <= 1e-4f * (1.0f + fabsf(got[1][k])),
                      "%s, token %d: %g, %g", t[i].arch, k, (double)got[0][k], (double)got[1][k]);
        cr_expect_eq(e[0]->pair.facts.n_param[0], e[1]->pair.facts.n_param[0]);
        cr_expect(e[0]->pair.facts.n_expert[0] == 5 && e[0]->pair.facts.n_expert_used[0] == EXPERTS_USED);
        cr_expect_lt(3 * e[0]->pair.facts.weights[0], 2 * e[1]->pair.facts.weights[0]);
        for (int k = 0; k < 2; k++) weir_engine_close(e[k]);
        gguf_free(&blocks), gguf_free(&wide);
        files_remove_dir(dir);
    }
}

/* ---- text ---------------------------------------------------------------------------------------------- */

Test(decoder_gguf, text_in_and_out) {
    char *dir = files_temp_dir(), *path = write_qwen2(dir, "qwen2");
    weir_engine *e = NULL;
    weir_err err;
    cr_assert_eq(open_file(path, path, &e, &err), WEIR_OK, "%s", err.text);
    int32_t *ids = NULL;
    size_t n = 0, bytes = 0;
    static const int32_t want[] = {63, 0, 1, 62, 2, 26};
    cr_assert_eq(weir_tokenize(e, "ab cA", 5, true, true, &ids, &n, &err), WEIR_OK, "%s", err.text);
    cr_assert(n == 6 && memcmp(ids, want, sizeof want) == 0); /* start-of-text in front, nothing after */
    char *text = NULL;
    cr_assert_eq(weir_detokenize(e, ids, n, &text, &bytes, &err), WEIR_OK, "%s", err.text);
    cr_assert_str_eq(text, "ab cA");
    weir_text_free(text);
    weir_ids_free(ids);
    cr_assert_eq(weir_tokenize(e, "", 0, true, true, &ids, &n, &err), WEIR_OK);
    cr_assert(n == 1 && ids[0] == 63); /* an empty prompt is start-of-text */
    weir_ids_free(ids);

    /* what is streamed is the text as a whole */
    static answer a;
    weir_session_options o = weir_session_options_default();
    o.max_tokens = 40;
    o.ignore_eos = true;
    const char *stop[] = {"zzzzzzzzzz"};
    o.stop = stop;
    o.n_stop = 1;
    decoder_run(e, &o, 3, &a);
    cr_assert_eq(weir_detokenize(e, a.ids, a.n, &text, &bytes, &err), WEIR_OK, "%s", err.text);
    cr_assert(a.n == 40 && strcmp(text, a.text) == 0, "\"%s\", then \"%s\"", text, a.text);
    weir_text_free(text);
    weir_engine_close(e);
    free(path);
    files_remove_dir(dir);
}

/* Vocabularies that differ in what is no text are one: the ids of both are emitted. Of others each model
 * keeps its own, and the first piece that differs is named. */
Test(decoder_gguf, vocabularies_are_one_up_to_padding) {
    char *dir = files_temp_dir(), *whole = write_qwen2(dir, "qwen2");
    char *padded = write_part(dir, "padded.gguf", "qwen2", 65),
         *cut = write_part(dir, "cut.gguf", "qwen2", 60);
    const char *const pairs[2][2] = {{whole, padded}, {padded, whole}};
    weir_engine *e = NULL;
    weir_err err;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(open_file(pairs[i][0], pairs[i][1], &e, &err), WEIR_OK, "%s", err.text);
        cr_assert_eq(e->pair.n_vocab, 65);
        weir_engine_close(e);
    }
    cr_assert_eq(open_file(whole, cut, &e, &err), WEIR_OK, "%s", err.text);
    cr_assert(e->pair.draft == WEIR_DRAFT_TEXT && e->pair.n_vocab == 67 && e->pair.n_vocab_draft == 60);
    cr_assert(
        err_is_line(&e->pair.apart, "differ first at token 60: the verifier has 67 pieces, the drafter 60"),
        "%s", e->pair.apart.text);
    weir_engine_close(e);
    free(whole);
    free(padded);
    free(cut);
    files_remove_dir(dir);
}

Test(decoder_gguf, an_unknown_pre_tokenizer_is_named_with_its_file) {
    char *dir = files_temp_dir(), *path = write_qwen2(dir, "of-tomorrow");
    weir_engine *e = NULL;
    weir_err err;
    cr_assert_eq(open_file(path, NULL, &e, &err), WEIR_ENOTSUP);
    cr_assert(err_is_line(&err, "m.gguf: ") && strstr(err.text, "of-tomorrow"), "%s", err.text);
    free(path);
    files_remove_dir(dir);
}

Test(decoder_gguf, failing_allocations_leave_nothing_behind) {
    char *dir = files_temp_dir(), *path = write_qwen2(dir, "qwen2");
    for (long fail = 1, step = 1;; fail += step) {
        weir_engine *e = NULL;
        weir_err err;
        alloc_install(fail);
        const weir_status s = open_file(path, path, &e, &err);
        weir_engine_close(e);
        const long live = alloc_live();
        alloc_uninstall();
        cr_assert_eq(live, 0, "allocation %ld: %ld left", fail, live);
        if (s == WEIR_OK) break;
        cr_assert_eq(s, WEIR_ENOMEM, "allocation %ld: %s", fail, err.text);
        cr_assert(err_is_line(&err, ""), "allocation %ld: \"%s\"", fail, err.text);
        if (fail > 100) step = 7; /* a vocabulary's growth looks the same each time */
    }
    free(path);
    files_remove_dir(dir);
}
