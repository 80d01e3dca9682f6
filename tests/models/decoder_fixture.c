#include "tests/models/decoder_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/safetensors/stacks.h"
#include "kernels/base/mem.h"

/* ---- the configs of make_decoder.py -------------------------------------------------------------------- */

#define LLAMA                                                                                               \
    .dim = 24, .ff_dim = 40, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .head_dim = 10, .n_vocab_rows = 67, \
    .eps = 1e-5f, .act = WEIR_ACT_SILU, .embed_scale = 1.0f, .rope = {.theta = 1e4f}
#define STRETCHED                                                                                           \
    .dim = 24, .ff_dim = 40, .n_layer = 2, .n_head = 3, .n_head_kv = 1, .head_dim = 24, .n_vocab_rows = 67, \
    .eps = 1e-5f, .act = WEIR_ACT_SILU, .embed_scale = 1.0f, .tied = true
#define GEMMA                                                                                               \
    .n_vocab_rows = 67, .eps = 1e-6f, .act = WEIR_ACT_GELU_TANH, .norm_one_plus = true, .post_norms = true, \
    .tied = true

#define MISTRAL                                                                                             \
    .dim = 28, .ff_dim = 37, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .head_dim = 10, .n_vocab_rows = 67, \
    .eps = 1e-5f, .act = WEIR_ACT_SILU, .embed_scale = 1.0f, .rope = {.theta = 1e6f}
#define PHI .n_vocab_rows = 67, .eps = 1e-5f, .act = WEIR_ACT_SILU, .embed_scale = 1.0f, .fused = true
#define PHI4 \
    PHI, .dim = 32, .ff_dim = 24, .n_layer = 2, .n_head = 2, .n_head_kv = 1, .head_dim = 16, .tied = true
#define LONGROPE(context)                                                                     \
    {                                                                                         \
        .kind = WEIR_ROPE_LONGROPE, .theta = 1e4f, .factor = 512.0f / (context), .n_dim = 12, \
        .n_ctx_original = (context)                                                           \
    }
#define OLMO2                                                                                  \
    .ff_dim = 40, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .n_vocab_rows = 67, .eps = 1e-6f, \
    .act = WEIR_ACT_SILU, .embed_scale = 1.0f, .rope = {.theta = 5e5f}, .post_norms = true,    \
    .no_pre_norms = true, .qk_norm = true, .qk_norm_whole = true
#define GRANITE                                                                                            \
    .ff_dim = 40, .n_layer = 2, .n_head = 3, .n_head_kv = 1, .n_vocab_rows = 67, .eps = 1e-5f,             \
    .act = WEIR_ACT_SILU, .embed_scale = 3.5f, .residual_scale = 0.22f, .logit_scale = (float)(1.0 / 1.7), \
    .rope = {.theta = 1e5f}, .tied = true
#define SMOLLM3                                                                                             \
    .dim = 24, .ff_dim = 40, .n_layer = 5, .n_head = 4, .n_head_kv = 2, .head_dim = 10, .n_vocab_rows = 67, \
    .eps = 1e-6f, .act = WEIR_ACT_SILU, .embed_scale = 1.0f, .rope = {.theta = 5e6f}, .tied = true

#define MIXTRAL                                                                                        \
    .ff_dim = 21, .n_head = 4, .n_head_kv = 2, .n_vocab_rows = 67, .eps = 1e-5f, .act = WEIR_ACT_SILU, \
    .embed_scale = 1.0f, .rope = {.theta = 1e6f},                                                      \
    .experts = {.n = 5, .n_used = 2, .ff_dim = 21, .normed = true, .names = WEIR_EXPERTS_SPARSE}
#define QWEN3_MOE                                                                                      \
    .ff_dim = 40, .n_head = 3, .n_head_kv = 3, .n_vocab_rows = 67, .eps = 1e-6f, .act = WEIR_ACT_SILU, \
    .embed_scale = 1.0f, .rope = {.theta = 1e6f}, .qk_norm = true
#define QWEN2_MOE                                                                                      \
    .ff_dim = 33, .n_head = 2, .n_head_kv = 1, .n_vocab_rows = 67, .eps = 1e-6f, .act = WEIR_ACT_SILU, \
    .embed_scale = 1.0f, .rope = {.theta = 1e6f}, .tied = true

#define GPT_OSS(cap)                                                                                   \
    .ff_dim = 21, .n_head = 4, .n_head_kv = 2, .n_vocab_rows = 67, .eps = 1e-5f, .act = WEIR_ACT_SILU, \
    .embed_scale = 1.0f, .qkv_bias = true, .o_bias = true, .sinks = true, .window = 16,                \
    .rope = GPT_OSS_ROPE, .rope_sliding = GPT_OSS_ROPE,                                                \
    .experts = {.n = 5,                                                                                \
                .n_used = 2,                                                                           \
                .ff_dim = 21,                                                                          \
                .normed = true,                                                                        \
                .biased = true,                                                                        \
                .limit = (cap),                                                                        \
                .names = WEIR_EXPERTS_ROUTER}
#define GPT_OSS_ROPE                                                                                   \
    {                                                                                                  \
        .kind = WEIR_ROPE_YARN, .theta = 15e4f, .factor = 4.0f, .beta_fast = 32.0f, .beta_slow = 1.0f, \
        .n_ctx_original = 128, .untruncated = true                                                     \
    }

static golden_model models[] = {
    {"llama_f32", {LLAMA}, false},
    {"llama3_f32",
     {STRETCHED, .rope = {.kind = WEIR_ROPE_LLAMA3,
                          .theta = 5e5f,
                          .factor = 8.0f,
                          .low_freq = 1.0f,
                          .high_freq = 4.0f,
                          .n_ctx_original = 64}},
     false},
    {"linear_f32", {STRETCHED, .rope = {.kind = WEIR_ROPE_LINEAR, .theta = 1e4f, .factor = 4.0f}}, false},
    {"yarn_f32",
     {STRETCHED, .rope = {.kind = WEIR_ROPE_YARN,
                          .theta = 1e4f,
                          .factor = 4.0f,
                          .beta_fast = 32.0f,
                          .beta_slow = 1.0f,
                          .n_ctx_original = 128}},
     false},
    {"qwen2_f32",
     {.dim = 28,
      .ff_dim = 33,
      .n_layer = 2,
      .n_head = 2,
      .n_head_kv = 1,
      .head_dim = 14,
      .n_vocab_rows = 67,
      .eps = 1e-6f,
      .act = WEIR_ACT_SILU,
      .embed_scale = 1.0f,
      .rope = {.theta = 1e6f},
      .qkv_bias = true,
      .tied = true},
     false},
    {"qwen3_f32",
     {.dim = 24,
      .ff_dim = 40,
      .n_layer = 3,
      .n_head = 3,
      .n_head_kv = 3,
      .head_dim = 6,
      .n_vocab_rows = 67,
      .eps = 1e-6f,
      .act = WEIR_ACT_SILU,
      .embed_scale = 1.0f,
      .rope = {.theta = 1e6f},
      .qk_norm = true},
     false},
    {"gemma2_f32",
     {GEMMA, .dim = 20, .ff_dim = 36, .n_layer = 4, .n_head = 4, .n_head_kv = 2, .head_dim = 12,
      .attention_softcap = 3.0f, .final_softcap = 5.0f, .window = 16, .sliding = {true, false, true, false},
      .rope = {.theta = 1e4f}, .rope_sliding = {.theta = 1e4f}},
     false},
    {"gemma3_f32",
     {GEMMA, .dim = 16, .ff_dim = 24, .n_layer = 7, .n_head = 2, .n_head_kv = 1, .head_dim = 14,
      .qk_norm = true, .window = 17, .sliding = {true, true, true, true, true, false, true},
      .rope = {.kind = WEIR_ROPE_LINEAR, .theta = 1e6f, .factor = 8.0f}, .rope_sliding = {.theta = 1e4f}},
     false},
    {"llama_bf16",
     {.dim = 32,
      .ff_dim = 40,
      .n_layer = 3,
      .n_head = 4,
      .n_head_kv = 2,
      .head_dim = 16,
      .n_vocab_rows = 67,
      .eps = 1e-5f,
      .act = WEIR_ACT_SILU,
      .embed_scale = 1.0f,
      .rope = {.theta = 1e4f}},
     true},
    {"gemma2_bf16",
     {GEMMA, .dim = 20, .ff_dim = 36, .n_layer = 2, .n_head = 2, .n_head_kv = 1, .head_dim = 256,
      .attention_softcap = 3.0f, .final_softcap = 5.0f, .window = 16, .sliding = {true, false},
      .rope = {.theta = 1e4f}, .rope_sliding = {.theta = 1e4f}},
     true},
    {"gemma3_bf16",
     {GEMMA, .dim = 16, .ff_dim = 24, .n_layer = 7, .n_head = 2, .n_head_kv = 1, .head_dim = 32,
      .qk_norm = true, .window = 17, .sliding = {true, true, true, true, true, false, true},
      .rope = {.kind = WEIR_ROPE_LINEAR, .theta = 1e6f, .factor = 8.0f}, .rope_sliding = {.theta = 1e4f}},
     true},
    {"mistral_f32",
     {MISTRAL, .window = 16, .sliding = {true, true, true}, .rope_sliding = {.theta = 1e6f}},
     false},
    {"mistral_full_f32", {MISTRAL}, false},
    {"phi3_f32",
     {PHI, .dim = 24, .ff_dim = 40, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .head_dim = 6, .window = 16,
      .sliding = {true, true, true}, .rope = {.theta = 1e4f}, .rope_sliding = {.theta = 1e4f}},
     false},
    {"phi4_short_f32", {PHI4, .rope = LONGROPE(256)}, false},
    {"phi4_long_f32", {PHI4, .rope = LONGROPE(6)}, false},
    {"phi4_bf16", {PHI4, .rope = LONGROPE(256)}, true},
    {"olmo2_f32", {OLMO2, .dim = 24, .head_dim = 10}, false},
    {"olmo2_bf16", {OLMO2, .dim = 32, .head_dim = 16}, true},
    {"granite_f32", {GRANITE, .dim = 24, .head_dim = 10}, false},
    {"granite_bf16", {GRANITE, .dim = 32, .head_dim = 16}, true},
    {"smollm3_f32", {SMOLLM3, .no_rope = {false, false, false, true}}, false},
    {"smollm3_window_f32",
     {SMOLLM3, .window = 16, .sliding = {true, true, false, false, true},
      .no_rope = {false, true, false, true}, .rope_sliding = {.theta = 5e6f}},
     false},
    {"mixtral_f32", {MIXTRAL, .dim = 28, .head_dim = 10, .n_layer = 3}, false},
    {"mixtral_bf16",
     {MIXTRAL, .dim = 32, .head_dim = 16, .n_layer = 2, .window = 16, .sliding = {true, true},
      .rope_sliding = {.theta = 1e6f}},
     true},
    {"qwen3moe_f32",
     {QWEN3_MOE, .dim = 24, .head_dim = 6, .n_layer = 3,
      .experts = {.n = 7, .n_used = 3, .ff_dim = 19, .normed = true}},
     false},
    {"qwen3moe_bf16",
     {QWEN3_MOE, .dim = 32, .head_dim = 16, .n_layer = 2, .experts = {.n = 7, .n_used = 3, .ff_dim = 19}},
     true},
    {"qwen2moe_f32",
     {QWEN2_MOE, .dim = 28, .head_dim = 14, .n_layer = 4, .qkv_bias = true, .dense = {true, true, true},
      .experts = {.n = 6, .n_used = 4, .ff_dim = 17, .shared_ff = 35}},
     false},
    {"qwen2moe_all_f32",
     {QWEN2_MOE, .dim = 28, .head_dim = 14, .n_layer = 2, .qkv_bias = true,
      .experts = {.n = 6, .n_used = 4, .ff_dim = 17, .shared_ff = 35}},
     false},
    {"qwen2moe_bf16",
     {QWEN2_MOE, .dim = 32, .head_dim = 16, .n_layer = 2,
      .experts = {.n = 6, .n_used = 4, .ff_dim = 17, .shared_ff = 35, .normed = true}},
     true},
    {"gptoss_f32",
     {GPT_OSS(7.0f), .dim = 28, .head_dim = 10, .n_layer = 3, .sliding = {true, false, true}},
     false},
    {"gptoss_bf16", {GPT_OSS(1.5f), .dim = 32, .head_dim = 16, .n_layer = 2, .sliding = {true}}, true},
    {NULL, {0}, false},
};

/* query_pre_attn_scalar where it is not head_dim; Granite's attention_multiplier is 0.4. */
static float attention_scalar(const golden_model *g) {
    if (strncmp(g->name, "granite", 7) == 0) return 6.25f;
    if (strcmp(g->name, "gemma2_f32") == 0) return 7.0f;
    return strncmp(g->name, "gemma3", 6) == 0 ? 9.0f : (float)g->c.head_dim;
}

const golden_model *golden_models(void) {
    for (golden_model *g = models; g->name; g++) {
        if (g->c.embed_scale == 0.0f) g->c.embed_scale = sqrtf((float)g->c.dim);
        g->c.attention_scale = 1.0f / sqrtf(attention_scalar(g));
    }
    return models;
}

const golden_model *golden_find(const char *name) {
    for (const golden_model *g = golden_models(); g->name; g++) {
        if (strcmp(g->name, name) == 0) return g;
    }
    cr_assert_fail("no golden model %s", name);
    return NULL;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* What config.json holds of longrope, under the names that models ask for. */
static bool find_divisors(const char *name, weir_tensor *out) {
    static const float parts[2][6] = {{1.0f, 1.1f, 1.25f, 1.5f, 1.75f, 2.5f},
                                      {1.0f, 1.5f, 3.0f, 7.5f, 19.0f, 42.0f}};
    const bool is_long = strcmp(name, "rope_factors_long.weight") == 0;
    if (!is_long && strcmp(name, "rope_factors_short.weight") != 0) return false;
    *out = (weir_tensor){parts[is_long], WEIR_DTYPE_F32, 1, 6};
    return true;
}

static bool source_find(void *ud, const char *name, weir_tensor *out) {
    weir_entry e;
    if (find_divisors(name, out)) return true;
    if (weir__stack_find(ud, name, &e)) return weir__stack_tensor(ud, name, out);
    if (!weir__safetensors_find(ud, name, &e) || e.n_dim < 1 || e.n_dim > 2) return false;
    const bool f32 = strcmp(e.type, "F32") == 0;
    cr_assert(f32 || strcmp(e.type, "BF16") == 0, "%s is %s", name, e.type);
    *out = (weir_tensor){e.data, f32 ? WEIR_DTYPE_F32 : WEIR_DTYPE_BF16, e.n_dim == 2 ? e.shape[0] : 1,
                         e.shape[e.n_dim - 1]};
    return true;
}

/* Elements of stacks, until the tensor is given back: gate and up at once. */
static struct {
    const void *of;
    void *data;
} made[4];

static const void *source_data(void *ud, const char *name) {
    const void *of = weir__stack_key(ud, name);
    int i = 0;
    while (i < 4 && made[i].of) i++;
    cr_assert(of && i < 4, "%s", name);
    made[i].of = of, made[i].data = weir__stack_elements(ud, name);
    return made[i].data;
}

static void source_release(void *ud, const char *name) {
    weir_entry e;
    if (!weir__stack_find(ud, name, &e)) {
        weir__safetensors_release(ud, name);
        return;
    }
    for (int i = 0; i < 4; i++) {
        if (made[i].of != weir__stack_key(ud, name)) continue;
        weir_free(made[i].data);
        made[i].of = NULL;
    }
}

weir_tensor_source fixture_source(weir_safetensors *s) {
    return (weir_tensor_source){.find = source_find, .release = source_release, .data = source_data, .ud = s};
}

void fixture_open(fixture *f, const golden_model *g, weir_isa isa, int n_thread) {
    weir_backend *be = NULL;
    cr_assert_eq(weir__backend_cpu_open(&be, n_thread, isa, NULL), WEIR_OK);
    fixture_open_on(f, g, be);
}

void fixture_open_on(fixture *f, const golden_model *g, weir_backend *be) {
    weir_err err = {""};
    char dir[512];
    *f = (fixture){.g = g, .be = be, .n_vocab = g->c.n_vocab_rows};
    snprintf(dir, sizeof dir, WEIR_SOURCE_DIR "/tests/golden/decoder/%s", g->name);
    cr_assert_eq(weir__safetensors_open_dir(&f->tensors, dir, &err), WEIR_OK, "%s", err.text);
    const weir_tensor_source src = fixture_source(f->tensors);
    cr_assert_eq(weir__decoder_create(&f->m, be, &g->c, &src, false, FIX_ROW, FIX_PROMPT, &err), WEIR_OK,
                 "%s: %s", g->name, err.text);
    const weir_model_facts *x = weir__model_get_facts(f->m);
    const weir_kv_shape shape = {.n_slot = FIX_SLOT,
                                 .max_len = FIX_LEN,
                                 .n_layer = x->n_layer_self,
                                 .n_head_kv = x->n_head_kv,
                                 .head_dim = x->head_dim,
                                 .dtype = x->kv_dtype};
    cr_assert_eq(weir__kv_pool_create(&f->self, be, &shape), WEIR_OK);
    f->dev_rows = backend_zeros(f->be, 4 * FIX_ROW * sizeof *f->dev_rows);
    f->dev_logits = backend_zeros(f->be, (size_t)FIX_ROW * (size_t)f->n_vocab * sizeof *f->dev_logits);
    f->kv = (weir_kv){.self = *weir__kv_pool_view(f->self)};
}

void fixture_close(fixture *f) {
    weir__backend_free(f->be, f->dev_rows);
    weir__backend_free(f->be, f->dev_logits);
    weir__kv_pool_free(f->self);
    weir__model_free(f->m);
    weir__backend_close(f->be);
    weir__safetensors_close(f->tensors);
}

/* ---- running ------------------------------------------------------------------------------------------- */

void fixture_prefill(fixture *f, int32_t slot, const int32_t *token, int64_t n) {
    if (weir__kv_pool_len(f->self, slot) < n) cr_assert_eq(weir__kv_pool_resize(f->self, slot, n), WEIR_OK);
    cr_assert_eq(weir__kv_pool_sync(f->self), WEIR_OK);
    cr_assert_eq(weir__model_prefill(f->m, &f->kv, slot, token, n), WEIR_OK);
}

weir_status fixture_forward(fixture *f, const row *r, int32_t n, const int32_t *out, int32_t n_out,
                            float *logits) {
    const call_room room = {.be = f->be,
                            .m = f->m,
                            .self = f->self,
                            .kv = &f->kv,
                            .dev_rows = f->dev_rows,
                            .dev_logits = f->dev_logits,
                            .n_row = FIX_ROW,
                            .n_vocab = f->n_vocab,
                            .group = f->group};
    return call_rows(&room, r, n, out, n_out, logits);
}

void rows_of(row *r, int32_t slot, int32_t first, int32_t n, const int32_t *token) {
    for (int32_t i = 0; i < n; i++) r[i] = (row){slot, first + i, token[first + i]};
}

void fixture_run(fixture *f, int32_t slot, const int32_t *token, int32_t first, int32_t n, int32_t step,
                 float *logits) {
    row r[FIX_ROW];
    for (int32_t i = 0; i < n; i += step) {
        const int32_t k = n - i < step ? n - i : step;
        rows_of(r, slot, first + i, k, token);
        cr_assert_eq(fixture_forward(f, r, k, NULL, 0, logits + (int64_t)i * f->n_vocab), WEIR_OK);
    }
}

/* ---- golden values ------------------------------------------------------------------------------------- */

golden *golden_read(const golden_model *model) {
    char path[512];
    snprintf(path, sizeof path, WEIR_SOURCE_DIR "/tests/golden/decoder/%s/golden.bin", model->name);
    FILE *f = fopen(path, "rb");
    golden *g = calloc(1, sizeof *g);
    cr_assert(f && g, "cannot read %s", path);
    read_words(f, g, 2);
    cr_assert(g->n_case == 4 && g->n_vocab <= MAX_VOCAB);
    for (int i = 0; i < g->n_case; i++) {
        golden_case *c = &g->c[i];
        read_words(f, &c->n, 1);
        cr_assert(c->n >= 1 && c->n <= FIX_PROMPT);
        read_words(f, c->token, (size_t)c->n);
        read_words(f, c->logprobs, (size_t)(c->n - 1));
        read_words(f, &c->bf16_bound, 1);
        read_words(f, c->last_logits, (size_t)g->n_vocab);
    }
    fclose(f);
    return g;
}
