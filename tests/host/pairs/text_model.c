#include "tests/host/pairs/text_model.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/support/compare.h"
#include "tests/support/files.h"

enum { DIM = 96, HEADS = 4, HEAD_DIM = 24, FF = 64, LAYERS = 2, MAX_HEADER = 1 << 13 };

/* Characters of several bytes, digits, spaces, lines, added tokens, and words that occur once. */
static const char corpus[] =
    "The quick brown fox jumps over a lazy dog; 17 cats watch. naïve café, Zürich → "
    "東京タワー 日本語 "
    "👩‍👩‍👧 und Straße. In 2024 she sold 1234567 books!\n\n    indented = value + 'text'\n\tTab "
    "http://example.org/path?x=1 WORD <tool_call> ¿qué? Ελλάδα Привет "
    "안녕하세요 ١٢٣ ﷽ end of it~";

/* ---- a safetensors file -------------------------------------------------------------------------------- */

typedef struct writer {
    char *header;
    size_t n_header;
    float *data;
    size_t n_data;
} writer;

static float *tensor(writer *w, const char *name, int rows, int cols) {
    const size_t n = (size_t)rows * (size_t)cols;
    char shape[32];
    w->data = realloc(w->data, (w->n_data + n) * sizeof *w->data);
    cr_assert(w->data && w->n_header + 256 < MAX_HEADER);
    if (rows == 1)
        snprintf(shape, sizeof shape, "%d", cols);
    else
        snprintf(shape, sizeof shape, "%d,%d", rows, cols);
    w->n_header += (size_t)snprintf(w->header + w->n_header, MAX_HEADER - w->n_header,
                                    "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                    w->n_header > 1 ? "," : "", name, shape, w->n_data * sizeof *w->data,
                                    (w->n_data + n) * sizeof *w->data);
    w->n_data += n;
    return w->data + w->n_data - n;
}

static uint64_t seed_of(const char *name) {
    uint64_t seed = 14695981039346656037u;
    for (const char *c = name; *c; c++) seed = (seed ^ (unsigned char)*c) * 1099511628211u;
    return seed;
}

static void random_tensor(writer *w, const char *name, int rows, int cols, float edge) {
    float *x = tensor(w, name, rows, cols);
    uint64_t seed = seed_of(name);
    for (int i = 0; i < rows * cols; i++) x[i] = rng_uniform(&seed, -edge, edge);
}

static void norm(writer *w, const char *name) {
    float *x = tensor(w, name, 1, DIM);
    for (int i = 0; i < DIM; i++) x[i] = 1.0f;
}

/* ---- what follows a token ------------------------------------------------------------------------------ */

static void chain(const weir_tokenizer *t, int32_t end, int32_t *next) {
    int32_t *ids;
    size_t n;
    weir_err err;
    const int32_t size = weir__tokenizer_size(t);
    cr_assert_eq(weir__tokenizer_encode_special(t, corpus, sizeof corpus - 1, &ids, &n, &err), WEIR_OK);
    for (int32_t i = 0; i < size; i++)
        next[i] = (int32_t)(seed_of(weir__tokenizer_piece(t, i)) % (uint64_t)size);
    for (size_t i = n; i-- > 0;) next[ids[i]] = i + 1 < n ? ids[i + 1] : end;
    weir_free(ids);
}

/* A row of the head is what the tokens before its own look like. */
static void vocabulary(writer *w, const weir_tokenizer *t, int32_t end) {
    const int32_t n = weir__tokenizer_size(t);
    int32_t *next = malloc((size_t)n * sizeof *next);
    cr_assert_not_null(next);
    chain(t, end, next);
    (void)tensor(w, "model.embed_tokens.weight", n, DIM);
    float *head = tensor(w, "lm_head.weight", n, DIM), *rows = head - (size_t)n * DIM;
    memset(head, 0, (size_t)n * DIM * sizeof *head);
    for (int32_t i = 0; i < n; i++) {
        uint64_t seed = seed_of(weir__tokenizer_piece(t, i));
        for (int k = 0; k < DIM; k++) rows[i * DIM + k] = rng_uniform(&seed, -1.0f, 1.0f);
        for (int k = 0; k < DIM; k++) head[next[i] * DIM + k] += rows[i * DIM + k];
    }
    free(next);
}

static void layers(writer *w, float stir) {
    char name[96];
    for (int i = 0; i < LAYERS; i++) {
        const struct {
            const char *part;
            int rows, cols;
            float edge;
        } parts[] = {{"self_attn.q_proj", HEADS * HEAD_DIM, DIM, 0.3f},
                     {"self_attn.k_proj", HEADS / 2 * HEAD_DIM, DIM, 0.3f},
                     {"self_attn.v_proj", HEADS / 2 * HEAD_DIM, DIM, 0.2f},
                     {"self_attn.o_proj", DIM, HEADS * HEAD_DIM, 0.2f * stir},
                     {"mlp.gate_proj", FF, DIM, 0.2f},
                     {"mlp.up_proj", FF, DIM, 0.2f},
                     {"mlp.down_proj", DIM, FF, 0.2f * stir}};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", i, parts[k].part);
            random_tensor(w, name, parts[k].rows, parts[k].cols, parts[k].edge);
        }
        snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", i);
        norm(w, name);
        snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", i);
        norm(w, name);
    }
    norm(w, "model.norm.weight");
}

/* ---- directories --------------------------------------------------------------------------------------- */

static void write_tensors(const char *dir, const writer *w) {
    const size_t bytes = w->n_data * sizeof *w->data;
    uint8_t *file = malloc(8 + w->n_header + bytes);
    cr_assert_not_null(file);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(w->n_header >> (8 * i));
    memcpy(file + 8, w->header, w->n_header);
    memcpy(file + 8 + w->n_header, w->data, bytes);
    files_write(dir, "model.safetensors", file, 8 + w->n_header + bytes);
    free(file);
}

static void write_config(const char *dir, const text_side *side, const weir_tokenizer *t, int32_t end) {
    char config[1024];
    static const char begin_name[] = "<|begin|>";
    const int n =
        snprintf(config, sizeof config,
                 "{\"model_type\": \"%s\", \"vocab_size\": %d, \"hidden_size\": %d, \"head_dim\": %d, "
                 "\"intermediate_size\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, "
                 "\"num_hidden_layers\": %d, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-6, "
                 "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": false, %s"
                 "\"bos_token_id\": %d, \"eos_token_id\": %d}",
                 side->sliding ? "mistral" : "llama", weir__tokenizer_size(t), DIM, HEAD_DIM, FF, HEADS,
                 HEADS / 2, LAYERS, side->sliding ? "\"sliding_window\": 24, " : "",
                 weir__tokenizer_find(t, begin_name, sizeof begin_name - 1), end);
    files_write(dir, "config.json", config, (size_t)n);
}

/* Ids 2 and 3 change places, and all move up. */
static int renumber(const text_side *side, json_int_t id) {
    const int other = side->swapped && (id == 2 || id == 3) ? 5 - (int)id : (int)id;
    return side->first + other;
}

/* The tokenizer of a file, with the ids of the side. */
static char *tokenizer_of(const text_side *side, const char *path) {
    json_t *root = json_load_file(path, 0, NULL), *id, *token;
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const char *piece;
    size_t i;
    cr_assert(json_is_object(vocab) && json_object_size(vocab) > 3, "%s", path);
    cr_assert(json_is_null(json_object_get(root, "post_processor")) || side->first == 0, "%s", path);
    json_object_foreach(vocab, piece, id) json_integer_set(id, renumber(side, json_integer_value(id)));
    json_array_foreach(json_object_get(root, "added_tokens"), i, token) {
        json_t *added = json_object_get(token, "id");
        json_integer_set(added, renumber(side, json_integer_value(added)));
    }
    for (int k = 0; k < side->first; k++) {
        char name[32];
        snprintf(name, sizeof name, "<filler%d>", k);
        cr_assert_eq(json_object_set_new(vocab, name, json_integer(k)), 0);
    }
    char *text = json_dumps(root, JSON_COMPACT);
    cr_assert_not_null(text);
    json_decref(root);
    return text;
}

char *text_model_write(const text_side *side) {
    static const char end_name[] = "<|end|>", begin_name[] = "<|begin|>";
    char *dir = files_temp_dir(), path[512];
    weir_err err = {""};
    weir_tokenizer *t = NULL;
    snprintf(path, sizeof path, WEIR_SOURCE_DIR "/tests/golden/tokenizer/%s.json", side->tokenizer);
    char *json = tokenizer_of(side, path);
    const size_t n = strlen(json);
    files_write(dir, "tokenizer.json", json, n);
    cr_assert_eq(weir__tokenizer_open_json_bytes(&t, json, n, side->tokenizer, &err), WEIR_OK, "%s",
                 err.text);
    free(json);
    int32_t end = weir__tokenizer_find(t, end_name, sizeof end_name - 1);
    if (end < 0) end = weir__tokenizer_find(t, begin_name, sizeof begin_name - 1);
    writer w = {.header = malloc(MAX_HEADER)};
    cr_assert_not_null(w.header);
    w.header[w.n_header++] = '{';
    vocabulary(&w, t, end);
    layers(&w, side->stir);
    w.header[w.n_header++] = '}';
    while (w.n_header % 8) w.header[w.n_header++] = ' ';
    write_tensors(dir, &w);
    write_config(dir, side, t, end);
    weir__tokenizer_free(t);
    free(w.data);
    free(w.header);
    return dir;
}
