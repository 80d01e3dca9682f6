/* config.json of Mixtral, Qwen2-MoE, Qwen3-MoE and gpt-oss: experts, and which layers have them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/formats/config_text.h"

Test(expert_config, defaults) {
    weir_checkpoint c = good(MIXTRAL(""));
    weir_decoder_config d = c.decoder;
    cr_assert(d.experts.n == 8 && d.experts.n_used == 2 && d.experts.ff_dim == 14336 && d.experts.normed);
    cr_assert(d.experts.shared_ff == 0 && d.experts.names == WEIR_EXPERTS_SPARSE && d.rope.theta == 1e6f);
    cr_assert(d.window == 0 && count_sliding(&d) == 0 && d.n_head_kv == 8 && d.eps == 1e-5f && c.add_bos);
    cr_assert_str_eq(c.family, "mixtral (silu, untied head)");
    c = good(QWEN3_MOE(""));
    d = c.decoder;
    cr_assert(d.experts.n == 128 && d.experts.n_used == 8 && d.experts.ff_dim == 768 && !d.experts.normed);
    cr_assert(d.qk_norm && !d.qkv_bias && d.ff_dim == 6144 && d.n_head_kv == 4 && d.window == 0);
    c = good(QWEN2_MOE(""));
    d = c.decoder;
    cr_assert(d.experts.n == 60 && d.experts.n_used == 4 && d.experts.ff_dim == 1408 && !d.experts.normed);
    cr_assert(d.experts.shared_ff == 5632 && d.qkv_bias && !d.qk_norm);
    for (int i = 0; i < 24; i++) cr_assert(!d.dense[i], "layer %d", i);
}

Test(expert_config, fields_are_honoured) {
    weir_checkpoint c =
        good(MIXTRAL(",\"num_local_experts\":4,\"num_experts_per_tok\":3,\"intermediate_size\":64,"
                     "\"sliding_window\":9,\"router_jitter_noise\":0.1,\"router_aux_loss_coef\":0.02,"
                     "\"output_router_logits\":false"));
    weir_decoder_config d = c.decoder;
    cr_assert(d.experts.n == 4 && d.experts.n_used == 3 && d.experts.ff_dim == 64 && c.ignored[0] == '\0');
    cr_assert(d.window == 9 && count_sliding(&d) == 32);
    c = good(QWEN3_MOE(",\"num_experts\":16,\"num_experts_per_tok\":16,\"moe_intermediate_size\":40,"
                       "\"norm_topk_prob\":true,\"sliding_window\":4096,\"use_sliding_window\":false,"
                       "\"max_window_layers\":48,\"mlp_only_layers\":[]"));
    d = c.decoder;
    cr_assert(d.experts.n == 16 && d.experts.n_used == 16 && d.experts.ff_dim == 40 && d.experts.normed);
    cr_assert(d.window == 0 && c.ignored[0] == '\0');
    c = good(QWEN2_MOE(",\"shared_expert_intermediate_size\":20,\"qkv_bias\":false,\"num_hidden_layers\":6,"
                       "\"decoder_sparse_step\":2,\"mlp_only_layers\":[3,77,-1]"));
    d = c.decoder;
    cr_assert(d.experts.shared_ff == 20 && !d.qkv_bias);
    static const bool dense[] = {true, false, true, true, true, false};
    cr_assert(memcmp(d.dense, dense, sizeof dense) == 0);
}

Test(expert_config, refusals_name_the_field) {
    static const struct {
        const char *fields, *part;
        weir_status want;
    } qwen[] = {
        {"\"num_experts\":0", "num_experts = 0: expected", WEIR_EFORMAT},
        {"\"num_experts\":1025", "num_experts = 1025", WEIR_EFORMAT},
        {"\"num_experts\":\"8\"", "num_experts = \"8\"", WEIR_EFORMAT},
        {"\"num_experts\":4", "num_experts = 4, expected at least the 8 of num_experts_per_tok",
         WEIR_EFORMAT},
        {"\"num_experts_per_tok\":0", "num_experts_per_tok = 0", WEIR_EFORMAT},
        {"\"num_experts_per_tok\":33", "num_experts_per_tok = 33", WEIR_EFORMAT},
        {"\"num_experts\":4,\"num_experts_per_tok\":5", "num_experts_per_tok = 5", WEIR_EFORMAT},
        {"\"moe_intermediate_size\":0", "moe_intermediate_size = 0", WEIR_EFORMAT},
        {"\"norm_topk_prob\":1", "norm_topk_prob = 1", WEIR_EFORMAT},
        {"\"decoder_sparse_step\":0", "decoder_sparse_step = 0", WEIR_EFORMAT},
        {"\"mlp_only_layers\":3", "mlp_only_layers = 3: expected a list", WEIR_EFORMAT},
        {"\"mlp_only_layers\":[1,2.5]", "mlp_only_layers = 2.5: expected numbers of layers", WEIR_EFORMAT},
        {"\"use_sliding_window\":true", "use_sliding_window = true: not supported", WEIR_ENOTSUP},
        {"\"attention_bias\":true", "attention_bias = true: not supported", WEIR_ENOTSUP},
        {"\"n_shared_experts\":2", "n_shared_experts = 2: not supported", WEIR_ENOTSUP},
        {"\"shared_expert_intermediate_size\":9", "shared_expert_intermediate_size = 9: not supported",
         WEIR_ENOTSUP},
    };
    for (size_t i = 0; i < sizeof qwen / sizeof *qwen; i++) {
        char json[256];
        snprintf(json, sizeof json, QWEN3_MOE(",%s"), qwen[i].fields);
        bad(json, qwen[i].want, qwen[i].part);
    }
    bad(MIXTRAL(",\"num_local_experts\":0"), WEIR_EFORMAT, "num_local_experts = 0");
    bad(MIXTRAL(",\"num_local_experts\":1"), WEIR_EFORMAT, "num_local_experts = 1, expected at least the 2");
    bad(MIXTRAL(",\"num_experts_per_tok\":9"), WEIR_EFORMAT, "num_experts_per_tok = 9");
    bad(MIXTRAL(",\"num_experts\":8"), WEIR_ENOTSUP, "num_experts = 8: not supported");
    bad(QWEN2_MOE(",\"shared_expert_intermediate_size\":0"), WEIR_EFORMAT,
        "shared_expert_intermediate_size = 0");
    bad(QWEN3(",\"num_experts\":8"), WEIR_ENOTSUP, "num_experts = 8: not supported");
    bad(LLAMA(",\"num_local_experts\":8"), WEIR_ENOTSUP, "num_local_experts = 8: not supported");
}

#define YARN                                                                                          \
    ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":32.0,\"beta_fast\":32.0,\"beta_slow\":1.0," \
    "\"truncate\":false,\"original_max_position_embeddings\":4096}"

/* What is published, and what the configuration class has without it. */
Test(expert_config, gpt_oss) {
    for (int i = 0; i < 2; i++) {
        const weir_checkpoint c = good(
            i ? GPT_OSS(YARN ",\"num_hidden_layers\":24,\"num_local_experts\":32,\"experts_per_token\":4,"
                             "\"attention_bias\":true,\"swiglu_limit\":7.0,\"rope_theta\":150000,"
                             "\"initial_context_length\":4096,\"eos_token_id\":200002,"
                             "\"quantization_config\":{\"quant_method\":\"mxfp4\","
                             "\"modules_to_not_convert\":[\"lm_head\"]}")
              : GPT_OSS(""));
        const weir_decoder_config *d = &c.decoder;
        const weir_expert_config *e = &d->experts;
        cr_assert(e->n == (i ? 32 : 128) && e->n_used == 4 && e->ff_dim == 2880 && e->normed && e->biased);
        cr_assert(e->limit == 7.0f && e->names == WEIR_EXPERTS_ROUTER && e->shared_ff == 0);
        cr_assert(d->sinks && d->o_bias && d->qkv_bias && !d->qk_norm && !d->post_norms && !d->tied);
        cr_assert(d->n_head == 64 && d->n_head_kv == 8 && d->head_dim == 64 && d->eps == 1e-5f);
        cr_assert(d->window == 128 && d->sliding[0] && !d->sliding[1] && d->sliding[2]);
        cr_assert(d->rope.kind == WEIR_ROPE_YARN && d->rope.untruncated && d->rope.factor == 32.0f &&
                  d->rope.theta == 15e4f && d->rope.n_ctx_original == 4096 && d->rope_sliding.untruncated);
        cr_assert(c.ignored[0] == '\0' && !c.add_bos && c.n_eos == i);
        cr_assert_str_eq(c.family, "gpt_oss (silu, untied head)");
    }
    const weir_decoder_config d =
        good(GPT_OSS(",\"rope_scaling\":null,\"swiglu_limit\":2.5,\"num_hidden_layers\":2,"
                     "\"layer_types\":[\"full_attention\",\"full_attention\"]"))
            .decoder;
    cr_assert(d.rope.kind == WEIR_ROPE_DEFAULT && d.experts.limit == 2.5f && d.window == 0);
}

Test(expert_config, what_gpt_oss_cannot_be_is_refused_by_field) {
    bad(GPT_OSS(",\"attention_bias\":false"), WEIR_ENOTSUP, "attention_bias = false: not supported");
    bad(GPT_OSS(",\"experts_per_token\":2"), WEIR_ENOTSUP,
        "experts_per_token = 2: contradicts num_experts_per_tok");
    bad(GPT_OSS(",\"swiglu_limit\":0"), WEIR_EFORMAT, "swiglu_limit = 0: expected");
    bad(GPT_OSS(",\"num_local_experts\":3"), WEIR_EFORMAT, "num_local_experts = 3, expected at least the 4");
    bad(GPT_OSS(",\"moe_intermediate_size\":3"), WEIR_ENOTSUP, "moe_intermediate_size = 3: not supported");
    bad(GPT_OSS(",\"num_attention_sinks\":4"), WEIR_ENOTSUP, "num_attention_sinks = 4: not supported");
    bad(GPT_OSS(",\"hidden_act\":\"relu\""), WEIR_ENOTSUP, "activation \"relu\"");
    bad(MIXTRAL(",\"swiglu_limit\":7.0"), WEIR_ENOTSUP, "swiglu_limit = 7: not supported");
    bad(QWEN3(",\"quantization_config\":{\"quant_method\":\"mxfp4\"}"), WEIR_ENOTSUP,
        "weights quantised by mxfp4 are not supported");
}

Test(expert_config, every_prefix_is_refused) {
    every_prefix(QWEN2_MOE(",\"num_experts\":6,\"num_experts_per_tok\":2,\"mlp_only_layers\":[1,2],"
                           "\"decoder_sparse_step\":2,\"norm_topk_prob\":true"));
}
