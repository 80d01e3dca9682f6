/* T5 v1.1 shapes. Sibling of bench/random_t5.py, same layout.
 *
 * Weights are uniform in (-a, a) with a = sqrt(3 / inputs), so that products of unit rows have about unit
 * size at any width and logits stay sane in 24 layers; norms are 1. */
#include "bench/kernels/random_checkpoint.h"

typedef struct sizes {
    int dim, ff, heads, layers, vocab;
} sizes;

enum { HEAD_DIM = 64, BUCKETS = 32 };

static const sizes SMALL = {512, 1024, 6, 8, 32128}, LARGE = {1024, 2816, 16, 24, 32128},
                   XL = {2048, 5120, 32, 24, 32128}, TINY = {64, 128, 2, 2, 512};

static const random_fill ONES = {.constant = 1.0f}, UNIT = {.limit = 1.0};

static void attention(random_list *l, const sizes *s, const char *stack, int layer, int sub,
                      const char *part) {
    const int inner = s->heads * HEAD_DIM;
    for (const char *name = "qkv"; *name; name++) {
        /* T5 does not scale scores: its queries are small instead */
        random_add(l, inner, s->dim, random_even(s->dim, *name == 'q' ? 0.125 : 1.0),
                   "%s.block.%d.layer.%d.%s.%c.weight", stack, layer, sub, part, *name);
    }
    random_add(l, s->dim, inner, random_even(inner, 1.0), "%s.block.%d.layer.%d.%s.o.weight", stack, layer,
               sub, part);
    if (layer == 0 && sub == 0)
        random_add(l, BUCKETS, s->heads, UNIT,
                   "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", stack);
    random_add(l, 0, s->dim, ONES, "%s.block.%d.layer.%d.layer_norm.weight", stack, layer, sub);
}

static void feed_forward(random_list *l, const sizes *s, const char *stack, int layer, int sub) {
    const random_fill in = random_even(s->dim, 1.0);
    random_add(l, s->ff, s->dim, in, "%s.block.%d.layer.%d.DenseReluDense.wi_0.weight", stack, layer, sub);
    random_add(l, s->ff, s->dim, in, "%s.block.%d.layer.%d.DenseReluDense.wi_1.weight", stack, layer, sub);
    random_add(l, s->dim, s->ff, random_even(s->ff, 1.0), "%s.block.%d.layer.%d.DenseReluDense.wo.weight",
               stack, layer, sub);
    random_add(l, 0, s->dim, ONES, "%s.block.%d.layer.%d.layer_norm.weight", stack, layer, sub);
}

static void list(const void *shape, random_list *l) {
    const sizes *s = shape;
    random_add(l, s->vocab, s->dim, UNIT, "shared.weight");
    /* logits of a standard deviation of 3 */
    random_add(l, s->vocab, s->dim, random_even(s->dim, 3.0), "lm_head.weight");
    for (int i = 0; i < s->layers; i++) {
        attention(l, s, "encoder", i, 0, "SelfAttention");
        feed_forward(l, s, "encoder", i, 1);
    }
    random_add(l, 0, s->dim, ONES, "encoder.final_layer_norm.weight");
    for (int i = 0; i < s->layers; i++) {
        attention(l, s, "decoder", i, 0, "SelfAttention");
        attention(l, s, "decoder", i, 1, "EncDecAttention");
        feed_forward(l, s, "decoder", i, 2);
    }
    random_add(l, 0, s->dim, ONES, "decoder.final_layer_norm.weight");
}

static void config(const void *shape, FILE *f) {
    const sizes *s = shape;
    fprintf(f,
            "{\"architectures\": [\"T5ForConditionalGeneration\"], \"model_type\": \"t5\", "
            "\"is_encoder_decoder\": true,\n"
            " \"d_model\": %d, \"d_kv\": %d, \"d_ff\": %d, \"num_heads\": %d, \"num_layers\": %d,\n"
            " \"num_decoder_layers\": %d, \"vocab_size\": %d, \"feed_forward_proj\": \"gated-gelu\",\n"
            " \"tie_word_embeddings\": false, \"decoder_start_token_id\": 0, \"pad_token_id\": 0, "
            "\"eos_token_id\": 1}\n",
            s->dim, HEAD_DIM, s->ff, s->heads, s->layers, s->layers, s->vocab);
}

int random_t5_shapes(const random_shape **out) {
    static const random_shape shapes[] = {{"t5-small", "T5 v1.1", &SMALL, list, config},
                                          {"t5-large", "T5 v1.1", &LARGE, list, config},
                                          {"t5-xl", "T5 v1.1", &XL, list, config},
                                          {"t5-tiny", "T5 v1.1", &TINY, list, config}};
    *out = shapes;
    return (int)(sizeof shapes / sizeof *shapes);
}
