/* config.json of Phi-3, OLMo 2, Granite, SmolLM3 and T5Gemma: the choices that no other family has. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/formats/config/config.h"
#include "tests/formats/config_text.h"

Test(families, defaults_of_families_of_2024) {
    weir_checkpoint c = good(PHI3(""));
    weir_decoder_config d = c.decoder;
    cr_assert(d.dim == 3072 && d.n_head_kv == 32 && d.head_dim == 96 && d.n_vocab_rows == 32064 && d.fused);
    cr_assert(d.eps == 1e-5f && d.window == 0 && d.rope.kind == WEIR_ROPE_DEFAULT && d.rope.n_dim == 0);
    cr_assert(c.eos[0] == 32000 && c.pad_id == 32000 && d.n_ctx_train == 4096 && !d.tied);
    c = good(OLMO2(""));
    d = c.decoder;
    cr_assert(d.post_norms && d.no_pre_norms && d.qk_norm && d.qk_norm_whole && d.eps == 1e-5f && !d.tied);
    cr_assert(c.bos_id == -1 && c.eos[0] == 50279 && c.pad_id == 1 && !c.add_bos && d.residual_scale == 0);
    c = good(GRANITE(""));
    d = c.decoder;
    cr_assert(d.embed_scale == 1 && d.residual_scale == 1 && d.logit_scale == 1 && d.attention_scale == 1);
    cr_assert(d.eps == 1e-6f && c.bos_id == 1 && !c.add_bos);
    c = good(SMOLLM3(""));
    d = c.decoder;
    cr_assert(d.n_head_kv == 4 && d.tied && d.rope.theta == 2e6f && d.window == 0 && d.n_layer == 36);
    for (int i = 0; i < 40; i++) cr_assert_eq(d.no_rope[i], i < 36 && i % 4 == 3, "layer %d", i);
    cr_assert_str_eq(c.family, "smollm3 (silu, tied head)");
}

#define SMALL "\"hidden_size\":32,\"num_attention_heads\":2,\"max_position_embeddings\":512"
#define DIVISORS "\"short_factor\":[1,1.5,2,2,3,3],\"long_factor\":[1,2,4,8,16,32]"

Test(families, longrope_and_parts_of_heads) {
    weir_checkpoint c = good(PHI3("," SMALL ",\"partial_rotary_factor\":0.75,\"sliding_window\":262144,"
                                  "\"original_max_position_embeddings\":128,"
                                  "\"rope_scaling\":{\"type\":\"longrope\"," DIVISORS "}"));
    const weir_rope_config r = c.decoder.rope;
    cr_assert(r.kind == WEIR_ROPE_LONGROPE && r.n_dim == 12 && r.n_ctx_original == 128 && r.factor == 4.0f);
    cr_assert_float_eq(r.attention_factor, sqrt(1.0 + log(4.0) / log(128.0)), 1e-6);
    cr_assert(c.rope_divisors[0][1] == 1.5f && c.rope_divisors[1][5] == 32.0f);
    cr_assert(memcmp(&r, &c.decoder.rope_sliding, sizeof r) == 0 && c.decoder.window == 262144);
    c = good(PHI3("," SMALL ",\"rope_parameters\":{\"rope_type\":\"longrope\"," DIVISORS
                  ",\"partial_rotary_factor\":0.75,\"original_max_position_embeddings\":256,"
                  "\"attention_factor\":1.5,\"rope_theta\":2e4}"));
    cr_assert(c.decoder.rope.n_dim == 12 && c.decoder.rope.n_ctx_original == 256 &&
              c.decoder.rope.attention_factor == 1.5f && c.decoder.rope.theta == 2e4f);
    for (int i = 0; i < 2; i++) { /* names of the first files */
        c = good(i ? PHI3("," SMALL
                          ",\"partial_rotary_factor\":0.75,\"rope_scaling\":{\"type\":\"su\"," DIVISORS "}")
                   : PHI3("," SMALL
                          ",\"partial_rotary_factor\":0.75,\"rope_scaling\":{\"type\":\"yarn\"," DIVISORS
                          "}"));
        cr_assert(c.decoder.rope.kind == WEIR_ROPE_LONGROPE && c.decoder.rope.n_ctx_original == 4096);
    }
    static const struct {
        const char *fields, *part;
        weir_status want;
    } cases[] = {
        {"\"rope_scaling\":{\"type\":\"longrope\"}", "rope_scaling has no short_factor", WEIR_EFORMAT},
        {"\"rope_scaling\":{\"type\":\"longrope\"," DIVISORS "}",
         "short_factor = […]: expected a list of 8 numbers above 0", WEIR_EFORMAT},
        {"\"partial_rotary_factor\":0.25,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,0],"
         "\"long_factor\":[1,1]}",
         "short_factor = 0: expected a list of 2 numbers", WEIR_EFORMAT},
        {"\"partial_rotary_factor\":0.25,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1],"
         "\"long_factor\":[1,\"2\"]}",
         "long_factor = \"2\": expected a list", WEIR_EFORMAT},
        {"\"original_max_position_embeddings\":1", "original_max_position_embeddings = 1", WEIR_EFORMAT},
        {"\"partial_rotary_factor\":0.2", "3 of 16 elements of a head turn", WEIR_EFORMAT},
        {"\"partial_rotary_factor\":0", "partial_rotary_factor = 0", WEIR_EFORMAT},
        {"\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}",
         "rope_type = \"dynamic\": not supported, expected default, linear, llama3 or longrope",
         WEIR_ENOTSUP},
        {"\"resid_pdrop\":0.1,\"full_attn_mod\":2", "full_attn_mod = 2: not supported", WEIR_ENOTSUP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[512];
        snprintf(json, sizeof json, PHI3("," SMALL ",%s"), cases[i].fields);
        bad(json, cases[i].want, cases[i].part);
    }
    bad(LLAMA(",\"partial_rotary_factor\":0.5"), WEIR_ENOTSUP, "partial_rotary_factor = 0.5: not supported");
    c = good(LLAMA(",\"original_max_position_embeddings\":8"));
    cr_assert_str_eq(c.ignored, "config.json: original_max_position_embeddings");
}

Test(families, multipliers) {
    weir_checkpoint c = good(GRANITE(",\"embedding_multiplier\":12.0,\"attention_multiplier\":0.015625,"
                                     "\"residual_multiplier\":0.22,\"logits_scaling\":8.0,"
                                     "\"attention_bias\":false,\"mlp_bias\":false"));
    const weir_decoder_config d = c.decoder;
    cr_assert(d.embed_scale == 12 && d.attention_scale == 0.015625f && d.residual_scale == 0.22f &&
              d.logit_scale == 0.125f && c.ignored[0] == '\0');
    bad(GRANITE(",\"logits_scaling\":0"), WEIR_EFORMAT, "logits_scaling = 0: expected");
    bad(GRANITE(",\"residual_multiplier\":-1"), WEIR_EFORMAT, "residual_multiplier = -1");
    bad(GRANITE(",\"attention_bias\":true"), WEIR_ENOTSUP, "attention_bias = true: not supported");
    bad(GRANITE(",\"num_local_experts\":8"), WEIR_ENOTSUP, "num_local_experts = 8: not supported");
    bad(OLMO2(",\"attention_bias\":true"), WEIR_ENOTSUP, "attention_bias = true: not supported");
    bad(SMOLLM3(",\"residual_multiplier\":0.5"), WEIR_ENOTSUP, "residual_multiplier = 0.5: not supported");
}

Test(families, layers_without_positions) {
    weir_checkpoint c = good(SMOLLM3(",\"num_hidden_layers\":4,\"no_rope_layers\":[1,0,0,1],"
                                     "\"no_rope_layer_interval\":2,\"max_window_layers\":28"));
    cr_assert(!c.decoder.no_rope[0] && c.decoder.no_rope[1] && c.decoder.no_rope[2] && !c.decoder.no_rope[3]);
    c = good(SMOLLM3(",\"num_hidden_layers\":4,\"no_rope_layer_interval\":2,\"use_sliding_window\":true,"
                     "\"sliding_window\":9"));
    cr_assert(c.decoder.window == 9 && !c.decoder.sliding[0] && c.decoder.sliding[1] && c.decoder.sliding[3]);
    c = good(SMOLLM3(",\"sliding_window\":9")); /* not used */
    cr_assert(c.decoder.window == 0 && count_sliding(&c.decoder) == 0);
    bad(SMOLLM3(",\"num_hidden_layers\":2,\"no_rope_layers\":[1]"), WEIR_EFORMAT,
        "no_rope_layers = […]: expected a list of num_hidden_layers numbers");
    bad(SMOLLM3(",\"num_hidden_layers\":1,\"no_rope_layers\":[2]"), WEIR_EFORMAT,
        "no_rope_layers = 2: expected 0 or 1");
    bad(SMOLLM3(",\"num_hidden_layers\":1,\"no_rope_layers\":[null]"), WEIR_EFORMAT, "no_rope_layers = null");
    bad(SMOLLM3(",\"no_rope_layer_interval\":0"), WEIR_EFORMAT, "no_rope_layer_interval = 0");
    bad(LLAMA(",\"no_rope_layers\":[1,0]"), WEIR_ENOTSUP, "no_rope_layers = […]: not supported");
}

/* ---- T5Gemma ------------------------------------------------------------------------------------------- */

#define STACK "\"model_type\":\"t5_gemma_module\",\"vocab_size\":50,"

Test(families, two_stacks) {
    weir_checkpoint c = good(T5GEMMA("", "", ""));
    cr_assert(c.kind == WEIR_FAMILY_T5GEMMA && memcmp(&c.encoder, &c.decoder, sizeof c.encoder) == 0);
    cr_assert(c.decoder.dim == 2304 && c.decoder.window == 4096 && c.decoder.attention_softcap == 50);
    cr_assert(c.decoder.final_softcap == 30 && c.decoder.n_vocab_rows == 256000 && c.decoder.tied);
    for (int i = 0; i < 26; i++) cr_assert_eq(c.encoder.sliding[i], i % 2 == 0, "layer %d", i);
    cr_assert(c.start_id == 2 && c.bos_id == 2 && c.add_bos && c.eos[0] == 1 && c.pad_id == 0);
    cr_assert_str_eq(c.family, "t5gemma (gelu_pytorch_tanh, tied head)");
    c = good(T5GEMMA(STACK "\"hidden_size\":64,\"num_hidden_layers\":3,\"sliding_window\":7,"
                           "\"query_pre_attn_scalar\":4,\"dropout_rate\":0.1,\"is_decoder\":false",
                     STACK "\"hidden_size\":36,\"num_hidden_layers\":2,\"num_key_value_heads\":2,"
                           "\"cross_attention_hidden_size\":64,\"attn_logit_softcapping\":null,"
                           "\"layer_types\":[\"full_attention\",\"full_attention\"],"
                           "\"bos_token_id\":4,\"eos_token_id\":[5,6],\"is_decoder\":true,"
                           "\"tie_word_embeddings\":false",
                     ",\"vocab_size\":50,\"tie_word_embeddings\":false,\"is_encoder_decoder\":true,"
                     "\"eos_token_id\":7,\"classifier_dropout_rate\":0.0"));
    cr_assert(c.encoder.dim == 64 && c.encoder.n_layer == 3 && c.encoder.window == 7);
    cr_assert(c.encoder.attention_scale == 0.5f && c.encoder.embed_scale == 8 && c.decoder.embed_scale == 6);
    cr_assert(c.decoder.dim == 36 && c.decoder.n_head_kv == 2 && c.decoder.attention_softcap == 0);
    cr_assert(c.decoder.window == 0 && !c.decoder.tied && c.encoder.n_vocab_rows == 50);
    cr_assert(c.start_id == 4 && c.bos_id == 4 && c.n_eos == 1 && c.eos[0] == 7 && c.ignored[0] == '\0');
    cr_assert(good(T5GEMMA("", "\"tie_word_embeddings\":false", "")).decoder.tied);
    c = good(T5GEMMA("", "\"bos_token_id\":4", ",\"decoder_start_token_id\":9"));
    cr_assert(c.start_id == 9 && c.bos_id == 4);
    c = good(T5GEMMA("\"unsloth\":1", "", ",\"more\":2"));
    cr_assert_str_eq(c.ignored, "config.json: more; config.json: encoder: unsloth");
}

/* The start follows bos there too, unless it is said. */
Test(families, generation_config_of_two_stacks) {
    static const struct {
        const char *json;
        int32_t start, bos;
    } cases[] = {{"{\"bos_token_id\":3}", 3, 3},
                 {"{\"bos_token_id\":3,\"decoder_start_token_id\":5}", 5, 3},
                 {"{\"decoder_start_token_id\":5}", 5, 2},
                 {"{\"eos_token_id\":[1,107],\"repetition_penalty\":1.1}", 2, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_checkpoint c = good(T5GEMMA("", "", ""));
        weir_err err = {""};
        cr_assert_eq(weir__generation_config_parse(cases[i].json, strlen(cases[i].json), "g.json", &c, &err),
                     WEIR_OK, "%s", err.text);
        cr_assert(c.start_id == cases[i].start && c.bos_id == cases[i].bos, "%s", cases[i].json);
    }
}

Test(families, stacks_that_contradict_each_other) {
    bad("{\"model_type\":\"t5gemma\"}", WEIR_EFORMAT, "encoder: expected an object");
    bad("{\"model_type\":\"t5gemma\",\"encoder\":{},\"decoder\":[]}", WEIR_EFORMAT,
        "decoder: expected an object");
    bad(T5GEMMA("", "\"vocab_size\":7", ""), WEIR_ENOTSUP,
        "decoder: vocab_size = 7 contradicts 256000 outside");
    bad(T5GEMMA("\"model_type\":\"gemma2\"", "", ""), WEIR_ENOTSUP,
        "encoder: model_type = \"gemma2\": not supported, expected t5_gemma_module");
    bad(T5GEMMA("\"hidden_size\":64", "\"cross_attention_hidden_size\":32", ""), WEIR_EFORMAT,
        "cross_attention_hidden_size = 32 contradicts the encoder's hidden_size = 64");
    bad(T5GEMMA("", "", ",\"tie_word_embeddings\":false"), WEIR_ENOTSUP,
        "tie_word_embeddings = false contradicts the decoder's");
    bad(T5GEMMA("", "", ",\"is_encoder_decoder\":false"), WEIR_ENOTSUP,
        "is_encoder_decoder = false: not supported");
    bad(T5GEMMA("", "", ",\"architectures\":[\"T5GemmaForSequenceClassification\"]"), WEIR_ENOTSUP,
        "expected T5GemmaForConditionalGeneration");
    bad(T5GEMMA("", "\"attention_bias\":true", ""), WEIR_ENOTSUP,
        "decoder: attention_bias = true: not supported");
    bad(T5GEMMA("\"num_experts\":8", "", ""), WEIR_ENOTSUP, "encoder: num_experts = 8: not supported");
    bad(T5GEMMA("\"head_dim\":7", "", ""), WEIR_EFORMAT, "encoder: head_dim = 7, expected an even number");
    bad(T5GEMMA("", "", ",\"bos_token_id\":null"), WEIR_EFORMAT,
        "neither decoder_start_token_id nor bos_token_id is set");
    bad(T5GEMMA("", "", ",\"eos_token_id\":256000"), WEIR_EFORMAT, "eos_token_id = 256000");
    bad(GEMMA2(",\"cross_attention_hidden_size\":32"), WEIR_ENOTSUP,
        "cross_attention_hidden_size = 32: not supported");
}

Test(families, every_prefix_is_refused) {
    every_prefix(T5GEMMA("\"hidden_size\":64", "\"cross_attention_hidden_size\":64,\"num_hidden_layers\":1",
                         ",\"decoder_start_token_id\":9"));

    every_prefix(PHI3(
        "," SMALL ",\"partial_rotary_factor\":0.75,\"rope_scaling\":{\"type\":\"longrope\"," DIVISORS "}"));
    every_prefix(SMOLLM3(",\"num_hidden_layers\":2,\"no_rope_layers\":[1,0],\"layer_types\":"
                         "[\"full_attention\",\"full_attention\"]"));
    every_prefix(
        GRANITE(",\"embedding_multiplier\":12.0,\"logits_scaling\":8.0,\"residual_multiplier\":0.22"));
}
