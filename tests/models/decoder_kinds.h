/* Configs of small decoders, for checkpoints out of thin air (fake.h). */
#ifndef WEIR_TESTS_MODELS_DECODER_KINDS_H
#define WEIR_TESTS_MODELS_DECODER_KINDS_H

#include "models/decoder/decoder.h"

static const weir_decoder_config plain = {.dim = 24,
                                          .ff_dim = 40,
                                          .head_dim = 10,
                                          .n_head = 3,
                                          .n_head_kv = 1,
                                          .n_layer = 3,
                                          .n_vocab_rows = 101,
                                          .eps = 1e-6f,
                                          .act = WEIR_ACT_SILU,
                                          .qkv_bias = true,
                                          .qk_norm = true,
                                          .embed_scale = 1.0f,
                                          .attention_scale = 0.3f,
                                          .rope.theta = 1e4f};

static inline weir_decoder_config gemma(void) {
    weir_decoder_config c = plain;
    c.qkv_bias = false, c.norm_one_plus = true, c.post_norms = true, c.tied = true;
    c.act = WEIR_ACT_GELU_TANH;
    c.attention_softcap = 5.0f, c.final_softcap = 4.0f;
    c.window = 3, c.sliding[1] = true, c.rope_sliding.theta = 100.0f;
    return c;
}

/* Experts in the first and the last layer. */
static inline weir_decoder_config mixture(void) {
    weir_decoder_config c = plain;
    c.experts = (weir_expert_config){.n = 4, .n_used = 2, .ff_dim = 12, .shared_ff = 20};
    c.dense[1] = true;
    return c;
}

#endif /* WEIR_TESTS_MODELS_DECODER_KINDS_H */
