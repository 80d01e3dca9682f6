#include "host/formats/families.h"

#include <stdio.h>
#include <string.h>

/* What Gemma 2 and 3 share. */
enum {
    FAMILY_GEMMA = FAMILY_ADDS_BOS | FAMILY_POST_NORMS | FAMILY_ONE_PLUS | FAMILY_EMBED_SCALE |
                   FAMILY_QUERY_SCALAR | FAMILY_FINAL_CAP | FAMILY_ACTIVATION | FAMILY_WINDOW |
                   FAMILY_LAYER_TYPES | FAMILY_PERIOD
};

/* Defaults are those of transformers 4.57's config classes; those called gguf_ are llama.cpp's, for keys that
 * a GGUF file may leave out. */

/* What several rows have; a row adds its own. */
#define MT5_SIZES                                                                                      \
    .dim = 512, .head_dim = 64, .n_head = 6, .ff_dim = 1024, .n_enc_layer = 8, .n_vocab_rows = 250112, \
    .n_bucket = 32, .max_distance = 128, .eps = 1e-6f, .act = WEIR_ACT_GELU_TANH, .gated = true
#define LLAMA_DEFAULTS                \
    .config = {.n_vocab_rows = 32000, \
               .dim = 4096,           \
               .ff_dim = 11008,       \
               .n_layer = 32,         \
               .n_head = 32,          \
               .n_ctx_train = 2048},  \
    .act = "silu", .theta = 1e4, .bos = 1, .eos = 2, .pad = -1
#define GEMMA2_DEFAULTS                 \
    .config = {.n_vocab_rows = 256000,  \
               .dim = 2304,             \
               .ff_dim = 9216,          \
               .n_layer = 26,           \
               .n_head = 8,             \
               .n_head_kv = 4,          \
               .head_dim = 256,         \
               .n_ctx_train = 8192,     \
               .window = 4096,          \
               .attention_softcap = 50, \
               .final_softcap = 30,     \
               .tied = true},           \
    .act = "gelu_pytorch_tanh", .theta = 1e4, .query_scalar = 256, .period = 2, .bos = 2, .eos = 1, .pad = 0

static const family_row FAMILIES[] = {
    {.model_type = "t5",
     .architecture = "T5ForConditionalGeneration",
     .gguf = "t5",
     .kind = WEIR_FAMILY_T5,
     .parse = weir__t5_parse,
     .t5 = {.dim = 512,
            .head_dim = 64,
            .n_head = 8,
            .ff_dim = 2048,
            .n_enc_layer = 6,
            .n_vocab_rows = 32128,
            .n_bucket = 32,
            .max_distance = 128,
            .eps = 1e-6f,
            .act = WEIR_ACT_RELU,
            .tied = true}},
    {.model_type = "mt5",
     .architecture = "MT5ForConditionalGeneration",
     .kind = WEIR_FAMILY_T5,
     .parse = weir__t5_parse,
     .t5 = {MT5_SIZES}},
    {.model_type = "umt5",
     .architecture = "UMT5ForConditionalGeneration",
     .kind = WEIR_FAMILY_T5,
     .parse = weir__t5_parse,
     .t5 = {MT5_SIZES, .layer_bias = true, .tied = true}},
    {.model_type = "t5encoder",
     .gguf = "t5encoder",
     .kind = WEIR_FAMILY_T5,
     .refused = "an encoder alone writes no text"},
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .gguf = "llama",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_ADDS_BOS | FAMILY_INTERLEAVED | FAMILY_ROPE_FREQS,
     .parse = weir__decoder_parse,
     .decoder = {LLAMA_DEFAULTS}},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .gguf = NULL,
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_ADDS_BOS | FAMILY_WINDOW,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 32000,
                            .dim = 4096,
                            .ff_dim = 14336,
                            .n_layer = 32,
                            .n_head = 32,
                            .n_head_kv = 8,
                            .n_ctx_train = 131072,
                            .window = 4096},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = 1,
                 .eos = 2,
                 .pad = -1}},
    {.model_type = "mixtral",
     .architecture = "MixtralForCausalLM",
     .gguf = "llama",
     .kind = WEIR_FAMILY_DECODER,
     .features =
         FAMILY_ADDS_BOS | FAMILY_WINDOW | FAMILY_INTERLEAVED | FAMILY_ROPE_FREQS | FAMILY_LOCAL_EXPERTS,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 32000,
                            .dim = 4096,
                            .ff_dim = 14336,
                            .n_layer = 32,
                            .n_head = 32,
                            .n_head_kv = 8,
                            .n_ctx_train = 131072,
                            .eps = 1e-5f,
                            .experts = {.n = 8, .n_used = 2, .normed = true, .names = WEIR_EXPERTS_SPARSE}},
                 .act = "silu",
                 .theta = 1e6,
                 .bos = 1,
                 .eos = 2,
                 .pad = -1,
                 .gguf_normed = true}},
    {.model_type = "phi3",
     .architecture = "Phi3ForCausalLM",
     .gguf = "phi3",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_ADDS_BOS | FAMILY_WINDOW | FAMILY_FUSED | FAMILY_LONGROPE,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 32064,
                            .dim = 3072,
                            .ff_dim = 8192,
                            .n_layer = 32,
                            .n_head = 32,
                            .n_ctx_train = 4096,
                            .eps = 1e-5f,
                            .rope = {.n_ctx_original = 4096}},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = 1,
                 .eos = 32000,
                 .pad = 32000}},
    {.model_type = "olmo2",
     .architecture = "Olmo2ForCausalLM",
     .gguf = "olmo2",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_POST_NORMS | FAMILY_ONLY_POST | FAMILY_QK_NORM | FAMILY_WHOLE_NORM,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 50304,
                            .dim = 4096,
                            .ff_dim = 11008,
                            .n_layer = 32,
                            .n_head = 32,
                            .n_ctx_train = 2048,
                            .eps = 1e-5f},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = -1,
                 .eos = 50279,
                 .pad = 1}},
    {.model_type = "granite",
     .architecture = "GraniteForCausalLM",
     .gguf = "granite",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_MULTIPLIERS | FAMILY_INTERLEAVED | FAMILY_ROPE_FREQS,
     .parse = weir__decoder_parse,
     .decoder = {LLAMA_DEFAULTS}},
    {.model_type = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .gguf = "smollm3",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_WINDOW | FAMILY_LAYER_TYPES | FAMILY_INTERLEAVED | FAMILY_NO_ROPE,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 128256,
                            .dim = 2048,
                            .ff_dim = 11008,
                            .n_layer = 36,
                            .n_head = 16,
                            .n_head_kv = 4,
                            .n_ctx_train = 32768,
                            .tied = true},
                 .act = "silu",
                 .theta = 2e6,
                 .no_rope_interval = 4,
                 .bos = 128000,
                 .eos = 128001,
                 .pad = 128004}},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .gguf = "qwen2",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_QKV_BIAS | FAMILY_WINDOW | FAMILY_MAY_SLIDE | FAMILY_LAYER_TYPES,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 151936,
                            .dim = 4096,
                            .ff_dim = 22016,
                            .n_layer = 32,
                            .n_head = 32,
                            .n_head_kv = 32,
                            .n_ctx_train = 32768,
                            .window = 4096},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = -1,
                 .eos = -1,
                 .pad = -1}},
    {.model_type = "qwen2_moe",
     .architecture = "Qwen2MoeForCausalLM",
     .gguf = "qwen2moe",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_QKV_BIAS | FAMILY_EXPERTS | FAMILY_SHARED_EXPERT,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 151936,
                            .dim = 2048,
                            .ff_dim = 5632,
                            .n_layer = 24,
                            .n_head = 16,
                            .n_head_kv = 16,
                            .n_ctx_train = 32768,
                            .experts = {.n = 60, .n_used = 4, .ff_dim = 1408, .shared_ff = 5632}},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = -1,
                 .eos = -1,
                 .pad = -1}},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .gguf = "qwen3",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_QK_NORM | FAMILY_WINDOW | FAMILY_MAY_SLIDE | FAMILY_LAYER_TYPES,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 151936,
                            .dim = 4096,
                            .ff_dim = 22016,
                            .n_layer = 32,
                            .n_head = 32,
                            .n_head_kv = 32,
                            .head_dim = 128,
                            .n_ctx_train = 32768,
                            .window = 4096},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = -1,
                 .eos = -1,
                 .pad = -1}},
    {.model_type = "qwen3_moe",
     .architecture = "Qwen3MoeForCausalLM",
     .gguf = "qwen3moe",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_QK_NORM | FAMILY_EXPERTS,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 151936,
                            .dim = 2048,
                            .ff_dim = 6144,
                            .n_layer = 24,
                            .n_head = 32,
                            .n_head_kv = 4,
                            .n_ctx_train = 32768,
                            .experts = {.n = 128, .n_used = 8, .ff_dim = 768}},
                 .act = "silu",
                 .theta = 1e4,
                 .bos = -1,
                 .eos = -1,
                 .pad = -1,
                 .gguf_normed = true}},
    {.model_type = "gpt_oss",
     .architecture = "GptOssForCausalLM",
     .gguf = "gpt-oss",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_QKV_BIAS | FAMILY_WINDOW | FAMILY_LAYER_TYPES | FAMILY_PERIOD | FAMILY_LOCAL_EXPERTS |
                 FAMILY_SINKS,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 201088,
                            .dim = 2880,
                            .ff_dim = 2880,
                            .n_layer = 36,
                            .n_head = 64,
                            .n_head_kv = 8,
                            .head_dim = 64,
                            .n_ctx_train = 131072,
                            .eps = 1e-5f,
                            .window = 128,
                            .rope = {.kind = WEIR_ROPE_YARN,
                                     .factor = 32,
                                     .beta_fast = 32,
                                     .beta_slow = 1,
                                     .n_ctx_original = 4096,
                                     .untruncated = true},
                            .experts = {.n = 128,
                                        .n_used = 4,
                                        .normed = true,
                                        .limit = 7,
                                        .names = WEIR_EXPERTS_ROUTER}},
                 .act = "silu",
                 .theta = 15e4,
                 .period = 2,
                 .bos = -1,
                 .eos = -1,
                 .pad = -1,
                 .gguf_window = 128,
                 .gguf_normed = true}},
    {.model_type = "gemma2",
     .architecture = "Gemma2ForCausalLM",
     .gguf = "gemma2",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_GEMMA | FAMILY_SCORE_CAP | FAMILY_WINDOW_SIZE,
     .parse = weir__decoder_parse,
     .decoder = {GEMMA2_DEFAULTS, .gguf_window = 4096, .gguf_big_layers = 46}},
    /* Its defaults are those of a stack. */
    {.model_type = "t5gemma",
     .architecture = "T5GemmaForConditionalGeneration",
     .kind = WEIR_FAMILY_T5GEMMA,
     .features = FAMILY_GEMMA | FAMILY_SCORE_CAP | FAMILY_STACKS,
     .parse = weir__t5gemma_parse,
     .decoder = {GEMMA2_DEFAULTS}},
    {.model_type = "gemma3_text",
     .architecture = "Gemma3ForCausalLM",
     .gguf = "gemma3",
     .kind = WEIR_FAMILY_DECODER,
     .features = FAMILY_GEMMA | FAMILY_QK_NORM | FAMILY_PERIOD_KEY | FAMILY_LOCAL_THETA,
     .parse = weir__decoder_parse,
     .decoder = {.config = {.n_vocab_rows = 262208,
                            .dim = 2304,
                            .ff_dim = 9216,
                            .n_layer = 26,
                            .n_head = 8,
                            .n_head_kv = 4,
                            .head_dim = 256,
                            .n_ctx_train = 131072,
                            .window = 4096,
                            .tied = true},
                 .act = "gelu_pytorch_tanh",
                 .theta = 1e6,
                 .theta_sliding = 1e4,
                 .query_scalar = 256,
                 .period = 6,
                 .bos = 2,
                 .eos = 1,
                 .pad = 0,
                 .gguf_big_layers = 62}},
    /* With images; its text_config is a gemma3_text. */
    {.model_type = "gemma3",
     .architecture = "Gemma3ForConditionalGeneration",
     .kind = WEIR_FAMILY_DECODER,
     .parse = weir__gemma3_parse},
};
enum { N_FAMILY = sizeof FAMILIES / sizeof *FAMILIES };

void weir__family_choose(const family_row *f, weir_decoder_config *c) {
    c->qk_norm = weir__family_has(f, FAMILY_QK_NORM);
    c->qk_norm_whole = weir__family_has(f, FAMILY_WHOLE_NORM);
    c->post_norms = weir__family_has(f, FAMILY_POST_NORMS);
    c->no_pre_norms = weir__family_has(f, FAMILY_ONLY_POST);
    c->fused = weir__family_has(f, FAMILY_FUSED);
    c->sinks = c->o_bias = c->experts.biased = weir__family_has(f, FAMILY_SINKS);
}

const family_row *weir__family_typed(const char *model_type) {
    for (int i = 0; i < N_FAMILY; i++)
        if (strcmp(FAMILIES[i].model_type, model_type) == 0) return &FAMILIES[i];
    return NULL;
}

const family_row *weir__family_built(const char *architecture) {
    for (int i = 0; i < N_FAMILY; i++)
        if (FAMILIES[i].architecture && strcmp(FAMILIES[i].architecture, architecture) == 0)
            return &FAMILIES[i];
    return NULL;
}

const family_row *weir__family_gguf(const char *architecture, size_t n, bool mixes) {
    const family_row *named = NULL;
    for (int i = 0; i < N_FAMILY; i++) {
        const char *name = FAMILIES[i].gguf;
        if (!name || strlen(name) != n || memcmp(name, architecture, n) != 0) continue;
        if (weir__family_has(&FAMILIES[i], FAMILY_MIXES) == mixes) return &FAMILIES[i];
        if (!named) named = &FAMILIES[i];
    }
    return named;
}

static const char *listed_name(const family_row *f, family_filter filter) {
    if (f->refused || (filter == FAMILY_T5 && f->kind != WEIR_FAMILY_T5)) return NULL;
    if (filter == FAMILY_GGUF && f->gguf && strcmp(f->gguf, "llama") == 0 &&
        weir__family_has(f, FAMILY_LOCAL_EXPERTS))
        return NULL; /* llama again */
    return filter == FAMILY_GGUF ? f->gguf : f->model_type;
}

const char *weir__family_list(family_filter filter, char text[160]) {
    const char *name[N_FAMILY];
    int n = 0;
    size_t at = 0;
    for (int i = 0; i < N_FAMILY; i++) {
        const char *one = listed_name(&FAMILIES[i], filter);
        if (one) name[n++] = one;
    }
    for (int i = 0; i < n && at < 160; i++)
        at += (size_t)snprintf(text + at, 160 - at, "%s%s",
                               i == 0       ? ""
                               : i == n - 1 ? " or "
                                            : ", ",
                               name[i]);
    return text;
}
