/* config.json of Mixtral, Qwen2-MoE and Qwen3-MoE: experts, and which layers have them. */
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

Test(expert_config, every_prefix_is_refused) {
    every_prefix(QWEN2_MOE(",\"num_experts\":6,\"num_experts_per_tok\":2,\"mlp_only_layers\":[1,2],"
                           "\"decoder_sparse_step\":2,\"norm_topk_prob\":true"));
}
