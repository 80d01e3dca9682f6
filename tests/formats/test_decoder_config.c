#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/config/config.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/formats/config_text.h"
#include "tests/support/files.h"

/* ---- families ------------------------------------------------------------------------------------------ */

Test(decoder_config, defaults_are_those_of_transformers) {
    weir_checkpoint c = good(LLAMA(""));
    weir_decoder_config d = c.decoder;
    cr_assert(d.dim == 4096 && d.ff_dim == 11008 && d.n_layer == 32 && d.n_head == 32 && d.n_head_kv == 32);
    cr_assert(d.head_dim == 128 && d.n_vocab_rows == 32000 && d.n_ctx_train == 2048 && d.eps == 1e-6f &&
              !d.tied);
    cr_assert(d.act == WEIR_ACT_SILU && !d.norm_one_plus && !d.post_norms && !d.qk_norm && !d.qkv_bias);
    cr_assert(d.rope.kind == WEIR_ROPE_DEFAULT && d.rope.theta == 1e4f && d.rope.factor == 1.0f &&
              !d.rope.interleaved);
    cr_assert(d.embed_scale == 1.0f && d.window == 0 && count_sliding(&d) == 0);
    cr_assert_float_eq(d.attention_scale, 1.0 / sqrt(128.0), 1e-8);
    cr_assert(c.bos_id == 1 && c.n_eos == 1 && c.eos[0] == 2 && c.pad_id == -1 && c.start_id == -1 &&
              c.add_bos);
    cr_assert_str_eq(c.family, "llama (silu, untied head)");

    c = good(QWEN2(""));
    d = c.decoder;
    cr_assert(d.n_vocab_rows == 151936 && d.ff_dim == 22016 && d.n_head_kv == 32 && d.qkv_bias && !d.qk_norm);
    cr_assert(d.n_ctx_train == 32768 && c.bos_id == -1 && c.n_eos == 0 && c.pad_id == -1 && !c.add_bos &&
              d.window == 0);

    c = good(QWEN3(""));
    d = c.decoder;
    cr_assert(d.head_dim == 128 && d.qk_norm && !d.qkv_bias && d.window == 0);

    c = good(GEMMA2(""));
    d = c.decoder;
    cr_assert(d.dim == 2304 && d.ff_dim == 9216 && d.n_layer == 26 && d.n_head == 8 && d.n_head_kv == 4);
    cr_assert(d.head_dim == 256 && d.n_vocab_rows == 256000 && d.tied && d.norm_one_plus && d.post_norms &&
              !d.qk_norm);
    cr_assert(d.act == WEIR_ACT_GELU_TANH && d.attention_softcap == 50.0f && d.final_softcap == 30.0f);
    cr_assert(d.window == 4096 && count_sliding(&d) == 13 && d.sliding[0] && !d.sliding[1]);
    cr_assert(d.embed_scale == 48.0f && d.attention_scale == 0.0625f && d.rope_sliding.theta == 1e4f);
    cr_assert(c.bos_id == 2 && c.eos[0] == 1 && c.pad_id == 0 && c.add_bos);
    cr_assert_str_eq(c.family, "gemma2 (gelu_pytorch_tanh, tied head)");

    c = good(GEMMA3(""));
    d = c.decoder;
    cr_assert(d.n_vocab_rows == 262208 && d.qk_norm && d.attention_softcap == 0.0f &&
              d.final_softcap == 0.0f);
    cr_assert(d.n_ctx_train == 131072 && d.rope.theta == 1e6f && d.rope_sliding.theta == 1e4f);
    cr_assert(count_sliding(&d) == 22 && d.sliding[4] && !d.sliding[5] && d.sliding[25]);
}

/* Mistral is Qwen2 with every layer sliding and without biases: what transformers computes for those is in
 * the golden files. */
Test(decoder_config, mistral_is_made_of_what_is_proven) {
    static const char sizes[] =
        "\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":3,\"num_attention_heads\":4,"
        "\"num_key_value_heads\":2,\"head_dim\":10,\"vocab_size\":67,\"max_position_embeddings\":512,"
        "\"rms_norm_eps\":1e-5,\"rope_theta\":1e6";
    char json[3][512];
    snprintf(json[0], sizeof json[0], MISTRAL(",\"sliding_window\":16,%s"), sizes);
    snprintf(json[1], sizeof json[1],
             QWEN2(",\"use_sliding_window\":true,\"sliding_window\":16,\"max_window_layers\":0,%s"), sizes);
    weir_checkpoint m = good(json[0]), q = good(json[1]);
    q.decoder.qkv_bias = false;
    cr_assert(memcmp(&m.decoder, &q.decoder, sizeof m.decoder) == 0);
    cr_assert_eq(count_sliding(&m.decoder), 3);
    snprintf(json[0], sizeof json[0], MISTRAL(",\"sliding_window\":null,%s"),
             sizes); /* 7B v0.2 and later: a Llama */
    snprintf(json[2], sizeof json[2], LLAMA(",%s"), sizes);
    weir_checkpoint l = good(json[2]);
    m = good(json[0]);
    cr_assert(memcmp(&m.decoder, &l.decoder, sizeof m.decoder) == 0);
    cr_assert(m.bos_id == 1 && m.n_eos == 1 && m.eos[0] == 2 && m.add_bos);
    cr_assert_str_eq(m.family, "mistral (silu, untied head)");
}

/* What the published checkpoints say. */
Test(decoder_config, published_files) {
    weir_checkpoint c = good(QWEN2(
        ",\"architectures\":[\"Qwen2ForCausalLM\"],\"attention_dropout\":0.0,\"bos_token_id\":151643,"
        "\"eos_token_id\":151645,"
        "\"hidden_act\":\"silu\",\"hidden_size\":896,\"initializer_range\":0.02,\"intermediate_size\":4864,"
        "\"max_position_embeddings\":32768,\"max_window_layers\":21,\"num_attention_heads\":14,"
        "\"num_hidden_layers\":24,"
        "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"sliding_window\":32768,"
        "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.43.1\","
        "\"use_cache\":true,"
        "\"use_sliding_window\":false,\"vocab_size\":151936"));
    cr_assert(c.decoder.head_dim == 64 && c.decoder.n_head_kv == 2 && c.decoder.window == 0 &&
              c.decoder.tied);
    cr_assert(c.decoder.rope.theta == 1e6f && c.eos[0] == 151645 && c.bos_id == 151643 && !c.add_bos);

    c = good(LLAMA(
        ",\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
        "\"bos_token_id\":128000,"
        "\"eos_token_id\":[128001,128008,128009],\"head_dim\":64,\"hidden_act\":\"silu\","
        "\"hidden_size\":2048,"
        "\"initializer_range\":0.02,\"intermediate_size\":8192,\"max_position_embeddings\":131072,"
        "\"mlp_bias\":false,"
        "\"num_attention_heads\":32,\"num_hidden_layers\":16,\"num_key_value_heads\":8,\"pretraining_tp\":1,"
        "\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,"
        "\"low_freq_factor\":1.0,"
        "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0,"
        "\"tie_word_embeddings\":true,\"vocab_size\":128256"));
    const weir_rope_config *r = &c.decoder.rope;
    cr_assert(r->kind == WEIR_ROPE_LLAMA3 && r->factor == 32.0f && r->high_freq == 4.0f &&
              r->low_freq == 1.0f);
    cr_assert(r->n_ctx_original == 8192 && r->theta == 5e5f && c.n_eos == 3 && c.eos[2] == 128009);
    cr_assert(memcmp(r, &c.decoder.rope_sliding, sizeof *r) == 0 && c.decoder.eps == 1e-5f);

    c = good(GEMMA3(
        ",\"_sliding_window_pattern\":6,\"architectures\":[\"Gemma3ForCausalLM\"],\"attention_bias\":false,"
        "\"attn_logit_softcapping\":null,\"final_logit_softcapping\":null,\"head_dim\":256,"
        "\"hidden_activation\":\"gelu_pytorch_tanh\",\"hidden_size\":640,\"intermediate_size\":2048,"
        "\"layer_types\":["
        "\"sliding_attention\",\"sliding_attention\",\"full_attention\"],\"num_hidden_layers\":3,"
        "\"num_attention_heads\":4,"
        "\"num_key_value_heads\":1,\"query_pre_attn_scalar\":256,\"rope_local_base_freq\":10000.0,"
        "\"rope_scaling\":null,"
        "\"rope_theta\":1000000.0,\"sliding_window\":512,\"use_bidirectional_attention\":false,"
        "\"vocab_size\":262144,"
        "\"cache_implementation\":\"hybrid\",\"bos_token_id\":2,\"eos_token_id\":1,\"pad_token_id\":0"));
    cr_assert(c.decoder.window == 512 && c.decoder.sliding[1] && !c.decoder.sliding[2] &&
              c.decoder.n_head_kv == 1);

    c = good("{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
             "\"boi_token_index\":255999,"
             "\"eoi_token_index\":256000,\"eos_token_id\":[1,106],\"image_token_index\":262144,"
             "\"initializer_range\":0.02,"
             "\"mm_tokens_per_image\":256,\"text_config\":{\"hidden_size\":2560,\"intermediate_size\":10240,"
             "\"model_type\":\"gemma3_text\",\"num_hidden_layers\":34,\"rope_scaling\":{\"factor\":8.0,"
             "\"rope_type\":"
             "\"linear\"},\"sliding_window\":1024},\"torch_dtype\":\"bfloat16\","
             "\"transformers_version\":\"4.50.0.dev0\","
             "\"vision_config\":{\"hidden_size\":1152,\"model_type\":\"siglip_vision_model\"}}");
    cr_assert(c.decoder.dim == 2560 && c.decoder.n_layer == 34 && c.decoder.window == 1024 && c.n_eos == 2);
    cr_assert(c.decoder.rope.kind == WEIR_ROPE_LINEAR && c.decoder.rope.factor == 8.0f && c.eos[1] == 106);
    cr_assert(c.decoder.rope_sliding.kind == WEIR_ROPE_DEFAULT && c.decoder.rope_sliding.theta == 1e4f);
    cr_assert_str_eq(c.family, "gemma3_text (gelu_pytorch_tanh, tied head)");

    c = good(LLAMA(
        ",\"is_llama_config\":true,\"rope_interleaved\":false,\"transformers.js_config\":{\"dtype\":\"q4\"},"
        "\"hidden_size\":576,\"num_attention_heads\":9,\"num_key_value_heads\":3,\"pad_token_id\":-1"));
    cr_assert(c.decoder.head_dim == 64 && c.pad_id == -1);
}

/* ---- layers, rotary embeddings, scales ----------------------------------------------------------------- */

Test(decoder_config, windows) {
    weir_checkpoint c =
        good(QWEN2(",\"use_sliding_window\":true,\"sliding_window\":16,\"max_window_layers\":2,"
                   "\"num_hidden_layers\":5"));
    cr_assert(c.decoder.window == 16 && count_sliding(&c.decoder) == 3 && !c.decoder.sliding[1] &&
              c.decoder.sliding[2]);
    c = good(QWEN3(",\"use_sliding_window\":true,\"sliding_window\":null"));
    cr_assert(c.decoder.window == 0 && count_sliding(&c.decoder) == 0);
    c = good(GEMMA3(",\"sliding_window_pattern\":3,\"num_hidden_layers\":7"));
    cr_assert(count_sliding(&c.decoder) == 5 && !c.decoder.sliding[2] && !c.decoder.sliding[5] &&
              c.decoder.sliding[6]);
    c = good(GEMMA3(",\"sliding_window_pattern\":1")); /* every layer is global */
    cr_assert(c.decoder.window == 0);
    bad(GEMMA2(",\"sliding_window\":null"), WEIR_EFORMAT, "layers slide, but there is no sliding_window");
    bad(GEMMA2(",\"sliding_window\":0"), WEIR_EFORMAT, "sliding_window = 0");
    bad(QWEN2(",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]"), WEIR_EFORMAT,
        "layers slide");
    bad(GEMMA2(",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\"]"), WEIR_EFORMAT,
        "num_hidden_layers names");
    bad(GEMMA2(",\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]"), WEIR_ENOTSUP,
        "chunked_attention");
    bad(GEMMA2(",\"num_hidden_layers\":1,\"layer_types\":[7]"), WEIR_ENOTSUP, "layer_types = 7");
    bad(GEMMA2(",\"layer_types\":{}"), WEIR_EFORMAT, "layer_types");
    c = good(MISTRAL(""));
    cr_assert(c.decoder.window == 4096 && count_sliding(&c.decoder) == 32);
    c = good(MISTRAL(",\"sliding_window\":null,\"max_window_layers\":2"));
    cr_assert(c.decoder.window == 0 && count_sliding(&c.decoder) == 0);
    bad(MISTRAL(",\"layer_types\":[\"full_attention\"]"), WEIR_ENOTSUP, "layer_types");
    bad(LLAMA(",\"sliding_window\":4096"), WEIR_ENOTSUP, "sliding_window = 4096: not supported");
    bad(LLAMA(",\"layer_types\":[]"), WEIR_ENOTSUP, "layer_types");
    bad(GEMMA2(",\"use_sliding_window\":true"), WEIR_ENOTSUP, "use_sliding_window");
    good(GEMMA2(",\"use_sliding_window\":false"));
}

Test(decoder_config, ropes) {
    weir_checkpoint c = good(QWEN2(",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,"
                                   "\"original_max_position_embeddings\":32768}"));
    weir_rope_config r = c.decoder.rope;
    cr_assert(r.kind == WEIR_ROPE_YARN && r.factor == 4.0f && r.beta_fast == 32.0f && r.beta_slow == 1.0f);
    cr_assert(r.n_ctx_original == 32768);
    cr_assert_float_eq(r.attention_factor, 0.1 * log(4.0) + 1.0, 1e-6);
    c = good(QWEN2(",\"max_position_embeddings\":77,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,"
                   "\"beta_fast\":16,"
                   "\"beta_slow\":2,\"attention_factor\":1.5,\"truncate\":true}"));
    r = c.decoder.rope;
    cr_assert(r.n_ctx_original == 77 && r.beta_fast == 16.0f && r.beta_slow == 2.0f &&
              r.attention_factor == 1.5f);
    c = good(QWEN2(
        ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":40,\"mscale\":0.707,\"mscale_all_dim\":1.0}"));
    cr_assert_float_eq(c.decoder.rope.attention_factor, (0.0707 * log(40.0) + 1.0) / (0.1 * log(40.0) + 1.0),
                       1e-6);
    c = good(LLAMA(",\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\",\"factor\":2.5}"));
    cr_assert(c.decoder.rope.kind == WEIR_ROPE_LINEAR && c.decoder.rope.factor == 2.5f);
    c = good(LLAMA(",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":25000.0}"));
    cr_assert(c.decoder.rope.kind == WEIR_ROPE_DEFAULT && c.decoder.rope.theta == 25000.0f);
    c = good(GEMMA3(",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8.0,"
                    "\"rope_theta\":2e6},"
                    "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":2e4}}"));
    cr_assert(c.decoder.rope.theta == 2e6f && c.decoder.rope.factor == 8.0f &&
              c.decoder.rope_sliding.theta == 2e4f);

    static const struct {
        const char *rope, *part;
        weir_status want;
    } cases[] = {
        {"7", "rope_scaling = 7: expected an object", WEIR_EFORMAT},
        {"{}", "no rope_type", WEIR_EFORMAT},
        {"{\"rope_type\":\"dynamic\",\"factor\":2}", "rope_type = \"dynamic\": not supported", WEIR_ENOTSUP},
        {"{\"rope_type\":\"longrope\"}", "longrope", WEIR_ENOTSUP},
        {"{\"type\":\"mrope\",\"mrope_section\":[1]}", "mrope", WEIR_ENOTSUP},
        {"{\"rope_type\":\"linear\"}", "no factor", WEIR_EFORMAT},
        {"{\"rope_type\":\"linear\",\"factor\":0.5}", "factor = 0.5: expected 1 to", WEIR_EFORMAT},
        {"{\"rope_type\":\"linear\",\"factor\":\"2\"}", "expected a number", WEIR_EFORMAT},
        {"{\"rope_type\":\"default\",\"mrope_section\":[8,12]}", "mrope_section = […]: not supported",
         WEIR_ENOTSUP},
        {"{\"rope_type\":\"linear\",\"factor\":2,\"alpha\":3}", "alpha = 3", WEIR_ENOTSUP},
        {"{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}",
         "no original_max_position_embeddings", WEIR_EFORMAT},
        {"{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8}",
         "expected more than low_freq_factor", WEIR_EFORMAT},
        {"{\"rope_type\":\"yarn\",\"factor\":8,\"truncate\":1}", "truncate = 1: expected true or false",
         WEIR_EFORMAT},
        {"{\"rope_type\":3}", "rope_type = 3", WEIR_EFORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[400];
        snprintf(json, sizeof json, LLAMA(",\"rope_scaling\":%s"), cases[i].rope);
        bad(json, cases[i].want, cases[i].part);
    }
    bad(LLAMA(",\"rope_scaling\":{\"rope_type\":\"default\"},\"rope_parameters\":{\"rope_type\":\"linear\","
              "\"factor\":2}"),
        WEIR_EFORMAT, "contradicts rope_scaling");
    good(LLAMA(
        ",\"rope_scaling\":{\"rope_type\":\"default\"},\"rope_parameters\":{\"rope_type\":\"default\"}"));
    c = good(LLAMA(",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":16,\"finetuned\":true,\"attn_factor\":1,"
                   "\"original_max_position_embeddings\":4096,\"low_freq_factor\":null}"));
    cr_assert_str_eq(c.ignored, "config.json: finetuned");
    bad(LLAMA(",\"rope_theta\":0"), WEIR_EFORMAT, "rope_theta = 0");
    bad(LLAMA(",\"rope_theta\":\"1e4\""), WEIR_EFORMAT, "rope_theta");
    bad(LLAMA(",\"rope_local_base_freq\":1e4"), WEIR_ENOTSUP, "rope_local_base_freq");
    bad(GEMMA3(",\"rope_parameters\":{\"full_attention\":null,\"alien\":{}}"), WEIR_ENOTSUP,
        "rope_parameters");
}

Test(decoder_config, scales_and_caps) {
    weir_checkpoint c = good(GEMMA2(",\"query_pre_attn_scalar\":144,\"final_logit_softcapping\":null,"
                                    "\"attn_logit_softcapping\":20.5,\"hidden_size\":9"));
    cr_assert(c.decoder.attention_scale == 1.0f / 12.0f && c.decoder.final_softcap == 0.0f);
    cr_assert(c.decoder.attention_softcap == 20.5f && c.decoder.embed_scale == 3.0f);
    c = good(GEMMA3(",\"final_logit_softcapping\":12"));
    cr_assert_eq(c.decoder.final_softcap, 12.0f);
    /* transformers drops it */
    bad(GEMMA3(",\"attn_logit_softcapping\":50"), WEIR_ENOTSUP, "attn_logit_softcapping");
    bad(GEMMA2(",\"final_logit_softcapping\":0"), WEIR_EFORMAT, "final_logit_softcapping = 0");
    bad(GEMMA2(",\"query_pre_attn_scalar\":-1"), WEIR_EFORMAT, "query_pre_attn_scalar");
    bad(LLAMA(",\"final_logit_softcapping\":30"), WEIR_ENOTSUP,
        "final_logit_softcapping = 30: not supported");
    c = good(QWEN2(",\"hidden_act\":\"gelu_new\""));
    cr_assert_eq(c.decoder.act, WEIR_ACT_GELU_TANH);
    bad(QWEN2(",\"hidden_act\":\"relu\""), WEIR_ENOTSUP, "activation \"relu\"");
    bad(GEMMA2(",\"hidden_activation\":\"quick_gelu\""), WEIR_ENOTSUP, "activation \"quick_gelu\"");
    good(GEMMA2(",\"hidden_act\":\"whatever\"")); /* hidden_activation counts */
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

Test(decoder_config, sizes_out_of_range) {
    static const char *const keys[] = {
        "vocab_size",          "hidden_size",         "intermediate_size",      "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "max_position_embeddings"};
    static const char *const values[] = {"0", "-1", "2147483648", "1.5", "\"6\"", "true", "[6]"};
    char json[160];
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            snprintf(json, sizeof json, LLAMA(",\"%s\":%s"), keys[k], values[v]);
            bad(json, WEIR_EFORMAT, keys[k]);
        }
    }
    bad(LLAMA(",\"num_hidden_layers\":257"), WEIR_EFORMAT, "expected 1 to 256");
    bad(LLAMA(",\"head_dim\":65"), WEIR_EFORMAT, "expected an even number");
    bad(LLAMA(",\"hidden_size\":16"), WEIR_EFORMAT, "head_dim = 0");
    bad(LLAMA(",\"num_key_value_heads\":5"), WEIR_EFORMAT, "a multiple of num_key_value_heads = 5");
    bad(LLAMA(",\"num_attention_heads\":4096,\"head_dim\":4096"), WEIR_EFORMAT,
        "num_attention_heads x head_dim");
    bad(LLAMA(",\"rms_norm_eps\":0"), WEIR_EFORMAT, "rms_norm_eps");
    bad(LLAMA(",\"tie_word_embeddings\":1"), WEIR_EFORMAT, "tie_word_embeddings");
    good(LLAMA(",\"num_key_value_heads\":null,\"head_dim\":null"));
    bad(LLAMA(",\"bos_token_id\":32000"), WEIR_EFORMAT, "bos_token_id = 32000");
    bad(LLAMA(",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]"), WEIR_ENOTSUP, "at most 8 ids");
    static const char *const pads[] = {"-1", "-2", "32000", "[7]", "\"x\"", "1e30"}; /* nothing uses it */
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++) {
        snprintf(json, sizeof json, LLAMA(",\"pad_token_id\":%s"), pads[i]);
        cr_assert_eq(good(json).pad_id, -1, "%s", json);
    }
    cr_assert(good(LLAMA(",\"pad_token_id\":7")).pad_id == 7 &&
              good(LLAMA(",\"eos_token_id\":-1")).n_eos == 0);
    bad(LLAMA(",\"eos_token_id\":-2"), WEIR_EFORMAT, "eos_token_id");
    weir_checkpoint c = good(LLAMA(",\"vocab_size\":2")); /* a default id that the vocabulary lacks is none */
    cr_assert(c.bos_id == 1 && c.n_eos == 0);
}

Test(decoder_config, what_changes_the_result_is_refused_by_name) {
    static const struct {
        const char *json, *part;
    } cases[] = {
        {LLAMA(",\"attention_bias\":true"), "attention_bias = true: not supported"},
        {QWEN3(",\"attention_bias\":true"), "attention_bias"},
        {LLAMA(",\"mlp_bias\":true"), "mlp_bias"},
        {LLAMA(",\"partial_rotary_factor\":0.5"), "partial_rotary_factor"},
        {QWEN2(",\"use_mrope\":true"), "use_mrope"},
        {LLAMA(",\"rope_interleaved\":true"), "rope_interleaved"},
        {GEMMA3(",\"use_bidirectional_attention\":true"), "use_bidirectional_attention"},
        {LLAMA(",\"quantization_config\":{\"bits\":4}"), "quantization_config"},
        {LLAMA(",\"num_beams\":4"), "num_beams"},
        {LLAMA(",\"architectures\":[\"LlamaForSequenceClassification\"]"), "expected LlamaForCausalLM"},
        {"{\"model_type\":\"gpt_neox\"}",
         "model_type = \"gpt_neox\": not supported, expected t5, mt5, umt5, llama, mistral"},
        {"{\"model_type\":\"deepseek_v3\"}", "deepseek_v3"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"llama\"}}",
         "text_config's model_type"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{},\"num_experts\":8}", "num_experts"},
        {LLAMA(",\"norm_eps\":1e-5"), "norm_eps = 1e-05: contradicts rms_norm_eps = 1e-06"},
        {LLAMA(",\"rotary_emb_base\":1e6,\"rope_theta\":5e5"),
         "rotary_emb_base = 1e+06: contradicts rope_theta = 500000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bad(cases[i].json, WEIR_ENOTSUP, cases[i].part);
    bad("{\"model_type\":\"gemma3\"}", WEIR_EFORMAT, "text_config: expected an object");
    bad("{\"model_type\":7}", WEIR_EFORMAT, "model_type = 7: expected a string");
    good(QWEN2(",\"attention_bias\":true")); /* no key of Qwen2's: it has its own biases */
    good(LLAMA(",\"architectures\":[\"LlamaForCausalLM\"],\"mlp_bias\":false,\"is_decoder\":true,\"_x\":{}"));
}

/* ---- files beside it ----------------------------------------------------------------------------------- */

Test(decoder_config, generation_and_tokenizer_files) {
    weir_checkpoint c = good(QWEN2(",\"bos_token_id\":151643,\"eos_token_id\":151643"));
    weir_err err = {""};
    const char *json = "{\"bos_token_id\":151644,\"eos_token_id\":[151645,151643],\"pad_token_id\":151643,"
                       "\"do_sample\":true,"
                       "\"repetition_penalty\":1.1,\"temperature\":0.7,\"top_p\":0.8,\"top_k\":20}";
    cr_assert_eq(weir__generation_config_parse(json, strlen(json), "g", &c, &err), WEIR_OK, "%s", err.text);
    cr_assert(c.n_eos == 2 && c.eos[1] == 151643 && c.bos_id == 151644 && c.pad_id == 151643 &&
              c.start_id == -1);
    static const struct {
        const char *json;
        bool before, want;
    } cases[] = {
        {"{}", true, true},
        {"{}", false, false},
        {"{\"add_bos_token\":false}", true, false},
        {"{\"add_bos_token\":true,\"tokenizer_class\":\"Qwen2Tokenizer\"}", false, true},
        {"{\"add_bos_token\":null,\"tokenizer_class\":\"Qwen2TokenizerFast\"}", true, false},
        {"{\"tokenizer_class\":\"LlamaTokenizer\"}", false, true},
        {"{\"tokenizer_class\":\"GemmaTokenizerFast\"}", false, true},
        {"{\"tokenizer_class\":\"GPT2Tokenizer\"}", true, false},
        {"{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"whatever\":[1]}", true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        c.add_bos = cases[i].before;
        cr_assert_eq(weir__tokenizer_config_parse(cases[i].json, strlen(cases[i].json), "t", &c, &err),
                     WEIR_OK);
        cr_assert_eq(c.add_bos, cases[i].want, "%s", cases[i].json);
    }
    cr_assert_null(c.chat_template);
    json = "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"a\"},{\"name\":\"default\","
           "\"template\":\"b\"}]}";
    cr_assert_eq(weir__tokenizer_config_parse(json, strlen(json), "t", &c, &err), WEIR_OK);
    cr_assert_str_eq(c.chat_template, "b");
    json = "{\"chat_template\":\"{{ bos_token }}\",\"tokenizer_class\":\"LlamaTokenizer\"}";
    cr_assert_eq(weir__tokenizer_config_parse(json, strlen(json), "t", &c, &err), WEIR_OK);
    cr_assert_str_eq(c.chat_template, "{{ bos_token }}");
    json = "{\"add_bos_token\":1}";
    cr_assert_eq(weir__tokenizer_config_parse(json, strlen(json), "t", &c, &err), WEIR_EFORMAT);
    weir_free(c.chat_template);
    for (int i = 0; i < WEIR_SPECIAL_N; i++) weir_free(c.special[i]);
}

static const char WHOLE[] = GEMMA3(
    ",\"architectures\":[\"Gemma3ForCausalLM\"],\"layer_types\":[\"sliding_attention\",\"full_attention\"],"
    "\"num_hidden_layers\":2,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8},\"eos_token_id\":[1,"
    "106]");

Test(decoder_config, every_prefix_is_refused) { every_prefix(WHOLE); }

static void put_text(const char *dir, const char *name, const char *text) {
    files_write(dir, name, text, strlen(text));
}

static void put_tensors(const char *dir, const char *header, size_t n_data) {
    const size_t n = strlen(header);
    uint8_t *b = calloc(8 + n + n_data, 1);
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(b + 8, header, n);
    files_write(dir, "model.safetensors", b, 8 + n + n_data);
    free(b);
}

#define TENSOR(name, dtype, shape, at, end) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #at "," #end "]}"

static char *write_dir(const char *stem, const char *config) {
    char *dir = files_temp_dir(), header[1024];
    snprintf(header, sizeof header,
             "{" TENSOR("%sembed_tokens.weight", "F32", "[2,2]", 0, 16) "," TENSOR(
                 "%slayers.0.self_attn.o_proj.weight", "BF16", "[2,2]", 16,
                 24) "," TENSOR("vision_tower.patch.weight", "F32", "[1,1,1,1]", 24, 28) "}",
             stem, stem);
    put_text(dir, "config.json", config);
    put_tensors(dir, header, 28);
    return dir;
}

Test(decoder_config, tensors_under_three_stems) {
    static const char *const stems[] = {"model.", "language_model.model.", "model.language_model."};
    for (size_t i = 0; i < 3; i++) {
        char *dir = write_dir(stems[i], WHOLE);
        put_text(dir, "tokenizer.json", "{}");
        put_text(dir, "tokenizer.model", "x");
        put_text(dir, "chat_template.jinja", "abc");
        put_text(dir, "tokenizer_config.json", "{\"chat_template\":\"loses\"}");
        weir_checkpoint c;
        weir_err err = {""};
        weir_tensor t;
        cr_assert_eq(weir__checkpoint_open(&c, dir, false, &err), WEIR_OK, "%s", err.text);
        weir_tensor_source src = weir__checkpoint_source(&c);
        cr_assert(src.find(src.ud, "model.embed_tokens.weight", &t) && t.dtype == WEIR_DTYPE_F32 &&
                  t.rows == 2);
        cr_assert(src.find(src.ud, "model.layers.0.self_attn.o_proj.weight", &t));
        cr_assert_not(src.find(src.ud, "model.norm.weight", &t));
        cr_assert_not(src.find(src.ud, "lm_head.weight", &t));
        src.release(src.ud, "model.embed_tokens.weight");
        src.release(src.ud, "lm_head.weight");
        cr_assert(c.dtype == WEIR_DTYPE_BF16 && c.tokenizer == WEIR_TOKENIZER_JSON && c.add_bos);
        cr_assert_str_eq(c.chat_template, "abc");
        weir__checkpoint_close(&c);
        files_remove_dir(dir);
    }
    char *dir = write_dir("transformer.", WHOLE);
    weir_checkpoint c;
    weir_err err = {""};
    cr_assert_eq(weir__checkpoint_open(&c, dir, false, &err), WEIR_EFORMAT);
    cr_assert(err_is_line(&err, "no tensor model.embed_tokens.weight"), "%s", err.text);
    files_remove_dir(dir);
}

Test(decoder_config, every_failing_allocation_is_reported_and_nothing_leaks) {
    char *dir = write_dir("model.", WHOLE);
    put_text(dir, "generation_config.json", "{\"eos_token_id\":[1]}");
    put_text(dir, "tokenizer_config.json", "{\"chat_template\":\"a\",\"add_bos_token\":true}");
    put_text(dir, "chat_template.jinja", "abc");
    put_text(dir, "tokenizer.model", "x");
    for (long fail = 1;; fail++) {
        weir_checkpoint c;
        weir_err err = {""};
        alloc_install(fail);
        const weir_status s = weir__checkpoint_open(&c, dir, false, &err);
        const long asked = alloc_count();
        if (s == WEIR_OK) weir__checkpoint_close(&c);
        const long live = alloc_live();
        alloc_uninstall();
        cr_assert_eq(live, 0, "allocation %ld: %ld left", fail, live);
        if (s == WEIR_OK) {
            cr_assert(asked < fail && fail > 10);
            break;
        }
        cr_assert_eq(s, WEIR_ENOMEM, "allocation %ld: %s", fail, err.text);
        cr_assert(err_is_line(&err, "no memory"), "%s", err.text);
    }
    files_remove_dir(dir);
}

#define FIRST(name) "{\"SpecialToken\":{\"id\":\"" name "\",\"type_id\":0}},"
#define TEMPLATE(first)                                                                                      \
    "{\"type\":\"TemplateProcessing\",\"single\":[" first "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"    \
    "\"special_tokens\":{\"<b>\":{\"id\":\"<b>\",\"ids\":[7],\"tokens\":[\"<b>\"]},\"<c>\":{\"id\":\"<c>\"," \
    "\"ids\":[8]},"                                                                                          \
    "\"<d>\":{\"id\":\"<d>\",\"ids\":[7,8]}}}"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"trim_offsets\":false}"

/* transformers' PreTrainedTokenizerFast does what tokenizer.json says; a config that says add_bos_token is
 * believed. */
Test(decoder_config, a_fast_tokenizer_begins_as_its_post_processor_says) {
    static const char *const fast = "{\"tokenizer_class\":\"PreTrainedTokenizerFast\"}";
    static const struct {
        const char *post_processor;
        bool want;
    } cases[] = {
        {TEMPLATE(FIRST("<b>")), true},
        {TEMPLATE(""), false},
        {TEMPLATE(FIRST("<c>")), false},
        {TEMPLATE(FIRST("<d>")), false},
        {TEMPLATE(FIRST("<e>")), false},
        {"null", false},
        {BYTE_LEVEL, false},
        {"[]", false},
        {"{\"type\":\"Sequence\",\"processors\":[" BYTE_LEVEL "," TEMPLATE(FIRST("<b>")) "]}", true},
        {"{\"type\":\"Sequence\",\"processors\":[" BYTE_LEVEL "]}", false},
        {"{\"type\":\"TemplateProcessing\",\"single\":\"<b> $A\"}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int before = 0; before < 2; before++) {
            char json[1024];
            snprintf(json, sizeof json, "{\"post_processor\":%s}", cases[i].post_processor);
            weir_checkpoint c = {.kind = WEIR_FAMILY_DECODER, .bos_id = 7, .add_bos = before};
            cr_assert_eq(weir__tokenizer_config_parse(fast, strlen(fast), "t", &c, NULL), WEIR_OK);
            cr_assert(c.asks_post_processor);
            cr_assert_eq(weir__post_processor_parse(json, strlen(json), "t", &c, NULL), WEIR_OK);
            cr_expect_eq(c.add_bos, cases[i].want, "%s", json);
        }
    }
    static const char *const told =
        "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"add_bos_token\":false}";
    char *dir = write_dir("model.", WHOLE);
    put_text(dir, "tokenizer.json", "{\"post_processor\":" TEMPLATE(FIRST("<b>")) "}");
    put_text(dir, "generation_config.json", "{\"bos_token_id\":7}");
    for (int i = 0; i < 3; i++) {
        weir_checkpoint c;
        weir_err err = {""};
        put_text(dir, "tokenizer_config.json", i == 1 ? told : fast);
        if (i == 2) put_text(dir, "tokenizer.json", "{}");
        cr_assert_eq(weir__checkpoint_open(&c, dir, false, &err), WEIR_OK, "%s", err.text);
        cr_expect_eq(c.add_bos, i == 0, "%d", i);
        weir__checkpoint_close(&c);
    }
    put_text(dir, "tokenizer.json", "{");
    weir_checkpoint c;
    weir_err err = {""};
    cr_assert_eq(weir__checkpoint_open(&c, dir, false, &err), WEIR_EFORMAT);
    cr_expect(err_is_line(&err, "tokenizer.json"), "%s", err.text);
    files_remove_dir(dir);
}
