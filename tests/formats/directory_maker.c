#include "tests/formats/directory_maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/files.h"
#include "tests/support/safetensors_write.h"

static const char *text_of(const json_t *o, const char *key, const char *otherwise) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : otherwise;
}

static long number_of(const json_t *o, const char *key, long otherwise) {
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (long)json_integer_value(v) : otherwise;
}

/* A string is the file's text as it stands: what jansson could not write. */
static void put_json(const char *dir, const char *name, const json_t *value) {
    if (!value) abort();
    char *text = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_INDENT(2));
    files_write(dir, name, text, strlen(text));
    free(text);
}

/* What stands for "@NAME": a text that several rows share. */
static const json_t *shared_text(const json_t *table, const json_t *value) {
    const char *s = json_string_value(value);
    return s && s[0] == '@' ? json_object_get(json_object_get(table, "texts"), s + 1) : value;
}

/* ---- tensors ----------------------------------------------------------------------------------------- */

enum { MAX_TENSOR = 256 };

typedef struct tensor {
    char name[120];
    long rows, cols; /* cols 0: a vector of rows */
} tensor;

typedef struct weights {
    tensor t[MAX_TENSOR];
    size_t n;
    const char *dtype;
} weights;

__attribute__((format(printf, 4, 5))) static void add(weights *w, long rows, long cols, const char *fmt,
                                                      ...) {
    if (w->n == MAX_TENSOR) abort();
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->t[w->n].name, sizeof w->t[w->n].name, fmt, args);
    va_end(args);
    w->t[w->n].rows = rows;
    w->t[w->n++].cols = cols;
}

static void add_layer(weights *w, const char *stem, long i, const json_t *c, const char *type) {
    const long d = number_of(c, "hidden_size", 0), ff = number_of(c, "intermediate_size", 0);
    const long heads = number_of(c, "num_attention_heads", 0),
               kv = number_of(c, "num_key_value_heads", heads);
    const long head = number_of(c, "head_dim", d / heads);
    const long rows[] = {heads * head, kv * head, kv * head};
    const bool gemma = strncmp(type, "gemma", 5) == 0, olmo = strcmp(type, "olmo2") == 0;
    const bool fused = strcmp(type, "phi3") == 0;
    for (int k = 0; k < 3 && !fused; k++) {
        add(w, rows[k], d, "%slayers.%ld.self_attn.%c_proj.weight", stem, i, "qkv"[k]);
        if (strcmp(type, "qwen2") == 0)
            add(w, rows[k], 0, "%slayers.%ld.self_attn.%c_proj.bias", stem, i, "qkv"[k]);
    }
    if (fused) add(w, (heads + 2 * kv) * head, d, "%slayers.%ld.self_attn.qkv_proj.weight", stem, i);
    add(w, d, heads * head, "%slayers.%ld.self_attn.o_proj.weight", stem, i);
    if (olmo) add(w, heads * head, 0, "%slayers.%ld.self_attn.q_norm.weight", stem, i);
    if (olmo) add(w, kv * head, 0, "%slayers.%ld.self_attn.k_norm.weight", stem, i);
    if (strcmp(type, "qwen3") == 0 || strcmp(type, "gemma3_text") == 0) {
        add(w, head, 0, "%slayers.%ld.self_attn.q_norm.weight", stem, i);
        add(w, head, 0, "%slayers.%ld.self_attn.k_norm.weight", stem, i);
    }
    if (!olmo) add(w, d, 0, "%slayers.%ld.input_layernorm.weight", stem, i);
    add(w, d, 0, "%slayers.%ld.post_attention_layernorm.weight", stem, i);
    if (gemma) add(w, d, 0, "%slayers.%ld.pre_feedforward_layernorm.weight", stem, i);
    if (gemma || olmo) add(w, d, 0, "%slayers.%ld.post_feedforward_layernorm.weight", stem, i);
    if (fused) add(w, 2 * ff, d, "%slayers.%ld.mlp.gate_up_proj.weight", stem, i);
    if (!fused) add(w, ff, d, "%slayers.%ld.mlp.gate_proj.weight", stem, i);
    if (!fused) add(w, ff, d, "%slayers.%ld.mlp.up_proj.weight", stem, i);
    add(w, d, ff, "%slayers.%ld.mlp.down_proj.weight", stem, i);
}

static void add_decoder(weights *w, const char *stem, const json_t *c, bool head) {
    const char *type = text_of(c, "model_type", "");
    const long vocab = number_of(c, "vocab_size", 0), d = number_of(c, "hidden_size", 0);
    add(w, vocab, d, "%sembed_tokens.weight", stem);
    add(w, d, 0, "%snorm.weight", stem);
    for (long i = 0; i < number_of(c, "num_hidden_layers", 0); i++) add_layer(w, stem, i, c, type);
    const json_t *tied = json_object_get(c, "tie_word_embeddings");
    const bool untied = tied ? !json_is_true(tied) : strncmp(type, "gemma", 5) != 0;
    if (untied || head) add(w, vocab, d, "lm_head.weight");
}

static void add_attention(weights *w, const char *at, const char *name, long inner, long d) {
    for (int k = 0; k < 3; k++) add(w, inner, d, "%s.%s.%c.weight", at, name, "qkv"[k]);
    add(w, d, inner, "%s.%s.o.weight", at, name);
    add(w, d, 0, "%s.layer_norm.weight", at);
}

static void add_block(weights *w, const char *stack, long i, const json_t *c) {
    const long d = number_of(c, "d_model", 0), ff = number_of(c, "d_ff", 0),
               heads = number_of(c, "num_heads", 0);
    const long inner = heads * number_of(c, "d_kv", 0);
    const bool gated = strncmp(text_of(c, "feed_forward_proj", "relu"), "gated", 5) == 0;
    char at[64];
    int n = 0;
    snprintf(at, sizeof at, "%s.block.%ld.layer.%d", stack, i, n++);
    add_attention(w, at, "SelfAttention", inner, d);
    if (i == 0 || strcmp(text_of(c, "model_type", ""), "umt5") == 0)
        add(w, number_of(c, "relative_attention_num_buckets", 32), heads,
            "%s.SelfAttention.relative_attention_bias.weight", at);
    if (strcmp(stack, "decoder") == 0) {
        snprintf(at, sizeof at, "%s.block.%ld.layer.%d", stack, i, n++);
        add_attention(w, at, "EncDecAttention", inner, d);
    }
    snprintf(at, sizeof at, "%s.block.%ld.layer.%d", stack, i, n);
    if (!gated) add(w, ff, d, "%s.DenseReluDense.wi.weight", at);
    for (int k = 0; k < 2 && gated; k++) add(w, ff, d, "%s.DenseReluDense.wi_%d.weight", at, k);
    add(w, d, ff, "%s.DenseReluDense.wo.weight", at);
    add(w, d, 0, "%s.layer_norm.weight", at);
}

static void add_t5(weights *w, const json_t *c) {
    static const char *const stacks[] = {"encoder", "decoder"};
    const long d = number_of(c, "d_model", 0), vocab = number_of(c, "vocab_size", 0);
    add(w, vocab, d, "shared.weight");
    for (int s = 0; s < 2; s++) {
        for (long i = 0; i < number_of(c, "num_layers", 0); i++) add_block(w, stacks[s], i, c);
        add(w, d, 0, "%s.final_layer_norm.weight", stacks[s]);
    }
    const json_t *tied = json_object_get(c, "tie_word_embeddings");
    if (tied && !json_is_true(tied)) add(w, vocab, d, "lm_head.weight");
}

/* A T5Gemma: two stacks, each with its config. */
static void add_gemma_layer(weights *w, const char *at, const json_t *c, long source, bool cross) {
    static const char *const subs[] = {"self_attn", "feedforward", "cross_attn"};
    const long d = number_of(c, "hidden_size", 0), ff = number_of(c, "intermediate_size", 0);
    const long head = number_of(c, "head_dim", 0), heads = number_of(c, "num_attention_heads", 0) * head,
               kv = number_of(c, "num_key_value_heads", 0) * head;
    for (int k = 0; k < 2 + cross; k++) {
        const long from = k == 2 ? source : d;
        add(w, d, 0, "%s.pre_%s_layernorm.weight", at, subs[k]);
        add(w, d, 0, "%s.post_%s_layernorm.weight", at, subs[k]);
        if (k == 1) continue;
        add(w, heads, d, "%s.%s.q_proj.weight", at, subs[k]);
        add(w, kv, from, "%s.%s.k_proj.weight", at, subs[k]);
        add(w, kv, from, "%s.%s.v_proj.weight", at, subs[k]);
        add(w, d, heads, "%s.%s.o_proj.weight", at, subs[k]);
    }
    add(w, ff, d, "%s.mlp.gate_proj.weight", at);
    add(w, ff, d, "%s.mlp.up_proj.weight", at);
    add(w, d, ff, "%s.mlp.down_proj.weight", at);
}

static void add_t5gemma(weights *w, const json_t *config) {
    static const char *const stacks[] = {"encoder", "decoder"};
    const long vocab = number_of(config, "vocab_size", 0);
    const long source = number_of(json_object_get(config, "encoder"), "hidden_size", 0);
    for (int s = 0; s < 2; s++) {
        const json_t *c = json_object_get(config, stacks[s]);
        const long d = number_of(c, "hidden_size", 0);
        char at[64];
        add(w, vocab, d, "model.%s.embed_tokens.weight", stacks[s]);
        add(w, d, 0, "model.%s.norm.weight", stacks[s]);
        for (long i = 0; i < number_of(c, "num_hidden_layers", 0); i++) {
            snprintf(at, sizeof at, "model.%s.layers.%ld", stacks[s], i);
            add_gemma_layer(w, at, c, source, s == 1);
        }
        if (s == 1 && json_is_false(json_object_get(config, "tie_word_embeddings")))
            add(w, vocab, d, "lm_head.out_proj.weight");
    }
}

/* ---- safetensors ------------------------------------------------------------------------------------- */

static size_t width_of(const char *dtype) {
    return strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "F16") == 0 || strcmp(dtype, "BF16") == 0 ? 2 : 1;
}

/* Values of +-1/16 … +-1/8, whatever the type. */
static void fill(uint8_t *at, size_t n, const char *dtype, uint32_t *seed) {
    const size_t width = width_of(dtype);
    const uint16_t top = strcmp(dtype, "F16") == 0 ? 0x2c00 : 0x3d80,
                   mask = strcmp(dtype, "F16") == 0 ? 0x3ff : 0x7f;
    for (size_t i = 0; i < n; i += width) {
        *seed = *seed * 1664525u + 1013904223u;
        const uint16_t bits = (uint16_t)(top | (*seed >> 16 & mask) | (*seed >> 31 << 15));
        memset(at + i, 0, width);
        if (width > 1) memcpy(at + i + width - 2, &bits, 2);
    }
}

static void put_shard(const char *dir, const char *file, const weights *w, size_t from, size_t to) {
    st_blob b = {0};
    uint32_t seed = (uint32_t)from + 1;
    st_metadata(&b, "format", "pt");
    for (size_t i = from; i < to; i++) {
        const tensor *t = &w->t[i];
        const int64_t shape[2] = {t->rows, t->cols};
        const size_t bytes = (size_t)t->rows * (size_t)(t->cols ? t->cols : 1) * width_of(w->dtype);
        uint8_t *at = st_put(&b, t->name, w->dtype, shape, t->cols ? 2 : 1, NULL, bytes);
        fill(at, bytes, w->dtype, &seed);
    }
    st_write(&b, dir, file);
}

/* The size in the metadata is past 64 bits: nobody reads it. */
static void put_shards(const char *dir, const weights *w) {
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    fprintf(f,
            "{\"metadata\":{\"total_size\":99999999999999999999999,\"total_parameters\":1},\"weight_map\":{");
    for (size_t i = 0; i < w->n; i++)
        fprintf(f, "%s\"%s\":\"model-0000%d-of-00002.safetensors\"", i ? "," : "", w->t[i].name,
                1 + (i >= w->n / 2));
    fprintf(f, "}}");
    fclose(f);
    files_write(dir, "model.safetensors.index.json", text, n);
    free(text);
    put_shard(dir, "model-00001-of-00002.safetensors", w, 0, w->n / 2);
    put_shard(dir, "model-00002-of-00002.safetensors", w, w->n / 2, w->n);
}

static void drop(weights *w, const char *name) {
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->t[i].name, name) == 0) memmove(&w->t[i], &w->t[i + 1], (--w->n - i) * sizeof w->t[0]);
}

static void put_weights(const char *dir, const json_t *config, const json_t *how) {
    weights *w = calloc(1, sizeof *w);
    const json_t *nested = json_object_get(config, "text_config"), *one;
    const char *layout = text_of(how, "layout", "single");
    size_t i;
    w->dtype = text_of(how, "dtype", "F32");
    if (json_object_get(config, "d_model"))
        add_t5(w, config);
    else if (json_object_get(config, "encoder"))
        add_t5gemma(w, config);
    else
        add_decoder(w, text_of(how, "stem", "model."), nested ? nested : config,
                    json_is_true(json_object_get(how, "head")));
    const char *name;
    json_object_foreach(json_object_get(how, "named"), name, one)
        add(w, (long)json_integer_value(json_array_get(one, 0)),
            (long)json_integer_value(json_array_get(one, 1)), "%s", name);
    json_array_foreach(json_object_get(how, "extra"), i, one) add(w, 4, 0, "%s", json_string_value(one));
    json_array_foreach(json_object_get(how, "without"), i, one) drop(w, json_string_value(one));
    if (strcmp(layout, "sharded") == 0)
        put_shards(dir, w);
    else if (strcmp(layout, "none") != 0)
        put_shard(dir, layout[0] == 's' ? "model.safetensors" : layout, w, 0, w->n);
    free(w);
}

/* ---- tokenizers -------------------------------------------------------------------------------------- */

/* The 256 characters that stand for bytes in byte-level vocabularies, in order of byte. */
static json_t *alphabet(void) {
    json_t *vocab = json_object();
    for (int b = 0, n = 0; b < 256; b++) {
        const bool keep = (b >= 33 && b < 127) || (b >= 161 && b < 173) || b >= 174;
        const int c = keep ? b : 256 + n++;
        char s[3] = {(char)(c < 128 ? c : 0xc0 | c >> 6), (char)(c < 128 ? 0 : 0x80 | (c & 63)), 0};
        json_object_set_new(vocab, s, json_integer(b));
    }
    return vocab;
}

static void put_byte_level(const char *dir, const json_t *row) {
    json_t *level = json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets",
                              1, "use_regex", 1);
    json_t *added = json_array(), *one, *vocab = alphabet();
    size_t i;
    json_array_foreach(json_object_get(row, "added"), i, one) {
        json_t *token = json_pack(
            "{s:s,s:i,s:b,s:b,s:b,s:b,s:b}", "content", json_string_value(json_object_get(one, "content")),
            "id", (int)number_of(one, "id", 0), "special", json_is_true(json_object_get(one, "special")),
            "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0);
        json_array_append_new(added, token);
    }
    json_t *root = json_pack("{s:s,s:n,s:n,s:o,s:n,s:O,s:n,s:o,s:{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:o,s:[]}}",
                             "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer",
                             "pre_tokenizer", level, "post_processor", "decoder", level, "model", "type",
                             "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                             "fuse_unk", 0, "byte_fallback", 0, "vocab", vocab, "merges");
    if (!root) abort();
    put_json(dir, "tokenizer.json", root);
    json_decref(root);
}

static void put_pieces(const char *dir, const char *name) {
    size_t n;
    uint8_t *model = files_read(WEIR_SOURCE_DIR "/models/demo/verifier/spiece.model", &n);
    if (!model) abort();
    files_write(dir, name, model, n);
    free(model);
}

static void put_tokenizer(const char *dir, const json_t *row) {
    const char *kind = text_of(row, "tokenizer", "tokenizer.json");
    if (strstr(kind, "tokenizer.json")) put_byte_level(dir, row);
    if (strstr(kind, "tokenizer.model")) put_pieces(dir, "tokenizer.model");
    if (strstr(kind, "spiece.model")) put_pieces(dir, "spiece.model");
    if (strstr(kind, "vocab.json")) {
        json_t *vocab = alphabet();
        put_json(dir, "vocab.json", vocab);
        files_write(dir, "merges.txt", "#version: 0.2\n", strlen("#version: 0.2\n"));
        json_decref(vocab);
    }
}

/* ------------------------------------------------------------------------------------------------------ */

char *directory_make(const json_t *table, const json_t *row) {
    static const char *const files[] = {"generation_config.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "adapter_config.json"};
    char *dir = files_temp_dir();
    const json_t *base = json_object_get(json_object_get(table, "bases"), text_of(row, "base", ""));
    json_t *config = base ? json_deep_copy(base) : json_object(), *one;
    const char *name;
    size_t i;
    json_object_update(config, json_object_get(row, "config"));
    json_array_foreach(json_object_get(row, "drop"), i, one) json_object_del(config, json_string_value(one));
    const char *raw = json_string_value(json_object_get(row, "more")); /* after the first brace */
    char *text = json_dumps(config, 0);
    const size_t n = strlen(text) + (raw ? strlen(raw) : 0) + 1;
    char *all = malloc(n);
    snprintf(all, n, "{%s%s", raw ? raw : "", text + 1);
    if (!json_is_true(json_object_get(row, "no_config"))) files_write(dir, "config.json", all, strlen(all));
    for (i = 0; i < sizeof files / sizeof *files; i++)
        if ((one = json_object_get(row, files[i]))) put_json(dir, files[i], shared_text(table, one));
    json_object_foreach(json_object_get(row, "files"), name, one) put_json(dir, name, one);
    put_tokenizer(dir, row);
    put_weights(dir, config, json_object_get(row, "weights"));
    free(all);
    free(text);
    json_decref(config);
    return dir;
}
