#include "tests/host/pairs/tiny_pair.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/compare.h"
#include "tests/support/costs.h"
#include "tests/support/files.h"
#include "tests/support/safetensors_write.h"

enum { DIM = 64, INNER = 64, FF = 128, HEADS = 4, BUCKETS = 8 };

/* ---- tensors ------------------------------------------------------------------------------------------- */

typedef struct writer {
    st_blob file;
    weir_dtype dtype;
    const tiny_flaw *flaw;
} writer;

/* Contents are those of the name, so that layers of equal names are equal. */
static void add(writer *w, const char *name, int rows, int cols, float low, float high) {
    const size_t n = (size_t)rows * (size_t)cols, size = (size_t)weir_dtype_bytes(w->dtype);
    const int64_t shape[2] = {rows, cols};
    uint64_t seed = 14695981039346656037u;
    for (const char *c = name; *c; c++) seed = (seed ^ (unsigned char)*c) * 1099511628211u;
    uint8_t *at = st_put(&w->file, name, size == 2 ? "BF16" : "F32", shape + (rows == 1), 2 - (rows == 1),
                         NULL, n * size);
    for (size_t i = 0; i < n; i++) {
        float f = rng_uniform(&seed, low, high);
        if (w->flaw && i == w->flaw->element && strcmp(name, w->flaw->tensor) == 0) f = NAN;
        const uint16_t half = weir_bf16_from_f32(f);
        memcpy(at + i * size, size == 2 ? (const void *)&half : (const void *)&f, size);
    }
}

__attribute__((format(printf, 6, 7))) static void add_named(writer *w, int rows, int cols, float low,
                                                            float high, const char *fmt, ...) {
    char name[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    add(w, name, rows, cols, low, high);
}

/* The spread that T5 is initialised with, as the edge of a uniform distribution. */
static float edge(double variance) { return (float)sqrt(3.0 * variance); }

static void matrix(writer *w, const char *prefix, const char *part, int rows, int cols, double variance) {
    add_named(w, rows, cols, -edge(variance), edge(variance), "%s.%s.weight", prefix, part);
}

static void norm(writer *w, const char *prefix) {
    add_named(w, 1, DIM, 0.8f, 1.2f, "%s.layer_norm.weight", prefix);
}

static void attention(writer *w, const char *stack, int layer, int sub, const char *kind) {
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d", stack, layer, sub);
    norm(w, prefix);
    snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.%s", stack, layer, sub, kind);
    matrix(w, prefix, "q", INNER, DIM, 4.0 / (DIM * INNER / HEADS));
    matrix(w, prefix, "k", INNER, DIM, 1.0 / DIM);
    matrix(w, prefix, "v", INNER, DIM, 1.0 / DIM);
    matrix(w, prefix, "o", DIM, INNER, 1.0 / INNER);
}

static void feed_forward(writer *w, const char *stack, int layer, int sub) {
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d", stack, layer, sub);
    norm(w, prefix);
    snprintf(prefix, sizeof prefix, "%s.block.%d.layer.%d.DenseReluDense", stack, layer, sub);
    matrix(w, prefix, "wi_0", FF, DIM, 1.0 / DIM);
    matrix(w, prefix, "wi_1", FF, DIM, 1.0 / DIM);
    matrix(w, prefix, "wo", DIM, FF, 1.0 / FF);
}

static void all_tensors(writer *w, int n_dec) {
    static const char *const stack[] = {"encoder", "decoder"};
    add(w, "shared.weight", TINY_VOCAB, DIM, -2.0f, 2.0f);
    add(w, "lm_head.weight", TINY_VOCAB, DIM, -0.7f, 0.7f);
    for (int s = 0; s < 2; s++) {
        add_named(w, BUCKETS, HEADS, -1.0f, 1.0f,
                  "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", stack[s]);
        add_named(w, 1, DIM, 0.8f, 1.2f, "%s.final_layer_norm.weight", stack[s]);
    }
    attention(w, "encoder", 0, 0, "SelfAttention");
    feed_forward(w, "encoder", 0, 1);
    for (int i = 0; i < n_dec; i++) {
        attention(w, "decoder", i, 0, "SelfAttention");
        attention(w, "decoder", i, 1, "EncDecAttention");
        feed_forward(w, "decoder", i, 2);
    }
}

static char *write_model(int n_dec, weir_dtype dtype, const tiny_flaw *flaw) {
    writer w = {.dtype = dtype, .flaw = flaw};
    all_tensors(&w, n_dec);
    char *dir = files_temp_dir(), config[1024];
    const int n =
        snprintf(config, sizeof config,
                 "{\"model_type\": \"t5\", \"vocab_size\": %d, \"d_model\": %d, \"d_kv\": %d, \"d_ff\": %d, "
                 "\"num_heads\": %d, \"num_layers\": 1, \"num_decoder_layers\": %d, "
                 "\"relative_attention_num_buckets\": %d, \"relative_attention_max_distance\": 20, "
                 "\"feed_forward_proj\": \"gated-gelu\", \"layer_norm_epsilon\": 1e-6, "
                 "\"tie_word_embeddings\": false, \"eos_token_id\": 1, \"pad_token_id\": 0, "
                 "\"decoder_start_token_id\": 0, \"is_encoder_decoder\": true}",
                 TINY_VOCAB, DIM, INNER / HEADS, FF, HEADS, n_dec, BUCKETS);
    files_write(dir, "config.json", config, (size_t)n);
    st_write(&w.file, dir, "model.safetensors");
    return dir;
}

void tiny_pair_write(tiny_pair *p, weir_dtype dtype, const tiny_flaw *flaw) {
    p->dir[0] = write_model(2, dtype, flaw);
    p->dir[1] = write_model(1, dtype, flaw);
}

void tiny_pair_remove(tiny_pair *p) {
    for (int i = 0; i < 2; i++) files_remove_dir(p->dir[i]);
}

/* ---- engines and sessions ------------------------------------------------------------------------------ */

weir_engine_options tiny_options(const tiny_pair *p, const char *device, int n_parallel) {
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = p->dir[0];
    o.model_draft = p->dir[1];
    o.device = device;
    o.n_parallel = n_parallel;
    o.n_thread = 1;
    o.ctx_size = 96;
    o.max_draft = 7;
    return o;
}

weir_engine *tiny_open(const tiny_pair *p, const char *device, int n_parallel) {
    const weir_engine_options o = tiny_options(p, device, n_parallel);
    return engine_open(&o);
}

weir_session *tiny_session(weir_engine *e, const weir_session_options *o, int prompt) {
    int32_t ids[12];
    const size_t n = 3 + (size_t)(prompt * 5 % 10);
    uint64_t seed = 31 + (uint64_t)prompt;
    for (size_t i = 0; i < n; i++) ids[i] = 2 + (int32_t)(rng_u64(&seed) % (TINY_VOCAB - 2));
    weir_session *s = NULL;
    weir_err err = {""};
    cr_assert(weir_session_create(e, o, ids, n, NULL, NULL, &s, &err) == WEIR_OK, "session: %s", err.text);
    return s;
}

void tiny_run(weir_engine *e, const weir_session_options *o, int prompt, answer *out) {
    weir_session *s = tiny_session(e, o, prompt);
    weir_err err = {""};
    cr_assert(weir_step(e, &s, 1, 1000, &err) == WEIR_OK, "step: %s", err.text);
    answer_take(s, out);
    cr_assert(out->finish != WEIR_RUNNING, "prompt %d did not end", prompt);
    weir_session_free(s);
}
