/* Decoder-only shapes, from the config.json of the published checkpoints (Hugging Face: google, meta-llama,
 * Qwen): sizes, heads, windows, caps, rotations, ties. One thing differs: the models of a family share one
 * vocabulary, their largest, because a pair without a tokenizer cannot tell padding rows from tokens
 * (Qwen2.5 below 7B has 151,936 rows, Gemma 3 below 4B 262,144).
 *
 * Weights are uniform with deviations of 1 / sqrt(inputs), so that products of unit rows have about unit
 * size, scores and logits with them; norms are 1, which Gemma writes as 0. A head's logits have a deviation
 * of 3. Gemma's tied embedding is scaled up again where it enters, so a head of that size would see the token
 * that went in and repeat it: its deviation is 0.5 there, which that token's logit exceeds by less than the
 * largest of so many others do. */
#include <math.h>

#include "bench/kernels/random_checkpoint.h"

typedef enum family { GEMMA2, GEMMA3, LLAMA3, QWEN25 } family;

typedef struct sizes {
    const char *name;
    family family;
    int dim, ff, layers, heads, heads_kv, head_dim;
    int window;  /* of layers that slide; Gemma */
    int scalar;  /* scores are divided by its square root; Gemma, elsewhere by that of head_dim */
    int stretch; /* factor of the rotation; 0: none */
    bool untied;
} sizes;

static const sizes SHAPES[] = {
    {"gemma2-2b", GEMMA2, 2304, 9216, 26, 8, 4, 256, .window = 4096, .scalar = 256},
    {"gemma2-9b", GEMMA2, 3584, 14336, 42, 16, 8, 256, .window = 4096, .scalar = 256},
    {"gemma2-27b", GEMMA2, 4608, 36864, 46, 32, 16, 128, .window = 4096, .scalar = 144},
    {"gemma2-tiny", GEMMA2, 64, 128, 4, 4, 2, 32, .window = 16, .scalar = 32},
    {"gemma3-270m", GEMMA3, 640, 2048, 18, 4, 1, 256, .window = 512, .scalar = 256},
    {"gemma3-1b", GEMMA3, 1152, 6912, 26, 4, 1, 256, .window = 512, .scalar = 256},
    {"gemma3-4b", GEMMA3, 2560, 10240, 34, 8, 4, 256, .window = 1024, .scalar = 256, .stretch = 8},
    {"gemma3-12b", GEMMA3, 3840, 15360, 48, 16, 8, 256, .window = 1024, .scalar = 256, .stretch = 8},
    {"gemma3-27b", GEMMA3, 5376, 21504, 62, 32, 16, 128, .window = 1024, .scalar = 168, .stretch = 8},
    {"gemma3-tiny", GEMMA3, 64, 128, 7, 4, 1, 32, .window = 16, .scalar = 32, .stretch = 8},
    {"llama3-1b", LLAMA3, 2048, 8192, 16, 32, 8, 64, .stretch = 32},
    {"llama3-3b", LLAMA3, 3072, 8192, 28, 24, 8, 128, .stretch = 32},
    {"llama3-8b", LLAMA3, 4096, 14336, 32, 32, 8, 128, .stretch = 8, .untied = true},
    {"llama3-70b", LLAMA3, 8192, 28672, 80, 64, 8, 128, .stretch = 8, .untied = true},
    {"llama3-tiny", LLAMA3, 64, 128, 2, 4, 2, 16, .stretch = 8, .untied = true},
    {"qwen2.5-0.5b", QWEN25, 896, 4864, 24, 14, 2, 64, .untied = false},
    {"qwen2.5-1.5b", QWEN25, 1536, 8960, 28, 12, 2, 128, .untied = false},
    {"qwen2.5-3b", QWEN25, 2048, 11008, 36, 16, 2, 128, .untied = false},
    {"qwen2.5-7b", QWEN25, 3584, 18944, 28, 28, 4, 128, .untied = true},
    {"qwen2.5-14b", QWEN25, 5120, 13824, 48, 40, 8, 128, .untied = true},
    {"qwen2.5-32b", QWEN25, 5120, 27648, 64, 40, 8, 128, .untied = true},
    {"qwen2.5-tiny", QWEN25, 64, 128, 2, 4, 2, 16, .untied = false},
};
enum { N_SHAPE = sizeof SHAPES / sizeof *SHAPES, TINY_DIM = 64, TINY_VOCAB = 512 };

static const struct {
    const char *name, *model_type, *architecture;
    int vocab;
} FAMILIES[] = {[GEMMA2] = {"Gemma 2", "gemma2", "Gemma2ForCausalLM", 256000},
                [GEMMA3] = {"Gemma 3", "gemma3_text", "Gemma3ForCausalLM", 262208},
                [LLAMA3] = {"Llama 3", "llama", "LlamaForCausalLM", 128256},
                [QWEN25] = {"Qwen2.5", "qwen2", "Qwen2ForCausalLM", 152064}};

static bool is_gemma(const sizes *s) { return s->family == GEMMA2 || s->family == GEMMA3; }
static int vocab_of(const sizes *s) { return s->dim == TINY_DIM ? TINY_VOCAB : FAMILIES[s->family].vocab; }

/* ---- tensors ------------------------------------------------------------------------------------------- */

static void norm(random_list *l, const sizes *s, int n, int layer, const char *what) {
    const random_fill one = {.constant = is_gemma(s) ? 0.0f : 1.0f}; /* Gemma multiplies by 1 + w */
    random_add(l, 0, n, one, "model.layers.%d.%s.weight", layer, what);
}

static void matrix(random_list *l, int rows, int cols, int layer, const char *what) {
    random_add(l, rows, cols, random_even(cols, 1.0), "model.layers.%d.%s.weight", layer, what);
}

static void attention(random_list *l, const sizes *s, int i) {
    static const char *const what[3] = {"q_proj", "k_proj", "v_proj"};
    const int inner = s->heads * s->head_dim, inner_kv = s->heads_kv * s->head_dim;
    for (int p = 0; p < 3; p++) {
        const int rows = p ? inner_kv : inner;
        random_add(l, rows, s->dim, random_even(s->dim, 1.0), "model.layers.%d.self_attn.%s.weight", i,
                   what[p]);
        if (s->family == QWEN25)
            random_add(l, 0, rows, (random_fill){.limit = 0.5}, "model.layers.%d.self_attn.%s.bias", i,
                       what[p]);
    }
    matrix(l, s->dim, inner, i, "self_attn.o_proj");
    if (s->family != GEMMA3) return;
    norm(l, s, s->head_dim, i, "self_attn.q_norm");
    norm(l, s, s->head_dim, i, "self_attn.k_norm");
}

static void layer(random_list *l, const sizes *s, int i) {
    norm(l, s, s->dim, i, "input_layernorm");
    attention(l, s, i);
    norm(l, s, s->dim, i, "post_attention_layernorm");
    if (is_gemma(s)) norm(l, s, s->dim, i, "pre_feedforward_layernorm");
    matrix(l, s->ff, s->dim, i, "mlp.gate_proj");
    matrix(l, s->ff, s->dim, i, "mlp.up_proj");
    matrix(l, s->dim, s->ff, i, "mlp.down_proj");
    if (is_gemma(s)) norm(l, s, s->dim, i, "post_feedforward_layernorm");
}

static void list(const void *shape, random_list *l) {
    const sizes *s = shape;
    const random_fill head = random_even(s->dim, is_gemma(s) ? 0.5 : 3.0), unit = {.limit = 1.0};
    random_add(l, vocab_of(s), s->dim, s->untied ? unit : head, "model.embed_tokens.weight");
    for (int i = 0; i < s->layers; i++) layer(l, s, i);
    random_add(l, 0, s->dim, (random_fill){.constant = is_gemma(s) ? 0.0f : 1.0f}, "model.norm.weight");
    if (s->untied) random_add(l, vocab_of(s), s->dim, head, "lm_head.weight");
}

/* ---- config.json --------------------------------------------------------------------------------------- */

/* Every pattern-th layer sees all, the others a window. */
static void layer_types(const sizes *s, FILE *f) {
    const int pattern = s->family == GEMMA2 ? 2 : 6;
    fprintf(f, " \"sliding_window\": %d, \"layer_types\": [", s->window);
    for (int i = 0; i < s->layers; i++)
        fprintf(f, "%s\"%s_attention\"", i ? ", " : "", (i + 1) % pattern ? "sliding" : "full");
    fprintf(f, "],\n");
}

static void gemma(const sizes *s, FILE *f) {
    fprintf(f,
            " \"query_pre_attn_scalar\": %d, \"hidden_activation\": \"gelu_pytorch_tanh\", \"rms_norm_eps\": "
            "1e-06,\n",
            s->scalar);
    layer_types(s, f);
    fprintf(f,
            " \"bos_token_id\": 2, \"eos_token_id\": 1, \"pad_token_id\": 0, \"attention_bias\": false,\n");
    if (s->family == GEMMA2) {
        fprintf(f, " \"max_position_embeddings\": 8192, \"rope_theta\": 10000.0,\n"
                   " \"attn_logit_softcapping\": 50.0, \"final_logit_softcapping\": 30.0,\n");
        return;
    }
    fprintf(
        f,
        " \"max_position_embeddings\": %d, \"rope_theta\": 1000000.0, \"rope_local_base_freq\": 10000.0,\n"
        " \"attn_logit_softcapping\": null, \"final_logit_softcapping\": null,\n",
        s->stretch ? 131072 : 32768);
    if (s->stretch)
        fprintf(f, " \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": %d.0},\n", s->stretch);
}

static void llama(const sizes *s, FILE *f) {
    fprintf(
        f,
        " \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, \"attention_bias\": false, \"mlp_bias\": false,"
        "\n"
        " \"max_position_embeddings\": 131072, \"rope_theta\": 500000.0,\n"
        " \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": %d.0, \"low_freq_factor\": 1.0,\n"
        "  \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192},\n",
        s->stretch);
}

static void qwen(FILE *f) {
    fprintf(f, " \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-06, \"use_sliding_window\": false,\n"
               " \"max_position_embeddings\": 32768, \"rope_theta\": 1000000.0,\n");
}

static void config(const void *shape, FILE *f) {
    const sizes *s = shape;
    fprintf(f, "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"dtype\": \"bfloat16\",\n",
            FAMILIES[s->family].architecture, FAMILIES[s->family].model_type);
    if (is_gemma(s))
        gemma(s, f);
    else if (s->family == LLAMA3)
        llama(s, f);
    else
        qwen(f);
    fprintf(
        f,
        " \"vocab_size\": %d, \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d,\n"
        " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d, "
        "\"tie_word_embeddings\": %s}\n",
        vocab_of(s), s->dim, s->ff, s->layers, s->heads, s->heads_kv, s->head_dim,
        s->untied ? "false" : "true");
}

int random_decoder_shapes(const random_shape **out) {
    static random_shape shapes[N_SHAPE];
    for (int i = 0; i < N_SHAPE; i++)
        shapes[i] = (random_shape){SHAPES[i].name, FAMILIES[SHAPES[i].family].name, &SHAPES[i], list, config};
    *out = shapes;
    return N_SHAPE;
}
