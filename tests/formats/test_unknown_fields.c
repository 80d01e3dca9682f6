#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/checkpoint.h"
#include "host/formats/config/config.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"

/* What becomes of fields and tensors that a family does not have: harmless, noted, or refused by name. */

static weir_status parse(const char *json, bool strict, weir_checkpoint *c, weir_err *err) {
    *c = (weir_checkpoint){.strict = strict};
    err->text[0] = '\0';
    return weir__config_parse(json, strlen(json), "dir/config.json", c, err);
}

#define LLAMA(fields) "{\"model_type\":\"llama\"" fields "}"

Test(unknown_fields, are_noted_in_the_order_of_the_file) {
    weir_checkpoint c;
    weir_err err;
    const char *json = LLAMA(",\"zeta\":1,\"_private\":2,\"alpha\":{\"x\":[]},\"null\":null,\"auto_map\":{}");
    cr_assert_eq(parse(json, false, &c, &err), WEIR_OK, "%s", err.text);
    cr_assert_str_eq(c.ignored, "config.json: zeta, alpha, null");
    json = "{\"beta\":1,\"eos_token_id\":5,\"gamma\":2}";
    cr_assert_eq(weir__generation_config_parse(json, strlen(json), "dir/generation_config.json", &c, &err),
                 WEIR_OK);
    cr_assert_str_eq(c.ignored, "config.json: zeta, alpha, null; generation_config.json: beta, gamma");
    cr_assert_eq(c.eos[0], 5);
    cr_assert_eq(parse(LLAMA(",\"zeta\":1"), true, &c, &err), WEIR_ENOTSUP);
    cr_assert(err_is_line(&err, "dir/config.json: zeta = 1: unknown field"), "%s", err.text);
    cr_assert_eq(parse(LLAMA(",\"auto_map\":{\"a\":\"b\"}"), true, &c, &err), WEIR_ENOTSUP);
    cr_assert_eq(parse(LLAMA(",\"auto_map\":{\"a\":\"b\"}"), false, &c, &err), WEIR_OK);
    cr_assert_str_eq(c.ignored, "config.json: auto_map");
    c = (weir_checkpoint){.strict = true, .decoder.n_vocab_rows = 9};
    cr_assert_eq(weir__generation_config_parse("{\"beta\":1}", 10, "g", &c, &err), WEIR_ENOTSUP);
}

/* However many and however long: the list stays a line, and says how many it left out. */
Test(unknown_fields, a_long_list_is_cut) {
    char json[8192], name[200];
    weir_checkpoint c;
    weir_err err;
    int n = snprintf(json, sizeof json, "{\"model_type\":\"llama\"");
    memset(name, 'x', sizeof name);
    memcpy(name + 57, "\xc3\xa4\xc3\xa4", 4); /* the cut after 60 bytes is not inside a character */
    for (int i = 0; i < 20; i++)
        n += snprintf(json + n, sizeof json - (size_t)n, ",\"%02d%.150s\":1", i, name);
    snprintf(json + n, sizeof json - (size_t)n, "}");
    cr_assert_eq(parse(json, false, &c, &err), WEIR_OK, "%s", err.text);
    cr_assert(c.n_ignored_more > 0 && c.n_ignored_more < 20 && strlen(c.ignored) < sizeof c.ignored - 20);
    cr_assert(strstr(c.ignored, "config.json: 00") && strstr(c.ignored, ", 01"));
    const char *first = strstr(c.ignored, "00"), *comma = strchr(first, ',');
    cr_assert_eq(comma - first, 59);
    cr_assert_eq(comma[-1], 'x');
}

/* Names and values as published configurations have them (Granite, MiniCPM, Falcon H1, Cohere, Llama 4,
 * SmolLM3, Qwen1, Phi, Baichuan, DeepSeek, Mixtral, Gemma 3n, OLMo, Nemotron, ChatGLM, LongChat,
 * LLaMA-Adapter, Grok, Hunyuan, Ouro). */
Test(unknown_fields, what_derivatives_add_is_refused_by_name) {
    static const char *const fields[] = {
        "embedding_multiplier\":12.0",
        "residual_multiplier\":0.22",
        "attention_multiplier\":0.015625",
        "logits_scaling\":16.0",
        "scale_emb\":12",
        "scale_depth\":1.4",
        "dim_model_base\":256",
        "key_multiplier\":0.39",
        "lm_head_multiplier\":0.04",
        "mlp_multipliers\":[0.88,0.58]",
        "ssm_multipliers\":[0.35]",
        "logit_scale\":0.0625",
        "use_qk_norm\":true",
        "attention_chunk_size\":8192",
        "attn_temperature_tuning\":true",
        "no_rope_layers\":[1,1,1,0]",
        "no_rope_layer_interval\":4",
        "use_dynamic_ntk\":true",
        "use_logn_attn\":true",
        "partial_rotary_factor\":0.5",
        "rotary_pct\":0.25",
        "alibi\":true",
        "rope_ratio\":500",
        "rope_condense_ratio\":8",
        "kv_lora_rank\":512",
        "q_lora_rank\":1536",
        "n_routed_experts\":64",
        "num_local_experts\":8",
        "num_experts\":128",
        "moe_intermediate_size\":1408",
        "first_k_dense_replace\":1",
        "altup_num_inputs\":4",
        "laurel_rank\":64",
        "num_kv_shared_layers\":15",
        "hidden_size_per_layer_input\":256",
        "clip_qkv\":8.0",
        "layer_types\":[\"full_attention\"]",
        "sliding_window\":4096",
        "add_bias_linear\":true",
        "qkv_bias\":true",
        "use_parallel_residual\":true",
        "parallel_attn\":true",
        "is_causal\":false",
        "use_bidirectional_attention\":true",
        "final_logit_softcapping\":30.0",
        "attn_logit_softcapping\":50.0",
        "query_pre_attn_scalar\":256",
        "adapter_len\":10",
        "adapters\":{\"config_map\":{}}",
        "pre_seq_len\":128",
        "load_in_8bit\":true",
        "quantization_bit\":4",
        "embedding_multiplier_scale\":78.4",
        "output_multiplier_scale\":0.577",
        "use_cla\":true",
        "total_ut_steps\":4",
        "mamba_d_state\":128",
        "hybrid_override_pattern\":\"M-M*\"",
        "use_post_norm\":true",
        "use_gated_mlp\":false",
        "pruned_heads\":{\"0\":[1]}",
        "add_cross_attention\":true",
        "num_beams\":4",
        "no_bias\":false",
        "rope_interleave\":true",
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char json[128], name[64];
        weir_checkpoint c;
        weir_err err;
        snprintf(json, sizeof json, "{\"model_type\":\"llama\",\"%s}", fields[i]);
        snprintf(name, sizeof name, "config.json: %.*s = ", (int)strcspn(fields[i], "\""), fields[i]);
        cr_expect_eq(parse(json, false, &c, &err), WEIR_ENOTSUP, "%s", json);
        cr_expect(err_is_line(&err, name) && err_is_line(&err, "not supported, it changes the result"),
                  "%s: %s", json, err.text);
    }
}

Test(unknown_fields, neutral_values_pass_in_silence) {
    static const char *const fields[] = {
        "embedding_multiplier\":1.0",
        "embedding_multiplier\":1",
        "attention_multiplier\":null",
        "use_qk_norm\":false",
        "num_experts\":0",
        "no_rope_layers\":[]",
        "partial_rotary_factor\":1.0",
        "alibi\":false",
        "is_causal\":true",
        "mlp_only_layers\":[]",
        "clip_qkv\":null",
        "adapters\":{}",
        "quantization_config\":null",
        "kv_lora_rank\":null",
        "no_bias\":true",
        "auto_map\":{}",
        "repetition_penalty\":1.2",
        "decoder_start_token_id\":null",
        "norm_eps\":1e-6",
        "rotary_emb_base\":10000",
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char json[128];
        weir_checkpoint c;
        weir_err err;
        snprintf(json, sizeof json, "{\"model_type\":\"llama\",\"%s}", fields[i]);
        cr_expect_eq(parse(json, true, &c, &err), WEIR_OK, "%s: %s", json, err.text);
        cr_expect_str_eq(c.ignored, "", "%s", json);
    }
}

/* A family that has what a variant adds does not refuse it. */
Test(unknown_fields, of_the_family_itself) {
    static const char *const jsons[] = {
        "{\"model_type\":\"qwen2\",\"qkv_bias\":true,\"no_bias\":false}",
        "{\"model_type\":\"qwen3\",\"use_qk_norm\":true}",
        "{\"model_type\":\"gemma3_text\",\"qk_norm\":true,\"use_post_norm\":true}",
        "{\"model_type\":\"gemma2\",\"final_logit_softcapping\":30.0,\"sliding_window_size\":4096}",
    };
    for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++) {
        weir_checkpoint c;
        weir_err err;
        cr_expect_eq(parse(jsons[i], true, &c, &err), WEIR_OK, "%s: %s", jsons[i], err.text);
    }
}

Test(unknown_fields, quantised_weights_are_named) {
    static const struct {
        const char *field, *want;
    } cases[] = {
        {"\"quantization_config\":{\"quant_method\":\"hqq\",\"bits\":4}",
         "quantization_config: weights quantised by hqq, 4 bits"},
        {"\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}",
         "by bitsandbytes, 8 bits"},
        {"\"quantization\":{\"group_size\":64,\"bits\":8}", "quantization: weights quantised by MLX, 8 bits"},
        {"\"compression_config\":{\"format\":\"pack\"}",
         "compression_config: weights quantised by an unnamed method are"},
        {"\"quant_config\":{}", "quant_config: weights quantised"},
        {"\"quantization_config\":7", "by an unnamed method"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[160];
        weir_checkpoint c;
        weir_err err;
        snprintf(json, sizeof json, LLAMA(",%s"), cases[i].field);
        cr_expect_eq(parse(json, false, &c, &err), WEIR_ENOTSUP, "%s", json);
        cr_expect(err_is_line(&err, cases[i].want), "%s: %s", json, err.text);
    }
}

/* ---- tensors ----------------------------------------------------------------------------------------- */

static char *dir_with(const char *config, const char *more) {
    char header[600];
    char *dir = files_temp_dir();
    const int n =
        snprintf(header + 8, sizeof header - 8,
                 "{\"model.embed_tokens.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                 "\"shared.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]},"
                 "\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}}",
                 more);
    for (int i = 0; i < 8; i++) header[i] = (char)((uint64_t)n >> (8 * i));
    memset(header + 8 + n, 0, 24);
    files_write(dir, "model.safetensors", header, 8 + (size_t)n + 24);
    files_write(dir, "config.json", config, strlen(config));
    return dir;
}

Test(unknown_fields, tensors_by_their_names) {
    static const char llama[] = LLAMA(",\"num_hidden_layers\":2"),
                      t5[] = "{\"model_type\":\"t5\",\"num_layers\":2}";
    static const struct {
        const char *config, *name, *refused; /* NULL: fine; "": noted */
    } cases[] = {
        {llama, "model.layers.1.self_attn.rotary_emb.inv_freq", NULL},
        {llama, "lm_head.weight", NULL},
        {llama, "model.layers.1.mlp.up_proj.weight", NULL},
        {llama, "vision_tower.encoder.layers.0.bias", NULL},
        {llama, "model.layers.2.mlp.up_proj.weight", ""},
        {llama, "model.rotary.weight", ""},
        {llama, "model.layers.x.weight", ""},
        {llama, "model.layers.99999999999999999999.mlp.up_proj.weight", ""},
        {llama, "model.layers.1.self_attn.q_proj.bias", "llama has none of that name"},
        {llama, "lm_head.bias", "none of that name"},
        {llama, "model.layers.0.self_attn.q_norm.weight", "none of that name"},
        {llama, "model.layers.0.mlp.experts.3.w1.weight", "none of that name"},
        {llama, "model.layers.0.self_attn.q_proj.lora_A.weight", "an adapter's"},
        {llama, "base_model.model.model.embed_tokens.weight", "an adapter's"},
        {llama, "model.layers.0.mlp.up_proj.qweight", "the weights are quantised"},
        {llama, "model.layers.0.mlp.up_proj.weight_scale", "the weights are quantised"},
        {llama, "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
         "the weights are quantised"},
        {t5, "encoder.embed_tokens.weight", NULL},
        {t5, "decoder.block.1.layer.1.EncDecAttention.q.weight", NULL},
        {t5, "decoder.block.1.layer.1.EncDecAttention.relative_attention_bias.weight", NULL},
        {t5, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", NULL},
        {t5, "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
         "t5 has none of that name"},
        {t5, "decoder.block.0.layer.2.DenseReluDense.wo.bias", "none of that name"},
        {t5, "encoder.block.1.layer.1.DenseReluDense.wi_0.weight", "t5 has none of that name"},
        {t5, "encoder.block.1.layer.1.EncDecAttention.q.weight", "none of that name"},
        {t5, "decoder.block.2.layer.1.EncDecAttention.relative_attention_bias.weight", ""},
        {t5, "encoder.block.2.layer.0.x", ""},
        {t5, "encoder.block.0.layer.", "none of that name"},
        {t5, "encoder.block.", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = dir_with(cases[i].config, cases[i].name), note[160];
        weir_checkpoint c;
        weir_err err = {""};
        const bool noted = cases[i].refused && !*cases[i].refused;
        const weir_status s = weir__checkpoint_open(&c, dir, false, &err);
        const weir_status want = cases[i].refused && !noted ? WEIR_ENOTSUP : WEIR_OK;
        snprintf(note, sizeof note, "%.60s", cases[i].name);
        cr_expect_eq(s, want, "%s: %s", cases[i].name, err.text);
        if (s == WEIR_OK)
            cr_expect(!noted == !strstr(c.ignored, note), "%s: %s", cases[i].name, c.ignored);
        else
            cr_expect(err_is_line(&err, cases[i].refused) && err_is_line(&err, note), "%s", err.text);
        if (s == WEIR_OK) weir__checkpoint_close(&c);
        files_remove_dir(dir);
    }
}

Test(unknown_fields, adapters_and_other_forms_of_weights) {
    static const struct {
        const char *file, *text, *part;
        weir_status want;
    } cases[] = {
        {"adapter_config.json", "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"a/b\"}",
         "an adapter (LORA) of a/b", WEIR_ENOTSUP},
        {"adapter_config.json", "{}", "an adapter (of unnamed type) of an unnamed model", WEIR_ENOTSUP},
        {"adapter_config.json", "{", "adapter_config.json: bad JSON", WEIR_EFORMAT},
        {"special_tokens_map.json", "[]", "special_tokens_map.json: JSON is not an object", WEIR_EFORMAT},
        {"pytorch_model.bin", "x", "pytorch_model.bin is not read", WEIR_ENOTSUP},
        {"consolidated.safetensors", "x", "consolidated.safetensors is not read", WEIR_ENOTSUP},
        {"weights.npz", "x", "weights.npz is not read", WEIR_ENOTSUP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = files_temp_dir();
        weir_checkpoint c;
        weir_err err = {""};
        files_write(dir, "config.json", LLAMA(""), strlen(LLAMA("")));
        files_write(dir, cases[i].file, cases[i].text, strlen(cases[i].text));
        cr_expect_eq(weir__checkpoint_open(&c, dir, false, &err), cases[i].want, "%s", err.text);
        cr_expect(err_is_line(&err, cases[i].part), "%s", err.text);
        files_remove_dir(dir);
    }
}

Test(unknown_fields, every_failing_allocation_is_reported_and_nothing_leaks) {
    char *dir = dir_with(LLAMA(",\"alien\":1e400,\"num_hidden_layers\":1"), "v_head.weight");
    files_write(dir, "tokenizer_config.json", "{\"bos_token\":\"a\"}", 17);
    files_write(dir, "special_tokens_map.json", "{\"bos_token\":{\"content\":\"b\"}}", 29);
    for (long fail = 1;; fail++) {
        weir_checkpoint c;
        weir_err err = {""};
        alloc_install(fail);
        const weir_status s = weir__checkpoint_open(&c, dir, false, &err);
        if (s == WEIR_OK) cr_expect_str_eq(c.special[WEIR_SPECIAL_BOS], "b");
        if (s == WEIR_OK)
            cr_expect_str_eq(c.ignored, "config.json: alien; tensors: shared.weight, v_head.weight");
        if (s == WEIR_OK) weir__checkpoint_close(&c);
        const long live = alloc_live(), asked = alloc_count();
        alloc_uninstall();
        cr_assert_eq(live, 0, "allocation %ld: %ld left", fail, live);
        if (s == WEIR_OK) {
            cr_assert(asked < fail && fail > 10);
            break;
        }
        cr_assert(s == WEIR_ENOMEM && err_is_line(&err, "no memory"), "allocation %ld: %s", fail, err.text);
    }
    files_remove_dir(dir);
}
